"""The search of `refine` with every decision taken on the device: launches that never wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from quantgpu.device import array_module
from quantgpu.kernels import blocks_for, int32, launch
from quantgpu.kernels.clusters import GAPS, MOMENTS, SUMS, VALUES, move, reduce

if TYPE_CHECKING:
    from quantgpu.kmeans import Points

THREADS = 128
"""Threads in a block of every kernel here."""

LOOK = 8
"""Rounds after which the host looks whether the search has ended."""


class Candidate(NamedTuple):
    """Centers, and how their clusters can be split: see ``spread.cu``."""

    centers: Any
    variance: Any
    line: Any


def search(
    points: Points,
    centers: Any,
    width: int,
    rounds: int,
    steps: list[tuple[int, int]],
    offset: float,
    tell: Callable[[float], None],
) -> Any:
    """What `refine.search` finds; `steps` are the relaxations of Lloyd's steps in a round."""
    xp = array_module(centers)
    k, axes = centers.shape
    low, high = points.bounds
    state = np.zeros((rounds + 2, 3), np.int64)
    state[0] = np.iinfo(np.int64).max, width, 0
    counts = np.zeros((rounds + 2, 2), np.int32)
    counts[0, 1] = k
    state, counts = xp.asarray(state), xp.asarray(counts)
    candidate, best = (
        Candidate(xp.empty((k, axes), xp.float32), xp.empty(k), xp.empty((k, 2 * axes)))
        for _ in range(2)
    )
    candidate.centers[:] = centers
    wide = xp.empty((k + width, axes), xp.float32)
    sums = xp.zeros((k + width, VALUES[SUMS]), xp.uint64)
    moments = xp.zeros((k, VALUES[MOMENTS]), xp.uint64)
    losses = xp.zeros((k + width, VALUES[GAPS]), xp.uint64)
    nearest, order = xp.empty(k + width, xp.int32), xp.empty(k + width, xp.int32)

    def run(name: str, blocks: int, *arguments: Any, shared: int = 0) -> None:
        launch(name, blocks, arguments, threads=THREADS, shared=shared)

    def judge(row: int) -> None:
        """Find the error of the candidate of a round, decide, and split for the next."""
        kept, error = counts[row, 1:], state[row, 2:].view(xp.uint64)
        reduce(points, candidate.centers, kept, MOMENTS, moments)
        signed = moments.view(xp.int64)
        run("spread", blocks, signed, candidate.centers, kept, *candidate[1:], error)
        rows = state[row : row + 2], counts[row : row + 2]
        limits = low, high, int32(k), np.float64(offset)
        run("place", blocks, *rows, *candidate, *best, *limits, wide)

    blocks = blocks_for(k + width, THREADS)
    signed_losses = losses.view(xp.int64)
    judge(0)
    for row in range(1, rounds + 1):
        tell((row - 1) / rounds)
        if row % LOOK == 0 and not int(counts[row, 1]):
            break
        widened, kept = counts[row, :1], counts[row, 1:]
        for relaxation in steps:
            move(points, wide, widened, sums, relaxation)
        reduce(points, wide, widened, GAPS, losses)
        run("rank", blocks, wide, signed_losses, widened, nearest, order)
        inputs = wide, signed_losses, nearest, order, widened, int32(k)
        run("drop", 1, *inputs, candidate.centers, shared=8 * blocks_for(k + width, 32))
        for relaxation in steps:
            move(points, candidate.centers, kept, sums, relaxation)
        judge(row)
    return best.centers
