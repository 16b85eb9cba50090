"""Rare and saturated colors raised, so that a palette of few colors keeps those that stand out.

K-means spends its colors on area: a red flower that covers a hundredth of a picture goes to brown.
Here the centers are sought with other weights: those of colors like which there are few are raised,
and those of saturated ones. Then each center moves to the plain mean of the colors that are nearest
to it, so that what is common keeps its color too.

Measured on nine photographs of 320 pixels with a shaded disk in red, yellow, green or blue. A disk
is kept if its mean color comes out less than 50 levels away from where it was; the MSE is the
geometric mean of the shares of that without weights, in sRGB with effort fast.

| | K = 4: kept at 0.5 % and 1 % of the area, MSE | K = 8: kept at 0.2 % and 0.5 %, MSE |
|---|---|---|
| without weights | 0.03 0.03, 1 | 0.03 0.28, 1 |
| square root of the density | 0.47 0.61, 1.18 | **0.92 0.97, 1.20** |
| its power of 5/8 | 0.61 0.72, 1.27 | 0.97 1.00, 1.26 |
| its power of 3/4 | **0.67 0.72, 1.34** | 0.97 1.00, 1.38 |

Of the red disks 0.89 are kept with the last at K = 4, of 0.5 % of the area and more. Hence the
square root, and the power of 3/4 if the colors are `FEW`. At K = 16 the root keeps all of them for
an MSE of 1.18, where 0.50 of those with 0.2 % of the area are kept without. `GRAY` of 16 and 32
cost up to a tenth more and keep little more; the count of each cell alone in place of the density
costs 2 to 4 % more. With no step to the plain means the MSE was 1.44 (K = 4) and 1.38 (K = 8), and
white walls came out pink.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quantgpu.device import array_module, to_host
from quantgpu.importance import CELL_BITS, cell_density, color_cells, on_gray

FEW = 6
"""So many colors and fewer are too few for all that stands out."""

GRAY = 64
"""A color counts for so much, and the levels from its least to its greatest channel."""

SCALE = 1 << 20
"""The factor of the rarest colors."""


def raised(colors: Any, counts: Any, weights: Any, k: int) -> Any:
    """(n,) int64: `weights` over a root of how common colors like these are, times saturation.

    Roots and quotients of float64 are rounded the same way everywhere. No sum reaches 2^60.

    Args:
        colors: (n, 3) or (n, 4) uint8, distinct.
        counts: (n,) int64: pixels of each.
        weights: (n,) int64: their weights, with a sum below 2^31.
        k: The colors that are sought.
    """
    xp = array_module(counts)
    cells = color_cells(colors)
    masses = to_host(xp.bincount(cells, counts, minlength=1 << 3 * CELL_BITS))
    density = np.maximum(cell_density(masses), 1)
    root = np.sqrt(density[masses > 0].min() / density)
    share = root * np.sqrt(root) if k <= FEW else root
    factors = np.maximum(np.floor(SCALE * share), 1).astype(np.int64)
    channels = on_gray(colors).T.astype(xp.int64)
    saturation = channels.max(axis=0) - channels.min(axis=0)
    return weights * xp.asarray(factors)[cells] * (GRAY + saturation)
