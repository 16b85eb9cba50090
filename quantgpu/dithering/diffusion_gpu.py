"""Error diffusion as one launch that never waits, for any number of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantgpu.arrays.namespace import array_module
from quantgpu.kernels.launch import blocks_for, int32, prepare

if TYPE_CHECKING:
    from quantgpu.dithering.diffusion_matrices import DiffusionMatrix
    from quantgpu.dithering.nearest_grid import ColorGrid, NearestGrid

BAND_ROWS = 32
"""Rows of a band, which a block works on: one for each thread."""


NUMBERS = {1: "unsigned char", 2: "unsigned short", 4: "int"}
"""Bytes of a palette color to its type."""


def diffuse(
    colors: Any, strength: Any, kernel: DiffusionMatrix, scheme: ColorGrid, above: Any, dtype: Any
) -> tuple[Any, Any]:
    """`diffusion.diffuse` for arrays on the device."""
    rows = colors[None], strength[None]
    index, below = diffuse_frames(*rows, kernel, scheme, above[None], dtype)
    return index[0], below[0]


def diffuse_frames(
    colors: Any, strength: Any, kernel: DiffusionMatrix, scheme: ColorGrid, above: Any, dtype: Any
) -> tuple[Any, Any]:
    """The palette colors of rows of several pictures, and the errors below them.

    Args:
        colors: (frames, h, W) int32: each pixel's color.
        strength: (frames, h, W) uint8.
        kernel: A row of `DIFFUSION_MATRICES`.
        scheme: With its arrays on the device; coordinates and reach are below 2^13.
        above: (frames, depth, d, W) int32: the errors of the rows above.
        dtype: uint8, uint16 or int32.

    Returns:
        (frames, h, W) of that type, and the shape of `above`.
    """
    xp = array_module(colors)
    frames, height, width = colors.shape
    axes, k = scheme.centers.shape
    cells = scheme.cells
    codes, entries = chained(cells)
    bands, depth = blocks_for(height, BAND_ROWS), kernel.depth
    errors = xp.empty((frames, bands + 1, depth, axes, width), xp.int32)
    errors[:, 0] = above
    index = xp.empty(colors.shape, dtype)
    sides = [*cells.sides, 1][1:4]
    numbers = scheme.points.shape[1], k, cells.shift, *sides, scheme.reach, *colors.shape
    tables = scheme.points, scheme.first, scheme.centers, cells.origin, codes, entries
    progress = xp.zeros(1 + frames * bands, xp.int32)
    arguments = colors, strength, *tables, *map(int32, numbers), errors, progress, index
    given = defines(kernel, axes, index.itemsize)
    launch = prepare("diffuse", frames * bands, arguments, threads=BAND_ROWS, **given)
    launch._replace(grid=(frames * bands,)).run()  # a block for each band, however many
    rows = min(height - (bands - 1) * BAND_ROWS, depth)
    below = xp.concatenate([errors[:, bands, :rows], errors[:, bands - 1, : depth - rows]], axis=1)
    return index, below


def chained(cells: NearestGrid) -> tuple[Any, Any]:
    """Codes that say where lists begin, and entries that say where they end.

    In `NearestGrid` that is written in a third array: one more load in the chain that each pixel
    waits for.
    """
    xp = array_module(cells.codes)
    begins = cells.starts.take(xp.maximum(~cells.codes, 0))
    entries = xp.concatenate([cells.entries, xp.zeros(1, xp.int32)])
    last = cells.starts[1:] - 1
    entries[last] = ~entries.take(last)
    return xp.where(cells.codes < 0, ~begins, cells.codes), entries


def defines(kernel: DiffusionMatrix, axes: int, itemsize: int) -> dict[str, Any]:
    """The definitions that ``diffuse.cu`` is compiled with, for a number of axes and of index
    bytes.
    """
    return {
        "SHARES": ",".join(str(weight) for weights in kernel.shares for weight in weights),
        "DIVISOR": kernel.divisor,
        "DEPTH": kernel.depth,
        "COLUMNS": len(kernel.shares[0]),
        "LAG": kernel.lag,
        "LEAD": max(-dx for dx, dy, _ in kernel.taps if dy),
        "AXES": axes,
        "INDEX": NUMBERS[itemsize],
    }
