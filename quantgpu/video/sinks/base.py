"""The interface of a sink of frames: indices and palettes with durations, and the clip's size."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


def bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the smallest rectangle around the True pixels of a mask, (H, W).

    Without a True pixel the rectangle is the upper left pixel.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 1, 1
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


class Write(Protocol):
    """A function that adds a frame."""

    def __call__(self, index: NDArray[Any], palette: NDArray[np.uint8], duration: Fraction) -> None:
        """Add a frame.

        Args:
            index: (H, W) uint8 or uint16, rows of the palette.
            palette: (K, 3) RGB or (K, 4) RGBA, uint8.
            duration: Seconds for which the frame is shown.
        """


@dataclass
class ClipInfo:
    """The properties of a clip, known before its first frame, and its progress."""

    width: int
    height: int
    rate: Fraction | None = None
    """Frames per second; None if they vary."""
    loop: int = 0
    """How often an animation is shown, 0 for without end."""
    one_palette: bool = True
    """Whether all frames have the same palette."""
    transparent: bool = False
    """Whether some palette may have colors that are not opaque."""
    originals: frozenset[Any] = frozenset()
    """Identities of the input files, see `file_ids`, which are never replaced."""
    notes: list[str] = field(default_factory=list)
    """Losses on writing, for people; grows while frames are written."""
    written: int = 0
    """Frames written so far."""


class SinkFormat(NamedTuple):
    """A format of animations and its limits."""

    name: str
    advised: int
    """Most colors that leave the palette room for an entry for unchanged pixels, which makes files
    much smaller."""
    colors: int
    """Most colors of a frame's palette."""
    alpha: str
    """The transparency that the format holds, a row of `color.alpha.ALPHAS`."""
    side: int
    """The greatest width and height, in pixels."""
    open: Callable[[str, bool, ClipInfo], contextlib.AbstractContextManager[Write]]
    """Begins a file, from its name and whether an existing file is replaced."""


Begin = Callable[[IO[bytes], ClipInfo], contextlib.AbstractContextManager[Write]]
"""Begins a file in a binary stream."""


def colors_of(palette: NDArray[np.uint8], transparent: bool) -> NDArray[np.uint8]:
    """A palette with alpha, (K, 4), if `transparent`, else without, (K, 3)."""
    if not transparent:
        return palette[:, :3]
    if palette.shape[1] == 4:
        return palette
    return np.column_stack([palette, np.full(len(palette), 255, np.uint8)])


def pack_pixels(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Pack (H, W, 4) uint8 colors into one number each, (H, W)."""
    return colors.view(np.uint32)[..., 0]
