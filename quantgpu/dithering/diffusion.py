"""Error diffusion in exact integers, as a wave that runs over many rows at once.

Each pixel is moved by what its neighbors to the left and above got wrong, takes the nearest palette
color, and passes its own error on. A row may follow the row above as soon as the errors that it
needs are there, so step t works on all pixels with ``x + lag * y = t``.

R. W. Floyd, L. Steinberg, "An adaptive algorithm for spatial greyscale", Proceedings of the Society
for Information Display 17(2), 1976.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import on_host
from quantgpu.dithering import diffusion_gpu
from quantgpu.dithering.diffusion_matrices import FULL, DiffusionMatrix
from quantgpu.dithering.nearest_grid import ColorGrid, nearest_entries
from quantgpu.progress import Progress, no_progress

STEPS = 128
"""Steps of the wave from one word about progress to the next."""


Errors = NDArray[np.int32]
"""(depth, d, W): what the rows above got wrong, the nearest row first."""


def no_errors(kernel: DiffusionMatrix, axes: int, width: int, xp: Any = np) -> Any:
    """The errors above the first row, in an array of a module."""
    return xp.zeros((kernel.depth, axes, width), xp.int32)


def diffuse(
    colors: NDArray[np.int32],
    strength: NDArray[np.uint8],
    kernel: DiffusionMatrix,
    scheme: ColorGrid,
    above: Errors,
    dtype: Any = np.int32,
    progress: Progress = no_progress,
) -> tuple[NDArray[Any], Errors]:
    """The palette color, (h, W), of each pixel of some rows, and the errors below them.

    A pixel is moved, along each axis, by ``sum(weight * error) * strength / (divisor * FULL)``,
    rounded half up and limited to `reach`, and takes the nearest center, ties to the first. Its
    error is where it was moved to less that center.

    Args:
        colors: (h, W): each pixel's color.
        strength: (h, W): 0 to `FULL`.
        kernel: A row of `DIFFUSION_MATRICES`.
        scheme: Points, centers and cells, on the device that all arrays are on.
        above: The errors of the rows above, as `no_errors` has them for the first.
        dtype: Of the palette colors.
        progress: Told of the share that is done, by a CPU.
    """
    if not on_host(colors):
        return diffusion_gpu.diffuse(colors, strength, kernel, scheme, above, dtype)
    height, width = colors.shape
    lag, depth, taps = kernel.lag, kernel.depth, kernel.taps
    pitch = max(width, lag + 1)
    flat, strengths = join_rows(colors, pitch), join_rows(strength, pitch)
    index = np.zeros(height * pitch, dtype)
    turns = max(dx + lag * dy for dx, dy, _ in taps) + 1
    ring = np.zeros((turns, len(scheme.points), height + depth), np.int32)
    below = np.zeros_like(above)
    divisor = np.int32(kernel.divisor * FULL)
    reach = np.int32(scheme.reach)
    ended = [0] * turns
    steps = width + lag * (height - 1)
    for step in range(-lag * depth, steps):
        if step % STEPS == 0:
            progress("remap", max(step, 0) / steps)
        turn = step % turns
        errors = ring[turn]
        for row in range(1, depth + 1):
            column = step + lag * row
            inside = 0 <= column < width
            errors[:, depth - row] = above[row - 1, :, column] if inside else 0
        first = max(0, -((width - 1 - step) // lag))
        last = min(height, step // lag + 1)
        if first > ended[turn]:
            errors[:, depth + ended[turn] : depth + first] = 0
            ended[turn] = first
        if last <= first:
            continue
        start = step + first * (pitch - lag)
        diagonal = slice(start, start + (last - first - 1) * (pitch - lag) + 1, pitch - lag)
        color = flat[diagonal]
        moved = incoming(ring, step, taps, lag, slice(depth + first, depth + last))
        moved *= strengths[diagonal]
        moved += divisor // 2
        moved //= divisor
        np.minimum(moved, reach, out=moved)
        np.maximum(moved, -reach, out=moved)
        moved += scheme.points.take(color, axis=1)
        begins = None if scheme.first is None else scheme.first.take(color)
        found = nearest_entries(moved, scheme.cells, scheme.centers, begins)
        index[diagonal] = found
        moved -= scheme.centers.take(found, axis=1)
        errors[:, depth + first : depth + last] = moved
        for row in range(min(depth, height)):
            place = height - 1 - row
            if first <= place < last:
                below[row, :, step - lag * place] = moved[:, place - first]
    below[height:] = above[: max(depth - height, 0)]
    return index.reshape(height, pitch)[:, :width], below


def join_rows(rows: NDArray[Any], pitch: int) -> NDArray[Any]:
    """The rows one after another, each `pitch` long."""
    if (width := rows.shape[1]) < pitch:
        rows = np.pad(rows, ((0, 0), (0, pitch - width)))
    return np.ascontiguousarray(rows).reshape(-1)


def incoming(
    ring: NDArray[np.int32], step: int, taps: list[tuple[int, int, int]], lag: int, rows: slice
) -> NDArray[np.int32]:
    """(d, rows): the errors that pixels of one step get from earlier ones, times their weights."""
    total: NDArray[np.int32] | None = None
    for dx, dy, weight in taps:
        errors = ring[(step - dx - lag * dy) % len(ring), :, rows.start - dy : rows.stop - dy]
        if total is None:
            total = errors * np.int32(weight)
        else:
            total += errors * np.int32(weight)
    assert total is not None
    return total
