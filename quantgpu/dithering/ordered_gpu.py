"""Ordered dithering of opaque pictures on a GPU: one launch for a slab, or for some frames.

The kernel does what `OrderedPlan.switch` says, which array code does in some ten passes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from quantgpu.arrays.namespace import array_module, on_host, to_host
from quantgpu.color.packing import KEYS, pack
from quantgpu.dithering import lookup_gpu
from quantgpu.dithering.base import ColorMap, Dithering, Mapper, MapResult, MapStats
from quantgpu.dithering.ordered import MATRICES, bounds_of, mixed_for, words_of
from quantgpu.kernels.launch import THREADS, blocks_for, int32, prepare
from quantgpu.pixels.counting_gpu import RUN
from quantgpu.pixels.gpu import GpuFrames, GpuPixels
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Progress


class OrderedGpuPlan(NamedTuple):
    """The tables by which the kernel dithers pictures of known colors."""

    table: Any
    """(2^24,) uint32: the word of each color that occurs, see `ordered.OrderedPlan`."""
    bounds: Any
    """(s, s) uint32: see `ordered.OrderedPlan`."""
    entries: Any
    """(K,) uint32: the keys of the palette's colors."""


def serves(mapping: ColorMap) -> bool:
    """Whether the kernel can map pictures of these colors."""
    histogram, palette, labels, *_ = mapping
    channels = max(histogram.channels, palette.colors.shape[1])
    return not on_host(labels) and channels == 3 and len(palette) <= lookup_gpu.MOST_ENTRIES


def ordered(mapping: ColorMap, dithering: Dithering) -> Mapper:
    """`ordered.ordered` where the kernel `serves`."""
    plan = plan_for(mapping, dithering)

    def mapped(pixels: Pixels, stay: bool, progress: Progress) -> MapResult:
        if isinstance(pixels, GpuFrames):
            return on_frames(pixels, plan)
        assert isinstance(pixels, GpuPixels)
        return on_slabs(pixels, plan, stay, progress)

    return mapped


def plan_for(mapping: ColorMap, dithering: Dithering) -> OrderedGpuPlan:
    """The plan for pictures of known colors."""
    xp = array_module(mapping.labels)
    k = len(mapping.palette)
    table = xp.empty(KEYS, xp.uint32)
    mixed, _, _ = mixed_for(mapping, dithering)
    table[mapping.histogram.keys] = words_of(mixed, k)
    bounds = bounds_of(MATRICES[dithering.method](dithering.size), k)
    keys = pack(np.ascontiguousarray(mapping.palette.colors)).astype(np.uint32)
    return OrderedGpuPlan(table, xp.asarray(bounds), xp.asarray(keys))


def on_slabs(pixels: GpuPixels, plan: OrderedGpuPlan, stay: bool, progress: Progress) -> MapResult:
    """An index map, slab by slab."""
    xp, width = pixels.xp, pixels.width
    row, column = pixels.place
    counts, error = xp.zeros(len(plan.entries), xp.uint64), xp.zeros(1, xp.uint64)

    def on_slab(colors: Any, out: Any, first: int) -> None:
        shape, place = (len(out) // width, width), (row + first, column)
        launch_ordered(colors[None], plan, shape, place, out[None], error, counts)

    slabs = ((rows, colors, rows[0]) for rows, colors in pixels.slabs())
    index = pixels.map(np.uint8, on_slab, stay, progress, slabs)
    return MapResult(index, MapStats(to_host(counts).astype(np.int64), int(error[0])))


def on_frames(frames: GpuFrames, plan: OrderedGpuPlan) -> MapResult:
    """The index maps of some frames, which stay where they are, and their errors."""
    xp = frames.xp
    index = xp.empty(frames.colors.shape[:2], xp.uint8)
    frames.errors = xp.zeros(len(index), xp.uint64)
    shape = frames.height, frames.width
    launch_ordered(frames.colors, plan, shape, (0, 0), index, frames.errors)
    return MapResult(index)


def launch_ordered(
    colors: Any, tables: tuple[Any, Any, Any], shape: tuple[int, int], place: tuple[int, int],
    index: Any, errors: Any, counts: Any = None,
) -> None:  # fmt: skip
    """Put the palette entries of pictures into `index`, by threshold: see ``ordered.cu``.

    Args:
        colors: (pictures, stride, 3) uint8, of which the first H * W of each are a picture.
        tables: Its table, bounds and entries, all uint32.
        shape: H and W.
        place: The row and column of the first pixel of each picture.
        index: (pictures, stride) uint8.
        errors: (pictures,) uint64, which squared errors are added to.
        counts: (K,) uint64, which the pixels of each entry are added to, if it is given.
    """
    _, bounds, entries = tables
    pictures, stride = index.shape
    given = {} if counts is None else {"COUNTED": 1}
    sums = (errors,) if counts is None else (counts, errors)
    numbers = map(int32, (*place, len(bounds), len(entries)))
    arguments = colors, *tables, *map(int32, shape), np.int64(stride), *numbers, index, *sums
    launch = prepare("ordered", blocks_for(shape[0] * shape[1], RUN * THREADS), arguments, **given)
    launch._replace(grid=(*launch.grid, pictures)).run()
