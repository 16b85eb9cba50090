"""Working spaces: 8-bit colors to points on an integer grid and back.

Coordinates are integers stored as float32, centered on zero and scaled so that the largest squared
distance stays below 2^24. Every partial sum of ``|s|^2 - 2 x.s`` is then an integer that float32
holds exactly, whatever the order of summation and with or without fused multiply-add.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from quantgpu.device import array_module

SRGB_SCALE = 8
"""Grid steps per 8-bit level: three axes of 255 * 8 give 12.5 million < 2^24."""

SRGB_CENTER = 128
"""The 8-bit level that lies on zero."""


class ColorSpace(NamedTuple):
    """A change of coordinates: clustering sees Euclidean distance and nothing else."""

    to_grid: Callable[[Any], Any]
    """(n, 3) uint8 colors to (3, n) float32 integers."""
    from_grid: Callable[[Any], Any]
    """(n, 3) float32 integers to the nearest (n, 3) uint8 colors."""


def srgb_to_grid(colors: Any) -> Any:
    """8-bit sRGB to the grid, (v - 128) * 8: -1024 … 1016 per axis."""
    xp = array_module(colors)
    return (colors.T.astype(xp.float32) - SRGB_CENTER) * SRGB_SCALE


def srgb_from_grid(points: Any) -> Any:
    """The nearest 8-bit sRGB colors, halves rounded up."""
    xp = array_module(points)
    levels = xp.floor((points + SRGB_SCALE // 2) / SRGB_SCALE) + SRGB_CENTER
    return xp.clip(levels, 0, 255).astype(xp.uint8)


COLOR_SPACES = {
    "srgb": ColorSpace(srgb_to_grid, srgb_from_grid),
}
"""Name to working space; the choices of ``--color-space``."""
