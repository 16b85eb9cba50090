"""Each way with transparency does to every pixel what it says, and says so."""

from __future__ import annotations

import io

import numpy as np
import pytest
from image_files import LOSSLESS_KINDS, encoded, exif, noise, sideways
from numpy.typing import NDArray
from PIL import Image

from quantgpu.color.alpha import ALPHAS, Color, apply_alpha
from quantgpu.io.decode import read_image, to_rgb

PIXELS = noise(13, 11, 4)
PIXELS[:2, :, 3] = np.tile(np.array([0, 1, 127, 128, 129, 254, 255, 0, 255, 128, 127]), (2, 1))
COLORS, ALPHA = PIXELS[..., :3], PIXELS[..., 3]
BLUE = (10, 20, 200)


def applied(
    pixels: NDArray[np.uint8], alpha: str, matte: Color | None = None
) -> tuple[NDArray[np.uint8], list[str]]:
    """The pixels after a way of `ALPHAS`, and the notes."""
    notes: list[str] = []
    return np.asarray(apply_alpha(Image.fromarray(pixels), alpha, matte, notes)), notes


def laid_on(matte: Color) -> NDArray[np.float64]:
    """The pixels over a background by the definition of alpha, not rounded."""
    share = ALPHA[..., None] / 255
    return np.asarray(share * COLORS + (1 - share) * np.array(matte))


def test_keep_changes_nothing() -> None:
    pixels, notes = applied(PIXELS, "keep", BLUE)
    assert np.array_equal(pixels, PIXELS)
    assert notes == []


@pytest.mark.parametrize(("matte", "shown"), [(None, "#ffffff"), (BLUE, "#0a14c8")])
def test_flatten_lays_every_pixel_on_the_matte(matte: Color | None, shown: str) -> None:
    pixels, notes = applied(PIXELS, "flatten", matte)
    assert np.abs(pixels - laid_on(matte or (255, 255, 255))).max() <= 1
    assert np.array_equal(pixels[ALPHA == 255], COLORS[ALPHA == 255])
    assert notes == [f"transparent pixels laid on {shown}"]


def test_binary_makes_alphas_from_128_on_opaque_and_keeps_the_colors() -> None:
    pixels, notes = applied(PIXELS, "binary")
    assert np.array_equal(pixels[..., 3], np.where(ALPHA >= 128, 255, 0))
    assert np.array_equal(pixels[ALPHA >= 128, :3], COLORS[ALPHA >= 128])
    assert notes == ["partly transparent pixels become opaque or fully transparent"]


def test_binary_lays_what_stays_on_the_matte_if_there_is_one() -> None:
    pixels, notes = applied(PIXELS, "binary", BLUE)
    stays = ALPHA >= 128
    assert np.array_equal(pixels[..., 3], np.where(stays, 255, 0))
    assert np.abs(pixels[stays, :3] - laid_on(BLUE)[stays]).max() <= 1
    assert notes == ["partly transparent pixels become opaque on #0a14c8 or fully transparent"]


def test_binary_leaves_an_image_alone_that_is_binary_already() -> None:
    pixels = PIXELS.copy()
    pixels[..., 3] = np.where(ALPHA > 99, 255, 0)
    changed, notes = applied(pixels, "binary", BLUE)
    assert np.array_equal(changed, pixels)
    assert notes == []


@pytest.mark.parametrize("alpha", ALPHAS)
def test_opaque_pixels_are_rgb_and_no_news(alpha: str) -> None:
    pixels = np.dstack([COLORS, np.full_like(ALPHA, 255)])
    found, notes = applied(pixels, alpha, BLUE)
    assert np.array_equal(found, COLORS)
    assert notes == []


def test_what_becomes_opaque_is_rgb() -> None:
    pixels = np.dstack([COLORS, np.maximum(ALPHA, 128)])
    found, notes = applied(pixels, "binary")
    assert np.array_equal(found, COLORS)
    assert len(notes) == 1


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_image_itself_is_left_as_it_was(alpha: str) -> None:
    image = Image.fromarray(PIXELS)
    apply_alpha(image, alpha, BLUE, [])
    assert np.array_equal(np.asarray(image), PIXELS)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_kept_alpha_arrives_from_files_upright(kind: str, orientation: int) -> None:
    stored = sideways(PIXELS, orientation)
    data = encoded(stored, kind, exif=exif(orientation), **LOSSLESS_KINDS[kind])
    image, notes, *_ = read_image(io.BytesIO(data), alpha="keep")
    assert image.mode == "RGBA"
    assert np.array_equal(np.asarray(image), PIXELS)
    assert notes == []


@pytest.mark.parametrize("mode", ["LA", "P", "PA", "RGBa"])
def test_alpha_of_other_modes_is_kept(mode: str) -> None:
    levels = noise(3, 5) // 9
    expected = np.dstack([levels, levels, levels, noise(3, 5, seed=1) | 1])
    image = Image.fromarray(expected).convert("LA")
    if mode in ("P", "PA"):
        alpha = image.getchannel("A")
        image = Image.fromarray(levels)
        image.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
    if mode == "P":
        image.info["transparency"] = bytes(range(200, 256))
        expected[..., 3] = levels + 200
    elif mode == "PA":
        image.putalpha(alpha)
    elif mode == "RGBa":
        expected[..., :3] = expected[..., 3:] // 3
        image = Image.fromarray(expected).convert("RGBa")
        expected = np.asarray(image.convert("RGBA"))
    found = Image.open(io.BytesIO(encoded(image, "PNG"))) if mode in ("LA", "P") else image
    assert found.mode == mode
    assert np.array_equal(np.asarray(to_rgb(found, [], "keep")), expected)
