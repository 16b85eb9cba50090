"""Weights of pixels: what they follow, and what they do not depend on."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import photo
from PIL import Image

from quantgpu import quantize
from quantgpu.clustering.color_weights import DAMPING_SCALE, cell_density, damp_common_colors
from quantgpu.histogram import MOST, Histogram
from quantgpu.pixels import counting
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.perceptual import (
    BRIGHT,
    DARK,
    GAIN,
    HALF,
    LIGHTNESS,
    pixel_weights,
    rows_around,
    weight_of,
)
from quantgpu.pixels.pixels import Pixels


def naive_weights(picture: NDArray[np.uint8]) -> NDArray[np.int64]:
    """By the definition, in whole numbers, pixel by pixel."""
    light = picture.astype(int) @ LIGHTNESS
    height, width = light.shape
    busy = np.zeros((height, width), int)
    for y in range(height):
        for x in range(width):
            if x + 1 < width:
                busy[y, x] += abs(light[y, x + 1] - light[y, x])
            if y + 1 < height:
                busy[y, x] += abs(light[y + 1, x] - light[y, x])
    weights = np.zeros((height, width), int)
    for y in range(height):
        for x in range(width):
            activity = busy[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].sum()
            share = GAIN * (DARK + min(light[y, x], BRIGHT))
            weights[y, x] = max((2 * share + HALF + activity) // (2 * (HALF + activity)), 1)
    return weights


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 9), (9, 1), (2, 2), (17, 31)])
def test_weights_are_those_of_the_definition(shape: tuple[int, int]) -> None:
    for picture in (photo(*shape), np.random.default_rng(0).integers(0, 256, (*shape, 3))):
        levels = picture.astype(np.uint8)
        found = pixel_weights(levels, 0, shape[0]).reshape(shape)
        np.testing.assert_array_equal(found, naive_weights(levels))


def test_every_activity_and_lightness_is_rounded_like_whole_numbers() -> None:
    activity = np.arange(18 * 2040 + 1, dtype=np.int32)
    for light in range(0, BRIGHT + 2):
        share = GAIN * (DARK + min(light, BRIGHT))
        exact = (2 * share + HALF + activity) // (2 * (HALF + activity))
        found = weight_of(activity.astype(np.uint16), np.full(len(activity), light, np.int16))
        np.testing.assert_array_equal(found, np.maximum(exact, 1))


def test_a_light_pixel_in_a_smooth_area_has_the_greatest_weight() -> None:
    assert GAIN * (DARK + BRIGHT) == MOST * HALF
    weights = weight_of(np.zeros(3, np.uint16), np.array([0, BRIGHT, 2040], np.int16))
    assert weights.tolist() == [MOST * DARK // (DARK + BRIGHT) + 1, MOST, MOST]


def naive_density(colors: NDArray[np.uint8], counts: NDArray[np.int64], cell: list[int]) -> int:
    """Pixels in and around a cell, color by color."""
    total = 0
    for color, count in zip(colors.tolist(), counts.tolist(), strict=True):
        away = [abs(channel // 16 - place) for channel, place in zip(color, cell, strict=True)]
        if max(away) <= 1:
            total += count * 2 ** (3 - sum(away))
    return total


def test_common_colors_count_for_less_by_the_fourth_root_of_their_density() -> None:
    rng = np.random.default_rng(0)
    colors = np.unique(rng.integers(0, 80, (300, 3)).astype(np.uint8), axis=0)
    colors = np.concatenate([colors, np.array([[255, 255, 255], [255, 0, 255]], np.uint8)])
    counts = rng.integers(1, 500, len(colors))
    weights = rng.integers(1, 500, len(colors))
    found = damp_common_colors(colors, counts, weights)
    for color, weight, evenly in zip(colors.tolist(), weights, found, strict=True):
        density = naive_density(colors, counts, [channel // 16 for channel in color])
        assert evenly == weight * int(DAMPING_SCALE / density**0.25)


def test_densities_do_not_reach_around_the_cube() -> None:
    masses = np.zeros(4096)
    masses[0] = 1
    grid = cell_density(masses).reshape(16, 16, 16)
    assert grid[:2, :2, :2].ravel().tolist() == [8, 4, 4, 2, 4, 2, 2, 1]
    assert grid.sum() == 27


def test_rare_colors_get_more_of_the_palette() -> None:
    """A large yellow gradient and a small lilac one: both light, both smooth."""
    picture = np.full((400, 200, 3), (0, 200, 0), np.uint8)
    picture[:, :, 0] = np.linspace(100, 250, 200)
    picture[:8, :, 2] = 255
    blue = []
    for perceptual in (False, True):
        palette = quantize(picture, 40, perceptual=perceptual, device="cpu").palette.colors
        blue.append(int((palette[:, 2] > 128).sum()))
    assert blue[1] > blue[0]


def test_smooth_areas_count_fully_and_busy_ones_less() -> None:
    picture = np.full((20, 40, 3), 120, np.uint8)
    picture[:, 20:] = np.random.default_rng(0).integers(0, 256, (20, 20, 3))
    weights = pixel_weights(picture, 0, 20).reshape(20, 40)
    assert (weights[:, :17] == MOST).all()
    assert weights[1:-1, 22:-1].max() < MOST / 2


@pytest.mark.parametrize("batch", [1, 100, 700, 1 << 17])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", ["array", "image"])
def test_slabs_and_threads_change_no_weight(
    batch: int, threads: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = photo(37, 52)
    expected = count_colors(Pixels(picture), perceptual=True)
    assert expected.weights.sum() == naive_weights(picture).sum()
    monkeypatch.setattr(counting, "BATCH", batch)
    source = Image.fromarray(picture) if kind == "image" else picture
    assert_same(count_colors(Pixels(source), threads, perceptual=True), expected)


def assert_same(found: Histogram, expected: Histogram) -> None:
    for name in ("keys", "counts", "full_weights"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_counts_do_not_depend_on_weights() -> None:
    weighed, plain = (count_colors(Pixels(photo()), perceptual=flag) for flag in (True, False))
    np.testing.assert_array_equal(weighed.counts, plain.counts)
    assert plain.weights is None
    assert weighed.weights.min() > 0
    assert (weighed.weights <= MOST * weighed.counts).all()


def test_bins_that_are_full_are_emptied_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = count_colors(Pixels(photo()), perceptual=True)
    monkeypatch.setattr(counting, "FLUSH", 900)
    monkeypatch.setattr(counting, "BATCH", 400)
    assert_same(count_colors(Pixels(photo()), perceptual=True), expected)


def test_histograms_with_and_without_weights_add() -> None:
    weighed, plain = (count_colors(Pixels(photo()), perceptual=flag) for flag in (True, False))
    total = weighed + plain
    np.testing.assert_array_equal(total.counts, 2 * plain.counts)
    np.testing.assert_array_equal(total.weights, weighed.weights + MOST * plain.counts)


def test_dark_pixels_count_less_than_light_ones() -> None:
    picture = np.full((5, 40, 3), 20, np.uint8)
    picture[:, 20:] = 200
    weights = pixel_weights(picture, 0, 5).reshape(5, 40)
    assert weights[:, :15].max() < MOST / 3
    assert weights[:, 25:].min() == MOST


def test_a_smooth_area_gets_more_of_the_palette() -> None:
    smooth = np.repeat(np.arange(60, 120, dtype=np.uint8), 2)[None, :, None].repeat(60, 0)
    busy = np.random.default_rng(0).integers(0, 256, (60, 120, 1)).astype(np.uint8)
    picture = np.concatenate([smooth, busy]).repeat(3, axis=2)
    errors = []
    for perceptual in (False, True):
        found = quantize(picture, 12, perceptual=perceptual, device="cpu").to_array()
        errors.append(float(((found[:60].astype(int) - picture[:60]) ** 2).mean()))
    assert errors[1] < 0.7 * errors[0]


def test_a_list_of_colors_has_no_neighborhoods() -> None:
    colors = photo().reshape(-1, 3)
    plain, weighed = (quantize(colors, 9, perceptual=flag, device="cpu") for flag in (False, True))
    np.testing.assert_array_equal(plain.index, weighed.index)


def test_rows_around_end_with_the_picture() -> None:
    assert rows_around(0, 5, 9) == (0, 7)
    assert rows_around(5, 9, 9) == (4, 9)
    assert rows_around(0, 1, 1) == (0, 1)
