"""Contact sheets: an original beside its quantized versions, each above its palette."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

BACKGROUND = (32, 33, 36)
TEXT = (228, 229, 232)
MARGIN = 24
GAP = 8
FONT_SIZE = 20
LABEL_HEIGHT = 28
SWATCH_COLUMNS = 64
"""The most swatches in a row, for palettes of at most 256 colors."""
SWATCH_HEIGHTS = (10, 32)
"""The least and the greatest height of a swatch, in pixels; within these, as high as wide."""


def contact_sheet(
    original: NDArray[np.uint8],
    results: Sequence[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]],
    panel_width: int = 640,
) -> Image.Image:
    """Draw an original and its quantized versions side by side, each above its palette.

    `original` is (H, W, 3) uint8; each result is a label, pixels (H, W, 3) and a palette (K, 3),
    whose swatches keep its order. A picture with a side beyond `panel_width` is shown twice:
    reduced by dropping pixels, never mixing them, and below as a 1:1 crop of its center. So
    every color in a panel is a color of the picture. Equal inputs give equal bytes with equal
    versions of Pillow and FreeType.

    >>> gray = np.zeros((4, 6, 3), np.uint8)
    >>> contact_sheet(gray, [("K = 1", gray, gray[0, :1])], panel_width=320).width
    712
    """
    if panel_width < 1:
        raise ValueError(f"panel_width = {panel_width} is too small; it must be at least 1")
    for label, pixels, _ in results:
        if pixels.shape != original.shape:
            raise ValueError(f"{label!r} is {pixels.shape}, but the original is {original.shape}")
    height, width = original.shape[:2]
    no_palette = np.empty((0, 3), np.uint8)
    entries = [(f"Original  {width} x {height}", original, no_palette), *results]
    panels = [draw_panel(*entry, panel_width) for entry in entries]
    return _grid(panels)


def draw_panel(
    label: str, pixels: NDArray[np.uint8], palette: NDArray[np.uint8], panel_width: int
) -> Image.Image:
    """Draw a picture under its label and above its palette, as wide as a panel or the label."""
    parts = [subsample(pixels, panel_width)]
    if parts[0].shape != pixels.shape:
        parts.append(center_crop(pixels, panel_width))
    if len(palette):
        parts.append(swatches(palette, panel_width))
    font = ImageFont.load_default(size=FONT_SIZE)
    width = max(panel_width, int(np.ceil(font.getlength(label))))
    height = LABEL_HEIGHT + sum(len(part) + GAP for part in parts)
    panel = Image.new("RGB", (width, height), BACKGROUND)
    ImageDraw.Draw(panel).text((0, 0), label, fill=TEXT, font=font)
    top = LABEL_HEIGHT + GAP
    for part in parts:
        panel.paste(Image.fromarray(part), (0, top))
        top += len(part) + GAP
    return panel


def subsample(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """`pixels` (H, W, 3) without evenly spaced rows and columns, so that no side exceeds `side`."""
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest <= side:
        return pixels
    rows = _even_places(height, max(1, height * side // longest))
    columns = _even_places(width, max(1, width * side // longest))
    return pixels[rows[:, None], columns]


def center_crop(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The center of `pixels` (H, W, 3), as large as the result of `subsample`."""
    height, width = pixels.shape[:2]
    longest = max(height, width, side)
    rows, columns = max(1, height * side // longest), max(1, width * side // longest)
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[top : top + rows, left : left + columns]


def swatches(palette: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """A strip (h, width, 3) uint8 of the colors (K, 3), in reading order, in up to 64 columns.

    Palettes beyond 256 colors get four times as many columns as rows, up to one per pixel.
    """
    columns = min(len(palette), width, max(SWATCH_COLUMNS, 4 * isqrt(len(palette))))
    rows = -(-len(palette) // columns)
    low, high = SWATCH_HEIGHTS
    height = min(max(width // columns, low), high)
    across = np.arange(width) * columns // width
    down = np.arange(rows * height) // height
    place = down[:, None] * columns + across
    colors = np.concatenate([palette, np.array([BACKGROUND], np.uint8)])
    strip: NDArray[np.uint8] = colors[np.minimum(place, len(palette))]
    return strip


def _even_places(length: int, count: int) -> NDArray[np.int64]:
    """`count` integers of 0..length - 1, in the middles of equal parts."""
    return (2 * np.arange(count, dtype=np.int64) + 1) * length // (2 * count)


def _grid(panels: Sequence[Image.Image]) -> Image.Image:
    """Paste panels on the background, in reading order: up to three in a row, or in a square."""
    columns = len(panels) if len(panels) <= 3 else isqrt(len(panels) - 1) + 1
    rows = -(-len(panels) // columns)
    width = max(panel.width for panel in panels) + MARGIN
    height = max(panel.height for panel in panels) + MARGIN
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), BACKGROUND)
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        sheet.paste(panel, (MARGIN + column * width, MARGIN + row * height))
    return sheet
