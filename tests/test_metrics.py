"""Metrics: published values, definitions, scikit-image, and slabs that change nothing."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from image_files import noise
from numpy.typing import NDArray
from pictures import photo
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

import quantgpu
from quantgpu import metrics

SHARMA = """
50.0000 2.6772 -79.7751 50.0000 0.0000 -82.7485 2.0425
50.0000 3.1571 -77.2803 50.0000 0.0000 -82.7485 2.8615
50.0000 2.8361 -74.0200 50.0000 0.0000 -82.7485 3.4412
50.0000 -1.3802 -84.2814 50.0000 0.0000 -82.7485 1.0000
50.0000 -1.1848 -84.8006 50.0000 0.0000 -82.7485 1.0000
50.0000 -0.9009 -85.5211 50.0000 0.0000 -82.7485 1.0000
50.0000 0.0000 0.0000 50.0000 -1.0000 2.0000 2.3669
50.0000 -1.0000 2.0000 50.0000 0.0000 0.0000 2.3669
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0009 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0010 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0011 7.2195
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0012 7.2195
50.0000 -0.0010 2.4900 50.0000 0.0009 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0010 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0011 -2.4900 4.7461
50.0000 2.5000 0.0000 50.0000 0.0000 -2.5000 4.3065
50.0000 2.5000 0.0000 73.0000 25.0000 -18.0000 27.1492
50.0000 2.5000 0.0000 61.0000 -5.0000 29.0000 22.8977
50.0000 2.5000 0.0000 56.0000 -27.0000 -3.0000 31.9030
50.0000 2.5000 0.0000 58.0000 24.0000 15.0000 19.4535
50.0000 2.5000 0.0000 50.0000 3.1736 0.5854 1.0000
50.0000 2.5000 0.0000 50.0000 3.2972 0.0000 1.0000
50.0000 2.5000 0.0000 50.0000 1.8634 0.5757 1.0000
50.0000 2.5000 0.0000 50.0000 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""
"""Table 1 of G. Sharma, W. Wu, E. N. Dalal, 2005: L*, a*, b* of two colors, and CIEDE2000."""

PUBLISHED = np.array(
    [[float(number) for number in row.split()] for row in SHARMA.split("\n")[1:-1]]
)
LAB_A, LAB_B, EXPECTED = PUBLISHED.T[:3], PUBLISHED.T[3:6], PUBLISHED.T[6]

Colors = NDArray[np.uint8]


def pair(height: int = 61, width: int = 83) -> tuple[Colors, Colors]:
    """A picture and what is left of it in 16 colors."""
    picture = photo(height, width)
    return picture, quantgpu.quantize(picture, 16, effort="fast", device="cpu").to_array()


def altered(picture: Colors, seed: int = 1) -> Colors:
    """The same picture with grain, of other amounts in each channel; some pixels stay."""
    rng = np.random.default_rng(seed)
    grain = rng.integers(-1, 2, picture.shape) * np.array([9, 4, 1])
    grain[:, ::3] = 0
    grainy: Colors = np.clip(picture + grain, 0, 255).astype(np.uint8)
    return grainy


PAIRS = {
    "quantized": pair(),
    "grain": (photo(), altered(photo())),
    "noise": (noise(40, 31, 3), noise(40, 31, 3, seed=1)),
    "window": (photo(11, 11), altered(photo(11, 11))),
    "gray and black": (np.full((12, 15, 3), 128, np.uint8), np.zeros((12, 15, 3), np.uint8)),
}
both = pytest.mark.parametrize(("a", "b"), PAIRS.values(), ids=PAIRS)


# CIEDE2000


def test_delta_e_of_the_34_published_pairs() -> None:
    assert PUBLISHED.shape == (34, 7)
    assert np.round(metrics.delta_e(LAB_A, LAB_B), 4).tolist() == EXPECTED.tolist()


def test_delta_e_is_symmetric() -> None:
    assert np.round(metrics.delta_e(LAB_B, LAB_A), 4).tolist() == EXPECTED.tolist()
    a, b = (metrics.lab(noise(5000, 3, seed=seed)) for seed in (0, 1))
    assert np.allclose(metrics.delta_e(a, b), metrics.delta_e(b, a), rtol=0, atol=1e-12)


def test_delta_e_is_scikit_images() -> None:
    a, b = (metrics.lab(noise(20_000, 3, seed=seed)) for seed in (2, 3))
    assert np.allclose(metrics.delta_e(a, b), deltaE_ciede2000(a.T, b.T), rtol=0, atol=1e-9)


def test_lab_is_scikit_images_but_for_its_rounded_matrix() -> None:
    colors = noise(20_000, 3)
    assert np.allclose(metrics.lab(colors).T, rgb2lab(colors), rtol=0, atol=0.01)


def test_grays_have_no_hue() -> None:
    grays = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    lightness, *hue = metrics.lab(grays)
    assert not np.any(hue)
    assert lightness[[0, -1]].tolist() == [0, 100]
    assert np.all(np.diff(lightness) > 0)


@both
def test_mean_percentile_and_maximum_are_those_over_all_pixels(a: Colors, b: Colors) -> None:
    in_lab = (metrics.lab(picture.reshape(-1, 3)) for picture in (a, b))
    every = metrics.delta_e(*in_lab)
    found = metrics.ciede2000(a, b)
    assert found.mean == pytest.approx(every.mean(), rel=1e-12)
    assert found.percentile_95 == np.percentile(every, 95, method="inverted_cdf")
    assert found.maximum == every.max()


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 99, 100, 101])
def test_percentile_of_few_pixels(count: int) -> None:
    a, b = np.zeros((count, 1, 3), np.uint8), noise(count, 1, 3)
    every = metrics.delta_e(*(metrics.lab(picture.reshape(-1, 3)) for picture in (a, b)))
    found = metrics.ciede2000(a, b).percentile_95
    assert found == np.percentile(every, 95, method="inverted_cdf")


@pytest.mark.parametrize("wanted", [1, 7, 50, 400, 1000])
def test_largest_of_parts_is_largest_of_all_and_little_is_held(wanted: int) -> None:
    rng = np.random.default_rng(wanted)
    values, counts = rng.integers(0, 90, 400) / 3, rng.integers(1, 6, 400)
    largest = metrics.Largest(wanted)
    for start in range(0, 400, 23):
        largest.add(values[start : start + 23], counts[start : start + 23])
        assert len(largest.values) <= 2 * wanted + 23
    assert largest.least() == np.sort(np.repeat(values, counts))[-wanted]


# MSE, PSNR, SSIM


@both
def test_errors_are_those_of_the_definitions(a: Colors, b: Colors) -> None:
    squared = (a.astype(float) - b.astype(float)) ** 2
    assert metrics.mse_channels(a, b) == pytest.approx(squared.mean(axis=(0, 1)), rel=1e-14)
    assert metrics.mse(a, b) == pytest.approx(squared.sum(axis=2).mean(), rel=1e-14)
    assert metrics.psnr(a, b) == pytest.approx(10 * math.log10(255**2 / squared.mean()))
    assert metrics.changed(a, b) == (a != b).any(axis=2).mean()
    counts = [len(np.unique(picture.reshape(-1, 3), axis=0)) for picture in (a, b)]
    assert list(metrics.colors(a, b)) == counts


@both
def test_errors_are_scikit_images(a: Colors, b: Colors) -> None:
    assert metrics.mse(a, b) / 3 == pytest.approx(mean_squared_error(a, b))
    assert metrics.psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b))


@both
def test_structural_similarity_is_scikit_images(a: Colors, b: Colors) -> None:
    expected = structural_similarity(
        *(a, b), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255,
        channel_axis=-1,
    )  # fmt: skip
    assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-9)


def test_error_is_that_of_the_quantized_picture() -> None:
    picture = quantgpu.quantize(photo(), 16, effort="fast", device="cpu")
    found = quantgpu.compare(photo(), picture.to_image())
    assert found.mse == picture.mse
    assert found.psnr == pytest.approx(picture.psnr, rel=1e-14)
    assert found.colors == (picture.colors_in, 16)


@pytest.mark.parametrize(("side", "taps"), [(1, 1), (2, 1), (3, 3), (10, 9), (11, 11), (500, 11)])
def test_windows_are_odd_and_fit(side: int, taps: int) -> None:
    weights = metrics.window(side)
    assert len(weights) == taps
    assert weights.sum() == pytest.approx(1)
    assert np.array_equal(weights, weights[::-1])


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (10, 2), (3, 40), (5, 5)])
def test_structural_similarity_where_the_window_does_not_fit(shape: tuple[int, int]) -> None:
    a, b = noise(*shape, 3).astype(float), noise(*shape, 3, seed=1).astype(float)
    rows, columns = (metrics.window(side) for side in shape)
    c1, c2 = 6.5025, 58.5225
    every = []
    for top in range(shape[0] - len(rows) + 1):
        for left in range(shape[1] - len(columns) + 1):
            part = slice(top, top + len(rows)), slice(left, left + len(columns))
            x, y = (np.einsum("yxc,y,x->c", p[part], rows, columns) for p in (a, b))
            xx, yy, xy = (
                np.einsum("yxc,y,x->c", p[part], rows, columns) for p in (a * a, b * b, a * b)
            )
            like = (2 * x * y + c1) * (2 * (xy - x * y) + c2)
            every.append(like / ((x * x + y * y + c1) * (xx - x * x + yy - y * y + c2)))
    found = metrics.ssim(a.astype(np.uint8), b.astype(np.uint8))
    assert found == pytest.approx(np.mean(every), rel=1e-9)


# All of them


@pytest.mark.parametrize("slab", [1, 7, 83, 1000])
def test_slabs_and_tiles_change_nothing(slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = PAIRS["grain"]
    whole = metrics.compare(a, b), metrics.difference_map(a, b)
    monkeypatch.setattr(metrics, "SLAB", slab)
    monkeypatch.setattr(metrics, "TILE", (5, 13))
    parts = metrics.compare(a, b), metrics.difference_map(a, b)
    assert parts[0].ssim == pytest.approx(whole[0].ssim, rel=1e-14)
    assert parts[0].ciede2000 == pytest.approx(whole[0].ciede2000, rel=1e-14)
    rounded = [
        dataclasses.replace(c, ssim=0, ciede2000=whole[0].ciede2000) for c in (parts[0], whole[0])
    ]
    assert rounded[0] == rounded[1]
    assert np.array_equal(parts[1], whole[1])


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SLAB", 300)
    monkeypatch.setattr(metrics, "TILE", (5, 13))
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(metrics, "default_threads", lambda threads=threads: threads)
        found.append(metrics.compare(*PAIRS["grain"]))
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
    there, back = metrics.compare(*PAIRS["grain"]), metrics.compare(*PAIRS["grain"][::-1])
    assert back.colors == there.colors[::-1]
    assert back.ssim == pytest.approx(there.ssim, rel=1e-14)
    assert back.ciede2000 == pytest.approx(there.ciede2000, rel=1e-12)
    assert (back.mse, back.changed) == (there.mse, there.changed)


def test_fields_are_the_rows_of_the_table() -> None:
    assert [field.name for field in dataclasses.fields(metrics.Comparison)] == [*metrics.METRICS]
    assert [*metrics.compare(*PAIRS["window"]).as_json()] == [*metrics.METRICS]


def test_images_files_and_arrays_that_are_views_are_taken(tmp_path: object) -> None:
    a, b = PAIRS["grain"]
    expected = quantgpu.compare(a, b)
    Image.fromarray(a).save(f"{tmp_path}/a.png")
    assert quantgpu.compare(f"{tmp_path}/a.png", Image.fromarray(b)) == expected
    turned = (picture.transpose(1, 0, 2).copy().transpose(1, 0, 2) for picture in (a, b))
    assert quantgpu.compare(*turned) == expected


def test_sizes_that_differ_are_refused_with_both_named() -> None:
    with pytest.raises(quantgpu.UsageError, match="83 x 61 and 61 x 83"):
        quantgpu.compare(photo(61, 83), photo(83, 61))


def test_progress_names_each_metric() -> None:
    said: list[tuple[str, float]] = []
    metrics.compare(*PAIRS["window"], progress=lambda stage, share: said.append((stage, share)))
    assert [stage for stage, _ in said] == [*metrics.METRICS]
    assert said[0][1] == 0


@both
def test_map_counts_begun_tenths_and_is_black_only_where_colors_are_equal(
    a: Colors, b: Colors
) -> None:
    every = metrics.delta_e(*(metrics.lab(picture.reshape(-1, 3)) for picture in (a, b)))
    levels = metrics.difference_map(a, b)
    assert levels.shape == a.shape[:2]
    assert levels.dtype == np.uint8
    assert np.array_equal(levels.ravel(), np.minimum(np.ceil(every * 10), 255))
    assert np.array_equal(levels > 0, (a != b).any(axis=2))
