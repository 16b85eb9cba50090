"""CIEDE2000: how different two colors look; 1 is about the least difference one sees.

G. Sharma, W. Wu, E. N. Dalal, "The CIEDE2000 color-difference formula: implementation notes,
supplementary test data, and mathematical observations", Color Research & Application 30(1), 2005,
doi:10.1002/col.20070. Names in the comments are theirs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from quantgpu.color.spaces import CIELAB_SCALE, cielab

CENTER = np.array([[50.0], [0.0], [0.0]])
"""(3, 1): the L*, a* and b* that are zero on the grid."""

LabColors = NDArray[np.float64]


def lab(colors: NDArray[np.uint8]) -> LabColors:
    """CIE L*a*b* (D65), (3, n), of (n, 3) colors; grays have exactly a* = b* = 0."""
    coordinates: LabColors = np.round(cielab(colors) / CIELAB_SCALE, 9) + CENTER
    return coordinates


def delta_e(lab_a: LabColors, lab_b: LabColors) -> LabColors:
    """CIEDE2000, (n,), of two (3, n) arrays of L*, a* and b*; all three weights are 1."""
    mean_chroma = (np.hypot(*lab_a[1:]) + np.hypot(*lab_b[1:])) / 2
    stretch = 1.5 - 0.5 * saturation(mean_chroma)  # 1 + G
    (l_a, chroma_a, hue_a), (l_b, chroma_b, hue_b) = (
        (lightness, np.hypot(a * stretch, b), np.arctan2(b, a * stretch) % math.tau)
        for lightness, a, b in (lab_a, lab_b)
    )
    turn, hue = between(hue_a, hue_b, (chroma_a == 0) | (chroma_b == 0))
    chroma = (chroma_a + chroma_b) / 2
    away = ((l_a + l_b) / 2 - 50) ** 2
    in_lightness = (l_b - l_a) / (1 + 0.015 * away / np.sqrt(20 + away))
    in_chroma = (chroma_b - chroma_a) / (1 + 0.045 * chroma)
    in_hue = 2 * np.sqrt(chroma_a * chroma_b) * np.sin(turn / 2)
    in_hue /= 1 + 0.015 * chroma * hue_weight(hue)
    cross = rotation(chroma, hue) * in_chroma * in_hue
    squared = in_lightness**2 + in_chroma**2 + in_hue**2 + cross
    differences: LabColors = np.sqrt(np.maximum(squared, 0))
    return differences


def saturation(chroma: LabColors) -> LabColors:
    """How close a chroma is to the largest, 0 to 1: the square root in G and R_C."""
    power = chroma**7
    share: LabColors = np.sqrt(power / (power + 25.0**7))
    return share


def between(
    hue_a: LabColors, hue_b: LabColors, gray: NDArray[np.bool_]
) -> tuple[LabColors, LabColors]:
    """The turn from one hue to the other, -pi to pi, and the hue midway; radians, 0 to 2 pi.

    A gray has no hue: midway is then where the other is.
    """
    turn, total = hue_b - hue_a, hue_a + hue_b
    far = np.abs(turn) > math.pi
    midway = (total + np.where(far, np.where(total < math.tau, math.tau, -math.tau), 0)) / 2
    return turn - np.where(far, np.copysign(math.tau, turn), 0), np.where(gray, total, midway)


def hue_weight(hue: LabColors) -> LabColors:
    """T: how much a difference of hue counts around a hue."""
    weight: LabColors = (
        1
        - 0.17 * np.cos(hue - math.radians(30))
        + 0.24 * np.cos(2 * hue)
        + 0.32 * np.cos(3 * hue + math.radians(6))
        - 0.20 * np.cos(4 * hue - math.radians(63))
    )
    return weight


def rotation(chroma: LabColors, hue: LabColors) -> LabColors:
    """R_T: differences of chroma and of hue interact among blues."""
    angle = math.radians(60) * np.exp(-(((np.degrees(hue) - 275) / 25) ** 2))
    factor: LabColors = -2 * saturation(chroma) * np.sin(angle)
    return factor
