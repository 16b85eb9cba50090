"""First centers: how many, which, and drawn how."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import naive_error, random_points

from quantgpu.clustering.points import Points, weighted_points
from quantgpu.clustering.seeding import (
    SEEDINGS,
    WU_BINS,
    best_cut,
    box_moments,
    cumulative_moments,
    maximin,
    random_colors,
    wu,
)


def as_set(centers: NDArray[np.float32]) -> set[tuple[float, ...]]:
    return set(map(tuple, centers.tolist()))


def line(*positions: int, weights: list[int] | None = None) -> Points:
    coordinates = np.array([positions, [0] * len(positions), [0] * len(positions)], np.float32)
    return weighted_points(coordinates, np.array(weights or [1] * len(positions)))


@pytest.mark.parametrize("name", SEEDINGS)
@pytest.mark.parametrize("k", [1, 2, 17, 256])
def test_there_are_k_distinct_centers_that_a_seed_repeats(name: str, k: int) -> None:
    points = random_points(700)
    centers = SEEDINGS[name](points, k, np.random.default_rng(3))
    again = SEEDINGS[name](points, k, np.random.default_rng(3))
    assert len(as_set(centers)) == k
    np.testing.assert_array_equal(centers, again)


@pytest.mark.parametrize("name", [name for name in SEEDINGS if name != "wu"])
def test_centers_are_points(name: str) -> None:
    points = random_points(100)
    centers = SEEDINGS[name](points, 100, np.random.default_rng(0))
    assert as_set(centers) == as_set(points.columns[:-1].T)


@pytest.mark.parametrize("name", ["random", "kmeans++"])
def test_another_seed_draws_other_centers(name: str) -> None:
    points = random_points(700)
    one, other = (SEEDINGS[name](points, 20, np.random.default_rng(seed)) for seed in (0, 1))
    assert as_set(one) != as_set(other)


def test_random_draws_follow_the_weights() -> None:
    points = line(0, 1, 2, weights=[1, 8, 1])
    drawn = [random_colors(points, 1, np.random.default_rng(s))[0, 0] for s in range(400)]
    assert 0.72 < np.mean(np.array(drawn) == 1) < 0.88


def test_a_rare_color_is_drawn_when_all_are_wanted() -> None:
    points = line(0, 1, 2, weights=[2**50, 1, 2**50])
    drawn = random_colors(points, 3, np.random.default_rng(0))
    assert sorted(drawn[:, 0].tolist()) == [0, 1, 2]


def test_maximin_takes_the_heaviest_and_then_the_farthest() -> None:
    centers = maximin(line(0, 10, 4, 101, weights=[1, 1, 7, 1]), 4, np.random.default_rng(0))
    assert centers[:, 0].tolist() == [4, 101, 10, 0]


def test_careful_seeds_serve_better_than_random_ones() -> None:
    points = random_points(3000, heaviest=500)
    errors = {
        name: np.mean(
            [naive_error(points, seed(points, 30, np.random.default_rng(s))) for s in range(5)]
        )
        for name, seed in SEEDINGS.items()
    }
    assert errors["kmeans++"] < errors["random"]
    assert errors["wu"] < errors["random"]


def test_wu_moments_of_a_box_are_the_sums_of_its_points() -> None:
    points = random_points(900)
    low, high = points.bounds
    cell = (points.columns[:-1] - low[:, None]) * WU_BINS // (high - low + 1)[:, None]
    lower, upper = (3, 0, 7), (20, 31, 32)
    inside = np.all([(cell[i] >= lower[i]) & (cell[i] < upper[i]) for i in range(3)], axis=0)
    expected = [points.masses[inside].sum(), *(m[inside].sum() for m in points.moments)]
    moments = cumulative_moments(points)
    assert box_moments(moments, lower, upper).tolist() == expected


def test_wu_cuts_where_the_variance_falls_most() -> None:
    points = line(0, 1, 2, 1000, 1001)
    gain, axis, position = best_cut(cumulative_moments(points), (0,) * 3, (WU_BINS,) * 3)
    x = points.columns[0].astype(np.float64)
    between = x[:3].sum() ** 2 / 3 + x[3:].sum() ** 2 / 2 - x.sum() ** 2 / 5
    assert gain == pytest.approx(between)
    assert axis == 0
    assert 1 <= position < WU_BINS
    assert sorted(wu(points, 2, np.random.default_rng(0))[:, 0].tolist()) == [1, 1001]


def test_wu_is_filled_up_where_its_grid_is_too_coarse() -> None:
    points = line(*range(0, 9), 1016)
    centers = wu(points, 10, np.random.default_rng(0))
    assert len(as_set(centers)) == 10
