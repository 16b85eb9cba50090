"""Ordered dithering of opaque pictures on a GPU: one launch for a slab, or for some frames.

The kernel does what `ordered.Plan.switch` says, which array code does in some ten passes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from quantgpu.arrays.device import Progress, array_module, on_host, to_host
from quantgpu.dithering.base import Dithering, Mapped, Mapper, Mapping, Tally
from quantgpu.dithering.ordered import MATRICES, bounds_of, mixed_for, words_of
from quantgpu.histogram import KEYS, pack
from quantgpu.pixels import counting_gpu as kernels
from quantgpu.pixels.gpu import GpuFrames, GpuPixels
from quantgpu.pixels.pixels import Pixels


class Plan(NamedTuple):
    """What pictures of some colors are dithered by."""

    table: Any
    """(2^24,) uint32: the word of each color that occurs, see `ordered.Plan`."""
    bounds: Any
    """(s, s) uint32: see `ordered.Plan`."""
    entries: Any
    """(K,) uint32: the keys of the palette's colors."""


def serves(mapping: Mapping) -> bool:
    """Whether the kernel can map pictures of these colors."""
    histogram, palette, labels, *_ = mapping
    channels = max(histogram.channels, palette.colors.shape[1])
    return not on_host(labels) and channels == 3 and len(palette) <= kernels.MOST_ENTRIES


def ordered(mapping: Mapping, dithering: Dithering) -> Mapper:
    """What `ordered.ordered` does, where the kernel `serves`."""
    plan = plan_for(mapping, dithering)

    def mapped(pixels: Pixels, stay: bool, progress: Progress) -> Mapped:
        if isinstance(pixels, GpuFrames):
            return on_frames(pixels, plan)
        assert isinstance(pixels, GpuPixels)
        return on_slabs(pixels, plan, stay, progress)

    return mapped


def plan_for(mapping: Mapping, dithering: Dithering) -> Plan:
    """What does not change from picture to picture."""
    xp = array_module(mapping.labels)
    k = len(mapping.palette)
    table = xp.empty(KEYS, xp.uint32)
    mixed, _, _ = mixed_for(mapping, dithering)
    table[mapping.histogram.keys] = words_of(mixed, k)
    bounds = bounds_of(MATRICES[dithering.method](dithering.size), k)
    keys = pack(np.ascontiguousarray(mapping.palette.colors)).astype(np.uint32)
    return Plan(table, xp.asarray(bounds), xp.asarray(keys))


def on_slabs(pixels: GpuPixels, plan: Plan, stay: bool, progress: Progress) -> Mapped:
    """An index map, slab by slab."""
    xp, width = pixels.xp, pixels.width
    row, column = pixels.place
    counts, error = xp.zeros(len(plan.entries), xp.uint64), xp.zeros(1, xp.uint64)

    def on_slab(colors: Any, out: Any, first: int) -> None:
        shape, place = (len(out) // width, width), (row + first, column)
        kernels.ordered(colors[None], plan, shape, place, out[None], error, counts)

    slabs = ((rows, colors, rows[0]) for rows, colors in pixels.slabs())
    index = pixels.map(np.uint8, on_slab, stay, progress, slabs)
    return Mapped(index, Tally(to_host(counts).astype(np.int64), int(error[0])))


def on_frames(frames: GpuFrames, plan: Plan) -> Mapped:
    """The index maps of some frames, which stay where they are, and their errors."""
    xp = frames.xp
    index = xp.empty(frames.colors.shape[:2], xp.uint8)
    frames.errors = xp.zeros(len(index), xp.uint64)
    shape = frames.height, frames.width
    kernels.ordered(frames.colors, plan, shape, (0, 0), index, frames.errors)
    return Mapped(index)
