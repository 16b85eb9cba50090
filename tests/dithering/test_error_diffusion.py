"""Error diffusion on pictures: strengths, bands, what stays undisturbed."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import photo, soft_photo

from quantgpu import apply_palette, quantize
from quantgpu.color.spaces import LINEAR
from quantgpu.dithering import error_diffusion
from quantgpu.dithering.diffusion_matrices import DIFFUSION_MATRICES, FULL
from quantgpu.dithering.error_diffusion_plan import (
    BUSY,
    CLEAN,
    FARTHEST,
    GRADIENT,
    HALF,
    SMOOTH,
    local_strength,
    reach_of,
)
from quantgpu.pixels.perceptual import lightness, local_contrast

BLACK_AND_WHITE = [(0, 0, 0), (255, 255, 255)]


def strengths(strength: int, wanted: int, busy: list[int]) -> list[int]:
    """At such activities, for a color of such strengths."""
    active = np.array(busy, np.uint16)
    one, other = (np.full(len(busy), value, np.uint8) for value in (strength, wanted))
    found = local_strength(one, other, active)
    assert found.dtype == np.uint8
    return list(map(int, found))


def test_busy_areas_and_clean_gradients_take_more_than_smooth_ones() -> None:
    assert strengths(FULL, FULL, [0, HALF, 36_720]) == [CLEAN, (BUSY + SMOOTH) // 2, BUSY]
    busier = strengths(FULL, FULL, list(range(GRADIENT, 30_000, 37)))
    assert busier == sorted(busier)
    assert SMOOTH <= busier[0] < CLEAN


def test_colors_that_are_met_take_little_but_in_clean_gradients() -> None:
    at = [0, GRADIENT // 2, GRADIENT, 36_720]
    assert strengths(FULL, 0, at) == [CLEAN, (CLEAN + 1) // 2, 0, 0]
    assert strengths(FULL, 16, at)[-1] == (BUSY * 16 + 32) // 64
    assert strengths(0, 0, at) == [0] * 4
    assert strengths(32, 0, at)[0] == (CLEAN * 32 + 32) // 64


@pytest.mark.parametrize("band", [1, 100, 500])
@pytest.mark.parametrize("dither", ["adaptive", "stevenson-arce", "floyd-steinberg"])
def test_bands_do_not_matter(monkeypatch: pytest.MonkeyPatch, dither: str, band: int) -> None:
    for picture in (photo(19, 31), soft_photo(19, 31)):
        whole = quantize(picture, 9, dither=dither)
        with monkeypatch.context() as patch:
            patch.setattr(error_diffusion, "BAND", band)
            patch.setattr(error_diffusion, "BATCH", 70)
            banded = quantize(picture, 9, dither=dither)
        np.testing.assert_array_equal(banded.index, whole.index)
        assert banded.squared_error == whole.squared_error
        assert banded.counts.tolist() == whole.counts.tolist()


@pytest.mark.parametrize("level", [20, 77, 128, 201])
@pytest.mark.parametrize("dither", sorted(set(DIFFUSION_MATRICES) - {"adaptive", "atkinson"}))
def test_in_linear_light_a_flat_gray_keeps_its_mean(dither: str, level: int) -> None:
    flat = np.full((96, 96, 3), level, np.uint8)
    found = apply_palette(
        flat, BLACK_AND_WHITE, color_space="linear", dither=dither, dither_strength=1
    )
    assert abs(found.index[8:].mean() - LINEAR[level]) < 0.01


def test_errors_do_not_leak_across_clear_pixels() -> None:
    palette = np.array([(0, 0, 0, 255), (255, 255, 255, 255), (90, 80, 70, 128)], np.uint8)
    pictures = []
    for level in (30, 140):
        picture = soft_photo(40, 50)
        picture[..., 3] = 255
        picture[:, 20:24, 3] = 0
        picture[:, :20, :3] = level
        pictures.append(picture)
    for colors in (palette, np.concatenate([palette, np.zeros((1, 4), np.uint8)])):
        for dither in DIFFUSION_MATRICES:
            one, other = (
                apply_palette(picture, colors, dither=dither, dither_strength=1).index[:, 24:]
                for picture in pictures
            )
            np.testing.assert_array_equal(one, other)


def test_adaptive_leaves_text_on_a_flat_background_alone() -> None:
    picture = np.full((40, 60, 3), 240, np.uint8)
    picture[10:30, 20:23] = 20
    picture[10:30, 23] = 130
    picture[34:, :] = np.linspace(100, 160, 60).astype(np.uint8)[:, None]
    found = quantize(picture, 4, color_space="oklab", keep=[(240, 240, 240)]).to_array()
    assert (found[:33][(picture[:33] == 240).all(axis=2)] == 240).all()


def test_gradients_band_less_than_undithered_ones() -> None:
    ramp = np.linspace(40, 220, 256)[None, :, None] + np.linspace(-20, 20, 64)[:, None, None]
    picture = np.repeat(np.floor(ramp + 0.5), 3, axis=2).astype(np.uint8)

    def banding(**options: Any) -> float:
        gaps = quantize(picture, 6, **options).to_array()[..., 1] - picture[..., 1].astype(float)
        return float((gaps.reshape(8, 8, 32, 8).mean(axis=(1, 3)) ** 2).mean())

    assert banding() < 0.3 * banding(dither="none")
    assert banding(dither="floyd-steinberg") < 0.3 * banding(dither="none")


def test_errors_reach_as_far_as_the_loneliest_color() -> None:
    centers = np.array([[0, 0, 0], [3, 4, 0], [3, 4, 0], [100, 4, 0]], np.int32)
    assert reach_of(centers) == 98
    assert reach_of(np.array([[-2000, 0, 0], [2047, 2000, 2000]], np.int32)) == FARTHEST


def test_the_activity_of_slabs_is_that_of_the_whole() -> None:
    picture = photo(30, 20)
    whole: NDArray[np.uint16] = local_contrast(lightness(picture), 0, 30)
    part = local_contrast(lightness(picture[9:22]), 1, 10)
    np.testing.assert_array_equal(part, whole[10:20])
