"""Metrics: published values, definitions, scikit-image, and slabs that change nothing."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from image_files import noise
from pairs import PAIRS, Colors, both
from pictures import photo, soft_photo
from PIL import Image
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

import quantgpu
from quantgpu import api
from quantgpu.metrics import comparison, ssim
from quantgpu.metrics.ciede2000 import delta_e, lab

# CIEDE2000


@both
def test_mean_percentile_and_maximum_are_those_over_all_pixels(a: Colors, b: Colors) -> None:
    in_lab = (lab(picture.reshape(-1, 3)) for picture in (a, b))
    every = delta_e(*in_lab)
    found = comparison.ciede2000(a, b)
    assert found.mean == pytest.approx(every.mean(), rel=1e-12)
    assert found.percentile_95 == np.percentile(every, 95, method="inverted_cdf")
    assert found.maximum == every.max()


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 99, 100, 101])
def test_percentile_of_few_pixels(count: int) -> None:
    a, b = np.zeros((count, 1, 3), np.uint8), noise(count, 1, 3)
    every = delta_e(*(lab(picture.reshape(-1, 3)) for picture in (a, b)))
    found = comparison.ciede2000(a, b).percentile_95
    assert found == np.percentile(every, 95, method="inverted_cdf")


@pytest.mark.parametrize("wanted", [1, 7, 50, 400, 1000])
def test_largest_of_parts_is_largest_of_all_and_little_is_held(wanted: int) -> None:
    rng = np.random.default_rng(wanted)
    values, counts = rng.integers(0, 90, 400) / 3, rng.integers(1, 6, 400)
    largest = comparison.Largest(wanted)
    for start in range(0, 400, 23):
        largest.add(values[start : start + 23], counts[start : start + 23])
        assert len(largest.values) <= 2 * wanted + 23
    assert largest.least() == np.sort(np.repeat(values, counts))[-wanted]


# MSE, PSNR


@both
def test_errors_are_those_of_the_definitions(a: Colors, b: Colors) -> None:
    squared = (a.astype(float) - b.astype(float)) ** 2
    assert comparison.mse_channels(a, b) == pytest.approx(squared.mean(axis=(0, 1)), rel=1e-14)
    assert comparison.mse(a, b) == pytest.approx(squared.sum(axis=2).mean(), rel=1e-14)
    assert comparison.psnr(a, b) == pytest.approx(10 * math.log10(255**2 / squared.mean()))
    assert comparison.changed(a, b) == (a != b).any(axis=2).mean()
    counts = [len(np.unique(picture.reshape(-1, 3), axis=0)) for picture in (a, b)]
    assert list(comparison.colors(a, b)) == counts


@both
def test_errors_are_scikit_images(a: Colors, b: Colors) -> None:
    assert comparison.mse(a, b) / 3 == pytest.approx(mean_squared_error(a, b))
    assert comparison.psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b))


def test_error_is_that_of_the_quantized_picture() -> None:
    picture = quantgpu.quantize(photo(), 16, effort="fast", device="cpu")
    found = quantgpu.compare(photo(), picture.to_image())
    assert found.mse == picture.mse
    assert found.psnr == pytest.approx(picture.psnr, rel=1e-14)
    assert found.colors == (picture.colors_in, 16)


# All of them


@pytest.mark.parametrize("slab", [1, 7, 83, 1000])
def test_slabs_and_tiles_change_nothing(slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = PAIRS["grain"]
    whole = api.compare(a, b), comparison.difference_map(a, b)
    monkeypatch.setattr(comparison, "SLAB", slab)
    monkeypatch.setattr(ssim, "TILE", (5, 13))
    parts = api.compare(a, b), comparison.difference_map(a, b)
    assert parts[0].ssim == pytest.approx(whole[0].ssim, rel=1e-14)
    assert parts[0].ciede2000 == pytest.approx(whole[0].ciede2000, rel=1e-14)
    rounded = [
        dataclasses.replace(c, ssim=0, ciede2000=whole[0].ciede2000) for c in (parts[0], whole[0])
    ]
    assert rounded[0] == rounded[1]
    assert np.array_equal(parts[1], whole[1])


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "SLAB", 300)
    monkeypatch.setattr(ssim, "TILE", (5, 13))
    found = []
    for threads in (1, 2, 5):
        for module in (comparison, ssim):
            monkeypatch.setattr(module, "default_threads", lambda threads=threads: threads)
        found.append(api.compare(*PAIRS["grain"]))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (61, 83)])
def test_equal_pictures(shape: tuple[int, int]) -> None:
    found = quantgpu.compare(photo(*shape), photo(*shape))
    assert (found.mse, found.mse_channels, found.changed) == (0, (0, 0, 0), 0)
    assert found.psnr == math.inf
    assert found.ssim == 1
    assert found.ciede2000 == (0, 0, 0)
    assert (
        found.colors[0] == found.colors[1] == len(np.unique(photo(*shape).reshape(-1, 3), axis=0))
    )
    assert found.as_json()["psnr"] is None
    assert "PSNR infinite" in found.as_lines()


def test_one_pixel() -> None:
    found = quantgpu.compare([(255, 255, 255)], [(0, 0, 0)])
    assert found.mse_channels == (255**2,) * 3
    assert (found.mse, found.psnr, found.changed) == (3 * 255**2, 0, 1)
    assert found.ciede2000 == pytest.approx((100, 100, 100))
    c1 = 6.5025
    assert found.ssim == pytest.approx(c1 / (255**2 + c1))


def test_order_of_the_pictures_matters_only_for_colors() -> None:
    there, back = api.compare(*PAIRS["grain"]), api.compare(*PAIRS["grain"][::-1])
    assert back.colors == there.colors[::-1]
    assert back.ssim == pytest.approx(there.ssim, rel=1e-14)
    assert back.ciede2000 == pytest.approx(there.ciede2000, rel=1e-12)
    assert (back.mse, back.changed) == (there.mse, there.changed)


def test_fields_are_the_rows_of_the_table() -> None:
    assert [field.name for field in dataclasses.fields(comparison.Comparison)] == [
        *comparison.METRICS
    ]
    assert [*api.compare(*PAIRS["window"]).as_json()] == [*comparison.METRICS]


def test_images_files_and_arrays_that_are_views_are_taken(tmp_path: object) -> None:
    a, b = PAIRS["grain"]
    expected = quantgpu.compare(a, b)
    Image.fromarray(a).save(f"{tmp_path}/a.png")
    assert quantgpu.compare(f"{tmp_path}/a.png", Image.fromarray(b)) == expected
    turned = (picture.transpose(1, 0, 2).copy().transpose(1, 0, 2) for picture in (a, b))
    assert quantgpu.compare(*turned) == expected


def test_transparent_pixels_are_compared_on_white(tmp_path: object) -> None:
    picture = soft_photo()
    Image.fromarray(picture).save(f"{tmp_path}/a.png")
    on_white = Image.new("RGBA", (picture.shape[1], picture.shape[0]), "white")
    on_white.alpha_composite(Image.fromarray(picture))
    for image in (picture, Image.fromarray(picture), f"{tmp_path}/a.png"):
        assert quantgpu.compare(image, on_white.convert("RGB")).changed == 0


def test_sizes_that_differ_are_refused_with_both_named() -> None:
    with pytest.raises(quantgpu.UsageError, match="83 x 61 and 61 x 83"):
        quantgpu.compare(photo(61, 83), photo(83, 61))


def test_progress_names_each_metric() -> None:
    said: list[tuple[str, float]] = []
    api.compare(*PAIRS["window"], progress=lambda stage, share: said.append((stage, share)))
    assert [stage for stage, _ in said] == [*comparison.METRICS]
    assert said[0][1] == 0


@both
def test_map_counts_begun_tenths_and_is_black_only_where_colors_are_equal(
    a: Colors, b: Colors
) -> None:
    every = delta_e(*(lab(picture.reshape(-1, 3)) for picture in (a, b)))
    levels = comparison.difference_map(a, b)
    assert levels.shape == a.shape[:2]
    assert levels.dtype == np.uint8
    assert np.array_equal(levels.ravel(), np.minimum(np.ceil(every * 10), 255))
    assert np.array_equal(levels > 0, (a != b).any(axis=2))
