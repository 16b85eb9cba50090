"""Bytes of files that look the same: quantgpu's against pngquant's at its K.

    scripts/equal_look.py PHOTO... [-k 256,64] [--json FILE]

pngquant (``--speed 4``, with its dithering) says how good a picture has to look: butteraugli's
3-norm, less is better. For quantgpu several K are tried, not dithered and dithered; the bytes of a
file of that look are read off the line through the two nearest of each kind, on logarithmic axes,
and the smaller kind counts. Both sides are compressed alike: the same indices and palette, by
Pillow, with ``optimize``.

pngquant and butteraugli_main have to be on the PATH (Debian: pngquant, libjxl-devtools).
"""

from __future__ import annotations

import argparse
import io
import json
import math
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from quantgpu import quantize_each

PROGRAMS = {"pngquant": "pngquant", "butteraugli_main": "libjxl-devtools"}
"""What is run, and the package that brings it."""

TRIED = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Numbers of colors."""

METHODS = "none", "adaptive"
"""Methods of dithering."""


class Size(NamedTuple):
    """How a file looks, and what it takes."""

    look: float
    """Butteraugli's 3-norm."""
    bytes: int


def compressed(image: Image.Image) -> int:
    """The bytes of an indexed picture as a PNG file."""
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return len(stream.getbuffer())


def look_of(original: Path, image: Image.Image, folder: Path) -> float:
    """Butteraugli's 3-norm of a picture."""
    path = folder / "found.png"
    image.convert("RGB").save(path)
    command = ["butteraugli_main", str(original), str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"3-norm:?\s*([\d.]+)", said)
    if not found:
        raise SystemExit(f"butteraugli_main says no 3-norm: {said!r}")
    return float(found[1])


def by_pngquant(photo: Path, k: int, folder: Path) -> Size:
    """What pngquant makes of a photo."""
    path = folder / "pngquant.png"
    command = ["pngquant", "--force", "--speed", "4", "--output", str(path), str(k), "--"]
    subprocess.run([*command, str(photo)], check=True)
    with Image.open(path) as image:
        return Size(look_of(photo, image, folder), compressed(image))


def by_quantgpu(photo: Path, folder: Path) -> dict[str, list[Size]]:
    """What quantgpu makes of a photo: for each method, every number of colors."""
    found: dict[str, list[Size]] = {}
    for method in METHODS:
        results = quantize_each(photo, TRIED, dither=method, device="cpu")
        images = [result.to_image() for result in results]
        found[method] = [Size(look_of(photo, each, folder), compressed(each)) for each in images]
    return found


def bytes_at(look: float, sizes: Sequence[Size]) -> float | None:
    """The bytes of a file of a look; None if no file looks as good.

    >>> round(bytes_at(2, [Size(4, 100), Size(1, 400)]) or 0)
    200
    """
    ordered = sorted(sizes, reverse=True)
    if ordered[-1].look > look:
        return None
    if ordered[0].look <= look:
        return float(ordered[0].bytes)
    found: list[float] = []
    for worse, better in pairwise(ordered):
        if better.look <= look < worse.look:
            share = math.log(worse.look / look) / math.log(worse.look / better.look)
            found.append(float(worse.bytes * (better.bytes / worse.bytes) ** share))
    return min(found)


def smallest(look: float, sizes: dict[str, list[Size]]) -> float:
    """The bytes of the smallest file of a look, of all methods."""
    found = [size for each in sizes.values() if (size := bytes_at(look, each)) is not None]
    if not found:
        raise SystemExit("no number of colors looks as good; try others")
    return min(found)


def report(photos: Sequence[Path], ks: Sequence[int]) -> dict[str, dict[str, float]]:
    """Print a line for each photo, and a last one; the share of bytes by K and photo."""
    shares: dict[str, dict[str, float]] = {str(k): {} for k in ks}
    print(f"{'photo':24}" + "".join(f"{f'K = {k}':>30}" for k in ks))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for photo in photos:
            sizes = by_quantgpu(photo, folder)
            cells = []
            for k in ks:
                theirs = by_pngquant(photo, k, folder)
                ours = smallest(theirs.look, sizes)
                shares[str(k)][photo.name] = ours / theirs.bytes
                cells.append(f"{theirs.bytes:9,} {ours:9,.0f} {ours / theirs.bytes:8.3f}")
            print(f"{photo.name:24}" + "".join(f"{cell:>30}" for cell in cells), flush=True)
    means = [statistics.geometric_mean(each.values()) for each in shares.values()]
    print(f"{'geometric mean':24}" + "".join(f"{mean:30.3f}" for mean in means))
    return shares


def main() -> None:
    """Compare the bytes of files that look the same."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("-k", default="256,64", help="pngquant's numbers of colors")
    parser.add_argument("--json", type=Path, help="write the shares into this file")
    options = parser.parse_args()
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            parser.error(f"{program} is not on the PATH (Debian: apt install {package})")
    shares = report(options.photos, [int(k) for k in options.k.split(",")])
    if options.json:
        options.json.write_text(json.dumps(shares, indent=1))


if __name__ == "__main__":
    main()
