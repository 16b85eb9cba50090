"""From centers on the grid to exactly K distinct 8-bit colors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module, to_host
from quantgpu.clustering.kmeans import cluster_sums, nearest_sums, step_to_means
from quantgpu.clustering.points import Points
from quantgpu.clustering.problem import Problem
from quantgpu.color.packing import pack
from quantgpu.color.spaces import grid_points
from quantgpu.palette import distinct, in_order

MOST_REPAIRS = 8
"""How often unused colors may be replaced; a color that is unused after that stays."""

CLASS_STEPS = 2
"""The least number of Lloyd's steps on 8-bit colors if there are classes of colors."""


def round_to_palette(
    problem: Problem, centers: Any, steps: int = 0, replace_unused: bool = True
) -> tuple[NDArray[np.uint8], Any]:
    """Exactly K distinct 8-bit colors near `centers`, and the index of each point's nearest color.

    The colors, (K, channels) uint8, are in palette order; the index is (n,) integers, and ties go
    to the first color. The points must have more than K colors.

    Rounded centers take at most `steps` of Lloyd's steps from one 8-bit color to another. Colors
    that rounding made equal, or that are nearest to no point, are replaced by the point colors that
    are served worst: greatest weight times squared distance, ties to the first point.

    Args:
        problem: The clustering problem; its kept colors replace the first centers.
        centers: (K or fewer, d) float32.
        steps: The most of Lloyd's steps.
        replace_unused: False keeps colors that are nearest to no point: mixing may need them.
    """
    space, kept, classes = problem.space, problem.kept, problem.classes
    free = space.colors(to_host(centers)[len(kept) :])
    if classes is not None:
        steps = max(steps, CLASS_STEPS)
        rounded = np.concatenate([kept, free])
        free = classes.enforce(problem.points, rounded, space, len(kept), problem.threads)[
            len(kept) :
        ]
    colors = in_order(distinct(np.concatenate([kept, free])))
    for _ in range(steps):
        moved = palette_step(problem, colors)
        if np.array_equal(moved, colors):
            break
        colors = moved
    return repair_unused(problem, colors, replace_unused)


def palette_step(problem: Problem, colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The palette, in order, after one of Lloyd's steps on `colors` and rounding to 8 bits.

    Kept colors do not change.
    """
    points, space, classes = problem.points, problem.space, problem.classes
    old = array_module(points.weights).asarray(grid_points(colors, space))
    if classes is None:
        sums = nearest_sums(points, old, problem.threads)
    else:
        sums = cluster_sums(points, problem.assign(points, colors, old), len(colors))
    stays = np.isin(pack(colors), pack(problem.kept))
    free = space.colors(to_host(step_to_means(old, *sums))[~stays])
    if classes is not None:
        free = classes.project(free, classes.codes_of(colors[~stays]), space)
    return in_order(distinct(np.concatenate([problem.kept, free])))


def repair_unused(
    problem: Problem, colors: NDArray[np.uint8], replace_unused: bool
) -> tuple[NDArray[np.uint8], Any]:
    """Replace unused colors; return K colors in order, and the index of each point's nearest color.

    See `round_to_palette`.
    """
    points, kept = problem.points, problem.kept
    xp = array_module(points.weights)
    for repair in range(MOST_REPAIRS + 1):
        centers = xp.asarray(grid_points(colors, problem.space))
        labels = problem.assign(points, colors, centers)
        used = xp.zeros(len(colors), bool)
        used[labels] = True
        is_kept = np.isin(pack(colors), pack(kept))
        served = to_host(used) | is_kept | (repair == MOST_REPAIRS or not replace_unused)
        missing = problem.k - int(served.sum())
        if missing == 0:
            break
        entries = xp.asarray(colors)[labels]
        is_entry = (entries == problem.colors).all(axis=1)
        worst = worst_served(points, centers[labels], is_entry, missing + len(colors))
        others = to_host(problem.colors[worst])
        others = others[~np.isin(pack(np.ascontiguousarray(others)), pack(colors[served]))]
        colors = in_order(np.concatenate([colors[served], others[:missing]]))
    return colors, labels


def worst_served(points: Points, served_by: Any, is_entry: Any, count: int) -> Any:
    """(count,) integers: the points with the greatest weight times squared distance.

    Args:
        points: n points.
        served_by: (n, d) float32: the center that serves each point.
        is_entry: (n,) bool: whether the color of a point is in the palette. Such points come last:
            an entry on the grid point of another entry serves no point.
        count: At most n.
    """
    xp = array_module(points.columns)
    differences = points.columns[:-1] - served_by.T
    error = points.weights * (differences * differences).sum(axis=0).astype(xp.int64)
    return xp.argsort(xp.where(is_entry, 1, -error), kind="stable")[:count]
