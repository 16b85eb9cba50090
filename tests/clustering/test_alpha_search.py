"""Opaque colors and the others are searched apart, and the exact error decides."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pictures import naive_assignment, soft_photo

from quantgpu import quantize
from quantgpu.clustering import cluster
from quantgpu.clustering.alpha_search import (
    ALPHA,
    OpacitySplit,
    are_opaque,
    has_soft_edges,
    lloyd_by_opacity,
    search_opaque_count,
    split_by_opacity,
)
from quantgpu.clustering.coarse_to_fine import Level
from quantgpu.clustering.kmeans import cluster_sums, step_to_means
from quantgpu.clustering.points import Points, weighted_points
from quantgpu.clustering.seeding import SEEDINGS
from quantgpu.color.morton import morton_codes, order_of
from quantgpu.color.spaces import COLOR_SPACES, grid_points

SPACE = COLOR_SPACES["srgb"]
LEVEL = Level(12, 500, 6, 5, 0)


def soft_edge(height: int = 40, width: int = 91, seed: int = 3) -> NDArray[np.uint8]:
    """(height, width, 4): noise that fades out, with two clear and two opaque columns."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    planes = [90 + 140 * y / height, 30 + 60 * x / width, 200 - 3 * y]
    colors = np.stack(planes, axis=-1) + rng.integers(-30, 31, (height, width, 3))
    alpha = np.clip(255 * (x - 1) / (width - 3), 0, 255)
    picture: NDArray[np.uint8] = np.clip(np.dstack([colors, alpha]), 0, 255).astype(np.uint8)
    return picture


def unique_points(picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Points, Any]:
    """Morton-sorted colors of a picture, their points, and their codes."""
    colors, counts = np.unique(picture.reshape(-1, 4), axis=0, return_counts=True)
    order = order_of(codes := morton_codes(colors))
    colors = np.ascontiguousarray(colors[order])
    return colors, weighted_points(SPACE.points(colors), counts[order]), codes[order]


def both_sides(picture: NDArray[np.uint8]) -> OpacitySplit:
    colors, points, codes = unique_points(picture)
    return split_by_opacity(points, codes, colors[:, 3] == 255, len(colors))


def naive_error_apart(both: OpacitySplit, centers: NDArray[np.float32]) -> int:
    """The weighted squared error by the definition."""
    error = 0
    for points, usable in (
        (both.opaque, centers[are_opaque(centers, both)]),
        (both.others, centers),
    ):
        nearest = usable[naive_assignment(points, usable)].astype(np.int64)
        differences = points.columns[:-1].T.astype(np.int64) - nearest
        error += int((points.weights * (differences**2).sum(axis=1)).sum())
    return error


def start(both: OpacitySplit, opaque: int, others: int, seed: int = 0) -> NDArray[np.float32]:
    """First centers: so many on opaque points, and so many on others."""
    rng = np.random.default_rng(seed)
    drawn = [SEEDINGS["random"](p, n, rng) for p, n in zip(both, (opaque, others), strict=True)]
    return np.concatenate(drawn)


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 3), st.integers(0, 9))
def test_steps_apart_lower_the_error_and_tell_it(
    opaque: int, others: int, fixed: int, seed: int
) -> None:
    both = both_sides(soft_edge(7, 13, seed))
    first = start(both, opaque, others, seed)
    fixed = min(fixed, len(first))
    error, centers = lloyd_by_opacity(both, first, fixed)
    constant = sum(int((p.weights * (p.columns[:-1] ** 2).sum(axis=0)).sum()) for p in both)
    assert error + constant == naive_error_apart(both, centers) <= naive_error_apart(both, first)
    np.testing.assert_array_equal(centers[:fixed], first[:fixed])
    np.testing.assert_array_equal(are_opaque(centers, both), are_opaque(first, both))


def test_either_side_has_the_leaves_of_its_points() -> None:
    colors, points, codes = unique_points(soft_photo())
    opaque = colors[:, 3] == 255
    whole, few = (split_by_opacity(points, codes, opaque, most) for most in (len(colors), 100))
    for chosen, all_points, part in zip((opaque, ~opaque), whole, few, strict=True):
        np.testing.assert_array_equal(all_points.columns, points.columns[:, chosen])
        assert len(part) <= 100 < len(all_points)
        assert part.weights.sum() == points.weights[chosen].sum()
    assert set(few.opaque.columns[ALPHA]) == set(whole.opaque.columns[ALPHA])


@pytest.mark.parametrize(("opaque", "others"), [(1, 7), (4, 4), (7, 1)])
@pytest.mark.parametrize("fixed", [0, 1, 5])
def test_the_number_of_opaque_centers_is_found_from_any_other(
    opaque: int, others: int, fixed: int
) -> None:
    both = both_sides(soft_edge())
    first = start(both, opaque, others)
    found = search_opaque_count(
        both, first, LEVEL, SEEDINGS["random"], np.random.default_rng(0), fixed
    )
    assert naive_error_apart(both, found) <= naive_error_apart(both, first)
    np.testing.assert_array_equal(found[:fixed], first[:fixed])
    assert found.shape == first.shape
    assert fixed == 5 or are_opaque(found, both).sum() < 4


def test_few_points_on_a_side_take_no_more_centers_than_they_are() -> None:
    picture = soft_edge(5, 9)
    picture[:, 1:, 3] = 255
    picture[0, :3, 3] = 7
    for these in (picture, np.dstack([picture[..., :3], 255 - picture[..., 3]])):
        both = both_sides(these)
        few = min(len(both.opaque), len(both.others))
        first = start(both, 3, 3)
        found = search_opaque_count(
            both, first, LEVEL, SEEDINGS["random"], np.random.default_rng(0), 0
        )
        assert few <= 7
        assert naive_error_apart(both, found) <= naive_error_apart(both, first)


def naive_best(both: OpacitySplit, k: int) -> int:
    """The least error over all numbers of opaque centers, of plain steps from three starts each.

    The first center is clear.
    """
    errors = []
    clear = grid_points(np.zeros((1, 4), np.uint8), SPACE)
    for opaque, seed in product(range(1, k - 1), range(3)):
        centers = np.concatenate([clear, start(both, opaque, k - 1 - opaque, seed)])
        serving = np.flatnonzero(are_opaque(centers, both))
        for _ in range(30):
            labels = serving[naive_assignment(both.opaque, centers[serving])]
            own = cluster_sums(both.opaque, labels, k)
            rest = cluster_sums(both.others, naive_assignment(both.others, centers), k)
            centers = step_to_means(centers, own[0] + rest[0], own[1] + rest[1])
            centers[serving, ALPHA] = both.opaque.columns[ALPHA, 0]
            centers[:1] = clear
        errors.append(naive_error_apart(both, centers))
    return min(errors)


@pytest.mark.parametrize("k", [3, 5, 9])
@pytest.mark.parametrize("slope", [1, 3])
def test_few_colors_serve_soft_edges_no_worse_than_plain_steps_for_every_number(
    slope: int, k: int
) -> None:
    picture = soft_edge(17, 31)
    picture[..., 3] = np.minimum(picture[..., 3] * float(slope), 255)
    found = quantize(
        picture, k, color_space="srgb", perceptual=False, effort="best", dither="none", device="cpu"
    )
    both = both_sides(picture * (picture[..., 3:] > 0))
    entries = grid_points(found.palette.colors, SPACE)
    assert (found.palette.colors[0] == 0).all()
    assert naive_error_apart(both, entries) <= 1.002 * naive_best(both, k)


@pytest.mark.parametrize("k", [4, 8, 16, 32])
def test_few_colors_serve_soft_edges_better_than_a_search_that_does_not_know_of_them(
    k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = []
    for most in (32, 0):
        monkeypatch.setattr(cluster, "FEW_COLORS_LIMIT", most)
        found = quantize(
            soft_edge(), k, color_space="srgb", perceptual=False, dither="none", device="cpu"
        )
        errors.append(found.squared_error)
    assert errors[0] < errors[1]


@pytest.mark.parametrize(
    ("alphas", "soft"),
    [([0, 255], False), ([255, 255], False), ([3, 0], False), ([254, 255], True), ([1, 255], True)],
)
def test_soft_edges_are_opaque_colors_beside_half_transparent_ones(
    alphas: list[int], soft: bool
) -> None:
    colors = np.array([[1, 2, 3, alpha] for alpha in alphas], np.uint8)
    assert has_soft_edges(colors) == soft
