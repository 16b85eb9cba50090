"""From centers on the grid to exactly K distinct 8-bit colors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module, to_host
from quantgpu.clustering.color_classes import Kinds
from quantgpu.clustering.kmeans import assign, cluster_sums, nearest_sums, step_to_means
from quantgpu.clustering.points import Points
from quantgpu.color.packing import pack
from quantgpu.color.spaces import ColorSpace, grid_centers
from quantgpu.palette import distinct, in_order

REPAIRS = 8
"""How often unused colors may be replaced; one that is then still unused stays."""


KIND_STEPS = 2
"""Lloyd's steps at least from one 8-bit color to another where kinds of colors are kept apart."""


def settle(
    points: Points,
    point_colors: Any,
    centers: Any,
    k: int,
    space: ColorSpace,
    steps: int,
    threads: int,
    kept: NDArray[np.uint8] | None = None,
    kinds: Kinds | None = None,
    replace_unused: bool = True,
) -> tuple[NDArray[np.uint8], Any]:
    """Exactly K distinct 8-bit colors near `centers`, and the (n,) index of each point's nearest.

    For points of more than K colors; the colors, (K, channels), are in order, and ties go to the
    first.

    Rounded centers take at most `steps` of Lloyd's steps from one 8-bit color to another. Colors
    that rounding made equal, or that are nearest to no point, give way to the colors that are
    served worst: greatest weight times squared distance, ties to the first point.

    Args:
        kept: Colors that stay as they are, in place of the first centers.
        kinds: Which points may be served by which colors.
        replace_unused: False leaves colors that are nearest to no point: mixing may need them.
    """
    xp = array_module(points.weights)
    kept = np.empty((0, point_colors.shape[1]), np.uint8) if kept is None else kept

    def ordered(free: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return in_order(distinct(np.concatenate([kept, free])))

    def is_kept(colors: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return np.isin(pack(colors), pack(kept))

    def nearest(colors: NDArray[np.uint8], served_by: Any) -> Any:
        if kinds is None:
            return assign(points, served_by, threads)
        return kinds.assign(points, served_by, colors, threads)

    free = space.colors(to_host(centers)[len(kept) :])
    if kinds is not None:
        steps = max(steps, KIND_STEPS)
        rounded = np.concatenate([kept, free])
        free = kinds.imposed(points, rounded, space, len(kept), threads)[len(kept) :]
    colors = ordered(free)
    for _ in range(steps):
        old = xp.asarray(grid_centers(colors, space))
        if kinds is None:
            sums = nearest_sums(points, old, threads)
        else:
            sums = cluster_sums(points, nearest(colors, old), len(colors))
        stays = is_kept(colors)
        free = space.colors(to_host(step_to_means(old, *sums))[~stays])
        if kinds is not None:
            free = kinds.kept(free, kinds.codes_of(colors[~stays]), space)
        if np.array_equal(rounded := ordered(free), colors):
            break
        colors = rounded
    for repair in range(REPAIRS + 1):
        served_by = xp.asarray(grid_centers(colors, space))
        labels = nearest(colors, served_by)
        used = xp.zeros(len(colors), bool)
        used[labels] = True
        served = to_host(used) | is_kept(colors) | (repair == REPAIRS or not replace_unused)
        missing = k - int(served.sum())
        if missing == 0:
            break
        entries = xp.asarray(colors)[labels]
        is_entry = (entries == point_colors).all(axis=1)
        worst = worst_served(points, served_by[labels], is_entry, missing + len(colors))
        others = to_host(point_colors[worst])
        others = others[~np.isin(pack(np.ascontiguousarray(others)), pack(colors[served]))]
        colors = in_order(np.concatenate([colors[served], others[:missing]]))
    return colors, labels


def worst_served(points: Points, served_by: Any, is_entry: Any, count: int) -> Any:
    """The (count,) points with the greatest weight times squared distance from `served_by`.

    Those whose color `is_entry` of the palette, (n,) bool, come last; others may lie on the same
    grid point as an entry, or be an entry that gave way to another there.
    """
    xp = array_module(points.columns)
    differences = points.columns[:-1] - served_by.T
    error = points.weights * (differences * differences).sum(axis=0).astype(xp.int64)
    return xp.argsort(xp.where(is_entry, 1, -error), kind="stable")[:count]
