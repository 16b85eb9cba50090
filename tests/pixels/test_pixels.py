"""Whatever shows a picture is taken as its pixels, and handed out in slabs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import encoded, exif, noise, sideways
from PIL import Image

from quantgpu import quantize
from quantgpu.errors import InputError, UsageError
from quantgpu.io.decode import read_image
from quantgpu.io.inputs import as_pixels
from quantgpu.pixels.pixels import Pixels

PIXELS = noise(13, 11, 3)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(PIXELS),
        PIXELS,
        PIXELS.reshape(-1, 3),
        PIXELS.reshape(-1, 3).tolist(),
        PIXELS.tolist(),
        np.asfortranarray(PIXELS),
        np.dstack([PIXELS, PIXELS])[..., :3],
        [tuple(color) for color in PIXELS.reshape(-1, 3)],
    ],
    ids=["Pillow", "array", "colors", "list", "nested list", "Fortran", "strided", "tuples"],
)
def test_slabs_of_any_source_are_its_rows(image: Any) -> None:
    pixels = as_pixels(image)
    assert len(pixels) == 143
    slabs = [pixels.slab(*rows) for rows in pixels.row_ranges(batch=40)]
    assert len(slabs) > 1
    assert all(slab.flags.c_contiguous for slab in slabs)
    assert np.array_equal(np.concatenate(slabs), PIXELS.reshape(-1, 3))


@pytest.mark.parametrize("batch", [1, 10, 11, 12, 143, 144, 1000])
def test_row_ranges_cover_every_row_once(batch: int) -> None:
    rows = [row for start, stop in Pixels(PIXELS).row_ranges(batch) for row in range(start, stop)]
    assert rows == list(range(13))


@pytest.mark.parametrize(
    "mode",
    ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"],
)
def test_pillow_image_of_any_8_bit_mode_is_taken(mode: str) -> None:
    assert quantize(Image.new(mode, (3, 2)), k=1).index.shape == (2, 3)


@pytest.mark.parametrize("mode", ["F", "La"])
def test_pillow_image_of_other_modes_is_refused(mode: str) -> None:
    with pytest.raises(InputError, match=f"mode {mode}; convert"):
        quantize(Image.new(mode, (3, 2)))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("RGB", (0, 5)), "empty"),
        (Image.new("L", (5, 0)), "empty"),
        (Image.new("RGBA", (0, 0)), "empty"),
        (np.zeros((0, 5, 3), np.uint8), "empty"),
        (np.zeros((0, 3), np.uint8), "empty"),
        ([], "empty"),
        (np.zeros((3, 5, 2), np.uint8), "shape"),
        (np.zeros((3, 5), np.uint8), "shape"),
        (np.zeros((2, 3, 5, 3), np.uint8), "shape"),
        (None, "shape"),
        (np.zeros((3, 5, 3)), "float64"),
        (np.zeros((3, 5, 3), np.int64), "int64"),
        ([(0.5, 1, 2)], "integers"),
        ([(256, 0, 0)], r"0\.\.255"),
        ([(-1, 0, 0)], r"0\.\.255"),
        ([(1, 2, 3), (1, 2)], "triples"),
        ([("a", "b", "c")], "integers"),
        ([(True, False, True)], "integers"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(image: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        quantize(image)


def test_an_array_is_neither_copied_nor_changed() -> None:
    pixels = PIXELS.copy()
    pixels.flags.writeable = False
    assert np.shares_memory(as_pixels(pixels).slab(0, 13), pixels)
    quantize(pixels, k=4)


def test_a_pillow_image_is_left_as_it_was() -> None:
    image = Image.open(io.BytesIO(encoded(sideways(PIXELS, 6), "PNG", exif=exif(6))))
    before = image.copy()
    quantize(image, k=4)
    assert (image.mode, image.size, image.tobytes()) == (before.mode, before.size, before.tobytes())
    assert image.getexif()[0x0112] == 6


def test_an_opened_image_gives_what_its_file_gives(tmp_path: Path) -> None:
    path = tmp_path / "gray4.png"
    levels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    picture = Image.fromarray(levels)
    picture.putpalette(np.repeat(np.arange(0, 256, 17, dtype=np.uint8), 3).tobytes())
    picture.convert("L").save(path, transparency=5 * 17)
    for opened in (Image.open(path), str(path)):
        np.testing.assert_array_equal(
            as_pixels(opened).slab(0, 4),
            np.asarray(read_image(path, alpha="keep")[0]).reshape(-1, 4),
        )
    with Image.open(path) as twice:
        first, second = (as_pixels(twice).slab(0, 4) for _ in range(2))
    np.testing.assert_array_equal(first, second)
