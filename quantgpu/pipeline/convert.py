"""The pipeline: pixels, histogram, points, centers, palette, index map."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from quantgpu.arrays.device import Device, translated_errors
from quantgpu.color.alpha import ALPHAS, Color, check_matte
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.dithering.base import NO_DITHERING, Dithering, Mapping, tally_of
from quantgpu.dithering.methods import mapper_for
from quantgpu.errors import check_choice
from quantgpu.execution.fallback import carried, on_device
from quantgpu.histogram import Histogram
from quantgpu.indexed import Indexed
from quantgpu.io.inputs import as_pixels
from quantgpu.io.masks import as_mask
from quantgpu.palette import Palette
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.gpu import GpuPixels, attended
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Progress, part_of, stopwatch

Clustering = Callable[[Histogram, int, Progress], tuple[Palette, Any]]
"""From a histogram, the number of pixels and a progress to a palette and each color's index in it.
"""


def convert(
    image: Any,
    clusterings: Sequence[Clustering],
    stage: str,
    *,
    threads: int,
    device: str,
    memory: int | None,
    keep_on_device: bool,
    progress: Progress,
    dithering: Dithering = NO_DITHERING,
    color_space: str = "oklab",
    kinds: Callable[[int], Sequence[str]] = lambda channels: [],
    perceptual: bool = False,
    weights: Any = None,
    alpha: str = "keep",
    matte: Color | None = None,
    check: Callable[[tuple[int, ...]], object] = lambda shape: None,
) -> list[Indexed]:
    """Count an image's colors, find palettes for them, and map the pixels to each, on a device.

    Args:
        clusterings: What differs between ways to quantize: each gives one result.
        stage: The name of that step among `Indexed.seconds`.
        dithering: How colors are mixed.
        kinds: From a number of channels to the kinds of colors that are kept apart.
        check: Called with the shape of the pixels, (H, W) or (N,), before any work is done.

    The others are those of `quantize`.
    """
    tell = carried(progress)
    started = time.perf_counter()
    ready: dict[str, float] = {}

    def work(pixels: Pixels) -> list[Indexed]:
        lap = stopwatch(started + sum(ready.values()))
        weighed = perceptual and len(pixels.shape) == 2
        histogram = count_colors(pixels, threads, tell, weighed)
        notes = pixels.make_room(len(histogram))
        seconds = {**ready, "count": lap()}

        def result(clustering: Clustering, tell: Progress) -> Indexed:
            palette, labels = clustering(histogram, len(pixels), tell)
            seconds[stage] = lap()
            channels = max(histogram.channels, palette.colors.shape[1])
            mapping = Mapping(
                histogram, palette, labels, COLOR_SPACES[color_space], kinds(channels), threads
            )
            mixing = dithering if len(pixels.shape) == 2 else NO_DITHERING
            index, tally = mapper_for(mapping, mixing)(pixels, keep_on_device, tell)
            tally = tally or tally_of(mapping)
            pixels.wait()
            seconds["remap"] = lap()
            return Indexed(
                index=index.reshape(pixels.shape),
                palette=palette,
                counts=tally.counts,
                colors_in=len(histogram),
                squared_error=tally.squared_error,
                seconds=dict(seconds),
                notes=notes,
            )

        found = []
        for turn, clustering in enumerate(clusterings):
            found.append(result(clustering, part_of(tell, turn, len(clusterings))))
            seconds.clear()
        return found

    def on_gpu(xp: ModuleType, device: Device, keep: bool) -> list[Indexed]:
        ready.setdefault("open", time.perf_counter() - started - sum(ready.values()))
        with attended(GpuPixels(pixels, xp, device, keep)) as there:
            return work(there)

    def on_cpu() -> list[Indexed]:
        with translated_errors():
            here = pixels.to_host()
        return work(here)

    check_choice("alpha", alpha, ALPHAS)
    check_matte(matte)
    pixels = as_pixels(image, alpha, matte)
    check(pixels.shape)
    if weights is not None:
        pixels.mask = as_mask(weights, pixels.shape)
    ready["read"] = time.perf_counter() - started
    found, used, notes = on_device(device, memory, on_gpu, on_cpu, pixels.gpu)
    return [replace(each, device=used, notes=notes + each.notes) for each in found]
