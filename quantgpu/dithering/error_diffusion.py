"""Error diffusion of whole pictures on the CPU: bands of rows, threads, tallies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from quantgpu.arrays.namespace import array_module, to_host
from quantgpu.dithering.base import ColorMap, Dithering, Mapper, MapResult, MapStats, no_dither
from quantgpu.dithering.diffusion import no_errors
from quantgpu.dithering.error_diffusion_plan import (
    Colors,
    DiffusionPlan,
    diffusion_plan,
    entries_of,
    error_of,
    prepare_pixels,
)
from quantgpu.pixels.counting import BATCH
from quantgpu.pixels.gpu import GpuFrames, GpuPixels
from quantgpu.pixels.perceptual import lightness, local_contrast, rows_around
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Progress, subprogress
from quantgpu.threads import imap_threads

BAND = 1 << 24
"""Pixels that are diffused at a time, 9 bytes each; a band goes on with the errors of the last."""


def diffused(mapping: ColorMap, dithering: Dithering) -> Mapper:
    """A mapper of pictures by the error diffusion that `dithering` names.

    Colors that are in the palette keep their own entry, and so do pixels that cannot be seen; they
    neither take errors nor pass any on.
    """
    from quantgpu.dithering import error_diffusion_gpu

    colors = Colors(mapping)
    if bool(colors.is_silent.all()):
        return no_dither(mapping)
    plan = diffusion_plan(mapping, dithering, colors)

    def mapped(pixels: Pixels, stay: bool, progress: Progress) -> MapResult:
        if isinstance(pixels, GpuFrames):
            return error_diffusion_gpu.diffuse_frames_gpu(pixels, plan)
        if isinstance(pixels, GpuPixels):
            return error_diffusion_gpu.diffuse_slabs_gpu(pixels, plan, stay, progress)
        return diffuse_bands(pixels, plan, mapping.threads, progress)

    return mapped


def tally_of(plan: DiffusionPlan, ranks: Any, index: Any) -> tuple[Any, Any]:
    """The pixels of each palette entry, (K,) int64, and the squared error, () int64."""
    xp = array_module(index)
    counts = xp.bincount(index, minlength=plan.k)
    return counts.astype(xp.int64), error_of(plan, ranks, index)


def sum_stats(plan: DiffusionPlan, tallies: list[tuple[Any, Any]]) -> MapStats:
    """The sum of some tallies, on the host."""
    counts, error = (sum(parts) for parts in zip(*tallies, strict=True))
    return MapStats(to_host(counts), int(error) // plan.sides)


def diffuse_bands(
    pixels: Pixels, plan: DiffusionPlan, threads: int, progress: Progress
) -> MapResult:
    """An index map, band by band; several threads prepare and count the pixels of a band."""
    width = pixels.width
    index = np.empty((pixels.height, width), plan.dtype)
    bands = list(pixels.row_ranges(-(-len(pixels) // -(-len(pixels) // BAND)) + width - 1))
    size = max(stop - start for start, stop in bands) * width
    ranks, strength = np.empty(size, np.int32), np.empty(size, np.uint8)
    errors = no_errors(plan.kernel, len(plan.scheme.points), width)
    tallies = []
    for turn, (start, stop) in enumerate(bands):

        def part(rows: tuple[int, int], start: int = start) -> slice:
            return slice((rows[0] - start) * width, (rows[1] - start) * width)

        def prepare(rows: tuple[int, int], part: Callable[..., slice] = part) -> None:
            colors, busy = colors_of(pixels, rows, plan.is_adaptive)
            ranks[part(rows)], strength[part(rows)] = prepare_pixels(plan, colors, busy)

        def tally(rows: tuple[int, int], part: Callable[..., slice] = part) -> tuple[Any, Any]:
            return tally_of(plan, ranks[part(rows)], index[slice(*rows)].reshape(-1))

        pieces = list(pixels.row_ranges(BATCH, (start, stop)))
        deque(imap_threads(prepare, pieces, threads), maxlen=0)
        used = part((start, stop))
        told = subprogress(progress, turn, len(bands))
        found, errors = entries_of(plan, ranks[used], strength[used], errors, told)
        index[start:stop] = found.reshape(-1, width)
        tallies += list(imap_threads(tally, pieces, threads))
        told("remap", 1)
    return MapResult(index, sum_stats(plan, tallies))


def colors_of(pixels: Pixels, rows: tuple[int, int], with_contrast: bool) -> tuple[Any, Any]:
    """The colors, (m, channels), and local contrasts, (m,), of the pixels in some rows on the host.

    The contrasts are None if they are not asked for.
    """
    start, stop = rows
    if not with_contrast:
        return pixels.slab(start, stop), None
    first, last = rows_around(start, stop, pixels.height)
    around = pixels.slab(first, last).reshape(last - first, pixels.width, pixels.channels)
    busy = local_contrast(lightness(around), start - first, stop - start)
    inner = around[start - first : stop - first].reshape(-1, pixels.channels)
    return inner, busy.reshape(-1)
