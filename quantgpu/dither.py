"""From pixels to palette indices."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.device import Progress, array_module, map_ahead
from quantgpu.histogram import BATCH, KEYS, Histogram, pack
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

    A table of 2^24 entries, filled for the colors that occur, answers for every pixel; its cost
    does not depend on K.
    """
    xp = array_module(histogram.keys)
    dtype = np.uint8 if k <= 256 else np.uint16
    table = xp.empty(KEYS, dtype)
    table[histogram.keys] = labels.astype(dtype)
    if isinstance(pixels, GpuPixels):
        return pixels.map(dtype, partial(kernels.remap, table), stay, progress)
    index = np.empty((pixels.height, pixels.width), dtype)

    def map_rows(rows: tuple[int, int]) -> int:
        buffer = np.empty(max(BATCH, pixels.width), np.int64)
        for start, stop in pixels.row_ranges(BATCH, rows):
            keys = pack(pixels.slab(start, stop), buffer)
            table.take(keys, out=index[start:stop].reshape(-1), mode="clip")
        return rows[1]

    for done in map_ahead(map_rows, pixels.row_ranges(PIECE), threads):
        progress("remap", done / pixels.height)
    return index


DITHERS = {"none": no_dither}
"""Name to method; the choices of ``--dither``."""
