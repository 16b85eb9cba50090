"""The K colors of a fixed set that serve an image best.

The centers of a free clustering lead to a first choice, which grows greedily to K; then one chosen
color after the other is exchanged for another, as long as the exchange lowers the error (the swaps
of PAM, evaluated for all pairs at once).

E. Schubert and P. J. Rousseeuw, "Faster k-medoids clustering: improving the PAM, CLARA, and CLARANS
algorithms", SISAP 2019, doi:10.1007/978-3-030-32047-8_16.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quantgpu.clustering.kmeans import assign
from quantgpu.clustering.points import Points

MOST_POINTS = 2048
"""The octree leaves for which colors are chosen, at most;"""
POINTS_PER_COLOR = 12
"""or this number for each of K colors, whichever is larger."""

MOST_CANDIDATES = 2048
"""Of larger sets only the colors nearest to some leaf or free center can be chosen."""

SWAPS = 64
"""The most exchanges: 12 to 40 were made for 16 and 64 of 512 colors of photographs."""

TOTAL = 1 << 28
"""Weights are scaled down until their sum is below this: float64 holds all sums exactly."""


def k_medoids(
    points: Points, candidates: NDArray[np.float32], free: NDArray[np.float32], k: int, fixed: int
) -> list[int]:
    """Choose at most K of the `candidates` for `points`; return their indices.

    Args:
        points: On the host.
        candidates: (M, d) integer grid points.
        free: (m, d): centers of a free clustering of the points.
        k: At least `fixed`.
        fixed: The first `fixed` candidates are always chosen.
    """
    near = np.unique(assign(points, candidates))
    first = np.unique(assign(as_points(free), candidates))
    usable = np.arange(len(candidates))
    if len(candidates) > MOST_CANDIDATES:
        usable = np.unique(np.concatenate([np.arange(fixed), first, near]))
    distances = squared_distances(points, candidates[usable])
    masses = whole_masses(points.weights)
    chosen = list(range(fixed))
    chosen += [c for c in np.searchsorted(usable, first).tolist() if c >= fixed][: k - fixed]
    chosen = grow(distances, masses, chosen, min(k, len(usable)))
    chosen = swap(distances, masses, chosen, fixed)
    indices: list[int] = usable[chosen].tolist()
    return indices


def as_points(centers: NDArray[np.float32]) -> Points:
    """(m, d) centers as points of weight 1."""
    columns = np.ones((centers.shape[1] + 1, len(centers)), np.float32)
    columns[:-1] = centers.T
    return Points(columns, np.ones(len(centers), np.int64))


def whole_masses(weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,): whole numbers, at least 1, in proportion to `weights`; their sum is below `TOTAL`."""
    shift = max(0, int(weights.sum()).bit_length() - TOTAL.bit_length() + 2)
    masses: NDArray[np.float64] = np.maximum(weights >> shift, 1).astype(np.float64)
    return masses


def squared_distances(points: Points, candidates: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, M): the squared distance of every point to every candidate."""
    total = np.zeros((len(points), len(candidates)))
    for column, center in zip(points.columns, candidates.T, strict=False):
        gap = column[:, None].astype(np.float64) - center
        total += gap * gap
    return total


def grow(
    distances: NDArray[np.float64], masses: NDArray[np.float64], chosen: list[int], k: int
) -> list[int]:
    """Add the candidate that lowers the error most, ties to the first, until there are K.

    Fewer than K are returned if no candidate lowers the error any more. `distances` are (n, M),
    `masses` (n,), and `chosen` indices of candidates.
    """
    chosen = list(chosen)
    served = distances[:, chosen].min(axis=1, initial=np.float64(1 << 24))
    while len(chosen) < k:
        gains = masses @ np.maximum(served[:, None] - distances, 0)
        best = int(gains.argmax())
        if gains[best] == 0:
            break
        chosen.append(best)
        served = np.minimum(served, distances[:, best])
    return chosen


def swap(
    distances: NDArray[np.float64], masses: NDArray[np.float64], chosen: list[int], fixed: int
) -> list[int]:
    """Exchange chosen candidates, each time the pair that lowers the error most.

    The first `fixed` choices stay. Arguments as in `grow`.
    """
    chosen = list(chosen)
    for _ in range(SWAPS if fixed < len(chosen) else 0):
        loss = losses_of_swaps(distances, masses, chosen)
        loss[:fixed] = 0
        place, other = divmod(int(loss.argmin()), loss.shape[1])
        if loss[place, other] >= 0:
            break
        chosen[place] = other
    return chosen


def losses_of_swaps(
    distances: NDArray[np.float64], masses: NDArray[np.float64], chosen: list[int]
) -> NDArray[np.float64]:
    """(K, M): the rise of the error if a choice is exchanged for a candidate."""
    own = distances[:, chosen]
    nearest = own.argmin(axis=1)
    rows = np.arange(len(own))
    first = own[rows, nearest]
    own = own.copy()
    own[rows, nearest] = np.float64(1 << 24)
    second = own.min(axis=1)
    with_other = np.minimum(distances, first[:, None])
    without = np.minimum(distances, second[:, None])
    without -= with_other
    without *= masses[:, None]
    order = np.argsort(nearest, kind="stable")
    present, starts = np.unique(nearest[order], return_index=True)
    loss = np.zeros((len(chosen), distances.shape[1]))
    loss[present] = np.add.reduceat(without[order], starts, axis=0)
    with_other -= first[:, None]
    loss += masses @ with_other
    return loss
