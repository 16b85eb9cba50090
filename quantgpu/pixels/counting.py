"""From pixels to a histogram: bins for opaque colors, keys for the partly transparent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module, on_host
from quantgpu.color.packing import KEYS, pack, transparent_keys
from quantgpu.histogram import Histogram, sum_of
from quantgpu.pixels import counting_gpu
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Progress, no_progress
from quantgpu.threads import chunks, imap_threads

BATCH = 1 << 17
"""Pixels packed at a time: 1 MiB of keys, which the second-level cache holds."""

ONE = np.uint32(1)

PARTLY = 1 << 24
"""Pixels that are not opaque, of which keys are gathered before they are counted."""

FLUSH = (1 << 32) - 1
"""Pixels that 32-bit bins can count before one could overflow."""

COUNT_BITS = 28
"""Of the 64 bits of a bin that holds a count and, above it, a sum of weights."""


@dataclass(frozen=True, kw_only=True)
class CountOptions:
    """How pixels are weighted when they are counted."""

    perceptual: bool = False
    """Whether they weigh what `perceptual` says."""
    mask: Any = None
    """How much each pixel counts beside that, as `io.masks.as_mask` takes it; None for fully."""


def count_colors(
    pixels: Pixels,
    threads: int = 1,
    progress: Progress = no_progress,
    perceptual: bool = False,
) -> Histogram:
    """Count the colors of `pixels`; with the weights of `pixel_weights` if `perceptual`.

    If the pixels have a mask, with its weights too.
    """
    weighed = perceptual or pixels.mask is not None
    counter = Counter(pixels.xp, pixels.channels, weighed, threads)
    counter.add(pixels, perceptual, progress)
    return counter.total()


class Counter:
    """Counts the colors of any number of pictures together, in the same bins.

    One thread counts: a second with bins of its own only takes the cache from the first (measured,
    24 million pixels: 105 ms against 134), and fetching slabs ahead costs more than it hides.
    Several find the bins that are not empty.
    """

    def __init__(self, xp: Any, channels: int, weighed: bool, threads: int = 1) -> None:
        """`xp`, `channels`: of all pictures; `weighed`: whether weights are summed up, too."""
        self.xp, self.weighed, self.threads = xp, weighed, threads
        self.bins = xp.zeros(KEYS, xp.uint64 if weighed else xp.uint32)
        self.most = min(FLUSH, (1 << COUNT_BITS) - 1) if weighed else FLUSH
        self.room = self.most
        self.partly = Partly(weighed) if channels == 4 else None
        self.counted: list[Histogram] = []
        self.buffer: NDArray[np.int64] | None = None
        self.used: Any = None

    def add(
        self, pixels: Pixels, perceptual: bool = False, progress: Progress = no_progress
    ) -> None:
        """Count a picture; with the weights of `pixel_weights` if `perceptual`."""
        if self.xp is np and (self.buffer is None or len(self.buffer) < pixels.width):
            self.buffer = np.empty(max(BATCH, pixels.width), np.int64)
        slabs = (
            pixels.weighted_slabs(BATCH, self.threads, perceptual)
            if self.weighed
            else pixels.slabs(BATCH)
        )
        for rows, colors, *weights in slabs:
            if len(colors) > self.room:
                self.make_room(len(colors))
            if self.used is not None:
                self.bins[self.used] = 0
                self.used = None
            self.add_slab(colors, *weights)
            self.room -= len(colors)
            progress("count", rows[1] / pixels.height)

    def make_room(self, pixels: int) -> None:
        """See that no bin can overflow before so many pixels are counted; empty them if need be."""
        counts = self.bins.dtype.type((1 << (COUNT_BITS if self.weighed else 32)) - 1)
        self.room = self.most - max(
            int((self.bins[slice(*part)] & counts).max()) for part in chunks(0, KEYS, KEYS // 16)
        )
        if self.room < max(pixels, self.most // 2):
            self.counted = [sum_of([*self.counted, self.emptied()])]

    def add_slab(self, colors: Any, *weights: Any) -> None:
        """Count some pixels, (m, channels), for which there is room."""
        xp = self.xp
        if self.partly is not None:
            opaque, *among = self.partly.without(transparent_keys(colors), *weights)
            xp.add.at(self.bins, opaque, packed(among[0]) if self.weighed else ONE)
        elif xp is np:
            added = packed(weights[0]) if self.weighed else ONE
            np.add.at(self.bins, pack(colors, self.buffer), added)
        else:
            counting_gpu.add_to_bins(self.bins, colors, *weights)

    def emptied(self) -> Histogram:
        """The contents of the bins, which are cleared before they are used again."""
        found = occurring(self.bins, self.threads)
        self.used, self.room = found.keys, self.most
        return found

    def total(self) -> Histogram:
        """The histogram of all pixels since the last call."""
        partly = self.partly.emptied() if self.partly else []
        found = sum_of([*self.counted, self.emptied(), *partly])
        self.counted = []
        return found


class Partly:
    """Counts the pixels that are not opaque, of which there are too many colors for bins."""

    def __init__(self, weighed: bool) -> None:
        self.weighed = weighed
        self.total: list[Histogram] = []
        self.waiting: list[tuple[Any, ...]] = []

    def without(self, keys: Any, *weights: Any) -> tuple[Any, ...]:
        """The opaque ones of some pixels, of which the others are counted."""
        xp = array_module(keys)
        rest = xp.flatnonzero(keys >= KEYS)
        if not len(rest):
            return keys, *weights
        self.waiting.append(tuple(column[rest] for column in (keys, *weights)))
        if sum(len(keys) for keys, *_ in self.waiting) >= PARTLY:
            self.total = [sum_of(self.counted())]
            self.waiting = []
        opaque = xp.flatnonzero(keys < KEYS)
        return tuple(column[opaque] for column in (keys, *weights))

    def emptied(self) -> list[Histogram]:
        """The histograms counted so far, in parts; counting begins anew."""
        found = self.counted()
        self.total, self.waiting = [], []
        return found

    def counted(self) -> list[Histogram]:
        """The histograms counted so far, in parts."""
        if not self.waiting:
            return self.total
        xp = array_module(self.waiting[0][0])
        columns = [xp.concatenate(parts) for parts in zip(*self.waiting, strict=True)]
        if not self.weighed:
            keys, counts = xp.unique(columns[0], return_counts=True)
            found = Histogram(keys.astype(xp.int64), counts.astype(xp.int64), None, 4)
        else:
            keys, inverse = xp.unique(columns[0], return_inverse=True)
            counts = xp.bincount(inverse, minlength=len(keys)).astype(xp.int64)
            weights = xp.bincount(inverse, columns[1].astype(float), minlength=len(keys))
            found = Histogram(keys.astype(xp.int64), counts, weights.astype(xp.int64), 4)
        return [*self.total, found]


def packed(weights: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The numbers that pixels of these weights add to a bin of a count and a sum."""
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

    keys = np.concatenate(list(imap_threads(keys_in, chunks(0, KEYS, KEYS // 16), threads)))
    return histogram_of(keys, bins)
