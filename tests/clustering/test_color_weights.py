"""Rare and saturated colors: which are raised, by how much, and what comes of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import photo

from quantgpu import quantize
from quantgpu.clustering.color_weights import (
    BOOST_SCALE,
    FEW_COLORS,
    GRAY,
    boost_rare_colors,
    cell_density,
    color_cells,
)
from quantgpu.clustering.points import WEIGHT_LIMIT, cap_weights
from quantgpu.errors import UsageError
from quantgpu.histogram import Histogram
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.pixels import Pixels


def raised_of(found: Histogram, k: int) -> NDArray[np.int64]:
    weights: NDArray[np.int64] = boost_rare_colors(
        found.colors, found.counts, cap_weights(found.counts), k
    )
    return weights


@pytest.mark.parametrize("k", [2, FEW_COLORS, FEW_COLORS + 1, 16])
def test_weights_are_those_of_the_definition(k: int) -> None:
    found = count_colors(Pixels(photo()))
    cells = color_cells(found.colors).tolist()
    masses = np.bincount(cells, found.counts, 4096)
    density = cell_density(masses.astype(float)).tolist()
    least = min(density[cell] for cell in cells)
    power = 0.75 if k <= FEW_COLORS else 0.5
    weights = raised_of(found, k)
    for color, cell, count, weight in zip(
        found.colors.tolist(), cells, found.counts.tolist(), weights.tolist(), strict=True
    ):
        factor = BOOST_SCALE * (least / density[cell]) ** power
        expected = count * factor * (GRAY + (max(color) - min(color)) ** 2 // 255)
        assert math.isclose(weight, expected, rel_tol=1e-4), color


def test_rare_colors_are_raised_and_saturated_ones_more() -> None:
    gray, red, rare = (120, 120, 120), (200, 20, 20), (20, 200, 20)
    picture = np.array([gray] * 5000 + [red] * 5000 + [rare] * 50, np.uint8)[None]
    found = count_colors(Pixels(picture))
    each = {
        tuple(color): weight / count
        for color, weight, count in zip(
            found.colors.tolist(), raised_of(found, 4).tolist(), found.counts.tolist(), strict=True
        )
    }
    assert each[gray] < each[red] < each[rare]


def test_weights_of_the_largest_pictures_do_not_overflow() -> None:
    """A thousand gigapixels of each of very many colors."""
    keys = np.arange(0, 1 << 24, 97)
    found = Histogram(keys, np.full(len(keys), 10**12))
    weights = cap_weights(found.counts)
    assert int(weights.sum()) < WEIGHT_LIMIT
    sums = boost_rare_colors(found.colors, found.counts, weights, 3)
    assert sums.min() > 0
    assert float(sums.sum()) == pytest.approx(sums.astype(float).sum())


def scene_with_sign(area: int = 30) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(120, 160, 3): a sky, hills and grain in muted colors, with a red sign of about `area`."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:120, 0:160]
    picture = np.stack([150 - y / 3 + x / 9, 160 - y / 4 + x / 12, 190 - y / 1.5], axis=-1)
    picture[y > 70 + 12 * np.sin(x / 20)] = (70, 84, 50)
    picture += rng.normal(0, 9, picture.shape)
    sign = (y - 40) ** 2 + (x - 100) ** 2 < area / np.pi
    picture[sign] = np.array((215, 25, 30)) + rng.normal(0, 9, (sign.sum(), 3))
    return picture.clip(0, 255).astype(np.uint8), sign


def off(picture: NDArray[np.uint8], part: NDArray[np.bool_], **options: Any) -> float:
    """How far the mean color of a part is from where it was, in levels."""
    found = quantize(picture, dither="none", device="cpu", **options).to_array()
    return float(np.linalg.norm(found[part].mean(axis=0) - picture[part].mean(axis=0)))


@pytest.mark.parametrize("color_space", ["srgb", "oklab"])
@pytest.mark.parametrize("effort", ["fast", "balanced", "best"])
@pytest.mark.parametrize("k", [4, 8])
def test_a_small_red_sign_stays_red(k: int, effort: str, color_space: str) -> None:
    picture, sign = scene_with_sign()
    assert 0.001 < sign.mean() < 0.002
    options: dict[str, Any] = {"k": k, "effort": effort, "color_space": color_space}
    assert off(picture, sign, salient=True, **options) < 10
    assert off(picture, ~sign, salient=True, **options) < 3
    if k == 4:
        assert off(picture, sign, **options) > 100


def test_the_rest_of_the_picture_stays_good() -> None:
    picture, _ = scene_with_sign()
    for k in (4, 8, 16):
        plain, salient = (
            quantize(picture, k, salient=flag, dither="none", device="cpu").mse
            for flag in (False, True)
        )
        assert salient < 1.05 * plain


def test_the_textbooks_method_raises_nothing() -> None:
    with pytest.raises(UsageError, match="counts all pixels alike; with salient use 'fast'"):
        quantize(photo(), 3, effort="none", salient=True, device="cpu")
