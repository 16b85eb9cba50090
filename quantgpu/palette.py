"""Palettes: K distinct 8-bit colors in a stable order, on the host."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.errors import UsageError
from quantgpu.histogram import pack
from quantgpu.pixels.pixels import all_levels

MOST_COLORS = 65_536
"""K is at most what 16-bit indices can tell apart."""

LUMINANCE = np.array([2126, 7152, 722])
"""Ten thousandths of red, green and blue in luminance (ITU-R BT.709)."""


@dataclass(frozen=True, eq=False)
class Palette:
    """The colors of an indexed image."""

    colors: NDArray[np.uint8]
    """(K, 3) uint8 sRGB, or (K, 4) with alpha, not premultiplied; an index is a row."""

    def __len__(self) -> int:
        return len(self.colors)

    def hex(self) -> list[str]:
        """The colors as ``#rrggbb``, or ``#rrggbbaa`` if they are not opaque.

        >>> Palette(np.array([[255, 128, 0, 255], [0, 0, 0, 9]], np.uint8)).hex()
        ['#ff8000', '#00000009']
        """
        shown = [color[: 4 if color[3:] < [255] else 3] for color in self.colors.tolist()]
        return [f"#{bytes(color).hex()}" for color in shown]


def as_palette(colors: Any) -> Palette:
    """`colors` as a palette in the order they have: an array, tuples, or a palette file's path."""
    if isinstance(colors, Palette):
        return colors
    if isinstance(colors, str | os.PathLike):
        from quantgpu.io.palette_files import read_palette

        return Palette(read_palette(colors))
    try:
        entries = np.asarray(colors)
    except ValueError as error:
        raise UsageError(f"colors must be triples of integers: {error}") from None
    is_palette = entries.ndim == 2 and entries.shape[1] in (3, 4)
    if not is_palette or not 1 <= len(entries) <= MOST_COLORS:
        raise UsageError(
            f"colors of shape {entries.shape}: a palette is (K, 3) or (K, 4), K in 1..{MOST_COLORS}"
        )
    if not all_levels(entries):
        raise UsageError("colors must be integers in 0..255")
    return Palette(np.ascontiguousarray(entries.astype(np.uint8)))


def of_channels(colors: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """(K, channels) uint8: the colors with an alpha of 255, or without alpha."""
    opaque = np.full((len(colors), 1), 255, np.uint8)
    return np.ascontiguousarray(np.hstack([colors, opaque])[:, :channels])


def is_transparent(colors: NDArray[np.uint8]) -> bool:
    """Whether some of the colors are not opaque."""
    return colors.shape[1] == 4 and bool((colors[:, 3] < 255).any())


def in_order(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The colors by alpha, clear to opaque, then luminance, dark to light, green, red, blue.

    Neighbors in a picture then have close indices, which deflate encodes shorter; and PNG needs the
    alpha of the first colors only.
    """
    red, green, blue, *alpha = levels = colors.T.astype(np.int64)
    luminance = LUMINANCE @ levels[:3]
    return np.ascontiguousarray(colors[np.lexsort((blue, red, green, luminance, *alpha))])


def distinct(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The colors without repetitions, each where it first stands."""
    _, first = np.unique(pack(np.ascontiguousarray(colors)), return_index=True)
    return colors[np.sort(first)]


def parse_color(text: str, name: str = "color", *, alpha: bool = False) -> tuple[int, ...]:
    """Red, green and blue, 0 to 255 each, of a color as people write it; with `alpha` that too.

    Accepted are ``#rgb``, ``#rrggbb``, with `alpha` ``#rrggbbaa``, all also without the ``#`` that
    begins a comment in a shell, and the names of CSS.

    >>> parse_color("#f80"), parse_color("Navy", alpha=True), parse_color("ff800080", alpha=True)
    ((255, 136, 0), (0, 0, 128, 255), (255, 128, 0, 128))

    Raises:
        UsageError: It is none of these; `name` says of what.
    """
    from PIL.ImageColor import colormap, getrgb

    spelled = text.strip().lower()
    if spelled in colormap:
        return (*getrgb(spelled)[:3], 255)[: 4 if alpha else 3]
    found = re.fullmatch(r"#?([0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})", spelled)
    if not found or (len(found[1]) == 8 and not alpha):
        forms = "#rgb, #rrggbb, #rrggbbaa" if alpha else "#rgb, #rrggbb"
        raise UsageError(f"{name} = {text!r} is no color; use {forms} or a CSS name such as white")
    digits = found[1] if len(found[1]) > 3 else "".join(2 * digit for digit in found[1])
    return (*bytes.fromhex(digits), 255)[: 4 if alpha else 3]


def parse_colors(text: str, name: str) -> NDArray[np.uint8]:
    """(m, 4) uint8: colors as people write them, with commas between them, or a palette file's.

    >>> parse_colors("#f80, navy", "keep").tolist()
    [[255, 136, 0, 255], [0, 0, 128, 255]]

    Raises:
        UsageError: They are neither.
        InputError: The file cannot be read as a palette.
    """
    if os.path.exists(text):
        return of_channels(as_palette(text).colors, 4)
    try:
        colors = [parse_color(part, name, alpha=True) for part in text.split(",")]
    except UsageError as error:
        raise UsageError(f"{error}; or name a palette file that exists") from None
    return np.array(colors, np.uint8)
