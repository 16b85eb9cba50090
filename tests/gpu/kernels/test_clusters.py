"""Labels, sums, moments and Lloyd's steps of the kernels are those of array code."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from kernel_device import AXES, SCHEDULES, device, launch, uploaded
from kernel_problems import (
    CENTERS,
    FOUR_CENTERS,
    FOUR_SIZES,
    GARBAGE,
    HIGH,
    LOW,
    SIZES,
    Problem,
    all_equal,
    far_out,
    problem,
    sized,
    solved,
)
from numpy.testing import assert_array_equal
from pictures import naive_assignment

from quantgpu.clustering import kmeans, kmeans_gpu
from quantgpu.clustering.points import weighted_points
from quantgpu.kernels import launch as launch_module

# ---- the nearest centers


def check_reduce(gpu: Any, given: Problem) -> None:
    """Labels, sums, moments and gaps are added to what was there, for some of the centers."""
    there, k = uploaded(gpu, given.points), given.k
    unused = np.full((3, given.axes), np.nan, np.float32)
    centers = gpu.asarray(np.concatenate([given.centers, unused]))
    count = kmeans_gpu.count_of(centers[:k])
    assert_array_equal(kmeans.assign(there, centers[:k]).get(), given.labels)
    gaps = np.zeros((k, 1), np.uint64)
    np.add.at(
        gaps[:, 0], given.labels, (given.points.weights * given.gaps.astype(np.int64)).view("u8")
    )
    expected = {
        kmeans_gpu.SUMS: given.moments[:, : 1 + given.axes],
        kmeans_gpu.MOMENTS: given.moments,
        **({kmeans_gpu.GAPS: gaps} if k > 1 else {}),
    }
    for kind, sums in expected.items():
        found = gpu.full((k + 3, sums.shape[1]), GARBAGE, np.uint64)
        kmeans_gpu.reduce(there, centers, count, kind, found).run()
        assert_array_equal(found.get()[:k], sums + np.uint64(GARBAGE))
        assert (found.get()[k:] == GARBAGE).all()


def check_sums(gpu: Any, given: Problem, batches: int = 3) -> None:
    """The fused and the two-step route both find the weights and sums of the clusters."""
    there, centers = uploaded(gpu, given.points), gpu.asarray(given.centers)
    weight = given.moments[:, 0].view(np.int64)
    biased = given.moments[:, 1 : 1 + given.axes].view(np.int64)
    rows = -(-len(given.points) // batches)
    by_batch = kmeans_gpu.batched_sums(there, centers, rows * given.k + given.k - 1)
    for found in (kmeans.nearest_sums(there, centers), by_batch):
        assert_array_equal(found[0].get(), weight)
        assert_array_equal(found[1].get(), biased - kmeans_gpu.BIAS * weight[:, None])


@pytest.mark.matrix
@pytest.mark.parametrize(("axes", "count", "k"), sized(SIZES, CENTERS, FOUR_SIZES, FOUR_CENTERS))
def test_labels_sums_moments_and_gaps_are_numpys(gpu: Any, axes: int, count: int, k: int) -> None:
    check_reduce(gpu, problem(count, k, axes=axes))


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("axes", "count", "k"), sized(SIZES[:-1], CENTERS, FOUR_SIZES[:-1], FOUR_CENTERS)
)
def test_both_routes_to_the_sums_agree(gpu: Any, axes: int, count: int, k: int) -> None:
    check_sums(gpu, problem(count, k, axes=axes))


@pytest.mark.parametrize("axes", AXES)
def test_both_routes_to_the_sums_of_many_points_agree(axes: int) -> None:
    with device(order="random", multiprocessors=SCHEDULES["random"]) as gpu:
        check_sums(gpu, problem(15_001, 17, axes=axes))


@pytest.mark.parametrize("axes", AXES)
def test_the_oracles_are_the_definition(axes: int) -> None:
    given = problem(257, 17, axes=axes)
    assert_array_equal(given.labels, naive_assignment(given.points, given.centers))
    mass, sums = kmeans.cluster_sums(given.points, given.labels, 17)
    biased = given.moments[:, 1 : 1 + axes].view(np.int64)
    assert_array_equal(given.moments[:, 0], mass)
    assert_array_equal(biased - kmeans_gpu.BIAS * mass[:, None], sums)
    assert int(mass.max()) > 1 << 32


@pytest.mark.parametrize(("axes", "k"), [(axes, k) for axes in AXES for k in (3, 300, 1500)])
def test_many_carries_in_one_cluster_are_all_counted(gpu: Any, axes: int, k: int) -> None:
    given = all_equal(3001, k, axes)
    assert len(np.unique(given.labels)) == 1
    check_reduce(gpu, given)
    check_sums(gpu, given)


@pytest.mark.parametrize(("axes", "k"), [(3, 2), (3, 5), (3, 700), (4, 5), (4, 700)])
def test_of_equally_near_centers_the_first_counts(gpu: Any, axes: int, k: int) -> None:
    rng = np.random.default_rng(k)
    points = weighted_points(rng.integers(-2, 3, (axes, 700)) * 16.0, rng.integers(1, 9, 700))
    centers = (rng.integers(-2, 3, (k, axes)) * 16).astype(np.float32)
    centers[1] = centers[0] * (1, -1, 1, 1)[:axes]
    given = solved(points, centers)
    assert (given.gaps == 0).sum() > 50
    check_reduce(gpu, given)
    check_sums(gpu, given)


@pytest.mark.parametrize("axes", AXES)
def test_gaps_of_more_centers_than_shared_memory_holds_are_added_up(gpu: Any, axes: int) -> None:
    k = 1 + launch_module.SHARED_BYTES // 8
    check_reduce(gpu, problem(300, k, axes=axes))


@pytest.mark.parametrize("axes", AXES)
def test_every_axis_counts(gpu: Any, axes: int) -> None:
    """Points and centers that differ along one axis only, each in turn."""
    for axis in range(axes):
        line = np.zeros((axes, 41), np.float32)
        line[axis] = np.arange(-500, 525, 25)
        points = weighted_points(line, np.arange(1, 42))
        centers = np.ascontiguousarray(line[:, 1::4].T)
        given = solved(points, centers)
        assert len(np.unique(given.labels)) == len(centers) == 10
        check_reduce(gpu, given)
        check_sums(gpu, given)


# ---- Lloyd's steps


def check_lloyd(gpu: Any, given: Problem, steps: int, fixed: int = 0) -> None:
    """Centers move as in array code, and the first ones not by a bit."""
    expected = kmeans.lloyd(given.points, given.centers, steps, fixed=fixed)
    there, centers = uploaded(gpu, given.points), gpu.asarray(given.centers)
    moved = kmeans.lloyd(there, centers, steps, fixed=fixed).get()
    assert_array_equal(moved, expected)
    assert moved[:fixed].tobytes() == given.centers[:fixed].tobytes()
    assert_array_equal(centers.get(), given.centers)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("axes", "count", "k"), sized(SIZES[1:-1], CENTERS, FOUR_SIZES[1:-1], FOUR_CENTERS)
)
def test_lloyds_steps_are_numpys(gpu: Any, axes: int, count: int, k: int) -> None:
    check_lloyd(gpu, problem(count, k, axes=axes), 3)


@pytest.mark.parametrize(
    ("order", "axes", "count", "k"),
    [
        ("forward", 3, SIZES[-1], 17),
        ("reverse", 3, SIZES[-1], 256),
        ("random", 3, SIZES[-1], 1024),
        ("reverse", 4, FOUR_SIZES[-1], 204),
        ("random", 4, FOUR_SIZES[-1], 1127),
    ],
)
def test_lloyds_steps_with_many_points_are_numpys(
    order: str, axes: int, count: int, k: int
) -> None:
    with device(order=order, multiprocessors=SCHEDULES[order]) as gpu:
        check_lloyd(gpu, problem(count, k, axes=axes), 2, fixed=k // 3)


@pytest.mark.parametrize("axes", AXES)
def test_centers_outside_the_points_are_brought_to_their_bounds(gpu: Any, axes: int) -> None:
    given = far_out(400, 40, axes)
    check_lloyd(gpu, given, 2)
    low, high = given.points.bounds
    moved = kmeans.lloyd(uploaded(gpu, given.points), gpu.asarray(given.centers), 2).get()
    assert ((low <= moved) & (moved <= high)).all()


@pytest.mark.matrix
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("fixed", [1, 5, 39, 40])
@pytest.mark.parametrize("axes", AXES)
def test_fixed_centers_stay_where_they_are_also_outside_the_points(
    gpu: Any, axes: int, fixed: int, steps: int
) -> None:
    """All steps but the last are over-relaxed."""
    given = far_out(400, 40, axes)
    low, high = given.points.bounds
    first = given.centers[0]
    assert ((first < low) | (first > high)).any()
    check_lloyd(gpu, given, steps, fixed)


def check_update(
    gpu: Any, relaxation: tuple[int, int], count: int = 300, axes: int = 3, fixed: int = 0
) -> None:
    """Centers move p/q of the way and are rounded half up, by the definition; fixed ones stay."""
    rng = np.random.default_rng(0)
    low, high = LOW[:axes].astype("f4"), HIGH[:axes].astype("f4") - 16
    weight = rng.integers(0, 5, (count, 1)) * rng.choice([1, 7, 2**34 + 1], (count, 1))
    mean = rng.integers(2 * low, 2 * high + 1, (count, axes))
    sums = weight * mean // 2 + rng.integers(-1, 2, (count, axes)) * (weight > 2)
    old = rng.integers(low, high + 17, (count, axes)).astype(np.float32)
    if fixed:
        old[:2] = high + 1, low - 1
    table = np.hstack([weight, sums + kmeans_gpu.BIAS * weight])
    expected = old.astype(np.int64)
    for c, a in np.ndindex(count, axes):
        if weight[c, 0]:
            distance = Fraction(int(sums[c, a]), int(weight[c, 0])) - int(old[c, a])
            target = int(old[c, a]) + Fraction(*relaxation) * distance
            expected[c, a] = (target + Fraction(1, 2)).__floor__()
    expected = expected.clip(low, high)
    expected[:fixed] = old[:fixed]
    used = count - 3
    table[used:], found = 77, old.copy()
    numbers = map(np.int32, (fixed, *relaxation))
    launch(gpu, "update", table, np.array([used], "i4"), low, high, *numbers, found, axes=axes)
    assert_array_equal(found[:used], expected[:used])
    assert_array_equal(found[used:], old[used:])
    assert not table[:used].any()
    assert (table[used:] == 77).all()


@pytest.mark.parametrize("fixed", [0, 2, 140, 297])
@pytest.mark.parametrize("relaxation", [(1, 1), kmeans.RELAXATION])
@pytest.mark.parametrize("axes", AXES)
def test_a_center_goes_to_the_exact_rounded_quotient_unless_it_is_fixed(
    gpu: Any, axes: int, relaxation: tuple[int, int], fixed: int
) -> None:
    check_update(gpu, relaxation, axes=axes, fixed=fixed)
