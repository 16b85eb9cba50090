"""The pipeline: pixels, histogram, points, centers, palette, index map."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.device import (
    Device,
    Progress,
    default_threads,
    no_progress,
    part_of,
    translated_errors,
)
from quantgpu.clustering.cluster import cluster, kinds_of
from quantgpu.clustering.target import check_goals, check_quality, smallest
from quantgpu.color.alpha import ALPHAS, Color
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.dithering.base import (
    NO_DITHERING,
    Dithering,
    Mapping,
    dithering_for,
    mapper_for,
    tally_of,
)
from quantgpu.execution.fallback import carried, on_device
from quantgpu.histogram import Histogram, count_colors
from quantgpu.indexed import Indexed
from quantgpu.io.masks import as_mask
from quantgpu.options import (
    DEFAULT_K,
    check_choice,
    check_kept,
    check_matte,
    check_options,
    check_set,
    check_weighing,
    k_for,
)
from quantgpu.palette import Palette
from quantgpu.pixels.gpu import GpuPixels, attended
from quantgpu.pixels.pixels import Pixels, as_pixels


def quantize(
    image: Any,
    k: int | None = None,
    *,
    target: str | None = None,
    min_quality: str | None = None,
    effort: str = "balanced",
    init: str = "random",
    seed: int = 0,
    color_space: str = "oklab",
    perceptual: bool = True,
    weights: Any = None,
    salient: bool = False,
    keep: Any = None,
    snap: float | None = None,
    lock_grays: bool = False,
    from_palette: Any = None,
    dither: str | None = None,
    dither_strength: float | None = None,
    alpha: str = "keep",
    matte: Color | None = None,
    threads: int | None = None,
    device: str = "auto",
    memory: int | None = None,
    keep_on_device: bool = False,
    progress: Progress = no_progress,
) -> Indexed:
    """Reduce an image to K colors.

    The same input and options give the same result on every machine and device, and any number of
    threads.

    Args:
        image: A Pillow image, a path, an (H, W, 3) uint8 array or N triples (red, green, blue); or
            with a fourth channel of alpha, not premultiplied. An array on a GPU (CuPy's, PyTorch's,
            or any that speaks DLPack) is taken where it is.
        k: Colors, 1 to 65,536 and no more than there are pixels; 256, or the number of pixels
            if that is less, when not given. An image of at most K colors comes out unchanged.
        target: Find the smallest K, up to `k`, that meets this: ``psnr=38`` (decibels), ``mse=12``
            (as `Indexed.mse`) or ``de=1.5`` (mean CIEDE2000). The result is that of this K, it
            meets the target, and that of K - 1 was tried and does not. As more colors are not quite
            always better, a K farther down may meet it by a hair. `Indexed.curve` has all K that
            were tried.
        min_quality: Raise unless the result is as good as this, of the same form.
        effort: ``none``, ``fast``, ``balanced`` or ``best``: the time spent on the palette.
        init: ``random``, ``kmeans++``, ``maximin`` or ``wu``: the first centers. ``random`` with
            effort ``none`` and color space ``srgb`` is the textbook's method: K colors drawn from
            the image's pixels.
        seed: Of the random draws, 0 or more.
        color_space: ``srgb``, ``linear``, ``oklab`` or ``cielab``: where distances are measured.
        perceptual: Let pixels in busy and in dark areas count for less, as errors there are seen
            less, and those of rare colors for more; the effort ``none`` counts all alike.
        weights: How much each pixel counts, 255 fully and 0 next to nothing: a gray picture of the
            same size, as a path, a Pillow image or an (H, W) uint8 array, or a bool array. Not with
            the effort ``none``, which counts all alike.
        salient: Raise rare and saturated colors, so that a palette of few keeps those that stand
            out, at the cost of the mean error; pixels in busy and dark areas then count in full.
            Not with the effort ``none``.
        keep: Colors that are in the palette exactly, used or not: whatever `apply_palette` takes.
            The others are optimized around them.
        snap: Colors that cover at least such a share of the image, above 0 to 1, come out
            unchanged, the most frequent ones first.
        lock_grays: Let pixels that are gray come out gray.
        from_palette: Choose at most K of these colors: whatever `apply_palette` takes. Where pixels
            are fully transparent, that is a color, too.
        dither: How colors are mixed: ``none``, ``bayer`` (``bayer:2`` to ``bayer:16``),
            ``blue-noise``, ``floyd-steinberg``, ``jarvis``, ``stucki``, ``burkes``, ``sierra``,
            ``sierra-lite``, ``atkinson``, ``stevenson-arce`` or ``adaptive``. When not given,
            ``adaptive``; but ``none`` with one color, the effort ``none``, a `target` or a
            `min_quality`. Colors that are in the palette are not disturbed, and colors without a
            picture are not mixed.
        dither_strength: 0 (not at all) to 1; what suits the method when not given.
        alpha: ``keep``; ``binary``: opaque from an alpha of 128 on, else fully transparent; or
            ``flatten``: laid on the matte. With ``keep``, opaque pixels stay opaque, and fully
            transparent ones fully transparent, if K is above 1 and kept colors leave room.
        matte: What partly transparent pixels are laid on; white with ``flatten`` when not given.
        threads: At least 1; as many as there are processors when not given.
        device: ``auto`` (a GPU if one works, else the CPU), ``cpu``, ``gpu`` or ``gpu:N``.
        memory: Bytes of device memory to use; most of what is free when not given.
        keep_on_device: Leave the index map on the GPU that made it, as a `cupy.ndarray`.
        progress: Called with the name of a stage and the share of it that is done.

    Raises:
        UsageError: An argument is outside its range; it is a `ValueError` too.
        InputError: The file at a path cannot be read as an image.
        DeviceError: The GPU that was asked for cannot be used.
        QualityError: The result would not be as good as was asked for.

    >>> picture = quantize([(216, 175, 145), (220, 183, 152), (0, 0, 0)], k=2)
    >>> picture.palette.hex(), picture.index.tolist()
    (['#000000', '#dab394'], [1, 1, 0])
    """
    [picture] = quantized(
        image, ks=[k], target=target, min_quality=min_quality, effort=effort, init=init, seed=seed,
        color_space=color_space, perceptual=perceptual, weights=weights, salient=salient,
        keep=keep, snap=snap, lock_grays=lock_grays, from_palette=from_palette, dither=dither,
        dither_strength=dither_strength, alpha=alpha, matte=matte, threads=threads, device=device,
        memory=memory, keep_on_device=keep_on_device, progress=progress,
    )  # fmt: skip
    return picture


def quantize_each(image: Any, ks: Iterable[int | None], **options: Any) -> list[Indexed]:
    """Reduce an image to each of several K colors; its pixels are counted once.

    Args:
        image: What `quantize` takes.
        ks: The numbers of colors, all different.
        options: Those of `quantize`; `target` only with one K, which is the most it may find then.

    Returns:
        For each K, in the order given, what `quantize` returns.

    >>> [len(picture.palette) for picture in quantize_each([(1, 2, 3), (4, 5, 6)], [2, 1])]
    [2, 1]
    """
    assert quantize.__kwdefaults__ is not None
    return quantized(image, ks=list(ks), **{**quantize.__kwdefaults__, **options})


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


def stopwatch(since: float) -> Callable[[], float]:
    """A function that says how many seconds went by since it last did, or since then."""

    def lap() -> float:
        nonlocal since
        before, since = since, time.perf_counter()
        return since - before

    return lap
