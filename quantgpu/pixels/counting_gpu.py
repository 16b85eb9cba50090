"""Counting and mapping packed pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantgpu.kernels.launch import THREADS, blocks_for, int32, prepare

RUN = 16
"""Pixels that a thread takes at a time."""


def add_to_bins(bins: Any, colors: Any, weights: Any = None) -> None:
    """Count (n, 3) uint8 `colors` that begin at a multiple of 4 bytes into (2^24,) bins.

    The bins are uint32; or, with (n,) uint8 `weights`, uint64: see `histogram.COUNT_BITS`.
    """
    blocks = blocks_for(len(colors), RUN * THREADS)
    if weights is None:
        prepare("histogram", blocks, (colors, np.int64(len(colors)), bins)).run()
    else:
        arguments = colors, weights, np.int64(len(colors)), bins
        prepare("histogram", blocks, arguments, WEIGHTED=1).run()


def weigh(colors: Any, before: Any, after: Any, width: int, weights: Any) -> None:
    """Put the weight of each of the `colors` of whole rows into `weights`: see ``weigh.cu``."""
    numbers = (len(colors) // width, width, len(before) // width, len(after) // width)
    arguments = colors, before, after, *map(int32, numbers), weights
    prepare("weigh", blocks_for(len(colors)), arguments).run()
