"""Counting and mapping packed pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantgpu.kernels.launch import THREADS, blocks_for, int32, prepare

RUN = 16
"""Pixels that a thread takes at a time."""

MOST_ENTRIES = 256
"""Palette colors that `ordered` and `tally` have room for."""


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


def temper(
    colors: Any, before: Any, after: Any, width: int, ranks: Any, full: Any, wanted: Any, found: Any
) -> None:
    """Put how much of the error of each of the `colors` of whole rows is passed on into `found`.

    See ``weigh.cu``; `ranks`, (m,) int32, say where in `full` and `wanted`, (n,) uint8, to look.
    """
    numbers = (len(colors) // width, width, len(before) // width, len(after) // width)
    arguments = colors, before, after, *map(int32, numbers), ranks, full, wanted, found
    prepare("weigh", blocks_for(len(colors)), arguments, TEMPERED=1).run()


def tally(colors: Any, index: Any, entries: Any, error: Any, counts: Any = None) -> None:
    """Add what (n, 3) uint8 `colors` were mapped to, (n,) uint8, up: see ``tally.cu``.

    The squared error to (1,) uint64, and the pixels of each of the `entries`, (K,) uint32, to
    `counts`, (K,) uint64, if they are given.
    """
    given = {} if counts is None else {"COUNTED": 1}
    sums = (error,) if counts is None else (counts, error)
    arguments = colors, index, entries, np.int64(len(colors)), int32(len(entries)), *sums
    prepare("tally", blocks_for(len(colors), 4 * THREADS), arguments, **given).run()


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
