"""Append tables of EXIF tags to TIFF files, which Pillow's writer cannot write."""

from __future__ import annotations

import struct

import numpy as np

from quantgpu.io.exif import (
    EXIF_HEIGHT,
    EXIF_TABLE,
    EXIF_WIDTH,
    GPS_TABLE,
    INTEROPERABILITY_TABLE,
    TIFF_TAGS,
    VALUE_BYTES,
    Entry,
    Table,
    main_table,
    read_table,
)

UNITS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8}
"""The kind of a value to the size of its unit in bytes, for swapping the byte order."""


LEFT_OUT = 0x9101, EXIF_WIDTH, EXIF_HEIGHT, INTEROPERABILITY_TABLE
"""EXIF tags without a use in TIFF files; the first is the order of components."""


def with_exif(tiff: bytes, exif: bytes) -> bytes:
    """A TIFF file with the tags of `exif`, which must be undamaged EXIF data.

    New tables are appended, and behind them a new main table. The values take at most twice the
    bytes of `exif`: values beyond that, which share their bytes in `exif`, are left out.
    """
    out, source = bytearray(tiff), bytearray(exif)
    (order, own), (theirs, main) = main_table(out), main_table(source)
    rows = {entry.tag: bytes(out[entry.place - 8 : entry.place + 4]) for entry in own.entries}
    most = len(tiff) + 2 * len(exif)
    rows = copy_entries(out, source, main, order, theirs, most) | rows
    struct.pack_into(order + "I", out, 4, append_table(out, rows, order))
    return bytes(out)


def copy_entries(
    out: bytearray, source: bytearray, main: Table, order: str, theirs: str, most: int
) -> dict[int, bytes]:
    """Append the values of the main table of EXIF data to `out`; return its rows by tag.

    Values, without tables, make `out` no longer than `most` bytes. `order` is the byte order of
    `out` and `theirs` that of `source`, as in `struct`.
    """
    rows = {}
    for entry in {entry.tag: entry for entry in main.entries}.values():
        if entry.tag in (EXIF_TABLE, GPS_TABLE):
            table = read_table(source, entry.number, theirs)
            inner = {
                part.tag: row
                for part in table.entries
                if part.tag not in LEFT_OUT
                and (row := copy_entry(out, source, part, order, theirs, most))
            }
            start = append_table(out, inner, order)
            rows[entry.tag] = struct.pack(order + "HHII", entry.tag, 4, 1, start)
        elif entry.tag in TIFF_TAGS and (
            row := copy_entry(out, source, entry, order, theirs, most)
        ):
            rows[entry.tag] = row
    return rows


def copy_entry(
    out: bytearray, source: bytearray, entry: Entry, order: str, theirs: str, most: int
) -> bytes:
    """The row of an EXIF value in `out`, to which a value of more than 4 bytes is appended.

    Empty if the value is damaged, or would make `out` longer than `most` bytes.
    """
    length = VALUE_BYTES.get(entry.kind, 0) * entry.values
    if length > 4 and len(out) + length > most:
        return b""
    start = entry.place if length <= 4 else entry.number
    value = bytes(source[start : start + length])
    if not length or len(value) < length:
        return b""
    if order != theirs and entry.kind in UNITS:
        value = np.frombuffer(value, f"u{UNITS[entry.kind]}").byteswap().tobytes()
    row = struct.pack(order + "HHI", entry.tag, entry.kind, entry.values)
    if length <= 4:
        return row + value.ljust(4, b"\0")
    start = append_even(out, value)
    return row + struct.pack(order + "I", start)


def append_table(out: bytearray, rows: dict[int, bytes], order: str) -> int:
    """Append a table of rows, by tag, and return its offset."""
    body = b"".join(rows[tag] for tag in sorted(rows))
    return append_even(out, struct.pack(order + "H", len(rows)) + body + bytes(4))


def append_even(out: bytearray, data: bytes) -> int:
    """Append data at an even offset, as TIFF demands, and return the offset."""
    out += bytes(len(out) % 2)
    out += data
    return len(out) - len(data)
