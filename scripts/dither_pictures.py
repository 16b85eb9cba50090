"""Smooth pictures on which bands and the noise of dithering show, and text, which both disturb.

All are (height, width, 3) uint8 and computed, the same bytes on every machine, by elementwise
+ - * / sqrt alone; letters are the same wherever FreeType is the same version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from quantgpu.demo.noise import Color, Floats, color_planes, dot, ease, ramp, soft_cover

Picture = Callable[[int, int], NDArray[np.uint8]]
"""From width and height to pixels."""

SKY: tuple[Color, ...] = ((36, 84, 158), (92, 142, 202), (150, 190, 226), (228, 236, 240))
HAZE: Color = (255, 244, 224)
SUNSET: tuple[Color, ...] = (
    *((22, 28, 74), (70, 48, 110), (168, 70, 108)),
    *((242, 128, 82), (255, 196, 112), (255, 236, 186)),
)
SUNLIGHT: Color = (255, 250, 216)
GRAY: tuple[Color, ...] = ((18, 18, 18), (120, 120, 120), (238, 238, 238))
SKIN: tuple[Color, ...] = ((66, 32, 26), (150, 84, 62), (222, 158, 128), (246, 214, 190))
BLUSH: Color = (206, 106, 92)
HIGHLIGHT: Color = (255, 246, 236)
WALL: tuple[Color, ...] = ((34, 46, 52), (70, 88, 94), (116, 134, 136))
DUSK: tuple[Color, ...] = ((16, 40, 92), (92, 52, 136), (206, 92, 112))

LIGHT = (-0.48, -0.6, 0.64)
"""Where light comes from, about 1 long: the upper left, before the picture."""

PAPER, INK, RED, GREEN, WHITE = "#f6f1e4", "#1c1c22", "#b3261e", "#1b6b3a", "#ffffff"

LINES = (
    (22, "Quantize & dither", INK),
    (14, "The quick brown fox jumps", RED),
    (11, "over the lazy dog; 0123456789", GREEN),
    (9, "Small letters keep their edges, or do not", INK),
)
"""Font size in pixels of a picture 128 high, text, and color."""


def sky(width: int, height: int) -> NDArray[np.uint8]:
    """A clear sky, paler toward the horizon and around a sun that is out of view."""
    x, y = places(width, height)
    glow = ease(ramp(distance(x - 1.5, y + 0.1), 1.6, 0.1))
    return pixels(lerp(curve(SKY, y + 0.1 * x - 0.05), color_planes(HAZE), 0.6 * glow))


def sunset(width: int, height: int) -> NDArray[np.uint8]:
    """From night blue over purple and orange to the glow around the sun."""
    x, y = places(width, height)
    glow = ease(ramp(distance(x - 0.9, y - 0.95), 0.8, 0.0))
    return pixels(lerp(curve(SUNSET, y), color_planes(SUNLIGHT), 0.8 * glow))


def gray(width: int, height: int) -> NDArray[np.uint8]:
    """From nearly black to nearly white, along the diagonal."""
    x, y = places(width, height)
    return pixels(curve(GRAY, 0.7 * x * height / width + 0.3 * y))


def face(width: int, height: int) -> NDArray[np.uint8]:
    """An ellipsoid in skin tones before a wall, in soft light, with cheeks, nose and brow."""
    x, y = places(width, height)
    across, down = (x - width / height / 2) / 0.34, (y - 0.5) / 0.43
    wall = curve(WALL, 1 - 0.8 * distance(x - 0.4, y - 0.3))
    away = distance(across, down)
    toward = np.sqrt(np.maximum(1 - away * away, 0))
    facing = 0.5 + 0.5 * dot((across, down, toward), LIGHT)
    facing = facing + 0.10 * blob(across, down, -0.04, 0.12, 0.16, 0.36)
    facing = facing - 0.09 * blob(across, down, 0.16, 0.16, 0.14, 0.34)
    for eye in (-0.38, 0.38):
        facing = facing - 0.14 * blob(across, down, eye, -0.14, 0.26, 0.18)
    facing = facing - 0.10 * blob(across, down, 0, 0.58, 0.34, 0.12)
    skin = curve(SKIN, facing)
    for cheek in (-0.45, 0.45):
        skin = lerp(skin, color_planes(BLUSH), 0.45 * blob(across, down, cheek, 0.28, 0.34, 0.3))
    skin = lerp(skin, color_planes(HIGHLIGHT), 0.5 * blob(across, down, -0.28, -0.52, 0.36, 0.26))
    return pixels(lerp(wall, skin, soft_cover((1 - away) * 0.34, 1 / height)))


def text(width: int, height: int) -> NDArray[np.uint8]:
    """Dark and colored letters on plain paper."""
    paper = Image.new("RGB", (width, height), PAPER)
    return lettered(paper, [color for _, _, color in LINES])


def caption(width: int, height: int) -> NDArray[np.uint8]:
    """White letters on a gradient."""
    x, y = places(width, height)
    dusk = Image.fromarray(pixels(curve(DUSK, 0.5 * x * height / width + 0.5 * y)))
    return lettered(dusk, [WHITE] * len(LINES))


PICTURES: dict[str, Picture] = {"sky": sky, "face": face, "text": text, "caption": caption}
"""Name to picture: a gradient, a face-like smooth one, text on plain and on a gradient."""

GRADIENTS: dict[str, Picture] = {"sky": sky, "sunset": sunset, "gray": gray}
"""Name to gradient: what bands."""


def lettered(background: Image.Image, colors: Sequence[str]) -> NDArray[np.uint8]:
    """`LINES` one below the other, in these colors."""
    scale = background.height / 128
    draw, top = ImageDraw.Draw(background), 10 * scale
    for (size, line, _), color in zip(LINES, colors, strict=True):
        font = ImageFont.load_default(size=max(1.0, size * scale))
        draw.text((8 * scale, top), line, fill=color, font=font)
        top += 1.6 * size * scale + 4 * scale
    return np.asarray(background)


def places(width: int, height: int) -> tuple[Floats, Floats]:
    """(height, width) each: the middles of pixels, in heights, from the upper left."""
    y, x = (np.indices((height, width), np.float64) + 0.5) / height
    return x, y


def distance(x: Floats, y: Floats) -> Floats:
    """From the origin; unlike hypot, rounded everywhere alike."""
    return np.sqrt(x * x + y * y)


def blob(x: Floats, y: Floats, left: float, top: float, wide: float, high: float) -> Floats:
    """1 in the middle of an ellipse, falling to 0 at its outline, without an edge."""
    return ease(ramp(distance((x - left) / wide, (y - top) / high), 1, 0))


def curve(colors: Sequence[Color], share: Floats) -> Floats:
    """(3, h, w): the Bézier curve of these colors where share (h, w) is 0 to 1; no kinks."""
    share = np.clip(share, 0, 1)
    points = [color_planes(color) for color in colors]
    while len(points) > 1:
        points = [lerp(start, end, share) for start, end in pairwise(points)]
    return points[0]


def lerp(start: Floats, end: Floats, share: Floats) -> Floats:
    """(3, h, w): from planes `start` where share (h, w) is 0 to `end` where it is 1."""
    return start + (end - start) * share


def pixels(colors: Floats) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 of planes (3, h, w), 0..255, rounded."""
    rounded = np.floor(np.clip(colors, 0, 255) + 0.5).astype(np.uint8)
    return np.ascontiguousarray(rounded.transpose(1, 2, 0))
