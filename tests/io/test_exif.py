"""EXIF data says of the result what is true of it, and all else stays where it was."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from image_files import camera_exif
from PIL import ExifTags, Image

from quantgpu.io.exif import main_table, updated_exif

WIDE = (600, 400)
ORDERS = "<", ">"
THUMBNAILS = "at the end", "amid the rest", "none"
SMALL = b"a small picture"


def tags_of(data: bytes) -> dict[str, Any]:
    """The tags as Pillow reads them, by name."""
    found = Image.Exif()
    found.load(data)
    tags: dict[int, Any] = dict(found)
    for table in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        tags |= {place: value for place, value in found.get_ifd(table).items() if place > 2}
    tags["north"] = found.get_ifd(ExifTags.IFD.GPSInfo).get(2)  # type: ignore[index]
    tags["second"] = found.get_ifd(ExifTags.IFD.IFD1)  # type: ignore[index]
    return {ExifTags.TAGS.get(tag, str(tag)): value for tag, value in tags.items()}


def after_or_none(data: bytes) -> bytes | None:
    """The data after `updated_exif`, or None where it is refused in the way that is promised."""
    try:
        after = updated_exif(data, WIDE, sideways=True, in_srgb=True)
    except ValueError:
        return None
    assert len(after) <= len(data)
    return after


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("thumbnail", THUMBNAILS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_picture_is_upright_of_its_size_and_in_srgb(
    orientation: int, thumbnail: str, order: str
) -> None:
    before = camera_exif(orientation, (400, 600), order, thumbnail)
    tags = tags_of(updated_exif(before, WIDE, sideways=True, in_srgb=True))
    assert tags["Orientation"] == 1
    assert (tags["ExifImageWidth"], tags["ExifImageHeight"]) == WIDE
    assert (tags["XResolution"], tags["YResolution"]) == (150, 300)
    assert tags["ColorSpace"] == 1
    assert tags["second"] == {}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("thumbnail", THUMBNAILS)
def test_all_else_is_as_it_was(thumbnail: str, order: str) -> None:
    before = camera_exif(6, WIDE, order, thumbnail)
    after = updated_exif(before, WIDE, sideways=False, in_srgb=False)
    tags, expected = tags_of(after), tags_of(before)
    assert tags | {"Orientation": 6, "second": expected["second"]} == expected
    assert tags["Artist"] == expected["Artist"]
    assert (tags["ExposureTime"], tags["north"]) == (1 / 125, (48, 6, 0))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("thumbnail", THUMBNAILS)
def test_what_the_maker_adds_stays_where_it_stands(thumbnail: str, order: str) -> None:
    after = updated_exif(camera_exif(6, WIDE, order, thumbnail), WIDE, True, True)
    place = after.index(b"MAKER")
    assert struct.unpack_from(order + "I", after, place + 5) == (place,)


@pytest.mark.parametrize("order", ORDERS)
def test_thumbnail_is_gone_with_its_bytes(order: str) -> None:
    at_end, amid = (camera_exif(1, WIDE, order, where) for where in THUMBNAILS[:2])
    assert SMALL in at_end
    assert SMALL in amid
    assert SMALL not in updated_exif(at_end, WIDE, False, False)
    assert SMALL not in updated_exif(amid, WIDE, False, False)
    plain = camera_exif(1, WIDE, order, "none")
    assert len(updated_exif(at_end, WIDE, False, False)) - len(plain) in (0, 1)


def test_thumbnail_said_to_stand_on_other_data_costs_none_of_it() -> None:
    data = bytearray(camera_exif(6, WIDE, "<", "at the end"))
    place = bytes(data).rindex(struct.pack("<HHI", 0x0201, 4, 1)) + 8
    struct.pack_into("<I", data, place, 8)
    struct.pack_into("<I", data, place + 12, 150)
    tags = tags_of(updated_exif(bytes(data), WIDE, False, False))
    assert (tags["Make"], tags["ExposureTime"], tags["second"]) == ("ACME", 1 / 125, {})


def test_sizes_beyond_16_bits_are_not_forced_into_them() -> None:
    tags = tags_of(updated_exif(camera_exif(1, WIDE), (70_000, 80_000), False, False))
    assert tags["ExifImageWidth"] == 70_000
    assert tags["ExifImageHeight"] == 400, "it has 16 bits, and was not made wrong"


def test_no_data_stays_no_data() -> None:
    assert updated_exif(b"", WIDE, True, True) == b""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("thumbnail", THUMBNAILS)
def test_truncated_data_is_refused_or_harmless(order: str, thumbnail: str) -> None:
    data = camera_exif(6, WIDE, order, thumbnail)
    outcomes = [after_or_none(data[:length]) for length in range(1, len(data))]
    found = [after for after in outcomes if after is not None]
    assert all(main_table(bytearray(after))[1].next == 0 for after in found)
    assert 100 < outcomes.count(None) < len(data) - 1


def test_flipped_bytes_are_refused_or_harmless() -> None:
    rng = np.random.default_rng(6)
    outcomes = []
    for _ in range(2000):
        data = bytearray(camera_exif(6, WIDE, str(rng.choice(ORDERS)), str(rng.choice(THUMBNAILS))))
        data[rng.integers(0, len(data))] = rng.integers(0, 256)
        data[rng.integers(0, 30)] = rng.integers(0, 256)
        outcomes.append(after_or_none(bytes(data)))
    assert 20 < outcomes.count(None) < 1900


def test_tables_that_refer_to_themselves_come_to_an_end() -> None:
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, 8) for tag in (0x8769, 0x8825) * 5000)
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", 10_000) + rows + struct.pack("<I", 8)
    assert len(updated_exif(data, WIDE, True, True)) <= len(data)
