"""Octree levels: exact sums, true cells, and the splits that matter most."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import photo

from quantgpu.clustering.octree import leaves, octree, running_sums
from quantgpu.clustering.points import Points, weighted_points
from quantgpu.color.morton import morton_codes, order_of
from quantgpu.color.packing import unpack
from quantgpu.color.spaces import srgb_to_grid
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.pixels import Pixels


def sorted_points(picture: NDArray[np.uint8]) -> tuple[Points, NDArray[np.int32]]:
    histogram = count_colors(Pixels(picture))
    codes = morton_codes(histogram.colors)
    order = order_of(codes)
    grid = srgb_to_grid(unpack(histogram.keys[order]))
    return weighted_points(grid, histogram.counts[order]), codes[order]


def leaves_of(points: Points, codes: NDArray[np.int32], most: int) -> Points:
    sums = running_sums(points)
    return leaves(octree(codes, sums, most), sums, most)


def test_morton_codes_interleave_the_bits() -> None:
    colors = np.array([[0b10000001, 0, 0], [0, 0b10000001, 0], [0, 0, 0b10000001]], np.uint8)
    assert [f"{code:024b}" for code in morton_codes(colors).tolist()] == [
        "100000000000000000000100",
        "010000000000000000000010",
        "001000000000000000000001",
    ]


def test_the_order_sorts_all_24_bits() -> None:
    codes = np.random.default_rng(0).integers(0, 1 << 24, 70_001).astype(np.int32)
    np.testing.assert_array_equal(codes[order_of(codes)], np.sort(codes))


@pytest.mark.parametrize("most", [1, 2, 9, 100, 1000])
def test_leaves_are_at_most_so_many_and_keep_all_weight(most: int) -> None:
    points, codes = sorted_points(photo())
    found = leaves_of(points, codes, most)
    assert 1 <= len(found) <= most
    assert found.weights.sum() == points.weights.sum()


def test_as_many_leaves_as_points_are_the_points() -> None:
    points, codes = sorted_points(photo(3, 4))
    found = leaves_of(points, codes, len(points))
    np.testing.assert_array_equal(found.columns, points.columns)
    np.testing.assert_array_equal(found.weights, points.weights)


@pytest.mark.parametrize("most", [1, 9, 100, 999])
def test_an_octree_made_for_more_leaves_gives_the_same(most: int) -> None:
    points, codes = sorted_points(photo())
    sums = running_sums(points)
    found, expected = (leaves(octree(codes, sums, size), sums, most) for size in (1000, most))
    np.testing.assert_array_equal(found.columns, expected.columns)
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_a_leaf_is_the_rounded_mean_of_a_run_of_points() -> None:
    points, codes = sorted_points(photo())
    found = leaves_of(points, codes, 300)
    ends = np.cumsum(found.weights)
    stops = np.searchsorted(np.cumsum(points.weights), ends) + 1
    for leaf, (start, stop) in enumerate(zip([0, *stops[:-1]], stops, strict=True)):
        weights = points.weights[start:stop]
        sums = (points.columns[:-1, start:stop].astype(np.int64) * weights).sum(axis=1)
        expected = (2 * sums + weights.sum()) // (2 * weights.sum())
        np.testing.assert_array_equal(found.columns[:-1, leaf], expected)


def test_leaves_serve_better_than_cells_of_equal_size() -> None:
    picture = photo(200, 300)
    picture[:, :280] = 128 + picture[:, :280] % 16
    points, codes = sorted_points(picture)
    cells, counts = np.unique(codes >> 12, return_counts=True)
    found = leaves_of(points, codes, len(cells))

    def within(starts: NDArray[np.intp]) -> float:
        x = points.columns[:-1].astype(np.float64)
        squares = np.add.reduceat(points.weights * (x * x), starts, axis=1).sum()
        sums = np.add.reduceat(points.weights * x, starts, axis=1)
        return float(squares - (sums * sums / np.add.reduceat(points.weights, starts)).sum())

    uniform = np.cumsum(counts) - counts
    edges = np.cumsum(found.weights) - found.weights
    adaptive = np.searchsorted(np.cumsum(points.weights), edges, side="right")
    assert within(adaptive) < 0.8 * within(uniform)


def test_equal_errors_are_split_together() -> None:
    corner = np.array([[0, 0, 0], [0, 0, 9]], np.uint8)
    picture = np.concatenate([corner + offset for offset in (0, 64, 128)])[:, None].astype(np.uint8)
    points, codes = sorted_points(picture)
    assert len(leaves_of(points, codes, 5)) == 3
    assert len(leaves_of(points, codes, 6)) == 6
