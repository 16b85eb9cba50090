"""EXIF data: which way is up, and data that is true of the result, byte by byte."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from threading import Lock
from typing import Any, NamedTuple

from PIL import Image

from quantgpu.io.xmp import orientation_in, xmp_of

ONE_AT_A_TIME = Lock()
"""Held while settings of the whole process are changed for a moment."""

ORIENTATION, WIDTH, HEIGHT = 0x0112, 0x0100, 0x0101
"""EXIF tags of the picture: which way is up, 1 being upright, and its size in pixels."""

X_RESOLUTION, Y_RESOLUTION = 0x011A, 0x011B

COLOR_SPACE, EXIF_WIDTH, EXIF_HEIGHT = 0xA001, 0xA002, 0xA003
"""EXIF tags of the shot; color space 1 is sRGB."""

EXIF_TABLE, GPS_TABLE, INTEROPERABILITY_TABLE = 0x8769, 0x8825, 0xA005
"""EXIF tags that say where further tags begin."""

THUMBNAIL, THUMBNAIL_BYTES = 0x0201, 0x0202
"""EXIF tags of a JPEG file within."""

VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""The kind of an EXIF value to its size."""

TIFF_TAGS = (270, 271, 272, 305, 306, 315, 33432)
"""What TIFF files say of a picture rather than of their bytes: description, make, model, software,
date, artist, copyright."""

DAMAGED = "damaged EXIF data ignored"

MOST_TABLES = 4
"""Tables of tags that are read; there is one for the shot and one for the place."""


def orientation_of(image: Image.Image, notes: list[str]) -> Any:
    """The value of the EXIF tag `ORIENTATION`, else what XMP tells; 1 where EXIF is damaged."""
    try:
        with ONE_AT_A_TIME, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            told = image.getexif().get(ORIENTATION)
            return orientation_in(xmp_of(image.info)) if told is None else told
    except Exception:  # it raises what it pleases on damaged bytes
        note_damage(notes)
        return 1


def note_damage(notes: list[str]) -> None:
    """Say once that EXIF data is damaged."""
    if DAMAGED not in notes:
        notes.append(DAMAGED)


def exif_of(image: Image.Image) -> bytes:
    """The EXIF data of an image, from the byte order on; nothing if there is none."""
    data = image.info.get("exif")
    if isinstance(data, bytes):
        return re.sub(rb"^(Exif\0\0)+", b"", data)
    try:
        with ONE_AT_A_TIME, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return chosen_exif(image.getexif())
    except Exception as error:  # it raises what it pleases on damaged bytes
        raise ValueError(str(error)) from None


def chosen_exif(source: Image.Exif) -> bytes:
    """The tags of a TIFF file, or of a text in a PNG file, that say something of the picture.

    What makers of cameras add refers to places in the file, so it cannot move.
    """
    chosen = Image.Exif()
    for tag in TIFF_TAGS:
        if tag in source:
            chosen[tag] = source[tag]
    for table in (EXIF_TABLE, GPS_TABLE):
        tags = dict(source.get_ifd(table))
        for moved in (INTEROPERABILITY_TABLE, 0x927C):
            tags.pop(moved, None)
        if tags:
            chosen[table] = tags
    return chosen.tobytes()[6:] if len(chosen) else b""


def updated_exif(data: bytes, size: tuple[int, int], sideways: bool, in_srgb: bool) -> bytes:
    """EXIF data of an upright picture, without its thumbnail.

    All else stays where it is, as what makers of cameras add refers to places in the data.

    Args:
        data: From the byte order on.
        size: Width and height of the picture.
        sideways: Whether the data was of one whose width and height were the other's.
        in_srgb: Whether it was of one in other colors, and this is in sRGB.

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
                    state(found, entry, facts[entry.tag], order)
        if sideways:
            swap(found, main, X_RESOLUTION, Y_RESOLUTION, order)
        if main.next:
            remove_thumbnail(found, main, others, order)
    except struct.error as error:
        raise ValueError(f"damaged EXIF data: {error}") from None
    return bytes(found)


class Entry(NamedTuple):
    """A value of a table of EXIF tags."""

    tag: int
    kind: int
    values: int
    number: int
    """The value, or where it begins if it is longer than four bytes."""
    place: int
    """Of the number."""


class Table(NamedTuple):
    """A table of EXIF tags."""

    start: int
    entries: list[Entry]
    next: int
    """Where the table of the next picture begins; 0 if there is none."""
    link: int
    """The place of `next`."""

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The places that the table and its values take."""
        yield self.start, self.link + 4
        for entry in self.entries:
            length = VALUE_BYTES.get(entry.kind, 0) * entry.values
            if length > 4:
                yield entry.number, entry.number + length


def read_table(data: bytearray, start: int, order: str) -> Table:
    """The table of EXIF tags that begins at a place."""
    (count,) = struct.unpack_from(order + "H", data, start)
    link = start + 2 + 12 * count
    entries = []
    for place in range(start + 2, link, 12):
        tag, kind, length, number = struct.unpack_from(order + "HHII", data, place)
        entries.append(Entry(tag, kind, length, number, place + 8))
    (following,) = struct.unpack_from(order + "I", data, link) if link + 4 <= len(data) else (0,)
    return Table(start, entries, following, link)


def main_table(data: bytearray) -> tuple[str, Table]:
    """The order of bytes, as `struct` has it, and the first table of EXIF data or a TIFF file."""
    if bytes(data[:2]) not in (b"II", b"MM"):
        raise struct.error(f"no order of bytes: {bytes(data[:2])!r}")
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    return order, read_table(data, start, order)


def state(data: bytearray, entry: Entry, number: int, order: str) -> None:
    """Put a number into a value of 16 or 32 bits."""
    if entry.kind == 4 or number < 1 << 16:
        struct.pack_into(order + ("H2x" if entry.kind == 3 else "I"), data, entry.place, number)


def swap(data: bytearray, table: Table, one: int, other: int, order: str) -> None:
    """Exchange two values that stand elsewhere."""
    entries = {entry.tag: entry for entry in table.entries if entry.kind == 5}
    if one in entries and other in entries:
        struct.pack_into(order + "I", data, entries[one].place, entries[other].number)
        struct.pack_into(order + "I", data, entries[other].place, entries[one].number)


def remove_thumbnail(data: bytearray, main: Table, others: list[Table], order: str) -> None:
    """Remove the second picture; where it stands amid the rest, its bytes become zeros."""
    second = read_table(data, main.next, order)
    struct.pack_into(order + "I", data, main.link, 0)
    places = {entry.tag: entry.number for entry in second.entries}
    thumbnail = places.get(THUMBNAIL, 0), places.get(THUMBNAIL, 0) + places.get(THUMBNAIL_BYTES, 0)
    live = [span for table in (main, *others) for span in table.ranges() if span[1] <= len(data)]
    if not any(first < thumbnail[1] and thumbnail[0] < last for first, last in live):
        data[slice(*thumbnail)] = bytes(len(data[slice(*thumbnail)]))
    if main.next >= (end := max(last for _, last in live)):
        del data[end:]
