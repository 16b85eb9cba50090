"""Weighted k-means on integer grids: assignment, centroids, Lloyd's iteration.

Every number that decides something is exact, so threads, batches and devices cannot change a bit of
the result: distances are integers below 2^24 in float32, sums are integers below 2^53 in float64 or
integers in int64, and a centroid is a quotient of integers, rounded half up.

S. P. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28(2),
1982, doi:10.1109/TIT.1982.1056489.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantgpu.arrays.namespace import array_module, on_host
from quantgpu.clustering import kmeans_gpu
from quantgpu.clustering.points import Points, distance_matrix
from quantgpu.threads import chunks, parallel_chunks

DISTANCES = 1 << 16
"""Distances computed at a time: 256 KiB of float32 stay in the second-level cache, and BLAS uses
no threads of its own for such a small product, which would compete with the threads here."""

PARALLEL = 1 << 22
"""Distances below which threads cost more than they save."""

BOXES = 16
"""Neighboring boxes that are first compared with the centers as one."""

HALF_RANGE = 4096
"""Numbers below 2^24 are summed in two halves: quotient and remainder by this number."""

MANY_CENTERS = 128
"""Boxes of points are compared with the centers first if there are more centers than this, and"""
MANY_DISTANCES = 1 << 26
"""more distances than this. Milliseconds without and with boxes, 588,000 points, the better of one
and two threads: K = 64 18 and 17, 256 38 and 26, 1024 127 and 49; but 10,000 points and K = 1024:
2.9 and 3.9."""

BOX = 64, 1024
"""Points in a box, at least and at most; between the two, four times the points of a center."""

RELAXATION = 9, 5
"""Over-relaxed steps go 9/5 of the way to the mean: 10 of them reach the error of 30 plain steps.
"""


def assign(points: Points, centers: Any, threads: int = 1) -> Any:
    """The index, (n,) integers, of each point's nearest center; ties go to the lowest index."""
    if not on_host(centers):
        return kmeans_gpu.assign_gpu(points, centers)
    labels = np.empty(len(points), np.intp)

    def assign_rows(rows: slice, distances: Any, candidates: Any) -> None:
        nearest = distances.argmin(axis=1)
        labels[rows] = nearest if candidates is None else candidates[nearest]

    each_product(assign_rows, points, centers, 1, threads)
    return labels


def two_nearest(points: Points, centers: Any, threads: int = 1) -> tuple[Any, Any]:
    """Each point's label, (n,) integers, and the gap to its second nearest center.

    The gap, (n,) float32, is the squared distance to the second nearest center less the squared
    distance to the nearest.
    """
    xp = array_module(centers)
    labels = xp.empty(len(points), xp.intp)
    gaps = xp.empty(len(points), xp.float32)

    def compare_rows(rows: slice, distances: Any, candidates: Any) -> None:
        each = xp.arange(len(distances))
        nearest = distances.argmin(axis=1)
        first = distances[each, nearest]
        distances[each, nearest] = xp.inf
        gaps[rows] = distances[each, distances.argmin(axis=1)] - first
        labels[rows] = nearest if candidates is None else candidates[nearest]

    each_product(compare_rows, points, centers, 2, threads)
    return labels, gaps


def each_product(
    use: Callable[[slice, Any, Any], None], points: Points, centers: Any, rank: int, threads: int
) -> None:
    """Call `use` with batches of distances: a slice of points, the distances, and the centers.

    The distances are (rows, m) float32: |x - s|^2 - |x|^2. The centers are None for all K, or (m,)
    ascending indices, among which are the `rank` nearest centers of every point in the batch: large
    problems are pruned box by box.

    The second factor of each product is C-contiguous: OpenBLAS 0.3.31 multiplies two transposed
    matrices wrongly now and then (once in 100,000 products) when two threads do so at a time.
    """
    xp = array_module(centers)
    matrix = distance_matrix(centers)
    size = len(points) * len(centers)
    threads = threads if size > PARALLEL else 1

    def multiply(first: int, last: int, factors: Any, candidates: Any) -> None:
        for start, stop in chunks(first, last, max(DISTANCES // factors.shape[1], 1)):
            distances = points.columns[:, start:stop].T @ factors
            use(slice(start, stop), distances, candidates)

    def all_centers(interval: tuple[int, int]) -> None:
        multiply(*interval, matrix, None)

    def possible_centers(interval: tuple[int, int]) -> None:
        for first, last in chunks(*interval, BOXES):
            low, high = lows[:, first:last], highs[:, first:last]
            around = low.min(axis=1, keepdims=True), high.max(axis=1, keepdims=True)
            near = xp.flatnonzero(possible_in_boxes(*around, centers, rank))
            possible = possible_in_boxes(low, high, centers[near], rank)
            for box, row in enumerate(possible, first):
                candidates = near[row]
                stop = min((box + 1) * box_size, len(points))
                multiply(box * box_size, stop, matrix.take(candidates, axis=1), candidates)

    if xp is np and len(centers) > MANY_CENTERS and size > MANY_DISTANCES:
        box_size = min(max(4 * len(points) // len(centers), BOX[0]), BOX[1])
        lows, highs = points.boxes(box_size)
        parallel_chunks(possible_centers, lows.shape[1], threads)
    else:
        parallel_chunks(all_centers, len(points), threads)


def possible_in_boxes(low: Any, high: Any, centers: Any, rank: int) -> Any:
    """(boxes, K) bool: whether a center can be among the `rank` nearest to a point of a box.

    A center cannot if its least distance to the box exceeds the greatest distances of `rank` other
    centers. The compared distances are exact, so only the time depends on the boxes.

    Args:
        low: (d, boxes) float32: the least coordinates of each box.
        high: (d, boxes) float32: the greatest coordinates of each box.
        centers: (K, d) float32.
        rank: 1 or 2.
    """
    xp = array_module(centers)
    nearest = xp.zeros((low.shape[1], len(centers)), xp.float32)
    farthest = xp.zeros_like(nearest)
    for axis, center in enumerate(centers.T):
        below = low[axis, :, None] - center
        above = center - high[axis, :, None]
        gap = xp.maximum(xp.maximum(below, above), 0)
        nearest += gap * gap
        reach = xp.minimum(below, above)
        farthest += reach * reach
    bound = farthest.min(axis=1)
    for _ in range(rank - 1):
        farthest[xp.arange(len(bound)), farthest.argmin(axis=1)] = xp.inf
        bound = farthest.min(axis=1)
    return nearest <= bound[:, None]


def cluster_sums(points: Points, labels: Any, clusters: int) -> tuple[Any, Any]:
    """The weight, (K,) int64, and the weighted coordinate sums, (K, d) int64, of each cluster."""
    xp = array_module(labels)
    mass = xp.bincount(labels, points.masses, minlength=clusters)
    sums = [xp.bincount(labels, moment, minlength=clusters) for moment in points.moments]
    return mass.astype(xp.int64), xp.stack(sums, axis=1).astype(xp.int64)


def weighted_sums(labels: Any, masses: Any, values: Any, clusters: int) -> Any:
    """(K,) int64: the sum of mass times value in each cluster.

    Values are integers of either sign below 2^24. They are summed in two halves, so that float64
    holds the sums exactly.
    """
    xp = array_module(labels)
    total = xp.zeros(clusters, xp.int64)
    for part, scale in ((values // HALF_RANGE, HALF_RANGE), (values % HALF_RANGE, 1)):
        sums = xp.bincount(labels, masses * part, minlength=clusters)
        total += sums.astype(xp.int64) * scale
    return total


def step_to_means(centers: Any, mass: Any, sums: Any, relaxation: tuple[int, int] = (1, 1)) -> Any:
    """Move centers p/q of the way to the means of their clusters, rounded half up to the grid.

    The center of an empty cluster does not move. `mass` and `sums` are those of `cluster_sums`, and
    `relaxation` is (p, q).
    """
    xp = array_module(centers)
    p, q = relaxation
    old = centers.astype(xp.int64)
    weight = xp.maximum(mass, 1)[:, None]
    moved = (2 * (p * sums + (q - p) * old * weight) + q * weight) // (2 * q * weight)
    return xp.where(mass[:, None] > 0, moved, old).astype(xp.float32)


def total_error(centers: Any, mass: Any, sums: Any) -> int:
    """The summed weighted squared error, less the constant sum of weight times |x|^2.

    `mass` and `sums` are those of `cluster_sums`.
    """
    xp = array_module(centers)
    s = centers.astype(xp.int64)
    return int(((s * s).sum(axis=1) * mass - 2 * (s * sums).sum(axis=1)).sum())


def nearest_sums(points: Points, centers: Any, threads: int = 1) -> tuple[Any, Any]:
    """`cluster_sums` of the points nearest to each center."""
    if not on_host(centers):
        return kmeans_gpu.nearest_sums_gpu(points, centers)
    return cluster_sums(points, assign(points, centers, threads), len(centers))


def relaxations(steps: int) -> list[tuple[int, int]]:
    """The relaxations (p, q) of `steps` of Lloyd's steps; all but the last are over-relaxed."""
    return [RELAXATION] * (steps - 1) + [(1, 1)] * (steps > 0)


def lloyd(points: Points, centers: Any, steps: int, threads: int = 1, fixed: int = 0) -> Any:
    """The centers, (K, d) float32, after at most `steps` of Lloyd's steps.

    The first `fixed` centers do not move. The host stops after a step that moves no center; a GPU
    takes all steps, as looking at the centers would make the host wait.
    """
    if steps and not on_host(centers):
        return kmeans_gpu.lloyd_gpu(points, centers, relaxations(steps), fixed)
    xp = array_module(centers)
    for relaxation in relaxations(steps):
        mass, sums = nearest_sums(points, centers, threads)
        moved = xp.clip(step_to_means(centers, mass, sums, relaxation), *points.bounds)
        moved[:fixed] = centers[:fixed]
        if (moved == centers).all():
            break
        centers = moved
    return centers
