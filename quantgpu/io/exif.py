"""EXIF data: the orientation of a picture, and updates of single bytes for the written result."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from threading import Lock
from typing import Any, NamedTuple

from PIL import Image

from quantgpu.io.xmp import orientation_in, xmp_of

PROCESS_LOCK = Lock()
"""Held while settings of the whole process are changed, such as the filters of warnings."""

ORIENTATION, WIDTH, HEIGHT = 0x0112, 0x0100, 0x0101
"""EXIF tags of the picture: its orientation, 1 being upright, and its size in pixels."""

X_RESOLUTION, Y_RESOLUTION = 0x011A, 0x011B

COLOR_SPACE, EXIF_WIDTH, EXIF_HEIGHT = 0xA001, 0xA002, 0xA003
"""EXIF tags of the shot; color space 1 is sRGB."""

EXIF_TABLE, GPS_TABLE, INTEROPERABILITY_TABLE = 0x8769, 0x8825, 0xA005
"""EXIF tags whose values are the offsets of further tables of tags."""

THUMBNAIL, THUMBNAIL_BYTES = 0x0201, 0x0202
"""EXIF tags of the JPEG thumbnail: its offset and its length."""

VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""The kind of an EXIF value to its size in bytes."""

TIFF_TAGS = (270, 271, 272, 305, 306, 315, 33432)
"""TIFF tags about the picture rather than the encoding: description, make, model, software, date,
artist, copyright."""

DAMAGED = "damaged EXIF data ignored"

MOST_TABLES = 4
"""The most tables of tags that are read; EXIF has one for the shot and one for the place."""


def orientation_of(image: Image.Image, notes: list[str]) -> Any:
    """The orientation, 1 to 8, by EXIF, or by XMP if EXIF has none; 1 if EXIF is damaged."""
    try:
        with PROCESS_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            orientation = image.getexif().get(ORIENTATION)
            return orientation_in(xmp_of(image.info)) if orientation is None else orientation
    except Exception:  # Pillow raises various errors on damaged bytes
        note_damage(notes)
        return 1


def note_damage(notes: list[str]) -> None:
    """Append the note `DAMAGED`, once."""
    if DAMAGED not in notes:
        notes.append(DAMAGED)


def exif_of(image: Image.Image) -> bytes:
    """The EXIF data of an image, from the byte order on; empty if the image has none."""
    data = image.info.get("exif")
    if isinstance(data, bytes):
        return re.sub(rb"^(Exif\0\0)+", b"", data)
    try:
        with PROCESS_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return portable_exif(image.getexif())
    except Exception as error:  # Pillow raises various errors on damaged bytes
        raise ValueError(str(error)) from None


def portable_exif(source: Image.Exif) -> bytes:
    """The EXIF data of a TIFF file, or of a PNG text, without tags that refer to offsets.

    Maker notes hold offsets into their file, so they are left out.
    """
    portable = Image.Exif()
    for tag in TIFF_TAGS:
        if tag in source:
            portable[tag] = source[tag]
    for table in (EXIF_TABLE, GPS_TABLE):
        tags = dict(source.get_ifd(table))
        for tag in (INTEROPERABILITY_TABLE, 0x927C):
            tags.pop(tag, None)
        if tags:
            portable[table] = tags
    return portable.tobytes()[6:] if len(portable) else b""


def updated_exif(data: bytes, size: tuple[int, int], sideways: bool, in_srgb: bool) -> bytes:
    """EXIF data of an upright picture, without its thumbnail.

    All other bytes keep their offsets, to which maker notes of cameras refer.

    Args:
        data: From the byte order on.
        size: Width and height of the upright picture, in pixels.
        sideways: Whether turning the picture upright exchanged its width and height.
        in_srgb: Whether the colors were converted to sRGB.

    Raises:
        ValueError: The data is damaged.
    """
    if not data:
        return b""
    facts = {ORIENTATION: 1, **dict.fromkeys((WIDTH, EXIF_WIDTH), size[0])}
    facts |= dict.fromkeys((HEIGHT, EXIF_HEIGHT), size[1])
    if in_srgb:
        facts[COLOR_SPACE] = 1
    found = bytearray(data)
    try:
        order, main = main_table(found)
        starts = [e.number for e in main.entries if e.tag in (EXIF_TABLE, GPS_TABLE)]
        others = [read_table(found, start, order) for start in starts[:MOST_TABLES]]
        for table in main, *others:
            for entry in table.entries:
                if entry.tag in facts and entry.values == 1 and entry.kind in (3, 4):
                    set_value(found, entry, facts[entry.tag], order)
        if sideways:
            swap_values(found, main, X_RESOLUTION, Y_RESOLUTION, order)
        if main.next:
            remove_thumbnail(found, main, others, order)
    except struct.error as error:
        raise ValueError(f"damaged EXIF data: {error}") from None
    return bytes(found)


class Entry(NamedTuple):
    """One row of a table of EXIF tags."""

    tag: int
    kind: int
    values: int
    number: int
    """The value, or the offset of a value of more than four bytes."""
    place: int
    """The offset of `number` in the data."""


class Table(NamedTuple):
    """A table of EXIF tags."""

    start: int
    entries: list[Entry]
    next: int
    """The offset of the next picture's table; 0 if this is the last."""
    link: int
    """The offset of `next` in the data."""

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The half-open ranges of bytes that the table and its values take."""
        yield self.start, self.link + 4
        for entry in self.entries:
            length = VALUE_BYTES.get(entry.kind, 0) * entry.values
            if length > 4:
                yield entry.number, entry.number + length


def read_table(data: bytearray, start: int, order: str) -> Table:
    """The table of EXIF tags at the offset `start`; `order` is the byte order as in `struct`."""
    (count,) = struct.unpack_from(order + "H", data, start)
    link = start + 2 + 12 * count
    entries = []
    for place in range(start + 2, link, 12):
        tag, kind, length, number = struct.unpack_from(order + "HHII", data, place)
        entries.append(Entry(tag, kind, length, number, place + 8))
    (following,) = struct.unpack_from(order + "I", data, link) if link + 4 <= len(data) else (0,)
    return Table(start, entries, following, link)


def main_table(data: bytearray) -> tuple[str, Table]:
    """The byte order, ``<`` or ``>``, and the first table of EXIF data or of a TIFF file."""
    if bytes(data[:2]) not in (b"II", b"MM"):
        raise struct.error(f"no order of bytes: {bytes(data[:2])!r}")
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    return order, read_table(data, start, order)


def set_value(data: bytearray, entry: Entry, number: int, order: str) -> None:
    """Overwrite the value of a row, of 16 or 32 bits, with `number`."""
    if entry.kind == 4 or number < 1 << 16:
        struct.pack_into(order + ("H2x" if entry.kind == 3 else "I"), data, entry.place, number)


def swap_values(data: bytearray, table: Table, one: int, other: int, order: str) -> None:
    """Exchange the offsets of two rational values, given by their tags."""
    entries = {entry.tag: entry for entry in table.entries if entry.kind == 5}
    if one in entries and other in entries:
        struct.pack_into(order + "I", data, entries[one].place, entries[other].number)
        struct.pack_into(order + "I", data, entries[other].place, entries[one].number)


def remove_thumbnail(data: bytearray, main: Table, others: list[Table], order: str) -> None:
    """Remove the second picture; thumbnails amid other data become zeros."""
    second = read_table(data, main.next, order)
    struct.pack_into(order + "I", data, main.link, 0)
    places = {entry.tag: entry.number for entry in second.entries}
    thumbnail = places.get(THUMBNAIL, 0), places.get(THUMBNAIL, 0) + places.get(THUMBNAIL_BYTES, 0)
    live = [span for table in (main, *others) for span in table.ranges() if span[1] <= len(data)]
    if not any(first < thumbnail[1] and thumbnail[0] < last for first, last in live):
        data[slice(*thumbnail)] = bytes(len(data[slice(*thumbnail)]))
    if main.next >= (end := max(last for _, last in live)):
        del data[end:]
