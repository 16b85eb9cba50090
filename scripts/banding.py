"""How far dithered gradients are from the original once the eye has averaged them.

    .venv/bin/python scripts/banding.py [-k 16] [--methods NAME,…|all] [--size 512 384]

Smooth 8-bit gradients are reduced to K colors by each method, and by pngquant where it is there
(dithered its way, and not at all). Original and result are blurred by a Gaussian of 3 pixels, which
takes the dots away and leaves bands; the table has what is left between them, the root of the mean
squared difference over pixels and channels. "sRGB" blurs and compares 8-bit levels. "linear" does
so in linear light, white being 255 again: the average that reaches the eye.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from dither_pictures import GRADIENTS
from numpy.typing import NDArray
from pngquant import has_pngquant, pngquant

from quantgpu import quantize
from quantgpu.dithering.methods import DEFAULT, DITHERS

SIGMA = 3.0
"""Of the Gaussian, in pixels."""

REACH = 4
"""The Gaussian ends so many sigmas from its middle, where it is below 0.0004 of its height."""

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Reduce = Callable[[Pixels, int], Pixels]
"""From pixels (H, W, 3) and K to pixels in K colors."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("-k", type=int, default=16)
    parser.add_argument(
        "--methods",
        default=f"{DEFAULT},none",
        help="comma-separated, or all",
    )
    parser.add_argument("--size", type=int, nargs=2, default=(512, 384), help="in pixels")
    options = parser.parse_args(arguments)
    methods = list(DITHERS) if options.methods == "all" else options.methods.split(",")
    if unknown := [name for name in methods if name not in DITHERS]:
        parser.error(f"--methods: {unknown[0]!r} is not one of all, {', '.join(DITHERS)}")
    pictures = {name: draw(*options.size) for name, draw in GRADIENTS.items()}
    print_table(pictures, reducers(methods), options.k)


def reducers(methods: Sequence[str]) -> dict[str, Reduce]:
    """Label to what is compared."""
    found: dict[str, Reduce] = {name: partial(dithered, method=name) for name in methods}
    if has_pngquant():
        found["pngquant"] = pngquant
        found["pngquant --nofs"] = lambda picture, k: pngquant(picture, k, "--nofs")
    return found


def dithered(picture: Pixels, k: int, method: str) -> Pixels:
    """A picture in `k` colors by one of our methods."""
    return quantize(picture, k, dither=method).to_array()


def print_table(pictures: Mapping[str, Pixels], reducers: Mapping[str, Reduce], k: int) -> None:
    """A row for each reducer: both errors of each picture, and their means."""
    names = [*pictures, "mean"]
    print(f"RMS error after a blur of {SIGMA:g} pixels, K = {k}, in levels of 255")
    print(f"{'':18s}" + "".join(f"{name:>18s}" for name in names))
    print(f"{'':18s}" + f"{'sRGB':>10s}{'linear':>8s}" * len(names))
    for label, reduce in reducers.items():
        errors = [blurred_errors(picture, reduce(picture, k)) for picture in pictures.values()]
        errors.append(tuple(np.mean(errors, axis=0).tolist()))
        print(f"{label:18s}" + "".join(f"{srgb:10.3f}{light:8.3f}" for srgb, light in errors))


def blurred_errors(original: Pixels, result: Pixels) -> tuple[float, float]:
    """RMS differences of blurred pictures (H, W, 3): in sRGB, and in linear light times 255."""
    levels = np.arange(256) / 255
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    srgb, linear = (
        float(np.sqrt(np.mean((blur(table[original]) - blur(table[result])) ** 2)))
        for table in (255 * levels, 255 * light)
    )
    return srgb, linear


def blur(picture: Floats, sigma: float = SIGMA) -> Floats:
    """(H, W, 3) under a Gaussian, the edges mirrored; weights add up to 1."""
    reach = int(np.ceil(REACH * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis, length in enumerate(picture.shape[:2]):
        ends = [(reach, reach) if other == axis else (0, 0) for other in range(picture.ndim)]
        padded = np.moveaxis(np.pad(picture, ends, "symmetric"), axis, 0)
        parts = (w * padded[start : start + length] for start, w in enumerate(weights))
        picture = np.moveaxis(sum(parts), 0, axis)
    return picture


if __name__ == "__main__":
    main()
