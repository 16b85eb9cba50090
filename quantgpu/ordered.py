"""Ordered dithering: the place of a pixel says which of two palette entries its color gets.

What a color is mixed of is found once for all of its pixels, see `mixtures`; a threshold matrix,
tiled over the picture from its upper left, then switches pixel by pixel. A color looks the same at
the same place whatever is around it, so pictures of a video do not crawl.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.colorspace import grid_centers
from quantgpu.device import array_module, map_ahead, ranges
from quantgpu.diffusion import FULL
from quantgpu.dither import PIECE, Dithering, Job, Mapped, index_dtype, pixel_counts, table_of
from quantgpu.histogram import BATCH, Histogram, unpack
from quantgpu.kinds import Kinds
from quantgpu.mixtures import SHARES, Mixtures, mixtures
from quantgpu.palette import of_channels
from quantgpu.quality import squared_error
from quantgpu.thresholds import bayer, blue_noise
from quantgpu.transfer import GpuPixels

MATRICES: dict[str, Callable[[int | None], NDArray[np.uint16]]] = {
    "bayer": lambda size: bayer(size or 8),
    "blue-noise": lambda size: blue_noise(),
}
"""Method to its matrix, which the first may have of another size."""

SLAB, ROWS = 1 << 20, 16
"""Pixels that a GPU maps at a time, in a multiple of so many rows, as kernels read words."""


def ordered(job: Job, dithering: Dithering) -> Mapped:
    """An index map by the threshold matrix that `dithering` names.

    Colors that are in the palette keep their own entry, and so do pixels that cannot be seen.
    """
    mixed = mixed_colors(job, FULL if dithering.strength is None else dithering.strength)
    switch = Switch(job, mixed, MATRICES[dithering.method](dithering.size))
    index, seconds = mapped(job, switch)
    return Mapped(index, *tally(job, mixed, seconds))


def mixed_colors(job: Job, strength: int) -> Mixtures:
    """What the colors of a histogram are mixed of."""
    xp = array_module(job.labels)
    channels = max(job.histogram.channels, job.palette.colors.shape[1])
    colors = unpack(job.histogram.keys, channels)
    entries = of_channels(job.palette.colors, channels)
    exact = (colors == xp.asarray(entries)[job.labels]).all(axis=1)
    if channels == 4:
        exact |= colors[:, 3] == 0
    groups = Kinds(job.kinds, colors).groups(entries) if job.kinds else None
    points, centers = job.space.points(colors), grid_centers(entries, job.space)
    return mixtures(points, centers, job.labels, exact, strength, job.threads, groups)


class Switch:
    """Says which entry pixels get, from their colors and places."""

    def __init__(self, job: Job, mixed: Mixtures, matrix: NDArray[np.uint16]) -> None:
        """`matrix`: (s, s) ranks."""
        xp = job.pixels.xp
        self.width = job.pixels.width
        self.dtype = index_dtype(len(job.palette))
        bits = 8 * np.dtype(self.dtype).itemsize
        self.word = np.dtype(f"u{bits // 2}")
        self.bits = self.word.type(bits)
        self.rank_of = table_of(job.histogram, xp.arange(len(job.histogram), dtype=xp.int32))
        self.labels = job.labels.astype(self.dtype)
        words = mixed.share.astype(self.word) << self.word.type(2 * bits)
        words |= mixed.high.astype(self.word) << self.bits
        self.words = words | mixed.low.astype(self.word)
        half_step = SHARES // 2 // matrix.size
        thresholds = (2 * matrix.astype(self.word) + self.word.type(1)) * self.word.type(half_step)
        bounds = (thresholds + self.word.type(1) << self.word.type(2 * bits)) - self.word.type(1)
        self.bounds = xp.asarray(bounds[:, : self.width])

    def entries(self, colors: Any, row: int, out: Any) -> tuple[Any, Any]:
        """Put the entries of the pixels of rows from `row` on into `out`, (m,).

        Returns the ranks of their colors, (m,) int32, and which do not get the nearest entry.
        """
        xp = array_module(colors)
        ranks = xp.empty(len(colors), xp.int32)
        self.rank_of(colors, ranks)
        words = self.words.take(ranks)
        is_high = words.reshape(-1, self.width) > self.bounds_at(row, len(words) // self.width)
        words >>= is_high.reshape(-1) * self.bits
        out[:] = words.astype(self.dtype)
        return ranks, out != self.labels.take(ranks)

    def bounds_at(self, row: int, count: int) -> Any:
        """(count, W): the greatest word of those below the threshold of each place."""
        xp = array_module(self.bounds)
        size, across = self.bounds.shape
        rows = self.bounds.take(xp.arange(row, row + count) % size, axis=0)
        return xp.tile(rows, (1, -(-self.width // across)))[:, : self.width]


def mapped(job: Job, switch: Switch) -> tuple[Any, Any]:
    """The index map, and, (n,) uint64, how many pixels of each color do not get its label."""
    pixels = job.pixels
    seconds = pixels.xp.zeros(len(job.labels), pixels.xp.uint64)
    if isinstance(pixels, GpuPixels):

        def map_slab(colors: Any, out: Any, row: int) -> None:
            height = len(colors) // pixels.width
            for start, stop in ranges(0, height, max(SLAB // pixels.width // ROWS, 1) * ROWS):
                part = slice(start * pixels.width, stop * pixels.width)
                ranks, is_second = switch.entries(colors[part], row + start, out[part])
                pixels.xp.add.at(seconds, ranks, is_second.astype("uint64"))  # waits for nothing

        slabs = ((rows, colors, rows[0]) for rows, colors in pixels.slabs())
        return pixels.map(switch.dtype, map_slab, job.stay, job.progress, slabs), seconds
    index = np.empty((pixels.height, pixels.width), switch.dtype)

    def map_rows(rows: tuple[int, int]) -> tuple[int, NDArray[np.int32]]:
        found = []
        for start, stop in pixels.row_ranges(BATCH, rows):
            out = index[start:stop].reshape(-1)
            ranks, is_second = switch.entries(pixels.slab(start, stop), start, out)
            found.append(ranks[np.flatnonzero(is_second)])
        return rows[1], np.concatenate(found)

    for done, ranks in map_ahead(map_rows, pixels.row_ranges(PIECE), job.threads):
        np.add.at(seconds, ranks, np.uint64(1))
        job.progress("remap", done / pixels.height)
    return index, seconds


def tally(job: Job, mixed: Mixtures, seconds: Any) -> tuple[NDArray[np.int64], int]:
    """The pixels of each entry, (K,), and the squared error, from how many got the other entry."""
    histogram, labels = job.histogram, job.labels
    xp = array_module(labels)
    others = mixed.low + mixed.high - labels.astype(xp.uint16)
    seconds = seconds.astype(xp.int64)
    entries = xp.concatenate([labels, others.astype(labels.dtype)])
    counts = xp.concatenate([histogram.counts - seconds, seconds])
    both = Histogram(xp.tile(histogram.keys, 2), counts, None, histogram.channels)
    error = int(squared_error(both, job.palette, entries))
    return pixel_counts(both, len(job.palette), entries), error
