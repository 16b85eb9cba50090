"""Quantize one image to each of several K: options become a clustering."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.clustering.cluster import cluster, kinds_of
from quantgpu.clustering.target import check_quality, smallest
from quantgpu.color.alpha import Color
from quantgpu.dithering.methods import dithering_for
from quantgpu.histogram import Histogram
from quantgpu.indexed import Indexed
from quantgpu.options import (
    DEFAULT_K,
    check_goals,
    check_kept,
    check_options,
    check_set,
    check_weighing,
    k_for,
)
from quantgpu.palette import Palette
from quantgpu.pipeline.convert import convert
from quantgpu.progress import Progress
from quantgpu.threads import default_threads


def quantized(
    image: Any,
    *,
    ks: Sequence[int | None],
    target: str | None,
    min_quality: str | None,
    effort: str,
    init: str,
    seed: int,
    color_space: str,
    perceptual: bool,
    weights: Any,
    salient: bool,
    keep: Any,
    snap: float | None,
    lock_grays: bool,
    from_palette: Any,
    dither: str | None,
    dither_strength: float | None,
    alpha: str,
    matte: Color | None,
    threads: int | None,
    device: str,
    memory: int | None,
    keep_on_device: bool,
    progress: Progress,
) -> list[Indexed]:
    """What `quantize` returns for each K, with all options of it given."""
    kept: NDArray[np.uint8] | None = None
    for k in ks:
        check_options(
            k, effort, init, seed, color_space, dither, dither_strength, threads, device, memory
        )
        kept = check_kept(k, keep, snap)
    check_weighing(effort, weights, salient)
    ks = [None if k is None else operator.index(k) for k in ks]
    measured = target is not None or min_quality is not None
    dithering = dithering_for(dither, dither_strength, effort, measured)
    among = check_set(from_palette, snap)
    goal, least_good = check_goals(ks, target, min_quality)
    threads = default_threads() if threads is None else threads
    least = 0 if kept is None else len(kept)
    curve: dict[int, float] = {}
    is_picture = True

    def palette_of(
        k: int | None, histogram: Histogram, pixels: int, tell: Progress
    ) -> tuple[Palette, Any]:
        def palette_at(k: int, tell: Progress) -> tuple[Palette, Any]:
            mixes = k > 1 and is_picture and dithering.method != "none"
            return cluster(
                histogram, k, effort=effort, init=init, seed=seed, keep=kept, snap=snap,
                lock_grays=lock_grays, from_palette=among, perceptual=perceptual, salient=salient,
                dithered=mixes, color_space=color_space, threads=threads, progress=tell,
            )  # fmt: skip

        if goal is None:
            found = palette_at(k_for(k, pixels, least), tell)
        else:
            most = min(DEFAULT_K if k is None else k, len(histogram) + least)
            found, tried = smallest(goal, max(least, 1), most, palette_at, histogram, threads, tell)
            curve.update(tried)
        if least_good is not None:
            check_quality(least_good, histogram, *found, threads)
        return found

    def check(shape: tuple[int, ...]) -> None:
        nonlocal is_picture
        is_picture = len(shape) == 2
        for k in ks if goal is None else []:
            k_for(k, math.prod(shape))

    found = convert(
        image, [partial(palette_of, k) for k in ks], "cluster", check=check, dithering=dithering,
        color_space=color_space, kinds=partial(kinds_of, lock_grays=lock_grays),
        perceptual=perceptual and not salient, weights=weights, alpha=alpha, matte=matte,
        threads=threads, device=device, memory=memory, keep_on_device=keep_on_device,
        progress=progress,
    )  # fmt: skip
    return [replace(picture, curve=curve) for picture in found]
