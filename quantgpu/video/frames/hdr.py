"""From video of high dynamic range to 8-bit sRGB, in integers.

Light up to `KNEE` times that of paper (203 cd/m²) is kept, and all brighter light is squeezed into
the rest of sRGB's range, so that highlights keep their differences: paper becomes a little darker
than sRGB's white. Colors of BT.2020 that sRGB lacks are clipped in linear light.

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
"""The share of the brightness of paper up to which light is kept."""

UNIT = 1 << 14
"""White in integers of linear light, and 1 in integers of the matrix."""

BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
"""From linear light of BT.2020's primaries to linear light of sRGB's: BT.2087's matrix inverted;
rows sum to 1 up to a ten-thousandth."""


def pq(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light of PQ signals in 0..1, with paper at 1 (BT.2100, table 4)."""
    root = signal ** (32 / 2523)
    light = np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)
    shown: NDArray[np.float64] = 10_000 / WHITE_CANDELAS * light ** (16384 / 2610)
    return shown


def hlg(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scene light of HLG signals in 0..1, with paper at 1 (BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return scene_light(signal, a, b, c) / scene_light(np.array([0.75]), a, b, c)


def scene_light(signal: NDArray[np.float64], a: float, b: float, c: float) -> NDArray[np.float64]:
    """HLG's inverse curve: a square below a half, an exponential above."""
    light: NDArray[np.float64] = np.where(
        signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12
    )
    return light


CURVES: dict[int, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {16: pq, 18: hlg}
"""Code of transfer characteristics (ITU-T H.273, table 3) to the curve from signal to light."""

CURVE_NAMES = {16: "PQ", 18: "HLG"}
"""Code of transfer characteristics to name."""


@cache
def light_table(transfer: int) -> NDArray[np.int64]:
    """The light of each 16-bit signal in units of 1 / `UNIT`, (65536,)."""
    return np.rint(CURVES[transfer](np.arange(65_536) / 65_535) * UNIT).astype(np.int64)


@cache
def shown_table(transfer: int) -> NDArray[np.uint8]:
    """The sRGB level of each light in units of 1 / `UNIT`, up to that of the brightest signal."""
    light = np.arange(int(light_table(transfer)[-1]) + 1) / UNIT
    beyond = np.maximum(light - KNEE, 0) / (1 - KNEE)
    light = np.minimum(light, KNEE) + (1 - KNEE) * beyond / (1 + beyond)
    low = light <= 0.0031308
    levels = np.where(low, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    rounded: NDArray[np.uint8] = np.rint(255 * levels).astype(np.uint8)
    return rounded


def to_srgb(signals: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """Convert (H, W, 3) 16-bit signals of BT.2020's primaries to 8-bit sRGB.

    `transfer`: a code of `CURVES`.
    """
    light, shown = light_table(transfer), shown_table(transfer)
    matrix = np.rint(BT2020_TO_BT709 * UNIT).astype(np.int64)
    pixels = np.empty(signals.shape, np.uint8)
    for row, levels in zip(signals, pixels, strict=True):  # a row fits the cache
        mixed = (light[row] @ matrix.T + UNIT // 2) >> 14
        levels[:] = shown[mixed.clip(0, len(shown) - 1)]
    return pixels
