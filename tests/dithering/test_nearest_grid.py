"""Cells of nearest palette colors: they must answer as the definition does."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quantgpu.dithering.nearest_grid import (
    MOST_CELLS,
    NearestGrid,
    cells_around,
    cells_in_reach,
    expanded,
    halved,
    nearest_entries,
)


def naive_entries(points: NDArray[Any], centers: NDArray[Any]) -> NDArray[np.intp]:
    gaps = points.T[:, None].astype(np.int64) - centers[None].astype(np.int64)
    found: NDArray[np.intp] = (gaps * gaps).sum(axis=2).argmin(axis=1)
    return found


def found_entries(
    points: NDArray[np.int32], cells: NearestGrid, centers: NDArray[np.int32], first: Any = None
) -> NDArray[np.int32]:
    return nearest_entries(points, cells, np.ascontiguousarray(centers.T), first)


def problem(
    seed: int, axes: int, count: int, k: int, spread: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(axes, count) points and (k, axes) centers, some of them twice."""
    rng = np.random.default_rng(seed)
    scale = np.array([1, 2, 3, 5])[:axes]
    points = rng.integers(-spread, spread + 1, (axes, count)) // scale[:, None]
    centers = rng.integers(-spread, spread + 1, (k, axes)) // scale
    centers[k // 2 :] = centers[rng.integers(0, k, k - k // 2)]
    return points.astype(np.int32), centers.astype(np.int32)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    axes=st.sampled_from([3, 4]),
    count=st.integers(1, 300),
    k=st.integers(1, 70),
    spread=st.sampled_from([1, 20, 300, 2047]),
    reach=st.sampled_from([0, 1, 7, 300, 4095]),
)
def test_moved_points_get_their_nearest_center(
    seed: int, axes: int, count: int, k: int, spread: int, reach: int
) -> None:
    points, centers = problem(seed, axes, count, k, spread)
    cells, first = cells_around(points, centers, reach)
    assert first is None
    rng = np.random.default_rng(seed)
    for _ in range(3):
        moved = points + rng.integers(-reach, reach + 1, points.shape, dtype=np.int32)
        np.testing.assert_array_equal(
            found_entries(moved, cells, centers), naive_entries(moved, centers)
        )


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("axes", [3, 4])
def test_the_corners_of_what_is_within_reach_have_cells(axes: int, sign: int) -> None:
    points, centers = problem(5, axes, 40, 30, 2000)
    cells, _ = cells_around(points, centers, 513)
    moved = points + np.int32(sign * 513)
    np.testing.assert_array_equal(
        found_entries(moved, cells, centers), naive_entries(moved, centers)
    )


def test_thousands_of_centers_are_told_apart() -> None:
    points, centers = problem(3, 3, 2000, 5000, 2047)
    cells, _ = cells_around(points, centers, 60)
    np.testing.assert_array_equal(
        found_entries(points, cells, centers), naive_entries(points, centers)
    )


def test_there_are_as_many_cells_as_points_deserve_and_the_cache_holds() -> None:
    for axes, count, most in ((3, 500, 8096), (4, 500, 8096), (3, 300_000, MOST_CELLS)):
        points, centers = problem(1, axes, count, 20, 2047)
        cells, _ = cells_around(points, centers, 1000)
        assert most // 2 ** (axes + 1) < len(cells.codes) <= most


def test_most_cells_have_one_candidate_and_lists_are_short_and_ascending() -> None:
    points, centers = problem(2, 3, 300_000, 64, 2047)
    cells, _ = cells_around(points, np.unique(centers, axis=0), 100)
    assert (cells.codes >= 0).mean() > 0.7
    lengths = np.diff(cells.starts)
    assert lengths.min() == 2
    assert lengths.mean() < 4
    steps = np.diff(cells.entries)
    inside = np.ones(len(steps), bool)
    inside[cells.starts[1:-1] - 1] = False
    assert (steps[inside] > 0).all()


def test_groups_of_points_are_served_by_their_own_centers() -> None:
    points, centers = problem(7, 4, 500, 40, 2047)
    groups = [
        (np.arange(0, 500, 2), np.arange(40)),
        (np.arange(1, 250, 2), np.arange(3, 40, 5)),
        (np.arange(251, 500, 2), np.array([11])),
    ]
    cells, first = cells_around(points, centers, 77, groups)
    moved = points + np.int32(77)
    found = found_entries(moved, cells, centers, first)
    for members, allowed in groups:
        expected = allowed[naive_entries(moved[:, members], centers[allowed])]
        np.testing.assert_array_equal(found[members], expected)
    assert len(cells.codes) <= MOST_CELLS


@given(seed=st.integers(0, 999), reach=st.integers(0, 40), shift=st.integers(0, 4))
@settings(deadline=None, max_examples=25)
def test_all_cells_that_a_point_can_be_moved_to_are_reached(
    seed: int, reach: int, shift: int
) -> None:
    points, _ = problem(seed, 3, 9, 1, 60)
    origin = points.min(axis=1) - np.int32(reach)
    sides = tuple((((points.max(axis=1) + reach - origin) >> shift) + 1).tolist())
    mask = cells_in_reach(points, origin, shift, sides, reach)
    rng = np.random.default_rng(seed)
    moved = points + rng.integers(-reach, reach + 1, points.shape)
    assert mask[tuple((moved - origin[:, None]) >> shift)].all()


def test_wide_cells_hold_what_their_halves_hold() -> None:
    mask = np.zeros((5, 3, 2), bool)
    mask[4, 2, 1] = mask[1, 0, 0] = True
    wide = halved(mask)
    assert wide.shape == (3, 2, 1)
    assert np.argwhere(wide).tolist() == [[0, 0, 0], [2, 1, 0]]


def test_counts_are_expanded_to_owners_and_ranks() -> None:
    owners, ranks = expanded(np.array([2, 0, 3]))
    assert owners.tolist() == [0, 0, 2, 2, 2]
    assert ranks.tolist() == [0, 1, 0, 1, 2]
