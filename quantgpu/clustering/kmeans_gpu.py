"""Assignment, sums and Lloyd's steps as launches that never wait.

Two routes lead to the sums of the points nearest to each center, and both give the same bytes.
`batched_sums` computes the distances to all K centers in batched matrix products, and the kernel
`accumulate` reads each distance once: 36 + 8 K bytes are moved for each point, 2,084 at K = 256.
`nearest_sums_gpu` fuses the two steps: the kernel `reduce` keeps centers in shared memory and
distances in registers, and moves 20 bytes for each point whatever K is. The inner loop of `reduce`
takes 7 instructions of PTX for a point and a center (3 multiply-adds, 3 to compare and select, and
a share of the rest). For 588,000 points and 256 centers the fused kernel moves 12 MB, the other
route 1.2 GB, and the matrix product alone would need 4 multiply-adds where the fused kernel needs
3. Registers (48 and 32 at compute capability 9.0) let half of the threads of a multiprocessor and
all of them run. So the fused kernel does the work, and the result of the other route is compared
with its result whenever a GPU is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantgpu.arrays.namespace import array_module
from quantgpu.kernels.launch import SHARED_BYTES, Launch, blocks_for, int32, prepare

if TYPE_CHECKING:
    from quantgpu.clustering.points import Points

REDUCE_THREADS = 128
"""Threads in a block of `reduce`, and"""
POINTS_PER_THREAD = 4
"""points that each thread takes at a time."""

BIAS = 2048
"""Added to coordinates, so that no summand is negative."""

LABELS, SUMS, MOMENTS, GAPS = range(4)
"""The kinds of output of `reduce`; KIND in ``reduce.cu``."""


def sums_per_cluster(kind: int, axes: int) -> int:
    """The number of sums that `reduce` adds up for each cluster."""
    return {LABELS: 0, SUMS: 1 + axes, MOMENTS: 1 + axes + axes * (axes + 1) // 2, GAPS: 1}[kind]


ACCUMULATE_THREADS = 256

BATCH_DISTANCES = 1 << 26
"""Distances computed at a time, where they are written: 256 MiB."""


def reduce(points: Points, centers: Any, count: Any, kind: int, out: Any) -> Launch:
    """A launch of ``reduce.cu``.

    Args:
        points: On the device.
        centers: (m, d) float32, of which the first `count` are used.
        count: (1,) int32 on the device.
        kind: `LABELS`, `SUMS`, `MOMENTS` or `GAPS`.
        out: Labels, (n,) int32; or sums, (m, `sums_per_cluster`) uint64.
    """
    axes = centers.shape[1]
    shared = 8 * sums_per_cluster(kind, axes) * len(centers)
    in_shared = 0 < shared <= SHARED_BYTES
    return prepare(
        "reduce",
        blocks_for(len(points), REDUCE_THREADS * POINTS_PER_THREAD),
        (points.columns, points.weights, centers, count, int32(len(points)), int32(in_shared), out),
        threads=REDUCE_THREADS,
        shared=shared if in_shared else 0,
        KIND=kind,
        AXES=axes,
    )


def assign_gpu(points: Points, centers: Any) -> Any:
    """The index, (n,) int32, of each point's nearest center; ties go to the lowest index."""
    xp = array_module(centers)
    labels = xp.empty(len(points), xp.int32)
    reduce(points, centers, count_of(centers), LABELS, labels).run()
    return labels


def nearest_sums_gpu(points: Points, centers: Any) -> tuple[Any, Any]:
    """The weight, (K,) int64, and coordinate sums, (K, d) int64, of each center's points."""
    xp = array_module(centers)
    sums = xp.zeros((len(centers), sums_per_cluster(SUMS, centers.shape[1])), xp.uint64)
    reduce(points, centers, count_of(centers), SUMS, sums).run()
    return remove_bias(sums)


def batched_sums(points: Points, centers: Any, batch: int = BATCH_DISTANCES) -> tuple[Any, Any]:
    """The result of `nearest_sums_gpu` by matrix products and the kernel `accumulate`.

    `batch` is the number of distances that are written to memory at a time.
    """
    from quantgpu.clustering.points import distance_matrix

    xp = array_module(centers)
    matrix = distance_matrix(centers)
    sums = xp.zeros((len(centers), sums_per_cluster(SUMS, centers.shape[1])), xp.uint64)
    shared = 8 * sums.size
    in_shared = shared <= SHARED_BYTES
    rows = max(batch // len(centers), 1)
    for first in range(0, len(points), rows):
        distances = points.columns[:, first : first + rows].T @ matrix
        numbers = len(distances), first, len(points), len(centers), in_shared
        prepare(
            "accumulate",
            blocks_for(len(distances), ACCUMULATE_THREADS // 32),
            (distances, points.columns, points.weights, *map(int32, numbers), sums),
            threads=ACCUMULATE_THREADS,
            shared=shared if in_shared else 0,
            AXES=centers.shape[1],
        ).run()
    return remove_bias(sums)


def remove_bias(sums: Any) -> tuple[Any, Any]:
    """The weights, (K,), and coordinate sums, (K, d), int64 each, in the output of `reduce`."""
    xp = array_module(sums)
    signed = sums.view(xp.int64)
    mass = signed[:, 0].copy()
    return mass, signed[:, 1:] - BIAS * mass[:, None]


def count_of(centers: Any) -> Any:
    """(1,) int32 on the device: the number of centers."""
    xp = array_module(centers)
    return xp.full(1, len(centers), xp.int32)


def step(
    points: Points, centers: Any, count: Any, sums: Any, fixed: int, relaxation: tuple[int, int]
) -> list[Launch]:
    """The launches of one of Lloyd's steps, which moves `centers` in place.

    Args:
        points: On the device.
        centers: (m, d) float32.
        count: (1,) int32: the centers in use.
        sums: (m, `sums_per_cluster`) uint64: zero before and after the launches.
        fixed: The first `fixed` centers do not move.
        relaxation: (p, q): centers move p/q of the way to the means.
    """
    numbers = map(int32, (fixed, *relaxation))
    arguments = sums.view("int64"), count, *points.bounds, *numbers, centers
    return [
        reduce(points, centers, count, SUMS, sums),
        prepare("update", blocks_for(len(centers)), arguments, AXES=centers.shape[1]),
    ]


def lloyd_gpu(points: Points, centers: Any, relaxations: list[tuple[int, int]], fixed: int) -> Any:
    """The centers, (K, d) float32, after one of Lloyd's steps for each of the `relaxations`.

    The first `fixed` centers do not move.
    """
    xp = array_module(centers)
    centers = centers.copy()
    count = count_of(centers)
    sums = xp.zeros((len(centers), sums_per_cluster(SUMS, centers.shape[1])), xp.uint64)
    steps = {r: step(points, centers, count, sums, fixed, r) for r in set(relaxations)}
    for relaxation in relaxations:
        for launch in steps[relaxation]:
            launch.run()
    return centers
