"""Threshold matrices of ordered dithering, as ranks: which pixels are switched first.

The threshold of a rank among n is (2 rank + 1) / (2 n): 0 < threshold < 1, mean a half. Matrices
are tiled over the picture.

B. E. Bayer, "An optimum method for two-level rendition of continuous-tone pictures", IEEE
International Conference on Communications, 1973. R. Ulichney, "The void-and-cluster method for
dither array generation", Proc. SPIE 1913, 1993, https://doi.org/10.1117/12.152707.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantgpu.errors import UsageError

BAYER_SIZES = (2, 4, 8, 16)

BAYER = ((0, 2), (3, 1))
"""The matrix of size 2, and the order in which its quadrants follow each other in larger ones."""

BLUE_NOISE = Path(__file__).with_name("blue_noise.npy")
"""Made by scripts/blue_noise.py."""

BLUE_NOISE_SIZE = 64


@lru_cache
def bayer(size: int) -> NDArray[np.uint16]:
    """(size, size) ranks, each of 0..size * size - 1 once; read-only.

    The next pixel is always among those farthest from all before it: a regular weave, which shows.

    >>> bayer(4).tolist()
    [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]
    """
    if size not in BAYER_SIZES:
        raise UsageError(f"{size!r} is no size of a Bayer matrix; take one of {BAYER_SIZES}")
    ranks = np.array(BAYER, np.uint16)
    while len(ranks) < size:
        ranks = np.block([[4 * ranks + np.uint16(quadrant) for quadrant in row] for row in BAYER])
    ranks.setflags(write=False)
    return ranks


@lru_cache
def blue_noise() -> NDArray[np.uint16]:
    """(64, 64) ranks, each of 0..4095 once; read-only.

    The pixels of the lowest n ranks are spread evenly for every n, without a pattern: their
    spectrum lacks low frequencies, so what dithering adds is as fine as it can be.

    >>> blue_noise().shape, int(blue_noise().max())
    ((64, 64), 4095)
    """
    ranks: NDArray[np.uint16] = np.load(BLUE_NOISE, allow_pickle=False).astype(np.uint16)
    ranks.setflags(write=False)
    return ranks
