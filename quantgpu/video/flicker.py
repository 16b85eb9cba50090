"""Hold palette entries from frame to frame, so that a clip does not flicker.

Without dithering, and with ordered dithering, a pixel's palette entry depends on its color and its
place alone: under one palette, still pixels of the source are still in the output. Error diffusion
carries every change on to all pixels below, so a rule holds still areas: a pixel whose color is
that of the frame before keeps its entry. The errors are diffused as if the entry had changed.

With a tolerance, a pixel also keeps its entry while the squared error of the kept entry exceeds
that of the new entry by less than the tolerance squared, on average over the channels. The output
then does not follow noise.

Measured on the first frames of bigbuckbunny (1280 x 720, 255 colors, no dithering; MSE and bytes of
the GIF file): nothing held 58.9, 18.6 MB; held while the error is less than 7 levels 68.1, 15.7 MB;
held while the error rises by less than 5.2 levels, as this module does, 64.4, 15.8 MB. A decision
by the mean over three or nine pixels around gained nothing.
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
"""Most levels of tolerance."""


class FlickerFilter:
    """Decides which pixels of successive frames keep their entries, and measures the flicker."""

    def __init__(self, hold: float, holds_still: bool, watches: bool, threads: int = 1) -> None:
        """Begin before the first frame.

        Args:
            hold: Tolerated levels, 0 to `MOST_HOLD`.
            holds_still: Whether pixels whose color does not change keep their entries.
            watches: Whether the flicker is measured; False where it is 0 by construction.
            threads: At least 1.
        """
        self.limit = math.ceil(3 * Fraction(str(hold)) ** 2)
        self.holds_still, self.watches, self.threads = holds_still, watches, threads
        self.before: tuple[NDArray[np.uint8], NDArray[Any], NDArray[np.uint8]] | None = None
        self.still = 0
        """Pixels that did not change in the source."""
        self.change = 0
        """Levels by which still pixels changed in the output, summed over pixels and channels."""

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
        """The entries of the next frame, (H, W), where some may be those of the frame before.

        Args:
            pixels: (H, W, 3 | 4) uint8, which must not change any more.
            index: (H, W): the entries that the frame was mapped to.
            palette: (K, 3 | 4) uint8.
        """
        if not (self.is_active or self.watches):
            return index
        if self.before is not None:
            index = self.hold_entries(pixels, index, palette) if self.is_active else index
            if self.watches:
                self.measure(pixels, index, palette)
        self.before = pixels, index, palette
        return index

    def hold_entries(
        self, pixels: NDArray[np.uint8], index: NDArray[Any], palette: NDArray[np.uint8]
    ) -> NDArray[Any]:
        """A copy of the entries, (H, W), with those of the frame before where pixels keep them."""
        assert self.before is not None
        earlier, entries, old = self.before
        held_index = index.copy()
        holds_still = self.holds_still and np.array_equal(old, palette)
        levels = channel_levels(palette, pixels.shape[2])

        def hold_rows(rows: tuple[int, int]) -> None:
            part = slice(*rows)
            now = flat_pixels(pixels[part])
            held, entries_now = entries[part].reshape(-1), held_index[part].reshape(-1)
            stays = np.zeros(len(now), bool)
            if holds_still:
                stays |= pack(now) == pack(flat_pixels(earlier[part]))
            if self.limit:
                excess = squared_errors(now, held, levels)
                excess -= squared_errors(now, entries_now, levels)
                stays |= excess < self.limit
            np.copyto(entries_now, held, where=stays)

        map_row_ranges(hold_rows, pixels, self.threads)
        return held_index

    def measure(
        self, pixels: NDArray[np.uint8], index: NDArray[Any], palette: NDArray[np.uint8]
    ) -> None:
        """Add the pixels that are still in the source, and their change in the output, up."""
        assert self.before is not None
        earlier, entries, old = self.before
        channels = max(old.shape[1], palette.shape[1])
        colors_then, colors_now = (
            composited(of_channels(colors, channels))[:, :3] for colors in (old, palette)
        )

        def measure_rows(rows: tuple[int, int]) -> tuple[int, int]:
            part = slice(*rows)
            keys, earlier_keys = pack(flat_pixels(pixels[part])), pack(flat_pixels(earlier[part]))
            still = np.flatnonzero(keys == earlier_keys)
            now, then = index[part].reshape(-1)[still], entries[part].reshape(-1)[still]
            gaps = np.abs(colors_now.take(now, axis=0) - colors_then.take(then, axis=0))
            return len(still), int(gaps.sum())

        for still, change in map_row_ranges(measure_rows, pixels, self.threads):
            self.still += still
            self.change += change


def flat_pixels(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows of pixels, (h, W, channels), as (h * W, channels), C-contiguous."""
    return np.ascontiguousarray(rows).reshape(-1, rows.shape[-1])


def map_row_ranges(function: Any, pixels: NDArray[np.uint8], threads: int) -> list[Any]:
    """Call a function with intervals of rows whose pixels the second-level cache holds.

    Returns:
        The results, from above to below.
    """
    height, width, _ = pixels.shape
    rows = chunks(0, height, max(BATCH // width, 1))
    return list(imap_threads(function, rows, threads))


def channel_levels(palette: NDArray[np.uint8], channels: int) -> list[NDArray[np.int16]]:
    """The levels of a palette's entries, (K,) for each channel of pixels with 3 or 4 `channels`."""
    return list(of_channels(palette, channels).T.astype(np.int16))


def squared_errors(
    colors: NDArray[np.uint8], index: NDArray[Any], levels: list[NDArray[np.int16]]
) -> NDArray[np.int32]:
    """Squared differences between colors, (m, 3 | 4), and their entries, summed over channels.

    Args:
        colors: (m, 3 | 4).
        index: (m,): the entry of each color.
        levels: The palette's `channel_levels`.

    Returns:
        (m,).
    """
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
    """Squared differences between a frame and its entries, as `palette_error.squared_error`."""
    channels = max(pixels.shape[2], palette.shape[1])
    if channels == 4:
        entries, total = composited(of_channels(palette, 4)), 0
        for row, found in zip(pixels, index, strict=True):
            gaps = composited(of_channels(row, 4)) - entries[found]
            total += int((gaps * gaps).sum())
        return total // 2
    levels = channel_levels(palette, 3)

    def error(rows: tuple[int, int]) -> int:
        part = slice(*rows)
        found = squared_errors(flat_pixels(pixels[part]), index[part].reshape(-1), levels)
        return int(found.sum(dtype=np.int64))

    return sum(map_row_ranges(error, pixels, threads))
