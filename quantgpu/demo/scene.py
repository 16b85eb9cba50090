"""A photograph-like scene at any size: a lake at sunset, for demos, tests and benchmarks.

The picture is computed, not stored, and is the same bytes on every machine: noise is hashed with
integers, and the rest is elementwise + - * / sqrt and floor, which IEEE 754 rounds in one way.
No sin, exp or pow (their last bit depends on libm and SIMD), no `np.interp` (a compiler may fuse
its multiply and add), no floating-point sums over an axis (their order depends on the machine).

Scene units: the frame is 1.5 wide and 1 high, x to the right, y down. A picture of another shape
shows the largest part of the frame that has this shape, around its center. Colors are sRGB, 0 to
255. The painters go from the sky to the grass; colors, places and sizes are in `scenery`.
"""

from __future__ import annotations

from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.demo.noise import (
    Color,
    Floats,
    Ints,
    bent_noise,
    blend,
    color_planes,
    dot,
    ease,
    fractal,
    hash_places,
    mix_colors,
    ramp,
    scale_color,
    soft_cover,
    spire_heights,
    strip_cover,
    to_unit,
)
from quantgpu.demo.scenery import (
    AIR,
    BALLOONS,
    BANK,
    BASKET,
    CLOUD_LIGHT,
    CLOUD_SHADE,
    FLOWERS,
    FLOWERS_PER_ROW,
    FOREST,
    FRAME_WIDTH,
    GRAIN,
    HALFWAY,
    HAZE,
    LIGHT,
    MEADOW,
    MOUNTAINS,
    REACH,
    SEAMS,
    SHORE,
    SKY,
    SPURS,
    SUN_RADIUS,
    SUN_X,
    SUN_Y,
    SUNLIGHT,
    TINT,
    WATER,
    Balloon,
    Mountains,
    Spires,
)

TILE_ROWS, TILE_COLUMNS = 256, 1024
"""Pixels drawn at once: fewer cost more calls, and more of them leave the caches."""

HEAP = 1 << 24
"""A block of this size, freed before drawing, makes glibc keep the heap between temporaries
instead of returning it to the system: 3.5 s instead of 7 s for 24 megapixels."""


class View(NamedTuple):
    """The part of the scene that a tile of h rows and w columns shows, in scene units."""

    x: Floats
    """(w,) ascending: the middle of each column."""
    edges: Floats
    """(w + 1,) ascending: the sides of the columns."""
    rows: Floats
    """(h,) monotonic: y of each row, ripples aside."""
    y: Floats
    """(h, 1), or (h, w) where ripples bend the view."""
    pixel: float
    """The side of a pixel."""


def _cut(
    canvas: Floats, view: View, top: float, bottom: float, left: float = -1, right: float = 3
) -> tuple[Floats, View]:
    """Cut a canvas and its view to a part of the scene; both are empty if the part is outside."""
    rows = _slice_between(view.rows, top, bottom)
    columns = _slice_between(view.x, left, right)
    edges = view.edges[columns.start : columns.stop + 1]
    y = view.y[rows] if view.y.shape[1] == 1 else view.y[rows, columns]
    return canvas[:, rows, columns], View(view.x[columns], edges, view.rows[rows], y, view.pixel)


def _slice_between(places: Floats, low: float, high: float) -> slice:
    """The slice of the monotonic `places` inside low..high."""
    inside = np.flatnonzero((places >= low) & (places <= high))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


def render_scene(width: int, height: int) -> NDArray[np.uint8]:
    """The scene as (height, width, 3) uint8 sRGB, the same bytes on every machine.

    Any size from 1 x 1 up; every size shows the same picture, and larger ones show finer detail.
    About 0.2 s per megapixel on one core, and some 20 MB beside the picture.

    >>> render_scene(6, 4).shape
    (4, 6, 3)
    """
    _check_size(width, height)
    picture = np.empty((height, width, 3), np.uint8)
    np.empty(HEAP, np.uint8)
    for top, left in product(range(0, height, TILE_ROWS), range(0, width, TILE_COLUMNS)):
        rows = range(top, min(top + TILE_ROWS, height))
        columns = range(left, min(left + TILE_COLUMNS, width))
        picture[rows.start : rows.stop, columns.start : columns.stop] = render_window(
            width, height, rows, columns
        )
    return picture


def render_window(width: int, height: int, rows: range, columns: range) -> NDArray[np.uint8]:
    """Some rows and columns of `render_scene(width, height)`: the same pixels, drawn alone.

    For pictures too large to hold: draw one slab of rows, use it, draw the next.
    """
    _check_size(width, height)
    pixel = min(FRAME_WIDTH / width, 1 / height)
    column, row = np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop)
    side = np.arange(columns.start, columns.stop + 1)
    x = FRAME_WIDTH / 2 + (2 * column + 1 - width) * (pixel / 2)
    edges = FRAME_WIDTH / 2 + (2 * side - width) * (pixel / 2)
    y = 0.5 + (2 * row + 1 - height) * (pixel / 2)
    view = View(x, edges, y, y.astype(np.float32)[:, None], pixel)
    canvas = np.zeros((3, len(y), len(x)), np.float32)
    _paint_backdrop(canvas, view)
    _paint_water(canvas, view)
    _paint_meadow(canvas, view)
    _vignette(canvas, view)
    return _develop(canvas, row, column)


def _check_size(width: int, height: int) -> None:
    """Raise a ValueError for a picture without pixels."""
    if width < 1 or height < 1:
        raise ValueError(f"a scene of {width} x {height} pixels is empty; both must be at least 1")


def _paint_backdrop(canvas: Floats, view: View) -> None:
    """Paint all that stands above the water and is mirrored in the water."""
    canvas, view = _cut(canvas, view, -1, SHORE + 0.01)
    if not canvas.size:
        return
    _paint_sky(canvas, view)
    for mountains in MOUNTAINS:
        _paint_mountains(canvas, view, mountains)
    for trees in FOREST:
        _paint_spires(canvas, view, trees, shade=0.5)
    for balloon in BALLOONS:
        _paint_balloon(canvas, view, balloon)


def _paint_sky(canvas: Floats, view: View) -> None:
    """Paint the gradient, the glow and disk of the sun, and clouds in sunlight."""
    canvas[:] = color_planes(SKY[0][1])
    for (upper, color), (lower, next_color) in pairwise(SKY):
        share = ramp(view.y, upper, lower)
        for plane, start, end in zip(canvas, color, next_color, strict=True):
            plane += share * (end - start)
    x = (view.x - SUN_X).astype(np.float32)
    y = view.y - SUN_Y
    distance = x * x + y * y
    glow = 0.62 / (1 + distance / 0.010) + 0.30 / (1 + distance / 0.16)
    blend(canvas, SUNLIGHT, glow)
    _paint_clouds(canvas, view, glow)
    blend(canvas, (255, 250, 226), ramp(SUN_RADIUS - np.sqrt(distance), 0, 0.004 + view.pixel))


def _paint_clouds(canvas: Floats, view: View, glow: Floats) -> None:
    """Paint clouds in layers, flatter towards the horizon, brightest on the side of the sun."""
    depth = 0.30 / (0.74 - np.minimum(view.rows, 0.66))
    finest = 2 * view.pixel
    density = fractal(view.x, depth, (0.42, 0.20), 6, finest, seed=3)
    sunward = fractal(view.x + 0.012, depth + 0.010, (0.42, 0.20), 3, finest, seed=3)
    cover = ease(ramp(density, 0.47, 0.72))
    cover *= (0.9 * ramp(0.60 - view.rows, 0.0, 0.22)).astype(np.float32)[:, None]
    light = ramp(0.45 + (density - sunward) * 5 - (density - 0.6) * 1.2 + glow, 0, 1)
    blend(canvas, mix_colors(CLOUD_SHADE, CLOUD_LIGHT, light), cover)


def _paint_mountains(canvas: Floats, view: View, mountains: Mountains) -> None:
    """Paint slopes with relief and snow, fading into the haze above the water."""
    cell, seed, finest = mountains.cell, mountains.seed, 2 * view.pixel
    rise = fractal(view.edges, np.zeros(1), (cell, 1.0), 8, finest, seed)[0].astype(np.float64)
    crest = mountains.crest - (rise - 0.5) * mountains.relief * 1.6
    steepest = float(np.abs(crest[1:] - crest[:-1]).max())
    canvas, view = _cut(canvas, view, float(crest.min()) - steepest - view.pixel - REACH, 2)
    if not canvas.size:
        return
    below, cover = _below_outline(view, crest)
    texture = fractal(view.x, view.rows, (cell / 10, cell / 16), 4, finest, seed + 100) - 0.5
    light = ramp(_relief(view, below, cell, seed) + texture * 0.9, -0.5, 0.5)
    color = mix_colors(scale_color(mountains.rock, 0.45), scale_color(mountains.rock, 1.5), light)
    snow = mountains.snow * ramp(0.035 - below + texture * 0.14 + (light - 0.5) * 0.05, 0, 0.02)
    blend(color, mix_colors((136, 146, 190), (255, 240, 226), light), snow)
    blend(color, AIR, np.full(1, mountains.haze, np.float32))
    blend(color, HAZE, 0.8 * ease(ramp(below, 0.0, 0.26)))
    blend(canvas, color, cover)


def _relief(view: View, below: Floats, cell: float, seed: int) -> Floats:
    """The light (h, w), about -0.5..0.5, on spurs that run down from a crest to both sides."""
    x = view.x.astype(np.float32)
    light = np.zeros_like(below)
    for number, (lean, width, weight) in enumerate(SPURS):
        across = x * (1 / (width * cell)) + below * (lean / (width * cell))
        down = below * (0.3 / (width * cell))
        light += (np.abs(bent_noise(across, down, seed * 8 + number) - 0.5) - 0.2) * (3 * weight)
    return light


def _paint_spires(canvas: Floats, view: View, spires: Spires, shade: float) -> None:
    """Paint a row of trees or grass, light at the tips, streaked downwards."""
    canvas, view = _cut(canvas, view, *spires.extent(view.pixel))
    if not canvas.size:
        return
    cell, height, seed = spires.cell, spires.height, spires.seed
    below, cover = _below_outline(
        view, spires.base - height * spire_heights(view.edges, cell, seed)
    )
    streaks = fractal(view.x, view.rows, (cell / 2, height), 3, 1.5 * view.pixel, seed + 200)
    patches = fractal(view.x, view.rows, (cell * 30, height), 2, 0, seed + 300)
    depth = ramp(below, 0, height * 1.1)
    light = ramp(1 - depth + (streaks - 0.5) * 1.1 + (patches - 0.5) * shade, 0, 1)
    blend(canvas, mix_colors(spires.foot, spires.tip, light), cover)


def _paint_balloon(canvas: Floats, view: View, balloon: Balloon) -> None:
    """Paint a balloon: ropes, basket and envelope."""
    x, y, radius, gores = balloon
    reach = radius + view.pixel
    canvas, view = _cut(
        canvas, view, y - reach - REACH, y + 2 * reach + REACH, x - reach, x + reach
    )
    if not canvas.size:
        return
    pixel = view.pixel / radius
    across = ((view.x - x) / radius).astype(np.float32)
    down = (view.y - y) / radius
    aside = np.abs(across)
    round_part = np.sqrt(np.maximum(1 - down * down, 0))
    width = np.where(down < 0.55, round_part, 0.8352 - 0.6586 * (down - 0.55))
    rope = 0.24 - 0.22 * (down - 1.45)
    ropes = soft_cover(0.016 - np.abs(aside - rope), pixel) * strip_cover(down, 1.45, 1.68, pixel)
    blend(canvas, BASKET, 0.8 * ropes)
    blend(canvas, BASKET, soft_cover(0.16 - aside, pixel) * strip_cover(down, 1.66, 1.90, pixel))
    inside = soft_cover(width - aside, pixel) * strip_cover(down, -1, 1.45, pixel)
    blend(canvas, _fabric(across / np.maximum(width, 0.001), down, width / pixel, gores), inside)


def _fabric(across: Floats, down: Floats, pixels: Floats, gores: tuple[Color, Color]) -> Floats:
    """The colors of an envelope; `across` is -1..1 from its left to its right outline."""
    stripe = np.zeros_like(across)
    for number, seam in enumerate(SEAMS):
        stripe += (1 - 2 * (number % 2)) * ramp((across - seam) * pixels, -0.5, 0.5)
    tilt = np.clip(0.75 * down, -1, 1)
    level = np.sqrt(1 - tilt * tilt)
    across = np.clip(across, -1, 1)
    normal = (across * level, tilt, np.sqrt(1 - across * across) * level)
    light = np.maximum(dot(normal, LIGHT), 0)
    gloss = np.maximum(dot(normal, HALFWAY), 0)
    for _ in range(5):
        gloss = gloss * gloss
    color = mix_colors(gores[0], gores[1], stripe)
    color *= 0.36 + 0.74 * light
    blend(color, (255, 248, 232), 0.6 * gloss)
    return color


def _paint_water(canvas: Floats, view: View) -> None:
    """Paint the backdrop mirrored in ripples, darker and bluer towards the viewer."""
    canvas, view = _cut(canvas, view, SHORE, BANK)
    if not canvas.size:
        return
    away = view.rows - SHORE
    depth = 0.02 / (away + 0.012)
    near = ramp(away, 0, BANK - SHORE).astype(np.float32)[:, None]
    ripples = fractal(view.x, depth, (0.045, 0.022), 4, 0.0004, seed=7) - 0.5
    mirrored = 2 * SHORE - view.rows
    bent = mirrored.astype(np.float32)[:, None] + ripples * (0.012 + 0.11 * near)
    _paint_backdrop(canvas, view._replace(rows=mirrored, y=bent))
    blend(canvas, WATER, 0.10 + 0.42 * near + ripples * 0.5)
    x = (view.x - SUN_X).astype(np.float32) / (0.03 + 0.16 * near)
    glitter = ramp(ripples, 0.02, 0.20) / (1 + x * x)
    blend(canvas, (255, 236, 190), 0.9 * glitter)
    blend(canvas, HAZE, 0.35 * ramp(0.02 - away, 0, 0.02).astype(np.float32)[:, None])


def _paint_meadow(canvas: Floats, view: View) -> None:
    """Paint rows of grass with flowers between them, from the bank to the viewer."""
    for grass in MEADOW:
        _paint_spires(canvas, view, grass, shade=1.2)
        _paint_flowers(canvas, view, grass)


def _paint_flowers(canvas: Floats, view: View, grass: Spires) -> None:
    """Paint flowers at hashed places among the tips of a row of grass."""
    bits = hash_places(np.arange(FLOWERS_PER_ROW), np.arange(4)[:, None], grass.seed + 400)
    across, down, size, kind = to_unit(bits).astype(np.float64)
    x = across * FRAME_WIDTH
    y = grass.base - grass.height * (0.25 + 0.6 * down)
    radius = grass.height * (0.05 + 0.06 * size)
    reach = radius + view.pixel
    in_view = (x + reach >= view.x[0]) & (x - reach <= view.x[-1])
    in_view &= (y + reach >= view.rows[0]) & (y - reach <= view.rows[-1])
    for number in np.flatnonzero(in_view):
        petals, heart = FLOWERS[int(kind[number] * kind[number] * len(FLOWERS))]
        center, flower_radius = (float(x[number]), float(y[number])), float(radius[number])
        _paint_disk(canvas, view, center, flower_radius, petals)
        _paint_disk(canvas, view, center, flower_radius * 0.35, heart)


def _paint_disk(
    canvas: Floats, view: View, center: tuple[float, float], radius: float, color: Color
) -> None:
    """Paint a disk seen at a slant, lighter at its upper right."""
    x, y = center
    reach = radius + view.pixel
    canvas, view = _cut(canvas, view, y - reach, y + reach, x - reach, x + reach)
    if not canvas.size:
        return
    across = ((view.x - x) / radius).astype(np.float32)
    down = (view.y - y) / (0.75 * radius)
    light = ramp(across - down, -1.6, 1.6)
    shaded = mix_colors(scale_color(color, 0.7), scale_color(color, 1.15), light)
    distance = np.sqrt(across * across + down * down)
    blend(canvas, shaded, soft_cover(1 - distance, view.pixel / radius))


def _vignette(canvas: Floats, view: View) -> None:
    """Darken the corners, as a lens does."""
    x = ((view.x - FRAME_WIDTH / 2) / FRAME_WIDTH).astype(np.float32)
    y = view.y - 0.5
    canvas *= 1.03 - 0.32 * (x * x + y * y)


def _develop(canvas: Floats, row: Ints, column: Ints) -> NDArray[np.uint8]:
    """Convert the canvas to (h, w, 3) uint8, with film grain hashed from each pixel's place."""
    grain = hash_places(column, row[:, None], seed=1)
    low, high, warm, cool = (
        ((grain >> shift) & 255).astype(np.float32) for shift in (0, 8, 16, 24)
    )
    luma = (low + high - 255) * GRAIN
    pixels = np.empty((*grain.shape, 3), np.uint8)
    for channel, tint in enumerate((warm, None, cool)):
        level = canvas[channel] + luma
        if tint is not None:
            level += (tint - 127.5) * TINT
        pixels[:, :, channel] = np.clip(level, 0, 255) + 0.5
    return pixels


def _below_outline(view: View, outline: Floats) -> tuple[Floats, Floats]:
    """The depth (h, w) below an outline, given at the sides of the columns, and the cover, 0..1.

    The steeper the outline, the softer its edge: a pixel on the outline is covered in part.
    """
    left, right = outline[:-1], outline[1:]
    depth = view.y - ((left + right) * 0.5).astype(np.float32)
    blur = (view.pixel + np.abs(right - left)).astype(np.float32)
    cover: Floats = np.clip(depth / blur + 0.5, 0, 1)
    return depth, cover
