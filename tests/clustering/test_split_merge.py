"""Beyond Lloyd: splits, drops and the search."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import naive_assignment, naive_error, random_centers, random_points

from quantgpu.clustering.kmeans import assign, lloyd
from quantgpu.clustering.points import weighted_points
from quantgpu.clustering.split_merge import (
    STEPS,
    directions,
    drop,
    nearest_others,
    search,
    split,
    widest_axis,
)


@pytest.mark.parametrize(("axes", "count"), [(1, 1), (2, 4), (3, 13), (4, 40)])
def test_the_directions_are_all_lines_through_a_cube_and_none_twice(axes: int, count: int) -> None:
    lines = np.array(directions(axes))
    assert lines.shape == (count, axes)
    assert set(np.unique(lines)) <= {-1, 0, 1}
    both = np.concatenate([lines, -lines])
    assert len(np.unique(both, axis=0)) == 2 * count == 3**axes - 1
    assert (np.diff((lines != 0).sum(axis=1)) >= 0).all()


@pytest.mark.parametrize("axes", [3, 4])
def test_the_spread_along_a_line_is_the_weighted_variance(axes: int) -> None:
    points, centers = random_points(600, axes=axes), random_centers(7, axes=axes)
    labels = naive_assignment(points, centers)
    mean, variance, deviation = widest_axis(points, labels, 7)
    lines = [np.array(line) for line in directions(axes)]
    for cluster in range(7):
        x = points.columns[:-1, labels == cluster].T.astype(np.float64)
        w = points.weights[labels == cluster]
        center = np.average(x, axis=0, weights=w)
        along = [(w * ((x - center) @ line / np.linalg.norm(line)) ** 2).sum() for line in lines]
        np.testing.assert_allclose(mean[cluster], center)
        assert variance[cluster] == pytest.approx(max(along))
        best = lines[int(np.argmax(along))]
        expected = best / np.linalg.norm(best) * np.sqrt(max(along) / w.sum())
        np.testing.assert_allclose(deviation[cluster], expected)


def test_the_widest_clusters_are_split() -> None:
    rng = np.random.default_rng(0)
    narrow = rng.integers(-20, 20, (3, 200)) - 800
    wide = rng.integers(-300, 300, (3, 200)) + 500
    points = weighted_points(np.hstack([narrow, wide]).astype(np.float32), np.ones(400, np.int64))
    centers = np.array([[-800] * 3, [500] * 3], np.float32)
    wider = split(points, centers, assign(points, centers), 1)
    assert wider.shape == (3, 3)
    np.testing.assert_array_equal(wider[0], centers[0])
    assert naive_error(points, wider) < 0.8 * naive_error(points, centers)


def test_the_center_that_is_missed_least_is_dropped() -> None:
    points = weighted_points(
        np.array([[0, 8, 500, 1000], [0] * 4, [0] * 4], np.float32), np.array([9, 9, 1, 9])
    )
    centers = np.ascontiguousarray(points.columns[:-1].T)
    assert drop(points, centers, 1)[:, 0].tolist() in ([8, 500, 1000], [0, 500, 1000])
    assert sorted(drop(points, centers, 2)[:, 0].tolist())[1:] == [1000]


@pytest.mark.parametrize("fewer", [0, 1, 5, 9, 10])
def test_as_many_centers_are_dropped_as_asked(fewer: int) -> None:
    assert drop(random_points(200), random_centers(11), fewer).shape == (11 - fewer, 3)


@pytest.mark.parametrize("k", [2, 3, 41, 300])
def test_the_nearest_other_center_is_found(k: int) -> None:
    centers = random_centers(k)
    x = centers.astype(np.int64)
    distances = ((x[:, None] - x) ** 2).sum(axis=2) + 2**30 * np.eye(k, dtype=np.int64)
    np.testing.assert_array_equal(nearest_others(centers), distances.argmin(axis=1))


def test_the_search_escapes_a_bad_start() -> None:
    rng = np.random.default_rng(0)
    blobs = [rng.normal(center, 15, (60, 3)) for center in rng.integers(-900, 900, (12, 3))]
    coordinates = np.rint(np.concatenate(blobs)).T.clip(-1024, 1016).astype(np.float32)
    points = weighted_points(coordinates, np.ones(720, np.int64))
    start = np.ascontiguousarray(coordinates[:, :12].T)
    by_lloyd = naive_error(points, lloyd(points, start, 60))
    by_search = naive_error(points, search(points, start, 3, 40))
    within = sum(int(((b - b.mean(axis=0)) ** 2).sum()) for b in blobs)
    assert by_lloyd > 3 * within
    assert by_search < 1.05 * within


def test_more_rounds_are_never_worse() -> None:
    points, start = random_points(1500), random_centers(25)
    errors = [naive_error(points, search(points, start, 4, rounds)) for rounds in (1, 2, 5, 12)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_few_centers_are_searched_too(k: int) -> None:
    points = random_points(50)
    found = search(points, random_centers(k), 1, 5)
    assert found.shape == (k, 3)
    assert naive_error(points, found) <= naive_error(
        points, lloyd(points, random_centers(k), 2 * STEPS)
    )


@pytest.mark.parametrize(
    ("seed", "k", "error"), [(0, 17, 366_144_259), (1, 40, 176_301_830), (2, 3, 1_249_233_234)]
)
def test_what_the_search_finds_does_not_change_unnoticed(seed: int, k: int, error: int) -> None:
    points = random_points(1500, seed)
    assert naive_error(points, search(points, random_centers(k, seed), k // 3, 9)) == error


# ---- around fixed centers


def gone(before: NDArray[np.float32], after: NDArray[np.float32]) -> list[int]:
    """Which of the centers, all distinct, are no longer there."""
    kept = {tuple(center) for center in after.tolist()}
    return [c for c, center in enumerate(before.tolist()) if tuple(center) not in kept]


@pytest.mark.parametrize("axes", [3, 4])
def test_of_a_fixed_center_with_the_greatest_variance_a_part_is_split_off(axes: int) -> None:
    rng = np.random.default_rng(0)
    narrow = rng.integers(-20, 20, (axes, 200)) - 700
    wide = rng.integers(-300, 300, (axes, 200)) + 500
    points = weighted_points(np.hstack([wide, narrow]).astype(np.float32), np.ones(400, np.int64))
    centers = np.repeat(np.array([[450], [-690]], np.float32), axes, axis=1)
    labels = assign(points, centers)
    wider, without = (split(points, centers, labels, 1, fixed) for fixed in (1, 0))
    np.testing.assert_array_equal(wider[:2], centers)
    np.testing.assert_array_equal(wider[2], without[2])
    assert (without[0] != centers[0]).any()
    assert naive_error(points, wider) < 0.9 * naive_error(points, centers)


@pytest.mark.parametrize("fixed", [1, 3, 11])
def test_fixed_centers_outside_the_points_are_not_moved_by_a_split(fixed: int) -> None:
    points, centers = random_points(200), random_centers(11)
    centers[:fixed] = points.bounds[1] + 40
    wider = split(points, centers, assign(points, centers), 11, fixed)
    assert wider.shape == (22, 3)
    assert wider[:fixed].tobytes() == centers[:fixed].tobytes()
    assert (wider[fixed:] <= points.bounds[1]).all()


@pytest.mark.parametrize("axes", [3, 4])
def test_of_the_centers_that_are_not_fixed_those_missed_least_are_dropped(axes: int) -> None:
    """A row of far pairs: nobody counts on a center of another pair."""
    place = np.array([0, 20, 300, 323, 600, 624, 900, 925], np.float32)
    coordinates = np.concatenate([[place], np.zeros((axes - 1, 8))]).astype(np.float32)
    points = weighted_points(coordinates, np.array([2, 1, 3, 4, 9, 8, 7, 6]))
    centers = np.ascontiguousarray(coordinates.T)
    assert gone(centers, drop(points, centers, 2)) == [1, 2]
    assert gone(centers, drop(points, centers, 2, fixed=1)) == [1, 2]
    assert gone(centers, drop(points, centers, 2, fixed=2)) == [2, 7]
    assert gone(centers, drop(points, centers, 2, fixed=3)) == [3, 7]
    assert gone(centers, drop(points, centers, 3, fixed=4)) == [5, 6, 7]
    assert gone(centers, drop(points, centers, 1, fixed=7)) == [7]


def test_centers_that_count_on_fixed_ones_may_all_go() -> None:
    row = np.zeros((3, 9), np.float32)
    row[0] = [0, 500, 1000, 7, 508, 1009, -11, 490, 987]
    points = weighted_points(row, np.full(9, 5))
    centers = np.ascontiguousarray(row.T)
    assert set(nearest_others(centers)[3:].tolist()) == {0, 1, 2}
    for fewer in range(7):
        assert gone(centers, drop(points, centers, fewer, fixed=3)) == sorted(
            [3, 4, 5, 7, 6, 8][:fewer]
        )


@pytest.mark.parametrize("fixed", [1, 5, 24, 25])
@pytest.mark.parametrize("fewer", [0, 1, 12, 25])
def test_no_fixed_center_is_dropped_while_others_are(fixed: int, fewer: int) -> None:
    points, centers = random_points(300), random_centers(50)
    left = drop(points, centers, fewer, fixed=fixed)
    assert left.shape == (50 - fewer, 3)
    assert left[:fixed].tobytes() == centers[:fixed].tobytes()
    assert (np.diff([centers.tolist().index(center) for center in left.tolist()]) > 0).all()


@pytest.mark.parametrize("fixed", [1, 5, 24, 25])
@pytest.mark.parametrize("axes", [3, 4])
def test_the_search_goes_around_fixed_centers(axes: int, fixed: int) -> None:
    points, start = random_points(1500, axes=axes), random_centers(25, axes=axes)
    start[0] = points.bounds[1] + 7
    before = start.copy()
    found = [search(points, start, 8, rounds, fixed=fixed) for rounds in (0, 1, 3, 9)]
    for centers in found:
        assert centers.shape == (25, axes)
        assert centers[:fixed].tobytes() == before[:fixed].tobytes()
    errors = [naive_error(points, centers) for centers in found]
    assert all(after <= least for least, after in pairwise(errors[1:]))
    by_lloyd = naive_error(points, lloyd(points, start, 2 * STEPS, fixed=fixed))
    assert errors[1] <= by_lloyd
    assert errors[-1] < by_lloyd or fixed >= 24
    np.testing.assert_array_equal(start, before)


def test_the_search_does_as_well_around_useless_centers_as_without_them() -> None:
    points, start = random_points(900), random_centers(20)
    useless = np.full((6, 3), 1016, np.float32) * [1, -1, 1]
    both = np.concatenate([useless, start]).astype(np.float32)
    by_twenty = naive_error(points, search(points, start, 4, 30))
    found = search(points, both, 4, 30, fixed=6)
    np.testing.assert_array_equal(found[:6], useless)
    assert naive_error(points, found[6:]) < 1.02 * by_twenty
