"""Image files made by hand or by Pillow, of kinds that cameras, scanners and old programs write."""

from __future__ import annotations

import io
import struct
import zlib
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
