"""Convert inputs of callers to pixels or palettes: paths, arrays, Pillow images, colors."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantgpu.arrays.device import device_array
from quantgpu.color.alpha import Color, visible
from quantgpu.errors import UsageError
from quantgpu.io.decode import read_image, to_pixels, translate_read_errors
from quantgpu.palette import MOST_COLORS, Palette, of_channels
from quantgpu.pixels.pixels import Pixels


def as_palette(colors: Any) -> Palette:
    """`colors`, an array, tuples or the path of a palette file, as a palette in the given order."""
    if isinstance(colors, Palette):
        return colors
    if isinstance(colors, str | os.PathLike):
        from quantgpu.io.palette_files import read_palette

        return Palette(read_palette(colors))
    try:
        entries = np.asarray(colors)
    except ValueError as error:
        raise UsageError(f"colors must be triples of integers: {error}") from None
    is_palette = entries.ndim == 2 and entries.shape[1] in (3, 4)
    if not is_palette or not 1 <= len(entries) <= MOST_COLORS:
        raise UsageError(
            f"colors of shape {entries.shape}: a palette is (K, 3) or (K, 4), K in 1..{MOST_COLORS}"
        )
    if not all_levels(entries):
        raise UsageError("colors must be integers in 0..255")
    return Palette(np.ascontiguousarray(entries.astype(np.uint8)))


def parse_color(text: str, name: str = "color", *, alpha: bool = False) -> tuple[int, ...]:
    """Red, green, blue and, with `alpha`, alpha, 0 to 255 each, of a color as people write it.

    Accepted are ``#rgb``, ``#rrggbb``, with `alpha` ``#rrggbbaa``, all also without the ``#`` that
    begins a comment in a shell, and the names of CSS.

    >>> parse_color("#f80"), parse_color("Navy", alpha=True), parse_color("ff800080", alpha=True)
    ((255, 136, 0), (0, 0, 128, 255), (255, 128, 0, 128))

    Raises:
        UsageError: `text` is no such color; the message begins with `name`.
    """
    from PIL.ImageColor import colormap, getrgb

    spelled = text.strip().lower()
    if spelled in colormap:
        return (*getrgb(spelled)[:3], 255)[: 4 if alpha else 3]
    found = re.fullmatch(r"#?([0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})", spelled)
    if not found or (len(found[1]) == 8 and not alpha):
        forms = "#rgb, #rrggbb, #rrggbbaa" if alpha else "#rgb, #rrggbb"
        raise UsageError(f"{name} = {text!r} is no color; use {forms} or a CSS name such as white")
    digits = found[1] if len(found[1]) > 3 else "".join(2 * digit for digit in found[1])
    return (*bytes.fromhex(digits), 255)[: 4 if alpha else 3]


def parse_colors(text: str, name: str) -> NDArray[np.uint8]:
    """(m, 4) uint8 RGBA of colors as people write them, separated by commas, or of a palette file.

    >>> parse_colors("#f80, navy", "keep").tolist()
    [[255, 136, 0, 255], [0, 0, 128, 255]]

    Raises:
        UsageError: `text` is neither; the message begins with `name`.
        InputError: The file cannot be read as a palette.
    """
    if os.path.exists(text):
        return of_channels(as_palette(text).colors, 4)
    try:
        colors = [parse_color(part, name, alpha=True) for part in text.split(",")]
    except UsageError as error:
        raise UsageError(f"{error}; or name a palette file that exists") from None
    return np.array(colors, np.uint8)


def as_pixels(image: Any, alpha: str = "keep", matte: Color | None = None) -> Pixels:
    """`image` as pixels: a Pillow image, a path, an (H, W, 3 | 4) uint8 array or (N, 3 | 4) colors.

    An array on a GPU stays on that GPU. `alpha` is a row of `color.alpha.ALPHAS`, and `matte` the
    color below transparent pixels.
    """
    if isinstance(image, Image.Image):
        if 0 in image.size:
            raise UsageError("no pixels: the image is empty")
        with translate_read_errors("the Pillow image"):
            return Pixels(to_pixels(image, [], alpha, matte))
    if isinstance(image, str | os.PathLike):
        return Pixels(read_image(image, alpha=alpha, matte=matte)[0])
    array = image if isinstance(image, np.ndarray) else device_array(image)
    if array is not None and array.dtype != np.uint8:
        levels = LEVELS_OF.get(array.dtype.kind, "image.clip(0, 255)")
        raise UsageError(
            f"array of {array.dtype}: quantize takes uint8; convert with ({levels}).astype('uint8')"
        )
    try:
        array = np.asarray(image) if array is None else array
    except ValueError as error:
        raise UsageError(f"colors must be triples of integers: {error}") from None
    if array.size == 0:
        raise UsageError("no pixels: the image is empty")
    if array.ndim not in (2, 3) or array.shape[-1] not in (3, 4):
        raise UsageError(
            f"array of shape {array.shape}: quantize takes (height, width, 3 or 4) or "
            "(colors, 3 or 4)"
        )
    if array.dtype != np.uint8 and not all_levels(array):
        raise UsageError("colors must be integers in 0..255")
    array = array.astype(np.uint8, copy=False)
    return Pixels(array if array.shape[-1] == 3 else visible(array, alpha, matte))


LEVELS_OF = {
    "b": "image * 255",
    "f": "image.clip(0, 1) * 255 + 0.5",
    "u": "image >> 8",
}
"""The kind of a dtype to the expression that scales its usual range to 8-bit levels."""


def all_levels(array: NDArray[Any]) -> bool:
    """Whether `array` is of integers in 0 … 255."""
    return array.dtype.kind in "iu" and bool(array.min() >= 0 and array.max() <= 255)
