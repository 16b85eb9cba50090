"""Dask arrays and lists of files: counted and remapped by Dask, clustered once, all of it lazy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from quantgpu.batch.count import FileCountOptions, count_file
from quantgpu.clustering.options import DEFAULT_K, PaletteOptions
from quantgpu.color.alpha import AlphaOptions, Color
from quantgpu.distributed.blocks import (
    BlockResult,
    CompressedHistogram,
    add_histograms,
    check_blockwise,
    check_pixels,
    compress,
    count_block,
    index_of,
    mapper_for_blocks,
    remap_block,
    total_stats,
    tree,
)
from quantgpu.distributed.frame_ranges import FrameCountOptions, FrameRange, delayed_range_sum
from quantgpu.distributed.tiles import ABOVE, BELOW, LEFT, RIGHT, assemble, edge
from quantgpu.distributed.workers import INSTALL
from quantgpu.dithering.base import index_dtype
from quantgpu.dithering.options import MapOptions
from quantgpu.errors import UsageError
from quantgpu.execution.selection import Compute
from quantgpu.histogram import Histogram
from quantgpu.indexed import Indexed
from quantgpu.io.decode import MAX_PIXELS, ReadOptions
from quantgpu.options import QuantizeOptions, check_ks, from_keywords, refuse_others
from quantgpu.pipeline.shared_palette import SharedPalette, remap_to_shared, shared_palette
from quantgpu.pixels.counting import CountOptions
from quantgpu.progress import no_progress


class Remapped(NamedTuple):
    """A picture in the colors of its palette, all of it lazy."""

    index: Any
    """`dask.array` (H, W), uint8, or uint16 if K > 256: palette entries; the picture's chunks."""
    palette: Any
    """Delayed: a `SharedPalette`."""
    tally: Any
    """Delayed: the pixels of each palette entry, and the squared error, as `MapStats`."""


def dask_module() -> Any:
    """Import Dask with its arrays.

    Raises:
        UsageError: Dask is not installed.
    """
    try:
        import dask
        import dask.array
    except ImportError as error:
        raise UsageError(f"Dask is not installed ({error}): {INSTALL}") from None
    return dask


def histogram(
    source: Any,
    *,
    perceptual: bool = True,
    alpha: str = "keep",
    matte: Color | None = None,
    icc: str = "convert",
    max_pixels: int = MAX_PIXELS,
    device: str = "auto",
    memory: int | None = None,
) -> Any:
    """Count the colors of a picture or of many, block by block and file by file.

    Args:
        source: A `dask.array` (H, W, 3 | 4) uint8 in any chunks, with blocks of NumPy or CuPy; or
            a list of names of image files and of `FrameRange`s of clips, readable by all workers.
            `frame_ranges` cuts a clip into `FrameRange`s.
        perceptual: Whether pixels have the weights of `quantize`.
        alpha: The treatment of transparency, as in `quantgpu.quantize`.
        matte: The color under transparent pixels.
        icc: The treatment of the color profiles of images, as in the command line.
        max_pixels: Most pixels of an image; larger images are refused before they are decoded.
        device: The device of each worker for images and frames, as in `quantgpu.quantize`. Blocks
            are counted on their own device.
        memory: Bytes of device memory to use for images and frames; most of the free memory when
            None.

    Returns:
        Delayed: a `Histogram`, equal to that of one machine.

    Raises:
        UsageError: The array has another type or shape; on computing if a block has.
    """
    dask = dask_module()
    transparency = AlphaOptions(alpha=alpha, matte=matte)
    compute = Compute(device=device, memory=memory)
    if is_array(source):
        parts = delayed_block_counts(dask, check_array(source), perceptual, transparency)
    else:
        file_options = FileCountOptions(
            read=ReadOptions(alpha=transparency, icc=icc, max_pixels=max_pixels, threads=1),
            counting=CountOptions(perceptual=perceptual),
            compute=compute,
        )
        names, ranges = split_sources(source)
        count = dask.delayed(image_histogram)
        parts = [count(name, file_options) for name in names]
        frames = FrameCountOptions(perceptual=perceptual, alpha=transparency, compute=compute)
        parts += delayed_range_sum(dask, ranges, frames)
    return tree(dask.delayed(add_histograms), parts)


def palette(
    source: Any,
    k: int | None = None,
    *,
    alpha: str = "keep",
    matte: Color | None = None,
    dithered: bool = False,
    **options: Any,
) -> Any:
    """Find the best K colors of a picture or of many together.

    Args:
        source: An argument of `histogram`, or its result.
        k: Colors, as in `quantgpu.quantize`.
        alpha: The treatment of transparency, as in `histogram`.
        matte: The color under transparent pixels, as in `histogram`.
        dithered: Whether the palette is for dithering.
        options: Options of `quantgpu.quantize`: effort, init, seed, color_space, perceptual,
            salient, keep, snap, lock_grays, from_palette; and threads, device and memory, of which
            `histogram` gets the last two.

    Returns:
        Delayed: a `SharedPalette`.
    """
    search = from_keywords(PaletteSearch, options)
    return delayed_palette(source, k, search, AlphaOptions(alpha=alpha, matte=matte), dithered)


@dataclass(frozen=True, kw_only=True)
class PaletteSearch:
    """The options of a palette, and the device that finds the palette."""

    palette: PaletteOptions = field(default_factory=PaletteOptions)
    compute: Compute = field(default_factory=Compute)


def delayed_palette(
    source: Any, k: int | None, options: PaletteSearch, alpha: AlphaOptions, dithered: bool
) -> Any:
    """Delayed: the `SharedPalette` of an argument of `histogram`, or of its result."""
    dask = dask_module()
    compute, counted = options.compute, source
    if not hasattr(source, "key"):
        counted = histogram(
            source, perceptual=options.palette.weighs_pixels, alpha=alpha.alpha, matte=alpha.matte,
            device=compute.device, memory=compute.memory,
        )  # fmt: skip
    find = dask.delayed(partial(shared_palette, dithered=dithered))
    return find(counted, k, options.palette, compute)


def quantize(source: Any, k: int | None = None, **options: Any) -> Any:
    """Reduce a picture, or many together, to K colors.

    Args:
        source: A `dask.array`, or a list of image files, as `histogram` takes it.
        k: Colors, as in `quantgpu.quantize`.
        options: Those of `quantgpu.quantize` but `target`, `min_quality` and `weights`. `threads`
            applies to finding the palette, `device` to finding the palette and to files.

    Blocks are counted and remapped on their own device: NumPy's on the CPU, CuPy's on their GPU,
    and the indices stay on that device. Error diffusion runs through a picture in order, so blocks
    are dithered by ``bayer`` or ``blue-noise``, or not at all.

    Returns:
        For a `dask.array`, `Remapped`. For a list of files, a list of Delayed `Indexed`, one for
        each file, all in one palette.

    Raises:
        UsageError: An option is outside its range, or the method is not for blocks.
    """
    asked = from_keywords(QuantizeOptions, options)
    refuse_others(asked.goals, [], "is about single images, on one machine")
    dask = dask_module()
    [k] = check_ks([k], asked)
    palette_options, transparency, compute = asked.palette, asked.alpha, asked.compute
    mapping = asked.mapping(k)
    if is_array(source):
        check_blockwise(mapping.dithering)
    counted = histogram(
        source, perceptual=palette_options.weighs_pixels, alpha=transparency.alpha,
        matte=transparency.matte, device=compute.device, memory=compute.memory,
    )  # fmt: skip
    search = PaletteSearch(palette=palette_options, compute=compute)
    dithered = mapping.dithering.method != "none"
    found = delayed_palette(counted, k, search, transparency, dithered)
    if is_array(source):
        block_mapper = dask.delayed(mapper_for_blocks)(counted, found, mapping)
        dtype = index_dtype(DEFAULT_K if k is None else k)
        parts = counted, found, block_mapper
        return delayed_remap(dask, check_array(source), parts, dtype, transparency)
    remap = dask.delayed(
        partial(
            remap_file,
            mapping=mapping,
            read=ReadOptions(alpha=transparency),
            compute=replace(compute, threads=1),
        )
    )
    names, ranges = split_sources(source)
    if ranges:
        raise UsageError(
            f"{ranges[0].source}: ranges of frames are counted here, not remapped; take "
            "quantgpu.quantize_video, with scheduler=, or leave them to histogram and palette"
        )
    return [remap(name, counted, found) for name in names]


def is_array(source: Any) -> bool:
    """Whether a source is a `dask.array`, by its chunks, rather than names of files."""
    return hasattr(source, "chunks") and hasattr(source, "to_delayed")


def split_sources(source: Any) -> tuple[list[str], list[FrameRange]]:
    """Split a list into the names of image files and the ranges of frames.

    Raises:
        UsageError: `source` is not a list, or empty.
    """
    ranges = [item for item in check_list(source) if isinstance(item, FrameRange)]
    return [os.fspath(item) for item in source if not isinstance(item, FrameRange)], ranges


def check_list(source: Any) -> Sequence[Any]:
    """The list itself; raise a UsageError for a source that is no list, or empty."""
    if isinstance(source, str | os.PathLike) or not isinstance(source, Sequence) or not source:
        raise UsageError(
            f"{source!r} is neither a dask.array (height, width, 3 or 4) nor a list of image files "
            "and frame ranges"
        )
    return source


def check_array(array: Any) -> Any:
    """The array, with all channels of a pixel in one chunk.

    Raises:
        UsageError: The array is not (H, W, 3 | 4) uint8, is empty, or has chunks of unknown size.
    """
    check_pixels(array.dtype, array.shape)
    if any(np.isnan(size) for size in array.shape) or 0 in array.shape:
        raise UsageError(
            f"array of shape {array.shape}: there are no pixels, or nobody knows how many; "
            "call compute_chunk_sizes()"
        )
    return array.rechunk({2: -1})


def delayed_block_counts(dask: Any, array: Any, perceptual: bool, alpha: AlphaOptions) -> list[Any]:
    """Delayed: the histogram of each block, counted on the block's device."""
    count = partial(dask.delayed(count_with_edges), perceptual=perceptual, alpha=alpha)
    if not perceptual:
        blocks = array.to_delayed()[:, :, 0].flat
        return [count([[None] * 3, [None, block, None], [None] * 3]) for block in blocks]
    blocks = rechunk_at_least(array, max(ABOVE, BELOW), max(LEFT, RIGHT)).to_delayed()[:, :, 0]
    return [count(with_edges(dask, blocks, at)) for at in np.ndindex(blocks.shape)]


def rechunk_at_least(array: Any, rows: int, columns: int) -> Any:
    """Rechunk an array to no fewer rows and columns a chunk, or to its whole height or width."""
    from dask.array.overlap import ensure_minimum_chunksize

    sizes = zip((0, 1), (rows, columns), strict=True)
    return array.rechunk(
        {
            axis: ensure_minimum_chunksize(min(size, array.shape[axis]), array.chunks[axis])
            for axis, size in sizes
        }
    )


def with_edges(dask: Any, blocks: Any, at: tuple[int, ...]) -> list[list[Any]]:
    """Delayed: the block `at` of a grid and the edges of its neighbors, as `assemble` takes them.

    Edges are copied to the host, so that some blocks may be on GPUs and others not.
    """
    delayed_edge = dask.delayed(edge)

    def piece(down: int, right: int) -> Any:
        row, column = at[0] + down, at[1] + right
        if not (0 <= row < blocks.shape[0] and 0 <= column < blocks.shape[1]):
            return None
        block = blocks[row, column]
        return delayed_edge(block, down, right) if down or right else block

    return [[piece(down, right) for right in (-1, 0, 1)] for down in (-1, 0, 1)]


def count_with_edges(lines: Sequence[Sequence[Any]], **options: Any) -> CompressedHistogram:
    """Count a block between the edges of its neighbors, see `assemble`."""
    histogram: CompressedHistogram = count_block(*assemble(lines), **options).result
    return histogram


def delayed_remap(
    dask: Any, array: Any, delayed_parts: tuple[Any, Any, Any], dtype: Any, alpha: AlphaOptions
) -> Remapped:
    """Remap each block of a picture on the block's device.

    `delayed_parts`: the picture's histogram, palette and `BlockMapper`, all Delayed.
    """
    counted, found, block_mapper = delayed_parts
    rows, columns = ([sum(sizes[:at]) for at in range(len(sizes))] for sizes in array.chunks[:2])
    remap, entries, stats_of_block = map(dask.delayed, (remap_block, index_of, block_stats))
    index, tallies = {}, []
    for (row, column), block in np.ndenumerate(array.to_delayed()[:, :, 0]):
        block_result = remap(block, block_mapper, (rows[row], columns[column]), alpha)
        index[row, column] = entries(block_result, dtype)
        tallies.append(stats_of_block(block_result))
    tally = dask.delayed(total_stats)(counted, found, tallies)
    return Remapped(array_of_blocks(dask, index, array, dtype), found, tally)


def array_of_blocks(dask: Any, blocks: dict[tuple[int, int], Any], like: Any, dtype: Any) -> Any:
    """A `dask.array` (H, W) of Delayed blocks, in the chunks and arrays of another."""
    from dask.array.utils import meta_from_array
    from dask.highlevelgraph import HighLevelGraph

    name = f"index-{dask.base.tokenize(*blocks.values())}"
    layer = {(name, *at): block.key for at, block in blocks.items()}
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[*blocks.values()])
    meta = meta_from_array(like, ndim=2, dtype=dtype)
    return dask.array.Array(graph, name, like.chunks[:2], meta=meta)


def block_stats(done: BlockResult) -> Any:
    """The statistics of a block that `remap_block` mapped, `MapStats` or None."""
    return done.result.tally


def image_histogram(name: str, options: FileCountOptions) -> Histogram:
    """Count the colors of an image file."""
    return compress(count_file(name, no_progress, options).counted.histogram)


def remap_file(
    name: str,
    counted: Histogram,
    found: SharedPalette,
    *,
    mapping: MapOptions,
    read: ReadOptions,
    compute: Compute,
) -> Indexed:
    """Remap an image file to a palette that other files share.

    `counted`: the histogram of all files; `found`: its palette.
    """
    [picture] = remap_to_shared(read.read(name).image, counted, [found], mapping, compute)
    return picture
