"""The search of `split_merge` with every decision made on the device: launches that never wait."""

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
"""Threads in a block of every kernel that this module launches."""

CHECK_ROUNDS = 8
"""The host checks after this number of rounds whether the search has ended."""


class Candidate(NamedTuple):
    """Centers, and the lines along which clusters can be split: see ``spread.cu``."""

    centers: Any
    variance: Any
    line: Any


class DeviceSearch(NamedTuple):
    """The arrays of a search for K centers on a device, and the launches of its rounds.

    ``place.cu`` describes `state` and `counts`: a row for even rounds and a row for odd ones.
    """

    points: Points
    fixed: int
    """The first `fixed` centers do not move."""
    offset: float
    """The distance of the halves of a split cluster from its mean, in standard deviations."""
    state: Any
    """(2, 3) int64."""
    counts: Any
    """(2, 2) int32."""
    candidate: Candidate
    best: Candidate
    wide: Any
    """(K + width, d) float32: the centers after splitting."""
    sums: Any
    moments: Any
    losses: Any
    """`sums`, `moments` and `losses`: uint64 outputs of ``reduce.cu``, zero between rounds."""
    nearest: Any
    order: Any
    """`nearest` and `order`: (K + width,) int32, see ``rank.cu``."""

    def kernel(
        self, name: str, *arguments: Any, blocks: int | None = None, shared: int = 0
    ) -> Launch:
        """A launch of ``NAME.cu``, by default of a thread for each split center."""
        most, axes = self.wide.shape
        blocks = blocks_for(most, THREADS) if blocks is None else blocks
        return prepare(name, blocks, arguments, threads=THREADS, shared=shared, AXES=axes)

    def judge(self, now: int) -> list[Launch]:
        """Find the error of the candidate, decide, and split for the next round.

        `now` is the number of the round modulo 2.
        """
        points, candidate, state, counts = self.points, self.candidate, self.state, self.counts
        k = len(candidate.centers)
        kept, error = counts[now, 1:], state[now, 2:].view("uint64")
        spread = self.moments.view("int64"), candidate.centers, kept, *candidate[1:], error
        rows = state[now], counts[now], state[1 - now], counts[1 - now]
        limits = *points.bounds, int32(k), int32(self.fixed), np.float64(self.offset)
        return [
            reduce(points, candidate.centers, kept, MOMENTS, self.moments),
            self.kernel("spread", *spread),
            self.kernel("place", *rows, *candidate, *self.best, *limits, self.wide),
        ]

    def round_launches(self, now: int, steps: list[tuple[int, int]]) -> list[Launch]:
        """Search from the split centers, drop as many as were added, search again, and judge.

        `now` is the number of the round modulo 2; `steps` are relaxations, see `search_gpu`.
        """
        points, wide, centers, fixed = self.points, self.wide, self.candidate.centers, self.fixed
        widened, kept = self.counts[now, :1], self.counts[now, 1:]
        losses, nearest, order = self.losses.view("int64"), self.nearest, self.order
        dropped = losses, nearest, order, widened, int32(len(centers)), int32(fixed), centers
        bits = 8 * blocks_for(len(wide), 32)
        return [
            *(part for r in steps for part in step(points, wide, widened, self.sums, fixed, r)),
            reduce(points, wide, widened, GAPS, self.losses),
            self.kernel("rank", wide, losses, widened, nearest, order),
            self.kernel("drop", wide, *dropped, blocks=1, shared=bits),
            *(part for r in steps for part in step(points, centers, kept, self.sums, fixed, r)),
            *self.judge(now),
        ]


def device_search(
    points: Points, centers: Any, width: int, fixed: int, offset: float
) -> DeviceSearch:
    """A search that starts from `centers`, (K, d) float32, and splits `width` of them at first."""
    xp = array_module(centers)
    k, axes = centers.shape
    state, counts = np.zeros((2, 3), np.int64), np.zeros((2, 2), np.int32)
    state[0], counts[0] = (np.iinfo(np.int64).max, width, 0), (0, k)
    state, counts = xp.asarray(state), xp.asarray(counts)
    candidate, best = (
        Candidate(xp.empty((k, axes), xp.float32), xp.empty(k), xp.empty((k, 2 * axes)))
        for _ in range(2)
    )
    candidate.centers[:] = centers
    return DeviceSearch(
        points,
        fixed,
        offset,
        state,
        counts,
        candidate,
        best,
        wide=xp.empty((k + width, axes), xp.float32),
        sums=xp.zeros((k + width, sums_per_cluster(SUMS, axes)), xp.uint64),
        moments=xp.zeros((k, sums_per_cluster(MOMENTS, axes)), xp.uint64),
        losses=xp.zeros((k + width, sums_per_cluster(GAPS, axes)), xp.uint64),
        nearest=xp.empty(k + width, xp.int32),
        order=xp.empty(k + width, xp.int32),
    )


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
    """The centers that `split_merge.search` finds, (K, d) float32.

    Args:
        points: On the device.
        centers: (K, d) float32: the centers to start from.
        width: The number of centers that are split and dropped at a time.
        rounds: At least 1.
        steps: The relaxations of Lloyd's steps after splitting, and again after dropping.
        offset: The distance of the halves of a split cluster from its mean, in standard deviations.
        fixed: The first `fixed` centers do not move.
        report: Called with the share of the rounds that is done.
    """
    search = device_search(points, centers, width, fixed, offset)
    for launch in search.judge(0):
        launch.run()
    plans = [search.round_launches(now, steps) for now in range(2)]
    for done in range(1, rounds + 1):
        report((done - 1) / rounds)
        if done % CHECK_ROUNDS == 0 and not int(search.counts[done % 2, 1]):
            break
        for launch in plans[done % 2]:
            launch.run()
    return search.best.centers
