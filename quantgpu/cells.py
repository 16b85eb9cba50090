"""Coarse levels: the colors of an octree's leaves stand for the colors inside them.

The mean of a cell's colors with their summed weight makes an exact k-means problem of its own,
smaller by one or two orders of magnitude. Cells are split where it matters, largest squared error
first. Searched for K = 256 on a photograph of 588,000 colors, 9,000 and 57,000 cells of equal size
lead to an MSE of 54.4 and 53.1; 4,000 and 24,000 such leaves to 54.1 and 52.9.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from quantgpu.device import array_module
from quantgpu.kmeans import Points, weighted_points

SPREAD = sum(((np.arange(256, dtype=np.int32) >> bit) & 1) << (3 * bit) for bit in range(8))
"""(256,) int32: the bits of a byte, three places apart."""


def morton_codes(colors: Any) -> Any:
    """(n,) int32: the bits of red, green and blue interleaved: an octree cell is a run of codes."""
    xp = array_module(colors)
    spread = xp.asarray(SPREAD)
    codes = xp.zeros(len(colors), xp.int32)
    for channel in colors.T:
        codes <<= 1
        codes |= spread.take(channel)
    return codes


def order_of(codes: Any) -> Any:
    """The permutation that sorts 24-bit codes: two passes of NumPy's 16-bit radix sort."""
    xp = array_module(codes)
    order = xp.argsort((codes & 0xFFFF).astype(xp.uint16), kind="stable")
    return order[xp.argsort((codes >> 16).astype(xp.uint16)[order], kind="stable")]


class Level(NamedTuple):
    """Occupied cells of one octree level, in Morton order."""

    starts: Any
    """(m,) intp: the first point of each cell."""
    ends: Any
    """(m,) intp: one past its last point."""
    split_error: Any
    """(m,) float64: the least squared error among the cell and its ancestors."""
    parent: Any
    """(m,) intp: the index of each cell's parent among the cells of the level above."""


class RunningSums(NamedTuple):
    """Sums over runs of points, as differences of (n + 1,) int64 prefix sums."""

    weight: Any
    moments: list[Any]
    squares: Any

    def squared_error(self, starts: Any, ends: Any) -> Any:
        """(m,) float64: the weighted squared distances of the runs' points to their means.

        Elementwise float64 arithmetic rounds the same way everywhere.
        """
        mass = self.weight[ends] - self.weight[starts]
        error = (self.squares[ends] - self.squares[starts]).astype(float)
        for running in self.moments:
            total = (running[ends] - running[starts]).astype(float)
            error -= total * total / mass
        return error

    def means(self, starts: Any, ends: Any) -> tuple[Any, Any]:
        """The means, (d, m) float32 rounded half up to the grid, and weights of the runs."""
        xp = array_module(starts)
        mass = self.weight[ends] - self.weight[starts]
        means = [(2 * (r[ends] - r[starts]) + mass) // (2 * mass) for r in self.moments]
        return xp.stack(means).astype(xp.float32), mass


def running_sums(points: Points) -> RunningSums:
    """Prefix sums of weight, weight * x and weight * x^2."""
    xp = array_module(points.weights)

    def prefix(values: Any) -> Any:
        sums = xp.zeros(len(points) + 1, xp.int64)
        xp.cumsum(values, out=sums[1:])
        return sums

    coordinates = points.columns[:-1].astype(xp.int64)
    moments = [points.weights * x for x in coordinates]
    squares = sum(moment * x for moment, x in zip(moments, coordinates, strict=True))
    weight = prefix(points.weights)
    return RunningSums(weight, [prefix(moment) for moment in moments], prefix(squares))


def leaves(points: Points, codes: Any, sums: RunningSums, most: int) -> Points:
    """At most `most` octree leaves over Morton-sorted `points`, as points.

    Cells are split in descending order of squared error; equal errors are split together or not
    at all. Only cells that can still be split are looked into.
    """
    xp = array_module(codes)
    if len(points) <= most:
        return points
    everything = xp.zeros(1, xp.intp), xp.full(1, len(points), xp.intp)
    levels = [Level(*everything, xp.full(1, xp.inf), xp.zeros(1, xp.intp))]
    threshold = 0.0
    for bits in range(1, 9):
        above = levels[-1]
        active = xp.flatnonzero(above.split_error > threshold)
        starts, ends = subcells(codes >> (3 * (8 - bits)), above.starts[active], above.ends[active])
        parent = active[xp.searchsorted(above.starts[active], starts, side="right") - 1]
        error = xp.minimum(sums.squared_error(starts, ends), above.split_error[parent])
        levels.append(Level(starts, ends, error, parent))
        threshold = split_threshold(levels, most, threshold)

    starts, ends = everything if threshold == xp.inf else (xp.zeros(0, xp.intp),) * 2
    for above, level in pairwise(levels):
        is_leaf = (above.split_error[level.parent] > threshold) & (level.split_error <= threshold)
        starts = xp.concatenate([starts, level.starts[is_leaf]])
        ends = xp.concatenate([ends, level.ends[is_leaf]])
    order = xp.argsort(starts)
    return weighted_points(*sums.means(starts[order], ends[order]))


def subcells(cell: Any, starts: Any, ends: Any) -> tuple[Any, Any]:
    """Starts and ends of the runs of equal `cell` numbers inside the runs ``starts … ends``."""
    xp = array_module(cell)
    lengths = ends - starts
    offsets = xp.cumsum(lengths) - lengths
    total = int(lengths.sum())
    members = None
    if total < len(cell):
        members = xp.arange(total) + xp.repeat(starts - offsets, lengths)
    inside = cell if members is None else cell[members]
    first = xp.ones(total, bool)
    xp.not_equal(inside[1:], inside[:-1], out=first[1:])
    position = xp.flatnonzero(first)
    begin = position if members is None else members[position]
    return begin, begin + xp.diff(xp.append(position, total))


def split_threshold(levels: list[Level], most: int, least: float) -> float:
    """The error, at least `least`, above which cells are split so that `most` leaves may remain."""
    xp = array_module(levels[0].starts)
    errors, added = [], []
    for level, below in pairwise(levels):
        large = level.split_error > least
        children = xp.bincount(below.parent, minlength=len(level.starts))
        errors.append(level.split_error[large])
        added.append(children[large] - 1)
    error = xp.concatenate(errors)
    largest = xp.argsort(-error)
    leaves_after = 1 + xp.cumsum(xp.concatenate(added)[largest])
    splits = int((leaves_after <= most).sum())
    return float(error[largest[splits]]) if splits < len(largest) else least
