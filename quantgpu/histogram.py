"""Counting colors. k-means over weighted unique colors is exactly k-means over all pixels."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

from quantgpu.arrays.namespace import array_module, to_host
from quantgpu.color.packing import unpack


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
    channels: int = 3
    """4 if some of the colors may not be opaque."""

    @cached_property
    def colors(self) -> Any:
        """The distinct colors, (n, channels) uint8; each channel is contiguous."""
        return unpack(self.keys, self.channels)

    @property
    def pixels(self) -> int:
        """The pixels counted."""
        return int(self.counts.sum())

    def __len__(self) -> int:
        return len(self.keys)

    def to_host(self) -> Histogram:
        """This histogram on the host."""
        weights = None if self.weights is None else to_host(self.weights)
        return Histogram(to_host(self.keys), to_host(self.counts), weights, self.channels)

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
        weighed = self.weights is not None or other.weights is not None
        weights = total(self.full_weights, other.full_weights) if weighed else None
        return Histogram(keys, counts, weights, max(self.channels, other.channels))

    @property
    def full_weights(self) -> Any:
        """(n,) int64: the weights, those of smooth areas if there are none."""
        return MOST * self.counts if self.weights is None else self.weights


def sum_of(histograms: list[Histogram]) -> Histogram:
    """The sum of one or several histograms."""
    return reduce(operator.add, histograms)


MOST = 255
"""The weight of a light pixel in a smooth area; 1 is the least."""
