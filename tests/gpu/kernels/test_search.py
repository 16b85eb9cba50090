"""The search on a GPU takes the decisions of array code: spreads, splits, ranks, drops, rounds."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from kernel_device import AXES, launch, uploaded
from kernel_problems import (
    CENTERS,
    FOUR_CENTERS,
    FOUR_SIZES,
    HIGH,
    Problem,
    far_out,
    naive_moments,
    problem,
    sized,
    solved,
    some_centers,
    some_points,
)
from numpy.testing import assert_array_equal

from quantgpu.clustering import kmeans, split_merge
from quantgpu.clustering.points import weighted_points
from quantgpu.kernels import launch as launch_module

# ---- how clusters can be split


def check_spread(gpu: Any, given: Problem) -> None:
    """Variances, lines and the error have the bits of array code; moments are cleared."""
    k, axes, unused = given.k, given.axes, 2
    mean, variance, deviation = split_merge.widest_axis(given.points, given.labels, k)
    sums = kmeans.cluster_sums(given.points, given.labels, k)
    error = np.array([1 << 50], np.uint64)
    expected = np.uint64((1 << 50) + kmeans.total_error(given.centers, *sums))
    garbage = np.full((unused, given.moments.shape[1]), 77)
    moments = np.concatenate([given.moments.view(np.int64), garbage])
    found, line = np.full(k + unused, 77.0), np.full((k + unused, 2, axes), 77.0)
    count = np.array([k], "i4")
    launch(gpu, "spread", moments, given.centers, count, found, line, error, axes=axes)
    assert_array_equal(found[:k], variance)
    assert_array_equal(line[:k, 0], mean)
    assert_array_equal(line[:k, 1], deviation)
    assert error[0] == expected
    assert not moments[:k].any()
    assert (moments[k:] == 77).all()
    assert (found[k:] == 77).all()
    assert (line[k:] == 77).all()


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("axes", "count", "k"), sized([31, 257, 100_003], CENTERS, FOUR_SIZES[2:], FOUR_CENTERS)
)
def test_variances_lines_and_errors_are_numpys(gpu: Any, axes: int, count: int, k: int) -> None:
    check_spread(gpu, problem(count, k, heaviest=9, axes=axes))


@pytest.mark.parametrize("axes", AXES)
def test_of_equally_long_lines_the_first_counts(gpu: Any, axes: int) -> None:
    """Clusters that are as wide along the axes as along some diagonals, and a single color."""
    cross = np.hstack([np.eye(axes), -np.eye(axes)])
    flat = cross[:, [1, 2, axes + 1, axes + 2]]
    lonely = np.zeros((axes, 1))
    lonely[2] = 9
    coordinates = np.hstack([300 + 16 * cross, 16 * flat - 700, lonely])
    points = weighted_points(coordinates.astype(np.float32), np.full(2 * axes + 5, 3))
    at = np.array([[301], [-700], [0], [7]], np.float32)
    given = solved(points, np.repeat(at, axes, axis=1))
    _, variance, deviation = split_merge.widest_axis(points, given.labels, 4)
    assert variance.tolist() == [3 * 2 * 256] * 2 + [0, 0]
    first, second = np.eye(axes)[:2]
    assert_array_equal(np.sign(deviation), [first, second, lonely[:, 0] * 0, lonely[:, 0] * 0])
    check_spread(gpu, given)


def check_lines(gpu: Any, axes: int) -> None:
    """Clusters are found to lie along each of the lines."""
    lines = np.array(split_merge.directions(axes))
    scale = np.arange(10, 10 + len(lines))[:, None]
    coordinates = np.concatenate([scale * lines, -scale * lines]).T.astype(np.float32)
    points = weighted_points(coordinates, np.full(2 * len(lines), 5))
    labels = np.tile(np.arange(len(lines)), 2)
    _, _, deviation = split_merge.widest_axis(points, labels, len(lines))
    assert_array_equal(np.sign(deviation), lines)
    moments = naive_moments(points, labels, len(lines))
    centers = np.zeros((len(lines), axes), np.float32)
    check_spread(gpu, Problem(points, centers, labels, np.zeros(len(points), "f4"), moments))


@pytest.mark.parametrize("axes", AXES)
def test_clusters_along_every_line_are_told_apart(gpu: Any, axes: int) -> None:
    check_lines(gpu, axes)


# ---- the next round


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


def check_place(gpu: Any, given: Round, k: int, axes: int = 3, fixed: int = 0) -> None:
    """The candidate becomes the best if it is better; the best is split into the next centers.

    Fixed ones lie outside the bounds of the points, and their variance is the greatest; then comes
    that of the first that is not fixed.
    """
    rng = np.random.default_rng(k)
    width = min(given.width, k)
    given = given._replace(width=width)
    low, high = (np.array(bound[:axes], "f4") for bound in ([-900, -300, -10, 7], HIGH - 50))
    both = [
        (
            rng.integers(low, high + 1, (k, axes)).astype(np.float32),
            rng.integers(0, 4, k) * 1e9 / 3,
            np.stack([rng.uniform(low, high, (k, axes)), rng.normal(0, 300, (k, axes))], axis=1),
        )
        for _ in range(2)
    ]
    for centers, variance, _ in both:
        centers[:fixed] = rng.choice([low - 5, high + 9], fixed)
        variance[:fixed] += 4e9
        variance[fixed : fixed + 1] += 2e9
    candidate, best = both
    kept = candidate if given.better else best
    split = given.split
    largest = np.argsort(-kept[1], kind="stable")[:split]
    assert (largest < fixed).sum() == min(split, fixed)
    offset = split_merge.OFFSET * kept[2][largest, 1]
    halves = kept[0].astype(float)
    halves[largest] = kept[2][largest, 0] + offset
    halves = np.concatenate([halves, kept[2][largest, 0] - offset])
    expected = np.clip(np.floor(halves + 0.5), low, high)
    expected[:fixed] = kept[0][:fixed]
    counts = np.array([k + width, k] if given.runs else [0, 0], np.int32)
    state = np.array([given.least, width, given.error], np.int64)
    next_state, next_counts = np.full(3, 77, np.int64), np.full(2, 77, np.int32)
    wide, copies = np.full((k + width, axes), 77, np.float32), [array.copy() for array in best]
    rows = state, counts, next_state, next_counts
    limits = low, high, np.int32(k), np.int32(fixed), np.float64(split_merge.OFFSET)
    launch(gpu, "place", *rows, *candidate, *copies, *limits, wide, axes=axes)
    assert_array_equal(wide[: k + split], expected)
    assert (wide[k + split :] == 77).all()
    for found, right in zip(copies, kept, strict=True):
        assert_array_equal(found, right)
    assert next_state.tolist() == [given.error if given.better else given.least, split, 0]
    assert next_counts.tolist() == ([k + split, k] if split else [0, 0])


PLACED = [
    *((3, k, 0) for k in CENTERS),
    *((4, k, 0) for k in (1, 2, 17, 257)),
    *((axes, 17, fixed) for axes in AXES for fixed in (1, 2, 5, 16, 17)),
]
"""Axes, centers, and how many of these are fixed."""


@pytest.mark.matrix
@pytest.mark.parametrize(("axes", "k", "fixed"), PLACED)
@pytest.mark.parametrize("given", ROUNDS.values(), ids=ROUNDS)
def test_the_best_is_kept_and_split(gpu: Any, given: Round, axes: int, k: int, fixed: int) -> None:
    check_place(gpu, given, k, axes, fixed)


# ---- what is dropped


def check_rank(gpu: Any, m: int, axes: int = 3) -> None:
    """Nearest others, and losses in order; of equal ones the first comes first."""
    rng = np.random.default_rng(m)
    centers = some_centers(some_points(9, 1, axes=axes), m + 2)
    if m > 4:
        centers[1::3] = centers[3]
    losses = rng.integers(0, max(m // 2, 2), m + 2) << 40
    nearest, order = np.full(m + 2, 77, np.int32), np.full(m + 2, 77, np.int32)
    launch(gpu, "rank", centers, losses, np.array([m], "i4"), nearest, order, axes=axes)
    if m:
        assert_array_equal(nearest[:m], split_merge.nearest_others(centers[:m]))
        assert_array_equal(order[:m], np.argsort(losses[:m], kind="stable"))
    assert nearest[m:].tolist() == order[m:].tolist() == [77, 77]


@pytest.mark.parametrize(
    ("axes", "m"), [*((3, m) for m in [0, *CENTERS]), *((4, m) for m in (0, 1, 2, 17, 257))]
)
def test_the_cheapest_centers_and_their_neighbors_are_found(gpu: Any, axes: int, m: int) -> None:
    check_rank(gpu, m, axes)


def check_drop(
    gpu: Any, m: int, k: int, neighbors: str = "any", axes: int = 3, fixed: int = 0
) -> None:
    """Of a center and its nearest neighbor only one goes, unless nothing else may.

    Fixed ones stay, though they are the cheapest. Neighbors are any, all the first, or all fixed.
    """
    rng = np.random.default_rng([m, k])
    wide = rng.integers(-1024, 1017, (m + 2, axes)).astype(np.float32)
    order = rng.permutation(m + 2).astype(np.int32)
    order[:m] = rng.permutation(m)
    order[:m] = order[:m][np.argsort(order[:m] >= fixed, kind="stable")]
    among = {"any": max(m, 1), "first": 1, "fixed": fixed}[neighbors]
    nearest = rng.integers(0, among, m + 2).astype(np.int32)
    free = order[fixed:m].tolist()
    stays: set[int] = set()
    goes: list[int] = []
    for c in free:
        if len(goes) < m - k and c not in stays:
            goes.append(c)
            stays.add(int(nearest[c]))
    goes += [c for c in free if c not in goes][: m - k - len(goes)] if m else []
    losses, candidate = np.full(m + 2, 88), np.full((k + 1, axes), 77, np.float32)
    shared = 8 * launch_module.blocks_for(m + 2, 32)
    numbers = np.array([m], "i4"), np.int32(k), np.int32(fixed)
    arguments = wide, losses, nearest, order, *numbers, candidate
    launch(gpu, "drop", *arguments, axes=axes, blocks=1, shared=shared)
    if m:
        assert_array_equal(candidate[:k], np.delete(wide[:m], goes, axis=0))
        assert_array_equal(candidate[:fixed], wide[:fixed])
    assert (candidate[k if m else 0 :] == 77).all()
    assert not losses[:m].any()
    assert (losses[m:] == 88).all()


DROPPED = [
    *((3, m, k) for m, k in [(0, 5), (1, 1), (2, 1), (2, 2), (31, 30), (32, 16), (33, 1)]),
    *((3, m, k) for m, k in [(256, 200), (257, 129), (300, 7)]),
    *((4, m, k) for m, k in [(0, 5), (2, 1), (33, 1), (257, 129)]),
]
"""Axes, centers, and how many of these stay."""


@pytest.mark.matrix
@pytest.mark.parametrize("neighbors", ["any", "first"])
@pytest.mark.parametrize(("axes", "m", "k"), DROPPED)
def test_centers_that_count_on_each_other_do_not_both_go(
    gpu: Any, axes: int, m: int, k: int, neighbors: str
) -> None:
    check_drop(gpu, m, k, neighbors, axes)


@pytest.mark.parametrize("neighbors", ["any", "first", "fixed"])
@pytest.mark.parametrize(
    ("m", "k", "fixed"),
    [(0, 5, 2), (2, 1, 1), (33, 32, 1), (33, 31, 31), (64, 33, 32), (66, 33, 33), (300, 7, 5),
     (300, 150, 149), (300, 150, 150)],
)  # fmt: skip
@pytest.mark.parametrize("axes", AXES)
def test_fixed_centers_are_not_dropped_though_they_are_the_cheapest(
    gpu: Any, axes: int, m: int, k: int, fixed: int, neighbors: str
) -> None:
    check_drop(gpu, m, k, neighbors, axes, fixed)


@pytest.mark.parametrize("axes", AXES)
def test_many_centers_are_dropped(gpu: Any, axes: int) -> None:
    check_drop(gpu, 1500, 1024, axes=axes)


# ---- whole searches


def check_search(gpu: Any, given: Problem, width: int, rounds: int, fixed: int = 0) -> None:
    """The search takes the same decisions as in array code."""
    there, centers = uploaded(gpu, given.points), gpu.asarray(given.centers)
    expected = split_merge.search(given.points, given.centers, width, rounds, fixed=fixed)
    told: list[float] = []
    found = split_merge.search(there, centers, width, rounds, report=told.append, fixed=fixed).get()
    assert_array_equal(found, expected)
    assert found[:fixed].tobytes() == given.centers[:fixed].tobytes()
    assert told == [done / rounds for done in range(len(told))]
    assert_array_equal(centers.get(), given.centers)


@pytest.mark.parametrize(
    ("axes", "seed"), [*((3, seed) for seed in range(40)), *((4, seed) for seed in range(12))]
)
def test_small_searches_find_what_numpy_finds(gpu: Any, axes: int, seed: int) -> None:
    """Widths run down to nothing, clusters are empty, centers are equal."""
    rng = np.random.default_rng(seed)
    count, k, rounds = (
        int(rng.choice(some)) for some in ([1, 5, 40, 257], [1, 2, 7, 40], [1, 3, 19])
    )
    check_search(gpu, problem(count, k, 9, seed, axes), int(rng.integers(1, k + 1)), rounds)


@pytest.mark.parametrize("axes", AXES)
def test_a_search_of_many_centers_finds_what_numpy_finds(gpu: Any, axes: int) -> None:
    check_search(gpu, problem(3001, 257, heaviest=9, axes=axes), 43, 6)


@pytest.mark.matrix
@pytest.mark.parametrize(("width", "rounds"), [(1, 19), (9, 12), (40, 5)])
@pytest.mark.parametrize("fixed", [1, 5, 39, 40])
@pytest.mark.parametrize("axes", AXES)
def test_searches_around_fixed_centers_find_what_numpy_finds(
    gpu: Any, axes: int, fixed: int, width: int, rounds: int
) -> None:
    """Some fixed centers serve no point, and some lie where free ones do."""
    check_search(gpu, far_out(700, 40, axes), width, rounds, fixed)


@pytest.mark.parametrize("axes", AXES)
def test_a_search_with_a_third_of_many_centers_fixed_finds_what_numpy_finds(
    gpu: Any, axes: int
) -> None:
    check_search(gpu, problem(3001, 257, heaviest=9, axes=axes), 43, 6, fixed=85)


def test_a_search_that_has_ended_is_not_gone_on_with(gpu: Any) -> None:
    given = problem(5, 2, 9)
    gpu.log.reset()
    check_search(gpu, given, 1, 400)
    assert len(gpu.log.kernels("spread")) <= 17


def test_all_fixed_centers_end_a_search_as_they_are(gpu: Any) -> None:
    given = problem(257, 17, 9)
    gpu.log.reset()
    check_search(gpu, given, 4, 400, fixed=17)
    assert len(gpu.log.kernels("spread")) <= 9
