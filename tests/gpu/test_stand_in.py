"""The harness that runs CUDA kernels on the CPU: what it computes, and the mistakes it catches."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import gpu_double
import numpy as np
import pytest
from gpu_double import CompileError, KernelError, LaunchError, building, cuda_on_cpu, run_kernel
from numpy.typing import NDArray

SAMPLES = (Path(gpu_double.__file__).parent / "samples.cu").read_text()

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


def test_threads_that_wait_forever_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_on_cpu, "TIMEOUT", 2)
    text = SAMPLES.replace("for (int step", "if (threadIdx.x == 40) return; for (int step")
    with pytest.raises(KernelError, match="no end after 2 s"):
        assert_samples_work(text, mode="thread")


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


PASSED_ON = """
extern "C" __global__ void chain(int* taken, int* passed, int* there) {
    NUMBER
    if (number > 0 && threadIdx.x == 0) {
        while (*(volatile int*)&there[number - 1] == 0) __nanosleep(20);
        __threadfence();  // READ
    }
    __syncthreads();  // WAITED
    passed[64 * number + threadIdx.x] =
        1 + (number > 0 ? passed[64 * (number - 1) + 63 - threadIdx.x] : 0);
    __syncthreads();  // WRITTEN
    if (threadIdx.x == 0) {
        __threadfence();  // WROTE
        *(volatile int*)&there[number] = 1;
    }
}
"""
"""Each block goes on with what the block before it wrote."""

CHAIN = PASSED_ON.replace(
    "NUMBER",
    "__shared__ int number; if (threadIdx.x == 0) number = atomicAdd(taken, 1); __syncthreads();",
)
NUMBERED = PASSED_ON.replace("NUMBER", "const int number = blockIdx.x;")
"""The same without shared memory; the block before is that of the number before."""


def run_chain(text: str = CHAIN, **how: Any) -> None:
    """Four blocks count to four."""
    taken, passed, there = np.zeros(1, "i4"), np.zeros((4, 64), "i4"), np.zeros(4, "i4")
    run_kernel(text, "chain", (4,), (64,), (taken, passed, there), **how)
    np.testing.assert_array_equal(passed, np.repeat([[1], [2], [3], [4]], 64, axis=1))


@pytest.mark.parametrize("check", ["forward", "random", "race"])
def test_blocks_hand_on_what_they_wrote(check: str) -> None:
    run_chain(**CHECKS[check])


@pytest.mark.parametrize("line", ["READ", "WAITED", "WRITTEN", "WROTE"])
def test_what_is_handed_on_without_a_fence_or_a_barrier_is_a_race(line: str) -> None:
    text = re.sub(rf"__\w+\(\);  // {line}", "", CHAIN)
    assert text != CHAIN
    with pytest.raises(KernelError, match="race: block"):
        run_chain(text, mode="race")


def test_blocks_must_not_wait_for_later_ones() -> None:
    run_chain(NUMBERED)
    with pytest.raises(KernelError, match="deadlock: a thread sleeps for what no block before"):
        run_chain(NUMBERED, order="reverse")


@pytest.mark.parametrize("mode", ["fiber", "race"])
def test_blocks_side_by_side_may_wait_for_any(mode: str) -> None:
    run_chain(NUMBERED, mode=mode, order="beside")


def test_blocks_side_by_side_are_not_in_step() -> None:
    text = NUMBERED.replace("number > 0 && threadIdx.x == 0", "false")
    with pytest.raises(AssertionError):
        run_chain(text, order="beside")


def test_blocks_side_by_side_have_no_shared_memory() -> None:
    with pytest.raises(KernelError, match="no shared memory"):
        run_chain(order="beside")


def test_who_sleeps_for_ever_is_ended() -> None:
    text = NUMBERED.replace("there[number] = 1", "there[number] = 0")
    with pytest.raises(KernelError, match="deadlock: a thread sleeps for what no block does"):
        run_chain(text, order="beside")


WORDS = """
extern "C" __global__ void words(const int* in, int* out, long long* wide, double* real)
{
    unsigned all = 0xffffffffu;
    int i = threadIdx.x, value = in[i];
    out[i] = __shfl_xor_sync(all, value, 1);
    out[32 + i] = __shfl_up_sync(all, value, 3, 16);
    out[64 + i] = __match_any_sync(all, value % 4);
    out[96 + i] = __reduce_add_sync(all, value);
    out[128 + i] = __ballot_sync(all, value > 10);
    out[160 + i] = __syncthreads_count(value > 10);
    out[192 + i] = __byte_perm(value, ~value, 0x5014);
    wide[i] = __shfl_down_sync(all, (long long)value << 40, 5);
    wide[32 + i] = __double2ll_rd(-value - 0.25);
    wide[64 + i] = __double2ll_rn(value + 0.5);
    wide[96 + i] = __umul64hi((unsigned long long)value << 60, 1000);
    real[i] = __dsqrt_rn(__ddiv_rn(__ll2double_rn(value), 3.0));
    real[32 + i] = __dadd_rn(__dmul_rn(value, 0.1), -0.3);
}
"""


@pytest.mark.parametrize("check", ["forward", "random", "race", "thread"])
def test_the_words_of_cuda_mean_what_they_mean_there(check: str) -> None:
    value = (np.arange(32, dtype=np.int32) * 7) % 23
    out, wide, real = np.empty(224, np.int32), np.empty(128, np.int64), np.empty(64)
    run_kernel(WORDS, "words", (1,), (32,), (value, out, wide, real), **CHECKS[check])
    lanes = np.arange(32)
    same = (value[:, None] % 4 == value % 4) << lanes
    expected = [
        value[lanes ^ 1],
        np.where(lanes % 16 >= 3, value[lanes - 3], value),
        same.sum(axis=1),
        np.full(32, value.sum()),
        np.full(32, ((value > 10) << lanes).sum()),
        np.full(32, (value > 10).sum()),
        [permuted(v) for v in value.tolist()],
    ]
    np.testing.assert_array_equal(out.reshape(7, 32), np.array(expected).astype(np.int32))
    many = value.astype(np.int64)
    shifted = np.where(lanes < 27, np.roll(many, -5), many) << 40
    high = [(v << 60) % 2**64 * 1000 >> 64 for v in value.tolist()]
    rounded = np.rint(value + 0.5).astype(np.int64)
    np.testing.assert_array_equal(wide.reshape(4, 32), [shifted, -many - 1, rounded, high])
    np.testing.assert_array_equal(real, np.append(np.sqrt(value / 3.0), value * 0.1 + -0.3))


def permuted(value: int) -> int:
    """``__byte_perm(value, ~value, 0x5014)``."""
    pool = (value & 0xFFFFFFFF).to_bytes(4, "little") + (~value & 0xFFFFFFFF).to_bytes(4, "little")
    return int.from_bytes(bytes(pool[place] for place in (4, 1, 0, 5)), "little", signed=True)


DIALECT = """
#define SIDE 4
struct Pair { int first, second; };
__constant__ int weights[3] = {1, 10, 100};
template <class T>
__device__ __forceinline__ T scaled(T value, int by) { return value * weights[by]; }
extern "C" {
__global__ __launch_bounds__(SIDE * SIDE, 1) void dialect(int* out /* (2, 3, 4, 4) */)
{
    extern __shared__ __align__(16) unsigned char bytes[];
    __shared__ Pair pairs[SIDE][SIDE];
    Pair* dynamic = reinterpret_cast<Pair*>(bytes);
    pairs[threadIdx.y][threadIdx.x] = Pair{(int)threadIdx.x, (int)threadIdx.y};
    dynamic[threadIdx.y * SIDE + threadIdx.x].second = scaled<int>(blockIdx.x, 2);
    __syncthreads();
    Pair own = pairs[threadIdx.x][threadIdx.y];  // transposed
    int block = blockIdx.y * gridDim.x + blockIdx.x;
    out[(block * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x] =
        scaled(own.first, 0) + scaled(own.second, 1) +
        dynamic[threadIdx.x * SIDE + threadIdx.y].second + 1000 * (int)blockIdx.y;
}
}
"""


@pytest.mark.parametrize("check", CHECKS)
def test_the_dialect_of_cuda_is_understood(check: str) -> None:
    out = np.zeros((2, 3, 4, 4), np.int32)
    run_kernel(DIALECT, "dialect", (3, 2), (4, 4), (out,), 8 * 16, **CHECKS[check])
    by, bx, y, x = np.indices(out.shape)
    np.testing.assert_array_equal(out, y + 10 * x + 100 * bx + 1000 * by)


def test_words_that_the_architecture_lacks_do_not_compile() -> None:
    with pytest.raises(CompileError, match="__reduce_add_sync"):
        run_kernel(WORDS, "words", (1,), (32,), (), architecture="75")


@pytest.mark.parametrize(("options", "rounded_once"), [((), True), (("--fmad=false",), False)])
def test_doubles_are_contracted_unless_it_is_forbidden(
    options: tuple[str, ...], rounded_once: bool
) -> None:
    a, b, c = np.array([1 + 2.0**-30]), np.array([1 - 2.0**-30]), np.array([-1.0])
    result = np.empty(1)
    arguments = a, b, c, np.int32(1), result
    run_kernel(SAMPLES, "multiply_add", (1,), (32,), arguments, options=options)
    assert result[0] == (-(2.0**-60) if rounded_once else 0.0)


def test_definitions_reach_the_kernel() -> None:
    text = 'extern "C" __global__ void f(int* out) { *out = FACTOR * SIZE; }'
    out = np.zeros(1, np.int32)
    run_kernel(text, "f", (1,), (1,), (out,), options=("-DFACTOR=3", "-DSIZE=(2+2)", "-std=c++17"))
    assert out[0] == 12


@pytest.mark.parametrize("option", ["-use_fast_math", "--gpu-architecture=sm_80", "-O3", "-D X=1"])
def test_options_that_are_not_known_are_refused(option: str) -> None:
    with pytest.raises(CompileError, match="invalid value"):
        run_kernel(SAMPLES, "nearest", (1,), (32,), (), options=(option,))


def test_a_text_with_an_error_names_its_line() -> None:
    with pytest.raises(CompileError, match=r"kernel\.cu:2:.*flaot"):
        run_kernel('\nextern "C" __global__ void f(flaot* x) {}', "f", (1,), (1,), ())


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    building.compiler.cache_clear()
    try:
        with pytest.raises(RuntimeError, match="apt install g"):
            building.compiler()
    finally:
        building.compiler.cache_clear()


def good_launch() -> dict[str, Any]:
    """A launch of `nearest` that nothing is wrong with."""
    points, centers = points_and_centers(128, 4)
    args = [points, centers, np.int32(128), np.int32(4), np.full(128, -1, np.int32)]
    return {"name": "nearest", "grid": (1,), "block": (128,), "args": args, "shared_mem": 64}


WRONG_ARGUMENTS = [
    (2, 128, "int64.*i4"),
    (2, np.int64(128), "int64.*i4"),
    (2, np.float32(128), "float32.*i4"),
    (2, 128.0, "float64.*i4"),
    (2, None, "None"),
    (0, np.int32(5), "pv16c"),
    (0, np.zeros((128, 3), np.float32), "rows of 12 bytes"),
    (4, np.empty(128, np.int64), r"int64.*i4\*"),
    (4, np.empty(128, np.float32), r"float32.*i4\*"),
    (4, "labels", "Unsupported type"),
]


@pytest.mark.parametrize(("position", "value", "message"), WRONG_ARGUMENTS)
def test_arguments_must_be_what_the_kernel_reads(position: int, value: Any, message: str) -> None:
    launch = good_launch()
    launch["args"][position] = value
    with pytest.raises(TypeError, match=message):
        run_kernel(SAMPLES, **launch)


def test_the_number_of_arguments_must_be_right() -> None:
    launch = good_launch()
    del launch["args"][2]
    with pytest.raises(TypeError, match="4 arguments for 5 parameters"):
        run_kernel(SAMPLES, **launch)


WRONG_GEOMETRY: list[tuple[str, Any, type[Exception]]] = [
    ("grid", 1, TypeError),
    ("grid", [1], TypeError),
    ("block", (129,), LaunchError),
    ("block", (16, 16), LaunchError),
    ("block", (1, 1, 65), LaunchError),
    ("grid", (0,), LaunchError),
    ("grid", (1, 65536), LaunchError),
    ("shared_mem", 49153, LaunchError),
    ("name", "nearset", LaunchError),
]


@pytest.mark.parametrize(("what", "value", "error"), WRONG_GEOMETRY)
def test_the_geometry_must_be_possible(what: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        run_kernel(SAMPLES, **(good_launch() | {what: value}))


def test_more_shared_memory_must_be_asked_for() -> None:
    run_kernel(SAMPLES, **(good_launch() | {"shared_mem": 90000, "most_shared": 90000}))


def test_read_only_arrays_must_stay_as_they_are() -> None:
    launch = good_launch()
    launch["args"][4].flags.writeable = False
    with pytest.raises(KernelError, match="read-only"):
        run_kernel(SAMPLES, **launch)
