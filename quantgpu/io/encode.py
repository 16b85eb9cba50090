"""Encode index maps as image files: PNG, GIF, WebP, TIFF, BMP, NPZ."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantgpu.errors import UsageError
from quantgpu.io.metadata import NO_METADATA, Metadata, saving_options
from quantgpu.io.tiff_exif import with_exif
from quantgpu.threads import imap_threads

COMPRESS_LEVEL = 2
"""The level of deflate in PNG files, 0 to 9. 24 megapixels, K = 256: level 1 9.57 MB in 0.36 s, 2
9.22 MB in 0.36 s, 4 8.87 MB in 0.47 s, 6 8.53 MB in 0.88 s, 9 8.42 MB in 2.7 s."""

PNG_STRATEGIES = 0, 3
"""zlib's default strategy and its run lengths (Z_RLE)."""

FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The earliest time of a ZIP entry; a fixed time keeps the bytes the same."""

UNIX = 3
"""The system that ZIP entries name, on whatever system they were written."""

FEW_COLORS = 16
"""The most colors for which PNG packs several pixels into a byte. Run lengths then make photographs
smaller than level 9 does, at a quarter of the time of level 6 (24 megapixels, K = 16: 2.52 MB
against 2.58), but text and patterns several times larger: so both strategies are tried."""


Index = NDArray[Any]
"""(H, W), or (N,) for a list of colors: rows of a palette, uint8 or uint16."""

Colors = NDArray[np.uint8]
"""(K, 3) RGB or (K, 4) RGBA; alpha is straight, not premultiplied."""


class Format(NamedTuple):
    """The limits of an output format."""

    name: str
    """Pillow's name, where Pillow writes it."""
    entries: int
    """The most entries of a palette; more colors are written as true color."""
    colors: int
    """The most colors."""
    side: int
    """The greatest width and height, in pixels."""
    alpha: str
    """The transparency that is held, a row of `ALPHAS`; ``binary`` is one color of alpha 0."""
    write: Callable[[Index, Colors, int, Metadata], bytes | memoryview]
    """Encodes (index map, palette, level of compression, metadata) as the bytes of a file."""


def format_for(path: str | os.PathLike[str]) -> Format:
    """The output format that a file name's suffix asks for.

    Raises:
        UsageError: No format has that suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(
            f"{os.fspath(path)}: no format for the suffix {suffix or '(none)'!r}; "
            f"use one of {', '.join(FORMATS)}"
        )
    return FORMATS[suffix]


def check_colors(form: Format, k: int) -> None:
    """Raise a UsageError unless a format holds K colors."""
    if k > form.colors:
        holders = [suffix for suffix, other in FORMATS.items() if other.colors >= k]
        hint = f"; write {' or '.join(holders)} instead" if holders else ""
        raise UsageError(f"k = {k} is more than the {form.colors} colors of {form.name}{hint}")


def check_sides(form: Format, width: int, height: int) -> None:
    """Raise a UsageError unless a format holds an image of `width` x `height` pixels."""
    if max(width, height) > form.side:
        raise UsageError(
            f"{width} x {height} is more than {form.name} holds ({form.side} pixels a side); "
            "write .png instead"
        )


def check_alpha(name: str, alpha: str, palette: NDArray[np.uint8]) -> None:
    """Raise a UsageError unless a format holds the transparency of a (K, 3 | 4) palette.

    `name` is the format's, and `alpha` the row of `ALPHAS` that it holds.
    """
    alphas = alphas_of(palette)
    transparent = alphas[alphas < 255]
    if alpha == "flatten" and len(transparent):
        raise UsageError(
            f"{name} holds no transparent colors; write .png, or use --alpha flatten and no "
            "such colors with --keep or --palette"
        )
    if alpha == "binary" and (len(transparent) > 1 or transparent.any()):
        raise UsageError(
            f"{name} holds one transparent color of alpha 0, no others; "
            "write .png, or use --alpha binary and no such colors with --keep or --palette"
        )


def alphas_of(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The alphas, uint8, of a (K, 3) or (K, 4) palette up to the last that is not 255."""
    alphas = palette[:, 3:].ravel()
    return alphas[: 1 + max(np.flatnonzero(alphas < 255), default=-1)]


def encode(
    index: Index,
    palette: Colors,
    form: Format,
    stream: IO[bytes],
    level: int,
    metadata: Metadata = NO_METADATA,
) -> int:
    """Write an index map with its palette to a stream; return the number of bytes.

    Args:
        index: (H, W) or (N,), rows of the palette.
        palette: (K, 3) or (K, 4) uint8 colors.
        form: A row of `FORMATS`.
        stream: Open for writing bytes.
        level: Of deflate in PNG and NPZ files, 0 to 9.
        metadata: Written as far as the format holds it.

    Raises:
        UsageError: The format cannot hold the palette or the size, or `level` is outside 0..9.
    """
    height, width = index.reshape(len(index), -1).shape
    check_colors(form, len(palette))
    check_alpha(form.name, form.alpha, palette)
    check_sides(form, width, height)
    if not 0 <= level <= 9:
        raise UsageError(f"compress_level = {level} is outside 0..9")
    return stream.write(form.write(index, palette, level, metadata))


def save_picture(picture: Image.Image, name: str, metadata: Metadata, **options: Any) -> memoryview:
    """The bytes of a picture saved by Pillow in the format `name`, with its metadata."""
    stream = io.BytesIO()
    picture.save(stream, name, **options, **saving_options(name, metadata))
    return stream.getbuffer()


def png(index: Index, palette: Colors, level: int, metadata: Metadata) -> memoryview:
    """A PNG file, the smallest that deflate's strategies give."""

    def save(strategy: int) -> memoryview:
        picture = to_picture(index, palette)  # one for each thread: saving writes to it
        return save_picture(picture, "PNG", metadata, compress_level=level, compress_type=strategy)

    strategies = PNG_STRATEGIES if len(palette) <= FEW_COLORS else PNG_STRATEGIES[:1]
    return min(imap_threads(save, strategies, len(strategies)), key=len)


def gif(index: Index, palette: Colors, level: int, metadata: Metadata) -> memoryview:
    """A GIF file; interlaced ones are larger by 2 to 10 %."""
    picture = to_picture(index, palette)
    if alphas := picture.info.pop("transparency", None):
        picture.info["transparency"] = len(alphas) - 1
    return save_picture(picture, "GIF", metadata, optimize=False, interlace=False)


def webp(index: Index, palette: Colors, level: int, metadata: Metadata) -> memoryview:
    """A lossless WebP file, with the levels of transparent pixels too."""
    options = {"lossless": True, "quality": 0, "method": 0, "exact": True}
    return save_picture(to_picture(index, palette), "WEBP", metadata, **options)


def tiff(index: Index, palette: Colors, level: int, metadata: Metadata) -> bytes | memoryview:
    """A TIFF file."""
    options = {"compression": "tiff_adobe_deflate"}
    file = save_picture(to_picture(index, palette), "TIFF", metadata, **options)
    return with_exif(bytes(file), metadata.exif) if metadata.exif else file


def bmp(index: Index, palette: Colors, level: int, metadata: Metadata) -> memoryview:
    """A BMP file."""
    return save_picture(to_picture(index, palette), "BMP", metadata)


def npz(index: Index, palette: Colors, level: int, metadata: Metadata) -> memoryview:
    """An archive for `numpy.load`: ``index`` and ``palette``, (K, 4) if some color is not opaque.

    Equal arrays give equal bytes, at whatever time and on whatever system.
    """
    colors = palette if len(alphas_of(palette)) else palette[:, :3]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in (("index", index), ("palette", colors)):
            entry = zipfile.ZipInfo(f"{name}.npy", FIRST_DAY)
            entry.create_system, entry.external_attr = UNIX, 0o644 << 16
            file = io.BytesIO()
            ordered = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            np.save(file, ordered, allow_pickle=False)
            method = zipfile.ZIP_DEFLATED if level else zipfile.ZIP_STORED
            archive.writestr(entry, file.getbuffer(), method, level)
    return stream.getbuffer()


FORMATS = {
    ".png": Format("PNG", 256, 65_536, 2**31 - 1, "keep", png),
    ".gif": Format("GIF", 256, 256, 65_535, "binary", gif),
    ".webp": Format("WEBP", 0, 65_536, 16_383, "keep", webp),
    ".tif": Format("TIFF", 256, 65_536, 2**31 - 1, "flatten", tiff),
    ".tiff": Format("TIFF", 256, 65_536, 2**31 - 1, "flatten", tiff),
    ".bmp": Format("BMP", 256, 65_536, 2**31 - 1, "flatten", bmp),
    ".npz": Format("NPZ", 65_536, 65_536, 2**63 - 1, "keep", npz),
}
"""Suffix to output format. Palettes of TIFF may have 65,536 entries, but Pillow, libtiff's own
tools and ffmpeg read at most 256 (ImageMagick and libvips read more)."""


def to_picture(index: Index, palette: Colors) -> Image.Image:
    """A Pillow image of mode P; of mode RGB or RGBA for more than 256 colors."""
    index = index.reshape(len(index), -1)
    alphas = alphas_of(palette)
    if len(palette) > 256:
        return Image.fromarray((palette if len(alphas) else palette[:, :3])[index])
    picture = Image.fromarray(index)
    picture.putpalette(palette[:, :3].tobytes())
    if len(alphas):
        picture.info["transparency"] = alphas.tobytes()
    return picture
