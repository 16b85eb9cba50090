"""The whole way from pixels to palette and index map."""

import math
import threading
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pictures import photo
from PIL import Image

import quantgpu
from quantgpu.api import quantize
from quantgpu.clustering import kmeans
from quantgpu.clustering.coarse_to_fine import EFFORTS
from quantgpu.clustering.kmeans import assign
from quantgpu.clustering.points import weighted_points
from quantgpu.clustering.seeding import SEEDINGS
from quantgpu.color.spaces import srgb_to_grid
from quantgpu.dithering import base, ordered
from quantgpu.errors import UsageError
from quantgpu.pixels import counting

PHOTO = photo()

PLAIN: dict[str, Any] = {"color_space": "srgb", "perceptual": False, "dither": "none"}
"""What the squared error of 8-bit levels is measured by."""

small_pictures = arrays(
    np.uint8,
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)),
    elements=st.integers(0, 255),
)


def naive_index(picture: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.intp]:
    differences = picture[..., None, :].astype(int) - palette.astype(int)
    nearest: NDArray[np.intp] = np.argmin((differences**2).sum(axis=-1), axis=-1)
    return nearest


def unique_colors(picture: NDArray[np.uint8]) -> int:
    return len(np.unique(picture.reshape(-1, 3), axis=0))


@pytest.mark.parametrize("k", [1, 2, 3, 16, 17, 255, 256, 257, 700])
@pytest.mark.parametrize("effort", EFFORTS)
def test_there_are_exactly_k_distinct_colors_and_every_pixel_has_its_nearest(
    effort: str, k: int
) -> None:
    result = quantize(PHOTO, k, effort=effort, **PLAIN)
    assert len(np.unique(result.palette.colors, axis=0)) == len(result.palette) == k
    np.testing.assert_array_equal(result.index, naive_index(PHOTO, result.palette.colors))
    assert result.index.dtype == (np.uint8 if k <= 256 else np.uint16)


@pytest.mark.parametrize(
    ("effort", "init"), [*product(EFFORTS, ["random"]), *product(["fast"], list(SEEDINGS)[1:])]
)
def test_threads_slabs_and_repetition_change_nothing(
    effort: str, init: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = quantize(PHOTO, 40, effort=effort, init=init, threads=1)
    monkeypatch.setattr(kmeans, "PARALLEL", 0)
    for threads, batch in ((1, 100), (2, 1 << 17), (5, 300)):
        monkeypatch.setattr(counting, "BATCH", batch)
        monkeypatch.setattr(base, "BATCH", batch)
        monkeypatch.setattr(base, "PIECE", 2 * batch)
        monkeypatch.setattr(kmeans, "MANY_CENTERS", 0 if threads == 5 else 128)
        monkeypatch.setattr(kmeans, "MANY_DISTANCES", 0 if threads == 5 else 1 << 26)
        again = quantize(PHOTO, 40, effort=effort, init=init, threads=threads)
        np.testing.assert_array_equal(again.palette.colors, expected.palette.colors)
        np.testing.assert_array_equal(again.index, expected.index)


def test_mean_squared_error_is_summed_over_channels_against_the_rounded_palette() -> None:
    result = quantize(PHOTO, 7)
    differences = result.to_array().astype(int) - PHOTO
    mse = (differences**2).sum() / (PHOTO.shape[0] * PHOTO.shape[1])
    assert result.mse == pytest.approx(mse, rel=1e-12)
    assert result.psnr == pytest.approx(10 * math.log10(255**2 / (mse / 3)))
    assert result.counts.tolist() == np.bincount(result.index.ravel(), minlength=7).tolist()


def test_more_effort_is_better() -> None:
    errors = [quantize(PHOTO, 24, effort=effort, **PLAIN).mse for effort in EFFORTS]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1.5 * errors[-1]


@given(picture=small_pictures, data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_picture_keeps_its_shape_and_gets_the_colors_it_can(
    picture: NDArray[np.uint8], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, picture.shape[0] * picture.shape[1]))
    effort = data.draw(st.sampled_from(list(EFFORTS)))
    result = quantize(picture, k, effort=effort, init=data.draw(st.sampled_from(list(SEEDINGS))))
    assert result.index.shape == picture.shape[:2]
    assert len(result.palette) == min(k, unique_colors(picture))
    if k >= unique_colors(picture):
        np.testing.assert_array_equal(result.to_array(), picture)
        assert result.mse == 0
        assert math.isinf(result.psnr)


def test_a_flat_color_over_most_of_the_picture_is_kept_exactly() -> None:
    picture = photo(100, 100)
    picture[:90] = (12, 34, 56)
    result = quantize(picture, 16)
    assert (12, 34, 56) in map(tuple, result.palette.colors.tolist())
    assert (result.to_array()[:90] == (12, 34, 56)).all()


def test_the_textbook_route_draws_colors_of_the_picture_and_assigns_once() -> None:
    result = quantize(PHOTO, 12, init="random", effort="none", **PLAIN)
    in_picture = set(map(tuple, PHOTO.reshape(-1, 3).tolist()))
    assert set(map(tuple, result.palette.colors.tolist())) <= in_picture
    np.testing.assert_array_equal(result.index, naive_index(PHOTO, result.palette.colors))
    other = quantize(PHOTO, 12, init="random", effort="none", seed=1)
    assert other.palette.hex() != result.palette.hex()


def test_the_textbook_example_takes_the_first_center() -> None:
    color = np.array([[216, 175, 145]], np.uint8)
    centers = np.array([[220, 183, 152], [242, 211, 178], [173, 146, 112]], np.uint8)
    squared = ((centers.astype(int) - color.astype(int)) ** 2).sum(axis=1)
    assert squared.tolist() == [129, 3061, 3779]
    points = weighted_points(srgb_to_grid(color), np.array([1]))
    assert assign(points, np.ascontiguousarray(srgb_to_grid(centers).T)).tolist() == [0]
    drawn = quantize(np.vstack([centers, color]), 3, init="random", effort="none", seed=0)
    assert drawn.palette.hex() == ["#ad9270", "#dcb798", "#f2d3b2"]
    assert drawn.index.tolist() == [1, 2, 0, 1]


def test_k_greater_than_the_number_of_pixels_is_an_error_that_names_both() -> None:
    with pytest.raises(ValueError, match=r"k = 5 is greater than the number of pixels, 4"):
        quantize([(0, 0, 0)] * 4, 5)


def test_k_not_given_is_256_or_the_number_of_pixels() -> None:
    assert len(quantize(PHOTO).palette) == 256
    assert quantize([(1, 2, 3), (4, 5, 6)]).palette.hex() == ["#010203", "#040506"]


def test_every_kind_of_image_gives_the_same_result(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(PHOTO).save(path)
    expected = quantize(PHOTO, 9)
    strided = np.repeat(PHOTO, 2, axis=1)[:, ::2]
    read_only = PHOTO.copy()
    read_only.flags.writeable = False
    kinds = [path, str(path), Image.fromarray(PHOTO), strided, read_only, np.asfortranarray(PHOTO)]
    for image in kinds:
        result = quantize(image, 9)
        np.testing.assert_array_equal(result.index, expected.index)
        np.testing.assert_array_equal(result.palette.colors, expected.palette.colors)
    expected = quantize(PHOTO, 9, perceptual=False, dither="none")
    flat = quantize(PHOTO.reshape(-1, 3).tolist(), 9)
    assert flat.index.shape == (PHOTO.shape[0] * PHOTO.shape[1],)
    np.testing.assert_array_equal(flat.index, expected.index.ravel())


def test_the_result_is_an_indexed_pillow_image() -> None:
    result = quantize(PHOTO, 30)
    image = result.to_image()
    assert (image.mode, image.size) == ("P", (PHOTO.shape[1], PHOTO.shape[0]))
    np.testing.assert_array_equal(np.asarray(image), result.index)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), result.to_array())
    assert quantize(PHOTO, 300).to_image().mode == "RGB"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, r"k = 0 is outside 1\.\.65536"),
        ({"k": 65537}, r"k = 65537 is outside 1\.\.65536"),
        ({"k": 2.5}, r"k = 2\.5 is not an integer"),
        ({"effort": "heroic"}, r"effort = 'heroic' is not one of none, fast, balanced, best"),
        ({"init": "magic"}, r"init = 'magic' is not one of random, kmeans\+\+, maximin, wu"),
        ({"color_space": "cmyk"}, r"color_space = 'cmyk' is not one of srgb"),
        ({"dither": "noise"}, r"dither = 'noise' is not one of none"),
        ({"seed": -1}, r"seed = -1 is outside 0\.\."),
        ({"threads": 0}, r"threads = 0 is outside 1\.\."),
    ],
)
def test_options_outside_their_range_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        quantize(PHOTO, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "array of float32: quantize takes uint8"),
        (np.zeros((4, 4, 3), np.uint16), "array of uint16: quantize takes uint8"),
        (np.zeros((4, 5), np.uint8), r"array of shape \(4, 5\)"),
        (np.zeros((4, 4, 2), np.uint8), r"array of shape \(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        ([], "no pixels"),
        ([(1, 2, 256)], r"integers in 0\.\.255"),
        ([(1, 2, -1)], r"integers in 0\.\.255"),
        ([(1.5, 2, 3)], r"integers in 0\.\.255"),
        ([(1, 2, 3), (4, 5)], "triples"),
        ("no-such-picture.png", "no such file"),
    ],
)
def test_images_that_cannot_be_taken_are_named(image: object, message: str) -> None:
    with pytest.raises(quantgpu.QuantgpuError, match=message):
        quantize(image)


@pytest.mark.parametrize("method", ["none", "adaptive", "bayer"])
def test_progress_tells_each_stage_to_its_end(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(counting, "BATCH", 1000)
    for module in (base, ordered):
        monkeypatch.setattr(module, "PIECE", 1000)
    seen: dict[str, list[float]] = {}
    callers = set()

    def progress(stage: str, share: float) -> None:
        seen.setdefault(stage, []).append(share)
        callers.add(threading.current_thread())

    quantize(PHOTO, 8, dither=method, threads=4, progress=progress)
    assert list(seen) == ["count", "cluster", "remap"]
    for shares in seen.values():
        assert shares[-1] == 1
        assert len(shares) > 2
    assert seen["remap"] == sorted(seen["remap"])
    assert seen["count"] == sorted(seen["count"])
    assert callers == {threading.main_thread()}


def test_public_names_are_there_and_nothing_else_is() -> None:
    for name in quantgpu.__all__:
        assert getattr(quantgpu, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'"):
        quantgpu.frobnicate  # noqa: B018
