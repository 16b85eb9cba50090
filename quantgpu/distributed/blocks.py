"""Parts of a picture: counted and remapped on their own, with the bytes of the whole.

What travels between workers is small: histograms and recipes are compressed when they are pickled,
which is when they leave a process, and not before.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from threading import Lock
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.device import Device
from quantgpu.arrays.namespace import array_module, device_of, on_host
from quantgpu.color.alpha import AlphaOptions, visible
from quantgpu.color.packing import KEYS, pack, transparent_keys
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.distributed.tiles import GpuTile, Halo, Tile
from quantgpu.dithering.base import ColorMap, Dithering, Mapper, MapResult, MapStats, stats_of
from quantgpu.dithering.methods import DITHERS, mapper_for
from quantgpu.dithering.options import MapOptions, color_map_for
from quantgpu.errors import UsageError
from quantgpu.execution.fallback import run_on_device
from quantgpu.execution.selection import Compute
from quantgpu.histogram import Histogram, sum_of
from quantgpu.io.histogram_files import (
    Counted,
    column_bytes,
    columns_of,
    decode_histogram,
    encode_histogram,
)
from quantgpu.palette import Palette
from quantgpu.pipeline.shared_palette import SharedPalette
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.gpu import GpuPixels, synchronize_on_error
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import no_progress

FEW = 1 << 18
"""Pixels that are counted by sorting them: bins of 2^24 colors would take longer to look through.
"""

LEVEL = 1
"""Of deflate, for recipes, which are sent once to each worker."""

FAN_IN = 4
"""Histograms that are added by one task, which has them in memory, 24 bytes a color: the sum of 256
blocks is four steps away."""

MANY = 1 << 20
"""Colors together from which on histograms are added in bins."""


class CompressedHistogram(Histogram):
    """A histogram that is compressed when it leaves the process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return decompress, (compressed_bytes(self), self.channels)

    def __sizeof__(self) -> int:
        columns = self.keys, self.counts, self.weights
        return sum(column.nbytes for column in columns if column is not None)


def compress(histogram: Histogram) -> CompressedHistogram:
    """The same histogram, on the host."""
    here = histogram.to_host()
    return CompressedHistogram(here.keys, here.counts, here.weights, here.channels)


def compressed_bytes(histogram: Histogram) -> bytes:
    """What crosses a network for a histogram: a histogram file, see `histogram_files`."""
    return encode_histogram(Counted(histogram, masked=histogram.weights is not None))


def decompress(data: bytes, channels: int) -> CompressedHistogram:
    """The histogram that `compressed_bytes` were made of."""
    found = decode_histogram(data).histogram
    return CompressedHistogram(found.keys, found.counts, found.weights, channels)


def add_histograms(parts: Sequence[Histogram]) -> CompressedHistogram:
    """The sum of some histograms."""
    here = [compress(part) for part in parts]
    if sum(len(part) for part in here) < MANY or any(part.keys[-1] >= KEYS for part in here):
        return compress(sum_of(list(here)))
    return add_in_bins(here)


def add_in_bins(parts: Sequence[CompressedHistogram]) -> CompressedHistogram:
    """The sum of histograms of opaque colors, in a bin for each that there is.

    Four of 2.8 million colors each take 0.8 s, and 4 s if their keys are sorted; of memory 128 MiB
    more than the parts and the sum take.
    """
    bins = np.zeros(KEYS, np.int64)

    def sums(values: Callable[[CompressedHistogram], Any]) -> NDArray[np.int64]:
        bins[:] = 0
        for part in parts:
            bins[part.keys] += values(part)
        return bins[keys]

    for part in parts:
        bins[part.keys] = 1
    keys = np.flatnonzero(bins).astype(np.int64)
    counts = sums(lambda part: part.counts)
    weighed = any(part.weights is not None for part in parts)
    weights = sums(lambda part: part.full_weights) if weighed else None
    return CompressedHistogram(keys, counts, weights, max(part.channels for part in parts))


ON_CPU = Compute(device="cpu")


class BlockResult(NamedTuple):
    """What was done with a block."""

    result: Any
    device: str
    """Where."""
    notes: list[str]
    """Why it was not done where it was meant to be."""


def device_for_block(block: Any, device: str) -> str:
    """The device for a block: on the host the one that is named, else the GPU that it is on."""
    return device if on_host(block) else "auto"


def count_block(
    around: Any,
    halo: Halo,
    perceptual: bool = True,
    alpha: AlphaOptions = AlphaOptions(),
    compute: Compute = ON_CPU,
) -> BlockResult:
    """The colors of a block, with the weights that they have in the whole picture.

    Args:
        around: (h, w, 3 | 4) uint8: the block and its halo; on a GPU it is counted there.
        halo: How much of that is the halo.
        perceptual: Whether pixels weigh what `importance` says.
        alpha: What becomes of transparency.
        compute: Where a block on the host is counted.

    Raises:
        UsageError: It is of another type or shape.
        DeviceError: The GPU that was asked for cannot be used.
    """
    tile = Tile(apply_alpha_options(around, alpha), halo)

    def on_gpu(xp: ModuleType, device: Device, keep: bool) -> CompressedHistogram:
        with synchronize_on_error(GpuTile(tile, xp, device)) as there:
            return compress(count_colors(there, perceptual=perceptual))

    def on_cpu() -> CompressedHistogram:
        return count_on_host(tile.to_host(), perceptual)

    return BlockResult(
        *run_on_device(
            device_for_block(around, compute.device), compute.memory, on_gpu, on_cpu, tile.gpu
        )
    )


def count_on_host(tile: Tile, perceptual: bool) -> CompressedHistogram:
    """The colors of a block on the host."""
    if len(tile) > FEW:
        return compress(count_colors(tile, 1, perceptual=perceptual))
    return compress(sum_of([count_few(*slab) for slab in slabs_of(tile, perceptual)]))


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


def apply_alpha_options(block: Any, options: AlphaOptions) -> Any:
    """The pixels of a block, where it is; with a fourth channel if one of them is not opaque."""
    check_pixels(block.dtype, block.shape)
    with device_of(block):
        return block if block.shape[2] == 3 else visible(block, options.alpha, options.matte)


def check_pixels(dtype: Any, shape: tuple[Any, ...]) -> None:
    """Raise a UsageError unless pixels are (H, W, 3 | 4) uint8."""
    if dtype != np.uint8:
        raise UsageError(f"blocks of {dtype}: they are uint8; convert with .astype('uint8')")
    if len(shape) != 3 or shape[2] not in (3, 4):
        raise UsageError(f"blocks of shape {shape}: they are (height, width, 3 or 4)")


class BlockMapper:
    """What blocks are remapped by; a table is built once in each process, for all blocks.

    It travels as the colors that occur and the palette entry of each, compressed.
    """

    def __init__(
        self,
        keys: NDArray[np.int64],
        labels: NDArray[np.integer[Any]],
        colors: NDArray[np.uint8],
        options: MapOptions,
        channels: int,
    ) -> None:
        """`keys`: (n,), and the entry of each, (n,); `colors`: (K, 3 | 4); `channels`: of the
        histogram."""
        self.keys, self.labels, self.colors = keys, labels, colors
        self.options, self.channels = options, channels
        self.lock = Lock()
        self.built: dict[int | None, Mapper] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        size, width = len(self.keys), self.colors.shape[1]
        how = self.options, self.channels
        return unpickle_mapper, (mapper_bytes(self), size, self.colors.tobytes(), width, *how)

    def __sizeof__(self) -> int:
        return int(self.keys.nbytes + self.labels.nbytes)

    def mapper(self, xp: Any = np, gpu: int | None = None) -> Mapper:
        """What maps pictures in arrays of a module, on a GPU, the current one, or the host; built
        by who asks first."""
        with self.lock:
            if gpu not in self.built:
                keys, labels = xp.asarray(self.keys), xp.asarray(self.labels)
                histogram = Histogram(keys, xp.ones(len(keys), xp.int64), None, self.channels)
                mapping = color_map_for(histogram, Palette(self.colors), labels, self.options)
                self.built[gpu] = mapper_for(mapping, self.options.dithering)
            return self.built[gpu]


def mapper_bytes(recipe: BlockMapper) -> bytes:
    """The keys and labels of a recipe, compressed."""
    gaps = np.diff(recipe.keys, prepend=-1) - 1
    columns = gaps, recipe.labels.astype(np.int64)
    return zlib.compress(b"".join(map(column_bytes, columns)), LEVEL)


@lru_cache(maxsize=2)
def unpickle_mapper(
    data: bytes, length: int, colors: bytes, width: int, options: MapOptions, channels: int
) -> BlockMapper:
    """The recipe that was pickled; the same one each time, with the table that it has built."""
    gaps, labels = columns_of(zlib.decompress(data), length, 2)
    entries = np.frombuffer(colors, np.uint8).reshape(-1, width)
    return BlockMapper(np.cumsum(gaps + 1) - 1, labels, entries, options, channels)


def mapper_for_blocks(
    histogram: Histogram, shared: SharedPalette, options: MapOptions
) -> BlockMapper:
    """What maps the pixels of a histogram to its palette."""
    colors = shared.palette.colors
    return BlockMapper(histogram.keys, shared.labels, colors, options, histogram.channels)


def remap_block(
    block: Any,
    recipe: BlockMapper,
    place: tuple[int, int],
    alpha: AlphaOptions,
    compute: Compute = ON_CPU,
) -> BlockResult:
    """The palette entries, (h, w), of a block's pixels, where they are: a `MapResult`.

    Args:
        block: (h, w, 3 | 4) uint8, without a halo; on a GPU it is mapped there.
        recipe: Made for a histogram that counts these pixels, too.
        place: The row and the column of its upper left pixel in the picture.
        alpha: As `count_block`.
        compute: As `count_block`.
    """
    pixels = Pixels(apply_alpha_options(block, alpha))
    pixels.place = place
    return map_pixels(
        pixels, recipe, replace(compute, device=device_for_block(block, compute.device))
    )


def map_pixels(pixels: Pixels, recipe: BlockMapper, compute: Compute) -> BlockResult:
    """The palette entries, (h, w), of pixels, where they are: a `MapResult`."""

    def on_gpu(xp: ModuleType, device: Device, keep: bool) -> MapResult:
        with synchronize_on_error(GpuPixels(pixels, xp, device, keep=False)) as there:
            stay = pixels.gpu is not None
            found = recipe.mapper(xp, device.gpu)(there, stay, no_progress)
            there.wait()
            return found

    def on_cpu() -> MapResult:
        index, tally = recipe.mapper()(pixels.to_host(), False, no_progress)
        if pixels.gpu is None:
            return MapResult(index, tally)
        with device_of(pixels.source):
            return MapResult(array_module(pixels.source).asarray(index), tally)

    return BlockResult(*run_on_device(compute.device, compute.memory, on_gpu, on_cpu, pixels.gpu))


def total_stats(
    histogram: Histogram, shared: SharedPalette, parts: Sequence[MapStats | None]
) -> MapStats:
    """What all blocks of a picture add up to."""
    tallies = [part for part in parts if part is not None]
    if not tallies:
        space = COLOR_SPACES["srgb"]  # not asked for: each color has its own entry
        return stats_of(ColorMap(histogram, shared.palette, shared.labels, space))
    counts = np.sum([part.counts for part in tallies], axis=0)
    halves = sum(2 * part.squared_error + part.rest for part in tallies)
    return MapStats(counts, halves // 2, halves % 2)


def index_of(remapped: BlockResult, dtype: Any) -> Any:
    """The indices, where the block is, in the type that was promised."""
    index = remapped.result.index
    with device_of(index):
        return array_module(index).asarray(index, dtype=dtype)


def tree(add: Callable[[Sequence[Any]], Any], parts: list[Any]) -> Any:
    """The sum of some parts, a few at a time."""
    while len(parts) > 1:
        parts = [add(parts[at : at + FAN_IN]) for at in range(0, len(parts), FAN_IN)]
    return parts[0]


def check_blockwise(dithering: Dithering) -> None:
    """Raise a UsageError for methods that run through a picture in order."""
    if not DITHERS[dithering.method].is_pointwise:
        raise UsageError(
            f"dither = {dithering.method!r} runs through a whole picture in order, not through "
            "blocks; use --dither none, bayer or blue-noise"
        )
