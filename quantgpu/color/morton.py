"""The Morton order of points: interleaved bits, so that the cells of an octree are runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module, on_host


def places(channels: int) -> NDArray[Any]:
    """(channels, 256): what red, green, blue and, if there is one, alpha add to a Morton code.

    int32 for three channels, int64 for four.
    """
    level: NDArray[Any] = np.arange(256).astype(np.int32 if channels == 3 else np.int64)
    spread: NDArray[Any] = np.zeros_like(level)
    for bit in range(8):
        spread |= ((level >> bit) & 1) << (channels * bit)
    return np.stack([spread << (channels - 1 - channel) for channel in range(channels)])


PLACES = {channels: places(channels) for channels in (3, 4)}
"""Channels to `places`."""


def morton_codes(colors: Any) -> Any:
    """(n,): the bits of (n, 3) or (n, 4) colors interleaved: an octree cell is a run of codes."""
    xp = array_module(colors)
    first, *others = zip(xp.asarray(PLACES[colors.shape[1]]), colors.T, strict=True)
    codes = first[0].take(first[1])
    for place, channel in others:
        codes |= place.take(channel)
    return codes


def order_of(codes: Any) -> Any:
    """The permutation that sorts distinct codes of up to 32 bits; on the host two passes of NumPy's
    16-bit radix sort."""
    xp = array_module(codes)
    if not on_host(codes):
        return xp.argsort(codes)
    order = xp.argsort((codes & 0xFFFF).astype(xp.uint16), kind="stable")
    return order[xp.argsort((codes >> 16).astype(xp.uint16)[order], kind="stable")]
