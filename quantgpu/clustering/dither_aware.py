"""Centers for pixels that will be dithered: also near the places that errors move pixels to.

Error diffusion moves each pixel by the errors of its neighbors, and in smooth areas the neighbors
have much the same color. So each color is followed through a few pixels of that color in a row: the
color is moved by a share of its last error and takes the nearest center; the new error is the moved
color less the center. Centers go to the means of the moved colors. The centers spread a little,
towards colors that otherwise only mixing can make, and away from where centers are dense.

Measured with the method ``adaptive`` on eight small photographs, K = 16, 64, 256: butteraugli's
3-norm and SSIMULACRA as shares of those of pngquant 2.17 and its dither, without 0.815/0.711,
0.630/0.637, 0.620/0.652; with a strength of 1/2 in all areas 0.746/0.765, 0.582/0.674, 0.593/0.682;
of 3/5 0.709/0.813, 0.569/0.725, 0.586/0.738; of 3/4 0.701/0.855, 0.587/0.740, 0.620/0.733. Clean
gradients band without more: their blurred error at K = 16 is above that of pngquant with 3/5, and
half of it with 9/10, which in turn is too much for photographs.
"""

from __future__ import annotations

from typing import Any

from quantgpu.arrays.namespace import array_module, on_host
from quantgpu.clustering.kmeans import assign, cluster_sums, nearest_sums, step_to_means
from quantgpu.clustering.octree import leaf_runs, octree, running_sums
from quantgpu.clustering.points import Points, weighted_points
from quantgpu.histogram import Histogram
from quantgpu.pixels.perceptual import most_weight

FULL = 64
"""The strength at which all of an error is passed on."""

CENTER_STEPS, PIXELS_IN_A_ROW = 6, 2
"""Steps of the centers, and pixels in a row that are followed in each step."""

LEAST_STRENGTH, MOST_STRENGTH = 38, 58
"""The strengths, out of `FULL`, for colors of busy and of perfectly smooth areas."""

BUSY, SMOOTH = 50, 56
"""Strength rises from the least to the most between these weights, in 64ths of the weight in a
perfectly smooth area."""

FARTHEST = 512
"""The most grid steps by which a color is moved along an axis: distances stay exact."""

COLORS = 10_000, 48
"""Octree leaves that are followed: at least, and for each center."""


def smoothness(histogram: Histogram, perceptual: bool) -> tuple[Any, Any]:
    """The weight of each color, and its weight if all its pixels were smooth, (n,) int64 each.

    Without `perceptual` weights all pixels are taken for busy.
    """
    if histogram.weights is None or not perceptual:
        return 0 * histogram.counts, histogram.counts
    return histogram.weights, histogram.counts * most_weight(histogram.colors)


def strength_for(weighed: Any, smooth: Any) -> Any:
    """(n,) int32: the share, out of `FULL`, of an error that moves each color; see `smoothness`."""
    xp = array_module(weighed)
    above = xp.clip(64 * weighed // smooth - BUSY, 0, SMOOTH - BUSY)
    return (LEAST_STRENGTH + (MOST_STRENGTH - LEAST_STRENGTH) * above // (SMOOTH - BUSY)).astype(
        xp.int32
    )


def dither_aware_centers(
    points: Points,
    codes: Any,
    weighed: Any,
    smooth: Any,
    centers: Any,
    fixed: int,
    threads: int = 1,
) -> Any:
    """Centers, (K, d) float32, for pixels that will be dithered.

    Args:
        points: n points in Morton order, n > K.
        codes: (n,) integers: the Morton codes of the points.
        weighed: (n,) int64: the weight of each point, see `smoothness`.
        smooth: (n,) int64: the weight of each point in a smooth area, see `smoothness`.
        centers: (K, d) float32: the centers to start from.
        fixed: The first `fixed` centers do not move.
        threads: At least 1.
    """
    xp = array_module(codes)
    most = max(COLORS[0], COLORS[1] * len(centers))
    if len(points) > most:
        sums = running_sums(points)
        runs = leaf_runs(octree(codes, sums, most), most)
        points = weighted_points(*sums.means(*runs))
        weighed, smooth = (total_of(values, *runs) for values in (weighed, smooth))
    strength = strength_for(weighed, smooth)
    coordinates = points.columns[:-1].astype(xp.int32)
    errors = xp.zeros_like(coordinates)
    for _ in range(CENTER_STEPS):
        parts = []
        for _ in range(PIXELS_IN_A_ROW):
            shares = (errors * strength + FULL // 2) // FULL
            places = coordinates + xp.clip(shares, -FARTHEST, FARTHEST)
            moved = weighted_points(places, points.weights)
            labels = assign(moved, centers, threads)
            if on_host(labels):
                parts.append(cluster_sums(moved, labels, len(centers)))
            else:
                parts.append(nearest_sums(moved, centers))
            errors = places - centers.T.astype(xp.int32).take(labels, axis=1)
        mass, sums_of = (sum(each) for each in zip(*parts, strict=True))
        means = step_to_means(centers, mass, sums_of)
        means[:fixed] = centers[:fixed]
        centers = means
    return centers


def total_of(values: Any, starts: Any, ends: Any) -> Any:
    """(m,) int64: the sums of `values`, (n,) int64, over the runs ``starts … ends``, (m,) each."""
    xp = array_module(values)
    running = xp.zeros(len(values) + 1, xp.int64)
    xp.cumsum(values, out=running[1:])
    return running[ends] - running[starts]
