"""The pipeline: pixels, histogram, palette, index map, on a device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any

from quantgpu.arrays.device import Device, translate_gpu_errors
from quantgpu.color.alpha import AlphaOptions
from quantgpu.dithering.base import NO_DITHERING, stats_of
from quantgpu.dithering.methods import mapper_for
from quantgpu.dithering.options import MapOptions, color_map_for
from quantgpu.execution.fallback import guard_progress, run_on_device
from quantgpu.execution.selection import Compute
from quantgpu.histogram import Histogram
from quantgpu.indexed import Indexed
from quantgpu.io.inputs import as_pixels
from quantgpu.io.masks import as_mask
from quantgpu.palette import Palette
from quantgpu.pixels.counting import CountOptions, count_colors
from quantgpu.pixels.gpu import GpuPixels, synchronize_on_error
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Progress, no_progress, stopwatch, subprogress

Shape = tuple[int, ...]
"""The shape of pixels: (H, W) of a picture, (N,) of a list of colors."""

PaletteFinder = Callable[[Histogram, Shape, Progress], tuple[Palette, Any]]
"""From a histogram of n colors and the shape of its pixels to a palette and (n,) indices of the
palette, one for each color of the histogram."""


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """Options for reading, counting and mapping pixels."""

    alpha: AlphaOptions = AlphaOptions()
    counting: CountOptions = CountOptions()
    mapping: MapOptions = MapOptions()
    compute: Compute = Compute()


def convert(
    image: Any,
    finders: Sequence[PaletteFinder],
    stage: str,
    options: ConvertOptions,
    *,
    check: Callable[[Shape], object] = lambda shape: None,
    keep_on_device: bool = False,
    progress: Progress = no_progress,
) -> list[Indexed]:
    """Count an image's colors, find palettes for them, and map the pixels to each, on a device.

    Args:
        image: What `quantgpu.quantize` takes.
        finders: Each finds one palette, for one result.
        stage: The name of the finders' step in `Indexed.seconds`.
        options: All other options of the result, and the device.
        check: Called with the shape of the pixels before any work is done.
        keep_on_device: Leave index maps on the GPU that made them.
        progress: Called with the name of a stage and the share of it that is done.
    """
    started = time.perf_counter()
    ready: dict[str, float] = {}
    work = partial(
        quantize_pixels, finders=finders, stage=stage, options=options,
        keep_on_device=keep_on_device, progress=guard_progress(progress),
    )  # fmt: skip

    def on_gpu(xp: ModuleType, device: Device, keep_pixels: bool) -> list[Indexed]:
        ready.setdefault("open", time.perf_counter() - started - sum(ready.values()))
        with synchronize_on_error(GpuPixels(pixels, xp, device, keep_pixels)) as device_pixels:
            return work(device_pixels, started, ready)

    def on_cpu() -> list[Indexed]:
        with translate_gpu_errors():
            host_pixels = pixels.to_host()
        return work(host_pixels, started, ready)

    pixels = as_pixels(image, options.alpha.alpha, options.alpha.matte)
    check(pixels.shape)
    if options.counting.mask is not None:
        pixels.mask = as_mask(options.counting.mask, pixels.shape)
    ready["read"] = time.perf_counter() - started
    compute = options.compute
    found, used, notes = run_on_device(compute.device, compute.memory, on_gpu, on_cpu, pixels.gpu)
    return [replace(each, device=used, notes=notes + each.notes) for each in found]


def quantize_pixels(
    pixels: Pixels,
    started: float,
    ready: dict[str, float],
    *,
    finders: Sequence[PaletteFinder],
    stage: str,
    options: ConvertOptions,
    keep_on_device: bool,
    progress: Progress,
) -> list[Indexed]:
    """Count pixels, find palettes and map the pixels, on the device of `pixels`.

    Args:
        pixels: On the host or on a GPU.
        started: The start of `convert`, a time of `time.perf_counter`.
        ready: The seconds of each stage before.
        finders: As `convert` takes them, like all other arguments.
    """
    lap = stopwatch(started + sum(ready.values()))
    is_picture, threads = len(pixels.shape) == 2, options.compute.thread_count
    perceptual = options.counting.perceptual and is_picture
    histogram = count_colors(pixels, threads, progress, perceptual)
    notes = pixels.make_room(len(histogram))
    seconds = {**ready, "count": lap()}
    found = []
    for number, finder in enumerate(finders):
        report = subprogress(progress, number, len(finders))
        palette, labels = finder(histogram, pixels.shape, report)
        seconds[stage] = lap()
        mapping = color_map_for(histogram, palette, labels, options.mapping, threads)
        dithering = options.mapping.dithering if is_picture else NO_DITHERING
        index, stats = mapper_for(mapping, dithering)(pixels, keep_on_device, report)
        stats = stats or stats_of(mapping)
        pixels.wait()
        seconds["remap"] = lap()
        indexed = Indexed(
            index=index.reshape(pixels.shape),
            palette=palette,
            counts=stats.counts,
            colors_in=len(histogram),
            squared_error=stats.squared_error,
            seconds=dict(seconds),
            notes=notes,
        )
        found.append(indexed)
        seconds.clear()
    return found
