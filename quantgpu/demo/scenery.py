"""The contents of the built-in picture: colors, places and sizes of a lake at sunset.

The units are those of `scene`: the frame is 1.5 wide and 1 high, x to the right, y down; colors are
sRGB, 0 to 255.
"""

from __future__ import annotations

from typing import NamedTuple

from quantgpu.demo.noise import Color

FRAME_WIDTH = 1.5
SHORE = 0.62
BANK = 0.84
"""Water lies between the shore and the bank; below the bank there is only meadow."""

REACH = 0.07
"""The farthest that ripples move a shape, in scene units."""

SKY: tuple[tuple[float, Color], ...] = (
    (-0.05, (30, 64, 130)),
    (0.16, (70, 112, 176)),
    (0.32, (146, 160, 194)),
    (0.45, (228, 184, 166)),
    (0.54, (252, 206, 154)),
    (0.64, (255, 224, 178)),
)
"""(y, color), from the zenith to the horizon."""

SUN_X, SUN_Y, SUN_RADIUS = 1.04, 0.425, 0.022
SUNLIGHT: Color = (255, 214, 140)
SPURS = ((0.8, 0.17, 0.8), (-0.7, 0.07, 0.7))
"""(lean, width in cells of the crest, weight)."""

AIR: Color = (166, 166, 200)
HAZE: Color = (240, 190, 160)
CLOUD_SHADE: Color = (128, 122, 152)
CLOUD_LIGHT: Color = (255, 232, 208)
WATER: Color = (22, 52, 84)


class Mountains(NamedTuple):
    """A range of mountains: y and relief of its crest, colors, and shares of haze and snow."""

    crest: float
    relief: float
    cell: float
    rock: Color
    haze: float
    snow: float
    seed: int


MOUNTAINS = (
    Mountains(0.400, 0.26, 0.40, (84, 82, 104), haze=0.44, snow=0.80, seed=11),
    Mountains(0.490, 0.20, 0.29, (66, 66, 90), haze=0.30, snow=0.35, seed=12),
    Mountains(0.560, 0.13, 0.31, (38, 56, 66), haze=0.14, snow=0.00, seed=25),
)


class Spires(NamedTuple):
    """A row of pointed shapes, trees or blades of grass, up to `height` above `base`."""

    base: float
    height: float
    cell: float
    tip: Color
    foot: Color
    seed: int

    def extent(self, pixel: float) -> tuple[float, float]:
        """The range of y from above the highest tip down to the next row, which hides this one."""
        return self.base - self.height - REACH - pixel, self.base + 2.5 * self.height + pixel


FOREST = (
    Spires(0.612, 0.030, 0.0065, (58, 72, 74), (88, 88, 88), 31),
    Spires(0.622, 0.040, 0.0090, (22, 40, 38), (34, 50, 44), 32),
)
MEADOW = (
    Spires(0.792, 0.016, 0.0020, (158, 150, 84), (104, 112, 58), 41),
    Spires(0.812, 0.022, 0.0026, (160, 156, 78), (86, 104, 46), 42),
    Spires(0.838, 0.032, 0.0034, (164, 162, 72), (74, 98, 38), 43),
    Spires(0.872, 0.044, 0.0044, (168, 170, 68), (62, 90, 32), 44),
    Spires(0.915, 0.058, 0.0056, (164, 174, 60), (50, 80, 26), 45),
    Spires(0.965, 0.076, 0.0070, (148, 168, 54), (38, 66, 22), 46),
    Spires(1.030, 0.100, 0.0088, (122, 152, 46), (24, 48, 16), 47),
)


class Balloon(NamedTuple):
    """A hot-air balloon: the center and radius of its envelope, and the colors of its gores."""

    x: float
    y: float
    radius: float
    gores: tuple[Color, Color]


RED, YELLOW, WHITE = (214.0, 26.0, 34.0), (252.0, 198.0, 16.0), (244.0, 240.0, 230.0)
TEAL, VIOLET, ORANGE = (0.0, 146.0, 152.0), (112.0, 40.0, 156.0), (246.0, 110.0, 12.0)
BASKET: Color = (92, 56, 30)
BALLOONS = (
    Balloon(0.645, 0.440, 0.018, (ORANGE, WHITE)),
    Balloon(0.775, 0.335, 0.042, (TEAL, WHITE)),
    Balloon(1.130, 0.165, 0.060, (VIOLET, ORANGE)),
    Balloon(0.475, 0.205, 0.100, (RED, YELLOW)),
)
SEAMS = (-0.9239, -0.7071, -0.3827, 0.0, 0.3827, 0.7071, 0.9239)
"""Where the seams between the eight visible gores appear: sines of multiples of 22.5 degrees."""

LIGHT = (0.74, -0.20, 0.64)
HALFWAY = (0.409, -0.110, 0.906)
"""Unit vectors to the light, and between the light and the eye (x right, y down, z to the eye)."""

FLOWERS: tuple[tuple[Color, Color], ...] = (
    ((222, 26, 22), (40, 10, 14)),
    ((236, 50, 30), (44, 14, 16)),
    ((250, 208, 26), (206, 130, 12)),
    ((96, 84, 214), (230, 214, 90)),
)
"""(petals, heart)."""
FLOWERS_PER_ROW = 40

GRAIN, TINT = 0.028, 0.016
"""Levels per step of the 8-bit hashes: luma grain has a deviation of 2.9 levels, tint of 1.2."""
