"""Few colors for pictures with soft edges: opaque colors and the others are searched separately.

Opaque colors are served by opaque palette entries only, and a search that ignores this rule spends
its centers elsewhere. With many centers the search loses little; with few the number of opaque
entries matters, so several numbers are tried, and the exact error decides.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module
from quantgpu.clustering.coarse_to_fine import Level, Seeding
from quantgpu.clustering.kmeans import assign, cluster_sums, step_to_means, total_error
from quantgpu.clustering.octree import leaves, octree, running_sums
from quantgpu.clustering.points import Points
from quantgpu.clustering.split_merge import search

FEW_COLORS_LIMIT = 32
"""The most colors of a palette whose opaque entries are counted by `search_opaque_count`. The
search lowers the error of a gradient of opacity by 9, 4, 0.7 and 4 % for K = 4, 8, 16 and 32, that
of a vignette by up to 0.2 %, and takes 0.1 to 0.7 seconds; with K = 64 nothing is gained."""

STARTS = 4
"""Random starts for each number of opaque entries."""

LLOYD_STEPS = 8
"""Lloyd's steps at most for all centers together."""

ALPHA = 3
"""The axis of opacity."""


class OpacitySplit(NamedTuple):
    """Opaque points and all others, on the host."""

    opaque: Points
    others: Points


def has_soft_edges(colors: Any) -> bool:
    """Whether (n, 4) uint8 colors include opaque ones, and ones neither opaque nor clear."""
    alphas = colors[:, ALPHA]
    return bool((alphas == 255).any()) and bool(((alphas > 0) & (alphas < 255)).any())


def split_by_opacity(points: Points, codes: Any, is_opaque: Any, most: int) -> OpacitySplit:
    """The opaque points and the others, each reduced to at most `most` octree leaves.

    Args:
        points: n points in Morton order.
        codes: (n,) integers: the Morton codes of the points.
        is_opaque: (n,) bool.
        most: Points on either side; a larger side is replaced by its octree leaves.
    """
    xp = array_module(codes)
    parts = []
    for members in (xp.flatnonzero(is_opaque), xp.flatnonzero(~is_opaque)):
        part = points.take(members)
        if len(part) > most:
            sums = running_sums(part)
            part = leaves(octree(codes[members], sums, most), sums, most)
        parts.append(part.to_host())
    return OpacitySplit(*parts)


def are_opaque(centers: NDArray[np.float32], split: OpacitySplit) -> NDArray[np.bool_]:
    """(K,) bool: whether centers may serve opaque points."""
    opaque: NDArray[np.bool_] = centers[:, ALPHA] == split.opaque.columns[ALPHA, 0]
    return opaque


def sums_by_opacity(split: OpacitySplit, centers: NDArray[np.float32]) -> tuple[Any, Any]:
    """`cluster_sums` of all points, where opaque points are served by opaque centers only."""
    serving = np.flatnonzero(are_opaque(centers, split))
    labels = serving[assign(split.opaque, centers[serving])]
    mass, sums = cluster_sums(split.opaque, labels, len(centers))
    more, added = cluster_sums(split.others, assign(split.others, centers), len(centers))
    return mass + more, sums + added


def lloyd_by_opacity(
    split: OpacitySplit, centers: NDArray[np.float32], fixed: int
) -> tuple[int, NDArray[np.float32]]:
    """The error, and the centers after at most `LLOYD_STEPS`.

    The first `fixed` centers do not move, and opaque centers stay opaque.
    """
    opaque = are_opaque(centers, split)
    mass, sums = sums_by_opacity(split, centers)
    for _ in range(LLOYD_STEPS):
        moved = step_to_means(centers, mass, sums)
        moved[:fixed] = centers[:fixed]
        moved[opaque, ALPHA] = centers[opaque, ALPHA]
        if (moved == centers).all():
            break
        centers = moved
        mass, sums = sums_by_opacity(split, centers)
    return total_error(centers, mass, sums), centers


def search_opaque_count(
    split: OpacitySplit,
    centers: NDArray[np.float32],
    level: Level,
    seeding: Seeding,
    rng: np.random.Generator,
    fixed: int,
) -> NDArray[np.float32]:
    """Search for the best number of opaque centers; return `centers` if no other number helps.

    Starting from the number of opaque centers in `centers`, fewer are tried as long as the error
    falls, or else more. For each number, opaque centers are searched for the opaque points, and
    then the remaining centers, around the opaque ones, for the other points.

    Args:
        split: The points, from `split_by_opacity`.
        centers: (K, 4) float32 on the host, some of them opaque.
        level: The cost of each search.
        seeding: A row of `SEEDINGS`.
        rng: The generator that the seeding draws from.
        fixed: The first `fixed` centers, fewer than K, do not move.
    """
    kept, free = centers[:fixed], len(centers) - fixed
    held = kept[are_opaque(kept, split)]

    def add_centers(points: Points, around: Any, count: int) -> Any:
        if not count:
            return around
        first = np.concatenate([around, seeding(points, count, rng)])
        return search(points, first, level.width(count), level.rounds, fixed=len(around))

    def centers_with(count: int) -> tuple[int, NDArray[np.float32]]:
        serving = add_centers(split.opaque, held, count)[len(held) :]
        around = np.concatenate([kept, serving])
        return lloyd_by_opacity(split, add_centers(split.others, around, free - count), fixed)

    fewest = max(0 if len(held) else 1, free - len(split.others))
    most = min(free, len(split.opaque))
    start = min(max(int(are_opaque(centers[fixed:], split).sum()), fewest), most)
    least, best = lloyd_by_opacity(split, centers, fixed)
    number = start
    for numbers in (range(start, fewest - 1, -1), range(start + 1, most + 1)):
        for count in numbers:
            error, tried = min(
                (centers_with(count) for _ in range(STARTS)), key=lambda pair: pair[0]
            )
            if error < least:
                least, best, number = error, tried, count
            elif count != start:
                break
        if number < start:
            break
    return best
