"""Palettes: K distinct 8-bit colors in a stable order, on the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantgpu.color.packing import pack

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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Palette) and np.array_equal(self.colors, other.colors)

    def __hash__(self) -> int:
        return hash((self.colors.shape, self.colors.tobytes()))

    def hex(self) -> list[str]:
        """The colors as ``#rrggbb``, or ``#rrggbbaa`` if they are not opaque.

        >>> Palette(np.array([[255, 128, 0, 255], [0, 0, 0, 9]], np.uint8)).hex()
        ['#ff8000', '#00000009']
        """
        shown = [color[: 4 if color[3:] < [255] else 3] for color in self.colors.tolist()]
        return [f"#{bytes(color).hex()}" for color in shown]


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
