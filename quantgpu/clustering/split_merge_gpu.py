"""The search of `refine` with every decision taken on the device: launches that never wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from quantgpu.arrays.namespace import array_module
from quantgpu.clustering.kmeans_gpu import GAPS, MOMENTS, SUMS, reduce, step, sums_per_cluster
from quantgpu.kernels.launch import Launch, blocks_for, int32, prepare

if TYPE_CHECKING:
    from quantgpu.clustering.points import Points

THREADS = 128
"""Threads in a block of every kernel here."""

CHECK_ROUNDS = 8
"""Rounds after which the host looks whether the search has ended."""


class Candidate(NamedTuple):
    """Centers, and how their clusters can be split: see ``spread.cu``."""

    centers: Any
    variance: Any
    line: Any


def search_gpu(
    points: Points,
    centers: Any,
    width: int,
    rounds: int,
    steps: list[tuple[int, int]],
    offset: float,
    fixed: int,
    report: Callable[[float], None],
) -> Any:
    """`split_merge.search` on a GPU; `steps` are the relaxations of Lloyd's steps in a round."""
    xp = array_module(centers)
    k, axes = centers.shape
    blocks = blocks_for(k + width, THREADS)
    state, counts = np.zeros((2, 3), np.int64), np.zeros((2, 2), np.int32)
    state[0], counts[0] = (np.iinfo(np.int64).max, width, 0), (0, k)
    state, counts = xp.asarray(state), xp.asarray(counts)
    candidate, best = (
        Candidate(xp.empty((k, axes), xp.float32), xp.empty(k), xp.empty((k, 2 * axes)))
        for _ in range(2)
    )
    candidate.centers[:] = centers
    wide = xp.empty((k + width, axes), xp.float32)
    sums = xp.zeros((k + width, sums_per_cluster(SUMS, axes)), xp.uint64)
    moments = xp.zeros((k, sums_per_cluster(MOMENTS, axes)), xp.uint64)
    losses = xp.zeros((k + width, sums_per_cluster(GAPS, axes)), xp.uint64)
    nearest, order = xp.empty(k + width, xp.int32), xp.empty(k + width, xp.int32)

    def kernel(name: str, *arguments: Any, blocks: int = blocks, shared: int = 0) -> Launch:
        return prepare(name, blocks, arguments, threads=THREADS, shared=shared, AXES=axes)

    def judging(now: int) -> list[Launch]:
        """Find the error of the candidate, decide, and split for the next round."""
        kept, error = counts[now, 1:], state[now, 2:].view(xp.uint64)
        found = moments.view(xp.int64), candidate.centers, kept, *candidate[1:], error
        rows = state[now], counts[now], state[1 - now], counts[1 - now]
        limits = *points.bounds, int32(k), int32(fixed), np.float64(offset)
        return [
            reduce(points, candidate.centers, kept, MOMENTS, moments),
            kernel("spread", *found),
            kernel("place", *rows, *candidate, *best, *limits, wide),
        ]

    def round_of(now: int) -> list[Launch]:
        """Search from the split centers, drop as many, search again, and judge."""
        widened, kept, signed = counts[now, :1], counts[now, 1:], losses.view(xp.int64)
        numbers = int32(k), int32(fixed)
        dropped = wide, signed, nearest, order, widened, *numbers, candidate.centers
        bits = 8 * blocks_for(k + width, 32)
        return [
            *(part for r in steps for part in step(points, wide, widened, sums, fixed, r)),
            reduce(points, wide, widened, GAPS, losses),
            kernel("rank", wide, signed, widened, nearest, order),
            kernel("drop", *dropped, blocks=1, shared=bits),
            *(
                part
                for r in steps
                for part in step(points, candidate.centers, kept, sums, fixed, r)
            ),
            *judging(now),
        ]

    for launch in judging(0):
        launch.run()
    plans = [round_of(now) for now in range(2)]
    for done in range(1, rounds + 1):
        report((done - 1) / rounds)
        if done % CHECK_ROUNDS == 0 and not int(counts[done % 2, 1]):
            break
        for launch in plans[done % 2]:
            launch.run()
    return best.centers
