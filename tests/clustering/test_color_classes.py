"""Pixels of a kind get palette entries of that kind; kept colors are kept bit for bit."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pictures import photo, soft_photo

from quantgpu import quantize
from quantgpu.clustering.color_classes import (
    COLOR_CLASSES,
    ColorClasses,
    make_opaque,
    nearest_grays,
)
from quantgpu.clustering.points import weighted_points
from quantgpu.color.spaces import COLOR_SPACES, WHITE_SHARE, grid_points
from quantgpu.errors import UsageError

RGBA = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(4)))


@pytest.mark.parametrize("color_space", COLOR_SPACES)
@pytest.mark.parametrize("k", [2, 5, 30, 256])
def test_opaque_pixels_stay_opaque_and_clear_pixels_stay_clear(k: int, color_space: str) -> None:
    picture = soft_photo()
    found = quantize(picture, k, color_space=color_space, device="cpu").to_array()
    before, after = picture[..., 3], found[..., 3]
    assert (after[before == 255] == 255).all()
    assert (after[before == 0] == 0).all()
    assert {0, 255} < set(before.flat)


@given(RGBA, st.integers(2, 20), st.sampled_from(["none", "balanced"]))
def test_any_picture_has_its_opaque_and_clear_pixels_kept(
    picture: NDArray[np.uint8], k: int, effort: str
) -> None:
    picture[::2, :, 3] |= 0b1111_1100
    picture[:, ::3, 3] = 0
    k = min(k, picture[..., 0].size)
    found = quantize(picture, k, effort=effort, device="cpu")
    result = found.to_array()
    if k > 1:
        assert (result[picture[..., 3] == 0][:, 3:] == 0).all()
    if k > 1 and result.shape[-1] == 4:
        assert (result[picture[..., 3] == 255][:, 3] == 255).all()
    assert len(np.unique(found.palette.colors, axis=0)) == len(found.palette)


def test_hidden_colors_cost_nothing() -> None:
    picture = soft_photo()
    noise = picture.copy()
    clear = noise[..., 3] == 0
    noise[clear, :3] = np.random.default_rng(0).integers(0, 256, (clear.sum(), 3))
    plain, noisy = (quantize(p, 20, device="cpu") for p in (picture, noise))
    np.testing.assert_array_equal(plain.palette.colors, noisy.palette.colors)
    np.testing.assert_array_equal(plain.index, noisy.index)
    assert (plain.palette.colors == 0).all(axis=1).sum() == 1


def test_an_opaque_picture_with_alpha_is_the_picture_without() -> None:
    picture = photo()
    opaque = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    plain, found = (quantize(p, 20, device="cpu") for p in (picture, opaque))
    np.testing.assert_array_equal(plain.palette.colors, found.palette.colors)
    np.testing.assert_array_equal(plain.index, found.index)


def test_transparent_colors_come_first_in_the_palette() -> None:
    alphas = quantize(soft_photo(), 64, device="cpu").palette.colors[:, 3].tolist()
    assert alphas == sorted(alphas)


def test_few_colors_with_alpha_are_lossless() -> None:
    picture = np.array([[[9, 8, 7, 3], [1, 2, 3, 255], [1, 2, 3, 254], [7, 7, 7, 0]]], np.uint8)
    found = quantize(picture, 4, device="cpu")
    picture[0, 3] = 0
    np.testing.assert_array_equal(found.to_array(), picture)
    assert found.squared_error == 0


def test_the_error_is_what_is_seen_on_black_and_on_white() -> None:
    picture = soft_photo()
    found = quantize(picture, 12, device="cpu")

    def on(level: int, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        share = pixels[..., 3:].astype(float) / 255
        laid: NDArray[np.float64] = np.floor(pixels[..., :3] * share + level * (1 - share) + 0.5)
        return laid

    errors = [((on(b, picture) - on(b, found.to_array())) ** 2).sum() for b in (0, 255)]
    assert found.squared_error == sum(errors) // 2


@pytest.mark.parametrize("color_space", COLOR_SPACES)
@pytest.mark.parametrize("effort", ["none", "fast", "balanced"])
@pytest.mark.parametrize("k", [3, 8, 64, 256])
def test_kept_colors_are_in_the_palette_exactly(k: int, effort: str, color_space: str) -> None:
    keep = ["#0000ff", "#fefe02", "#010203"]
    colors = np.array([[0, 0, 255], [254, 254, 2], [1, 2, 3]], np.uint8)
    found = quantize(photo(), k, keep=colors, effort=effort, color_space=color_space, device="cpu")
    assert set(keep) <= set(found.palette.hex())
    assert len(set(found.palette.hex())) == k


def test_pixels_of_a_kept_color_come_out_unchanged() -> None:
    picture = photo()
    picture[5:8, 5:9] = (0, 0, 254)
    picture[9, 9] = (0, 0, 255)
    keep = [(0, 0, 255), (0, 0, 254)]
    found = quantize(picture, 8, keep=keep, color_space="oklab", device="cpu").to_array()
    assert (found[5:8, 5:9] == (0, 0, 254)).all()
    assert found[9, 9].tolist() == [0, 0, 255]


def test_the_others_are_optimized_around_kept_colors() -> None:
    """A kept color in the middle of a cluster leaves the other free to serve the rest."""
    rng = np.random.default_rng(0)
    near = rng.integers(100, 104, (500, 3))
    far = rng.integers(200, 204, (500, 3))
    picture = np.concatenate([near, far]).astype(np.uint8)
    found = quantize(picture, 2, keep=[(101, 101, 101)], device="cpu")
    assert found.palette.colors[0].tolist() == [101, 101, 101]
    np.testing.assert_allclose(found.palette.colors[1], far.mean(axis=0), atol=1)


def test_kept_colors_that_do_not_occur_stay_although_nothing_is_nearest_to_them() -> None:
    found = quantize(photo(), 4, keep=[(255, 0, 255)], device="cpu")
    assert "#ff00ff" in found.palette.hex()
    assert len(found.palette) == 4


def test_few_colors_and_kept_ones_are_all_in_the_palette_if_there_is_room() -> None:
    picture = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    assert len(quantize(picture, 3, keep=[(0, 0, 0)], device="cpu").palette) == 3
    both = quantize(picture * 2, 4, keep=[(0, 0, 0)], device="cpu")
    assert both.palette.hex() == ["#000000", "#010203", "#040506", "#070809"]
    assert both.squared_error == 0


def test_more_kept_colors_than_k_are_refused_with_both_numbers() -> None:
    with pytest.raises(UsageError, match=r"3 colors to keep are more than k = 2"):
        quantize(photo(), 2, keep=[(0, 0, 0), (1, 1, 1), (2, 2, 2), (1, 1, 1)])


@pytest.mark.parametrize("snap", [0, -0.1, 1.5, float("nan"), "0.1"])
def test_a_share_outside_its_range_is_refused(snap: Any) -> None:
    with pytest.raises(UsageError, match="snap"):
        quantize(photo(), 2, snap=snap)


@pytest.mark.parametrize("color_space", COLOR_SPACES)
def test_flat_colors_come_out_unchanged(color_space: str) -> None:
    picture = photo(100, 100)
    flat = {(17, 33, 77): slice(0, 10), (18, 33, 77): slice(10, 14), (200, 1, 9): slice(14, 15)}
    for color, rows in flat.items():
        picture[rows] = color
    found = quantize(picture, 6, snap=0.04, color_space=color_space, device="cpu").to_array()
    assert (found[:10] == (17, 33, 77)).all()
    assert (found[10:14] == (18, 33, 77)).all()
    assert quantize(picture, 6, snap=0.1, device="cpu").to_array()[14, 0].tolist() != [200, 1, 9]


@pytest.mark.parametrize("share", [0.07, np.float64(0.07)])
def test_a_share_is_the_decimal_number_that_was_written(share: float) -> None:
    """0.07 * 100 is more than 7 in binary."""
    picture = [(100, 2, 3)] * 7 + [(100 + i, 2, 3) for i in range(1, 94)]
    assert quantize(picture, 2, snap=share, device="cpu").palette.hex()[0] == "#640203"


def test_kept_colors_are_no_less_than_all_where_there_are_fewer_pixels() -> None:
    found = quantize([(1, 2, 3)], keep=[(4, 5, 6), (7, 8, 9)], device="cpu")
    assert found.palette.hex() == ["#010203", "#040506", "#070809"]
    assert found.index.tolist() == [0]


def test_of_too_many_flat_colors_the_most_frequent_are_kept() -> None:
    picture = np.repeat(np.arange(1, 8, dtype=np.uint8)[:, None] * 30, 3, axis=1)
    picture = np.repeat(picture, [9, 2, 8, 3, 7, 4, 1], axis=0)
    found = quantize(picture, 3, snap=0.01, device="cpu").palette.colors[:, 0]
    assert found.tolist() == [30, 90, 150]


@pytest.mark.parametrize("color_space", COLOR_SPACES)
@pytest.mark.parametrize("k", [2, 4, 20, 60])
def test_locked_grays_stay_gray(k: int, color_space: str) -> None:
    picture = photo()
    picture[20:, 20:60] = picture[20:, 20:60, :1]
    is_gray = COLOR_CLASSES["gray"].holds(picture.reshape(-1, 3)).reshape(picture.shape[:2])
    plain = quantize(picture, k, color_space=color_space, device="cpu").to_array()
    locked = quantize(picture, k, color_space=color_space, lock_grays=True, device="cpu").to_array()
    assert (locked[is_gray] == locked[is_gray][:, :1]).all()
    assert k > 4 or not (plain[is_gray] == plain[is_gray][:, :1]).all()


def test_locked_grays_and_alpha_hold_together() -> None:
    picture = soft_photo()
    picture[20:, 20:60, :3] = picture[20:, 20:60, :1]
    found = quantize(picture, 30, lock_grays=True, device="cpu").to_array()
    grays = (picture[..., 0] == picture[..., 1]) & (picture[..., 1] == picture[..., 2])
    assert (found[grays][:, :2] == found[grays][:, 1:3]).all()
    assert (found[picture[..., 3] == 255][:, 3] == 255).all()


@pytest.mark.parametrize("k", [2, 3, 7])
def test_there_is_an_opaque_gray_for_opaque_grays_where_other_grays_are_more(k: int) -> None:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (40, 16, 4)).astype(np.uint8)
    picture[::2, :, 3] = 0
    picture[5::10, ::3, 1:3] = picture[5::10, ::3, :1]
    picture[5, :2] = [[90, 90, 90, 255], [200, 200, 200, 255]]
    grays = (picture[..., :1] == picture[..., 1:3]).all(axis=2)
    for color_space in COLOR_SPACES:
        found = quantize(
            picture, k, color_space=color_space, effort="none", lock_grays=True, device="cpu"
        ).to_array()
        assert (found[grays][:, :1] == found[grays][:, 1:3]).all()
        assert (found[picture[..., 3] == 255][:, 3] == 255).all()


def test_opaque_comes_before_gray_where_no_palette_color_is_both() -> None:
    colors = np.array([[9, 9, 9, 255], [9, 9, 9, 0]], np.uint8)
    space = COLOR_SPACES["srgb"]
    points = weighted_points(space.points(colors), np.ones(2, np.int64))
    entries = np.array([[9, 9, 9, 254], [200, 0, 0, 255]], np.uint8)
    kinds = ColorClasses(["opaque", "gray"], colors)
    assert kinds.assign(points, grid_points(entries, space), entries).tolist() == [1, 0]


def test_the_nearest_gray_is_the_nearest() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (50, 3)).astype(np.uint8)
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    for space in COLOR_SPACES.values():
        found = nearest_grays(colors, space)
        distances = ((grid_points(colors, space)[:, None] - grid_points(levels, space)) ** 2).sum(2)
        np.testing.assert_array_equal(found[:, 0], distances.argmin(axis=1))


def test_the_nearest_opaque_color_has_none_around_it_that_is_nearer_by_a_grid_step() -> None:
    """It is not the same color without what lies behind it, which looks otherwise."""
    colors = np.random.default_rng(0).integers(0, 256, (50, 4)).astype(np.uint8)
    around = np.array(list(product((-1, 0, 1), repeat=3)))
    for space in COLOR_SPACES.values():
        found = make_opaque(colors, space)
        assert (found[:, 3] == 255).all()
        others = np.clip(found[:, None, :3].astype(int) + around, 0, 255).reshape(-1, 3)
        opaque = np.insert(others, 3, 255, axis=1).astype(np.uint8)
        grid = grid_points(opaque, space).reshape(50, 27, 4)
        distances = np.sqrt(((grid - grid_points(colors, space)[:, None]) ** 2).sum(2))
        assert (distances[:, 13] - distances.min(axis=1) < 1).all()  # grid steps
    half = np.array([[0, 0, 0, 128]], np.uint8)
    assert (abs(make_opaque(half, COLOR_SPACES["srgb"]) - 255 * WHITE_SHARE / 2) < 1)[0, :3].all()


def test_kinds_do_not_matter_where_no_palette_color_is_of_them() -> None:
    colors = np.array([[9, 9, 9], [10, 9, 9], [200, 9, 9]], np.uint8)
    space = COLOR_SPACES["srgb"]
    points = weighted_points(space.points(colors), np.ones(3, np.int64))
    kinds = ColorClasses(["gray"], colors)
    entries = np.array([[12, 9, 9], [199, 9, 9]], np.uint8)
    labels = kinds.assign(points, grid_points(entries, space), entries)
    assert labels.tolist() == [0, 0, 1]
    entries = np.array([[12, 9, 9], [250, 250, 250]], np.uint8)
    labels = kinds.assign(points, grid_points(entries, space), entries)
    assert labels.tolist() == [1, 0, 0]
