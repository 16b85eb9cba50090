"""How much a pixel counts: error is seen less in busy areas than in smooth ones.

A pixel counts for ``1 / (1 + g / g0)``, where g is the mean, over the 3 x 3 pixels around it, of
the differences of lightness to the right and down. Integers throughout, so every device agrees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LIGHTNESS = 2, 5, 1
"""What red, green and blue add to lightness: 0 to 2040."""

GRAY = 128
"""The level of what is seen through a picture: between black and white."""

MOST = 64
"""The weight of a pixel in a smooth area; 1 is the least."""

HALF = 1400
"""The sum of 18 differences of lightness at which a pixel counts half: g0 is 1/13 of the range.

Measured on eight small photographs in Oklab, butteraugli's 3-norm and SSIMULACRA as shares of
pngquant's (speed 4, no dither) at K = 16, 64, 256: without weights 0.898/0.813, 0.833/0.819,
0.779/0.758; with 184 (1/100) 0.903/0.816, 0.846/0.763, 0.766/0.695; with 736 0.843/0.807,
0.791/0.770, 0.733/0.706; with 1400 0.890/0.810, 0.768/0.786, 0.721/0.717; with 3680 0.866/0.816,
0.807/0.799, 0.733/0.727.
"""


def pixel_weights(rows: NDArray[np.uint8], above: int, count: int) -> NDArray[np.uint8]:
    """(count * W,) uint8: the weights of some rows of a picture.

    Args:
        rows: (h, W, 3) or (h, W, 4): those rows, with one above and two below them as far as there
            are any.
        above: Rows above them, 0 or 1.
        count: How many rows are weighed.
    """
    rows = on_gray(rows)
    red, green, blue = LIGHTNESS
    light = rows[..., 1] * np.int16(green)
    light += rows[..., 0] * np.int16(red)
    light += rows[..., 2] * np.int16(blue)
    height, width = light.shape
    busy = np.zeros((height + 2, width + 2), np.uint16)
    right = light[:, 1:] - light[:, :-1]
    busy[1:-1, 1:width] = np.abs(right, out=right).view(np.uint16)
    down = light[1:] - light[:-1]
    busy[1:height, 1:-1] += np.abs(down, out=down).view(np.uint16)
    lines = busy[above : above + count + 2]
    columns = lines[:-2] + lines[1:-1] + lines[2:]
    return weight_of(columns[:, :-2] + columns[:, 1:-1] + columns[:, 2:]).reshape(-1)


def on_gray(colors: Any) -> Any:
    """(…, 3) uint8: colors laid on gray if they have four channels."""
    if colors.shape[-1] == 3:
        return colors
    alpha = colors[..., 3:].astype("uint32")
    laid = 2 * (colors[..., :3] * alpha + GRAY * (255 - alpha)) + 255
    return (laid // 510).astype("uint8")


def weight_of(activity: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """``MOST * HALF / (HALF + activity)``, rounded half up, of sums up to 36,720.

    float32 comes nowhere near a half that it could round the wrong way.
    """
    share = activity.astype(np.float32)
    share += HALF
    np.divide(np.float32(MOST * HALF), share, out=share)
    share += np.float32(0.5)
    return np.maximum(share, 1).astype(np.uint8)


def rows_around(start: int, stop: int, height: int) -> tuple[int, int]:
    """The rows that the weights of ``start … stop`` depend on."""
    return max(start - 1, 0), min(stop + 2, height)


Weighed = tuple[tuple[int, int], Any, Any]
"""Rows, their colors, (pixels, 3) uint8, and their weights, (pixels,) uint8."""
