"""The pipeline: pixels, histogram, points, centers, palette, index map."""

from __future__ import annotations

import contextlib
import math
import operator
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.cells import morton_codes, order_of
from quantgpu.colorspace import COLOR_SPACES, grid_centers
from quantgpu.device import (
    Device,
    Progress,
    array_module,
    check_device,
    default_threads,
    no_progress,
    to_host,
    translated_errors,
)
from quantgpu.dither import DITHERS
from quantgpu.efforts import EFFORTS, find_centers
from quantgpu.errors import UsageError
from quantgpu.fallback import carried, on_device
from quantgpu.histogram import CLEAR, Histogram, count_colors, pack, unpack
from quantgpu.image import Pixels, as_pixels
from quantgpu.importance import evened
from quantgpu.indexed import Indexed
from quantgpu.kinds import Kinds
from quantgpu.kmeans import bounded, weighted_points
from quantgpu.palette import (
    MOST_COLORS,
    Palette,
    as_palette,
    distinct,
    in_order,
    is_transparent,
    of_channels,
)
from quantgpu.seeding import SEEDINGS
from quantgpu.settle import settle
from quantgpu.transfer import GpuPixels
from quantgpu.transparency import ALPHAS, Color

DEFAULT_K = 256

MOST_THREADS = 1024

LEAST_MEMORY, MOST_MEMORY = 1 << 20, 1 << 50
"""Bytes of device memory that may be asked for."""


def quantize(
    image: Any,
    k: int | None = None,
    *,
    effort: str = "balanced",
    init: str = "random",
    seed: int = 0,
    color_space: str = "srgb",
    perceptual: bool = False,
    keep: Any = None,
    snap: float | None = None,
    lock_grays: bool = False,
    dither: str = "none",
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
        effort: ``none``, ``fast``, ``balanced`` or ``best``: the time spent on the palette.
        init: ``random``, ``kmeans++``, ``maximin`` or ``wu``: the first centers. ``random`` with
            effort ``none`` is the textbook's method: K colors drawn from the image's pixels.
        seed: Of the random draws, 0 or more.
        color_space: ``srgb``, ``linear``, ``oklab`` or ``cielab``: where distances are measured.
        perceptual: Let pixels in busy and in dark areas count for less, as errors there are seen
            less, and those of rare colors for more; the effort ``none`` counts all alike.
        keep: Colors that are in the palette exactly, used or not: whatever `apply_palette` takes.
            The others are optimized around them.
        snap: Colors that cover at least such a share of the image, above 0 to 1, come out
            unchanged, the most frequent ones first.
        lock_grays: Let pixels that are gray come out gray.
        dither: ``none``.
        alpha: ``keep``; ``binary``: opaque from an alpha of 128 on, else fully transparent; or
            ``flatten``: laid on the matte. With ``keep``, opaque pixels stay opaque, and fully
            transparent ones fully transparent.
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

    >>> picture = quantize([(216, 175, 145), (220, 183, 152), (0, 0, 0)], k=2)
    >>> picture.palette.hex(), picture.index.tolist()
    (['#000000', '#dab395'], [1, 1, 0])
    """
    check_options(k, effort, init, seed, color_space, dither, threads, device, memory)
    k = None if k is None else operator.index(k)
    kept = check_kept(k, keep, snap)
    threads = default_threads() if threads is None else threads

    def palette_of(histogram: Histogram, pixels: int, tell: Progress) -> tuple[Palette, Any]:
        return cluster(
            histogram, k_for(k, pixels), effort=effort, init=init, seed=seed, keep=kept, snap=snap,
            lock_grays=lock_grays, color_space=color_space, threads=threads, progress=tell,
        )  # fmt: skip

    return convert(
        image, palette_of, "cluster", check=lambda pixels: k_for(k, pixels), dither=dither,
        perceptual=perceptual, alpha=alpha, matte=matte, threads=threads, device=device,
        memory=memory,
        keep_on_device=keep_on_device, progress=progress,
    )  # fmt: skip


def convert(
    image: Any,
    palette_of: Callable[[Histogram, int, Progress], tuple[Palette, Any]],
    stage: str,
    *,
    threads: int,
    device: str,
    memory: int | None,
    keep_on_device: bool,
    progress: Progress,
    dither: str = "none",
    perceptual: bool = False,
    alpha: str = "keep",
    matte: Color | None = None,
    check: Callable[[int], object] = lambda pixels: None,
) -> Indexed:
    """Count an image's colors, find their palette, and map the pixels, on a device.

    Args:
        palette_of: From a histogram, the number of pixels and a progress to the palette and the
            index of each color in it: what differs between ways to quantize.
        stage: The name of that step among `Indexed.seconds`.
        check: Called with the number of pixels before any work is done.

    The others are those of `quantize`.
    """
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    tell = carried(progress)

    def lap(stage: str) -> None:
        seconds[stage] = time.perf_counter() - started - sum(seconds.values())

    def work(pixels: Pixels) -> Indexed:
        for repeated in ("count", stage, "remap"):
            seconds.pop(repeated, None)
        weighed = perceptual and len(pixels.shape) == 2
        histogram = count_colors(pixels, threads, tell, weighed)
        notes = pixels.make_room(len(histogram))
        lap("count")
        palette, labels = palette_of(histogram, len(pixels), tell)
        lap(stage)
        index = DITHERS[dither](
            pixels, histogram, labels, len(palette), threads, tell, keep_on_device
        )
        counts = to_host(pixel_counts(histogram, palette, labels)).astype(np.int64)
        error = int(squared_error(histogram, palette, labels))
        pixels.wait()
        lap("remap")
        return Indexed(
            index=index.reshape(pixels.shape),
            palette=palette,
            counts=counts,
            colors_in=len(histogram),
            squared_error=error,
            seconds=seconds,
            notes=notes,
        )

    def on_gpu(xp: ModuleType, device: Device, keep: bool) -> Indexed:
        if "open" not in seconds:
            lap("open")
        there = GpuPixels(pixels, xp, device, keep)
        try:
            return work(there)
        except BaseException:
            with contextlib.suppress(Exception):  # a GPU that failed may not even wait
                there.wait()
            raise

    def on_cpu() -> Indexed:
        with translated_errors():
            here = pixels.to_host()
        return work(here)

    check_choice("alpha", alpha, ALPHAS)
    pixels = as_pixels(image, alpha, matte)
    check(len(pixels))
    lap("read")
    found, used, notes = on_device(device, memory, on_gpu, on_cpu, pixels.gpu)
    return replace(found, device=used, notes=notes + found.notes)


def cluster(
    histogram: Histogram,
    k: int,
    *,
    effort: str = "balanced",
    init: str = "random",
    seed: int = 0,
    color_space: str = "srgb",
    keep: NDArray[np.uint8] | None = None,
    snap: float | None = None,
    lock_grays: bool = False,
    threads: int = 1,
    progress: Progress = no_progress,
) -> tuple[Palette, Any]:
    """The palette of a histogram, and the index, (n,) integers, of each of its colors in it.

    The options are those of `quantize`; `keep` are colors, (m, 3 | 4) uint8.
    """
    xp = array_module(histogram.keys)
    plan, seeding, space = EFFORTS[effort], SEEDINGS[init], COLOR_SPACES[color_space]
    generator = np.random.default_rng(seed)
    if keep is not None and is_transparent(keep):
        histogram = replace(histogram, channels=4)
    kept = kept_colors(histogram, keep, snap, k)
    if len(histogram) + len(kept) <= 2 * k:
        colors = in_order(distinct(np.concatenate([kept, to_host(histogram.colors)])))
        if len(colors) <= k:
            return Palette(colors), own_entries(histogram, colors, None)

    order = order_of(codes := morton_codes(histogram.colors))
    point_colors = histogram.colors.T.take(order, axis=1).T
    plain = plan is None or histogram.weights is None
    weights = histogram.counts
    if not plain:
        weights = evened(histogram.colors, histogram.counts, histogram.weights)
    weights = weights[order]
    points = weighted_points(space.points(point_colors), bounded(weights, int(weights.sum())))
    fixed = xp.asarray(grid_centers(kept, space))
    centers = find_centers(
        points, codes[order], k, plan, seeding, generator, threads, progress, fixed
    )
    steps = plan.settling if plan else 0
    names = ["opaque"] * (histogram.channels == 4) + ["gray"] * lock_grays
    kinds = Kinds(names, point_colors) if names else None
    colors, labels = settle(points, point_colors, centers, k, space, steps, threads, kept, kinds)
    progress("cluster", 1)
    in_key_order = xp.empty_like(labels)
    in_key_order[order] = labels
    return Palette(colors), own_entries(histogram, colors, in_key_order)


def kept_colors(
    histogram: Histogram, keep: NDArray[np.uint8] | None, snap: float | None, k: int
) -> NDArray[np.uint8]:
    """(m, channels) uint8: at most K colors that are in the palette whatever the others are.

    Those that were given, what cannot be seen, and flat colors with at least such a share of the
    pixels, most frequent first.
    """
    kept = [np.empty((0, histogram.channels), np.uint8)]
    if keep is not None:
        kept = [of_channels(keep, histogram.channels)]
    if histogram.channels == 4 and k > 1 and int(histogram.keys[-1]) == CLEAR:
        kept.append(np.zeros((1, 4), np.uint8))
    if snap is not None:
        xp = array_module(histogram.keys)
        flat = xp.flatnonzero(histogram.counts >= math.ceil(snap * histogram.pixels))
        common = flat[xp.argsort(-histogram.counts[flat], kind="stable")]
        kept.append(to_host(histogram.colors.T.take(common, axis=1).T))
    return distinct(np.concatenate(kept))[:k]


def own_entries(histogram: Histogram, colors: NDArray[np.uint8], labels: Any) -> Any:
    """(n,): the labels, but colors that are in the palette are mapped to themselves.

    In a working space they may be on the same point of the grid as others. Without labels all
    colors are in the palette.
    """
    xp = array_module(histogram.keys)
    entries, rows = np.unique(pack(np.ascontiguousarray(colors)), return_index=True)
    place = xp.searchsorted(histogram.keys, xp.asarray(entries))
    place = xp.minimum(place, len(histogram) - 1)
    is_there = to_host(histogram.keys[place]) == entries
    chosen = xp.asarray(to_host(place)[is_there])
    labels = xp.empty(len(histogram), xp.int64) if labels is None else labels
    labels[chosen] = xp.asarray(rows[is_there]).astype(labels.dtype)
    return labels


def check_options(
    k: int | None,
    effort: str,
    init: str,
    seed: int,
    color_space: str,
    dither: str,
    threads: int | None,
    device: str,
    memory: int | None,
) -> None:
    """Raise a UsageError for what is wrong with options of `quantize`, whatever the image."""
    if k is not None:
        check_number("k", k, 1, MOST_COLORS)
    if threads is not None:
        check_number("threads", threads, 1, MOST_THREADS)
    check_number("seed", seed, 0, 2**64 - 1)
    check_choice("effort", effort, EFFORTS)
    check_choice("init", init, SEEDINGS)
    check_choice("color_space", color_space, COLOR_SPACES)
    check_choice("dither", dither, DITHERS)
    check_device(device)
    if memory is not None:
        check_number("memory", memory, LEAST_MEMORY, MOST_MEMORY)


def check_kept(k: int | None, keep: Any, snap: float | None) -> NDArray[np.uint8] | None:
    """The colors to keep, (m, 3 | 4), without repetitions; or a UsageError."""
    if snap is not None and not 0 < snap <= 1:
        raise UsageError(f"snap = {snap} is outside 0..1; 0.01 is one hundredth of the image")
    if keep is None:
        return None
    kept = distinct(as_palette(keep).colors)
    most = DEFAULT_K if k is None else k
    if len(kept) > most:
        raise UsageError(f"{len(kept)} colors to keep are more than k = {most}")
    return kept


def check_number(name: str, value: int, low: int, high: int) -> None:
    """Raise unless `value` is an integer in ``low … high``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{name} = {value!r} is not an integer") from None
    if not low <= number <= high:
        raise UsageError(f"{name} = {number} is outside {low}..{high}")


def check_choice(name: str, key: str, table: Mapping[str, object]) -> None:
    """Raise unless a table has a row named `key`."""
    if key not in list(table):
        raise UsageError(f"{name} = {key!r} is not one of {', '.join(table)}")


def k_for(k: int | None, pixels: int) -> int:
    """K, or its default, for so many pixels."""
    if k is not None and k > pixels:
        raise UsageError(f"k = {k} is greater than the number of pixels, {pixels}")
    return min(DEFAULT_K, pixels) if k is None else k


def pixel_counts(histogram: Histogram, palette: Palette, labels: Any) -> Any:
    """(K,) float64: the pixels of each palette entry."""
    xp = array_module(labels)
    counts = xp.zeros(len(palette))
    xp.add.at(counts, labels, histogram.counts.astype(float))
    return counts


def squared_error(histogram: Histogram, palette: Palette, labels: Any) -> Any:
    """() int64: squared differences of 8-bit levels between a histogram and its palette, summed.

    Where not all is opaque, the mean of what is seen on black and on white.
    """
    xp = array_module(labels)
    channels = max(palette.colors.shape[1], histogram.channels)
    entries = xp.asarray(np.ascontiguousarray(seen(of_channels(palette.colors, channels)).T))
    difference = entries.take(labels, axis=1)
    difference -= seen(unpack(histogram.keys, channels)).T
    difference *= difference
    total = (difference.sum(axis=0) * histogram.counts).sum()
    return total if channels == 3 else total // 2


def seen(colors: Any) -> Any:
    """(n, 3) int32 levels of opaque colors; (n, 6) of others, laid on black and on white."""
    xp = array_module(colors)
    levels = colors.astype(xp.int32)
    if colors.shape[1] == 3:
        return levels
    alpha = levels[:, 3:]
    on_black = (2 * levels[:, :3] * alpha + 255) // 510
    on_white = (2 * (levels[:, :3] * alpha + 255 * (255 - alpha)) + 255) // 510
    return xp.concatenate([on_black, on_white], axis=1)
