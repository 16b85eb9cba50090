"""One palette for several images: what is counted together is clustered together."""

from __future__ import annotations

import colorsys
import math
import re
from typing import Any

import gpu_double
import numpy as np
import pytest
from flat import remapped, shared_palette
from numpy.typing import NDArray
from pictures import photo, soft_photo

from quantgpu import quantize
from quantgpu.cli.palette import palette_lines
from quantgpu.color.packing import pack
from quantgpu.dithering.base import NO_DITHERING, Dithering
from quantgpu.errors import DeviceError, DeviceMemoryError, InputError, UsageError
from quantgpu.histogram import Histogram, sum_of
from quantgpu.pipeline import shared_palette as shared_palette_module
from quantgpu.pipeline.shared_palette import SORTS, SharedPalette, hues
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.pixels import Pixels

FIRST, SECOND = photo(), photo(37, 83, seed=1)
BOTH = np.concatenate([FIRST, SECOND])

PLAIN: dict[str, Any] = {
    "dithering": NO_DITHERING, "color_space": "oklab", "lock_grays": True, "memory": None,
}  # fmt: skip


def counted(*pictures: NDArray[np.uint8], **options: Any) -> Histogram:
    return sum_of([count_colors(Pixels(picture), 1, **options) for picture in pictures])


def together(**options: Any) -> Histogram:
    return counted(FIRST, SECOND, **options)


def shared_of_both(k: int = 7, **options: Any) -> SharedPalette:
    return shared_palette(together(), k, **{"device": "cpu", **options})


def test_the_palette_of_two_images_is_that_of_both_in_one() -> None:
    found, whole = (
        shared_of_both(),
        quantize(BOTH, 7, device="cpu", perceptual=False, dither="none"),
    )
    np.testing.assert_array_equal(found.palette.colors, whole.palette.colors)
    np.testing.assert_array_equal(found.counts, whole.counts)
    assert (found.colors_in, found.squared_error) == (whole.colors_in, whole.squared_error)
    assert found.counts.sum() == BOTH.size // 3


def test_the_palette_of_one_image_is_that_of_quantize() -> None:
    histogram = counted(FIRST, perceptual=True)
    options: dict[str, Any] = {
        "device": "cpu", "effort": "fast", "color_space": "oklab", "perceptual": True,
    }  # fmt: skip
    found = shared_palette(histogram, 20, **options)
    expected = quantize(FIRST, 20, dither="none", **options)
    np.testing.assert_array_equal(found.palette.colors, expected.palette.colors)


def test_what_is_sorted_keeps_the_entries_of_the_colors() -> None:
    found = shared_of_both()
    colors = found.palette.colors[found.labels]
    for sort in SORTS:
        again = found.sort_by(sort)
        np.testing.assert_array_equal(again.palette.colors[again.labels], colors)


@pytest.mark.parametrize("picture", [FIRST, SECOND, soft_photo()])
def test_each_pixel_gets_what_the_clustering_gave_its_color(picture: NDArray[np.uint8]) -> None:
    histogram = counted(FIRST, SECOND, soft_photo())
    palettes = [shared_palette(histogram, k, device="cpu", lock_grays=True) for k in (5, 9)]
    found = remapped(picture, histogram, palettes, threads=1, device="cpu", **PLAIN)
    entry_of = dict(zip(histogram.keys.tolist(), range(len(histogram)), strict=True))
    keys = pack(np.ascontiguousarray(picture.reshape(-1, picture.shape[2])))
    rows = [entry_of[key] for key in keys.tolist()]
    for each, shared_one in zip(found, palettes, strict=True):
        np.testing.assert_array_equal(each.palette.colors, shared_one.palette.colors)
        np.testing.assert_array_equal(each.index.ravel(), shared_one.labels[rows])
        assert each.counts.sum() == len(rows)


@pytest.mark.parametrize("dither", ["none", "bayer", "adaptive"])
def test_one_image_that_shares_its_palette_with_itself_is_that_of_quantize(dither: str) -> None:
    histogram = counted(FIRST, perceptual=True)
    options: dict[str, Any] = {"device": "cpu", "perceptual": True, "lock_grays": True}
    palette = shared_palette(
        histogram, 12, color_space="oklab", dithered=dither != "none", **options
    )
    how = PLAIN | {"dithering": Dithering(dither)}
    [found] = remapped(FIRST, histogram, [palette], threads=2, device="cpu", **how)
    expected = quantize(FIRST, 12, dither=dither, **options)
    np.testing.assert_array_equal(found.index, expected.index)
    np.testing.assert_array_equal(found.palette.colors, expected.palette.colors)
    assert (found.squared_error, found.colors_in) == (expected.squared_error, expected.colors_in)


def test_an_image_that_was_not_counted_is_refused() -> None:
    histogram = counted(SECOND)
    palette = shared_palette(histogram, 3, device="cpu")
    with pytest.raises(InputError, match="has changed since its colors were counted"):
        remapped(FIRST, histogram, [palette], threads=1, device="cpu", **PLAIN)


def test_more_colors_than_pixels_are_refused() -> None:
    with pytest.raises(UsageError, match="k = 2 is greater than the number of pixels, 1"):
        shared_palette(count_colors(Pixels(FIRST[:1, :1])), 2, device="cpu")


def test_hues_are_those_of_the_textbook() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (999, 3), np.uint8)
    colors[:50, 1] = colors[:50, 0]
    for color, hue in zip(colors.tolist(), hues(colors).tolist(), strict=True):
        expected = 6 * colorsys.rgb_to_hsv(*color)[0] if len(set(color)) > 1 else -1
        assert math.isclose(hue, expected, abs_tol=1e-9), color


@pytest.mark.parametrize("name", SORTS)
def test_sorting_moves_colors_and_counts_together(name: str) -> None:
    found = shared_of_both()
    rows = dict(zip(found.palette.hex(), found.counts.tolist(), strict=True))
    moved = found.sort_by(name)
    assert dict(zip(moved.palette.hex(), moved.counts.tolist(), strict=True)) == rows
    keys = {
        "lightness": moved.palette.colors @ np.array([2126, 7152, 722]),
        "hue": hues(moved.palette.colors),
        "count": -moved.counts,
    }
    assert (np.diff(keys[name]) >= 0).all()


def test_a_line_has_a_swatch_only_if_asked_for() -> None:
    found = shared_of_both()
    for plain, drawn, color in zip(
        palette_lines(found, False), palette_lines(found, True), found.palette.colors, strict=True
    ):
        red, green, blue = color
        assert drawn == f"\x1b[48;2;{red};{green};{blue}m    \x1b[0m  {plain}"
    assert sum(
        float(line.split()[2][:-1]) for line in palette_lines(found, False)
    ) == pytest.approx(100, abs=0.01)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_what_progress_raises_reaches_the_caller(device: str) -> None:
    def stop(*_: Any) -> None:
        raise ZeroDivisionError

    with gpu_double.installed(), pytest.raises(ZeroDivisionError):
        shared_of_both(device=device, progress=stop)


@pytest.mark.parametrize("perceptual", [False, True])
def test_a_gpu_gives_the_same_palette(perceptual: bool) -> None:
    histogram = together(perceptual=perceptual)
    with gpu_double.installed():
        found = shared_palette(histogram, 19, device="gpu", perceptual=perceptual)
    expected = shared_palette(histogram, 19, device="cpu", perceptual=perceptual)
    assert (found.device, found.notes) == ("gpu:0", [])
    np.testing.assert_array_equal(found.palette.colors, expected.palette.colors)
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert found.squared_error == expected.squared_error


def test_a_gpu_remaps_to_the_same_entries() -> None:
    histogram = together()
    palette = shared_of_both()
    options: dict[str, Any] = {"threads": 1, **PLAIN}
    with gpu_double.installed():
        [found] = remapped(FIRST, histogram, [palette], device="gpu", **options)
    [expected] = remapped(FIRST, histogram, [palette], device="cpu", **options)
    assert found.device == "gpu:0"
    np.testing.assert_array_equal(found.index, expected.index)
    assert found.squared_error == expected.squared_error


def test_a_gpu_gives_the_same_palette_of_transparent_pictures() -> None:
    histogram = counted(soft_photo(), FIRST)
    with gpu_double.installed():
        found = shared_palette(histogram, 19, device="gpu")
    expected = shared_palette(histogram, 19, device="cpu")
    assert found.device == "gpu:0"
    np.testing.assert_array_equal(found.palette.colors, expected.palette.colors)
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert found.squared_error == expected.squared_error
    assert found.palette.colors.shape == (19, 4)


@pytest.mark.parametrize("name", SORTS)
def test_palettes_with_alpha_are_sorted_and_drawn(name: str) -> None:
    found = shared_palette(counted(soft_photo()), 9, device="cpu")
    moved = found.sort_by(name)
    assert sorted(moved.palette.hex()) == sorted(found.palette.hex())
    lines = zip(palette_lines(moved, True), moved.palette.colors.tolist(), strict=True)
    assert all(line.startswith("\x1b[48;2;{};{};{}m".format(*color)) for line, color in lines)


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (DeviceMemoryError("no"), "ran out of memory; went on"),
        (DeviceError("broken"), "failed.*broken"),
    ],
)
def test_a_gpu_that_fails_is_replaced_by_the_cpu_with_a_note(
    error: Exception, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = shared_of_both()

    def fail(*_: Any) -> Histogram:
        raise error

    with gpu_double.installed():
        monkeypatch.setattr(shared_palette_module, "to_device", fail)
        found = shared_of_both(device="auto")
        if isinstance(error, DeviceMemoryError):
            assert shared_of_both(device="gpu").device == "cpu"
        else:
            with pytest.raises(DeviceError, match="broken"):
                shared_of_both(device="gpu")
    np.testing.assert_array_equal(found.palette.colors, expected.palette.colors)
    assert found.device == "cpu"
    (said,) = found.notes
    assert re.search(note, said)
