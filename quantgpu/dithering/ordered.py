"""Ordered dithering: the place of a pixel says which of two palette entries its color gets.

What a color is mixed of is found once for all of its pixels, see `mixtures`; a threshold matrix,
tiled over the picture from its upper left, then switches pixel by pixel. A color looks the same at
the same place whatever is around it, so pictures of a video do not crawl.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module, on_host, to_host
from quantgpu.clustering.color_classes import ColorClasses
from quantgpu.color.packing import KEYS, pack, unpack
from quantgpu.color.spaces import grid_points
from quantgpu.dithering.base import (
    PIECE,
    ColorMap,
    Dithering,
    Mapper,
    MapResult,
    MapStats,
    color_lookup,
    index_dtype,
)
from quantgpu.dithering.diffusion_matrices import FULL
from quantgpu.dithering.mixtures import SHARES, Mixtures, mixtures
from quantgpu.dithering.threshold_matrices import bayer, blue_noise
from quantgpu.metrics.palette_error import composited
from quantgpu.palette import of_channels
from quantgpu.pixels.counting import BATCH
from quantgpu.pixels.gpu import GpuFrames, GpuPixels
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Progress
from quantgpu.threads import chunks, imap_threads

MATRICES: dict[str, Callable[[int | None], NDArray[np.uint16]]] = {
    "bayer": lambda size: bayer(size or 8),
    "blue-noise": lambda size: blue_noise(),
}
"""Method to its matrix, which the first may have of another size."""

SLAB, ROWS = 1 << 20, 16
"""Pixels that a GPU maps at a time, in a multiple of so many rows, as kernels read words."""


def ordered(mapping: ColorMap, dithering: Dithering) -> Mapper:
    """A mapper of pictures by the threshold matrix that `dithering` names.

    Colors that are in the palette keep their own entry, and so do pixels that cannot be seen.
    """
    plan = plan_for(mapping, dithering)

    def mapped(pixels: Pixels, stay: bool, progress: Progress) -> MapResult:
        if isinstance(pixels, GpuFrames):
            return on_frames(pixels, plan)
        if isinstance(pixels, GpuPixels):
            return on_gpu(pixels, plan, stay, progress)
        return map_pieces(pixels, plan, mapping.threads, progress)

    return mapped


class OrderedPlan(NamedTuple):
    """The tables by which pictures of known colors are dithered."""

    rank_of: Callable[[Any, Any], None]
    """Puts the number of each pixel's color where it is told to, see `color_lookup`."""
    words: Any
    """(n,) uint32, or uint64 if K > 256: from the low bits on, both entries of each color, an index
    long each, and the share of the second."""
    bounds: Any
    """(s, s) of the same type: the greatest word that gives the first entry at each place."""
    errors: Any
    """(2 n,) int32: squared, of each color when it gets the first entry and when the second."""
    sides: int
    """How often errors are in there: on black and on white where not all is opaque."""
    k: int
    """Palette colors."""

    def switch(self, colors: Any, place: tuple[int, int], width: int, out: Any) -> Any:
        """Put the entries of the pixels of rows into `out`, (m,); the first one is at that place.

        Returns the sum of their errors, () int64.
        """
        xp = array_module(colors)
        ranks = xp.empty(len(colors), xp.int32)
        self.rank_of(colors, ranks)
        is_second = put(self.words.take(ranks), self.bounds, place, width, out)
        ranks += ranks
        ranks += is_second
        return self.errors.take(ranks).sum(dtype=xp.int64)


class PlainPlan(NamedTuple):
    """A faster plan for opaque pictures in up to 256 colors on the host.

    Each word is a gather away, and errors are told by levels: 10 ns a pixel instead of 19.
    """

    table: NDArray[np.uint32]
    """(2^24,): the word of each color that occurs, at its key."""
    bounds: NDArray[Any]
    """See `OrderedPlan`."""
    keys: NDArray[np.uint32]
    """(K,): the palette's colors as `color.packing.pack` has them."""

    @property
    def k(self) -> int:
        """Palette colors."""
        return len(self.keys)

    @property
    def sides(self) -> int:
        """How often errors are in the sum of errors."""
        return 1

    def switch(self, colors: Any, place: tuple[int, int], width: int, out: Any) -> int:
        """See `OrderedPlan`."""
        keys = pack(colors)
        put(self.table.take(keys, mode="clip"), self.bounds, place, width, out)
        return squared_gaps(keys.astype(np.uint32), self.keys.take(out, mode="clip"))


Tallied = tuple[Any, Any]
"""The pixels of each entry, (K,), and the sum of their errors, an integer."""


def plan_for(mapping: ColorMap, dithering: Dithering) -> OrderedPlan | PlainPlan:
    """The plan for pictures of known colors."""
    histogram = mapping.histogram
    xp = array_module(mapping.labels)
    mixed, colors, entries = mixed_for(mapping, dithering)
    channels = colors.shape[1]
    words = words_of(mixed, len(entries))
    bounds = bounds_of(MATRICES[dithering.method](dithering.size), len(entries))
    if channels == 3 and len(entries) <= 256 and on_host(words):
        table = np.empty(KEYS, np.uint32)
        table[histogram.keys] = words
        return PlainPlan(table, bounds, pack(entries).astype(np.uint32))
    return OrderedPlan(
        color_lookup(histogram, xp.arange(len(mapping.labels), dtype=xp.int32)),
        words,
        xp.asarray(bounds),
        errors_of(mixed, colors, entries),
        1 if channels == 3 else 2,
        len(entries),
    )


def mixed_for(mapping: ColorMap, dithering: Dithering) -> tuple[Mixtures, Any, NDArray[np.uint8]]:
    """The mixtures of colors; the colors, (n, channels); and the palette's colors, on the host."""
    histogram, palette, labels, space, classes, threads = mapping
    channels = max(histogram.channels, palette.colors.shape[1])
    colors = unpack(histogram.keys, channels)
    entries = of_channels(palette.colors, channels)
    exact = (colors == array_module(labels).asarray(entries)[labels]).all(axis=1)
    if channels == 4:
        exact |= colors[:, 3] == 0
    strength = FULL if dithering.strength is None else dithering.strength
    groups = ColorClasses(classes, colors).groups(entries) if classes else None
    points, centers = space.points(colors), grid_points(entries, space)
    mixed = mixtures(points, centers, labels, exact, strength, threads, groups)
    return mixed, colors, entries


def layout(k: int) -> tuple[Any, Any]:
    """The type of words, and the bits of an index, of that type."""
    bits = 8 * np.dtype(index_dtype(k)).itemsize
    word: Any = np.dtype(f"u{bits // 2}").type
    return word, word(bits)


def words_of(mixed: Mixtures, k: int) -> Any:
    """See `OrderedPlan.words`."""
    word, bits = layout(k)
    words = mixed.share.astype(word) << bits
    words |= mixed.high.astype(word)
    words <<= bits
    words |= mixed.low.astype(word)
    return words


def bounds_of(matrix: NDArray[np.uint16], k: int) -> NDArray[Any]:
    """See `OrderedPlan.bounds`; `matrix`: (s, s) ranks."""
    word, bits = layout(k)
    thresholds = (2 * matrix.astype(word) + word(1)) * word(SHARES // 2 // matrix.size)
    bounds: NDArray[Any] = ((thresholds + word(1)) << (bits + bits)) - word(1)
    return bounds


def errors_of(mixed: Mixtures, colors: Any, entries: NDArray[np.uint8]) -> Any:
    """See `OrderedPlan.errors`; (n, channels) and (K, channels) uint8."""
    xp = array_module(colors)
    before, after = composited(colors).T, xp.asarray(np.ascontiguousarray(composited(entries).T))
    errors = xp.empty((len(colors), 2), xp.int32)
    for side, chosen in enumerate((mixed.low, mixed.high)):
        gaps = after.take(chosen, axis=1)
        gaps -= before
        gaps *= gaps
        errors[:, side] = gaps.sum(axis=0)
    return errors.reshape(-1)


def put(words: Any, bounds: Any, place: tuple[int, int], width: int, out: Any) -> Any:
    """Put the entries that words, (m,), say at their places into `out`; words do not outlast it.

    Returns which are the second ones, (m,) bool.
    """
    here = bounds_at(bounds, place, len(words) // width, width)
    is_second = (words.reshape(-1, width) > here).reshape(-1)
    words >>= is_second * words.dtype.type(8 * out.dtype.itemsize)
    out[:] = words.astype(out.dtype)
    return is_second


EVEN = np.uint64(0x0000FFFF0000FFFF)
"""Two of the four 16-bit parts of a word."""

ROOM = 1 << 15
"""Colors of which two squared differences each can be added in 32 bits."""


def squared_gaps(keys: NDArray[np.uint32], others: NDArray[np.uint32]) -> int:
    """Squared differences of the bytes of 32-bit words, (m,), summed; many at a time."""
    levels, found = keys.view(np.uint8), others.view(np.uint8)
    gaps = np.maximum(levels, found)
    gaps -= np.minimum(levels, found)
    squares = gaps.astype(np.uint16)
    squares *= squares
    fours = squares.view(np.uint64)
    pairs = fours & EVEN
    fours >>= np.uint64(16)
    fours &= EVEN
    pairs += fours
    sums = np.add.reduceat(pairs, np.arange(0, len(pairs), ROOM)).view(np.uint32)
    return int(sums.sum(dtype=np.int64))


def bounds_at(bounds: Any, place: tuple[int, int], count: int, width: int) -> Any:
    """(count, W): tiles of `bounds`, (s, s), from a row and a column on."""
    xp = array_module(bounds)
    row, column = place
    across = min(len(bounds), width)
    columns = xp.arange(column, column + across) % len(bounds)
    rows = bounds.take(columns, axis=1).take(xp.arange(row, row + count) % len(bounds), axis=0)
    return xp.tile(rows, (1, -(-width // across)))[:, :width]


def on_gpu(
    pixels: GpuPixels, plan: OrderedPlan | PlainPlan, stay: bool, progress: Progress
) -> MapResult:
    """An index map, slab by slab, and these in parts."""
    row, column = pixels.place
    tallies: list[Tallied] = []

    def on_slab(colors: Any, out: Any, first: int) -> None:
        for part, error in in_parts(plan, colors, (row + first, column), pixels.width, out):
            tallies.append((pixels.xp.bincount(part, minlength=plan.k), error))

    slabs = ((rows, colors, rows[0]) for rows, colors in pixels.slabs())
    index = pixels.map(index_dtype(plan.k), on_slab, stay, progress, slabs)
    return MapResult(index, sum_piece_stats(plan, tallies))


def on_frames(frames: GpuFrames, plan: OrderedPlan | PlainPlan) -> MapResult:
    """The index maps of some frames, which stay where they are, and their errors."""

    def on_frame(colors: Any, out: Any) -> Any:
        parts = in_parts(plan, colors, (0, 0), frames.width, out)
        return sum(error for _, error in parts) // plan.sides

    return MapResult(frames.map(index_dtype(plan.k), on_frame))


def in_parts(
    plan: OrderedPlan | PlainPlan, colors: Any, place: tuple[int, int], width: int, out: Any
) -> Iterator[tuple[Any, Any]]:
    """Parts of `out` that are filled, and their errors; a GPU holds what that takes of one part."""
    row, column = place
    for start, stop in chunks(0, len(out) // width, max(SLAB // width // ROWS, 1) * ROWS):
        part = slice(start * width, stop * width)
        yield out[part], plan.switch(colors[part], (row + start, column), width, out[part])


def map_pieces(
    pixels: Pixels, plan: OrderedPlan | PlainPlan, threads: int, progress: Progress
) -> MapResult:
    """An index map, piece by piece, by several threads."""
    index = np.empty((pixels.height, pixels.width), index_dtype(plan.k))
    row, column = pixels.place
    tallies = []

    def tallied(start: int, stop: int) -> Tallied:
        out = index[start:stop].reshape(-1)
        place = row + start, column
        error = plan.switch(pixels.slab(start, stop), place, pixels.width, out)
        return np.bincount(out, minlength=plan.k), error

    def on_rows(rows: tuple[int, int]) -> tuple[int, list[Tallied]]:
        return rows[1], [tallied(*part) for part in pixels.row_ranges(BATCH, rows)]

    for done, found in imap_threads(on_rows, pixels.row_ranges(PIECE), threads):
        tallies += found
        progress("remap", done / pixels.height)
    return MapResult(index, sum_piece_stats(plan, tallies))


def sum_piece_stats(plan: OrderedPlan | PlainPlan, tallies: list[Tallied]) -> MapStats:
    """The sum of some parts, on the host."""
    counts, error = (sum(parts) for parts in zip(*tallies, strict=True))
    whole, rest = divmod(int(error), plan.sides)
    return MapStats(to_host(counts).astype(np.int64), whole, rest)
