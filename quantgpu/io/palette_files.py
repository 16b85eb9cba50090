"""Palette files: one table, from suffix to the reader and writer of its format."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.color.alpha import ALPHA_LIMITS
from quantgpu.errors import InputError, UsageError
from quantgpu.io import palette_binaries as binaries
from quantgpu.io import palette_texts as texts
from quantgpu.io.atomic import atomic_write
from quantgpu.io.decode import translate_read_errors
from quantgpu.io.palette_texts import Color
from quantgpu.palette import Palette, is_transparent

MOST_ENTRIES = 65_536
"""The most colors of a palette: as many as 16-bit indices can number."""

MOST_BYTES = 1 << 24
"""The most bytes of a palette file."""


class PaletteFormat(NamedTuple):
    """The reader and writer of a palette format; colors keep the file's order."""

    name: str
    read: Callable[[bytes], Sequence[Color] | NDArray[np.uint8]]
    write: Callable[[NDArray[np.uint8], str], bytes]
    """From (K, 3) colors, or (K, 4) if some are transparent, and a name to the bytes of a file."""
    most: int = MOST_ENTRIES
    """The most colors of a written file."""
    alpha: str = "flatten"
    """The transparency that a written file holds, a row of `ALPHAS`."""


PALETTE_FILES = {
    ".gpl": PaletteFormat("GIMP", texts.read_gpl, texts.write_gpl),
    ".act": PaletteFormat("Photoshop", binaries.read_act, binaries.write_act, 256),
    ".ase": PaletteFormat("Adobe swatches", binaries.read_ase, binaries.write_ase),
    ".pal": PaletteFormat("JASC or RIFF", binaries.read_pal, texts.write_jasc),
    ".hex": PaletteFormat("hexadecimal", texts.read_hex, texts.write_hex),
    ".txt": PaletteFormat("Paint.NET", texts.read_paint_net, texts.write_paint_net),
    ".json": PaletteFormat("JSON", texts.read_json, texts.write_json),
    ".css": PaletteFormat("CSS", texts.read_css, texts.write_css),
    ".png": PaletteFormat("PNG", binaries.read_png, binaries.write_png, alpha="keep"),
}
"""Suffix to palette format. ``.pal`` is read as JASC or RIFF, and written as JASC."""

MARKS = {
    b"GIMP Palette": ".gpl",
    b"ASEF": ".ase",
    b"JASC-PAL": ".pal",
    b"RIFF": ".pal",
    b"; paint.net": ".txt",
    b"\x89PNG": ".png",
}
"""The first bytes of a file to the suffix of its format."""


def palette_format(path: str | os.PathLike[str]) -> PaletteFormat:
    """The palette format of a file name's suffix.

    Raises:
        UsageError: No palette format has that suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in PALETTE_FILES:
        raise UsageError(
            f"{os.fspath(path)}: no palette format for the suffix {suffix or '(none)'!r}; "
            f"use one of {', '.join(PALETTE_FILES)}"
        )
    return PALETTE_FILES[suffix]


def check_entries(path: str | os.PathLike[str], count: int) -> PaletteFormat:
    """The palette format of `path`, after a check that it holds `count` colors.

    Raises:
        UsageError: The format does not hold them, or no palette format has that suffix.
    """
    form = palette_format(path)
    if not 1 <= count <= form.most:
        raise UsageError(f"{os.fspath(path)}: {count:,} colors are outside 1..{form.most:,}")
    return form


def read_palette(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The colors of a palette file, (K, 3) uint8 sRGB, in its order and with its duplicates.

    The colors of a ``.png`` with transparent ones are (K, 4), with alpha.

    Raises:
        InputError: The file cannot be read, or is malformed: the message says in which line or at
            which byte, and what was expected.
        UsageError: No palette format has that suffix.
    """
    form = palette_format(path)
    name = os.fspath(path)
    with translate_read_errors(name), open(path, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    try:
        if not data:
            raise InputError(f"byte 0: expected a {form.name} palette, found nothing: it is empty")
        if len(data) > MOST_BYTES:
            raise InputError(f"byte {MOST_BYTES}: expected the end of a palette, found more")
        colors = form.read(data)
        if not 1 <= len(colors) <= MOST_ENTRIES:
            raise InputError(
                f"byte {len(data)}: expected 1 to {MOST_ENTRIES:,} colors, found {len(colors):,}"
            )
    except InputError as error:
        raise InputError(f"{name}: {error}{hint(data, Path(path).suffix.lower())}") from None
    return drop_opaque_alpha(np.array(colors, np.uint8))


def drop_opaque_alpha(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Drop the alpha of (K, 4) colors if all are opaque."""
    return colors if is_transparent(colors) else colors[:, :3]


def hint(data: bytes, suffix: str) -> str:
    """Advice for a file whose first bytes are of another format than its suffix; else empty."""
    for mark, other in MARKS.items():
        if data.removeprefix(b"\xef\xbb\xbf").startswith(mark) and other != suffix:
            return f"; it begins like a {other} file: rename it"
    return ""


def write_palette(
    path: str | os.PathLike[str],
    colors: Palette | NDArray[np.uint8],
    force: bool = False,
) -> None:
    """Write (K, 3) or (K, 4) uint8 colors as a palette file, complete or not at all.

    Raises:
        UsageError: No palette format has that suffix, or the format does not hold the number of
            colors or their transparency.
        OutputError: The file exists and `force` is not given, or it cannot be written.
    """
    colors = colors.colors if isinstance(colors, Palette) else colors
    form, colors = check_entries(path, len(colors)), drop_opaque_alpha(colors)
    if colors.shape[1] == 4 and form.alpha == "flatten":
        raise UsageError(
            f"{os.fspath(path)}: {form.name} palettes hold {ALPHA_LIMITS[form.alpha]}; "
            "use --alpha flatten, or write .png instead"
        )
    data = form.write(np.ascontiguousarray(colors), Path(path).stem)
    with atomic_write(Path(path), force) as stream:
        stream.write(data)
