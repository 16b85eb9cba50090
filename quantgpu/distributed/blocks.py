"""Blocks of a picture: counted and remapped one by one, with the bytes of the whole.

Histograms and mappers are compressed when they are pickled, that is when they leave a process, so
little data travels between workers.
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

FEW_PIXELS = 1 << 18
"""Most pixels that are counted by sorting: scanning bins of 2^24 colors would take longer."""

COMPRESS_LEVEL = 1
"""The level of deflate for mappers, which are sent once to each worker."""

FAN_IN = 4
"""Histograms that one task adds, with all of them in memory, 24 bytes a color: the sum of 256
blocks takes four steps."""

MANY_COLORS = 1 << 20
"""Fewest colors of all parts together to add histograms in bins."""


class CompressedHistogram(Histogram):
    """A histogram that is compressed when pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return decompress, (compressed_bytes(self), self.channels)

    def __sizeof__(self) -> int:
        columns = self.keys, self.counts, self.weights
        return sum(column.nbytes for column in columns if column is not None)


def compress(histogram: Histogram) -> CompressedHistogram:
    """Copy a histogram to the host, to be compressed when pickled."""
    host = histogram.to_host()
    return CompressedHistogram(host.keys, host.counts, host.weights, host.channels)


def compressed_bytes(histogram: Histogram) -> bytes:
    """The bytes of a pickled histogram: a histogram file, see `io.histogram_files`."""
    return encode_histogram(Counted(histogram, masked=histogram.weights is not None))


def decompress(data: bytes, channels: int) -> CompressedHistogram:
    """Decode the bytes of `compressed_bytes`."""
    histogram = decode_histogram(data).histogram
    return CompressedHistogram(histogram.keys, histogram.counts, histogram.weights, channels)


def add_histograms(parts: Sequence[Histogram]) -> CompressedHistogram:
    """Add histograms."""
    compressed = [compress(part) for part in parts]
    colors = sum(len(part) for part in compressed)
    if colors < MANY_COLORS or any(part.keys[-1] >= KEYS for part in compressed):
        return compress(sum_of(list(compressed)))
    return add_in_bins(compressed)


def add_in_bins(parts: Sequence[CompressedHistogram]) -> CompressedHistogram:
    """Add histograms of opaque colors in bins, one for each of the 2^24 colors.

    Four histograms of 2.8 million colors each take 0.8 s, against 4 s by sorting their keys, and
    128 MiB beside the parts and the sum.
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
    """The result of a block, and the device that computed it."""

    result: Any
    device: str
    """``cpu`` or ``gpu:N``."""
    notes: list[str]
    """Why another device than the requested one was used."""


def device_for_block(block: Any, device: str) -> str:
    """The device option for a block: `device` on the host; ``auto``, the block's GPU, on a GPU."""
    return device if on_host(block) else "auto"


def count_block(
    around: Any,
    halo: Halo,
    perceptual: bool = True,
    alpha: AlphaOptions = AlphaOptions(),
    compute: Compute = ON_CPU,
) -> BlockResult:
    """Count the colors of a block, with their weights in the whole picture.

    Args:
        around: (h, w, 3 | 4) uint8: the block and its halo; counted on its GPU if it is on one.
        halo: The size of the halo.
        perceptual: Whether pixels have the weights of `pixels.perceptual`.
        alpha: The treatment of transparency.
        compute: The device that counts a block on the host.

    Raises:
        UsageError: `around` has another type or shape.
        DeviceError: The requested GPU cannot be used.
    """
    tile = Tile(apply_alpha_options(around, alpha), halo)

    def on_gpu(xp: ModuleType, device: Device, keep_pixels: bool) -> CompressedHistogram:
        with synchronize_on_error(GpuTile(tile, xp, device)) as device_pixels:
            return compress(count_colors(device_pixels, perceptual=perceptual))

    def on_cpu() -> CompressedHistogram:
        return count_on_host(tile.to_host(), perceptual)

    return BlockResult(
        *run_on_device(
            device_for_block(around, compute.device), compute.memory, on_gpu, on_cpu, tile.gpu
        )
    )


def count_on_host(tile: Tile, perceptual: bool) -> CompressedHistogram:
    """Count the colors of a block on the host."""
    if len(tile) > FEW_PIXELS:
        return compress(count_colors(tile, 1, perceptual=perceptual))
    return compress(sum_of([count_few(*slab) for slab in slabs_of(tile, perceptual)]))


def slabs_of(tile: Tile, perceptual: bool) -> Iterator[tuple[Any, Any]]:
    """The slabs of a block: colors, (n, 3 | 4), and weights, (n,), or None if not `perceptual`."""
    if not perceptual:
        yield tile.slab(0, tile.height), None
        return
    for _, colors, weights in tile.perceptual_slabs(FEW_PIXELS, 1):
        yield colors, weights


def count_few(colors: NDArray[np.uint8], weights: NDArray[np.uint8] | None) -> Histogram:
    """Count (n, 3 | 4) uint8 colors by sorting, with their weights, (n,), if any."""
    channels = colors.shape[1]
    keys = transparent_keys(colors).astype(np.int64) if channels == 4 else pack(colors)
    found, inverse = np.unique(keys, return_inverse=True)
    counts = np.bincount(inverse, minlength=len(found)).astype(np.int64)
    if weights is None:
        return Histogram(found, counts, None, channels)
    sums = np.bincount(inverse, weights, minlength=len(found)).astype(np.int64)
    return Histogram(found, counts, sums, channels)


def apply_alpha_options(block: Any, options: AlphaOptions) -> Any:
    """Treat the transparency of a block, on its device; 4 channels remain if a pixel needs them.

    Raises:
        UsageError: The block is not (H, W, 3 | 4) uint8.
    """
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
    """Maps the pixels of blocks to palette entries, by a table built once in each process.

    Pickled, a mapper is the colors of a histogram and the palette entry of each, compressed.
    """

    def __init__(
        self,
        keys: NDArray[np.int64],
        labels: NDArray[np.integer[Any]],
        colors: NDArray[np.uint8],
        options: MapOptions,
        channels: int,
    ) -> None:
        """Keep the parts of the table.

        Args:
            keys: (n,) int64: the colors of the histogram, packed.
            labels: (n,): the entry of each color.
            colors: (K, 3 | 4) uint8: the palette.
            options: The method of mapping.
            channels: Channels of the histogram.
        """
        self.keys, self.labels, self.colors = keys, labels, colors
        self.options, self.channels = options, channels
        self.lock = Lock()
        self.built: dict[int | None, Mapper] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        size, width = len(self.keys), self.colors.shape[1]
        data, colors = mapper_bytes(self), self.colors.tobytes()
        return unpickle_mapper, (data, size, colors, width, self.options, self.channels)

    def __sizeof__(self) -> int:
        return int(self.keys.nbytes + self.labels.nbytes)

    def mapper(self, xp: Any = np, gpu: int | None = None) -> Mapper:
        """The mapper of pixels in arrays of `xp`, built at the first call.

        `gpu`: the number of the GPU, which is the current one; None for the host.
        """
        with self.lock:
            if gpu not in self.built:
                keys, labels = xp.asarray(self.keys), xp.asarray(self.labels)
                histogram = Histogram(keys, xp.ones(len(keys), xp.int64), None, self.channels)
                mapping = color_map_for(histogram, Palette(self.colors), labels, self.options)
                self.built[gpu] = mapper_for(mapping, self.options.dithering)
            return self.built[gpu]


def mapper_bytes(block_mapper: BlockMapper) -> bytes:
    """The keys and labels of a mapper, compressed."""
    gaps = np.diff(block_mapper.keys, prepend=-1) - 1
    columns = gaps, block_mapper.labels.astype(np.int64)
    return zlib.compress(b"".join(map(column_bytes, columns)), COMPRESS_LEVEL)


@lru_cache(maxsize=2)
def unpickle_mapper(
    data: bytes, length: int, colors: bytes, width: int, options: MapOptions, channels: int
) -> BlockMapper:
    """The mapper of pickled data; one object for equal data, so that its table is built once.

    Args:
        data: The `mapper_bytes`.
        length: The number of keys.
        colors: The bytes of the palette.
        width: Channels of the palette.
        options: The method of mapping.
        channels: Channels of the histogram.
    """
    gaps, labels = columns_of(zlib.decompress(data), length, 2)
    entries = np.frombuffer(colors, np.uint8).reshape(-1, width)
    return BlockMapper(np.cumsum(gaps + 1) - 1, labels, entries, options, channels)


def mapper_for_blocks(
    histogram: Histogram, shared: SharedPalette, options: MapOptions
) -> BlockMapper:
    """The mapper of the pixels of a histogram to its palette."""
    colors = shared.palette.colors
    return BlockMapper(histogram.keys, shared.labels, colors, options, histogram.channels)


def remap_block(
    block: Any,
    block_mapper: BlockMapper,
    place: tuple[int, int],
    alpha: AlphaOptions,
    compute: Compute = ON_CPU,
) -> BlockResult:
    """Map a block to palette entries, (h, w), on the block's device.

    Args:
        block: (h, w, 3 | 4) uint8, without a halo.
        block_mapper: Made for a histogram that counts the block, too.
        place: The row and the column of the block's upper left pixel in the picture.
        alpha: The treatment of transparency.
        compute: The device that maps a block on the host.

    Returns:
        A `MapResult`.
    """
    pixels = Pixels(apply_alpha_options(block, alpha))
    pixels.place = place
    return map_pixels(
        pixels, block_mapper, replace(compute, device=device_for_block(block, compute.device))
    )


def map_pixels(pixels: Pixels, block_mapper: BlockMapper, compute: Compute) -> BlockResult:
    """Map pixels to palette entries, (h, w), on the pixels' device; the result is a `MapResult`."""

    def on_gpu(xp: ModuleType, device: Device, keep_pixels: bool) -> MapResult:
        with synchronize_on_error(GpuPixels(pixels, xp, device, keep=False)) as device_pixels:
            keep_on_device = pixels.gpu is not None
            found = block_mapper.mapper(xp, device.gpu)(device_pixels, keep_on_device, no_progress)
            device_pixels.wait()
            return found

    def on_cpu() -> MapResult:
        index, tally = block_mapper.mapper()(pixels.to_host(), False, no_progress)
        if pixels.gpu is None:
            return MapResult(index, tally)
        with device_of(pixels.source):
            return MapResult(array_module(pixels.source).asarray(index), tally)

    return BlockResult(*run_on_device(compute.device, compute.memory, on_gpu, on_cpu, pixels.gpu))


def total_stats(
    histogram: Histogram, shared: SharedPalette, parts: Sequence[MapStats | None]
) -> MapStats:
    """Add the statistics of all blocks; from the histogram alone if the blocks have None."""
    tallies = [part for part in parts if part is not None]
    if not tallies:
        space = COLOR_SPACES["srgb"]  # unused: each color has its own entry
        return stats_of(ColorMap(histogram, shared.palette, shared.labels, space))
    counts = np.sum([part.counts for part in tallies], axis=0)
    halves = sum(2 * part.squared_error + part.rest for part in tallies)
    return MapStats(counts, halves // 2, halves % 2)


def index_of(remapped: BlockResult, dtype: Any) -> Any:
    """The indices of a mapped block, on its device, as `dtype`."""
    index = remapped.result.index
    with device_of(index):
        return array_module(index).asarray(index, dtype=dtype)


def tree(add: Callable[[Sequence[Any]], Any], parts: list[Any]) -> Any:
    """Add parts as a tree, `FAN_IN` at a time."""
    while len(parts) > 1:
        parts = [add(parts[start : start + FAN_IN]) for start in range(0, len(parts), FAN_IN)]
    return parts[0]


def check_blockwise(dithering: Dithering) -> None:
    """Raise a UsageError for error diffusion, which runs through a whole picture in order."""
    if not DITHERS[dithering.method].is_pointwise:
        raise UsageError(
            f"dither = {dithering.method!r} runs through a whole picture in order, not through "
            "blocks; use --dither none, bayer or blue-noise"
        )
