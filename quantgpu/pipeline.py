"""The pipeline: pixels, histogram, points, centers, palette, index map."""

from __future__ import annotations

import operator
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from quantgpu.cells import morton_codes, order_of
from quantgpu.colorspace import COLOR_SPACES
from quantgpu.device import default_threads
from quantgpu.dither import DITHERS
from quantgpu.efforts import EFFORTS, Progress, find_centers
from quantgpu.errors import UsageError
from quantgpu.histogram import Histogram, count_colors, pack, unpack
from quantgpu.image import as_pixels
from quantgpu.indexed import Indexed
from quantgpu.kmeans import weighted_points
from quantgpu.palette import Palette, in_order
from quantgpu.seeding import SEEDINGS
from quantgpu.settle import settle

DEFAULT_K = 256

MOST_COLORS = 65_536
"""K is at most what 16-bit indices can tell apart."""

Row = TypeVar("Row")


def no_progress(stage: str, share: float) -> None:
    """Progress that nobody sees."""


def quantize(
    image: Any,
    k: int | None = None,
    *,
    effort: str = "balanced",
    init: str = "random",
    seed: int = 0,
    color_space: str = "srgb",
    dither: str = "none",
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Indexed:
    """Reduce an image to K colors.

    The same input and options give the same result on every machine and any number of threads.

    Args:
        image: A Pillow image, a path, an (H, W, 3) uint8 array or N triples (red, green, blue).
        k: Colors, 1 to 65,536 and no more than there are pixels; 256, or the number of pixels
            if that is less, when not given. An image of at most K colors comes out unchanged.
        effort: ``none``, ``fast``, ``balanced`` or ``best``: the time spent on the palette.
        init: ``random``, ``kmeans++``, ``maximin`` or ``wu``: the first centers. ``random`` with
            effort ``none`` is the textbook's method: K colors drawn from the image's pixels.
        seed: Of the random draws, 0 or more.
        color_space: ``srgb``: the space in which distances are measured.
        dither: ``none``.
        threads: At least 1; as many as there are processors when not given.
        progress: Called with the name of a stage and the share of it that is done.

    Raises:
        UsageError: An argument is outside its range; it is a `ValueError` too.
        InputError: The file at a path cannot be read as an image.

    >>> picture = quantize([(216, 175, 145), (220, 183, 152), (0, 0, 0)], k=2)
    >>> picture.palette.hex(), picture.index.tolist()
    (['#000000', '#dab395'], [1, 1, 0])
    """
    checked_choice("dither", dither, DITHERS)
    threads = default_threads() if threads is None else checked("threads", threads, 1, 1024)
    seconds: dict[str, float] = {}
    started = time.perf_counter()

    def lap(stage: str) -> None:
        seconds[stage] = time.perf_counter() - started - sum(seconds.values())

    pixels = as_pixels(image)
    k = checked_k(k, len(pixels))
    lap("read")
    histogram = count_colors(pixels, threads, progress)
    lap("count")
    palette, labels = cluster(
        histogram, k, effort=effort, init=init, seed=seed, color_space=color_space,
        threads=threads, progress=progress,
    )  # fmt: skip
    lap("cluster")
    index = DITHERS[dither](pixels, histogram, labels, len(palette), threads, progress)
    lap("remap")
    return Indexed(
        index=index.reshape(pixels.shape),
        palette=palette,
        counts=np.bincount(labels, histogram.counts, minlength=len(palette)).astype(np.int64),
        colors_in=len(histogram),
        squared_error=squared_error(histogram, palette, labels),
        seconds=seconds,
    )


def cluster(
    histogram: Histogram,
    k: int,
    *,
    effort: str = "balanced",
    init: str = "random",
    seed: int = 0,
    color_space: str = "srgb",
    threads: int = 1,
    progress: Progress = no_progress,
) -> tuple[Palette, NDArray[np.intp]]:
    """The palette of a histogram, and the index, (n,) intp, of each of its colors in it.

    The options are those of `quantize`.
    """
    plan = checked_choice("effort", effort, EFFORTS)
    seeding = checked_choice("init", init, SEEDINGS)
    space = checked_choice("color_space", color_space, COLOR_SPACES)
    generator = np.random.default_rng(checked("seed", seed, 0, 2**64 - 1))
    if len(histogram) <= k:
        colors = in_order(histogram.colors)
        return Palette(colors), np.argsort(pack(colors))

    order = order_of(codes := morton_codes(histogram.colors))
    point_colors = unpack(histogram.keys[order])
    points = weighted_points(space.to_grid(point_colors), histogram.counts[order])
    centers = find_centers(points, codes[order], k, plan, seeding, generator, threads, progress)
    steps = plan.settling if plan else 0
    colors, labels = settle(points, point_colors, centers, k, space, steps, threads)
    in_key_order = np.empty_like(labels)
    in_key_order[order] = labels
    return Palette(colors), in_key_order


def checked_k(k: int | None, pixels: int) -> int:
    """K, if it is one of 1 … 65,536 and no greater than the number of pixels."""
    if k is None:
        return min(DEFAULT_K, pixels)
    k = checked("k", k, 1, MOST_COLORS)
    if k > pixels:
        raise UsageError(f"k = {k} is greater than the number of pixels, {pixels}")
    return k


def checked(name: str, value: int, low: int, high: int) -> int:
    """`value` as an integer, if it lies in ``low … high``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{name} = {value!r} is not an integer") from None
    if not low <= number <= high:
        raise UsageError(f"{name} = {number} is outside {low}..{high}")
    return number


def checked_choice(name: str, key: str, table: Mapping[str, Row]) -> Row:
    """The row of a table that an option names."""
    if key not in table:
        raise UsageError(f"{name} = {key!r} is not one of {', '.join(table)}")
    return table[key]


def squared_error(histogram: Histogram, palette: Palette, labels: NDArray[np.intp]) -> int:
    """Squared differences of 8-bit levels between a histogram and its palette, summed."""
    total = 0
    for levels, entries in zip(histogram.colors.T, palette.colors.T.astype(np.int64), strict=True):
        difference = entries[labels] - levels
        total += int((histogram.counts * difference * difference).sum())
    return total
