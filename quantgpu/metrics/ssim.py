"""Structural similarity of two pictures.

Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error
visibility to structural similarity", IEEE Transactions on Image Processing 13(4), 2004,
doi:10.1109/TIP.2003.819861.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray

from quantgpu.threads import chunks, default_threads, imap_threads

TILE = 64, 256
"""Rows and columns of windows of which the structural similarity is computed at a time: what is
needed for them stays in the second-level cache."""

SIGMA, RADIUS = 1.5, 5
"""Of the Gaussian window, in pixels: 11 x 11."""

STABILIZERS = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""C1 and C2 of the structural similarity, from K1 = 0.01 and K2 = 0.03."""

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8."""
Plane = NDArray[np.float64]


def ssim(a: Picture, b: Picture) -> float:
    """Structural similarity: mean over the channels and over all windows inside the picture.

    The window is a Gaussian of 11 x 11 pixels. A picture of fewer rows or columns gets the longest
    odd window that it holds; one pixel is a window of its own.
    """
    windows = window(a.shape[0]), window(a.shape[1])
    height, width = (side - len(w) + 1 for side, w in zip(a.shape, windows, strict=False))

    def of_tile(tile: tuple[tuple[int, int], tuple[int, int]]) -> float:
        (top, bottom), (left, right) = tile
        rows = slice(top, bottom + len(windows[0]) - 1)
        columns = slice(left, right + len(windows[1]) - 1)
        return float(similarity(a[rows, columns], b[rows, columns], windows).sum())

    tiles = product(chunks(0, height, TILE[0]), chunks(0, width, TILE[1]))
    mean: float = math.fsum(imap_threads(of_tile, tiles, default_threads())) / (height * width * 3)
    return mean


def window(side: int) -> Plane:
    """The weights of a Gaussian along one axis, at most `side` of them, an odd number."""
    reach = min(RADIUS, (side - 1) // 2)
    weights: Plane = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SIGMA) ** 2)
    weights /= weights.sum()
    return weights


def similarity(a: Picture, b: Picture, windows: tuple[Plane, Plane]) -> Plane:
    """The structural similarity of each window and channel of two (h, w, 3) pictures."""
    x, y = (picture.reshape(len(picture), -1).astype(np.float64) for picture in (a, b))
    mean_x, mean_y, squares, products = (
        smoothed(smoothed(values, windows[0]), windows[1], axis=1, step=3)
        for values in (x, y, x * x + y * y, x * y)
    )
    c1, c2 = STABILIZERS
    both, apart = 2 * mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    like: Plane = (both + c1) * (2 * products - both + c2)
    return like / ((apart + c1) * (squares - apart + c2))


def smoothed(values: Plane, weights: Plane, axis: int = 0, step: int = 1) -> Plane:
    """Weighted sums of neighbors that are `step` apart, where all of them are inside."""
    count = values.shape[axis] - step * (len(weights) - 1)

    def shifted(places: int) -> Plane:
        inside = slice(places * step, places * step + count)
        return values[inside] if axis == 0 else values[:, inside]

    reach = len(weights) // 2
    sums: Plane = shifted(reach) * weights[reach]
    for place, weight in enumerate(weights[:reach]):
        sums += (shifted(place) + shifted(2 * reach - place)) * weight
    return sums
