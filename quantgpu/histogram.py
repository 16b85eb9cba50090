"""Counting colors. k-means over weighted unique colors is exactly k-means over all pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.device import Progress, array_module, map_ahead, no_progress, on_host, ranges
from quantgpu.image import Pixels
from quantgpu.importance import MOST
from quantgpu.kernels import pixels as kernels

KEYS = 1 << 24
"""8-bit RGB colors; a color's key is ``red + 256 * green + 65536 * blue``."""

BATCH = 1 << 17
"""Pixels packed at a time: 1 MiB of keys, which the second-level cache holds."""

ONE = np.uint32(1)

FLUSH = (1 << 32) - 1
"""Pixels that 32-bit bins can count before one could overflow."""

COUNT_BITS = 28
"""Of the 64 bits of a bin that holds a count and, above it, a sum of weights."""


def pack(colors: NDArray[np.uint8], out: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """The keys, (n,) int64, of C-contiguous (n, 3) uint8 colors; in the first n of `out` if given.

    All but the last two colors are read as overlapping 64-bit words, three bytes apart, and
    masked: one pass instead of five (21 ms instead of 88 ms for 24 million pixels).
    """
    count = len(colors)
    keys = np.empty(count, np.int64) if out is None else out[:count]
    whole = max(count - 2, 0)
    words = np.ndarray((whole,), "<u8", colors, strides=(3,)) if whole else np.empty(0, "<u8")
    np.bitwise_and(words, KEYS - 1, out=keys[:whole].view(np.uint64))
    tail = colors[whole:].astype(np.int64)
    keys[whole:] = tail[:, 0] + (tail[:, 1] << 8) + (tail[:, 2] << 16)
    return keys


def unpack(keys: Any) -> Any:
    """The (n, 3) uint8 colors of (n,) keys; each channel is contiguous."""
    xp = array_module(keys)
    little = keys.astype("<i8", copy=False).view(xp.uint8).reshape(-1, 8)
    return xp.ascontiguousarray(little[:, :3].T).T


@dataclass(frozen=True, eq=False)
class Histogram:
    """The distinct colors of an image and how many pixels have each.

    Histograms add: ``count(top) + count(bottom)`` equals ``count(whole)``.
    """

    keys: Any
    """(n,) int64: packed colors, ascending and distinct."""
    counts: Any
    """(n,) int64: pixels of each color, at least 1."""

    weights: Any = None
    """(n,) int64: how much the pixels of each color count together; None if as many as they are."""

    @cached_property
    def colors(self) -> Any:
        """The distinct colors, (n, 3) uint8; each channel is contiguous."""
        return unpack(self.keys)

    @property
    def pixels(self) -> int:
        """The pixels counted."""
        return int(self.counts.sum())

    def __len__(self) -> int:
        return len(self.keys)

    def __add__(self, other: Histogram) -> Histogram:
        xp = array_module(self.keys)
        keys, inverse = xp.unique(xp.concatenate([self.keys, other.keys]), return_inverse=True)
        mine, theirs = inverse[: len(self)], inverse[len(self) :]

        def total(here: Any, there: Any) -> Any:
            sums = xp.zeros(len(keys), xp.int64)
            sums[mine] += here
            sums[theirs] += there
            return sums

        counts = total(self.counts, other.counts)
        if self.weights is None and other.weights is None:
            return Histogram(keys, counts)
        return Histogram(keys, counts, total(self.full_weights, other.full_weights))

    @property
    def full_weights(self) -> Any:
        """(n,) int64: the weights, those of smooth areas if there are none."""
        return MOST * self.counts if self.weights is None else self.weights


def count_colors(
    pixels: Pixels,
    threads: int = 1,
    progress: Progress = no_progress,
    perceptual: bool = False,
) -> Histogram:
    """Count the colors of `pixels`; with the weights of `importance` if `perceptual`.

    One thread counts: a second with bins of its own only takes the cache from the first (measured,
    24 million pixels: 105 ms against 134), and fetching slabs ahead costs more than it hides.
    Several find the bins that are not empty.
    """
    xp = pixels.xp
    bins = xp.zeros(KEYS, xp.uint64 if perceptual else xp.uint32)
    most = min(FLUSH, (1 << COUNT_BITS) - 1) if perceptual else FLUSH
    total: Histogram | None = None
    room = most
    buffer = np.empty(max(BATCH, pixels.width), np.int64) if xp is np else None
    slabs = pixels.weighed_slabs(BATCH, threads) if perceptual else pixels.slabs(BATCH)
    for rows, colors, *weights in slabs:
        if len(colors) > room:
            counted = occurring(bins, threads)
            total = total + counted if total else counted
            bins[:] = 0
            room = most
        if xp is np:
            np.add.at(bins, pack(colors, buffer), packed(weights[0]) if perceptual else ONE)
        else:
            kernels.add_to_bins(bins, colors, *weights)
        room -= len(colors)
        progress("count", rows[1] / pixels.height)
    counted = occurring(bins, threads)
    return total + counted if total else counted


def packed(weights: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """What pixels of these weights add to a bin of a count and a sum."""
    sums = weights.astype(np.uint64)
    sums <<= np.uint64(COUNT_BITS)
    sums |= np.uint64(1)
    return sums


def histogram_of(keys: Any, bins: Any) -> Histogram:
    """The histogram of some keys."""
    found = bins[keys].astype("int64")
    if bins.dtype == np.uint32:
        return Histogram(keys, found)
    return Histogram(keys, found & ((1 << COUNT_BITS) - 1), found >> COUNT_BITS)


def occurring(bins: Any, threads: int) -> Histogram:
    """The histogram of all keys with a count; on the host several threads look for them."""
    if not on_host(bins):
        return histogram_of(array_module(bins).flatnonzero(bins), bins)

    def keys_in(interval: tuple[int, int]) -> NDArray[np.int64]:
        return np.flatnonzero(bins[slice(*interval)] != 0) + interval[0]

    keys = np.concatenate(list(map_ahead(keys_in, ranges(0, KEYS, KEYS // 16), threads)))
    return histogram_of(keys, bins)
