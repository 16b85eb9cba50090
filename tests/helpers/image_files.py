"""Image files made by hand or by Pillow, of kinds that cameras, scanners and old programs write."""

from __future__ import annotations

import io
import struct
import zlib
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ADAM7 = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)
"""First row and column, and steps down and right, of the passes of an interlaced PNG
(W3C, PNG Specification, section 8.1)."""

LOSSLESS_KINDS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {"compression": "tiff_lzw"},
    "BMP": {},
}
"""Pillow's name of a format to the options with which it keeps RGB pixels as they are."""

KINDS = LOSSLESS_KINDS | {"GIF": {}, "JPEG": {}}
"""The formats that are read, and options to write them."""


def encoded(image: Image.Image | NDArray[Any], form: str, **options: Any) -> bytes:
    """A file of Pillow's format `form`."""
    stream = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(stream, form, **options)
    return stream.getvalue()


def noise(*shape: int, seed: int = 0, dtype: Any = np.uint8) -> NDArray[Any]:
    """Levels over the whole range of `dtype`, drawn at random."""
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    rows: list[bytes],
    width: int,
    height: int,
    *chunks: bytes,
    depth: int = 8,
    color_type: int = 2,
    interlaced: bool = False,
) -> bytes:
    """A PNG file of unfiltered `rows`; `chunks` come before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlaced)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = chunk(b"IHDR", header), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def interlaced_png(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) pixels as an interlaced PNG file, which Pillow reads but cannot write."""
    height, width, _ = pixels.shape
    passes = [pixels[y::down, x::right] for y, x, down, right in ADAM7]
    rows = [row.tobytes() for part in passes for row in part if row.size]
    return png(rows, width, height, interlaced=True)


def bmp_565(colors: list[int]) -> bytes:
    """One row of pixels with 5, 6 and 5 bits of red, green and blue, an even number, as BMP."""
    size = 2 * len(colors)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    header = struct.pack("<IiiHHIIiiII", 40, len(colors), 1, 1, 16, 3, size, 0, 0, 0, 0)
    start = 14 + len(header) + len(masks)
    opening = b"BM" + struct.pack("<IHHI", start + size, 0, 0, start)
    return opening + header + masks + struct.pack(f"<{len(colors)}H", *colors)


def sideways(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """How a camera stores upright (H, W, 3) `pixels` when it writes that EXIF orientation.

    Orientations say where the first stored row and column belong (EXIF 2.32, section 4.6.4).
    """
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    down = -1 if orientation in (3, 4, 6, 7) else 1
    right = -1 if orientation in (2, 3, 7, 8) else 1
    return np.ascontiguousarray(pixels[::down, ::right])


def exif(orientation: int) -> Image.Exif:
    """EXIF data that says which way is up."""
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def icc(space: bytes, connection: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    """A color profile of version 2.4 (ICC.1:2001, section 6)."""
    body, table = b"", struct.pack(">I", len(tags))
    start = 132 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4xI", start + len(body), 0x02400000) + kind + space + connection
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(24)
    header += struct.pack(">I3i", 1, *(round(65536 * x) for x in (0.9642, 1, 0.8249)))
    return header.ljust(128, b"\0") + table + body


def described(name: str) -> bytes:
    """A name as a tag of a color profile."""
    text = name.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)


def cmyk_profile(name: str, corners: NDArray[np.float64]) -> bytes:
    """A profile of inks; `corners` are (2, 2, 2, 2, 3) L*, a* and b* without and with each."""
    levels = np.round(corners * (255 / 100, 1, 1) + (0, 128, 128)).clip(0, 255).astype(np.uint8)
    straight = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity
    lut += 4 * straight + levels.tobytes() + 3 * straight
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"desc": described(name), b"wtpt": white, b"A2B0": lut}
    return icc(b"CMYK", b"Lab ", tags, b"prtr")


def camera_exif(
    orientation: int, size: tuple[int, int], order: str = "<", thumbnail: str = "at the end"
) -> bytes:
    """EXIF data as cameras write it: of the picture, the shot, the place, and a thumbnail.

    The maker's own data holds the place where it stands, as makers rely on that. The thumbnail is
    ``at the end``, ``amid the rest`` or ``none``.
    """
    places: defaultdict[str, int] = defaultdict(int)

    def short(number: int) -> bytes:
        return struct.pack(order + "H2x", number)

    def long(*numbers: int) -> bytes:
        return struct.pack(f"{order}{len(numbers)}I", *numbers)

    def table(*rows: tuple[int, int, int, bytes], following: int = 0) -> bytes:
        body = b"".join(struct.pack(order + "HHI", *row[:3]) + row[3] for row in rows)
        return struct.pack(order + "H", len(rows)) + body + long(following)

    small = b"\xff\xd8 a small picture \xff\xd9"
    data = b""
    for _ in range(2):  # once to find the places, once to write them
        picture = table(
            (0x010F, 2, 5, long(places["make"])),
            (0x0112, 3, 1, short(orientation)),
            (0x011A, 5, 1, long(places["x"])),
            (0x011B, 5, 1, long(places["y"])),
            (0x013B, 2, 8, long(places["artist"])),
            (0x8769, 4, 1, long(places["shot"])),
            (0x8825, 4, 1, long(places["place"])),
            following=places["second"],
        )
        shot = table(
            (0x829A, 5, 1, long(places["time"])),
            (0x927C, 7, 9, long(places["maker"])),
            (0xA001, 3, 1, short(0xFFFF)),
            (0xA002, 4, 1, long(size[0])),
            (0xA003, 3, 1, short(size[1])),
        )
        place = table((0x0001, 2, 2, b"N\0\0\0"), (0x0002, 5, 3, long(places["north"])))
        second = table((0x0201, 4, 1, long(places["small"])), (0x0202, 4, 1, long(len(small))))
        second_picture = {"second": second, "small": small}
        parts = {
            "picture": picture, "make": b"ACME\0", "artist": "Jürgen\0".encode(),
            "x": long(300, 1), "y": long(150, 1),
            **(second_picture if thumbnail == "amid the rest" else {}),
            "shot": shot, "time": long(1, 125), "maker": b"MAKER" + long(places["maker"]),
            "place": place, "north": long(48, 1, 6, 1, 0, 1),
            **(second_picture if thumbnail == "at the end" else {}),
        }  # fmt: skip
        data = (b"II*\0" if order == "<" else b"MM\0*") + long(8)
        for name, part in parts.items():
            data += bytes(len(data) % 2)
            places[name] = len(data)
            data += part
    return data
