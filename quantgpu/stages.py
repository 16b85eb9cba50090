"""Two routes to a result, stage by stage: the first array in which they differ, and where in it.

Arithmetic is exact, so any difference is a defect, and the first one says in which stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.device import CPU, Device, device_context, translate_gpu_errors
from quantgpu.arrays.namespace import to_host
from quantgpu.clustering.cluster import cluster
from quantgpu.clustering.options import PaletteOptions
from quantgpu.dithering.base import Dithering
from quantgpu.dithering.methods import mapper_for
from quantgpu.dithering.options import MapOptions, color_map_for
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.gpu import GpuPixels
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Observer, no_progress


class Difference(NamedTuple):
    """The first place in which two routes differ."""

    stage: str
    array: str
    """The name of the array in that stage."""
    place: tuple[int, ...] | None
    """The index of the first element that differs; None where the shapes differ."""
    expected: str
    """By NumPy: the element, or the shape."""
    found: str
    """By the other route."""

    def as_line(self) -> str:
        """The difference for people.

        >>> Difference("count", "counts", (3,), "7", "8").as_line()
        'stage count: counts[3] is 8, and 7 by NumPy'
        """
        if self.place is None:
            array = f"the shape of {self.array}"
        else:
            array = f"{self.array}[{', '.join(map(str, self.place))}]"
        return f"stage {self.stage}: {array} is {self.found}, and {self.expected} by NumPy"


class Comparison(NamedTuple):
    """How far two routes went together."""

    stages: list[str]
    """The stages that were compared, in order; the last one differs if there is a difference."""
    difference: Difference | None


class DifferenceFound(Exception):  # noqa: N818 (it ends a run, and is no error)
    """Ends a run at its first difference."""


def compare_stages(
    picture: NDArray[np.uint8],
    k: int,
    options: PaletteOptions,
    dithering: Dithering,
    device: Device,
) -> Comparison:
    """The stages of a quantization on a device, each compared with that by NumPy.

    Args:
        picture: (H, W, 3 | 4) uint8.
        k: Colors, at most as many as there are pixels.
        options: What palette is sought.
        dithering: How colors are mixed.
        device: A GPU that can be opened.

    Raises:
        DeviceError: The GPU fails.
    """
    expected: dict[str, dict[str, NDArray[Any]]] = {}
    stages: list[str] = []
    differences: list[Difference] = []

    def record(stage: str, arrays: Mapping[str, Any]) -> None:
        expected[stage] = {name: np.array(to_host(array)) for name, array in arrays.items()}

    def check(stage: str, arrays: Mapping[str, Any]) -> None:
        stages.append(stage)
        for name, array in arrays.items():
            difference = first_difference(expected[stage][name], np.asarray(to_host(array)))
            if difference is not None:
                differences.append(Difference(stage, name, *difference))
                raise DifferenceFound

    run_stages(picture, k, options, dithering, CPU, record)
    with translate_gpu_errors():
        try:
            run_stages(picture, k, options, dithering, device, check)
        except DifferenceFound:
            return Comparison(stages, differences[0])
    return Comparison(stages, None)


def run_stages(
    picture: NDArray[np.uint8],
    k: int,
    options: PaletteOptions,
    dithering: Dithering,
    device: Device,
    observe: Observer,
) -> None:
    """Quantize a picture on a device; the arrays of each stage go to `observe`."""
    with device_context(device) as xp:
        pixels = Pixels(picture)
        if device.gpu is not None:
            pixels = GpuPixels(pixels, xp, device)
        histogram = count_colors(pixels, 1, perceptual=options.weighs_pixels)
        pixels.make_room(len(histogram))
        counted = {"keys": histogram.keys, "counts": histogram.counts}
        observe("count", counted | {"weights": histogram.full_weights})
        mixes = k > 1 and dithering.method != "none"
        palette, labels = cluster(histogram, k, options, dithered=mixes, observe=observe)
        mapping = MapOptions(
            dithering=dithering, color_space=options.color_space, lock_grays=options.lock_grays
        )
        mapper = mapper_for(color_map_for(histogram, palette, labels, mapping), dithering)
        index, stats = mapper(pixels, False, no_progress)
        pixels.wait()
        mapped = {"index": index}
        if stats is not None:
            mapped |= {"counts": stats.counts, "squared error": np.array(stats.squared_error)}
        observe("map", mapped)


def first_difference(
    expected: NDArray[Any], found: NDArray[Any]
) -> tuple[tuple[int, ...] | None, str, str] | None:
    """The first place where arrays differ, and what they are there; None if they are equal."""
    if expected.shape != found.shape:
        return None, str(expected.shape), str(found.shape)
    differs = expected != found
    if not differs.any():
        return None
    place = tuple(int(number) for number in np.argwhere(differs)[0])
    return place, str(expected[place]), str(found[place])
