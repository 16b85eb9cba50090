"""One palette for several images: what is counted together is clustered together."""

from __future__ import annotations

import colorsys
import math
import re
from functools import partial
from typing import Any

import gpu_double
import numpy as np
import pytest
from pictures import photo, soft_photo

from quantgpu import quantize, shared
from quantgpu.errors import DeviceError, DeviceMemoryError, UsageError
from quantgpu.histogram import Histogram, count_colors
from quantgpu.image import Pixels
from quantgpu.shared import SORTS, SharedPalette, count_all, hues, shared_palette

FIRST, SECOND = photo(), photo(37, 83, seed=1)
BOTH = np.concatenate([FIRST, SECOND])


def together(**options: Any) -> Histogram:
    return count_all([partial(Pixels, FIRST), partial(Pixels, SECOND)], 1, **options)


def shared_of_both(k: int = 7, **options: Any) -> SharedPalette:
    return shared_palette(together(), k, **{"device": "cpu", **options})


def test_the_palette_of_two_images_is_that_of_both_in_one() -> None:
    found, whole = shared_of_both(), quantize(BOTH, 7, device="cpu", perceptual=False)
    np.testing.assert_array_equal(found.palette.colors, whole.palette.colors)
    np.testing.assert_array_equal(found.counts, whole.counts)
    assert (found.colors_in, found.squared_error) == (whole.colors_in, whole.squared_error)
    assert found.counts.sum() == BOTH.size // 3


def test_the_palette_of_one_image_is_that_of_quantize() -> None:
    histogram = count_all([partial(Pixels, FIRST)], 2, perceptual=True)
    options: dict[str, Any] = {
        "device": "cpu", "effort": "fast", "color_space": "oklab", "perceptual": True,
    }  # fmt: skip
    found = shared_palette(histogram, 20, **options)
    expected = quantize(FIRST, 20, **options)
    np.testing.assert_array_equal(found.palette.colors, expected.palette.colors)


def test_progress_goes_through_all_images_once() -> None:
    told: list[float] = []
    together(progress=lambda stage, share: told.append(share))
    assert told == sorted(told)
    assert (told[-1], min(told) > 0) == (1, True)


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
    moved = found.sorted_by(name)
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
        found.as_lines(False), found.as_lines(True), found.palette.colors, strict=True
    ):
        red, green, blue = color
        assert drawn == f"\x1b[48;2;{red};{green};{blue}m    \x1b[0m  {plain}"
    assert sum(float(line.split()[2][:-1]) for line in found.as_lines(False)) == pytest.approx(
        100, abs=0.01
    )


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


def test_a_gpu_gives_the_same_palette_of_transparent_pictures() -> None:
    histogram = count_all([partial(Pixels, soft_photo()), partial(Pixels, FIRST)], 1)
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
    found = shared_palette(count_all([partial(Pixels, soft_photo())], 1), 9, device="cpu")
    moved = found.sorted_by(name)
    assert sorted(moved.palette.hex()) == sorted(found.palette.hex())
    lines = zip(moved.as_lines(True), moved.palette.colors.tolist(), strict=True)
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
        monkeypatch.setattr(shared, "moved", fail)
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
