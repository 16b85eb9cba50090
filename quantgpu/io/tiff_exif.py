"""Tags for TIFF files that Pillow's writer cannot write: whole tables of EXIF tags."""

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
"""The kind of a value to the bytes of which the order matters."""


LEFT_OUT = 0x9101, EXIF_WIDTH, EXIF_HEIGHT, INTEROPERABILITY_TABLE
"""EXIF tags that TIFF files have no use for; the first is the order of components."""


def with_exif(tiff: bytes, exif: bytes) -> bytes:
    """A TIFF file that says of its picture what EXIF data says, which must not be damaged.

    New tables are appended, and the file's own is written again behind them. Values that refer to
    the same bytes again and again are left out where they would take more than twice what they take
    now.
    """
    out, source = bytearray(tiff), bytearray(exif)
    (order, own), (theirs, main) = main_table(out), main_table(source)
    rows = {entry.tag: bytes(out[entry.place - 8 : entry.place + 4]) for entry in own.entries}
    most = len(tiff) + 2 * len(exif)
    rows = copied(out, source, main, order, theirs, most) | rows
    struct.pack_into(order + "I", out, 4, put_table(out, rows, order))
    return bytes(out)


def copied(
    out: bytearray, source: bytearray, main: Table, order: str, theirs: str, most: int
) -> dict[int, bytes]:
    """Rows for what the main table of EXIF data says, whose values are appended to `out`.

    `out` gets no longer than `most` bytes by that, but for the tables themselves.
    """
    rows = {}
    for entry in {entry.tag: entry for entry in main.entries}.values():
        if entry.tag in (EXIF_TABLE, GPS_TABLE):
            table = read_table(source, entry.number, theirs)
            inner = {
                part.tag: row
                for part in table.entries
                if part.tag not in LEFT_OUT
                and (row := copy(out, source, part, order, theirs, most))
            }
            start = put_table(out, inner, order)
            rows[entry.tag] = struct.pack(order + "HHII", entry.tag, 4, 1, start)
        elif entry.tag in TIFF_TAGS and (row := copy(out, source, entry, order, theirs, most)):
            rows[entry.tag] = row
    return rows


def copy(
    out: bytearray, source: bytearray, entry: Entry, order: str, theirs: str, most: int
) -> bytes:
    """A row for a value of EXIF data, which is appended if it is long; nothing if it is damaged."""
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
    start = append(out, value)
    return row + struct.pack(order + "I", start)


def put_table(out: bytearray, rows: dict[int, bytes], order: str) -> int:
    """Append a table of rows, by tag; where it begins."""
    body = b"".join(rows[tag] for tag in sorted(rows))
    return append(out, struct.pack(order + "H", len(rows)) + body + bytes(4))


def append(out: bytearray, data: bytes) -> int:
    """Append data at an even place, as TIFF has it; that place."""
    out += bytes(len(out) % 2)
    out += data
    return len(out) - len(data)
