"""Search centers on coarse levels of an octree first; an effort says how long on which levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from quantgpu.arrays.namespace import array_module
from quantgpu.clustering.kmeans import lloyd
from quantgpu.clustering.octree import leaves, octree, running_sums
from quantgpu.clustering.points import Points
from quantgpu.clustering.seeding import random_colors
from quantgpu.clustering.split_merge import error_of, search
from quantgpu.progress import Observer, Progress, no_observer, no_progress

Seeding = Callable[[Points, int, np.random.Generator], Any]

START_DISTANCES = 1 << 19
"""Small problems are searched from several first centers; this product of points, centers and
starts limits their number."""

MOST_STARTS = 4
"""Searches of a small problem, each from other first centers."""

FEW_POINTS = 1 << 16
"""The most points whose first centers are drawn on the host: a GPU would wait for each of them."""


class Level(NamedTuple):
    """The work on one level of the octree."""

    leaves: int
    """Octree leaves per center; ties can leave an eighth of them, so 8 at least."""
    least: int
    """Octree leaves at least, however few the centers."""
    share: int
    """In each round of the search, one in `share` centers moves elsewhere."""
    rounds: int
    """Rounds of the search."""
    steps: int
    """Lloyd steps after the search."""

    def width(self, centers: int) -> int:
        """The number of `centers` that move elsewhere in each round."""
        return -(-centers // self.share)


class Effort(NamedTuple):
    """The work spent on finding the centers."""

    levels: tuple[Level, ...]
    """From coarse to fine."""
    settling: int
    """Lloyd steps on all colors from one 8-bit color to another, at the end."""


EFFORTS: dict[str, Effort | None] = {
    "none": None,
    "fast": Effort((Level(10, 1000, 6, 5, 0),), 0),
    "balanced": Effort(
        (Level(12, 2500, 6, 10, 0), Level(48, 10_000, 12, 3, 0), Level(192, 30_000, 1, 0, 5)), 0
    ),
    "best": Effort(
        (
            Level(16, 4000, 4, 40, 0),
            Level(96, 16_000, 8, 40, 0),
            Level(1024, 100_000, 16, 20, 30),
        ),
        8,
    ),
}
"""Name to effort; the choices of ``--effort``. `none` keeps the first centers."""


@dataclass(frozen=True)
class CenterSearch:
    """How centers are searched for."""

    effort: Effort | None
    """None keeps the first centers."""
    seeding: Seeding
    """Finds the first centers; a row of `SEEDINGS`."""
    rng: np.random.Generator
    threads: int = 1


def find_centers(
    points: Points,
    codes: Any,
    k: int,
    fixed: Any,
    how: CenterSearch,
    progress: Progress = no_progress,
    observe: Observer = no_observer,
) -> Any:
    """K centers, (K, d) float32, of which the first m are `fixed`.

    Args:
        points: In Morton order, at least K.
        codes: (n,) integers: the Morton codes of the points.
        k: The number of centers.
        fixed: (m, d) float32, m <= K: centers that do not move; the others are found around them.
        how: How much to search.
        progress: Called with the stage ``cluster``.
        observe: Called with the arrays of each level.
    """
    xp = array_module(points.weights)
    kept = len(fixed)
    if kept == k:
        return fixed
    if how.effort is None:
        return xp.concatenate([fixed, how.seeding(points, k - kept, how.rng)])
    levels = how.effort.levels
    most = [max(level.leaves * k, level.least) for level in levels]
    sums = running_sums(points)
    tree = octree(codes, sums, max(most)) if len(points) > min(most) else None
    centers = None
    searched = 0
    for done, level in enumerate(levels):

        def report(share: float, done: int = done) -> None:
            progress("cluster", (done + share) / len(levels))

        few = len(points) <= most[done]
        coarse = points if few or tree is None else leaves(tree, sums, most[done])
        if centers is None:
            centers = best_start(coarse, k, fixed, level, how, report)
        elif len(coarse) > searched:
            width = level.width(k - kept)
            centers = search(coarse, centers, width, level.rounds, how.threads, report, kept)
        centers = lloyd(coarse, centers, level.steps, how.threads, kept)
        observe(f"level {done + 1}", {"cells": coarse.columns, "centers": centers})
        searched = len(coarse)
    return centers


UPDATE = Level(24, 5000, 16, 4, 2)
"""The work on each frame when centers follow slowly changing points."""


def update_centers(points: Points, codes: Any, centers: Any, threads: int = 1) -> Any:
    """Search K centers, (K, d) float32, from the centers of similar points (a warm start).

    Args:
        points: In Morton order, at least K.
        codes: (n,) integers: the Morton codes of the points.
        centers: (K, d) float32: the centers of the similar points.
        threads: At least 1.
    """
    level = UPDATE
    most = max(level.leaves * len(centers), level.least)
    if len(points) > most:
        sums = running_sums(points)
        points = leaves(octree(codes, sums, most), sums, most)
    centers = search(points, centers, level.width(len(centers)), level.rounds, threads)
    return lloyd(points, centers, level.steps, threads)


def best_start(
    points: Points,
    k: int,
    fixed: Any,
    level: Level,
    how: CenterSearch,
    report: Callable[[float], None],
) -> Any:
    """The best centers of several searches: from the seeding, and from random starts."""
    xp = array_module(points.weights)
    starts = max(1, min(MOST_STARTS, START_DISTANCES // (len(points) * k)))
    few = points.to_host() if len(points) <= FEW_POINTS else points
    free = k - len(fixed)
    found = []
    for start in range(starts):
        seeds = (how.seeding if start == 0 else random_colors)(few, free, how.rng)
        first = xp.concatenate([fixed, xp.asarray(seeds)])
        width, threads = level.width(free), how.threads
        found.append(search(points, first, width, level.rounds, threads, report, len(fixed)))
    if starts == 1:
        return found[0]
    errors = [error_of(points, centers, how.threads) for centers in found]
    return found[errors.index(min(errors))]
