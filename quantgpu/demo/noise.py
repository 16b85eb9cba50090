"""Brushes and noise for the built-in scene, the same bytes on every machine.

Noise comes from integer hashes; all else is elementwise + - * / and floor.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.signedinteger[Any]]
Bits = NDArray[np.uint32]
Color = tuple[float, float, float]


def color_planes(color: Color) -> Floats:
    """A color as a (3, 1, 1) float32 array."""
    return np.array(color, np.float32)[:, None, None]


def scale_color(color: Color, factor: float) -> Color:
    """A color times `factor`, lighter or darker; levels may exceed 255 before mixing."""
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def mix_colors(start: Color, end: Color, share: Floats) -> Floats:
    """Colors (3, h, w) from `start` where share (h, w) is 0 to `end` where it is 1."""
    planes = np.empty((3, *share.shape), np.float32)
    for plane, a, b in zip(planes, start, end, strict=True):
        np.multiply(share, b - a, out=plane)
        plane += a
    return planes


def blend(canvas: Floats, color: Color | Floats, cover: Floats) -> None:
    """Lay a color, or planes of colors, over the canvas as densely as `cover`, 0..1, says."""
    for plane, over in zip(canvas, color, strict=True):
        plane += (over - plane) * cover


def ramp(value: Floats, start: float, end: float) -> Floats:
    """A linear ramp: 0 below `start`, 1 above `end`, straight between them."""
    share: Floats = np.clip((value - start) * (1 / (end - start)), 0, 1)
    return share


def ease(share: Floats) -> Floats:
    """Shares of 0..1, eased in and out by 3 s^2 - 2 s^3."""
    eased = 3 - 2 * share
    eased *= share
    eased *= share
    return eased


def soft_cover(inside: Floats, pixel: float) -> Floats:
    """The cover, 0..1, of a shape, by the distance to its outline, which is positive inside."""
    return ramp(inside, -0.5 * pixel, 0.5 * pixel)


def strip_cover(value: Floats, low: float, high: float, pixel: float) -> Floats:
    """The cover, 0..1, of a strip from `low` to `high`, with soft edges."""
    return soft_cover(value - low, pixel) * soft_cover(high - value, pixel)


def dot(normal: tuple[Floats, Floats, Floats], direction: tuple[float, float, float]) -> Floats:
    """The scalar product, added from x to z."""
    scalar: Floats = normal[0] * direction[0] + normal[1] * direction[1]
    scalar += normal[2] * direction[2]
    return scalar


def spire_heights(x: Floats, cell: float, seed: int) -> Floats:
    """Heights (w,), 0..1, of pointed, leaning, overlapping shapes, two per cell."""
    home = np.floor(x / cell).astype(np.int32)
    clump = fractal(x, np.zeros(1), (cell * 12, 1.0), 4, 0, seed + 500)[0].astype(np.float64)
    height: Floats = np.zeros_like(x)
    for offset, sort in product((-1, 0, 1), (0, 4)):
        bits = hash_places(home + offset, np.arange(sort, sort + 4)[:, None], seed)
        shift, size, left, right = to_unit(bits).astype(np.float64)
        distance = x / cell - (home + offset + shift)
        reach = np.where(distance < 0, 0.15 + 0.6 * left, 0.15 + 0.6 * right)
        rise = (0.3 + 0.7 * size) * np.maximum(1 - np.abs(distance) / reach, 0)
        height = np.maximum(height, rise)
    clumped: Floats = (0.25 + 0.75 * height) * (0.35 + 0.9 * clump)
    return clumped


def fractal(
    x: Floats, y: Floats, cell: tuple[float, float], octaves: int, finest: float, seed: int
) -> Floats:
    """Noise (h, w) around 0.5: octaves of value noise, each finer and weaker.

    Octaves with cells below `finest` are left out: a small picture cannot show them.
    """
    across, down = cell
    total = np.full((len(y), len(x)), 0.5, np.float32)
    weight = 0.5
    for octave in range(octaves):
        if min(across, down) >= finest:
            _add_noise(total, x, y, (across, down), weight, seed * 16 + octave)
        across, down, weight = across / 2.07, down / 2.07, weight * 0.53
    return total


def _add_noise(
    total: Floats, x: Floats, y: Floats, cell: tuple[float, float], weight: float, seed: int
) -> None:
    """Add value noise: random at the corners of cells, -weight/2..weight/2, smooth between them.

    Interpolated along x for the few lattice rows in view, then once per pixel along y.
    """
    column, across = _cells(x, cell[0])
    row, down = _cells(y, cell[1])
    corners, column, row = _lattice(column, row, seed)
    lattice = (corners - 0.5) * weight
    left = lattice[:, column]
    lines = left + (lattice[:, column + 1] - left) * across
    rise = (lines[1:] - lines[:-1])[row]
    rise *= down[:, None]
    total += lines[row]
    total += rise


def bent_noise(across: Floats, down: Floats, seed: int) -> Floats:
    """Value noise (h, w), 0..1, with cells of 1, at the places (across, down)."""
    left, right = _cells(across, 1)
    upper, lower = _cells(down, 1)
    lattice, column, row = _lattice(left, upper, seed)
    stride = lattice.shape[1]
    place = row * stride + column
    corners = lattice.ravel()
    top: Floats = corners[place]
    bottom: Floats = corners[place + stride]
    top += (corners[place + 1] - top) * right
    bottom += (corners[place + (stride + 1)] - bottom) * right
    return top + (bottom - top) * lower


def _lattice(column: Ints, row: Ints, seed: int) -> tuple[Floats, Ints, Ints]:
    """Random numbers at the corners of all cells in view, and columns and rows of that lattice."""
    left, top = int(column.min()), int(row.min())
    columns = np.arange(left, int(column.max()) + 2)
    rows = np.arange(top, int(row.max()) + 2)
    return to_unit(hash_places(columns, rows[:, None], seed)), column - left, row - top


def _cells(places: Floats, cell: float) -> tuple[Ints, Floats]:
    """The cell of each place, and the position of the place in its cell, eased, 0..1."""
    scaled = places / cell
    number = np.floor(scaled)
    return number.astype(np.int32), ease((scaled - number).astype(np.float32))


def hash_places(column: Ints, row: Ints, seed: int) -> Bits:
    """32 random bits for each column and row, which broadcast.

    The mixer is Chris Wellons' lowbias32, https://nullprogram.com/blog/2018/07/31/.
    """
    start = (seed * 0x9E3779B1) & 0xFFFFFFFF
    bits = _mix_bits(row.astype(np.uint32) + np.uint32(start)) + column.astype(np.uint32)
    return _mix_bits(bits)


def _mix_bits(bits: Bits) -> Bits:
    """Mix 32 bits by lowbias32, see `hash_places`."""
    bits = (bits ^ (bits >> np.uint32(16))) * np.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> np.uint32(15))) * np.uint32(0x846CA68B)
    return bits ^ (bits >> np.uint32(16))


def to_unit(bits: Bits) -> Floats:
    """Numbers, 0 <= number < 1, from the upper 24 bits, exactly."""
    return (bits >> 8).astype(np.float32) * np.float32(2**-24)
