"""Launchers of the kernels that map colors through a table, and add up what became of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantgpu.kernels.launch import THREADS, blocks_for, int32, prepare
from quantgpu.pixels.counting_gpu import RUN

MOST_ENTRIES = 256
"""Palette colors that `ordered` and `tally` have room for."""


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
