"""What stays as it is from frame to frame, so that a clip does not flicker.

Without dithering, and with ordered dithering, a pixel's palette entry depends on its color and its
place alone: under one palette, what does not change in the source does not change in the output.
Error diffusion carries every change on to all that is below, so there a rule holds still areas: a
pixel whose color is that of the frame before keeps its entry. The errors are passed on as if it had
not.

With a tolerance, a pixel also keeps its entry while that costs less than so many levels of error:
while its squared error is above that of the entry it was mapped to by less than the tolerance
squared, on average over the channels. Noise is then not followed.

Measured on the first frames of bigbuckbunny (1280 x 720, 255 colors, no dithering; MSE and bytes of
the GIF file): nothing held 58.9, 18.6 MB; held while the error itself is less than 7 levels 68.1,
15.7 MB; while it is raised by less than 5.2 levels, as here, 64.4, 15.8 MB. To decide by the mean
over three or nine pixels around gained nothing.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.color.packing import pack
from quantgpu.metrics.palette_error import composited
from quantgpu.palette import of_channels
from quantgpu.pixels.counting import BATCH
from quantgpu.threads import chunks, imap_threads

MOST_HOLD = 64
"""Levels that a pixel may be held off its color, at most."""


class FlickerFilter:
    """Follows the frames of a clip, decides which pixels keep their entries, and measures."""

    def __init__(self, hold: float, holds_still: bool, watches: bool, threads: int = 1) -> None:
        """What is kept, and measured.

        Args:
            hold: Levels, 0 to `MOST_HOLD`, that are tolerated.
            holds_still: Whether pixels whose color does not change keep their entries.
            watches: Whether the flicker is measured; it is 0 by construction where it is not.
            threads: At least 1.
        """
        self.limit = math.ceil(3 * Fraction(str(hold)) ** 2)
        self.holds_still, self.watches, self.threads = holds_still, watches, threads
        self.before: tuple[NDArray[np.uint8], NDArray[Any], NDArray[np.uint8]] | None = None
        self.still = 0
        """Pixels that did not change in the source."""
        self.change = 0
        """Levels by which these changed in the output, summed over pixels and three channels."""

    @property
    def flicker(self) -> float:
        """Mean change, in levels, of a channel of a pixel that did not change in the source."""
        return self.change / (3 * self.still) if self.still else 0.0

    @property
    def is_active(self) -> bool:
        """Whether any pixel may keep its entry."""
        return self.holds_still or self.limit > 0

    def apply(
        self, pixels: NDArray[np.uint8], index: NDArray[Any], palette: NDArray[np.uint8]
    ) -> NDArray[Any]:
        """The entries, (H, W), of the next frame; those it was mapped to, or the ones it keeps.

        Args:
            pixels: (H, W, 3 | 4), which must not change any more.
            index: (H, W).
            palette: (K, 3 | 4).
        """
        if not (self.is_active or self.watches):
            return index
        if self.before is not None:
            index = self.kept(pixels, index, palette) if self.is_active else index
            if self.watches:
                self.measure(pixels, index, palette)
        self.before = pixels, index, palette
        return index

    def kept(
        self, pixels: NDArray[np.uint8], index: NDArray[Any], palette: NDArray[np.uint8]
    ) -> NDArray[Any]:
        """The entries, some of which are those of the frame before."""
        assert self.before is not None
        earlier, entries, old = self.before
        found = index.copy()
        holds_still = self.holds_still and np.array_equal(old, palette)
        levels = columns(palette, pixels.shape[2])

        def keep(rows: tuple[int, int]) -> None:
            part = slice(*rows)
            now = flat(pixels[part])
            held, entries_now = entries[part].reshape(-1), found[part].reshape(-1)
            stays = np.zeros(len(now), bool)
            if holds_still:
                stays |= pack(now) == pack(flat(earlier[part]))
            if self.limit:
                excess = errors(now, held, levels)
                excess -= errors(now, entries_now, levels)
                stays |= excess < self.limit
            np.copyto(entries_now, held, where=stays)

        each_part(keep, pixels, self.threads)
        return found

    def measure(
        self, pixels: NDArray[np.uint8], index: NDArray[Any], palette: NDArray[np.uint8]
    ) -> None:
        """Measure how far still pixels change."""
        assert self.before is not None
        earlier, entries, old = self.before
        channels = max(old.shape[1], palette.shape[1])
        colors_then, colors_now = (
            composited(of_channels(colors, channels))[:, :3] for colors in (old, palette)
        )

        def measure(rows: tuple[int, int]) -> tuple[int, int]:
            part = slice(*rows)
            still = np.flatnonzero(pack(flat(pixels[part])) == pack(flat(earlier[part])))
            now, then = index[part].reshape(-1)[still], entries[part].reshape(-1)[still]
            gaps = np.abs(colors_now.take(now, axis=0) - colors_then.take(then, axis=0))
            return len(still), int(gaps.sum())

        for still, change in each_part(measure, pixels, self.threads):
            self.still += still
            self.change += change


def flat(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(pixels, channels), C-contiguous."""
    return np.ascontiguousarray(rows).reshape(-1, rows.shape[-1])


def each_part(function: Any, pixels: NDArray[np.uint8], threads: int) -> list[Any]:
    """What a function gives for intervals of rows that the second-level cache holds."""
    height, width, _ = pixels.shape
    rows = chunks(0, height, max(BATCH // width, 1))
    return list(imap_threads(function, rows, threads))


def columns(palette: NDArray[np.uint8], channels: int) -> list[NDArray[np.int16]]:
    """The levels of entries, (K,) each: of red, green, blue, and alpha if pixels have that."""
    return list(of_channels(palette, channels).T.astype(np.int16))


def errors(
    colors: NDArray[np.uint8], index: NDArray[Any], levels: list[NDArray[np.int16]]
) -> NDArray[np.int32]:
    """(m,): squared differences of colors, (m, 3 | 4), and their entries, summed over channels."""
    total = np.zeros(len(colors), np.int32)
    for channel, level in enumerate(levels):
        gap = level.take(index)
        gap -= colors[:, channel]
        wide = gap.astype(np.int32)
        wide *= wide
        total += wide
    return total


def squared_error(
    pixels: NDArray[np.uint8], index: NDArray[Any], palette: NDArray[np.uint8], threads: int = 1
) -> int:
    """Squared differences between a frame and its entries, as `quality.squared_error` sums them."""
    channels = max(pixels.shape[2], palette.shape[1])
    if channels == 4:
        entries, total = composited(of_channels(palette, 4)), 0
        for row, found in zip(pixels, index, strict=True):
            gaps = composited(of_channels(row, 4)) - entries[found]
            total += int((gaps * gaps).sum())
        return total // 2
    levels = columns(palette, 3)

    def error(rows: tuple[int, int]) -> int:
        part = slice(*rows)
        found = errors(flat(pixels[part]), index[part].reshape(-1), levels)
        return int(found.sum(dtype=np.int64))

    return sum(each_part(error, pixels, threads))
