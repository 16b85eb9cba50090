"""The scene is the same bytes everywhere, the same picture at every size, and hard like a photo."""

import hashlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantgpu.demo import scene, scenery
from quantgpu.demo.noise import Color
from quantgpu.demo.scene import render_scene, render_window

AWKWARD = [(1, 1), (1, 7), (7, 1), (17, 31), (61, 5), (3, 71)]
"""(width, height)."""


def unique_colors(pixels: NDArray[np.uint8]) -> int:
    """How many colors occur."""
    red, green, blue = np.moveaxis(pixels.astype(np.int64), 2, 0)
    return len(np.unique(red + 256 * green + 65536 * blue))


def box_reduced(pixels: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Means of factor x factor blocks, (h, w, 3) float64."""
    height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
    blocks = pixels.reshape(height, factor, width, factor, 3)
    means: NDArray[np.float64] = blocks.astype(np.float64).mean(axis=(1, 3))
    return means


def test_bytes_are_those_of_every_other_machine() -> None:
    checksum = hashlib.sha256(render_scene(150, 100).tobytes()).hexdigest()
    assert checksum == "6cc5898fe4d24a9e36aa096c64b8884995941f3c96ced7659547b94c301bd7e9"


@pytest.mark.parametrize(("width", "height"), AWKWARD)
def test_any_size_is_rendered(width: int, height: int) -> None:
    pixels = render_scene(width, height)
    assert pixels.shape == (height, width, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize(("width", "height"), [*AWKWARD, (8, 3), (10, 5), (53, 37)])
@pytest.mark.parametrize(("rows", "columns"), [(2, 1000), (13, 29), (100, 1)])
def test_pixels_do_not_depend_on_the_tiles(
    width: int, height: int, rows: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = render_scene(width, height)
    monkeypatch.setattr(scene, "TILE_ROWS", rows)
    monkeypatch.setattr(scene, "TILE_COLUMNS", columns)
    np.testing.assert_array_equal(render_scene(width, height), whole)


def test_a_window_is_that_part_of_the_whole() -> None:
    whole = render_scene(203, 131)
    for rows, columns in [((0, 1), (0, 1)), ((70, 131), (11, 203)), ((79, 90), (60, 61))]:
        window = render_window(203, 131, range(*rows), range(*columns))
        np.testing.assert_array_equal(window, whole[slice(*rows), slice(*columns)])


def test_larger_pictures_show_the_same_scene() -> None:
    small, large = render_scene(96, 64), render_scene(576, 384)
    difference = np.abs(box_reduced(large, 24) - box_reduced(small, 4))
    assert difference.mean() < 3
    mirrored = np.abs(box_reduced(large, 24)[:, ::-1] - box_reduced(small, 4))
    assert mirrored.mean() > 10


def test_other_shapes_show_the_center_of_the_frame() -> None:
    frame, square = render_scene(300, 200), render_scene(200, 200)
    difference = np.abs(box_reduced(square, 10) - box_reduced(frame[:, 50:250], 10))
    assert difference.mean() < 1


def test_a_photo_has_this_many_colors() -> None:
    assert 100_000 < unique_colors(render_scene(900, 600)) < 400_000


@pytest.mark.parametrize(
    ("name", "color"),
    [
        ("red", scenery.RED),
        ("yellow", scenery.YELLOW),
        ("teal", scenery.TEAL),
        ("violet", scenery.VIOLET),
        ("orange", scenery.ORANGE),
    ],
)
def test_saturated_colors_are_few_but_present(name: str, color: Color) -> None:
    pixels = render_scene(600, 400).astype(np.float64)
    near = np.abs(pixels - color).max(axis=2) < 36
    assert 20 < near.sum() < 0.02 * near.size, name


def test_grain_is_fine_and_has_no_bias() -> None:
    sky = render_scene(1500, 1000)[100:164, 20:84].astype(np.float64)
    grain = sky - np.kron(box_reduced(sky, 8), np.ones((8, 8, 1)))
    neighbors = (grain[:, 1:] * grain[:, :-1]).mean() / (grain * grain).mean()
    assert 2 < grain.std() < 5
    assert abs(neighbors) < 0.1


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-3, 5)])
def test_an_empty_size_is_refused_and_named(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=f"{width} x {height}"):
        render_scene(width, height)
    with pytest.raises(ValueError, match=f"{width} x {height}"):
        render_window(width, height, range(1), range(1))
