"""The cells of an octree, level by level: the host never waits for the number of cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantgpu.arrays.namespace import array_module
from quantgpu.kernels.launch import blocks_for, int32, prepare

LEVELS = 8
"""Levels below the root: one for each bit of a channel."""


def octree_cells(codes: Any, table: Any, axes: int, unbounded: float) -> tuple[Any, ...]:
    """The columns starts, ends, error, parent_error of `octree.Octree`, and children.

    They hold all occupied cells, the root first; `children` counts the children of each cell.

    Args:
        codes: (n,) integers: Morton codes, ascending.
        table: (axes + 2, n + 1) int64: `octree.RunningSums.table`.
        axes: 3, or 4 with alpha.
        unbounded: The error of the root.
    """
    xp = array_module(codes)
    powers = xp.asarray(2 ** (axes * np.arange(LEVELS, dtype=codes.dtype)))
    top = xp.full(1, 1 << (axes * LEVELS - 1), codes.dtype)
    changed = xp.concatenate([top, codes[1:] ^ codes[:-1]])
    begins = xp.searchsorted(powers, changed, side="right")
    ahead = xp.cumsum(begins)
    count = 1 + int(ahead[-1])
    cells = (ahead - begins + 1).astype(xp.int32)
    begins = begins.astype(xp.int8)
    starts, ends, children = (xp.zeros(count, xp.int32) for _ in range(3))
    error, parent_error = xp.empty(count), xp.empty(count)
    ends[:1], error[:1], parent_error[:1] = len(codes), unbounded, xp.inf
    columns = starts, ends, error, parent_error, children
    inputs = codes, begins, cells, table, int32(len(codes))
    for level in range(1, LEVELS + 1):
        arguments = *inputs, int32(level), *columns
        prepare("octree", blocks_for(len(codes)), arguments, AXES=axes).run()
    return columns
