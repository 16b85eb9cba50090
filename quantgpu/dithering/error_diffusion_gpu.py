"""Error diffusion on a GPU: slab by slab, or on some frames at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantgpu.arrays.namespace import array_module, to_host
from quantgpu.dithering import error_diffusion_gpu, lookup_gpu
from quantgpu.dithering.base import MapResult, MapStats
from quantgpu.dithering.diffusion import no_errors
from quantgpu.dithering.diffusion_gpu import diffuse_frames
from quantgpu.dithering.error_diffusion_plan import (
    DiffusionPlan,
    entries_of,
    error_of,
    restore_exact,
)
from quantgpu.kernels.launch import blocks_for, int32, prepare
from quantgpu.pixels.gpu import GpuFrames, GpuPixels
from quantgpu.pixels.perceptual import over_gray
from quantgpu.progress import Progress, no_progress


def diffuse_slabs_gpu(
    pixels: GpuPixels, plan: DiffusionPlan, stay: bool, progress: Progress
) -> MapResult:
    """An index map, slab by slab."""
    xp, width = pixels.xp, pixels.width
    errors = no_errors(plan.kernel, len(plan.scheme.points), width, xp)
    counts, total = xp.zeros(plan.k, xp.uint64), xp.zeros(1, xp.uint64)
    none = xp.empty((0, pixels.channels), xp.uint8)

    def on_slab(colors: Any, out: Any, before: Any = none, after: Any = none) -> None:
        nonlocal errors
        strength = xp.empty(len(colors), xp.uint8)
        ranks = prepare_rows(plan, colors, before, after, width, strength)
        out[:], errors = entries_of(plan, ranks, strength, errors, no_progress)
        tell(plan, colors, ranks, out, total, counts)

    slabs = pixels.slabs_between() if plan.is_adaptive else pixels.slabs()
    index = pixels.map(plan.dtype, on_slab, stay, progress, slabs)
    return MapResult(index, MapStats(to_host(counts).astype(np.int64), int(total[0]) // plan.sides))


def diffuse_frames_gpu(frames: GpuFrames, plan: DiffusionPlan) -> MapResult:
    """The index maps of some frames, which stay where they are, and their errors."""
    xp, width = frames.xp, frames.width
    count, pixels = len(frames.colors), frames.height * width
    shape = count, frames.height, width
    none = xp.empty((0, frames.channels), xp.uint8)
    ranks, strength = xp.empty((count, pixels), xp.int32), xp.empty((count, pixels), xp.uint8)
    for turn, colors in enumerate(frames.colors[:, :pixels]):
        ranks[turn] = prepare_rows(plan, colors, none, none, width, strength[turn])
    above = no_errors(plan.kernel, len(plan.scheme.points), width, xp)
    found, _ = diffuse_frames(
        ranks.reshape(shape), strength.reshape(shape), plan.kernel, plan.scheme,
        xp.stack([above] * count), plan.dtype,
    )  # fmt: skip
    index = xp.empty(frames.colors.shape[:2], plan.dtype)
    errors = xp.zeros(count, xp.uint64)
    for turn, own in enumerate(ranks):
        out = index[turn, :pixels]
        out[:] = restore_exact(plan, own, found[turn].reshape(-1))
        tell(plan, frames.colors[turn, :pixels], own, out, errors[turn : turn + 1])
    frames.errors = errors // xp.uint64(plan.sides)
    return MapResult(index)


def prepare_rows(
    plan: DiffusionPlan, colors: Any, before: Any, after: Any, width: int, strength: Any
) -> Any:
    """The colors, (m,) int32, of the pixels of some rows; puts their strengths into the last.

    The row before and up to two after them are given as far as there are any.
    """
    xp = array_module(colors)
    ranks = xp.empty(len(colors), xp.int32)
    plan.rank_of(colors, ranks)
    if plan.wanted is None:
        strength[:] = plan.strength.take(ranks)
    else:
        error_diffusion_gpu.temper(
            *(over_gray(colors), over_gray(before), over_gray(after)), width, ranks,
            plan.strength, plan.wanted, strength,
        )  # fmt: skip
    return ranks


def tell(
    plan: DiffusionPlan, colors: Any, ranks: Any, index: Any, error: Any, counts: Any = None
) -> None:
    """Add the squared error of some pixels to (1,) uint64, and those of each entry to (K,)."""
    if plan.keys is not None:
        lookup_gpu.tally(colors, index, plan.keys, error, counts)
        return
    error += error_of(plan, ranks, index).astype(error.dtype)
    if counts is not None:
        counts += array_module(index).bincount(index, minlength=plan.k).astype(counts.dtype)


def temper(
    colors: Any, before: Any, after: Any, width: int, ranks: Any, full: Any, wanted: Any, found: Any
) -> None:
    """Put how much of the error of each of the `colors` of whole rows is passed on into `found`.

    See ``weigh.cu``; `ranks`, (m,) int32, say where in `full` and `wanted`, (n,) uint8, to look.
    """
    numbers = (len(colors) // width, width, len(before) // width, len(after) // width)
    arguments = colors, before, after, *map(int32, numbers), ranks, full, wanted, found
    prepare("weigh", blocks_for(len(colors)), arguments, TEMPERED=1).run()
