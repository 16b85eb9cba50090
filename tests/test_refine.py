"""Beyond Lloyd: splits, drops and the search."""

import numpy as np
import pytest
from pictures import naive_assignment, naive_error, random_centers, random_points

from quantgpu.kmeans import assign, lloyd, weighted_points
from quantgpu.refine import STEPS, directions, drop, nearest_others, search, split, spread


def test_the_spread_along_a_line_is_the_weighted_variance() -> None:
    points, centers = random_points(600), random_centers(7)
    labels = naive_assignment(points, centers)
    mean, variance, deviation = spread(points, labels, 7)
    for cluster in range(7):
        x = points.columns[:-1, labels == cluster].T.astype(np.float64)
        w = points.weights[labels == cluster]
        center = np.average(x, axis=0, weights=w)
        along = [
            (w * ((x - center) @ np.array(d) / np.linalg.norm(d)) ** 2).sum() for d in directions(3)
        ]
        np.testing.assert_allclose(mean[cluster], center)
        assert variance[cluster] == pytest.approx(max(along))
        best = np.array(directions(3)[int(np.argmax(along))])
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
