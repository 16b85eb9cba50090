"""From pixels to palette indices, with and without dithering."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.device import Progress, array_module, map_ahead, to_host
from quantgpu.color.spaces import ColorSpace
from quantgpu.dithering.diffusion import FULL, KERNELS
from quantgpu.errors import UsageError
from quantgpu.histogram import BATCH, KEYS, Histogram, pack, transparent_keys
from quantgpu.metrics.palette_error import squared_error
from quantgpu.palette import Palette
from quantgpu.pixels import counting_gpu as kernels
from quantgpu.pixels.gpu import GpuFrames, GpuPixels
from quantgpu.pixels.pixels import Pixels

PIECE = 8 * BATCH
"""Pixels that a thread maps at a time, in batches."""

DEFAULT = "adaptive"
"""The method where none is named."""


class Mapping(NamedTuple):
    """Which colors are mapped, and to what."""

    histogram: Histogram
    """The colors of all pixels that will be mapped, on their device."""
    palette: Palette
    labels: Any
    """(n,) integers: the palette entry of each color of the histogram."""
    space: ColorSpace
    """Where distances are measured."""
    kinds: Sequence[str] = ()
    """Of `kinds.KINDS`: pixels of a kind get palette entries of that kind."""
    threads: int = 1


class Mapped(NamedTuple):
    """An index map, and what it says where colors alone do not decide it."""

    index: Any
    """(H, W) uint8, or uint16 if K > 256; of `GpuFrames`, (frames, stride) on the GPU."""
    tally: Tally | None = None
    """None where each color has its own entry: the histogram tells; and of `GpuFrames`."""


class Tally(NamedTuple):
    """What was mapped to what."""

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

Mapper = Callable[[Pixels, bool, Progress], Mapped]
"""From pixels of the histogram's colors, and whether to leave the index map on a GPU."""


def mapper_for(mapping: Mapping, dithering: Dithering) -> Mapper:
    """What maps pictures; the method is prepared once for all of them."""
    method = "none" if len(mapping.palette) == 1 else dithering.method
    return DITHERS[method](mapping, dithering)


def parse_dither(dither: str, strength: float | None = None) -> Dithering:
    """What ``--dither`` and ``--dither-strength`` ask for.

    >>> parse_dither("bayer:4", 0.5)
    Dithering(method='bayer', size=4, strength=32)

    Raises:
        UsageError: There is no such method, matrix or strength.
    """
    found = re.fullmatch(r"([a-z-]+)(?::(\d+))?", str(dither))
    if not found or found[1] not in DITHERS:
        raise UsageError(f"dither = {dither!r} is not one of {', '.join(DITHERS)}")
    size = None if found[2] is None else int(found[2])
    if size is not None and found[1] != "bayer":
        raise UsageError(f"dither = {dither!r}: only bayer takes a size, such as bayer:4")
    if size not in (None, 2, 4, 8, 16):
        raise UsageError(f"dither = {dither!r}: the matrix has 2, 4, 8 or 16 rows")
    if strength is None:
        return Dithering(found[1], size)
    if not isinstance(strength, int | float | np.floating) or not 0 <= strength <= 1:
        raise UsageError(f"dither_strength = {strength!r} is outside 0..1")
    return Dithering(found[1], size, int(strength * FULL + 0.5))


def dithering_for(
    dither: str | None, strength: float | None, effort: str, measured: bool = False
) -> Dithering:
    """What is done where `dither` may not be given.

    Nothing is mixed then by the effort ``none``, or if results are `measured` by what a pixel's
    color is off: mixing raises that.
    """
    usual = "none" if effort == "none" or measured else DEFAULT
    return parse_dither(usual if dither is None else dither, strength)


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


def tally_of(mapping: Mapping) -> Tally:
    """What is mapped to what if each color is mapped to its own entry."""
    histogram, palette, labels, *_ = mapping
    counts = pixel_counts(histogram, len(palette), labels)
    return Tally(counts, int(squared_error(histogram, palette, labels)))


def table_of(histogram: Histogram, values: Any) -> Callable[[Any, Any], None]:
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
            kernels.remap(table, colors, out)

    return look_up


def no_dither(mapping: Mapping, dithering: Dithering = NO_DITHERING) -> Mapper:
    """Each pixel's own nearest palette color; its cost does not depend on K."""
    dtype = index_dtype(len(mapping.palette))
    look_up = table_of(mapping.histogram, mapping.labels.astype(dtype))

    def mapped(pixels: Pixels, stay: bool, progress: Progress) -> Mapped:
        return Mapped(each_slab(look_up, pixels, dtype, stay, mapping.threads, progress))

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

    for done in map_ahead(map_rows, pixels.row_ranges(PIECE), threads):
        progress("remap", done / pixels.height)
    return index


def error_diffusion(mapping: Mapping, dithering: Dithering) -> Mapper:
    """Errors are passed on to neighbors, see `diffusion`."""
    from quantgpu.dithering.error_diffusion_plan import diffused

    return diffused(mapping, dithering)


def ordered_dither(mapping: Mapping, dithering: Dithering) -> Mapper:
    """Each color is mixed of two palette colors, by place, see `ordered`."""
    from quantgpu.dithering import ordered, ordered_gpu

    if ordered_gpu.serves(mapping):
        return ordered_gpu.ordered(mapping, dithering)
    return ordered.ordered(mapping, dithering)


DITHERS: dict[str, Callable[[Mapping, Dithering], Mapper]] = {
    "none": no_dither,
    "bayer": ordered_dither,
    "blue-noise": ordered_dither,
    **dict.fromkeys(KERNELS, error_diffusion),
}
"""Name to method; the choices of ``--dither``."""
