"""Quantize one image to each of several K: a palette is searched for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quantgpu.clustering.cluster import cluster
from quantgpu.clustering.options import DEFAULT_K, PaletteOptions
from quantgpu.clustering.target import Goals, check_quality, smallest_palette
from quantgpu.histogram import Histogram
from quantgpu.indexed import Indexed
from quantgpu.options import QuantizeOptions, check_ks, k_for
from quantgpu.palette import Palette
from quantgpu.pipeline.convert import ConvertOptions, Shape, convert
from quantgpu.pixels.counting import CountOptions
from quantgpu.progress import Progress, no_progress


def quantize_with(
    image: Any,
    ks: Sequence[int | None],
    options: QuantizeOptions,
    *,
    weights: Any = None,
    keep_on_device: bool = False,
    progress: Progress = no_progress,
) -> list[Indexed]:
    """Reduce an image to each of several K colors; its pixels are counted once.

    Args:
        image: What `quantgpu.quantize` takes.
        ks: The numbers of colors, all different; None for the default.
        options: All other options that decide the result, and the device.
        weights: How much each pixel counts, as `quantgpu.quantize` takes it.
        keep_on_device: Leave index maps on the GPU that made them.
        progress: Called with the name of a stage and the share of it that is done.

    Raises:
        UsageError: A K does not go with the options, or with the image.
        QuantgpuError: As `quantgpu.quantize` raises it.
    """
    palette, goals = options.palette, options.goals
    ks = check_ks(ks, options)
    palette.check_weighing(weights)
    mapping = options.mapping()
    mixes = mapping.dithering.method != "none"
    threads = options.compute.thread_count
    finders = [KFinder(k, palette, goals, mixes, threads) for k in ks]

    def check(shape: Shape) -> None:
        for k in ks if goals.target is None else []:
            k_for(k, math.prod(shape))

    found = convert(
        image,
        finders,
        "cluster",
        ConvertOptions(
            alpha=options.alpha,
            counting=CountOptions(perceptual=palette.weighs_pixels, mask=weights),
            mapping=mapping,
            compute=options.compute,
        ),
        check=check,
        keep_on_device=keep_on_device,
        progress=progress,
    )
    return [replace(each, curve=finder.curve) for each, finder in zip(found, finders, strict=True)]


@dataclass
class KFinder:
    """A `PaletteFinder` for K colors, or for the smallest K that meets a target."""

    k: int | None
    options: PaletteOptions
    goals: Goals
    mixes: bool
    """Whether pictures are dithered."""
    threads: int
    curve: dict[int, float] = field(default_factory=dict)
    """Each K that was tried for the target, and its quality in the target's unit."""

    def __call__(
        self, histogram: Histogram, shape: Shape, progress: Progress
    ) -> tuple[Palette, Any]:
        """The palette for pixels of a shape, and the entry of each color of their histogram.

        Raises:
            QualityError: The palette does not meet `min_quality`, or no K meets the target.
        """

        def palette_at(k: int, progress: Progress) -> tuple[Palette, Any]:
            dithered = k > 1 and self.mixes and len(shape) == 2
            return cluster(
                histogram, k, self.options, dithered=dithered, threads=self.threads,
                progress=progress,
            )  # fmt: skip

        kept, goals = self.options.kept_count, self.goals
        target, needed = goals.parsed_target, goals.parsed_min_quality
        if target is None:
            found = palette_at(k_for(self.k, math.prod(shape), kept), progress)
        else:
            most = min(DEFAULT_K if self.k is None else self.k, len(histogram) + kept)
            found, tried = smallest_palette(
                target, max(kept, 1), most, palette_at, histogram, self.threads, progress
            )
            self.curve.update(tried)
        if needed is not None:
            check_quality(needed, histogram, *found, self.threads)
        return found
