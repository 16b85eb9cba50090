"""From video of high dynamic range to 8-bit sRGB, in integers.

The rule: what is as bright as paper (203 cd/m²) becomes as bright as sRGB's white less a little;
up to `KNEE` of that light is kept as it is, and all above it is squeezed into the rest, so that
highlights keep their differences. Colors of BT.2020 that sRGB lacks are clipped in linear light.

ITU-R BT.2100-2 (2018), "Image parameter values for high dynamic range television"; ITU-R BT.2408-7
(2023), which sets white at 203 cd/m², 75 % of an HLG signal; ITU-R BT.2087 (2015) for the matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

WHITE_CANDELAS = 203
"""The brightness of paper in cd/m²."""

KNEE = 0.75
"""The share of that brightness up to which light stays as it is."""

ONE = 1 << 14
"""White in integers of linear light, and one in those of the matrix."""

BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
"""Linear light of BT.2020's primaries to that of sRGB's: BT.2087's matrix inverted; rows sum to 1
up to a ten-thousandth."""


def pq(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light, 1 being that of paper, of signals in 0..1 (BT.2100, table 4)."""
    root = signal ** (32 / 2523)
    light = np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)
    shown: NDArray[np.float64] = 10_000 / WHITE_CANDELAS * light ** (16384 / 2610)
    return shown


def hlg(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light, 1 being that of paper, of signals in 0..1 (BT.2100, table 5), as the camera saw it."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return scene_light(signal, a, b, c) / scene_light(np.array([0.75]), a, b, c)


def scene_light(signal: NDArray[np.float64], a: float, b: float, c: float) -> NDArray[np.float64]:
    """HLG's inverse curve: a square below a half, an exponential above."""
    light: NDArray[np.float64] = np.where(
        signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12
    )
    return light


CURVES: dict[int, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {16: pq, 18: hlg}
"""The code of transfer characteristics (ITU-T H.273, table 3) to what makes light of signals."""

NAMES = {16: "PQ", 18: "HLG"}
"""The same codes to names."""


@cache
def light_table(transfer: int) -> NDArray[np.int64]:
    """Light in units of 1 / `ONE` for each 16-bit signal."""
    return np.rint(CURVES[transfer](np.arange(65_536) / 65_535) * ONE).astype(np.int64)


@cache
def shown_table(transfer: int) -> NDArray[np.uint8]:
    """sRGB levels for light in units of 1 / `ONE`, up to the brightest signal."""
    light = np.arange(int(light_table(transfer)[-1]) + 1) / ONE
    beyond = np.maximum(light - KNEE, 0) / (1 - KNEE)
    light = np.minimum(light, KNEE) + (1 - KNEE) * beyond / (1 + beyond)
    low = light <= 0.0031308
    levels = np.where(low, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    rounded: NDArray[np.uint8] = np.rint(255 * levels).astype(np.uint8)
    return rounded


def to_srgb(signals: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """(H, W, 3) 16-bit signals of BT.2020's primaries as 8-bit sRGB; `transfer`: of `CURVES`."""
    light, shown = light_table(transfer), shown_table(transfer)
    matrix = np.rint(BT2020_TO_BT709 * ONE).astype(np.int64)
    pixels = np.empty(signals.shape, np.uint8)
    for row, seen in zip(signals, pixels, strict=True):  # a row fits the cache
        mixed = (light[row] @ matrix.T + ONE // 2) >> 14
        seen[:] = shown[mixed.clip(0, len(shown) - 1)]
    return pixels
