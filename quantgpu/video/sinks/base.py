"""What a sink of frames takes: palettes and indices with times; and what its clip is like."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


def bounds(chosen: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the smallest rectangle around the chosen pixels; one if none."""
    rows, columns = np.flatnonzero(chosen.any(axis=1)), np.flatnonzero(chosen.any(axis=0))
    if not len(rows):
        return 0, 0, 1, 1
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


class Write(Protocol):
    """Adds a frame."""

    def __call__(self, index: NDArray[Any], palette: NDArray[np.uint8], duration: Fraction) -> None:
        """Add a frame.

        Args:
            index: (H, W) uint8 or uint16, rows of the palette.
            palette: (K, 3) RGB or (K, 4) RGBA, uint8.
            duration: For how many seconds it is shown.
        """


@dataclass
class ClipInfo:
    """What is known of all frames before the first."""

    width: int
    height: int
    rate: Fraction | None = None
    """Frames per second; None if they vary."""
    loop: int = 0
    """How often it is shown, 0 for without end."""
    one_palette: bool = True
    """Whether all frames have the same palette."""
    transparent: bool = False
    """Whether some palette may have colors that are not opaque."""
    originals: frozenset[Any] = frozenset()
    """Identities of files that are read, which are never replaced."""
    notes: list[str] = field(default_factory=list)
    """What could not be written as it was given; grows while frames are written."""
    written: int = 0
    """How many frames there are so far."""


class SinkFormat(NamedTuple):
    """What a format of animations holds."""

    name: str
    advised: int
    """Up to so many colors a palette has room for an entry for pixels that do not change, which
    makes files much smaller."""
    colors: int
    """The most colors of a frame's palette."""
    alpha: str
    """What it holds of transparency, a row of `transparency.ALPHAS`."""
    side: int
    """The greatest width and height, in pixels."""
    open: Callable[[str, bool, ClipInfo], contextlib.AbstractContextManager[Write]]
    """Begins a file of a name, replacing another or not."""


Begin = Callable[[IO[bytes], ClipInfo], contextlib.AbstractContextManager[Write]]
"""Begins a file in a stream."""


def colors_of(palette: NDArray[np.uint8], transparent: bool) -> NDArray[np.uint8]:
    """A palette with alpha, or without."""
    if not transparent:
        return palette[:, :3]
    if palette.shape[1] == 4:
        return palette
    return np.column_stack([palette, np.full(len(palette), 255, np.uint8)])


def packed_pixels(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """(H, W): one number for each of (H, W, 4) colors."""
    return colors.view(np.uint32)[..., 0]
