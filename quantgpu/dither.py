"""From pixels to palette indices, with and without dithering."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.colorspace import ColorSpace
from quantgpu.device import Progress, array_module, map_ahead, to_host
from quantgpu.diffusion import FULL, KERNELS
from quantgpu.errors import UsageError
from quantgpu.histogram import BATCH, KEYS, Histogram, pack, transparent_keys
from quantgpu.image import Pixels
from quantgpu.kernels import pixels as kernels
from quantgpu.palette import Palette
from quantgpu.quality import squared_error
from quantgpu.transfer import GpuPixels

PIECE = 8 * BATCH
"""Pixels that a thread maps at a time, in batches."""

DEFAULT = "adaptive"
"""The method where none is named."""


class Job(NamedTuple):
    """What is mapped, and to what."""

    pixels: Pixels
    histogram: Histogram
    """Of the pixels, on their device."""
    palette: Palette
    labels: Any
    """(n,) integers: the palette entry of each color of the histogram."""
    space: ColorSpace
    """Where distances are measured."""
    kinds: Sequence[str]
    """Of `kinds.KINDS`: pixels of a kind get palette entries of that kind."""
    threads: int
    progress: Progress
    stay: bool
    """Leave the index map on a GPU."""


class Mapped(NamedTuple):
    """An index map and what it says."""

    index: Any
    """(H, W) uint8, or uint16 if K > 256."""
    counts: NDArray[np.int64]
    """(K,) pixels of each palette entry."""
    squared_error: int
    """Squared differences of 8-bit levels, summed over pixels and channels."""


class Dithering(NamedTuple):
    """A method and how it is meant to work."""

    method: str
    """A row of `DITHERS`."""
    size: int | None = None
    """Of the matrix of ``bayer``."""
    strength: int | None = None
    """0 to `FULL`; None for what suits the method."""


NO_DITHERING = Dithering("none")


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


def dithering_for(dither: str | None, strength: float | None, effort: str) -> Dithering:
    """What is done where `dither` may not be given: the effort ``none`` mixes nothing then."""
    usual = "none" if effort == "none" else DEFAULT
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


def no_dither(job: Job, dithering: Dithering) -> Mapped:
    """Each pixel's own nearest palette color; its cost does not depend on K."""
    pixels, histogram, labels = job.pixels, job.histogram, job.labels
    k = len(job.palette)
    dtype = index_dtype(k)
    look_up = table_of(histogram, labels.astype(dtype))
    if isinstance(pixels, GpuPixels):
        index = pixels.map(dtype, look_up, job.stay, job.progress)
    else:
        index = np.empty((pixels.height, pixels.width), dtype)

        def map_rows(rows: tuple[int, int]) -> int:
            for start, stop in pixels.row_ranges(BATCH, rows):
                look_up(pixels.slab(start, stop), index[start:stop].reshape(-1))
            return rows[1]

        for done in map_ahead(map_rows, pixels.row_ranges(PIECE), job.threads):
            job.progress("remap", done / pixels.height)
    error = int(squared_error(histogram, job.palette, labels))
    return Mapped(index, pixel_counts(histogram, k, labels), error)


def error_diffusion(job: Job, dithering: Dithering) -> Mapped:
    """Errors are passed on to neighbors, see `diffusion`."""
    from quantgpu.diffused import diffused

    return diffused(job, dithering)


Method = Callable[[Job, Dithering], Mapped]

DITHERS: dict[str, Method] = {"none": no_dither, **dict.fromkeys(KERNELS, error_diffusion)}
"""Name to method; the choices of ``--dither``."""
