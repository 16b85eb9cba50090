"""Every CUDA kernel, run on the CPU by the wrappers that launch it, gives what array code gives.

The kernels run in several schedules of threads and blocks, and small problems under sanitizers.
"""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import gpu_double
import numpy as np
import pytest
from gpu_double.building import build
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from pictures import naive_assignment

from quantgpu import cells, kernels, kmeans, refine
from quantgpu.histogram import pack, packed
from quantgpu.importance import pixel_weights, rows_around
from quantgpu.kernels import cells as kernels_cells
from quantgpu.kernels import clusters, pixels
from quantgpu.kmeans import Points, weighted_points

FOLDER = Path(kernels.__file__).parent

Kernel = tuple[str, ...]
"""A kernel's name and the definitions it is compiled with."""

VARIANTS: list[Kernel] = [
    *(("reduce", f"-DKIND={kind}") for kind in range(4)),
    *(("remap", f"-DINDEX=unsigned {number}") for number in ("char", "short")),
    ("histogram", "-DWEIGHTED=1"),
    *((path.stem,) for path in sorted(FOLDER.glob("*.cu")) if path.stem not in ("reduce", "remap")),
]

SIZES = [0, 1, 31, 255, 256, 257, 100_003]
CENTERS = [1, 2, 17, 255, 256, 257, 1024, 1500]
"""Sums of 1500 centers do not fit into shared memory."""

SCHEDULES = {"forward": 46, "reverse": 1, "random": 3}
"""In which order threads and blocks run, and on how many multiprocessors: with few, each block
takes several parts of the points."""

GARBAGE = 0xFEDC_BA98_7654_3210
"""What sums begin with, as kernels add to them."""


# ---- the device


def text_of(name: str) -> str:
    """The text of ``NAME.cu``."""
    return (FOLDER / f"{name}.cu").read_text()


def options_for(kernel: Kernel) -> tuple[str, ...]:
    """The options that `quantgpu.kernels` passes."""
    name, *defines = kernel
    return ("--std=c++17", *defines, *(["--fmad=false"] if name in kernels.EXACT else []))


def exported(kernel: Kernel) -> str:
    """The kernel's name in `one_text`."""
    return re.sub(r"\W+", "_", "".join(kernel))


def one_text(texts: dict[Kernel, str]) -> str:
    """All kernels in one text, so that a sanitizer has to be built in only once."""
    parts = []
    for kernel, text in texts.items():
        name, defines = exported(kernel), [option[2:].replace("=", " ") for option in kernel[1:]]
        given = "".join(f"#define {define}\n" for define in defines)
        renamed, count = re.subn(rf"^{kernel[0].split('.')[0]}\(", f"{name}(", text, flags=re.M)
        assert count == 1
        names = {*re.findall(r"#define (\w+)", text), *(define.split()[0] for define in defines)}
        undone = "".join(f"#undef {macro}\n" for macro in sorted(names))
        parts.append(f'{given}namespace in_{name} {{\n#line 1 "{name}"\n{renamed}}}\n{undone}')
        parts.append(f"using in_{name}::{name};\n")
    return "".join(parts)


@lru_cache
def everything() -> str:
    """`one_text` of all kernels."""
    return one_text({kernel: text_of(kernel[0]) for kernel in VARIANTS})


TOGETHER = "--std=c++17", "--fmad=false"


def build_ahead(builds: list[tuple[str, tuple[str, ...], str]]) -> None:
    """Run g++ twice at a time for texts, options and modes that will be needed."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda needed: build(*needed), builds))


@contextmanager
def device(
    mode: str = "fiber",
    order: str = "forward",
    multiprocessors: int = 46,
    together: bool = False,
    replaced: dict[Kernel, tuple[str, Kernel]] | None = None,
) -> Iterator[Any]:
    """The stand-in; kernels come out of `everything` if `together`, or are those of other texts."""

    @lru_cache
    def from_text(cupy: Any, device: int, name: str, defines: tuple[str, ...]) -> Any:
        kernel = (name, *defines)
        text, kernel = (replaced or {}).get(kernel, (everything(), kernel))
        return cupy.RawModule(code=text, options=TOGETHER).get_function(exported(kernel))

    with pytest.MonkeyPatch.context() as patch:
        if together:
            patch.setattr(kernels, "compiled", from_text)
        with gpu_double.installed(
            mode=mode, order=order, seed=7, multiprocessors=multiprocessors
        ) as double:
            yield double


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    """What this file needs of g++, two at a time: it would be one at a time otherwise."""
    alone = [(text_of(kernel[0]), options_for(kernel), "fiber") for kernel in VARIANTS]
    modes = ["asan", "fiber", "tsan", "race"]
    build_ahead([*((everything(), TOGETHER, mode) for mode in modes), *alone])


@pytest.fixture(scope="module", params=SCHEDULES)
def scheduled(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The stand-in in one of the schedules, for all tests: it takes a while to remove."""
    with device(order=request.param, multiprocessors=SCHEDULES[request.param]) as double:
        yield double


@pytest.fixture
def gpu(scheduled: Any) -> Iterator[Any]:
    """The stand-in with an empty log; mistakes are raised after every test."""
    scheduled.log.reset()
    yield scheduled
    scheduled.machine.check_canaries()
    scheduled.machine.complain()


def launch(
    gpu: Any, name: str, *arguments: Any, blocks: int = 2, threads: int = 128, shared: int = 0
) -> None:
    """Launch a kernel on NumPy arrays, which change in place."""
    there = [gpu.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
    kernel = kernels.compiled(gpu.cupy, 0, name, ())
    kernel((blocks,), (threads,), tuple(there), shared_mem=shared)
    for array, result in zip(arguments, there, strict=True):
        if isinstance(array, np.ndarray):
            array[...] = result.get()


def uploaded(gpu: Any, points: Points) -> Points:
    """The points on the device."""
    return Points(gpu.asarray(points.columns), gpu.asarray(points.weights))


# ---- problems, asymmetric on purpose, and what is right


class Problem(NamedTuple):
    """Points and centers, and what array code says about them."""

    points: Points
    centers: NDArray[np.float32]
    labels: NDArray[np.intp]
    gaps: NDArray[np.float32]
    """Zeros for one center."""
    moments: NDArray[np.uint64]
    """(k, 10): what `reduce` adds up."""

    @property
    def k(self) -> int:
        return len(self.centers)


def some_points(count: int, heaviest: int, seed: int = 0) -> Points:
    """Points with coordinates in -1024 … 1016, -300 … 500 and -1536 … 1536, half of them sorted.

    The first are extremes. With 2^20 as the heaviest weight there are some of 2^32 and more too,
    and such as are a multiple of it.
    """
    rng = np.random.default_rng([count, seed])
    low, high = np.array([[-1024], [-300], [-1536]]), np.array([[1016], [500], [1536]])
    coordinates = rng.integers(low, high + 1, (3, count))
    coordinates[:, : count // 2].sort()
    corners = np.array(np.meshgrid(*np.hstack([low, high]))).reshape(3, -1)
    coordinates[:, : min(count, 8)] = corners[:, :count]
    weights = rng.integers(1, heaviest + 1, count)
    if heaviest == 1 << 20:
        weights[5::500] = 1 << 32
        weights[6::500] += 1 << 32
    return weighted_points(coordinates.astype(np.float32), weights)


def some_centers(points: Points, k: int, seed: int = 0) -> NDArray[np.float32]:
    """Centers in the range of the points, many among them; duplicates and empty clusters."""
    rng = np.random.default_rng([k, seed])
    centers: NDArray[np.float32] = some_points(k, 1, seed + 1).columns[:-1].T.copy()
    if len(points):
        chosen = rng.integers(0, len(points), k // 2)
        centers[: k // 2] = points.columns[:-1, chosen].T
    centers[k // 3] = centers[-1]
    return centers


def naive_moments(points: Points, labels: Any, k: int) -> NDArray[np.uint64]:
    """Weight, weight * (x + BIAS), weight * (x_i + BIAS) * (x_j + BIAS) of each cluster."""
    x = (points.columns[:-1].astype(np.int64) + clusters.BIAS).astype(np.uint64)
    products = [x[i] * x[j] for i in range(3) for j in range(i + 1)]
    values = np.stack([np.ones_like(x[0]), *x, *products], axis=1)
    moments = np.zeros((k, 10), np.uint64)
    np.add.at(moments, labels, values * points.weights.astype(np.uint64)[:, None])
    return moments


@lru_cache(100)
def problem(count: int, k: int, heaviest: int = 1 << 20, seed: int = 0) -> Problem:
    points = some_points(count, heaviest, seed)
    return solved(points, some_centers(points, k, seed))


def solved(points: Points, centers: NDArray[np.float32]) -> Problem:
    """With what array code makes of it, where it takes so few points and centers."""
    labels, gaps = np.zeros(len(points), np.intp), np.zeros(len(points), np.float32)
    if len(centers) > 1 and len(points):
        labels, gaps = kmeans.two_nearest(points, centers)
    return Problem(points, centers, labels, gaps, naive_moments(points, labels, len(centers)))


# ---- clusters


def check_reduce(gpu: Any, given: Problem) -> None:
    """Labels, sums, moments and gaps are added to what was there, for some of the centers."""
    there, k = uploaded(gpu, given.points), given.k
    unused = np.full((3, 3), np.nan, np.float32)
    centers = gpu.asarray(np.concatenate([given.centers, unused]))
    count = clusters.count_of(centers[:k])
    assert_array_equal(kmeans.assign(there, centers[:k]).get(), given.labels)
    gaps = np.zeros((k, 1), np.uint64)
    np.add.at(
        gaps[:, 0], given.labels, (given.points.weights * given.gaps.astype(np.int64)).view("u8")
    )
    expected = {clusters.SUMS: given.moments[:, :4], clusters.MOMENTS: given.moments}
    for kind, sums in (expected | ({clusters.GAPS: gaps} if k > 1 else {})).items():
        found = gpu.full((k + 3, sums.shape[1]), GARBAGE, np.uint64)
        clusters.reduce(there, centers, count, kind, found).run()
        assert_array_equal(found.get()[:k], sums + np.uint64(GARBAGE))
        assert (found.get()[k:] == GARBAGE).all()


def check_sums(gpu: Any, given: Problem, batches: int = 3) -> None:
    """The fused and the two-step route both find the weights and sums of the clusters."""
    there, centers = uploaded(gpu, given.points), gpu.asarray(given.centers)
    weight = given.moments[:, 0].view(np.int64)
    sums = given.moments[:, 1:4].view(np.int64) - clusters.BIAS * weight[:, None]
    rows = -(-len(given.points) // batches)
    by_batch = clusters.batched_sums(there, centers, rows * given.k + given.k - 1)
    for found in (kmeans.nearest_sums(there, centers), by_batch):
        assert_array_equal(found[0].get(), weight)
        assert_array_equal(found[1].get(), sums)


@pytest.mark.parametrize("k", CENTERS)
@pytest.mark.parametrize("count", SIZES)
def test_labels_sums_moments_and_gaps_are_numpys(gpu: Any, count: int, k: int) -> None:
    check_reduce(gpu, problem(count, k))


@pytest.mark.parametrize(("count", "k"), [(n, k) for n in SIZES[:-1] for k in CENTERS])
def test_both_routes_to_the_sums_agree(gpu: Any, count: int, k: int) -> None:
    check_sums(gpu, problem(count, k))


def test_both_routes_to_the_sums_of_many_points_agree() -> None:
    with device(order="random", multiprocessors=SCHEDULES["random"]) as gpu:
        check_sums(gpu, problem(SIZES[-1], 17))


def test_the_oracles_are_the_definition() -> None:
    given = problem(257, 17)
    assert_array_equal(given.labels, naive_assignment(given.points, given.centers))
    mass, sums = kmeans.cluster_sums(given.points, given.labels, 17)
    assert_array_equal(given.moments[:, 0], mass)
    assert_array_equal(given.moments[:, 1:4].view(np.int64) - clusters.BIAS * mass[:, None], sums)
    assert int(mass.max()) > 1 << 32


def all_equal(count: int, k: int) -> Problem:
    """All points in one place, which is that of two centers; low words overflow all the time."""
    points = weighted_points(
        np.repeat(np.array([[1016], [-300], [1536]], np.float32), count, axis=1),
        np.full(count, (1 << 32) - 1),
    )
    centers = some_centers(points, k)
    centers[k // 2 :: k // 2] = 1016, -300, 1536
    return solved(points, centers)


@pytest.mark.parametrize("k", [3, 300, 1500])
def test_many_carries_in_one_cluster_are_all_counted(gpu: Any, k: int) -> None:
    given = all_equal(3001, k)
    assert len(np.unique(given.labels)) == 1
    check_reduce(gpu, given)
    check_sums(gpu, given)


@pytest.mark.parametrize("k", [2, 5, 700])
def test_of_equally_near_centers_the_first_counts(gpu: Any, k: int) -> None:
    rng = np.random.default_rng(k)
    points = weighted_points(rng.integers(-2, 3, (3, 700)) * 16.0, rng.integers(1, 9, 700))
    centers = (rng.integers(-2, 3, (k, 3)) * 16).astype(np.float32)
    centers[1] = centers[0] * (1, -1, 1)
    given = solved(points, centers)
    assert (given.gaps == 0).sum() > 50
    check_reduce(gpu, given)
    check_sums(gpu, given)


def test_gaps_of_more_centers_than_shared_memory_holds_are_added_up(gpu: Any) -> None:
    k = 1 + kernels.SHARED_BYTES // 8
    check_reduce(gpu, problem(300, k))


# ---- Lloyd's steps


def check_lloyd(gpu: Any, given: Problem, steps: int, scale: float = 1) -> None:
    """Centers move as in array code, also from outside the bounds of the points."""
    centers = np.trunc(given.centers * np.float32(scale))
    expected = kmeans.lloyd(given.points, centers, steps)
    moved = kmeans.lloyd(uploaded(gpu, given.points), gpu.asarray(centers), steps)
    assert_array_equal(moved.get(), expected)


@pytest.mark.parametrize("k", CENTERS)
@pytest.mark.parametrize("count", SIZES[1:-1])
def test_lloyds_steps_are_numpys(gpu: Any, count: int, k: int) -> None:
    check_lloyd(gpu, problem(count, k), 3)


@pytest.mark.parametrize(("order", "k"), [("forward", 17), ("reverse", 256), ("random", 1024)])
def test_lloyds_steps_with_many_points_are_numpys(order: str, k: int) -> None:
    with device(order=order, multiprocessors=SCHEDULES[order]) as gpu:
        check_lloyd(gpu, problem(SIZES[-1], k), 2)


def test_centers_outside_the_points_are_brought_to_their_bounds(gpu: Any) -> None:
    inner = some_points(400, 9)
    points = weighted_points(np.trunc(inner.columns[:-1] / 3), inner.weights)
    check_lloyd(gpu, solved(points, some_centers(inner, 40)), 2)


def check_update(gpu: Any, relaxation: tuple[int, int], count: int = 300) -> None:
    """Centers move p/q of the way and are rounded half up, by the definition."""
    rng = np.random.default_rng(0)
    low, high = np.array([-1024, -300, -1536], "f4"), np.array([1000, 500, 1536], "f4")
    weight = rng.integers(0, 5, (count, 1)) * rng.choice([1, 7, 2**34 + 1], (count, 1))
    mean = rng.integers(2 * low, 2 * high + 1, (count, 3))
    sums = weight * mean // 2 + rng.integers(-1, 2, (count, 3)) * (weight > 2)
    old = rng.integers(low, high + 17, (count, 3)).astype(np.float32)
    table = np.hstack([weight, sums + clusters.BIAS * weight])
    expected = old.astype(np.int64)
    for c, a in np.ndindex(count, 3):
        if weight[c, 0]:
            distance = Fraction(int(sums[c, a]), int(weight[c, 0])) - int(old[c, a])
            target = int(old[c, a]) + Fraction(*relaxation) * distance
            expected[c, a] = (target + Fraction(1, 2)).__floor__()
    used = count - 3
    table[used:], found = 77, old.copy()
    p, q = map(np.int32, relaxation)
    launch(gpu, "update", table, np.array([used], "i4"), low, high, p, q, found)
    assert_array_equal(found[:used], expected.clip(low, high)[:used])
    assert_array_equal(found[used:], old[used:])
    assert not table[:used].any()
    assert (table[used:] == 77).all()


@pytest.mark.parametrize("relaxation", [(1, 1), kmeans.RELAXATION])
def test_a_center_goes_to_the_exact_rounded_quotient(gpu: Any, relaxation: tuple[int, int]) -> None:
    check_update(gpu, relaxation)


# ---- the search


def check_spread(gpu: Any, given: Problem) -> None:
    """Variances, lines and the error have the bits of array code; moments are cleared."""
    k, unused = given.k, 2
    mean, variance, deviation = refine.spread(given.points, given.labels, k)
    sums = kmeans.cluster_sums(given.points, given.labels, k)
    error = np.array([1 << 50], np.uint64)
    expected = np.uint64((1 << 50) + kmeans.total_error(given.centers, *sums))
    moments = np.concatenate([given.moments.view(np.int64), np.full((unused, 10), 77)])
    found, line = np.full(k + unused, 77.0), np.full((k + unused, 2, 3), 77.0)
    launch(gpu, "spread", moments, given.centers, np.array([k], "i4"), found, line, error)
    assert_array_equal(found[:k], variance)
    assert_array_equal(line[:k, 0], mean)
    assert_array_equal(line[:k, 1], deviation)
    assert error[0] == expected
    assert not moments[:k].any()
    assert (moments[k:] == 77).all()
    assert (found[k:] == 77).all()
    assert (line[k:] == 77).all()


@pytest.mark.parametrize("k", CENTERS)
@pytest.mark.parametrize("count", [31, 257, 100_003])
def test_variances_lines_and_errors_are_numpys(gpu: Any, count: int, k: int) -> None:
    check_spread(gpu, problem(count, k, heaviest=9))


def test_of_equally_long_lines_the_first_counts(gpu: Any) -> None:
    """Clusters that are as wide along the axes as along some diagonals, and a single color."""
    cross = np.hstack([np.eye(3), -np.eye(3)])
    flat = cross[:, [1, 2, 4, 5]]
    coordinates = np.hstack([300 + 16 * cross, 16 * flat - 700, [[0], [0], [9]]])
    points = weighted_points(coordinates.astype(np.float32), np.full(11, 3))
    given = solved(points, np.array([[301] * 3, [-700] * 3, [0] * 3, [7] * 3], np.float32))
    _, variance, deviation = refine.spread(points, given.labels, 4)
    assert variance.tolist() == [3 * 2 * 256] * 2 + [0, 0]
    assert np.sign(deviation).tolist() == [[1, 0, 0], [0, 1, 0], [0] * 3, [0] * 3]
    check_spread(gpu, given)


class Round(NamedTuple):
    """What `place` knows of a round."""

    least: int
    width: int
    error: int
    runs: bool = True

    @property
    def better(self) -> bool:
        return self.runs and self.error < self.least

    @property
    def split(self) -> int:
        return self.width if self.better else self.width // 2


ROUNDS = {
    "better": Round(10, 3, 9),
    "as good": Round(10, 3, 10),
    "worse": Round(10, 4, 11),
    "worse with width 1": Round(-5, 1, -4),
    "better with width 1": Round(-5, 1, -6),
    "ended": Round(10, 0, 0, runs=False),
    "first": Round((1 << 63) - 1, 2, -(1 << 60)),
}


def check_place(gpu: Any, given: Round, k: int) -> None:
    """The candidate becomes the best if it is better; the best is split into the next centers."""
    rng = np.random.default_rng(k)
    width = min(given.width, k)
    given = given._replace(width=width)
    low, high = np.array([-900, -300, -10], "f4"), np.array([900, 500, 15], "f4")
    both = [
        (
            rng.integers(low, high + 1, (k, 3)).astype(np.float32),
            rng.integers(0, 4, k) * 1e9 / 3,
            np.stack([rng.uniform(low, high, (k, 3)), rng.normal(0, 300, (k, 3))], axis=1),
        )
        for _ in range(2)
    ]
    candidate, best = both
    kept = candidate if given.better else best
    split = given.split
    largest = np.argsort(-kept[1], kind="stable")[:split]
    offset = refine.OFFSET * kept[2][largest, 1]
    halves = kept[0].astype(float)
    halves[largest] = kept[2][largest, 0] + offset
    halves = np.concatenate([halves, kept[2][largest, 0] - offset])
    expected = np.clip(np.floor(halves + 0.5), low, high)
    counts = np.array([k + width, k] if given.runs else [0, 0], np.int32)
    state = np.array([given.least, width, given.error], np.int64)
    next_state, next_counts = np.full(3, 77, np.int64), np.full(2, 77, np.int32)
    wide, copies = np.full((k + width, 3), 77, np.float32), [array.copy() for array in best]
    rows = state, counts, next_state, next_counts
    limits = low, high, np.int32(k), np.float64(refine.OFFSET)
    launch(gpu, "place", *rows, *candidate, *copies, *limits, wide)
    assert_array_equal(wide[: k + split], expected)
    assert (wide[k + split :] == 77).all()
    for found, right in zip(copies, kept, strict=True):
        assert_array_equal(found, right)
    assert next_state.tolist() == [given.error if given.better else given.least, split, 0]
    assert next_counts.tolist() == ([k + split, k] if split else [0, 0])


@pytest.mark.parametrize("k", CENTERS)
@pytest.mark.parametrize("given", ROUNDS.values(), ids=ROUNDS)
def test_the_best_is_kept_and_split(gpu: Any, given: Round, k: int) -> None:
    check_place(gpu, given, k)


def check_rank(gpu: Any, m: int) -> None:
    """Nearest others, and losses in order; of equal ones the first comes first."""
    rng = np.random.default_rng(m)
    centers = some_centers(some_points(9, 1), m + 2)
    if m > 4:
        centers[1::3] = centers[3]
    losses = rng.integers(0, max(m // 2, 2), m + 2) << 40
    nearest, order = np.full(m + 2, 77, np.int32), np.full(m + 2, 77, np.int32)
    launch(gpu, "rank", centers, losses, np.array([m], "i4"), nearest, order)
    if m:
        assert_array_equal(nearest[:m], refine.nearest_others(centers[:m]))
        assert_array_equal(order[:m], np.argsort(losses[:m], kind="stable"))
    assert nearest[m:].tolist() == order[m:].tolist() == [77, 77]


@pytest.mark.parametrize("m", [0, *CENTERS])
def test_the_cheapest_centers_and_their_neighbors_are_found(gpu: Any, m: int) -> None:
    check_rank(gpu, m)


def check_drop(gpu: Any, m: int, k: int, neighbors: str = "any") -> None:
    """Of a center and its nearest neighbor only one goes, unless nothing else may."""
    rng = np.random.default_rng([m, k])
    wide = rng.integers(-1024, 1017, (m + 2, 3)).astype(np.float32)
    order = rng.permutation(m + 2).astype(np.int32)
    order[:m] = rng.permutation(m)
    nearest = rng.integers(0, max(m, 1), m + 2).astype(np.int32)
    if neighbors == "first":
        nearest[:] = 0
    stays: set[int] = set()
    goes: list[int] = []
    for c in order[:m].tolist():
        if len(goes) < m - k and c not in stays:
            goes.append(c)
            stays.add(int(nearest[c]))
    goes += [c for c in order[:m].tolist() if c not in goes][: m - k - len(goes)] if m else []
    losses, candidate = np.full(m + 2, 88), np.full((k + 1, 3), 77, np.float32)
    shared = 8 * kernels.blocks_for(m + 2, 32)
    arguments = wide, losses, nearest, order, np.array([m], "i4"), np.int32(k), candidate
    launch(gpu, "drop", *arguments, blocks=1, shared=shared)
    if m:
        assert_array_equal(candidate[:k], np.delete(wide[:m], goes, axis=0))
    assert (candidate[k if m else 0 :] == 77).all()
    assert not losses[:m].any()
    assert (losses[m:] == 88).all()


@pytest.mark.parametrize("neighbors", ["any", "first"])
@pytest.mark.parametrize(
    ("m", "k"),
    [(0, 5), (1, 1), (2, 1), (2, 2), (31, 30), (32, 16), (33, 1), (256, 200), (257, 129), (300, 7)],
)
def test_centers_that_count_on_each_other_do_not_both_go(
    gpu: Any, m: int, k: int, neighbors: str
) -> None:
    check_drop(gpu, m, k, neighbors)


def test_many_centers_are_dropped(gpu: Any) -> None:
    check_drop(gpu, 1500, 1024)


def check_search(gpu: Any, given: Problem, width: int, rounds: int) -> None:
    """The search takes the same decisions as in array code."""
    there, centers = uploaded(gpu, given.points), gpu.asarray(given.centers)
    expected = refine.search(given.points, given.centers, width, rounds)
    told: list[float] = []
    found = refine.search(there, centers, width, rounds, tell=told.append)
    assert_array_equal(found.get(), expected)
    assert told == [done / rounds for done in range(len(told))]
    assert_array_equal(centers.get(), given.centers)


@pytest.mark.parametrize("seed", range(40))
def test_small_searches_find_what_numpy_finds(gpu: Any, seed: int) -> None:
    """Widths run down to nothing, clusters are empty, centers are equal."""
    rng = np.random.default_rng(seed)
    count, k, rounds = (
        int(rng.choice(some)) for some in ([1, 5, 40, 257], [1, 2, 7, 40], [1, 3, 19])
    )
    check_search(gpu, problem(count, k, 9, seed), int(rng.integers(1, k + 1)), rounds)


def test_a_search_of_many_centers_finds_what_numpy_finds(gpu: Any) -> None:
    check_search(gpu, problem(3001, 257, heaviest=9), 43, 6)


def test_a_search_that_has_ended_is_not_gone_on_with(gpu: Any) -> None:
    given = problem(5, 2, 9)
    gpu.log.reset()
    check_search(gpu, given, 1, 400)
    assert len(gpu.log.kernels("spread")) <= 17


# ---- cells


def some_codes(count: int) -> NDArray[np.int32]:
    """Distinct codes, ascending; both extremes and a full cell are among many."""
    rng = np.random.default_rng(count)
    codes = rng.choice(1 << 24, count, replace=False)
    if count > 31:
        codes[:10] = [0, (1 << 24) - 1, *range(8 * 777, 8 * 778)]
    codes = np.unique(codes)
    return codes.astype(np.int32)


def naive_cells(codes: NDArray[np.int32], sums: cells.RunningSums) -> tuple[NDArray[Any], ...]:
    """Starts, ends, error, parent's error and children of all cells, by start, then by level."""
    columns: list[tuple[NDArray[Any], ...]] = []
    above: NDArray[Any] = np.zeros(len(codes), np.intp)
    parent_error: NDArray[Any] = np.full(1, np.inf)
    for level in range(9):
        prefix = codes >> (3 * (8 - level))
        _, starts, inverse, sizes = np.unique(
            prefix, return_index=True, return_inverse=True, return_counts=True
        )
        if level:
            parents = above[starts]
            parent_error = columns[-1][3][parents]
            columns[-1][5][:] = np.bincount(parents, minlength=len(columns[-1][0]))
        error = np.minimum(sums.squared_error(starts, starts + sizes), parent_error)
        error = np.full(1, cells.UNBOUNDED) if level == 0 else error if level < 8 else 0 * error
        levels: NDArray[Any] = np.full(len(starts), level)
        children = np.zeros(len(starts), np.int32)
        columns.append((levels, starts, starts + sizes, error, parent_error, children))
        above = inverse
    levels, *rest = (np.concatenate(column) for column in zip(*columns, strict=True))
    return tuple(column[np.lexsort((levels, rest[0]))] for column in rest)


def check_octree(
    gpu: Any,
    codes: NDArray[np.int32],
    choices: tuple[int, ...] = (1, 9, 100, 3000),
    points: Points | None = None,
) -> None:
    """All cells with their errors, and the leaves chosen among them."""
    points = some_points(len(codes), 9) if points is None else points
    sums = cells.running_sums(points)
    there = cells.running_sums(uploaded(gpu, points))
    assert_array_equal(there.table.get(), sums.table)
    found = kernels_cells.octree_cells(gpu.asarray(codes), there, cells.UNBOUNDED)
    for column, right in zip(found, naive_cells(codes, sums), strict=True):
        assert_array_equal(column.get(), right)
    for most in choices:
        expected = cells.leaves(cells.octree(codes, sums, most), sums, most)
        leaves = cells.leaves(cells.octree(gpu.asarray(codes), there, most), there, most)
        assert_array_equal(leaves.columns.get(), expected.columns)
        assert_array_equal(leaves.weights.get(), expected.weights)


@pytest.mark.parametrize("count", SIZES[1:])
def test_cells_and_leaves_are_numpys(gpu: Any, count: int) -> None:
    check_octree(gpu, some_codes(count))


@pytest.mark.parametrize(
    "codes",
    [
        [0],
        [(1 << 24) - 1],
        [0, 1],
        [0, (1 << 24) - 1],
        [7, 8],
        [(1 << 23) - 1, 1 << 23],
        range(512),
    ],
    ids=str,
)
def test_cells_of_extreme_codes_are_numpys(gpu: Any, codes: list[int]) -> None:
    check_octree(gpu, np.array(codes, np.int32))


def test_errors_that_are_rounding_only_are_numpys(gpu: Any) -> None:
    """A cell's is no greater than that of the cell around it."""
    codes, rng = some_codes(3000), np.random.default_rng(0)
    coordinates = np.repeat(np.array([[1013], [-299], [1531]], np.float32), len(codes), axis=1)
    points = weighted_points(coordinates, rng.integers(1, 1 << 21, len(codes)))
    errors = cells.running_sums(points).squared_error(np.arange(2900), np.arange(2900) + 9)
    assert (errors != 0).mean() > 0.05
    check_octree(gpu, codes, points=points)


# ---- pixels


def some_colors(count: int, blues: int = 2) -> NDArray[np.uint8]:
    """Random colors with runs of equal ones, from full red and green and a few blues."""
    rng = np.random.default_rng(count)
    colors = rng.integers(0, [256, 256, blues], (count, 3)).astype(np.uint8)
    repeated = rng.random(count) < 0.5
    colors[1:][repeated[1:]] = colors[:-1][repeated[1:]]
    colors[: count // 3] = 255, 255, blues - 1
    return colors


def check_histogram(gpu: Any, colors: NDArray[np.uint8], keys: int = 1 << 17) -> None:
    """Pixels are added to the bins of their colors; also those of a later row."""
    bins = np.random.default_rng(0).integers(0, 1 << 32, keys, np.uint32)
    there, found = gpu.asarray(colors), gpu.asarray(bins)
    for start in (0, 16):
        pixels.add_to_bins(found, there[start:])
        bins += np.bincount(pack(colors[start:]), minlength=keys).astype(np.uint32)
        assert_array_equal(found.get(), bins)


def check_weighted(gpu: Any, colors: NDArray[np.uint8], keys: int = 1 << 17) -> None:
    """Counts and summed weights are added to the bins, those of a later row too."""
    rng = np.random.default_rng(1)
    bins = rng.integers(0, 1 << 20, keys).astype(np.uint64)
    weights = rng.integers(1, 65, len(colors)).astype(np.uint8)
    there, found = gpu.asarray(colors), gpu.asarray(bins)
    for start in (0, 16):
        pixels.add_to_bins(found, there[start:], gpu.asarray(weights)[start:])
        np.add.at(bins, pack(colors[start:]), packed(weights[start:]))
        assert_array_equal(found.get(), bins)


def check_weigh(gpu: Any, height: int, width: int) -> None:
    """Rows between others, and at both ends of a picture, weigh what NumPy says."""
    picture = np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)
    picture[: height // 2] //= 16
    there = gpu.asarray(picture.reshape(-1, 3))
    for start, stop in ((0, height), (0, 1), (height // 2, height), (1, max(height - 2, 1))):
        if start >= stop:
            continue
        first, last = rows_around(start, stop, height)
        expected = pixel_weights(picture[first:last], start - first, stop - start)
        rows, before, after = (
            there[a * width : b * width].copy()
            for a, b in ((start, stop), (first, start), (stop, last))
        )
        found = gpu.zeros(len(expected), np.uint8)
        pixels.weigh(rows, before, after, width, found)
        assert_array_equal(found.get(), expected)


def check_remap(gpu: Any, colors: NDArray[np.uint8], dtype: Any, keys: int = 1 << 17) -> None:
    """Every pixel gets its color's entry; also those of a later row, beside others."""
    info = np.iinfo(dtype)
    table = np.random.default_rng(0).integers(0, info.max + 1, keys).astype(dtype)
    there, index = gpu.asarray(colors), gpu.full(len(colors), 7, dtype)
    expected = table[pack(colors)]
    pixels.remap(gpu.asarray(table), there[16:], index[16:])
    assert_array_equal(index.get()[16:], expected[16:])
    assert (index.get()[:16] == 7).all()
    pixels.remap(gpu.asarray(table), there, index)
    assert_array_equal(index.get(), expected)


@pytest.mark.parametrize("count", [*SIZES, 4096, 4097])
def test_pixels_are_counted_as_numpy_counts(gpu: Any, count: int) -> None:
    check_histogram(gpu, some_colors(count))


@pytest.mark.parametrize("count", [*SIZES, 4096, 4097])
def test_weights_are_added_up_as_numpy_adds_them(gpu: Any, count: int) -> None:
    check_weighted(gpu, some_colors(count))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 1), (3, 2), (31, 33), (70, 130)])
def test_pixels_weigh_what_numpy_says(gpu: Any, shape: tuple[int, int]) -> None:
    check_weigh(gpu, *shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("count", [*SIZES, 4096, 4097])
def test_pixels_are_mapped_as_numpy_maps(gpu: Any, count: int, dtype: Any) -> None:
    check_remap(gpu, some_colors(count), dtype)


def test_all_colors_from_black_to_white_have_a_bin_and_an_entry() -> None:
    colors = some_colors(5000, 256)
    colors[-2:] = [[0], [255]]
    with device() as gpu:
        check_histogram(gpu, colors, 1 << 24)
        check_remap(gpu, colors, np.uint16, 1 << 24)


# ---- nothing to do


def check_nothing(gpu: Any) -> None:
    """Kernels that no wrapper launches for nothing do no harm when there is nothing."""
    none, zero, full = np.zeros(0), np.zeros(1, np.int32), np.full(12, 77.0)
    columns, weights, table = none.astype("f4"), none.astype("i8"), np.full((3, 4), 77, np.uint64)
    numbers = [np.int32(number) for number in (0, 0, 0, 3, 1)]
    launch(gpu, "accumulate", columns, columns, weights, *numbers, table, threads=256, shared=96)
    codes = none.astype("i4")
    launch(
        gpu, "octree", codes, none.astype("i1"), codes, np.zeros((5, 1), "i8"), np.int32(0),
        np.int32(1), codes, codes, none, none, codes,
    )  # fmt: skip
    signed, singles = table.view(np.int64), full.astype(np.float32)
    launch(gpu, "spread", signed, singles, zero, full, full.copy(), table[0, :1].copy())
    one = np.int32(1)
    launch(gpu, "update", signed, zero, singles[:3].copy(), singles[:3].copy(), one, one, singles)
    assert (table == 77).all()
    assert (full == 77).all()
    assert (singles == 77).all()


def test_nothing_to_do_does_no_harm(gpu: Any) -> None:
    check_nothing(gpu)
    check_rank(gpu, 0)
    check_drop(gpu, 0, 3)


# ---- sanitizers

SMALL: dict[str, Callable[[Any], None]] = {
    "reduce": lambda gpu: check_reduce(gpu, problem(1031, 5)),
    "reduce to global memory": lambda gpu: check_reduce(gpu, problem(515, 1409)),
    "accumulate": lambda gpu: check_sums(gpu, problem(47, 33), 2),
    "accumulate in global memory": lambda gpu: check_sums(gpu, problem(17, 1409), 1),
    "update": lambda gpu: check_update(gpu, kmeans.RELAXATION, 140),
    "spread": lambda gpu: check_spread(gpu, problem(257, 130, heaviest=9)),
    "place": lambda gpu: check_place(gpu, ROUNDS["better"], 130),
    "place again": lambda gpu: check_place(gpu, ROUNDS["worse"], 130),
    "rank": lambda gpu: check_rank(gpu, 130),
    "drop": lambda gpu: check_drop(gpu, 131, 60),
    "octree": lambda gpu: check_octree(gpu, some_codes(300), ()),
    "histogram": lambda gpu: check_histogram(gpu, some_colors(4500)),
    "histogram with weights": lambda gpu: check_weighted(gpu, some_colors(4500)),
    "weigh": lambda gpu: check_weigh(gpu, 40, 50),
    "remap to 8 bits": lambda gpu: check_remap(gpu, some_colors(4500), np.uint8),
    "remap to 16 bits": lambda gpu: check_remap(gpu, some_colors(4500), np.uint16),
    "nothing": check_nothing,
}
"""Checks that launch every kernel, on more than one block."""


@pytest.mark.parametrize("mode", ["asan", "tsan", "race"])
@pytest.mark.parametrize("name", SMALL)
def test_sanitizers_find_nothing(name: str, mode: str) -> None:
    with device(mode, multiprocessors=1, together=True) as gpu:
        SMALL[name](gpu)


@pytest.mark.parametrize("mode", ["asan", "race"])
def test_sanitizers_find_nothing_in_a_search(mode: str) -> None:
    """ThreadSanitizer is left out: it takes half a second for each of the 25 launches."""
    with device(mode, multiprocessors=1, together=True) as gpu:
        check_search(gpu, problem(150, 5, heaviest=9), 2, 1)


def test_sanitizers_see_every_kernel_and_more_than_one_block_of_it() -> None:
    blocks: dict[str, int] = {}
    with device(multiprocessors=1, together=True) as gpu:
        for check in SMALL.values():
            check(gpu)
        for made in gpu.log.kernels():
            assert made.grid is not None
            blocks[made.name] = max(blocks.get(made.name, 0), made.grid[0])
    assert blocks.pop("drop") == 1
    assert set(blocks) == {exported(kernel) for kernel in VARIANTS} - {"drop"}
    assert min(blocks.values()) > 1
