"""Palettes: K distinct 8-bit colors in a stable order, on the host."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantgpu.errors import UsageError
from quantgpu.histogram import pack

LUMINANCE = np.array([2126, 7152, 722])
"""Ten thousandths of red, green and blue in luminance (ITU-R BT.709)."""


@dataclass(frozen=True, eq=False)
class Palette:
    """The colors of an indexed image."""

    colors: NDArray[np.uint8]
    """(K, 3) uint8 sRGB; an index is a row."""

    def __len__(self) -> int:
        return len(self.colors)

    def hex(self) -> list[str]:
        """The colors as ``#rrggbb``.

        >>> Palette(np.array([[255, 128, 0]], np.uint8)).hex()
        ['#ff8000']
        """
        return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in self.colors.tolist()]


def in_order(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The colors by luminance, dark to light; equal ones by green, red, blue.

    Neighbors in a picture then have close indices, which deflate encodes shorter.
    """
    levels = colors.astype(np.int64)
    red, green, blue = levels.T
    return np.ascontiguousarray(colors[np.lexsort((blue, red, green, levels @ LUMINANCE))])


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
