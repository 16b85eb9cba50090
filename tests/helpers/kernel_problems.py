"""What kernels are given, asymmetric on purpose, and what is right."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.clustering import kmeans, kmeans_gpu
from quantgpu.clustering.points import Points, weighted_points

SIZES = [0, 1, 31, 255, 256, 257, 100_003]
CENTERS = [1, 2, 17, 255, 256, 257, 1024, 1500]
"""A tile holds 256 centers of three axes; sums of 1500 do not fit into shared memory."""

FOUR_SIZES = [0, 1, 257, 15_001]
FOUR_CENTERS = [1, 2, 204, 205, 376, 1126, 1127]
"""A tile holds 204 centers of four axes; shared memory the moments of 375 and the sums of 1126."""

GARBAGE = 0xFEDC_BA98_7654_3210
"""What sums begin with, as kernels add to them."""

LOW = np.array([-1024, -300, -1536, -700])
HIGH = np.array([1016, 500, 1536, 893])
"""Coordinates of points; the squared distance from one to the other is just below 2^24."""


class Problem(NamedTuple):
    """Points and centers, and what array code says about them."""

    points: Points
    centers: NDArray[np.float32]
    labels: NDArray[np.intp]
    gaps: NDArray[np.float32]
    """Zeros for one center."""
    moments: NDArray[np.uint64]
    """(k, 10) or (k, 15): what `reduce` adds up."""

    @property
    def k(self) -> int:
        return len(self.centers)

    @property
    def axes(self) -> int:
        return len(self.points.columns) - 1


def sized(
    sizes: list[int], centers: list[int], four_sizes: list[int], four_centers: list[int]
) -> list[tuple[int, int, int]]:
    """Axes, points and centers: all pairs for three axes, and all for four."""
    three = [(3, count, k) for count in sizes for k in centers]
    return three + [(4, count, k) for count in four_sizes for k in four_centers]


def some_points(count: int, heaviest: int, seed: int = 0, axes: int = 3) -> Points:
    """Points between `LOW` and `HIGH`, half of them sorted; the first are extremes.

    With 2^20 as the heaviest weight there are some of 2^32 and more too, and such as are a
    multiple of it.
    """
    rng = np.random.default_rng([count, seed])
    low, high = LOW[:axes, None], HIGH[:axes, None]
    coordinates = rng.integers(low, high + 1, (axes, count))
    coordinates[:, : count // 2].sort()
    corners = np.array(np.meshgrid(*np.hstack([low, high]))).reshape(axes, -1)
    coordinates[:, : corners.shape[1]] = corners[:, :count]
    weights = rng.integers(1, heaviest + 1, count)
    if heaviest == 1 << 20:
        weights[5::500] = 1 << 32
        weights[6::500] += 1 << 32
    return weighted_points(coordinates.astype(np.float32), weights)


def some_centers(points: Points, k: int, seed: int = 0) -> NDArray[np.float32]:
    """Centers in the range of the points, many among them; duplicates and empty clusters."""
    rng = np.random.default_rng([k, seed])
    axes = len(points.columns) - 1
    centers: NDArray[np.float32] = some_points(k, 1, seed + 1, axes).columns[:-1].T.copy()
    if len(points):
        chosen = rng.integers(0, len(points), k // 2)
        centers[: k // 2] = points.columns[:-1, chosen].T
    centers[k // 3] = centers[-1]
    return centers


def naive_moments(points: Points, labels: Any, k: int) -> NDArray[np.uint64]:
    """Weight, weight * (x + BIAS), weight * (x_i + BIAS) * (x_j + BIAS) of each cluster."""
    x = (points.columns[:-1].astype(np.int64) + kmeans_gpu.BIAS).astype(np.uint64)
    products = [x[i] * x[j] for i in range(len(x)) for j in range(i + 1)]
    values = np.stack([np.ones_like(x[0]), *x, *products], axis=1)
    moments = np.zeros((k, values.shape[1]), np.uint64)
    np.add.at(moments, labels, values * points.weights.astype(np.uint64)[:, None])
    return moments


@lru_cache(100)
def problem(count: int, k: int, heaviest: int = 1 << 20, seed: int = 0, axes: int = 3) -> Problem:
    """Some points and some centers."""
    points = some_points(count, heaviest, seed, axes)
    return solved(points, some_centers(points, k, seed))


def solved(points: Points, centers: NDArray[np.float32]) -> Problem:
    """With what array code makes of it, where it takes so few points and centers."""
    labels, gaps = np.zeros(len(points), np.intp), np.zeros(len(points), np.float32)
    if len(centers) > 1 and len(points):
        labels, gaps = kmeans.two_nearest(points, centers)
    return Problem(points, centers, labels, gaps, naive_moments(points, labels, len(centers)))


def all_equal(count: int, k: int, axes: int = 3) -> Problem:
    """All points in one place, which is that of two centers; low words overflow all the time."""
    place = np.array([1016, -300, 1536, -700][:axes], np.float32)
    coordinates = np.repeat(place[:, None], count, axis=1)
    points = weighted_points(coordinates, np.full(count, (1 << 32) - 1))
    centers = some_centers(points, k)
    centers[k // 2 :: k // 2] = place
    return solved(points, centers)


def far_out(count: int, k: int, axes: int = 3) -> Problem:
    """Centers most of which lie outside the bounds of the points."""
    inner = some_points(count, 9, axes=axes)
    points = weighted_points(np.trunc(inner.columns[:-1] / 3), inner.weights)
    return solved(points, some_centers(inner, k))


def some_codes(count: int, axes: int = 3) -> NDArray[Any]:
    """Distinct Morton codes, ascending; both extremes and a full cell are among many."""
    rng = np.random.default_rng(count)
    most, full = 1 << (8 * axes), 1 << axes
    codes = rng.choice(most, count, replace=False)
    if count > 31:
        codes[: full + 2] = [0, most - 1, *range(full * 777, full * 778)]
    return np.unique(codes).astype(np.int32 if axes == 3 else np.int64)


def some_colors(count: int, blues: int = 2) -> NDArray[np.uint8]:
    """Random colors with runs of equal ones, from full red and green and a few blues."""
    rng = np.random.default_rng(count)
    colors = rng.integers(0, [256, 256, blues], (count, 3)).astype(np.uint8)
    repeated = rng.random(count) < 0.5
    colors[1:][repeated[1:]] = colors[:-1][repeated[1:]]
    colors[: count // 3] = 255, 255, blues - 1
    return colors
