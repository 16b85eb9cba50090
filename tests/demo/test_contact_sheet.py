"""A sheet shows real pixels: nothing on it is mixed, lost or reordered."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from quantgpu.demo.contact_sheet import (
    BACKGROUND,
    FONT_SIZE,
    GAP,
    LABEL_HEIGHT,
    MARGIN,
    center_crop,
    contact_sheet,
    subsample,
    swatches,
)

TOP = MARGIN + LABEL_HEIGHT + GAP
"""The first row of a picture on a sheet."""


def random_colors(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    """Colors (*shape, 3) uint8 without symmetry."""
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def quantized(
    height: int, width: int, colors: int, seed: int = 1
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels (height, width, 3) that use a palette (colors, 3), and the palette."""
    palette = random_colors(colors, seed=seed)
    index = np.random.default_rng(seed).integers(0, colors, (height, width))
    return palette[index], palette


def runs(strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colors of neighboring equal pixels along a row (w, 3), one per run."""
    starts = np.flatnonzero((strip[1:] != strip[:-1]).any(axis=1)) + 1
    colors: NDArray[np.uint8] = strip[np.append(0, starts)]
    return colors


def color_set(pixels: NDArray[np.uint8]) -> set[tuple[int, ...]]:
    """The colors that occur, as a set of tuples."""
    return set(map(tuple, pixels.reshape(-1, 3).tolist()))


@pytest.mark.parametrize(
    ("results", "columns", "rows"), [(0, 1, 1), (1, 2, 1), (2, 3, 1), (3, 2, 2), (4, 3, 2)]
)
def test_panels_fill_a_grid(results: int, columns: int, rows: int) -> None:
    pixels, palette = quantized(31, 57, 5)
    sheet = contact_sheet(random_colors(31, 57), [("K = 5", pixels, palette)] * results, 320)
    strip = GAP + 32 if results else 0
    panel = LABEL_HEIGHT + 31 + GAP + strip
    assert sheet.mode == "RGB"
    assert sheet.size == (columns * (320 + MARGIN) + MARGIN, rows * (panel + MARGIN) + MARGIN)


def test_small_pictures_are_shown_pixel_by_pixel() -> None:
    original = random_colors(31, 57)
    pixels, palette = quantized(31, 57, 5)
    sheet = np.asarray(contact_sheet(original, [("K = 5", pixels, palette)], 320))
    left = MARGIN + 320 + MARGIN
    np.testing.assert_array_equal(sheet[TOP : TOP + 31, MARGIN : MARGIN + 57], original)
    np.testing.assert_array_equal(sheet[TOP : TOP + 31, left : left + 57], pixels)


def test_large_pictures_are_shown_reduced_and_at_their_center() -> None:
    original = random_colors(200, 301)
    sheet = np.asarray(contact_sheet(original, [], 100))[:, MARGIN : MARGIN + 100]
    rows = [int((part + 0.5) * 200 / 66) for part in range(66)]
    columns = [int((part + 0.5) * 301 / 100) for part in range(100)]
    np.testing.assert_array_equal(sheet[TOP : TOP + 66], original[rows][:, columns])
    crop = sheet[TOP + 66 + GAP : TOP + 66 + GAP + 66]
    np.testing.assert_array_equal(crop, original[67:133, 100:200])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((50, 40), (50, 40)), ((300, 100), (50, 16)), ((1, 7000), (1, 50)), ((51, 51), (50, 50))],
)
def test_views_fit_the_panel_and_invent_no_color(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    pixels = random_colors(*shape)
    for view in (subsample(pixels, 50), center_crop(pixels, 50)):
        assert view.shape == (*expected, 3)
        assert color_set(view) <= color_set(pixels)


@pytest.mark.parametrize(("colors", "height"), [(1, 32), (2, 32), (16, 20), (64, 10)])
def test_a_small_palette_is_one_row_in_its_order(colors: int, height: int) -> None:
    palette = random_colors(colors)
    strip = swatches(palette, 321)
    assert strip.shape == (height, 321, 3)
    np.testing.assert_array_equal(runs(strip[0]), palette)
    assert (strip == strip[0]).all()


@pytest.mark.parametrize(("colors", "columns"), [(65, 64), (250, 64), (256, 64), (4096, 256)])
def test_a_large_palette_wraps_and_keeps_every_color_in_order(colors: int, columns: int) -> None:
    palette = random_colors(colors)
    strip = swatches(palette, 640)
    height = 10
    shown = np.concatenate([runs(row) for row in strip[::height]])
    assert len(strip) == -(-colors // columns) * height
    np.testing.assert_array_equal(shown[:colors], palette)
    assert (shown[colors:] == BACKGROUND).all()


def test_the_palette_stands_below_its_picture() -> None:
    pixels, palette = quantized(9, 20, 7)
    sheet = np.asarray(contact_sheet(pixels, [("K = 7", pixels, palette)], 210))
    left = MARGIN + 210 + MARGIN
    strip = sheet[TOP + 9 + GAP, left : left + 210]
    np.testing.assert_array_equal(strip[15::30], palette)


def test_labels_are_drawn_and_long_ones_widen_the_panels() -> None:
    gray = np.full((8, 8, 3), 99, np.uint8)

    def labeled(label: str) -> Image.Image:
        return contact_sheet(gray, [(label, gray, gray[0, :1])], 160)

    short, long = labeled("K = 1"), labeled("K = 1  MSE 421.3  " * 9)
    assert labeled("K = 2").tobytes() != short.tobytes()
    assert long.height == short.height
    assert long.width > 2 * FONT_SIZE + short.width


def test_the_same_input_gives_the_same_bytes() -> None:
    pixels, palette = quantized(70, 90, 12)
    first, second = (contact_sheet(pixels, [("a", pixels, palette)], 60) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_a_result_of_another_size_is_refused_and_named() -> None:
    pixels, palette = quantized(5, 6, 2)
    with pytest.raises(ValueError, match=r"'K = 2' is \(5, 6, 3\).*\(6, 5, 3\)"):
        contact_sheet(random_colors(6, 5), [("K = 2", pixels, palette)])


def test_a_panel_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match="panel_width = 0"):
        contact_sheet(random_colors(6, 5), [], 0)
