"""From index maps to files, which appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantgpu.device import map_ahead
from quantgpu.errors import OutputError, UsageError
from quantgpu.metadata import NO_METADATA, Metadata, saving_options
from quantgpu.tiff import with_exif

COMPRESS_LEVEL = 2
"""Of deflate in PNG files, 0 to 9. 24 megapixels, K = 256: level 1 9.57 MB in 0.36 s, 2 9.22 MB in
0.36 s, 4 8.87 MB in 0.47 s, 6 8.53 MB in 0.88 s, 9 8.42 MB in 2.7 s."""

PNG_STRATEGIES = 0, 3
"""zlib's default strategy and its run lengths (Z_RLE)."""

NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
"""How a file is opened that must not exist yet."""

FEW_COLORS = 16
"""Up to so many colors PNG packs pixels into bytes, and run lengths make photographs smaller than
level 9 does, at a quarter of the time of level 6 (24 megapixels, K = 16: 2.52 MB against 2.58), but
text and patterns several times larger: so both are tried."""


class Format(NamedTuple):
    """What an output format holds."""

    name: str
    """Pillow's name."""
    colors: int
    """The most palette entries; with more than 256 the file is true color."""
    side: int
    """The greatest width and height, in pixels."""
    alpha: str
    """What palettes hold, a row of `ALPHAS`: any alpha, one fully transparent entry, or none."""
    options: dict[str, Any]
    """What is passed to Pillow's writer."""


WEBP_OPTIONS = {"lossless": True, "quality": 0, "method": 0, "exact": True}
"""Levels stay as they are, also those of transparent pixels."""

TIFF_OPTIONS = {"compression": "tiff_adobe_deflate"}

FORMATS = {
    ".png": Format("PNG", 256, 2**31 - 1, "keep", {}),
    ".gif": Format("GIF", 256, 65_535, "binary", {"optimize": False}),
    ".webp": Format("WEBP", 65_536, 16_383, "keep", WEBP_OPTIONS),
    ".tif": Format("TIFF", 256, 2**31 - 1, "flatten", TIFF_OPTIONS),
    ".tiff": Format("TIFF", 256, 2**31 - 1, "flatten", TIFF_OPTIONS),
    ".bmp": Format("BMP", 256, 2**31 - 1, "flatten", {}),
}
"""Suffix to output format."""


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
    """Raise unless a format holds K colors."""
    if k > form.colors:
        holders = [suffix for suffix, other in FORMATS.items() if other.colors >= k]
        hint = f"; write {' or '.join(holders)} instead" if holders else ""
        raise UsageError(f"k = {k} is more than the {form.colors} colors of {form.name}{hint}")


def check_sides(form: Format, width: int, height: int) -> None:
    """Raise unless a format holds an image of that size."""
    if max(width, height) > form.side:
        raise UsageError(
            f"{width} x {height} is more than {form.name} holds ({form.side} pixels a side); "
            "write .png instead"
        )


def check_alpha(form: Format, palette: NDArray[np.uint8]) -> None:
    """Raise unless a format holds the alpha of a (K, 3) or (K, 4) palette."""
    alphas = alphas_of(palette)
    transparent = alphas[alphas < 255]
    if form.alpha == "flatten" and len(transparent):
        raise UsageError(
            f"{form.name} holds no transparent colors; use --alpha flatten, or write .png instead"
        )
    if form.alpha == "binary" and (len(transparent) > 1 or transparent.any()):
        raise UsageError(
            f"{form.name} holds one transparent color of alpha 0, no others; "
            "use --alpha binary, or write .png instead"
        )


def alphas_of(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The alphas, uint8, of a (K, 3) or (K, 4) palette up to the last that is not 255."""
    alphas = palette[:, 3:].ravel()
    return alphas[: 1 + max(np.flatnonzero(alphas < 255), default=-1)]


def encode(
    index: NDArray[Any],
    palette: NDArray[np.uint8],
    form: Format,
    stream: IO[bytes],
    level: int,
    metadata: Metadata = NO_METADATA,
) -> int:
    """Write an (H, W) or (N,) index map with its palette to a stream; the bytes written.

    Args:
        index: Rows of the palette.
        palette: (K, 3) RGB or (K, 4) RGBA, uint8; alpha is straight, not premultiplied.
        form: A row of `FORMATS`.
        stream: Where to.
        level: Of deflate in PNG files, 0 to 9.
        metadata: What is written beside the pixels, as far as the format holds it.

    Raises:
        UsageError: The format cannot hold the palette or the size, or `level` is outside 0..9.
    """
    height, width = index.reshape(len(index), -1).shape
    check_colors(form, len(palette))
    check_alpha(form, palette)
    check_sides(form, width, height)
    if not 0 <= level <= 9:
        raise UsageError(f"compress_level = {level} is outside 0..9")
    options = form.options | saving_options(form.name, metadata)
    if form.name == "PNG":
        return stream.write(smallest_png(index, palette, level, options))
    picture = to_picture(index, palette)
    if form.name == "TIFF":
        file = io.BytesIO()
        picture.save(file, "TIFF", **options)
        exif = metadata.exif
        return stream.write(with_exif(file.getvalue(), exif) if exif else file.getbuffer())
    if form.name == "GIF" and (alphas := picture.info.pop("transparency", None)):
        picture.info["transparency"] = len(alphas) - 1
    picture.save(stream, form.name, **options)
    return stream.tell()


def smallest_png(
    index: NDArray[Any], palette: NDArray[np.uint8], level: int, options: dict[str, Any]
) -> memoryview:
    """The bytes of a PNG file, the smallest that deflate's strategies give."""

    def save(strategy: int) -> memoryview:
        picture = to_picture(index, palette)  # one for each thread: saving writes to it
        stream = io.BytesIO()
        picture.save(stream, "PNG", compress_level=level, compress_type=strategy, **options)
        return stream.getbuffer()

    strategies = PNG_STRATEGIES if len(palette) <= FEW_COLORS else PNG_STRATEGIES[:1]
    return min(map_ahead(save, strategies, len(strategies)), key=len)


def to_picture(index: NDArray[Any], palette: NDArray[np.uint8]) -> Image.Image:
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


@contextlib.contextmanager
def replacing(path: Path, force: bool) -> Iterator[IO[bytes]]:
    """A stream that becomes the file `path` when all went well, and nothing when it did not.

    Raises:
        OutputError: `path` exists and `force` is not given, or cannot be written.
    """
    temporary: str | None = None
    path = Path(os.path.realpath(path))
    check_target(path, force)
    try:
        with writing(path):
            candidate = str(path.parent / f".quantgpu-{secrets.token_hex(8)}.partial")
            descriptor = os.open(candidate, NEW_FILE, 0o666)  # less what the umask takes
            temporary = candidate
            with open(descriptor, "wb") as stream:
                yield stream
            if path.exists():
                os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
            check_target(path, force)
            os.replace(temporary, path)
            temporary = None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


@contextlib.contextmanager
def writing(name: str | os.PathLike[str]) -> Iterator[None]:
    """Whatever the system refuses inside becomes an OutputError that begins with `name`."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            reason = "the disk is full; nothing was written"
        elif isinstance(error, PermissionError):
            reason = "not writable (permission denied)"
        else:
            reason = f"cannot be written ({(error.strerror or str(error)).lower()})"
        raise OutputError(f"{os.fspath(name)}: {reason}") from None


def check_target(path: Path, force: bool) -> None:
    """Raise unless `path` is free, or a file that may be replaced, in a folder that exists."""
    with writing(path):
        if not path.parent.is_dir():
            if path.parent.exists():
                raise OutputError(f"{path.parent}: is not a folder")
            raise OutputError(f"{path.parent}: no such folder; create it first")
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; name a file, or use --output-dir")
        if path.exists() and not force:
            raise OutputError(f"{path}: exists; use --force to replace it, or -o for another name")
