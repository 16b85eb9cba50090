"""Palettes: K distinct 8-bit colors in a stable order, on the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
