"""Beyond Lloyd: split clusters with large errors, drop the least useful ones, keep the better.

Lloyd's iteration ends in the local optimum nearest to its seed. Adding centers where the error is
large, and then removing as many where the error rises least, moves centers across the picture.

B. Fritzke, "The breathing k-means algorithm", 2020, arXiv:2006.15666. Unlike in the paper, new
centers go where a split gains most, and many centers move at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import combinations, product
from typing import Any

from quantgpu.arrays.namespace import array_module, on_host
from quantgpu.clustering import split_merge_gpu
from quantgpu.clustering.kmeans import (
    DISTANCES,
    assign,
    cluster_sums,
    lloyd,
    nearest_sums,
    relaxations,
    total_error,
    two_nearest,
    weighted_sums,
)
from quantgpu.clustering.points import Points, distance_matrix
from quantgpu.threads import chunks

OFFSET = 0.8
"""The distance of the halves of a split cluster from its mean, in standard deviations along the
line (0.80 as for a halved normal distribution: the square root of 2 over pi)."""

STEPS = 2
"""Lloyd steps after splitting, and again after dropping: 3 took a fifth more distances and lowered
the error by 0.03 % (K = 256, eight photographs)."""


@lru_cache
def directions(axes: int) -> tuple[tuple[int, ...], ...]:
    """Lines along which a cluster may be split: the axes and diagonals of a cube.

    >>> directions(2)
    ((1, 0), (0, 1), (1, 1), (1, -1))
    """
    lines = []
    for count in range(1, axes + 1):
        for support in combinations(range(axes), count):
            for signs in product((1, -1), repeat=count - 1):
                slopes = dict(zip(support, (1, *signs), strict=True))
                lines.append(tuple(slopes.get(axis, 0) for axis in range(axes)))
    return tuple(lines)


def widest_axis(points: Points, labels: Any, clusters: int) -> tuple[Any, Any, Any]:
    """The mean, the greatest variance along a line, and that line, of each cluster.

    The mean is (K, d) float64; the variance, of one of the `directions` and multiplied by weight,
    (K,) float64; the line a vector one standard deviation long, (K, d) float64.
    """
    xp = array_module(labels)
    mass, sums = cluster_sums(points, labels, clusters)
    weight = xp.maximum(mass, 1).astype(float)
    mean = sums / weight[:, None]
    greatest = xp.full(clusters, -1.0)
    deviation = xp.zeros((clusters, len(sums[0])))
    products = second_moments(points, labels, clusters)
    for direction in directions(len(sums[0])):
        length = sum(c * c for c in direction)
        variance = xp.zeros(clusters)
        for i, a in enumerate(direction):
            for j, b in enumerate(direction[: i + 1]):
                if a * b:
                    covariance = products[i, j] - sums[:, i] * mean[:, j]
                    variance += (a * b if i == j else 2 * a * b) * covariance
        variance /= length
        better = variance > greatest
        greatest = xp.where(better, variance, greatest)
        size = xp.sqrt(xp.maximum(variance, 0) / weight / length)
        deviation = xp.where(better[:, None], size[:, None] * xp.asarray(direction), deviation)
    return mean, greatest, deviation


def second_moments(points: Points, labels: Any, clusters: int) -> dict[tuple[int, int], Any]:
    """The sum of weight * x_i * x_j in each cluster, (K,) float64, for each pair i >= j."""
    xp = array_module(labels)
    return {
        (i, j): xp.bincount(labels, moment * points.columns[j], minlength=clusters)
        for i, moment in enumerate(points.moments)
        for j in range(i + 1)
    }


def split(points: Points, centers: Any, labels: Any, more: int, fixed: int = 0) -> Any:
    """Split the `more` clusters with the greatest variance; return (K + more, d) centers.

    The first `fixed` centers do not move.
    """
    xp = array_module(centers)
    mean, variance, deviation = widest_axis(points, labels, len(centers))
    largest = xp.argsort(-variance, kind="stable")[:more]
    offset = OFFSET * deviation[largest]
    halves = centers.astype(float)
    halves[largest] = mean[largest] + offset
    halves = xp.concatenate([halves, mean[largest] - offset])
    wide = xp.clip(xp.floor(halves + 0.5), *points.bounds).astype(xp.float32)
    wide[:fixed] = centers[:fixed]
    return wide


def drop(points: Points, centers: Any, fewer: int, threads: int = 1, fixed: int = 0) -> Any:
    """Drop the `fewer` centers whose points are served almost as well by their neighbors.

    Of a center and its nearest neighbor only one is dropped, as the loss of each assumes that the
    other stays. The first `fixed` centers stay.
    """
    xp = array_module(centers)
    labels, gaps = two_nearest(points, centers, threads)
    loss = weighted_sums(labels, points.masses, gaps, len(centers))
    neighbor = nearest_others(centers).tolist()
    cheapest = [c for c in xp.argsort(loss, kind="stable").tolist() if c >= fixed]
    stays: set[int] = set()
    goes: list[int] = []
    for center in cheapest:
        if len(goes) < fewer and center not in stays:
            goes.append(center)
            stays.add(neighbor[center])
    if len(goes) < fewer:
        gone = set(goes)
        goes += [center for center in cheapest if center not in gone][: fewer - len(goes)]
    return xp.delete(centers, goes, axis=0)


def nearest_others(centers: Any) -> Any:
    """(K,) intp: the index of each center's nearest other center, ties to the lowest."""
    xp = array_module(centers)
    matrix = distance_matrix(centers)
    nearest = xp.empty(len(centers), xp.intp)
    for start, stop in chunks(0, len(centers), max(DISTANCES // len(centers), 64)):
        distances = centers[start:stop] @ matrix[:-1] + matrix[-1]
        distances[xp.arange(stop - start), xp.arange(start, stop)] = xp.inf
        nearest[start:stop] = distances.argmin(axis=1)
    return nearest


def error_of(points: Points, centers: Any, threads: int) -> int:
    """`total_error` after assigning every point to its nearest center."""
    return total_error(centers, *nearest_sums(points, centers, threads))


def search(
    points: Points,
    centers: Any,
    width: int,
    rounds: int,
    threads: int = 1,
    report: Callable[[float], None] = lambda share: None,
    fixed: int = 0,
) -> Any:
    """Improve centers by splitting and dropping `width` of them at a time.

    A round that does not lower the error is undone and halves the width; the search ends at width 0
    or after `rounds` rounds.

    Args:
        points: n points.
        centers: (K, d) float32: the centers to start from.
        width: The number of centers that are split and dropped in the first round.
        rounds: The most rounds; `centers` are returned unchanged for 0.
        threads: At least 1.
        report: Called with the share of the rounds that is done.
        fixed: The first `fixed` centers do not move.
    """
    if not rounds:
        return centers
    best = lloyd(points, centers, 2 * STEPS, threads, fixed)
    if not on_host(best):
        steps = relaxations(STEPS)
        return split_merge_gpu.search_gpu(points, best, width, rounds, steps, OFFSET, fixed, report)
    labels = assign(points, best, threads)
    least = total_error(best, *cluster_sums(points, labels, len(best)))
    for done in range(rounds):
        report(done / rounds)
        wider = lloyd(points, split(points, best, labels, width, fixed), STEPS, threads, fixed)
        fewer = drop(points, wider, width, threads, fixed)
        candidate = lloyd(points, fewer, STEPS, threads, fixed)
        nearest = assign(points, candidate, threads)
        error = total_error(candidate, *cluster_sums(points, nearest, len(candidate)))
        if error < least:
            best, least, labels = candidate, error, nearest
        else:
            width //= 2
        if width == 0:
            break
    return best
