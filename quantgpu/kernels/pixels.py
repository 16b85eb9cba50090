"""Counting and mapping packed pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantgpu.kernels import THREADS, blocks_for, int32, prepare

RUN = 16
"""Pixels that a thread takes at a time."""


def add_to_bins(bins: Any, colors: Any, weights: Any = None) -> None:
    """Count (n, 3) uint8 `colors` that begin at a multiple of 4 bytes into (2^24,) bins.

    The bins are uint32; or, with (n,) uint8 `weights`, uint64: see `histogram.COUNT_BITS`.
    """
    blocks = blocks_for(len(colors), RUN * THREADS)
    if weights is None:
        prepare("histogram", blocks, (colors, np.int64(len(colors)), bins)).run()
    else:
        arguments = colors, weights, np.int64(len(colors)), bins
        prepare("histogram", blocks, arguments, WEIGHTED=1).run()


def weigh(colors: Any, before: Any, after: Any, width: int, weights: Any) -> None:
    """Put the weight of each of the `colors` of whole rows into `weights`: see ``weigh.cu``."""
    numbers = (len(colors) // width, width, len(before) // width, len(after) // width)
    arguments = colors, before, after, *map(int32, numbers), weights
    prepare("weigh", blocks_for(len(colors)), arguments).run()


def remap(table: Any, colors: Any, index: Any) -> None:
    """Put each color's value in a (2^24,) table into `index`, (n,) of the same integer type."""
    arguments = colors, table, np.int64(len(colors)), index
    number = {1: "unsigned char", 2: "unsigned short", 4: "int"}[table.itemsize]
    prepare("remap", blocks_for(len(colors), RUN * THREADS), arguments, INDEX=number).run()


def ordered(
    colors: Any, tables: tuple[Any, Any, Any], shape: tuple[int, int], place: tuple[int, int],
    index: Any, errors: Any, counts: Any = None,
) -> None:  # fmt: skip
    """Put the palette entries of pictures into `index`, by threshold: see ``ordered.cu``.

    Args:
        colors: (pictures, stride, 3) uint8, of which the first H * W of each are a picture.
        tables: Its table, bounds and entries, all uint32.
        shape: H and W.
        place: The row and column of the first pixel of each picture.
        index: (pictures, stride) uint8.
        errors: (pictures,) uint64, which squared errors are added to.
        counts: (K,) uint64, which the pixels of each entry are added to, if it is given.
    """
    _, bounds, entries = tables
    pictures, stride = index.shape
    given = {} if counts is None else {"COUNTED": 1}
    sums = (errors,) if counts is None else (counts, errors)
    numbers = map(int32, (*place, len(bounds), len(entries)))
    arguments = colors, *tables, *map(int32, shape), np.int64(stride), *numbers, index, *sums
    launch = prepare("ordered", blocks_for(shape[0] * shape[1], RUN * THREADS), arguments, **given)
    launch._replace(grid=(*launch.grid, pictures)).run()
