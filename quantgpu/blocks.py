"""Parts of a picture: counted and remapped on their own, with the bytes of the whole.

What travels between workers is small: histograms and recipes are compressed when they are pickled,
which is when they leave a process, and not before.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.clustering import kinds_of
from quantgpu.colorspace import COLOR_SPACES
from quantgpu.device import array_module, no_progress, to_host
from quantgpu.dither import Dithering, Mapper, Mapping, Tally, mapper_for, tally_of
from quantgpu.errors import UsageError
from quantgpu.histogram import Histogram, count_colors, pack, sum_of, transparent_keys
from quantgpu.histogram_files import (
    Counted,
    column_bytes,
    columns_of,
    decode_histogram,
    encode_histogram,
)
from quantgpu.image import Pixels
from quantgpu.importance import Weighed, pixel_weights, rows_around
from quantgpu.palette import Palette
from quantgpu.shared import SharedPalette
from quantgpu.transparency import Color, visible

ABOVE, BELOW, LEFT, RIGHT = 1, 2, 1, 2
"""Pixels around a block that the weights of its own depend on, see `importance`."""

FEW = 1 << 18
"""Pixels that are counted by sorting them: bins of 2^24 colors would take longer to look through.
"""

LEVEL = 1
"""Of deflate, for recipes, which are sent once to each worker."""


class Halo(NamedTuple):
    """How much of a block is there only for the weights of the pixels beside it."""

    above: int = 0
    below: int = 0
    left: int = 0
    right: int = 0

    @classmethod
    def within(cls, at: Sequence[int], of: Sequence[int]) -> Halo:
        """That of a block of a grid of blocks, at (row, column)."""
        (row, column), (rows, columns) = at, of
        return cls(
            *(ABOVE * (row > 0), BELOW * (row < rows - 1)),
            *(LEFT * (column > 0), RIGHT * (column < columns - 1)),
        )

    def cut_from(self, around: Any) -> Any:
        """(h, w, …) without the halo."""
        height, width = around.shape[:2]
        return around[self.above : height - self.below, self.left : width - self.right]


class Tile(Pixels):
    """A block of a picture, in which pixels weigh what they do in the whole."""

    def __init__(self, around: NDArray[np.uint8], halo: Halo) -> None:
        """`around`: (h, w, 3 | 4), with the halo, which ends at the borders of the picture."""
        super().__init__(halo.cut_from(around))
        self.around, self.halo = around, halo

    def busy_slabs(self, batch: int, threads: int) -> Iterator[Weighed]:
        """`Pixels.busy_slabs`, of the block's own pixels."""
        left = self.halo.left
        for start, stop in self.row_ranges(batch):
            at = start + self.halo.above
            first, last = rows_around(at, at + stop - start, len(self.around))
            weights = pixel_weights(self.around[first:last], at - first, stop - start)
            inner = weights.reshape(stop - start, -1)[:, left : left + self.width]
            yield (start, stop), self.slab(start, stop), inner.reshape(-1)


class Parcel(Histogram):
    """A histogram that is compressed when it leaves the process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return parcel_of, (parcel_bytes(self), self.channels)

    def __sizeof__(self) -> int:
        columns = self.keys, self.counts, self.weights
        return sum(column.nbytes for column in columns if column is not None)


def parcel(histogram: Histogram) -> Parcel:
    """The same histogram, on the host."""
    weights = None if histogram.weights is None else to_host(histogram.weights)
    keys, counts = to_host(histogram.keys), to_host(histogram.counts)
    return Parcel(keys, counts, weights, histogram.channels)


def parcel_bytes(histogram: Histogram) -> bytes:
    """What crosses a network for a histogram: a histogram file, see `histogram_files`."""
    return encode_histogram(Counted(histogram, masked=histogram.weights is not None))


def parcel_of(data: bytes, channels: int) -> Parcel:
    """The histogram that `parcel_bytes` were made of."""
    found = decode_histogram(data).histogram
    return Parcel(found.keys, found.counts, found.weights, channels)


def added(parts: Sequence[Histogram]) -> Parcel:
    """The sum of some histograms."""
    return parcel(sum_of(list(parts)))


def count_block(
    around: Any,
    halo: Halo,
    perceptual: bool = True,
    alpha: str = "keep",
    matte: Color | None = None,
) -> Parcel:
    """The colors of a block, with the weights that they have in the whole picture.

    Args:
        around: (h, w, 3 | 4) uint8: the block and its halo; on a GPU it is fetched.
        halo: How much of that is the halo.
        perceptual: Whether pixels weigh what `importance` says.
        alpha: What becomes of transparency, as `quantize` takes it.
        matte: What transparent pixels are laid on.

    Raises:
        UsageError: It is of another type or shape.
    """
    tile = Tile(opened(around, alpha, matte), halo)
    if len(tile) > FEW:
        return parcel(count_colors(tile, 1, perceptual=perceptual))
    return parcel(sum_of([count_few(*slab) for slab in slabs_of(tile, perceptual)]))


def slabs_of(tile: Tile, perceptual: bool) -> Iterator[tuple[Any, Any]]:
    """The colors of a block and their weights, or None, in slabs."""
    if not perceptual:
        yield tile.slab(0, tile.height), None
        return
    for _, colors, weights in tile.busy_slabs(FEW, 1):
        yield colors, weights


def count_few(colors: NDArray[np.uint8], weights: NDArray[np.uint8] | None) -> Histogram:
    """The histogram of (n, 3 | 4) colors and their weights, (n,) if there are any."""
    channels = colors.shape[1]
    keys = transparent_keys(colors).astype(np.int64) if channels == 4 else pack(colors)
    found, inverse = np.unique(keys, return_inverse=True)
    counts = np.bincount(inverse, minlength=len(found)).astype(np.int64)
    if weights is None:
        return Histogram(found, counts, None, channels)
    sums = np.bincount(inverse, weights, minlength=len(found)).astype(np.int64)
    return Histogram(found, counts, sums, channels)


def opened(block: Any, alpha: str, matte: Color | None) -> NDArray[np.uint8]:
    """The pixels of a block on the host; with a fourth channel if one of them is not opaque."""
    block = to_host(block)
    check_pixels(block.dtype, block.shape)
    pixels: NDArray[np.uint8] = block if block.shape[2] == 3 else visible(block, alpha, matte)
    return pixels


def check_pixels(dtype: Any, shape: tuple[Any, ...]) -> None:
    """Raise a UsageError unless pixels are (H, W, 3 | 4) uint8."""
    if dtype != np.uint8:
        raise UsageError(f"blocks of {dtype}: they are uint8; convert with .astype('uint8')")
    if len(shape) != 3 or shape[2] not in (3, 4):
        raise UsageError(f"blocks of shape {shape}: they are (height, width, 3 or 4)")


class Recipe:
    """What blocks are remapped by; a table is built once in each process, for all blocks.

    It travels as the colors that occur and the palette entry of each, compressed.
    """

    def __init__(
        self,
        keys: NDArray[np.int64],
        labels: NDArray[np.integer[Any]],
        colors: NDArray[np.uint8],
        how: tuple[Dithering, str, bool, int],
    ) -> None:
        """`keys`: (n,), and the entry of each, (n,); `colors`: (K, 3 | 4); `how`: the method, the
        color space, whether grays are kept apart, and the channels of the histogram."""
        self.keys, self.labels, self.colors, self.how = keys, labels, colors, how
        self.lock = Lock()
        self.built: Mapper | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        size, width = len(self.keys), self.colors.shape[1]
        return recipe_of, (recipe_bytes(self), size, self.colors.tobytes(), width, self.how)

    def __sizeof__(self) -> int:
        return int(self.keys.nbytes + self.labels.nbytes)

    @property
    def mapper(self) -> Mapper:
        """What maps pictures; built by who asks first."""
        with self.lock:
            if self.built is None:
                dithering, space, lock_grays, channels = self.how
                channels = max(channels, self.colors.shape[1])
                kinds = kinds_of(channels, lock_grays)
                nothing = np.ones(len(self.keys), np.int64)
                histogram = Histogram(self.keys, nothing, None, self.how[-1])
                mapping = Mapping(
                    histogram, Palette(self.colors), self.labels, COLOR_SPACES[space], kinds
                )
                self.built = mapper_for(mapping, dithering)
            return self.built


def recipe_bytes(recipe: Recipe) -> bytes:
    """The keys and labels of a recipe, compressed."""
    gaps = np.diff(recipe.keys, prepend=-1) - 1
    columns = gaps, recipe.labels.astype(np.int64)
    return zlib.compress(b"".join(map(column_bytes, columns)), LEVEL)


@lru_cache(maxsize=2)
def recipe_of(
    data: bytes, length: int, colors: bytes, width: int, how: tuple[Dithering, str, bool, int]
) -> Recipe:
    """The recipe that was pickled; the same one each time, with the table that it has built."""
    gaps, labels = columns_of(zlib.decompress(data), length, 2)
    entries = np.frombuffer(colors, np.uint8).reshape(-1, width)
    return Recipe(np.cumsum(gaps + 1) - 1, labels, entries, how)


def recipe_for(
    histogram: Histogram,
    shared: SharedPalette,
    dithering: Dithering,
    color_space: str,
    lock_grays: bool,
) -> Recipe:
    """What maps the pixels of a histogram to its palette."""
    how = dithering, color_space, lock_grays, histogram.channels
    return Recipe(histogram.keys, shared.labels, shared.palette.colors, how)


def remap_block(
    block: Any, recipe: Recipe, place: tuple[int, int], alpha: str, matte: Color | None
) -> tuple[NDArray[Any], Tally | None]:
    """The palette entries, (h, w), of a block's pixels, and what they add up to.

    Args:
        block: (h, w, 3 | 4) uint8, without a halo; on a GPU it is fetched.
        recipe: Made for a histogram that counts these pixels, too.
        place: The row and the column of its upper left pixel in the picture.
        alpha: As `count_block`.
        matte: As `count_block`.
    """
    pixels = Pixels(opened(block, alpha, matte))
    pixels.place = place
    index, tally = recipe.mapper(pixels, False, no_progress)
    return index, tally


def tally_in_all(
    histogram: Histogram, shared: SharedPalette, parts: Sequence[Tally | None]
) -> Tally:
    """What all blocks of a picture add up to."""
    tallies = [part for part in parts if part is not None]
    if not tallies:
        space = COLOR_SPACES["srgb"]  # not asked for: each color has its own entry
        return tally_of(Mapping(histogram, shared.palette, shared.labels, space))
    counts = np.sum([part.counts for part in tallies], axis=0)
    halves = sum(2 * part.squared_error + part.rest for part in tallies)
    return Tally(counts, halves // 2, halves % 2)


def index_of(remapped: tuple[NDArray[Any], Tally | None], dtype: Any) -> NDArray[Any]:
    """The indices, in the type that was promised."""
    index: NDArray[Any] = array_module(remapped[0]).asarray(remapped[0], dtype=dtype)
    return index
