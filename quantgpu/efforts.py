"""Coarse to fine: how much searching an effort buys, and the search itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from quantgpu.cells import leaves
from quantgpu.kmeans import Points, lloyd
from quantgpu.refine import error_of, search

Seeding = Callable[[Points, int, np.random.Generator], Any]
Progress = Callable[[str, float], None]
"""Called with a stage's name and the share of it that is done, 0 to 1."""


class Effort(NamedTuple):
    """What is spent on finding the centers."""

    leaves: int
    """Octree leaves per center on the level that is searched."""
    least_leaves: int
    """The same for the whole level, however few the centers."""
    distances: int
    """Distances (leaves times centers) that one start costs; small K gets several starts."""
    starts: int
    """The most starts."""
    steps: int
    """Lloyd steps after each change of the search."""
    rounds: int
    """Rounds of the search."""
    fine_leaves: int
    """Octree leaves per center on a second, finer level; 0 to leave it out."""
    fine_rounds: int
    """Rounds of the search there."""
    final_steps: int
    """Lloyd steps on all colors."""
    settling: int
    """Lloyd steps on all colors with centers rounded to 8 bits."""


EFFORTS: dict[str, Effort | None] = {
    "none": None,
    "fast": Effort(10, 2000, 1 << 18, 2, 2, 10, 0, 0, 0, 0),
    "balanced": Effort(32, 4000, 1 << 21, 8, 3, 20, 0, 0, 2, 1),
    "best": Effort(64, 16000, 1 << 23, 16, 4, 60, 192, 20, 12, 6),
}
"""Name to effort; the choices of ``--effort``. `none` keeps the first centers."""


def find_centers(
    points: Points,
    codes: Any,
    k: int,
    effort: Effort | None,
    seeding: Seeding,
    rng: np.random.Generator,
    threads: int,
    progress: Progress,
) -> Any:
    """K centers, (K, d) float32, for Morton-sorted `points` with their `codes`."""
    if effort is None:
        return seeding(points, k, rng)
    coarse = leaves(points, codes, max(effort.leaves * k, effort.least_leaves))
    starts = max(1, min(effort.starts, effort.distances // (len(coarse) * k)))
    width = max(k // 8, 2)
    best = None
    for start in range(starts):
        centers = seeding(coarse, k, rng)
        centers = search(coarse, centers, width, effort.steps, effort.rounds, threads)
        error = error_of(coarse, centers, threads)
        if best is None or error < best[0]:
            best = error, centers
        progress("cluster", 0.6 * (start + 1) / starts)
    assert best is not None
    centers = best[1]
    if effort.fine_leaves:
        fine = leaves(points, codes, effort.fine_leaves * k)
        centers = search(fine, centers, width, effort.steps, effort.fine_rounds, threads)
        progress("cluster", 0.8)
    return lloyd(points, centers, effort.final_steps, threads)
