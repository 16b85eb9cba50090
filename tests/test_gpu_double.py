"""The harness that runs CUDA kernels on the CPU: what it computes, and the mistakes it catches."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from gpu_double import KernelError, run_kernel
from numpy.typing import NDArray

SAMPLES = (Path(__file__).parent / "gpu_double" / "samples.cu").read_text()

CHECKS: dict[str, dict[str, Any]] = {
    "forward": {"mode": "fiber", "order": "forward"},
    "reverse": {"mode": "fiber", "order": "reverse"},
    "random": {"mode": "fiber", "order": "random"},
    "race": {"mode": "race"},
    "asan": {"mode": "asan"},
    "thread": {"mode": "thread"},
    "tsan": {"mode": "tsan"},
}
"""What a kernel is run under, by name."""


def points_and_centers(n: int, k: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Integer coordinates without symmetry."""
    generator = np.random.default_rng(n + k)
    spread = generator.integers(-900, 1000, (n + k, 4)) // [1, 2, 3, 5]
    points, centers = np.split(spread.astype(np.float32), [n])
    return points, centers


def assert_samples_work(
    text: str = SAMPLES, n: int = 515, k: int = 21, blocks: int = 3, **how: Any
) -> None:
    """The sample kernels of `text` compute what NumPy does."""
    points, centers = points_and_centers(n, k)
    labels = np.empty(n, np.int32)
    counts = np.int32(n), np.int32(k)
    nearest = points, centers, *counts, labels
    run_kernel(text, "nearest", (blocks,), (128,), nearest, 16 * k, **how)
    expected = ((points[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(labels, expected)

    sums = np.zeros((k, 2), np.int32)
    squares = np.zeros(1, np.uint64)
    run_kernel(
        text,
        "accumulate",
        (blocks,),
        (128,),
        (points, labels, *counts, sums, squares),
        8 * k,
        **how,
    )
    expected_sums = np.zeros((k, 2))
    np.add.at(expected_sums, expected, np.stack([points[:, 0], np.ones(n)], axis=1))
    np.testing.assert_array_equal(sums, expected_sums)
    assert squares[0] == (points[:, 0].astype(np.int64) ** 2).sum()


@pytest.mark.parametrize("check", CHECKS)
def test_kernels_compute_what_numpy_does(check: str) -> None:
    assert_samples_work(**CHECKS[check])


@pytest.mark.parametrize("order", ["forward", "reverse", "random"])
@pytest.mark.parametrize(("n", "k", "blocks"), [(1, 1, 1), (31, 3, 2), (2000, 256, 5)])
def test_sizes_and_orders(order: str, n: int, k: int, blocks: int) -> None:
    assert_samples_work(n=n, k=k, blocks=blocks, order=order)


class Bug(NamedTuple):
    """A change of the sample kernels that breaks them."""

    what: str
    old: str
    new: str
    seen_by: str
    """The checks that must see it, all of them."""


ORDERED = "if (blockIdx.x == 0 || *squares) atomicAdd(squares, total)"
"""Right only if block 0 is the first to come."""

FIBERS = "forward reverse random"
BUGS = [
    Bug("no barrier after filling", "__syncthreads();  // FILLED", "", f"{FIBERS} race tsan"),
    Bug("no barrier after clearing", "__syncthreads();  // CLEARED", "", f"{FIBERS} race"),
    Bug("no barrier before reading", "__syncthreads();  // SUMMED", "", "forward random race tsan"),
    Bug("one point too many", "i < n; i +=", "i <= n; i +=", f"{FIBERS} asan"),
    Bug("one center too many", "j < k; ++j", "j <= k; ++j", "asan"),
    Bug(
        "a write past dynamic shared memory",
        "j < 2 * k; j += blockDim.x) block_sums",
        "j <= 2 * k; j += blockDim.x) block_sums",
        f"{FIBERS} asan",
    ),
    Bug(
        "a write past static shared memory",
        "warp_squares[threadIdx.x / 32]",
        "warp_squares[4 + threadIdx.x / 32]",
        "asan",
    ),
    Bug(
        "threads add without an atomic",
        "atomicAdd(&block_sums[2 * labels[i] + 1], 1);",
        "++block_sums[2 * labels[i] + 1];",
        "race tsan",
    ),
    Bug(
        "blocks add without an atomic",
        "atomicAdd(&sums[j], block_sums[j]);",
        "sums[j] += block_sums[j];",
        "race",
    ),
    Bug(
        "a return before a barrier",
        "extern __shared__ float4",
        "if (threadIdx.x >= n % 128) return; extern __shared__ float4",
        f"{FIBERS} race asan",
    ),
    Bug(
        "a barrier for some of the threads",
        "__syncthreads();  // SUMMED",
        "if (threadIdx.x < 64) __syncthreads();",
        f"{FIBERS} race",
    ),
    Bug(
        "a lane that leaves before a shuffle",
        "for (int step",
        "if (threadIdx.x == 40) return; for (int step",
        f"{FIBERS} race",
    ),
    Bug("a variable that nobody sets", "int square = 0;", "int square;", FIBERS),
    Bug("blocks that count on their order", "atomicAdd(squares, total)", ORDERED, "reverse"),
]
CASES = [(bug, check) for bug in BUGS for check in bug.seen_by.split()]


@pytest.mark.parametrize(("bug", "check"), CASES, ids=[f"{b.what}, {c}" for b, c in CASES])
def test_a_planted_bug_is_caught(bug: Bug, check: str) -> None:
    assert bug.old in SAMPLES
    with pytest.raises((AssertionError, KernelError)):
        assert_samples_work(SAMPLES.replace(bug.old, bug.new), **CHECKS[check])
