"""A given palette on an image: nearest entries, in the palette's own order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gpu_double
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pictures import photo

import quantgpu
from quantgpu import UsageError, apply_palette
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.io.palette_files import write_palette
from quantgpu.palette import Palette

PHOTO = photo()
FEW = np.array([[0, 0, 0], [255, 255, 255], [250, 20, 3], [0, 0, 0], [120, 90, 140]], np.uint8)

small_pictures = arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3)))
small_palettes = arrays(
    np.uint8, st.tuples(st.integers(1, 9), st.just(3)), elements=st.sampled_from([0, 1, 9, 255])
)


def naive_index(
    picture: NDArray[np.uint8], colors: NDArray[np.uint8], color_space: str = "oklab"
) -> NDArray[np.intp]:
    """The nearest entries by the definition, ties to the first."""
    to_grid = COLOR_SPACES[color_space].to_grid
    points = to_grid(picture.reshape(-1, 3)).T.astype(np.int64)
    centers = to_grid(colors).T.astype(np.int64)
    distances = ((points[:, None] - centers[None]) ** 2).sum(axis=2)
    nearest: NDArray[np.intp] = np.argmin(distances, axis=1).reshape(picture.shape[:-1])
    return nearest


@given(small_pictures, small_palettes)
def test_every_pixel_gets_the_first_of_its_nearest_colors(
    picture: NDArray[np.uint8], colors: NDArray[np.uint8]
) -> None:
    found = apply_palette(picture, colors, device="cpu")
    np.testing.assert_array_equal(found.index, naive_index(picture, colors))
    np.testing.assert_array_equal(found.palette.colors, colors)


@pytest.mark.parametrize("color_space", COLOR_SPACES)
@pytest.mark.parametrize("count", [1, 5, 300, 3000])
def test_distances_are_measured_in_the_color_space(color_space: str, count: int) -> None:
    colors = np.random.default_rng(count).integers(0, 256, (count, 3), np.uint8)
    colors[count // 2 :] = colors[: count - count // 2]
    found = apply_palette(PHOTO, colors, color_space=color_space, device="cpu")
    np.testing.assert_array_equal(found.index, naive_index(PHOTO, colors, color_space))
    assert found.index.dtype == (np.uint8 if count <= 256 else np.uint16)


def test_what_is_reported_is_what_was_done() -> None:
    found = apply_palette(PHOTO, FEW, device="cpu")
    assert found.counts.tolist() == np.bincount(found.index.ravel(), minlength=5).tolist()
    assert found.counts[3] == 0, "the second black"
    difference = PHOTO.astype(int) - found.to_array()
    assert found.mse == pytest.approx((difference**2).sum(axis=-1).mean())
    assert found.colors_in == len(np.unique(PHOTO.reshape(-1, 3), axis=0))


def test_a_picture_of_a_palettes_own_colors_is_not_changed() -> None:
    made = quantgpu.quantize(PHOTO, 40, device="cpu")
    again = apply_palette(made.to_image(), made.palette, device="cpu")
    np.testing.assert_array_equal(again.index, made.index)
    assert again.squared_error == 0


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(threads: int) -> None:
    found = apply_palette(PHOTO, PHOTO[:9].reshape(-1, 3), threads=threads, device="cpu")
    np.testing.assert_array_equal(found.index, naive_index(PHOTO, PHOTO[:9].reshape(-1, 3)))


def test_a_palette_may_be_a_file_a_list_or_a_palette(tmp_path: Path) -> None:
    write_palette(tmp_path / "p.gpl", FEW)
    expected = apply_palette(PHOTO, FEW, device="cpu")
    for colors in (tmp_path / "p.gpl", str(tmp_path / "p.gpl"), FEW.tolist(), Palette(FEW)):
        found = apply_palette(PHOTO, colors, device="cpu")
        np.testing.assert_array_equal(found.palette.colors, FEW)
        np.testing.assert_array_equal(found.index, expected.index)


def test_a_list_of_colors_gives_a_list_of_indices() -> None:
    assert apply_palette([(9, 9, 9), (250, 250, 250)], FEW, device="cpu").index.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("colors", "message"),
    [
        ([], r"shape \(0,\)"),
        (np.zeros((0, 3), np.uint8), r"shape \(0, 3\)"),
        (np.zeros((65_537, 3), np.uint8), r"shape \(65537, 3\): .* 1\.\.65536"),
        ([(1, 2)], r"shape \(1, 2\)"),
        ([(1, 2, 3), (4, 5)], "triples of integers"),
        ([(1, 2, 256)], r"integers in 0\.\.255"),
        ([(1, 2, 0.5)], r"integers in 0\.\.255"),
        ("p.xyz", "no palette format"),
    ],
)
def test_what_is_no_palette_is_refused(colors: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        apply_palette(PHOTO, colors)


@pytest.mark.parametrize(
    "option", [{"color_space": "x"}, {"threads": 0}, {"device": "tpu"}, {"memory": 1}]
)
def test_options_outside_of_their_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(option))} = "):
        apply_palette(PHOTO, FEW, **option)


@pytest.fixture
def gpu() -> Iterator[gpu_double.Double]:
    with gpu_double.installed() as cupy:
        yield cupy


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_what_progress_raises_reaches_the_caller(device: str) -> None:
    def stop(*_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        apply_palette(PHOTO, FEW, device=device, progress=stop)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("color_space", COLOR_SPACES)
@pytest.mark.parametrize("count", [1, 5, 300])
def test_a_gpu_gives_the_same_bytes(color_space: str, count: int) -> None:
    colors = np.concatenate([FEW, PHOTO[30:34].reshape(-1, 3)])[:count]
    found = apply_palette(PHOTO, colors, color_space=color_space, device="gpu")
    assert (found.device, found.notes) == ("gpu:0", [])
    expected = apply_palette(PHOTO, colors, color_space=color_space, device="cpu")
    np.testing.assert_array_equal(found.index, expected.index)
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert found.squared_error == expected.squared_error
