"""Assignment and centroids against naive oracles."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import naive_assignment, naive_error, random_centers, random_points

from quantgpu.clustering import kmeans
from quantgpu.clustering.kmeans import (
    assign,
    cluster_sums,
    lloyd,
    possible_in_boxes,
    step_to_means,
    total_error,
    two_nearest,
)
from quantgpu.clustering.points import distance_matrix, weighted_points


@pytest.fixture(params=["all centers", "boxes"])
def _either_route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small problems take the route that is meant for them, or that of large ones."""
    if request.param == "boxes":
        monkeypatch.setattr(kmeans, "MANY_CENTERS", 0)
        monkeypatch.setattr(kmeans, "MANY_DISTANCES", 0)
        monkeypatch.setattr(kmeans, "BOX", (5, 37))


@pytest.mark.usefixtures("_either_route")
@pytest.mark.parametrize("count", [1, 2, 31, 255, 256, 257, 5003])
@pytest.mark.parametrize("k", [1, 2, 17, 256, 700])
@pytest.mark.parametrize("axes", [3, 4])
def test_the_naive_nearest_center_is_found(axes: int, count: int, k: int) -> None:
    points, centers = random_points(count, axes=axes), random_centers(k, axes=axes)
    expected = naive_assignment(points, centers)
    np.testing.assert_array_equal(assign(points, centers), expected)
    if k > 1:
        np.testing.assert_array_equal(two_nearest(points, centers)[0], expected)


@pytest.mark.usefixtures("_either_route")
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("distances", [1 << 5, 1 << 12, 1 << 16])
def test_batches_and_threads_change_nothing(
    threads: int, distances: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, centers = random_points(3001), random_centers(33)
    labels, gaps = two_nearest(points, centers)
    monkeypatch.setattr(kmeans, "DISTANCES", distances)
    monkeypatch.setattr(kmeans, "PARALLEL", 0)
    np.testing.assert_array_equal(assign(points, centers, threads), labels)
    np.testing.assert_array_equal(two_nearest(points, centers, threads)[0], labels)
    np.testing.assert_array_equal(two_nearest(points, centers, threads)[1], gaps)


def test_boxes_of_close_points_leave_few_centers() -> None:
    points = random_points(2000)
    x = points.columns[:-1].astype(np.int64)
    order = np.lexsort((x[2], x[1] // 200, x[0] // 200))
    points = weighted_points(points.columns[:-1, order], points.weights[order])
    centers = random_centers(400)
    low, high = points.boxes(20)
    assert possible_in_boxes(low, high, centers, 1).mean() < 0.4
    tight = points.columns[:-1]
    single = possible_in_boxes(tight, tight, centers, 1)
    np.testing.assert_array_equal(single.argmax(axis=1), naive_assignment(points, centers))
    assert (possible_in_boxes(tight, tight, centers, 2).sum(axis=1) >= 2).all()


@pytest.mark.usefixtures("_either_route")
def test_ties_go_to_the_lowest_index() -> None:
    points = weighted_points(np.array([[0], [0], [0]], np.float32), np.array([1]))
    around = np.array([[8, 0, 0], [0, -8, 0], [0, 0, 8], [-8, 0, 0]], np.float32)
    for shift in range(4):
        assert assign(points, np.roll(around, shift, axis=0)).tolist() == [0]
    doubled = np.concatenate([around[:1], around[:1]])
    assert assign(points, doubled).tolist() == [0]


@pytest.mark.parametrize("axes", [3, 4])
def test_distances_are_exact_at_the_corners_of_the_space(axes: int) -> None:
    corners = np.array(np.meshgrid(*[[-1024, 1016]] * axes)).reshape(axes, -1).astype(np.float32)
    rows = np.vstack([corners, np.ones(1 << axes, np.float32)]).T
    found = rows @ distance_matrix(np.ascontiguousarray(corners.T))
    x = corners.T.astype(np.int64)
    exact = ((x[:, None] - x[None]) ** 2).sum(axis=2) - (x * x).sum(axis=1)[:, None]
    np.testing.assert_array_equal(found, exact)


@pytest.mark.usefixtures("_either_route")
@pytest.mark.parametrize("axes", [3, 4])
def test_the_gap_is_the_distance_to_the_second_center_less_that_to_the_first(axes: int) -> None:
    points, centers = random_points(517, axes=axes), random_centers(29, axes=axes)
    x = points.columns[:-1].T.astype(np.int64)
    distances = np.sort(((x[:, None] - centers[None].astype(np.int64)) ** 2).sum(axis=2), axis=1)
    _, gaps = two_nearest(points, centers)
    np.testing.assert_array_equal(gaps, distances[:, 1] - distances[:, 0])


def test_sums_are_exact_beyond_32_bits() -> None:
    coordinates = np.array([[-1024, 1015, 7], [3, -5, 1016], [1, 2, -1023]], np.float32)
    weights = np.array([2**31 + 1, 2**33 + 7, 3])
    mass, sums = cluster_sums(weighted_points(coordinates, weights), np.array([1, 1, 0]), 3)
    assert mass.tolist() == [3, 2**31 + 2**33 + 8, 0]
    for axis, (a, b, c) in enumerate(coordinates.astype(int).tolist()):
        assert sums[:, axis].tolist() == [3 * c, (2**31 + 1) * a + (2**33 + 7) * b, 0]


@given(
    old=st.integers(-1024, 1016),
    mass=st.integers(1, 2**40),
    mean=st.fractions(-1024, 1016),
    relaxation=st.sampled_from([(1, 1), kmeans.RELAXATION]),
)
def test_a_center_moves_to_the_exact_rounded_quotient(
    old: int, mass: int, mean: Fraction, relaxation: tuple[int, int]
) -> None:
    total = round(mean * mass)
    target = old + Fraction(*relaxation) * (Fraction(total, mass) - old)
    expected = (target + Fraction(1, 2)).__floor__()
    moved = step_to_means(
        np.array([[old]], np.float32), np.array([mass]), np.array([[total]]), relaxation
    )
    assert moved.tolist() == [[expected]]


def test_the_center_of_an_empty_cluster_stays() -> None:
    centers = np.array([[5, 6, 7]], np.float32)
    moved = step_to_means(centers, np.array([0]), np.array([[0, 0, 0]]), kmeans.RELAXATION)
    np.testing.assert_array_equal(moved, centers)


def test_total_error_differs_from_the_definition_by_a_constant() -> None:
    points = random_points(801)
    differences = []
    for seed in range(3):
        centers = random_centers(11, seed)
        sums = cluster_sums(points, assign(points, centers), 11)
        differences.append(naive_error(points, centers) - total_error(centers, *sums))
    assert differences[0] == differences[1] == differences[2]
    x = points.columns[:-1].astype(np.int64)
    assert differences[0] == (points.weights * (x * x).sum(axis=0)).sum()


def test_plain_steps_never_raise_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "RELAXATION", (1, 1))
    points, centers = random_points(900), random_centers(13)
    errors = [naive_error(points, lloyd(points, centers, steps)) for steps in range(12)]
    rounding = 3 * int(points.weights.sum()) / 4
    assert all(after <= before + rounding for before, after in pairwise(errors))
    assert errors[-1] < 0.8 * errors[0]


def test_over_relaxed_steps_get_farther_than_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    points, centers = random_points(4000), random_centers(40)
    relaxed = naive_error(points, lloyd(points, centers, 8))
    monkeypatch.setattr(kmeans, "RELAXATION", (1, 1))
    assert relaxed < naive_error(points, lloyd(points, centers, 8))


def test_centers_stay_among_the_points() -> None:
    points = random_points(300)
    low, high = points.bounds
    centers = lloyd(points, random_centers(50), 9)
    assert (centers >= low).all()
    assert (centers <= high).all()


@pytest.mark.parametrize("fixed", [1, 5, 39, 40])
@pytest.mark.parametrize("axes", [3, 4])
def test_fixed_centers_stay_bit_for_bit_and_the_others_move_as_without(
    axes: int, fixed: int
) -> None:
    points, centers = random_points(500, axes=axes), random_centers(40, axes=axes)
    before = centers.copy()
    moved = lloyd(points, centers, 1, fixed=fixed)
    assert moved[:fixed].tobytes() == before[:fixed].tobytes()
    np.testing.assert_array_equal(moved[fixed:], lloyd(points, centers, 1)[fixed:])
    np.testing.assert_array_equal(centers, before)


def test_over_relaxed_steps_around_fixed_centers_are_the_definition() -> None:
    points, centers = random_points(500), random_centers(40)
    expected = centers.copy()
    for relaxation in kmeans.relaxations(4):
        sums = cluster_sums(points, naive_assignment(points, expected), 40)
        moved = step_to_means(expected, *sums, relaxation).clip(*points.bounds)
        expected[7:] = moved[7:]
    np.testing.assert_array_equal(lloyd(points, centers, 4, fixed=7), expected)


def test_fixed_centers_may_lie_outside_the_points_and_the_others_may_not() -> None:
    points = random_points(300)
    low, high = points.bounds
    centers = random_centers(30)
    centers[:2] = low - 9, high + 5
    centers[20:22] = low - 9, high + 5
    moved = lloyd(points, centers, 5, fixed=2)
    np.testing.assert_array_equal(moved[:2], [low - 9, high + 5])
    assert (moved[2:] >= low).all()
    assert (moved[2:] <= high).all()


def test_fixing_centers_that_have_come_to_rest_changes_nothing() -> None:
    points = random_points(200)
    resting = lloyd(points, random_centers(9), 200)
    np.testing.assert_array_equal(lloyd(points, resting, 1), resting)
    for fixed in range(10):
        np.testing.assert_array_equal(lloyd(points, resting, 5, fixed=fixed), resting)


def test_plain_steps_around_fixed_centers_never_raise_the_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kmeans, "RELAXATION", (1, 1))
    points, centers = random_points(900), random_centers(13)
    errors = [naive_error(points, lloyd(points, centers, steps, fixed=6)) for steps in range(12)]
    rounding = 3 * int(points.weights.sum()) / 4
    assert all(after <= before + rounding for before, after in pairwise(errors))
    assert errors[-1] < 0.9 * errors[0]
