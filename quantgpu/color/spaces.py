"""Working spaces: 8-bit colors to points on an integer grid and back.

Coordinates are integers stored as float32, centered on zero and scaled so that the largest squared
distance stays below 2^24. Every partial sum of ``|s|^2 - 2 x.s`` is then an integer that float32
holds exactly, whatever the order of summation and with or without fused multiply-add.

Conversions round float64 to the grid. No color comes so close to a rounding boundary that another
mathematical library could round it differently: the tests go through all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module
from quantgpu.threads import chunks

SRGB_SCALE = 8
"""Grid steps per 8-bit level: three axes of 255 * 8 give 12.5 million < 2^24."""

SRGB_CENTER = 128
"""The 8-bit level that lies on zero."""

LINEAR_SCALE = 2364
"""Grid steps from black to white along an axis: three axes give 16,765,488 < 2^24."""

OKLAB_SCALE = 4000
"""Grid steps from black to white."""

OKLAB_CHROMA = 1.0, 0.85
"""How much more a (green to red) and b (blue to yellow) count than lightness."""

CIELAB_SCALE = 14
"""Grid steps for a unit of L*, a* and b*."""

WHITE_SHARE = 0.548
"""The share of errors on white, the rest being those on black, of pictures that are not opaque:
pages are white more often. Squared errors on black and on white of a vignette and of a gradient of
opacity, K = 16: with 0.5 604, 670 and 526, 515; with 0.548 656, 623 and 549, 494; with 0.61 679,
606 and 617, 447. Those of pngquant 2.17 and libimagequant, the least of each: 679, 630; 550, 494.
"""

FAR = 2047
"""No coordinate of a color is larger."""

CHUNK = 1 << 18
"""Colors converted at a time, as float64 takes eight times the room of a byte."""


def linearized(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light of sRGB values, both 0 to 1 (IEC 61966-2-1)."""
    curved = ((values + 0.055) / 1.055) ** 2.4
    light: NDArray[np.float64] = np.where(values <= 0.04045, values / 12.92, curved)
    return light


LINEAR = linearized(np.arange(256) / 255)
"""(256,) float64: linear light of an 8-bit level."""

HALFWAY = linearized(np.arange(0.5, 255) / 255)
"""(255,) float64: linear light halfway from each level to the next."""

RGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""Linear sRGB to CIE XYZ, D65 (http://www.brucelindbloom.com/Eqn_RGB_XYZ_Matrix.html)."""

WHITE_XYZ = tuple(sum(row) for row in RGB_TO_XYZ)
"""XYZ of white."""

RGB_TO_LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
LMS_TO_OKLAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
"""B. Ottosson, "A perceptual color space for image processing", 2020
(https://bottosson.github.io/posts/oklab/)."""


def inverse(matrix: tuple[tuple[float, ...], ...]) -> Any:
    """The inverse of a 3 x 3 matrix."""
    return np.linalg.inv(np.array(matrix)).tolist()


OKLAB_TO_LMS, LMS_TO_RGB = inverse(LMS_TO_OKLAB), inverse(RGB_TO_LMS)
XYZ_TO_RGB = inverse(RGB_TO_XYZ)


class ColorSpace(NamedTuple):
    """A change of coordinates: clustering sees Euclidean distance and nothing else."""

    to_grid: Callable[[Any], Any]
    """(n, 3) uint8 colors to (3, n) float32 integers."""
    from_grid: Callable[[NDArray[np.float32]], NDArray[np.uint8]]
    """(n, 3) float32 integers on the host to (n, 3) uint8 colors at or next to the nearest."""
    unrounded: Callable[[Any], Any]
    """(n, 3) uint8 colors to (3, n) float64: coordinates before they are rounded to the grid."""

    def points(self, colors: Any) -> Any:
        """(n, 3) or (n, 4) uint8 colors to (3, n) or (4, n) float32 integers.

        See `backdrop` for colors that may not be opaque.
        """
        grid = self.to_grid(colors[:, :3])
        if colors.shape[1] == 3:
            return grid
        xp = array_module(colors)
        behind, opacity = backdrop(self)
        alpha = colors[:, 3].astype(xp.int32)
        axes = [axis.astype(xp.int32) - b for axis, b in zip(grid, behind, strict=True)]
        axes.append(xp.full(len(colors), opacity, xp.int32))
        scaled = xp.stack([(8 * axis * alpha + 1275) // 2550 for axis in axes])
        scaled[3] -= 2 * opacity // 5
        return scaled.astype(xp.float32)

    def colors(self, points: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(n, 3) or (n, 4) points on the host to uint8 colors at or next to the nearest."""
        if points.shape[1] == 3:
            return self.from_grid(points)
        behind, opacity = backdrop(self)
        axes = points.astype(np.int64)
        share = axes[:, 3] + 2 * opacity // 5
        alpha = np.clip((2550 * share + 4 * opacity) // (8 * opacity), 0, 255)
        seen = np.maximum(alpha, 1)[:, None]
        grid = np.clip((2550 * axes[:, :3] + 4 * seen) // (8 * seen) + behind, -FAR, FAR)
        levels = self.from_grid(grid.astype(np.float32)) * (alpha > 0)[:, None]
        return np.column_stack([levels, alpha]).astype(np.uint8)


@lru_cache
def backdrop(space: ColorSpace) -> tuple[tuple[int, int, int], int]:
    """The backdrop of colors that are not opaque, and the grid steps from clear to opaque.

    The error of such colors is what is seen of it on white and on black, weighted `WHITE_SHARE` to
    ``1 - WHITE_SHARE``. With w for that share, p for coordinates times opacity and a for opacity,
    it is::

        w |dp - white da|^2 + (1 - w) |dp - black da|^2
            = |d(a (x - behind))|^2 + w (1 - w) |white - black|^2 da^2

    where ``behind`` lies between black and white: a Euclidean distance in four axes, in which
    hidden colors do not matter. All axes are scaled by 4/5, so that no coordinate is too large.
    """
    ends = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    black, white = space.to_grid(ends).T.astype(float)
    x, y, z = np.floor(black + WHITE_SHARE * (white - black) + 0.5).astype(int).tolist()
    distance = math.sqrt(((white - black) ** 2).sum())
    return (x, y, z), math.floor(math.sqrt(WHITE_SHARE * (1 - WHITE_SHARE)) * distance + 0.5)


def grid_points(colors: NDArray[np.uint8], space: ColorSpace) -> NDArray[np.float32]:
    """(K, d) float32: palette colors as centers in a working space."""
    return np.ascontiguousarray(space.points(colors).T)


def srgb_to_grid(colors: Any) -> Any:
    """8-bit sRGB to the grid, (v - 128) * 8: -1024 … 1016 per axis; nothing is rounded."""
    xp = array_module(colors)
    return (colors.T.astype(xp.float32) - SRGB_CENTER) * SRGB_SCALE


def srgb_from_grid(points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The nearest 8-bit sRGB colors, halves rounded up."""
    levels = np.floor((points + SRGB_SCALE // 2) / SRGB_SCALE) + SRGB_CENTER
    colors: NDArray[np.uint8] = np.clip(levels, 0, 255).astype(np.uint8)
    return colors


def linear(colors: Any) -> list[Any]:
    """Linear light, 0 to 1, of (n, 3) uint8 colors: red, green, blue."""
    xp = array_module(colors)
    table = xp.asarray(LINEAR)
    return [table.take(channel) for channel in colors.T]


def times(matrix: tuple[tuple[float, ...], ...], axes: list[Any]) -> list[Any]:
    """A 3 x 3 matrix times three coordinates, each product and sum rounded on its own."""
    x, y, z = axes
    return [a * x + b * y + c * z for a, b, c in matrix]


def linear_light(colors: Any) -> Any:
    """8-bit sRGB to linear light, -0.5 to 0.5 times `LINEAR_SCALE`."""
    xp = array_module(colors)
    return (xp.stack(linear(colors)) - 0.5) * LINEAR_SCALE


def oklab(colors: Any) -> Any:
    """8-bit sRGB to Oklab times `OKLAB_SCALE`, L centered on 1/2."""
    xp = array_module(colors)
    roots = [xp.cbrt(cone) for cone in times(RGB_TO_LMS, linear(colors))]
    lightness, a, b = times(LMS_TO_OKLAB, roots)
    of_a, of_b = (factor * OKLAB_SCALE for factor in OKLAB_CHROMA)
    return xp.stack([(lightness - 0.5) * OKLAB_SCALE, a * of_a, b * of_b])


def cielab(colors: Any) -> Any:
    """8-bit sRGB to CIE L*a*b* (D65) times `CIELAB_SCALE`, L* centered on 50."""
    xp = array_module(colors)
    x, y, z = (
        compressed(xp, value / white)
        for value, white in zip(times(RGB_TO_XYZ, linear(colors)), WHITE_XYZ, strict=True)
    )
    return xp.stack([116 * y - 66, 500 * (x - y), 200 * (y - z)]) * CIELAB_SCALE


def compressed(xp: Any, ratio: Any) -> Any:
    """CIE's f: the cube root, with a straight line near black (CIE 15:2004, 8.2.1.1)."""
    return xp.where(ratio > 216 / 24389, xp.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)


def rounded(unrounded: Callable[[Any], Any], colors: Any) -> Any:
    """The nearest grid points, (3, n) float32, of (n, 3) uint8 colors."""
    xp = array_module(colors)
    grid = xp.empty((3, len(colors)), xp.float32)
    for start, stop in chunks(0, len(colors), CHUNK):
        grid[:, start:stop] = xp.floor(unrounded(colors[start:stop]) + 0.5)
    return grid


def linear_light_back(points: NDArray[np.float32]) -> Any:
    """(3, n) linear light of (n, 3) grid points."""
    return points.T / LINEAR_SCALE + 0.5


def oklab_back(points: NDArray[np.float32]) -> Any:
    """(3, n) linear light of (n, 3) grid points."""
    lightness, a, b = points.T.astype(np.float64) / OKLAB_SCALE
    lab = [lightness + 0.5, a / OKLAB_CHROMA[0], b / OKLAB_CHROMA[1]]
    return times(LMS_TO_RGB, [root * root * root for root in times(OKLAB_TO_LMS, lab)])


def cielab_back(points: NDArray[np.float32]) -> Any:
    """(3, n) linear light of (n, 3) grid points."""
    lightness, a, b = points.T.astype(np.float64) / CIELAB_SCALE
    y = (lightness + 66) / 116
    roots = y + a / 500, y, y - b / 200
    cubes = [
        np.where(root > 6 / 29, root * root * root, (116 * root - 16) * 27 / 24389)
        for root in roots
    ]
    return times(XYZ_TO_RGB, [cube * white for cube, white in zip(cubes, WHITE_XYZ, strict=True)])


AROUND = tuple(np.array(list(product((0, *far), repeat=3))) for far in ((-1, 1), (-2, -1, 1, 2)))
"""(27, 3) and (125, 3): a color, first, and those around it."""

STEPS = AROUND[0], AROUND[0], AROUND[1]
"""Where to look for a nearer color, again and again: the last look gets over the last hollow."""

POINTS = 1 << 12
"""Points that are looked up at a time."""


def nearest_colors(
    unrounded: Callable[[Any], Any], back: Callable[[Any], Any], points: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """8-bit colors whose grid points lie nearest: an estimate, then steps to nearer neighbors.

    Distances are exact integers, and the estimate takes nothing but products and sums, which round
    the same way everywhere. Far outside of all colors the steps may end at one next to the nearest.
    """
    found = np.empty(points.shape, np.uint8)
    for start, stop in chunks(0, len(points), POINTS):
        part = points[start:stop]
        best = np.stack([np.searchsorted(HALFWAY, channel) for channel in back(part)], axis=1)
        for offsets in STEPS:
            colors = np.clip(best[:, None] + offsets, 0, 255).astype(np.uint8)
            grid = rounded(unrounded, colors.reshape(-1, 3)).T.reshape(colors.shape)
            away = grid - part[:, None]
            nearest = (away * away).sum(axis=2).argmin(axis=1)
            best = colors[np.arange(len(best)), nearest].astype(np.int64)
        found[start:stop] = best
    return found


def in_space(unrounded: Callable[[Any], Any], back: Callable[[Any], Any]) -> ColorSpace:
    """A row of the table for a conversion that has to be rounded."""
    from_grid = partial(nearest_colors, unrounded, back)
    return ColorSpace(partial(rounded, unrounded), from_grid, unrounded)


COLOR_SPACES = {
    "srgb": ColorSpace(srgb_to_grid, srgb_from_grid, srgb_to_grid),
    "linear": in_space(linear_light, linear_light_back),
    "oklab": in_space(oklab, oklab_back),
    "cielab": in_space(cielab, cielab_back),
}
"""Name to working space; the choices of ``--color-space``."""
