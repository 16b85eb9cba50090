"""From centers to exactly K distinct 8-bit colors."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import naive_assignment, naive_error

from quantgpu import quantize
from quantgpu.clustering import rounding as settle_module
from quantgpu.clustering.points import Points, weighted_points
from quantgpu.clustering.problem import Problem
from quantgpu.clustering.rounding import round_to_palette, worst_served
from quantgpu.color.spaces import COLOR_SPACES, grid_points

SRGB = COLOR_SPACES["srgb"]


def points_of(colors: NDArray[np.uint8], weights: list[int] | None = None) -> Points:
    counts = np.array(weights or [1] * len(colors))
    return weighted_points(SRGB.to_grid(colors), counts)


def settled(
    points: Points, colors: NDArray[np.uint8], centers: NDArray[np.float32], k: int, steps: int
) -> tuple[NDArray[np.uint8], Any]:
    kept = np.empty((0, colors.shape[1]), np.uint8)
    return round_to_palette(Problem(points, colors, k, SRGB, kept), centers, steps)


def grays(*levels: int) -> NDArray[np.uint8]:
    return np.repeat(np.array(levels, np.uint8)[:, None], 3, axis=1)


def test_colors_that_rounding_made_equal_give_way_to_the_worst_served() -> None:
    colors = grays(10, 11, 12, 200, 250)
    centers = grid_points(grays(10, 10, 11), SRGB) + np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    found, labels = settled(points_of(colors), colors, centers.astype(np.float32), 3, 0)
    assert found[:, 0].tolist() == [10, 11, 250]
    assert labels.tolist() == [0, 1, 1, 2, 2]


def test_colors_that_nothing_is_nearest_to_give_way() -> None:
    colors = grays(10, 12, 200, 240)
    centers = grid_points(grays(11, 90, 220), SRGB)
    found, _ = settled(points_of(colors), colors, centers, 3, 0)
    assert found[:, 0].tolist() == [11, 200, 220]


@pytest.mark.parametrize("repairs", [1, 8])
@pytest.mark.parametrize("k", [1, 5, 29, 30])
def test_there_are_always_k_distinct_colors(
    k: int, repairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle_module, "MOST_REPAIRS", repairs)
    rng = np.random.default_rng(k)
    colors = np.unique(rng.integers(0, 4, (60, 3)).astype(np.uint8), axis=0)[:31]
    assert len(colors) == 31
    centers = np.zeros((k, 3), np.float32)
    points = points_of(colors)
    found, labels = settled(points, colors, centers, k, 3)
    assert len({tuple(color) for color in found.tolist()}) == k
    np.testing.assert_array_equal(labels, naive_assignment(points, grid_points(found, SRGB)))


@pytest.mark.parametrize("color_space", COLOR_SPACES)
@pytest.mark.parametrize("channels", [3, 4])
def test_colors_on_one_point_of_the_grid_are_told_apart(channels: int, color_space: str) -> None:
    """Dark ones are close in linear light, and all are where they are nearly clear."""
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 4 if channels == 3 else 256, (320, channels)).astype(np.uint8)
    colors[:, 3:] = 1
    most = len(np.unique(colors, axis=0))
    for k in (most - 1, most * 2 // 3):
        keep = colors[: k // 3]
        found = quantize(colors, k, keep=keep, color_space=color_space, device="cpu").palette
        assert len(np.unique(found.colors, axis=0)) == len(found) == k


def test_settling_lowers_the_error_of_the_rounded_palette() -> None:
    rng = np.random.default_rng(0)
    colors = np.unique(rng.integers(100, 140, (3000, 3)).astype(np.uint8), axis=0)
    points = points_of(colors)
    start = grid_points(colors[::100], SRGB)
    errors = []
    for steps in (0, 1, 6):
        found, _ = settled(points, colors, start, len(start), steps)
        errors.append(naive_error(points, grid_points(found, SRGB)))
    assert errors[0] > errors[1] > errors[2]


def test_the_worst_served_have_the_greatest_weighted_error() -> None:
    points = points_of(grays(0, 10, 20, 30, 30), [1, 100, 1, 1, 7])
    served_by = grid_points(grays(0, 11, 0, 30, 31), SRGB)
    nowhere = np.zeros(5, bool)
    assert worst_served(points, served_by, nowhere, 2).tolist() == [2, 1]
    assert worst_served(points, served_by, np.arange(5) == 2, 2).tolist() == [1, 4]
    tied = points_of(grays(5, 5, 5))
    served_by = grid_points(grays(6, 6, 6), SRGB)
    assert worst_served(tied, served_by, nowhere[:3], 2).tolist() == [0, 1]
