"""A given palette on an image: no clustering, every pixel gets its nearest color."""

from __future__ import annotations

from typing import Any

from quantgpu.arrays.device import (
    Progress,
    array_module,
    check_device,
    default_threads,
    no_progress,
)
from quantgpu.clustering.cluster import own_entries
from quantgpu.clustering.kmeans import assign, weighted_points
from quantgpu.clustering.octree import morton_codes, order_of
from quantgpu.color.spaces import COLOR_SPACES, ColorSpace, grid_centers
from quantgpu.dithering.base import parse_dither
from quantgpu.histogram import Histogram, unpack
from quantgpu.indexed import Indexed
from quantgpu.options import LEAST_MEMORY, MOST_MEMORY, MOST_THREADS, check_choice, check_number
from quantgpu.palette import Palette, as_palette, of_channels
from quantgpu.pipeline.convert import convert


def apply_palette(
    image: Any,
    colors: Any,
    *,
    color_space: str = "oklab",
    dither: str = "none",
    dither_strength: float | None = None,
    threads: int | None = None,
    device: str = "auto",
    memory: int | None = None,
    keep_on_device: bool = False,
    progress: Progress = no_progress,
) -> Indexed:
    """Remap an image to a given palette: every pixel gets its nearest color, ties to the first.

    The palette stays as it is: indices are rows of `colors`, unused and repeated ones included.
    The same input and options give the same result on every machine and device.

    Args:
        image: What `quantgpu.quantize` takes.
        colors: 1 to 65,536 colors: (K, 3) uint8 or triples (red, green, blue), a `Palette`, or the
            path of a palette file, such as a ``.gpl``.
        color_space: ``srgb``, ``linear``, ``oklab`` or ``cielab``: where distances are measured.
        dither: ``none``, or another method of `quantgpu.quantize`, which mixes the colors of
            pictures.
        dither_strength: 0 (not at all) to 1; what suits the method when not given.
        threads: At least 1; as many as there are processors when not given.
        device: ``auto`` (a GPU if one works, else the CPU), ``cpu``, ``gpu`` or ``gpu:N``.
        memory: Bytes of device memory to use; most of what is free when not given.
        keep_on_device: Leave the index map on the GPU that made it, as a `cupy.ndarray`.
        progress: Called with the name of a stage and the share of it that is done.

    Raises:
        UsageError: An argument is outside its range; it is a `ValueError` too.
        InputError: The file at a path cannot be read.
        DeviceError: The GPU that was asked for cannot be used.

    >>> picture = apply_palette([(250, 9, 9), (3, 3, 3)], [(0, 0, 0), (255, 255, 255), (255, 0, 0)])
    >>> picture.index.tolist(), picture.counts.tolist()
    ([2, 0], [1, 0, 1])
    """
    check_apply_options(color_space, dither, dither_strength, threads, device, memory)
    palette, space = as_palette(colors), COLOR_SPACES[color_space]
    threads = default_threads() if threads is None else threads

    def given(histogram: Histogram, pixels: int, tell: Progress) -> tuple[Palette, Any]:
        return palette, own_entries(
            histogram, palette.colors, nearest_entries(histogram, palette, space, threads)
        )

    [picture] = convert(
        image, [given], "assign", dithering=parse_dither(dither, dither_strength),
        color_space=color_space, threads=threads, device=device, memory=memory,
        keep_on_device=keep_on_device, progress=progress,
    )  # fmt: skip
    return picture


def nearest_entries(
    histogram: Histogram, palette: Palette, space: ColorSpace, threads: int = 1
) -> Any:
    """The index, (n,) integers, of the palette entry nearest to each color; ties to the first.

    Colors are compared in Morton order, in which neighbors have few entries to choose from.
    """
    xp = array_module(histogram.keys)
    order = order_of(morton_codes(histogram.colors))
    channels = max(histogram.channels, palette.colors.shape[1])
    colors = unpack(histogram.keys[order], channels)
    entries = of_channels(palette.colors, channels)
    points = weighted_points(space.points(colors), xp.ones(len(order), xp.int64))
    labels = assign(points, xp.asarray(grid_centers(entries, space)), threads)
    in_key_order = xp.empty_like(labels)
    in_key_order[order] = labels
    return in_key_order


def check_apply_options(
    color_space: str,
    dither: str,
    dither_strength: float | None,
    threads: int | None,
    device: str,
    memory: int | None,
) -> None:
    """Raise a UsageError for what is wrong with options of `apply_palette`, whatever the image."""
    check_choice("color_space", color_space, COLOR_SPACES)
    parse_dither(dither, dither_strength)
    check_device(device)
    if threads is not None:
        check_number("threads", threads, 1, MOST_THREADS)
    if memory is not None:
        check_number("memory", memory, LEAST_MEMORY, MOST_MEMORY)
