"""The cells of an octree, and the leaves among them, are those that array code finds."""

from typing import Any

import numpy as np
import pytest
from kernel_device import AXES, uploaded
from kernel_problems import FOUR_SIZES, SIZES, some_codes, some_points
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from quantgpu.clustering import octree
from quantgpu.clustering.octree_gpu import octree_cells
from quantgpu.clustering.points import Points, weighted_points


def naive_cells(codes: NDArray[Any], sums: octree.RunningSums) -> tuple[NDArray[Any], ...]:
    """Starts, ends, error, parent's error and children of all cells, by start, then by level."""
    columns: list[tuple[NDArray[Any], ...]] = []
    above: NDArray[Any] = np.zeros(len(codes), np.intp)
    parent_error: NDArray[Any] = np.full(1, np.inf)
    for level in range(9):
        prefix = codes >> (len(sums.moments) * (8 - level))
        _, starts, inverse, sizes = np.unique(
            prefix, return_index=True, return_inverse=True, return_counts=True
        )
        if level:
            parents = above[starts]
            parent_error = columns[-1][3][parents]
            columns[-1][5][:] = np.bincount(parents, minlength=len(columns[-1][0]))
        error = np.minimum(sums.squared_error(starts, starts + sizes), parent_error)
        error = np.full(1, octree.UNBOUNDED) if level == 0 else error if level < 8 else 0 * error
        levels: NDArray[Any] = np.full(len(starts), level)
        children = np.zeros(len(starts), np.int32)
        columns.append((levels, starts, starts + sizes, error, parent_error, children))
        above = inverse
    levels, *rest = (np.concatenate(column) for column in zip(*columns, strict=True))
    return tuple(column[np.lexsort((levels, rest[0]))] for column in rest)


def check_octree(
    gpu: Any,
    codes: NDArray[Any],
    choices: tuple[int, ...] = (1, 9, 100, 3000),
    points: Points | None = None,
    axes: int = 3,
) -> None:
    """All cells with their errors, and the leaves chosen among them."""
    points = some_points(len(codes), 9, axes=axes) if points is None else points
    sums = octree.running_sums(points)
    there = octree.running_sums(uploaded(gpu, points))
    assert_array_equal(there.table.get(), sums.table)
    found = octree_cells(gpu.asarray(codes), there.table, len(there.moments), octree.UNBOUNDED)
    for column, right in zip(found, naive_cells(codes, sums), strict=True):
        assert_array_equal(column.get(), right)
    for most in choices:
        expected = octree.leaves(octree.octree(codes, sums, most), sums, most)
        leaves = octree.leaves(octree.octree(gpu.asarray(codes), there, most), there, most)
        assert_array_equal(leaves.columns.get(), expected.columns)
        assert_array_equal(leaves.weights.get(), expected.weights)


@pytest.mark.parametrize(
    ("axes", "count"),
    [*((3, count) for count in SIZES[1:]), *((4, count) for count in FOUR_SIZES[1:])],
)
def test_cells_and_leaves_are_numpys(gpu: Any, axes: int, count: int) -> None:
    check_octree(gpu, some_codes(count, axes), axes=axes)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize(
    "ends",
    [[0], [-1], [0, 1], [0, -1], ["cell", "next cell"], ["half", "other half"], [0, "half", -1]],
    ids=str,
)
def test_cells_of_extreme_codes_are_numpys(gpu: Any, axes: int, ends: list[Any]) -> None:
    half, full = 1 << (8 * axes - 1), 1 << axes
    names = {"half": half - 1, "other half": half, "cell": full - 1, "next cell": full}
    codes = [names.get(end, end) % (2 * half) for end in ends]
    check_octree(gpu, np.array(codes, np.int32 if axes == 3 else np.int64), axes=axes)


@pytest.mark.parametrize("axes", AXES)
def test_full_cells_are_numpys(gpu: Any, axes: int) -> None:
    codes = np.arange(3 << (2 * axes), dtype=np.int32 if axes == 3 else np.int64)
    check_octree(gpu, codes, axes=axes)


@pytest.mark.parametrize("axes", AXES)
def test_errors_that_are_rounding_only_are_numpys(gpu: Any, axes: int) -> None:
    """A cell's is no greater than that of the cell around it."""
    codes, rng = some_codes(3000, axes), np.random.default_rng(0)
    place = np.array([[1013], [-299], [1531], [-699]][:axes], np.float32)
    coordinates = np.repeat(place, len(codes), axis=1)
    points = weighted_points(coordinates, rng.integers(1, 1 << 21, len(codes)))
    errors = octree.running_sums(points).squared_error(np.arange(2900), np.arange(2900) + 9)
    assert (errors != 0).mean() > 0.05
    check_octree(gpu, codes, points=points, axes=axes)
