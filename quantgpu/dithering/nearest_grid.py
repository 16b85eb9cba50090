"""The nearest palette color of any point near an image's colors, whatever K.

Space is cut into cubic cells, and each knows the palette colors that can be the nearest to some
point of it: one in most cells, a few in the others. Cells are found from coarse to fine, each among
the candidates of the one around it, and only where points can come to lie.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module, to_host

MOST_CELLS = 1 << 21
"""Cells at most: 8 MiB. Seconds that a diffusion of 12 megapixels with K = 256 takes, to find the
cells and with them: at most 2^18 cells 0.02 and 2.0, 2^21 0.06 and 1.6, 2^22 0.35 and 1.5."""

LEAST_CELLS, CELLS_PER_POINT = 1 << 12, 8
"""With few points, fewer cells: to find them takes longer than they save."""

PAIRS = 1 << 21
"""Pairs of a cell and a candidate that are compared at a time."""


class NearestGrid(NamedTuple):
    """Which palette colors can be nearest to the points of each cell."""

    origin: Any
    """(d,) int32: the least coordinates of the first cell."""
    shift: int
    """A cell is 2^shift grid steps wide."""
    sides: tuple[int, ...]
    """Cells along each of the d axes; the first is the slowest."""
    codes: Any
    """(cells,) int32: the palette color of all points of a cell, or ``~i`` for those of list i."""
    starts: Any
    """(lists + 1,) int32: where each list begins."""
    entries: Any
    """int32: palette colors, ascending within a list."""

    def on(self, xp: Any) -> NearestGrid:
        """This grid in the arrays of a module."""
        move = to_host if xp is np else xp.asarray
        origin, shift, sides, *others = self
        return NearestGrid(move(origin), shift, sides, *map(move, others))


Group = tuple[Any, NDArray[np.intp]]
"""Points, (m,) integers, and the centers that may serve them, ascending, on the host."""


def cells_around(
    points: Any, centers: NDArray[np.int32], reach: int, groups: list[Group] | None = None
) -> tuple[NearestGrid, Any]:
    """The cells of all that is no farther than `reach` along each axis from one of the points.

    Args:
        points: (d, n) integers, on any device.
        centers: (K, d) int32, on the host.
        reach: Grid steps, 0 or more.
        groups: Which centers may serve which points; None if all may serve all.

    Returns:
        Cells on the host, and, (n,) int32 on the device, where in their codes those of each point
        begin; None for 0.
    """
    origin = to_host(points.min(axis=1)).astype(np.int32) - reach
    extent = to_host(points.max(axis=1)).astype(np.int32) + reach + 1 - origin
    shift = 0
    most = min(MOST_CELLS, LEAST_CELLS + CELLS_PER_POINT * points.shape[1])
    while int(np.prod(-(-extent >> shift))) * len(groups or "1") > most:
        shift += 1
    frame = GridFrame(origin, shift, tuple((-(-extent >> shift)).tolist()))
    if groups is None:
        return cells_in(frame, frame.reached(points, reach), centers), None
    xp = array_module(points)
    first = xp.empty(points.shape[1], xp.int32)
    found: list[NearestGrid] = []
    for members, allowed in groups:
        mask = frame.reached(points.take(members, axis=1), reach)
        cells = cells_in(frame, mask, centers[allowed])
        codes = np.where(cells.codes < 0, cells.codes, allowed.take(np.maximum(cells.codes, 0)))
        found.append(cells._replace(codes=codes, entries=allowed.take(cells.entries)))
        first[members] = (len(found) - 1) * frame.size
    return joined(found), first


def joined(parts: list[NearestGrid]) -> NearestGrid:
    """Cells of several groups, one group after the other."""
    codes, starts, entries = [], [np.zeros(1, np.int32)], [np.empty(0, np.int32)]
    lists = listed = 0
    for cells in parts:
        codes.append(np.where(cells.codes < 0, cells.codes - lists, cells.codes).astype(np.int32))
        starts.append(cells.starts[1:] + np.int32(listed))
        entries.append(cells.entries.astype(np.int32))
        lists += len(cells.starts) - 1
        listed += len(cells.entries)
    return parts[0]._replace(
        codes=np.concatenate(codes), starts=np.concatenate(starts), entries=np.concatenate(entries)
    )


class GridFrame(NamedTuple):
    """A grid of cells."""

    origin: NDArray[np.int32]
    """(d,): the least coordinates of the first cell."""
    shift: int
    """A cell is 2^shift grid steps wide."""
    sides: tuple[int, ...]
    """Cells along each axis."""

    @property
    def size(self) -> int:
        """The number of cells."""
        return int(np.prod(self.sides))

    def reached(self, points: Any, reach: int) -> NDArray[np.bool_]:
        """Which cells lie within reach of a point; of the shape `sides`."""
        return cells_in_reach(points, self.origin, self.shift, self.sides, reach)


def cells_in(frame: GridFrame, mask: NDArray[np.bool_], centers: NDArray[np.int32]) -> NearestGrid:
    """The cells of a frame that are in a mask; the others have code 0."""
    origin, shift, sides = frame
    masks = [mask]
    while max(masks[-1].shape) > 1:
        masks.append(halved(masks[-1]))
    found: Pairs = np.zeros(len(centers), np.int64), np.arange(len(centers))
    places: NDArray[np.int64] = np.zeros(1, np.int64)
    for level in range(len(masks) - 2, -1, -1):
        children, parents = children_of(places, masks[level + 1].shape, masks[level])
        found = prune_candidates(
            found, parents, children, masks[level].shape, origin, shift + level, centers
        )
        places = children
    if len(masks) == 1:
        found = prune_candidates(found, places * 0, places, sides, origin, shift, centers)
    return packed_cells(found, places, frame)


def cells_in_reach(
    points: Any, origin: NDArray[np.int32], shift: int, sides: tuple[int, ...], reach: int
) -> NDArray[np.bool_]:
    """Which cells lie within reach of a point; of the shape `sides`."""
    xp = array_module(points)
    places = xp.zeros(points.shape[1], xp.int64)
    for axis, low, side in zip(points, origin.tolist(), sides, strict=True):
        places *= side
        places += (axis.astype(xp.int32) - low) >> shift
    flags = xp.zeros(int(np.prod(sides)), bool)
    flags[places] = True
    mask: NDArray[np.bool_] = to_host(flags).reshape(sides)
    steps = -(-reach >> shift)
    for axis, side in enumerate(sides):
        sums = np.cumsum(mask, axis=axis, dtype=np.int32)
        sums = np.concatenate([np.zeros_like(sums.take([0], axis=axis)), sums], axis=axis)
        after = np.minimum(np.arange(side) + steps + 1, side)
        before = np.maximum(np.arange(side) - steps, 0)
        mask = sums.take(after, axis=axis) > sums.take(before, axis=axis)
    return mask


def halved(mask: Any) -> NDArray[np.bool_]:
    """Which cells of twice the width hold one that is in the mask."""
    for axis in range(mask.ndim):
        mask = np.logical_or.reduceat(mask, np.arange(0, mask.shape[axis], 2), axis=axis)
    found: NDArray[np.bool_] = mask
    return found


def children_of(
    places: NDArray[np.int64], sides: tuple[int, ...], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cells of half the width that are in the mask, and whose halves they are.

    Args:
        places: (m,) cells in a grid of `sides`, in any order.
        sides: Of the grid of wide cells.
        mask: Of the shape of the grid of narrow cells.
    """
    wide = np.unravel_index(places, sides)
    children, parents = [], []
    for offsets in product((0, 1), repeat=mask.ndim):
        narrow = [2 * axis + offset for axis, offset in zip(wide, offsets, strict=True)]
        inside = np.ones(len(places), bool)
        for axis, side in zip(narrow, mask.shape, strict=True):
            inside &= axis < side
        kept = np.flatnonzero(inside)
        kept = kept[mask[tuple(axis[kept] for axis in narrow)]]
        children.append(np.ravel_multi_index(tuple(axis[kept] for axis in narrow), mask.shape))
        parents.append(kept)
    return np.concatenate(children), np.concatenate(parents)


Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Cells, as positions in a list of them, ascending, and a candidate of each, ascending too."""


def prune_candidates(
    around: Pairs,
    parents: NDArray[np.int64],
    places: NDArray[np.int64],
    sides: tuple[int, ...],
    origin: NDArray[np.int32],
    shift: int,
    centers: NDArray[np.int32],
) -> Pairs:
    """The candidates of some cells, from those of the cells around them."""
    owners, candidates = around
    starts = np.searchsorted(owners, np.arange(owners[-1] + 2))
    counts = np.diff(starts)[parents]
    ends = np.cumsum(counts)
    low = (np.stack(np.unravel_index(places, sides)).astype(np.int32) << shift) + origin[:, None]
    found = []
    first = 0
    while first < len(places):
        before = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, before + PAIRS)), first + 1)
        part = slice(first, last)
        cells, ranks = expanded(counts[part])
        among = candidates[starts[parents[part]][cells] + ranks]
        kept = can_be_nearest(low[:, part], cells, among, shift, centers)
        found.append((cells[kept] + first, among[kept]))
        first = last
    cells, among = (np.concatenate(column) for column in zip(*found, strict=True))
    return cells, among


def expanded(counts: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For counts such as 2, 3: whose each item is, 0 0 1 1 1, and its rank there, 0 1 0 1 2."""
    owners = np.repeat(np.arange(len(counts)), counts)
    starts = np.cumsum(counts) - counts
    return owners, np.arange(len(owners)) - starts[owners]


def can_be_nearest(
    low: NDArray[np.int32],
    cells: NDArray[np.int64],
    among: NDArray[np.int64],
    shift: int,
    centers: NDArray[np.int32],
) -> NDArray[np.bool_]:
    """Whether a candidate may be nearest to some point of its cell; some are for each cell.

    It is not if the one that is nearest to the cell's middle is nearer to all points of the cell:
    the difference of two squared distances is linear, and greatest in a corner.
    """
    middles = 2 * low + ((1 << shift) - 1)
    from_middle = np.zeros(len(cells), np.int64)
    for middle, axis in zip(middles, centers.T, strict=True):
        gap = middle[cells] - 2 * axis[among]
        from_middle += gap * gap
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    best = np.minimum.reduceat(from_middle << 16 | among, starts) & 0xFFFF
    norms = (centers * centers).sum(axis=1, dtype=np.int32)
    nearer = norms[among] - norms[best][cells]
    for lows, axis in zip(low, centers.T, strict=True):
        step = 2 * (axis[among] - axis[best][cells])
        first = lows[cells]
        nearer -= step * (first + np.where(step > 0, (1 << shift) - 1, 0))
    kept: NDArray[np.bool_] = nearer <= 0
    return kept


def packed_cells(found: Pairs, places: NDArray[np.int64], frame: GridFrame) -> NearestGrid:
    """Cells with the candidates that were found; those out of reach have none, and code 0."""
    owners, candidates = found
    counts = np.bincount(owners, minlength=len(places))
    starts = np.cumsum(counts) - counts
    several = np.flatnonzero(counts > 1)
    codes = np.zeros(frame.size, np.int32)
    codes[places] = candidates[starts]
    codes[places[several]] = ~np.arange(len(several))
    listed = candidates[(counts > 1)[owners]].astype(np.int32)
    begins = np.concatenate([[0], np.cumsum(counts[several])]).astype(np.int32)
    return NearestGrid(*frame, codes, begins, listed)


def nearest_entries(
    points: NDArray[np.int32],
    cells: NearestGrid,
    centers: NDArray[np.int32],
    first: NDArray[np.int32] | None = None,
) -> NDArray[np.int32]:
    """(n,) int32: the nearest center of each of (d, n) points within reach; ties to the first.

    Args:
        points: Integers on the host.
        cells: Those of `cells_around`, on the host.
        centers: (d, K) int32.
        first: (n,): where the cells of each point begin in `codes`; None for 0.
    """
    inside = points - cells.origin[:, None]
    inside >>= cells.shift
    places = inside[0]
    for axis, side in zip(inside[1:], cells.sides[1:], strict=True):
        places *= side
        places += axis
    if first is not None:
        places += first
    found: NDArray[np.int32] = cells.codes.take(places)
    open_ones = (found < 0).nonzero()[0]
    if not len(open_ones):
        return found
    lists = ~found.take(open_ones)
    begins = cells.starts.take(lists)
    lists += 1
    counts = cells.starts.take(lists)
    counts -= begins
    ends = counts.cumsum()
    starts = ends - counts
    begins -= starts
    owners = np.arange(len(counts)).repeat(counts)
    places = np.arange(len(owners))
    places += begins.take(owners)
    among = cells.entries.take(places)
    gaps = points.take(open_ones.take(owners), axis=1)
    gaps -= centers.take(among, axis=1)
    gaps *= gaps
    keys = gaps.sum(axis=0, dtype=np.int64)
    keys <<= 16
    keys |= among
    found[open_ones] = np.minimum.reduceat(keys, starts) & 0xFFFF
    return found


class ColorGrid(NamedTuple):
    """All that diffusion needs to know of colors; its arrays are in one module."""

    points: Any
    """(d, n) int32: the grid coordinates of each color."""
    centers: Any
    """(d, K) int32: those of the palette."""
    cells: NearestGrid
    """For points of the colors moved by `reach`, and centers."""
    reach: int
    """Grid steps that errors may move a pixel along an axis."""
    first: Any = None
    """(n,) int32: where the cells of each color begin; None for 0."""
