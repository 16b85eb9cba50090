"""How good a palette is: the definitions over all pixels, and the same number everywhere."""

from __future__ import annotations

import decimal
import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from flat import cluster
from pictures import photo

from quantgpu import quantize
from quantgpu.histogram import Histogram
from quantgpu.metrics.ciede2000 import delta_e, lab
from quantgpu.metrics.comparison import ciede2000
from quantgpu.metrics.palette_error import CHUNK, QUALITIES, decibels, squared_error
from quantgpu.palette import Palette, of_channels
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.pixels import Pixels

PHOTO = photo()


def clustered(k: int) -> tuple[Histogram, Palette, Any]:
    histogram = count_colors(Pixels(PHOTO))
    palette, labels = cluster(histogram, k, effort="fast")
    return histogram, palette, labels


@pytest.mark.parametrize("k", [1, 7, 200])
def test_values_are_those_of_the_result_and_of_the_pixels(k: int) -> None:
    histogram, palette, labels = clustered(k)
    result = quantize(PHOTO, k, effort="fast", perceptual=False, dither="none", device="cpu")
    assert int(squared_error(histogram, palette, labels)) == result.squared_error
    assert QUALITIES["mse"].measure(histogram, 1)(palette, labels) == result.mse
    assert QUALITIES["psnr"].measure(histogram, 1)(palette, labels) == result.psnr
    mean = ciede2000(PHOTO, result.to_array()).mean
    assert QUALITIES["de"].measure(histogram, 1)(palette, labels) == pytest.approx(mean, abs=5e-7)


def test_difference_is_the_mean_over_pixels_not_over_colors() -> None:
    colors = np.array([[10, 0, 0], [10, 0, 0], [10, 0, 0], [200, 250, 30]], np.uint8)
    histogram = count_colors(Pixels(colors))
    palette, labels = Palette(np.array([[10, 0, 5], [200, 250, 30]], np.uint8)), np.array([0, 1])
    [expected] = delta_e(lab(colors[:1]), lab(palette.colors[:1]))
    found = QUALITIES["de"].measure(histogram, 1)(palette, labels)
    assert found == round(expected, 6) * 3 / 4


def test_what_is_not_opaque_is_seen_on_black_and_on_white() -> None:
    colors = np.array([[200, 100, 0, 128], [9, 9, 9, 255], [0, 0, 0, 0]], np.uint8)
    entries = np.array([[0, 100, 200, 64], [9, 9, 9, 255], [0, 0, 0, 0]], np.uint8)
    histogram = count_colors(Pixels(colors))
    order = [[tuple(color) for color in colors.tolist()].index(tuple(color))
             for color in histogram.colors.tolist()]  # fmt: skip
    views = [[[100, 50, 0], [0, 25, 50]], [[227, 177, 127], [191, 216, 241]]]
    on_black, on_white = (
        delta_e(*(lab(np.array([color], np.uint8)) for color in view))[0] for view in views
    )
    found = QUALITIES["de"].measure(histogram, 1)(Palette(entries), np.array(order))
    assert found == pytest.approx((on_black + on_white) / 2 / 3, abs=1e-6)


@pytest.mark.parametrize("channels", [(3, 4), (4, 3), (4, 4)])
def test_opaque_colors_differ_by_as_much_with_an_alpha(channels: tuple[int, int]) -> None:
    histogram, palette, labels = clustered(9)
    expected = [quality.measure(histogram, 1)(palette, labels) for quality in QUALITIES.values()]
    histogram = replace(histogram, channels=channels[0])
    palette = Palette(of_channels(palette.colors, channels[1]))
    found = [quality.measure(histogram, 1)(palette, labels) for quality in QUALITIES.values()]
    assert found == expected


def test_neither_threads_nor_chunks_change_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    histogram, palette, labels = clustered(9)
    expected = QUALITIES["de"].measure(histogram, 1)(palette, labels)
    for chunk, threads in ((7, 1), (100, 3), (CHUNK, 2)):
        monkeypatch.setattr("quantgpu.metrics.palette_error.CHUNK", chunk)
        assert QUALITIES["de"].measure(histogram, threads)(palette, labels) == expected


@pytest.mark.parametrize(
    ("error", "pixels", "expected"),
    [
        (0, 5, math.inf),
        (3 * 255**2, 1, 0.0),
        (3 * 255**2, 100, 20.0),
        (3 * 255**2 * 10**9, 10**9, 0.0),
        (1, 10**9, 10 * math.log10(3 * 255**2 * 10**9)),
    ],
)
def test_decibels_are_those_of_the_definition(error: int, pixels: int, expected: float) -> None:
    assert decibels(error, pixels) == pytest.approx(expected, rel=1e-15)


def test_decibels_do_not_depend_on_the_callers_decimal_settings() -> None:
    expected = decibels(12_345, 678)
    with decimal.localcontext() as context:
        context.prec = 3
        context.traps[decimal.Inexact] = True
        assert decibels(12_345, 678) == expected
    assert expected == pytest.approx(10 * math.log10(255**2 * 3 * 678 / 12_345), rel=1e-15)


@pytest.mark.parametrize("name", QUALITIES)
def test_more_colors_are_better_and_have_less_error(name: str) -> None:
    quality = QUALITIES[name]
    measure = quality.measure(clustered(4)[0], 2)
    worse, better = (measure(*clustered(k)[1:]) for k in (4, 60))
    assert (better > worse) == quality.rises
    errors = [quality.log_error(Decimal(value)) for value in (worse, better)]
    fall = errors[0] - errors[1]
    assert Decimal("0.5") < fall / (quality.power * Decimal(60 / 4).ln()) < 2
    assert not quality.log_error(Decimal(math.inf if quality.rises else 0)).is_finite()


def test_logarithms_of_decibels_are_those_of_the_squared_error() -> None:
    histogram, palette, labels = clustered(12)
    in_squares, in_decibels = (
        QUALITIES[name].log_error(Decimal(QUALITIES[name].measure(histogram, 1)(palette, labels)))
        for name in ("mse", "psnr")
    )
    assert float(in_squares - in_decibels) == pytest.approx(math.log(3 * 255**2), abs=1e-12)
