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
from quantgpu.distributed.frame_ranges import FrameCountOptions, FrameRange, counted_frames
from quantgpu.distributed.tiles import ABOVE, BELOW, LEFT, RIGHT, assemble, edge
from quantgpu.distributed.workers import INSTALL
from quantgpu.dithering.base import index_dtype
from quantgpu.dithering.options import DitherOptions, MapOptions
from quantgpu.errors import UsageError
from quantgpu.execution.selection import Compute
from quantgpu.histogram import Histogram
from quantgpu.indexed import Indexed
from quantgpu.io.decode import MAX_PIXELS, ReadOptions
from quantgpu.options import QuantizeOptions, check_ks, chosen, from_keywords
from quantgpu.pipeline.shared_palette import SharedPalette, remapped, shared_palette
from quantgpu.pixels.counting import CountOptions
from quantgpu.progress import no_progress


class Remapped(NamedTuple):
    """A picture in the colors of its palette, not computed yet."""

    index: Any
    """`dask.array` (H, W), uint8, or uint16 if K > 256: palette entries; the picture's chunks."""
    palette: Any
    """Delayed: a `SharedPalette`."""
    tally: Any
    """Delayed: the pixels of each palette entry, and the squared error, as a `dither.Tally`."""


def dask_module() -> Any:
    """Dask with its arrays.

    Raises:
        UsageError: It is not installed.
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
    """The colors of a picture or of many, counted block by block and file by file.

    Args:
        source: A `dask.array` (H, W, 3 | 4) uint8 in any chunks, with blocks of NumPy or CuPy; or
            a list of names of image files and of `FrameRange`s of clips, which the workers have to
            be able to read. `frame_ranges` cuts a clip into some.
        perceptual: Whether pixels weigh what `quantize` gives them.
        alpha: What becomes of transparency, as in `quantgpu.quantize`.
        matte: What transparent pixels are laid on.
        icc: Of images: what becomes of color profiles, as in the command line.
        max_pixels: Of each image: larger ones are refused before they are decoded.
        device: Of images and frames: where each worker counts them, as in `quantgpu.quantize`.
            Blocks are counted where they are.
        memory: Of images and frames: bytes of device memory to use; most of what is free when None.

    Returns:
        Delayed: a `Histogram`, equal to that of one machine.

    Raises:
        UsageError: The array has another type or shape; later, when it is computed, if a block has.
    """
    dask = dask_module()
    transparency = AlphaOptions(alpha=alpha, matte=matte)
    compute = Compute(device=device, memory=memory)
    if is_array(source):
        parts = counted_blocks(dask, checked(source), perceptual, transparency)
    else:
        way = FileCountOptions(
            read=ReadOptions(alpha=transparency, icc=icc, max_pixels=max_pixels, threads=1),
            counting=CountOptions(perceptual=perceptual),
            compute=compute,
        )
        names, places = sorted_out(source)
        count = dask.delayed(count_one)
        parts = [count(name, way) for name in names]
        frames = FrameCountOptions(perceptual=perceptual, alpha=transparency, compute=compute)
        parts += counted_frames(dask, places, frames)
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
    """The best K colors of a picture or of many together.

    Args:
        source: What `histogram` takes, or what it returned.
        k: Colors, as in `quantgpu.quantize`.
        alpha: As in `histogram`.
        matte: As in `histogram`.
        dithered: Whether the palette will be dithered with.
        options: Of `quantgpu.quantize`: effort, init, seed, color_space, perceptual, salient, keep,
            snap, lock_grays, from_palette; and threads, device and memory, which are those of
            `histogram`, too.

    Returns:
        Delayed: a `SharedPalette`.
    """
    found = from_keywords(FoundPalette, options)
    return delayed_palette(source, k, found, AlphaOptions(alpha=alpha, matte=matte), dithered)


@dataclass(frozen=True, kw_only=True)
class FoundPalette:
    """What palette is sought, and where."""

    palette: PaletteOptions = field(default_factory=PaletteOptions)
    compute: Compute = field(default_factory=Compute)


def delayed_palette(
    source: Any, k: int | None, options: FoundPalette, alpha: AlphaOptions, dithered: bool
) -> Any:
    """Delayed: the `SharedPalette` of what `histogram` takes, or of what it returned."""
    dask = dask_module()
    compute, counted = options.compute, source
    if not hasattr(source, "key"):
        counted = histogram(
            source, perceptual=options.palette.weighs_pixels, alpha=alpha.alpha, matte=alpha.matte,
            device=compute.device, memory=compute.memory,
        )  # fmt: skip
    find = dask.delayed(partial(shared_palette, dithered=dithered))
    return find(counted, k, options.palette, compute)


def quantize(
    source: Any,
    k: int | None = None,
    *,
    effort: str = "balanced",
    init: str = "random",
    seed: int = 0,
    color_space: str = "oklab",
    perceptual: bool = True,
    salient: bool = False,
    keep: Any = None,
    snap: float | None = None,
    lock_grays: bool = False,
    from_palette: Any = None,
    dither: str | None = None,
    dither_strength: float | None = None,
    alpha: str = "keep",
    matte: Color | None = None,
    threads: int | None = None,
    device: str = "auto",
    memory: int | None = None,
) -> Any:
    """Reduce a picture, or many together, to K colors.

    The options are those of `quantgpu.quantize`; `threads` are about finding the palette, `device`
    is about that and about files. Blocks are counted and remapped where they are: NumPy's on the
    CPU, CuPy's on their GPU, where the indices stay. Error diffusion runs through a picture in
    order: blocks are mixed by ``bayer`` or ``blue-noise`` alone, which ask for the place of a
    pixel, or not at all.

    Returns:
        Of a `dask.array`, `Remapped`. Of a list of files, a list of Delayed `Indexed`, one for each
        file, all in one palette.

    Raises:
        UsageError: An option is outside its range, or the method is not for blocks.
    """
    options = from_keywords(QuantizeOptions, chosen(locals(), QuantizeOptions))
    dask = dask_module()
    [k] = check_ks([k], options)
    sought, transparency = options.palette, options.alpha
    mixing = DitherOptions(dither="none") if k == 1 else options.dither
    mapping = MapOptions(
        dithering=mixing.resolve(sought.effort),
        color_space=sought.color_space,
        lock_grays=sought.lock_grays,
    )
    if is_array(source):
        check_blockwise(mapping.dithering)
    counted = histogram(
        source, perceptual=sought.weighs_pixels, alpha=alpha, matte=matte, device=device,
        memory=memory,
    )  # fmt: skip
    how = FoundPalette(palette=sought, compute=options.compute)
    dithered = mapping.dithering.method != "none"
    found = delayed_palette(counted, k, how, transparency, dithered)
    if is_array(source):
        recipe = dask.delayed(mapper_for_blocks)(counted, found, mapping)
        dtype = index_dtype(DEFAULT_K if k is None else k)
        return remapped_blocks(dask, checked(source), (counted, found, recipe), dtype, transparency)
    remap = dask.delayed(
        partial(
            remap_file,
            mapping=mapping,
            read=ReadOptions(alpha=transparency),
            compute=replace(options.compute, threads=1),
        )
    )
    names, places = sorted_out(source)
    if places:
        raise UsageError(
            f"{places[0].source}: ranges of frames are counted here, not remapped; take "
            "quantgpu.quantize_video, with scheduler=, or leave them to histogram and palette"
        )
    return [remap(name, counted, found) for name in names]


def is_array(source: Any) -> bool:
    """Whether it has chunks, as a `dask.array` has; names of files have none."""
    return hasattr(source, "chunks") and hasattr(source, "to_delayed")


def sorted_out(source: Any) -> tuple[list[str], list[FrameRange]]:
    """The names of files in a list, and the ranges of frames."""
    places = [item for item in listed(source) if isinstance(item, FrameRange)]
    return [os.fspath(item) for item in source if not isinstance(item, FrameRange)], places


def listed(source: Any) -> Sequence[Any]:
    """Names of files, and ranges of frames."""
    if isinstance(source, str | os.PathLike) or not isinstance(source, Sequence) or not source:
        raise UsageError(
            f"{source!r} is neither a dask.array (height, width, 3 or 4) nor a list of image files "
            "and frame ranges"
        )
    return source


def checked(array: Any) -> Any:
    """The array, with all channels of a pixel in one chunk."""
    check_pixels(array.dtype, array.shape)
    if any(np.isnan(size) for size in array.shape) or 0 in array.shape:
        raise UsageError(
            f"array of shape {array.shape}: there are no pixels, or nobody knows how many; "
            "call compute_chunk_sizes()"
        )
    return array.rechunk({2: -1})


def counted_blocks(dask: Any, array: Any, perceptual: bool, alpha: AlphaOptions) -> list[Any]:
    """Delayed histograms of all blocks, each counted where it is."""
    count = partial(dask.delayed(count_pieces), perceptual=perceptual, alpha=alpha)
    if not perceptual:
        blocks = array.to_delayed()[:, :, 0].flat
        return [count([[None] * 3, [None, block, None], [None] * 3]) for block in blocks]
    blocks = at_least(array, max(ABOVE, BELOW), max(LEFT, RIGHT)).to_delayed()[:, :, 0]
    return [count(with_edges(dask, blocks, at)) for at in np.ndindex(blocks.shape)]


def at_least(array: Any, rows: int, columns: int) -> Any:
    """The array in chunks of no fewer rows and columns, as far as it has so many."""
    from dask.array.overlap import ensure_minimum_chunksize

    sizes = zip((0, 1), (rows, columns), strict=True)
    return array.rechunk(
        {
            axis: ensure_minimum_chunksize(min(size, array.shape[axis]), array.chunks[axis])
            for axis, size in sizes
        }
    )


def with_edges(dask: Any, blocks: Any, at: tuple[int, ...]) -> list[list[Any]]:
    """A block of a grid, Delayed, and what those around it lend, as `assemble` takes them.

    Edges are fetched to the host, so that blocks need not be all on GPUs, or all not.
    """
    delayed_edge = dask.delayed(edge)

    def piece(down: int, right: int) -> Any:
        row, column = at[0] + down, at[1] + right
        if not (0 <= row < blocks.shape[0] and 0 <= column < blocks.shape[1]):
            return None
        block = blocks[row, column]
        return delayed_edge(block, down, right) if down or right else block

    return [[piece(down, right) for right in (-1, 0, 1)] for down in (-1, 0, 1)]


def count_pieces(lines: Sequence[Sequence[Any]], **way: Any) -> CompressedHistogram:
    """The histogram of a block between edges of others, see `assemble`."""
    histogram: CompressedHistogram = count_block(*assemble(lines), **way).result
    return histogram


def remapped_blocks(
    dask: Any, array: Any, by: tuple[Any, Any, Any], dtype: Any, alpha: AlphaOptions
) -> Remapped:
    """A picture of which each block is remapped on its own, where it is.

    `by`: its histogram, palette and recipe, all Delayed.
    """
    counted, found, recipe = by
    rows, columns = ([sum(sizes[:at]) for at in range(len(sizes))] for sizes in array.chunks[:2])
    remap, entries, tallied = map(dask.delayed, (remap_block, index_of, tally_of_block))
    index, tallies = {}, []
    for (row, column), block in np.ndenumerate(array.to_delayed()[:, :, 0]):
        done = remap(block, recipe, (rows[row], columns[column]), alpha)
        index[row, column] = entries(done, dtype)
        tallies.append(tallied(done))
    tally = dask.delayed(total_stats)(counted, found, tallies)
    return Remapped(of_blocks(dask, index, array, dtype), found, tally)


def of_blocks(dask: Any, blocks: dict[tuple[int, int], Any], like: Any, dtype: Any) -> Any:
    """A `dask.array` (H, W) of Delayed blocks, in the chunks and arrays of another."""
    from dask.array.utils import meta_from_array
    from dask.highlevelgraph import HighLevelGraph

    name = f"index-{dask.base.tokenize(*blocks.values())}"
    layer = {(name, *at): block.key for at, block in blocks.items()}
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[*blocks.values()])
    meta = meta_from_array(like, ndim=2, dtype=dtype)
    return dask.array.Array(graph, name, like.chunks[:2], meta=meta)


def tally_of_block(done: BlockResult) -> Any:
    """What `remap_block` says beside the indices."""
    return done.result.tally


def count_one(name: str, way: FileCountOptions) -> Histogram:
    """The histogram of an image file."""
    return compress(count_file(name, no_progress, way).counted.histogram)


def remap_file(
    name: str,
    counted: Histogram,
    found: SharedPalette,
    *,
    mapping: MapOptions,
    read: ReadOptions,
    compute: Compute,
) -> Indexed:
    """An image file in a palette that it shares."""
    [picture] = remapped(read.read(name).image, counted, [found], mapping, compute)
    return picture
