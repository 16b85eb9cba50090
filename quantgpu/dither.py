"""From pixels to palette indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.device import Progress, array_module, map_ahead
from quantgpu.histogram import BATCH, KEYS, Histogram, pack, transparent_keys
from quantgpu.image import Pixels
from quantgpu.kernels import pixels as kernels
from quantgpu.transfer import GpuPixels

PIECE = 8 * BATCH
"""Pixels that a thread maps at a time, in batches."""


def no_dither(
    pixels: Pixels,
    histogram: Histogram,
    labels: NDArray[np.intp],
    k: int,
    threads: int,
    progress: Progress,
    stay: bool = False,
) -> Any:
    """(H, W) uint8 or uint16: each pixel's own nearest palette color; on a GPU it may `stay`.

    A table of 2^24 entries, filled for the colors that occur, answers for every opaque pixel; its
    cost does not depend on K. The others are looked up among the keys that occur.
    """
    xp = array_module(histogram.keys)
    dtype = np.uint8 if k <= 256 else np.uint16
    table = xp.empty(KEYS, dtype)
    opaque = len(histogram) if pixels.channels == 3 else int((histogram.keys < KEYS).sum())
    table[histogram.keys[:opaque]] = labels[:opaque].astype(dtype)
    others = histogram.keys[opaque:].astype(xp.uint32), labels[opaque:].astype(dtype)

    def map_keys(keys: Any, out: Any) -> None:
        """Entries of (n,) uint32 keys, of which some are not opaque."""
        out[:] = table.take(keys & np.uint32(KEYS - 1))
        partly = xp.flatnonzero(keys >= KEYS)
        out[partly] = others[1].take(xp.searchsorted(others[0], keys[partly]))

    if isinstance(pixels, GpuPixels):

        def look_up(colors: Any, out: Any) -> None:
            if pixels.channels == 4:
                map_keys(transparent_keys(colors), out)
            else:
                kernels.remap(table, colors, out)

        return pixels.map(dtype, look_up, stay, progress)
    index = np.empty((pixels.height, pixels.width), dtype)

    def map_rows(rows: tuple[int, int]) -> int:
        buffer = np.empty(max(BATCH, pixels.width), np.int64)
        for start, stop in pixels.row_ranges(BATCH, rows):
            colors, out = pixels.slab(start, stop), index[start:stop].reshape(-1)
            if pixels.channels == 4:
                map_keys(transparent_keys(colors), out)
            else:
                table.take(pack(colors, buffer), out=out, mode="clip")
        return rows[1]

    for done in map_ahead(map_rows, pixels.row_ranges(PIECE), threads):
        progress("remap", done / pixels.height)
    return index


DITHERS = {"none": no_dither}
"""Name to method; the choices of ``--dither``."""
