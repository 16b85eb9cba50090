"""TIFF files take up EXIF data, and lose nothing by it."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from image_files import camera_exif, encoded, noise
from PIL import ExifTags, Image

from quantgpu.io.exif import EXIF_TABLE, main_table
from quantgpu.io.tiff_exif import with_exif

GRAY = noise(13, 11) % 5


def tiff_file(order: str = "<") -> bytes:
    """A picture with a palette, or where the order is another one of 16-bit grays."""
    if order == ">":
        levels = Image.frombytes("I;16B", (11, 13), noise(13, 11, 2).tobytes())
        return encoded(levels, "TIFF", dpi=(300, 150))
    image = Image.fromarray(GRAY)
    image.putpalette(noise(15, seed=1).tobytes())
    return encoded(image, "TIFF", compression="tiff_adobe_deflate", dpi=(300, 150))


@pytest.mark.parametrize("theirs", ["<", ">"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_file_says_what_exif_data_says_whatever_the_byte_orders(order: str, theirs: str) -> None:
    before = tiff_file(order)
    data = with_exif(before, camera_exif(1, (11, 13), theirs))
    assert main_table(bytearray(data))[0] == order
    with Image.open(io.BytesIO(data)) as image, Image.open(io.BytesIO(before)) as plain:
        assert image.tobytes() == plain.tobytes()
        assert image.getpalette() == plain.getpalette()
        assert image.info["dpi"] == (300, 150)
        tags = image.getexif()
        assert (tags[271], tags[315]) == ("ACME", "Jürgen".encode().decode("latin-1"))
        shot, place = (tags.get_ifd(table) for table in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo))
    assert float(shot[0x829A]) == 1 / 125
    assert shot[0xA001] == 0xFFFF
    assert 0xA002 not in shot
    assert (place[1], place[2]) == ("N", (48, 6, 0))


def test_tags_of_the_file_itself_are_kept_and_in_order() -> None:
    before, after = tiff_file(), with_exif(tiff_file(), camera_exif(6, (11, 13)))
    own = {entry.tag: entry for entry in main_table(bytearray(before))[1].entries}
    entries = main_table(bytearray(after))[1].entries
    tags = [entry.tag for entry in entries]
    assert tags == sorted(set(tags))
    found = {entry.tag: entry for entry in entries}
    assert all(found[tag][:4] == own[tag][:4] for tag in own)
    assert set(found) - set(own) == {271, 315, 0x8769, 0x8825}
    assert 0x0112 not in found, "upright needs no word"


def test_values_that_lie_outside_are_left_out() -> None:
    data = bytearray(camera_exif(1, (11, 13)))
    place = bytes(data).index(np.array([0x010F, 2], "<u2").tobytes()) + 8
    data[place : place + 4] = b"\xff\xff\xff\x7f"
    with Image.open(io.BytesIO(with_exif(tiff_file(), bytes(data)))) as image:
        assert 271 not in image.getexif()
        assert image.getexif()[315]


def test_values_that_share_their_bytes_do_not_make_a_file_larger_than_it_is() -> None:
    """64 kB of EXIF data whose tags all refer to the same bytes made 320 MB of TIFF."""
    count = 4000
    rows = b"".join(struct.pack("<HHII", 0x9000 + n, 7, 60_000, 8) for n in range(count))
    inner = struct.pack("<H", count) + rows + bytes(4)
    main = struct.pack("<HHHII", 1, EXIF_TABLE, 4, 1, 8 + 18) + bytes(4)
    exif = b"II*\0" + struct.pack("<I", 8) + main + inner + bytes(60_000)
    tiff = tiff_file()
    assert len(with_exif(tiff, exif)) < len(tiff) + 3 * len(exif)
