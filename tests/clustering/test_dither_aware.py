"""Centers for pixels that will be dithered."""

from typing import Any

import numpy as np
import pytest
from flat import cluster
from numpy.typing import NDArray
from pictures import photo, random_centers, random_points

from quantgpu.clustering import dither_aware
from quantgpu.clustering.dither_aware import (
    CENTER_STEPS,
    FARTHEST,
    LEAST_STRENGTH,
    MOST_STRENGTH,
    PIXELS_IN_A_ROW,
    dither_aware_centers,
    smoothness,
    strength_for,
    total_of,
)
from quantgpu.clustering.points import Points
from quantgpu.color.morton import morton_codes, order_of
from quantgpu.color.spaces import COLOR_SPACES, grid_points
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.pixels import Pixels


def naive(points: Points, strength: list[int], centers: Any, fixed: int) -> NDArray[np.float32]:
    """Each color on its own, in Python's integers."""
    columns = [tuple(map(int, column)) for column in points.columns[:-1].T]
    current = [tuple(map(int, center)) for center in centers]
    errors = [(0,) * len(current[0])] * len(columns)
    for _ in range(CENTER_STEPS):
        mass = [0] * len(current)
        sums = [[0] * len(current[0]) for _ in current]
        for _ in range(PIXELS_IN_A_ROW):
            for each, (color, share) in enumerate(zip(columns, strength, strict=True)):
                shares = [(error * share + 32) // 64 for error in errors[each]]
                shares = [max(-FARTHEST, min(FARTHEST, part)) for part in shares]
                place = [a + b for a, b in zip(color, shares, strict=True)]
                gaps = [sum((a - b) ** 2 for a, b in zip(place, c, strict=True)) for c in current]
                nearest = gaps.index(min(gaps))
                errors[each] = tuple(a - b for a, b in zip(place, current[nearest], strict=True))
                weight = int(points.weights[each])
                mass[nearest] += weight
                for axis, value in enumerate(place):
                    sums[nearest][axis] += weight * value
        for number in range(fixed, len(current)):
            if mass[number]:
                current[number] = tuple(
                    (2 * total + mass[number]) // (2 * mass[number]) for total in sums[number]
                )
    return np.array(current, np.float32)


@pytest.mark.parametrize("axes", [3, 4])
@pytest.mark.parametrize("fixed", [0, 2])
def test_centers_are_those_of_the_definition(fixed: int, axes: int) -> None:
    points, centers = random_points(300, axes=axes), random_centers(7, axes=axes)
    weighed = np.random.default_rng(3).integers(1, 101, 300)
    smooth = np.full(300, 100)
    found = dither_aware_centers(points, np.arange(300), weighed, smooth, centers, fixed)
    strength = strength_for(weighed, smooth).tolist()
    np.testing.assert_array_equal(found, naive(points, strength, centers, fixed))


def test_colors_of_smooth_areas_are_followed_farther() -> None:
    weighed = np.arange(0, 1001)
    found = strength_for(weighed, np.full(1001, 1000))
    assert found[0] == LEAST_STRENGTH
    assert found[-1] == MOST_STRENGTH
    assert (np.diff(found) >= 0).all()
    assert found[700] == LEAST_STRENGTH
    assert found[900] == MOST_STRENGTH


def test_without_weights_nothing_is_smooth() -> None:
    plain, weighed = (count_colors(Pixels(photo()), perceptual=weigh) for weigh in (False, True))
    assert (strength_for(*smoothness(plain, True)) == LEAST_STRENGTH).all()
    assert (strength_for(*smoothness(weighed, False)) == LEAST_STRENGTH).all()


def test_flat_areas_are_smooth_and_grain_is_not() -> None:
    flat = np.full((30, 30, 3), (90, 120, 70), np.uint8)
    counted = count_colors(Pixels(flat), perceptual=True)
    assert strength_for(*smoothness(counted, True)).tolist() == [MOST_STRENGTH]
    grain = np.random.default_rng(0).integers(0, 256, (30, 30, 3)).astype(np.uint8)
    counted = count_colors(Pixels(grain), perceptual=True)
    assert (strength_for(*smoothness(counted, True)) == LEAST_STRENGTH).all()


def test_many_colors_are_followed_by_octree_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = count_colors(Pixels(photo(150, 150)), perceptual=True)
    space = COLOR_SPACES["oklab"]
    order = order_of(codes := morton_codes(counted.colors))
    points = Points(
        np.vstack([space.points(counted.colors[order]), np.ones((1, len(order)), np.float32)]),
        counted.counts[order],
    )
    weighed, smooth = (values[order] for values in smoothness(counted, True))
    centers = grid_points(counted.colors[:: len(order) // 5][:5], space)
    every = dither_aware_centers(points, codes[order], weighed, smooth, centers, 0)
    monkeypatch.setattr(dither_aware, "COLORS", (400, 10))
    few = dither_aware_centers(points, codes[order], weighed, smooth, centers, 0)
    assert not np.array_equal(few, every)
    assert np.abs(few - every).max() < 0.25 * np.abs(every - centers).max() + 40


def test_runs_are_added_up() -> None:
    found = total_of(np.array([1, 2, 3, 4, 5]), np.array([0, 2]), np.array([2, 5]))
    assert found.tolist() == [3, 12]


def test_palettes_for_dithering_spread() -> None:
    counted = count_colors(Pixels(photo()), perceptual=True)
    space = COLOR_SPACES["oklab"]

    def spread(dithered: bool) -> float:
        palette, _ = cluster(counted, 8, perceptual=True, dithered=dithered)
        assert len(palette) == 8
        centers = grid_points(palette.colors, space)
        return float(np.sqrt(((centers - centers.mean(axis=0)) ** 2).sum(axis=1)).mean())

    assert spread(True) > 1.02 * spread(False)


def test_centers_that_are_kept_and_palettes_to_choose_from_stay() -> None:
    counted = count_colors(Pixels(photo()), perceptual=True)
    kept = np.array([[1, 2, 3], [250, 0, 250]], np.uint8)
    palette, _ = cluster(counted, 6, keep=kept, dithered=True)
    rows = palette.colors.tolist()
    assert [1, 2, 3] in rows
    assert [250, 0, 250] in rows
    among = np.array([[0, 0, 0], [255, 255, 255], [250, 20, 3], [90, 60, 200]], np.uint8)
    one, other = (cluster(counted, 3, from_palette=among, dithered=d)[0] for d in (True, False))
    np.testing.assert_array_equal(one.colors, other.colors)
