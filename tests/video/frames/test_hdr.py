"""High dynamic range becomes sRGB by the stated rule."""

import numpy as np
import pytest

from quantgpu.video.frames.hdr import BT2020_TO_BT709, CURVES, hlg, pq, to_srgb


def gray(signal: float, transfer: int) -> int:
    """The level of a gray pixel."""
    pixels = to_srgb(np.full((1, 1, 3), round(signal * 65_535), np.uint16), transfer)
    assert np.ptp(pixels) == 0
    return int(pixels[0, 0, 0])


def test_the_curves_go_through_the_points_of_the_standards() -> None:
    # BT.2408-7, table 1: 203 cd/m2 is 58 % of PQ and 75 % of HLG
    assert pq(np.array([0.5807]))[0] == pytest.approx(1, abs=0.002)
    assert hlg(np.array([0.75]))[0] == pytest.approx(1)
    assert pq(np.array([1.0]))[0] == pytest.approx(10_000 / 203)
    # BT.2100-2, table 5: the two parts of the curve meet at a twelfth of the brightest light
    assert hlg(np.array([0.5]))[0] / hlg(np.array([1.0]))[0] == pytest.approx(1 / 12, rel=1e-4)


@pytest.mark.parametrize("transfer", CURVES)
def test_gray_stays_gray_and_brighter_stays_brighter(transfer: int) -> None:
    levels = [gray(step / 255, transfer) for step in range(256)]
    assert levels == sorted(levels)
    assert levels[0] == 0
    assert len(set(levels)) > 100


def test_light_up_to_the_knee_is_kept_and_white_is_a_little_below_srgbs() -> None:
    # a fifth of paper's light is 0.4845 of sRGB's signal; 40.6 cd/m2 are 0.4206 of PQ's
    assert pq(np.array([0.4206]))[0] == pytest.approx(0.2, abs=0.001)
    assert gray(0.4206, 16) == round(255 * (1.055 * 0.2 ** (1 / 2.4) - 0.055))
    assert gray(0.5807, 16) == gray(0.75, 18) == round(255 * (1.055 * 0.875 ** (1 / 2.4) - 0.055))
    assert 253 <= gray(1.0, 16) <= 255


def test_colors_keep_their_hue_and_those_out_of_reach_are_clipped() -> None:
    green = to_srgb(np.array([[[0, 30_000, 0]]], np.uint16), 16)[0, 0]
    assert green[0] == 0
    assert green[2] == 0
    assert green[1] > 50
    np.testing.assert_allclose(BT2020_TO_BT709.sum(axis=1), 1, atol=2e-4)
