"""From pixels to palette indices, with and without dithering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module, to_host
from quantgpu.color.packing import KEYS, pack, transparent_keys
from quantgpu.color.spaces import ColorSpace
from quantgpu.dithering import lookup_gpu
from quantgpu.histogram import Histogram
from quantgpu.metrics.palette_error import squared_error
from quantgpu.palette import Palette
from quantgpu.pixels.counting import BATCH
from quantgpu.pixels.gpu import GpuFrames, GpuPixels
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Progress
from quantgpu.threads import imap_threads

PIECE = 8 * BATCH
"""Pixels that a thread maps at a time, in batches."""


class ColorMap(NamedTuple):
    """Which colors are mapped, and to what."""

    histogram: Histogram
    """The colors of all pixels that will be mapped, on their device."""
    palette: Palette
    labels: Any
    """(n,) integers: the palette entry of each color of the histogram."""
    space: ColorSpace
    """Where distances are measured."""
    classes: Sequence[str] = ()
    """Of `COLOR_CLASSES`: pixels of a class get palette entries of that class."""
    threads: int = 1


class MapResult(NamedTuple):
    """An index map, and what it says where colors alone do not decide it."""

    index: Any
    """(H, W) uint8, or uint16 if K > 256; of `GpuFrames`, (frames, stride) on the GPU."""
    tally: MapStats | None = None
    """None where each color has its own entry: the histogram tells; and of `GpuFrames`."""


class MapStats(NamedTuple):
    """Counts and squared error of a mapping."""

    counts: NDArray[np.int64]
    """(K,) pixels of each palette entry."""
    squared_error: int
    """Squared differences of 8-bit levels, summed over pixels and channels."""
    rest: int = 0
    """1 if a half was rounded off that, which counts where parts of a picture add up."""


class Dithering(NamedTuple):
    """A method and how it is meant to work."""

    method: str
    """A row of `DITHERS`."""
    size: int | None = None
    """Of the matrix of ``bayer``."""
    strength: int | None = None
    """0 to `FULL`; None for what suits the method."""


NO_DITHERING = Dithering("none")

Mapper = Callable[[Pixels, bool, Progress], MapResult]
"""From pixels of the histogram's colors, and whether to leave the index map on a GPU."""


def index_dtype(k: int) -> Any:
    """The type of indices of K colors."""
    return np.uint8 if k <= 256 else np.uint16


def pixel_counts(histogram: Histogram, k: int, labels: Any) -> NDArray[np.int64]:
    """(K,): the pixels of each palette entry, from the entry of each color."""
    xp = array_module(labels)
    counts = xp.zeros(k)
    xp.add.at(counts, labels, histogram.counts.astype(float))
    found: NDArray[np.int64] = to_host(counts).astype(np.int64)
    return found


def stats_of(mapping: ColorMap) -> MapStats:
    """The counts and the error of a mapping that maps each color to its own entry."""
    histogram, palette, labels, *_ = mapping
    counts = pixel_counts(histogram, len(palette), labels)
    return MapStats(counts, int(squared_error(histogram, palette, labels)))


def color_lookup(histogram: Histogram, values: Any) -> Callable[[Any, Any], None]:
    """A function that puts the value of each of some pixels' colors where it is told to.

    It takes C-contiguous colors, (m, channels) uint8, of those that occur, and an array of m of the
    type of the `values`, (n,). A table of 2^24 entries, filled for the colors that occur, answers
    for opaque pixels. The others are looked up among the keys that occur.
    """
    xp = array_module(histogram.keys)
    table = xp.empty(KEYS, values.dtype)
    opaque = len(histogram) if histogram.channels == 3 else int((histogram.keys < KEYS).sum())
    table[histogram.keys[:opaque]] = values[:opaque]
    others = histogram.keys[opaque:].astype(xp.uint32), values[opaque:]

    def look_up(colors: Any, out: Any) -> None:
        if colors.shape[1] == 4:
            keys = transparent_keys(colors)
            out[:] = table.take(keys & np.uint32(KEYS - 1))
            partly = xp.flatnonzero(keys >= KEYS)
            out[partly] = others[1].take(xp.searchsorted(others[0], keys[partly]))
        elif xp is np:
            table.take(pack(colors), out=out, mode="clip")
        else:
            lookup_gpu.remap(table, colors, out)

    return look_up


def no_dither(mapping: ColorMap, dithering: Dithering = NO_DITHERING) -> Mapper:
    """Each pixel's own nearest palette color; its cost does not depend on K."""
    dtype = index_dtype(len(mapping.palette))
    look_up = color_lookup(mapping.histogram, mapping.labels.astype(dtype))

    def mapped(pixels: Pixels, stay: bool, progress: Progress) -> MapResult:
        return MapResult(each_slab(look_up, pixels, dtype, stay, mapping.threads, progress))

    return mapped


def each_slab(
    look_up: Callable[[Any, Any], None],
    pixels: Pixels,
    dtype: Any,
    stay: bool,
    threads: int,
    progress: Progress,
) -> Any:
    """(H, W) of a type: what a function puts there for the colors of each slab, in any order."""
    if isinstance(pixels, GpuFrames):
        return pixels.mapped(dtype, look_up)
    if isinstance(pixels, GpuPixels):
        return pixels.map(dtype, look_up, stay, progress)
    index = np.empty((pixels.height, pixels.width), dtype)

    def map_rows(rows: tuple[int, int]) -> int:
        for start, stop in pixels.row_ranges(BATCH, rows):
            look_up(pixels.slab(start, stop), index[start:stop].reshape(-1))
        return rows[1]

    for done in imap_threads(map_rows, pixels.row_ranges(PIECE), threads):
        progress("remap", done / pixels.height)
    return index
