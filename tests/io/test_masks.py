"""Masks: how they are read, what they weigh, and what they do not depend on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import encoded, exif
from numpy.typing import NDArray
from pictures import photo, soft_photo
from PIL import Image

from quantgpu import quantize
from quantgpu.errors import InputError, UsageError
from quantgpu.histogram import MOST, Histogram
from quantgpu.io.masks import as_mask, read_mask
from quantgpu.pixels import counting
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.perceptual import pixel_weights, scaled
from quantgpu.pixels.pixels import Pixels

LEVELS = np.random.default_rng(0).integers(0, 256, (37, 52)).astype(np.uint8)


def masked_pixels(picture: Any, levels: Any = LEVELS) -> Pixels:
    pixels = Pixels(picture)
    pixels.mask = as_mask(levels, pixels.shape)
    return pixels


def naive_sums(
    picture: NDArray[np.uint8], levels: NDArray[np.uint8], perceptual: bool
) -> dict[tuple[int, ...], int]:
    """The summed weight of each color, pixel by pixel."""
    busy = pixel_weights(picture, 0, len(picture)) if perceptual else [MOST] * levels.size
    sums: dict[tuple[int, ...], int] = {}
    colors = picture.reshape(levels.size, -1).tolist()
    for color, weight, level in zip(colors, busy, levels.ravel().tolist(), strict=True):
        color = [0, 0, 0, 0] if color[3:] == [0] else color
        scaled_weight = max(1, (int(weight) * level + 127) // 255)
        sums[tuple(color)] = sums.get(tuple(color), 0) + scaled_weight
    return sums


def by_color(found: Histogram) -> dict[tuple[int, ...], int]:
    return dict(zip(map(tuple, found.colors.tolist()), found.weights.tolist(), strict=True))


@pytest.mark.parametrize("perceptual", [False, True])
@pytest.mark.parametrize("make", [photo, soft_photo])
@pytest.mark.parametrize("batch", [1, 300, 1 << 17])
def test_weights_are_those_of_the_definition_in_slabs_of_any_size(
    make: Any, perceptual: bool, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "BATCH", batch)
    picture = make(37, 52)
    expected = naive_sums(picture, LEVELS, perceptual)
    for source in (picture, Image.fromarray(picture)):
        for levels in (LEVELS, Image.fromarray(LEVELS)):
            found = count_colors(masked_pixels(source, levels), 2, perceptual=perceptual)
            assert by_color(found) == expected
    np.testing.assert_array_equal(found.counts, count_colors(Pixels(picture)).counts)


def test_every_weight_times_every_level_is_rounded_like_whole_numbers() -> None:
    weights = np.arange(1, 256, dtype=np.uint8)[:, None]
    levels = np.arange(256, dtype=np.uint8)[None]
    exact = np.maximum((2 * weights.astype(int) * levels + 255) // 510, 1)
    found = scaled(np.broadcast_to(weights, (255, 256)), np.broadcast_to(levels, (255, 256)))
    np.testing.assert_array_equal(found, exact)
    np.testing.assert_array_equal(scaled(255, levels[0]), np.maximum(levels[0], 1))


def test_a_white_mask_changes_nothing() -> None:
    white = np.full((61, 83), 255, np.uint8)
    for perceptual in (False, True):
        plain = quantize(photo(), 9, perceptual=perceptual, device="cpu")
        masked = quantize(photo(), 9, perceptual=perceptual, weights=white, device="cpu")
        np.testing.assert_array_equal(plain.palette.colors, masked.palette.colors)


def test_the_part_that_counts_gets_the_colors() -> None:
    """Two gradients of the same size: eight colors for both, nearly all of them for one."""
    picture = np.zeros((40, 200, 3), np.uint8)
    picture[:20, :, 0] = picture[20:, :, 2] = np.linspace(30, 250, 200)
    mask = np.zeros((40, 200), np.uint8)
    mask[:20] = 255
    errors = []
    for weights in (None, mask, mask > 0, 255 - mask):
        options: dict[str, Any] = {"weights": weights, "perceptual": False, "device": "cpu"}
        found = quantize(picture, 8, **options).to_array()
        errors.append(float(((found[:20].astype(int) - picture[:20]) ** 2).mean()))
    assert errors[1] < 0.5 * errors[0] < 0.2 * errors[3]
    assert errors[1] == errors[2]


MODES: dict[str, Callable[[NDArray[np.uint8]], Image.Image]] = {
    "1": lambda levels: Image.fromarray(np.where(levels > 127, 255, 0).astype(np.uint8)),
    "L": Image.fromarray,
    "LA": Image.fromarray,
    "RGBA": Image.fromarray,
    "P": Image.fromarray,
    "I;16": lambda levels: Image.fromarray(levels.astype(np.uint16) * 257),
}
"""Mode of a file to a picture with certain levels, which is brought to that mode."""


@pytest.mark.parametrize("mode", MODES)
def test_files_of_every_kind_are_taken_as_their_gray(mode: str, tmp_path: Path) -> None:
    picture = MODES[mode](LEVELS)
    expected = np.asarray(picture) if mode != "I;16" else LEVELS
    picture = picture if mode == "I;16" else picture.convert(mode)
    if mode in ("LA", "RGBA"):
        picture.putalpha(77)
    picture.save(tmp_path / "mask.png")
    found = np.asarray(read_mask(tmp_path / "mask.png"))
    np.testing.assert_array_equal(found, expected)
    colors = masked_pixels(photo(37, 52), tmp_path / "mask.png")
    assert colors.mask is not None
    np.testing.assert_array_equal(colors.mask.slab(3, 9), expected[3:9].reshape(-1, 1))


def test_a_color_picture_weighs_by_its_gray(tmp_path: Path) -> None:
    Image.fromarray(photo(37, 52)).save(tmp_path / "mask.png")
    expected = np.asarray(Image.fromarray(photo(37, 52)).convert("L"))
    np.testing.assert_array_equal(np.asarray(read_mask(tmp_path / "mask.png")), expected)


def test_a_mask_is_turned_upright_as_the_picture_is(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (16, 1))
    (tmp_path / "mask.jpg").write_bytes(encoded(np.dstack([ramp] * 3), "JPEG", exif=exif(6)))
    turned = np.asarray(read_mask(tmp_path / "mask.jpg")).astype(int)
    assert turned.shape == (48, 16)
    assert abs(turned - np.rot90(ramp, -1).astype(int)).max() < 4
    picture = tmp_path / "photo.jpg"
    picture.write_bytes(encoded(photo(16, 48), "JPEG", exif=exif(6)))
    assert quantize(picture, 3, weights=tmp_path / "mask.jpg", device="cpu").index.shape == (48, 16)


def test_a_list_of_colors_takes_a_list_of_weights() -> None:
    colors = [(0, 0, 0), (100, 100, 100), (200, 200, 200), (255, 255, 255)]
    dark = quantize(colors, 2, weights=[255, 255, 0, 0], device="cpu")
    light = quantize(colors, 2, weights=np.array([0, 0, 255, 255], np.uint8), device="cpu")
    assert dark.index.tolist() == [0, 1, 1, 1]
    assert light.index.tolist() == [0, 0, 0, 1]
    assert dark.palette.colors[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (LEVELS.T, "weights for 37 x 52 pixels, but the image has 52 x 37 pixels"),
        (LEVELS[0], "weights for 52 colors, but the image has 52 x 37 pixels"),
        (Image.fromarray(LEVELS[:5]), "weights for 52 x 5 pixels, but the image has 52 x 37"),
        (LEVELS / 255, "weights of float64: they are integers in 0..255, or bool"),
        (LEVELS.astype(int) * 2, "weights of int64: they are integers in 0..255"),
        (LEVELS[..., None], r"weights of shape \(37, 52, 1\): they are \(H, W\)"),
        (LEVELS[:0], r"weights of shape \(0, 52\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_both_sizes(weights: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        quantize(photo(37, 52), 3, weights=weights, device="cpu")


def test_a_mask_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.png: no such file"):
        quantize(photo(), 3, weights=tmp_path / "nothing.png", device="cpu")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match="not an image"):
        quantize(photo(), 3, weights=str(tmp_path / "text.png"), device="cpu")
    Image.fromarray(LEVELS).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match="1,924 pixels are more than 100"):
        read_mask(tmp_path / "mask.png", 100)


def test_the_textbooks_method_takes_no_weights() -> None:
    with pytest.raises(UsageError, match="counts all pixels alike; with weights use 'fast'"):
        quantize(photo(37, 52), 3, effort="none", weights=LEVELS, device="cpu")
