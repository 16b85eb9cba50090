"""Counting and mapping packed pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantgpu.kernels import THREADS, blocks_for, prepare

RUN = 16
"""Pixels that a thread takes at a time."""


def add_to_bins(bins: Any, colors: Any) -> None:
    """Count (n, 3) uint8 `colors` that begin at a multiple of 4 bytes into (2^24,) uint32 bins."""
    arguments = colors, np.int64(len(colors)), bins
    prepare("histogram", blocks_for(len(colors), RUN * THREADS), arguments).run()


def remap(table: Any, colors: Any, index: Any) -> None:
    """Put each color's entry in a (2^24,) table into `index`, (n,) of the same dtype."""
    arguments = colors, table, np.int64(len(colors)), index
    number = {1: "unsigned char", 2: "unsigned short"}[table.itemsize]
    prepare("remap", blocks_for(len(colors), RUN * THREADS), arguments, INDEX=number).run()
