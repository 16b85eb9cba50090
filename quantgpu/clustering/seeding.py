"""Methods to choose the first centers. All draws are made on the host from a NumPy generator."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from quantgpu.arrays.namespace import array_module, to_host
from quantgpu.clustering.kmeans import assign
from quantgpu.clustering.points import Points

WU_BINS = 32
"""Bins per axis of Wu's grid."""


def random_colors(points: Points, k: int, rng: np.random.Generator) -> Any:
    """K distinct points drawn with probabilities proportional to weight, without replacement."""
    xp = array_module(points.weights)
    chosen: list[int] = []
    weights = to_host(points.weights).copy()
    while len(chosen) < k:
        running = np.cumsum(weights)
        draws = rng.integers(0, int(running[-1]), k - len(chosen))
        fresh = list(dict.fromkeys(np.searchsorted(running, draws, side="right").tolist()))
        chosen += fresh
        weights[fresh] = 0
    return points.columns[:-1, xp.asarray(chosen)].T.copy()


def kmeans_plus_plus(points: Points, k: int, rng: np.random.Generator) -> Any:
    """K points, each the best of a few that are drawn in proportion to their squared error.

    D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007, of
    which section 2.2 describes the greedy form, with 2 + ln K draws for each center.
    """
    xp = array_module(points.weights)
    coordinates = points.columns[:-1]
    draws = 2 + k.bit_length() * 7 // 10
    running = xp.cumsum(points.weights)
    draw = xp.asarray(rng.integers(0, int(running[-1])))
    chosen = [int(xp.searchsorted(running, draw, side="right"))]
    error = squared_distance(coordinates, chosen[0])
    for _ in range(k - 1):
        running = xp.cumsum(points.weights * error)
        targets = rng.integers(0, max(int(running[-1]), 1), draws)
        found = xp.searchsorted(running, xp.asarray(targets), side="right")
        candidates = xp.minimum(found, len(points) - 1).tolist()
        errors = [xp.minimum(error, squared_distance(coordinates, c)) for c in candidates]
        totals = [int((points.weights * e).sum()) for e in errors]
        best = totals.index(min(totals))
        chosen.append(candidates[best])
        error = errors[best]
    return coordinates[:, xp.asarray(chosen)].T.copy()


def maximin(points: Points, k: int, rng: np.random.Generator) -> Any:
    """K points: the heaviest, then always the point that lies farthest from all chosen before.

    T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical
    Computer Science 38, 1985, doi:10.1016/0304-3975(85)90224-5.
    """
    xp = array_module(points.weights)
    coordinates = points.columns[:-1]
    chosen = [int(points.weights.argmax())]
    error = squared_distance(coordinates, chosen[0])
    for _ in range(k - 1):
        chosen.append(int(error.argmax()))
        error = xp.minimum(error, squared_distance(coordinates, chosen[-1]))
    return coordinates[:, xp.asarray(chosen)].T.copy()


def squared_distance(coordinates: Any, index: int) -> Any:
    """(n,) int64: squared distance of every point to the point at `index`."""
    difference = coordinates - coordinates[:, index, None]
    return (difference * difference).sum(axis=0).astype("int64")


def wu(points: Points, k: int, rng: np.random.Generator) -> Any:
    """The means of the boxes after K - 1 cuts, each where a cut lowers the variance most.

    X. Wu, "Efficient statistical computations for optimal color quantization", Graphics Gems II,
    1991, pp. 126-133. Deterministic; the generator is not used.
    """
    moments = cumulative_moments(points)
    axes = moments.ndim - 1
    boxes = [((0,) * axes, (WU_BINS,) * axes)]
    cuts = [best_cut(moments, *boxes[0])]
    while len(boxes) < k:
        gains = [gain for gain, _, _ in cuts]
        widest = gains.index(max(gains))
        gain, axis, position = cuts[widest]
        if gain <= 0:
            break
        low, high = boxes[widest]
        middle_high = (*high[:axis], position, *high[axis + 1 :])
        middle_low = (*low[:axis], position, *low[axis + 1 :])
        boxes[widest] = low, middle_high
        boxes.append((middle_low, high))
        cuts[widest] = best_cut(moments, *boxes[widest])
        cuts.append(best_cut(moments, *boxes[-1]))
    totals = np.stack([box_moments(moments, low, high) for low, high in boxes])
    centers = np.floor(totals[:, 1:] / totals[:, :1] + 0.5).astype(np.float32)
    return add_farthest(points, array_module(points.weights).asarray(centers), k)


def cumulative_moments(points: Points) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(33, …, 33, d + 1) on the host: summed weight and weighted coordinates of all lower bins."""
    xp = array_module(points.weights)
    low, high = points.bounds
    coordinates = points.columns[:-1]
    scaled = (coordinates - low[:, None]) * WU_BINS // (high - low + 1)[:, None]
    shape = (WU_BINS,) * len(scaled)
    cell = xp.zeros(len(points), xp.int64)
    for bins in scaled.astype(xp.int64):
        cell = cell * WU_BINS + bins
    moments = np.zeros((*(bins + 1 for bins in shape), len(shape) + 1))
    inner = moments[(slice(1, None),) * len(shape)]
    for slot, values in enumerate([points.masses, *points.moments]):
        sums = xp.bincount(cell, values, minlength=WU_BINS ** len(shape))
        inner[..., slot] = to_host(sums).reshape(shape)
    for axis in range(len(shape)):
        np.cumsum(moments, axis=axis, out=moments)
    return moments


def box_moments(moments: Any, low: tuple[int, ...], high: tuple[int, ...]) -> Any:
    """(d + 1,): the moments inside a box, by inclusion and exclusion of its corners."""
    total = 0.0
    for corner in product((0, 1), repeat=len(low)):
        index = tuple(high[i] if upper else low[i] for i, upper in enumerate(corner))
        total = total + (-1) ** (len(low) - sum(corner)) * moments[index]
    return total


def best_cut(moments: Any, low: tuple[int, ...], high: tuple[int, ...]) -> tuple[float, int, int]:
    """The decrease of squared error by the best cut of a box, and the cut's axis and position.

    A box is ``low … high``, in bins; the decrease is 0 if no cut is possible.
    """
    whole = box_moments(moments, low, high)
    best = (0.0, 0, 0)
    if whole[0] == 0:
        return best
    explained = (whole[1:] * whole[1:]).sum() / whole[0]
    for axis in range(len(low)):
        below = lower_parts(moments, low, high, axis)
        above = whole - below
        valid = (below[:, 0] > 0) & (above[:, 0] > 0)
        gain = np.where(valid, between_variance(below) + between_variance(above) - explained, 0.0)
        if len(gain) and gain.max() > best[0]:
            best = float(gain.max()), axis, low[axis] + 1 + int(gain.argmax())
    return best


def lower_parts(moments: Any, low: tuple[int, ...], high: tuple[int, ...], axis: int) -> Any:
    """(m, d + 1): the moments below each of the m inner cuts of a box along `axis`."""
    total = 0.0
    others = [i for i in range(len(low)) if i != axis]
    for corner in product((0, 1), repeat=len(others)):
        index: list[Any] = [0] * len(low)
        for i, upper in zip(others, corner, strict=True):
            index[i] = high[i] if upper else low[i]
        sign = (-1) ** (len(others) - sum(corner))
        index[axis] = slice(low[axis] + 1, high[axis])
        inside = moments[tuple(index)]
        index[axis] = low[axis]
        total = total + sign * (inside - moments[tuple(index)])
    return total


def between_variance(moments: Any) -> Any:
    """(m,): |sum|^2 / weight of each row of moments, 0 where the weight is 0."""
    squares = sum(moments[:, slot] * moments[:, slot] for slot in range(1, moments.shape[1]))
    return squares / np.maximum(moments[:, 0], 1)


def add_farthest(points: Points, centers: Any, k: int) -> Any:
    """Add points to `centers` until there are K, each time the point farthest from all centers."""
    xp = array_module(centers)
    if len(centers) == k:
        return centers
    coordinates = points.columns[:-1]
    differences = coordinates - centers[assign(points, centers)].T
    error = (differences * differences).sum(axis=0).astype(xp.int64)
    added = []
    for _ in range(k - len(centers)):
        added.append(int(error.argmax()))
        error = xp.minimum(error, squared_distance(coordinates, added[-1]))
    return xp.concatenate([centers, coordinates[:, xp.asarray(added)].T])


SEEDINGS: dict[str, Callable[[Points, int, np.random.Generator], Any]] = {
    "random": random_colors,
    "kmeans++": kmeans_plus_plus,
    "maximin": maximin,
    "wu": wu,
}
"""Name to method, (points, K, generator) to (K, d) float32; the choices of ``--init``."""
