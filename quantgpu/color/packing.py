"""Colors as integer keys, 24 bits for an opaque color and 32 with alpha, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module

KEYS = 1 << 24
"""8-bit RGB colors; a color's key is ``red + 256 * green + 65536 * blue``, and of one that is not
opaque ``KEYS * (255 - alpha)`` more."""


CLEAR = 255 * KEYS
"""The key of all colors that cannot be seen."""


def pack(colors: NDArray[np.uint8], out: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """The keys, (n,) int64, of C-contiguous uint8 colors; in the first n of `out` if given.

    The colors are (n, 3) or (n, 4). Of three channels, all but the last two colors are read as
    overlapping 64-bit words, three bytes apart, and masked: one pass instead of five (21 ms instead
    of 88 ms for 24 million pixels).
    """
    count = len(colors)
    keys = np.empty(count, np.int64) if out is None else out[:count]
    if colors.shape[1] == 4:
        keys[:] = transparent_keys(colors)
        return keys
    whole = max(count - 2, 0)
    words = np.ndarray((whole,), "<u8", colors, strides=(3,)) if whole else np.empty(0, "<u8")
    np.bitwise_and(words, KEYS - 1, out=keys[:whole].view(np.uint64))
    tail = colors[whole:].astype(np.int64)
    keys[whole:] = tail[:, 0] + (tail[:, 1] << 8) + (tail[:, 2] << 16)
    return keys


def transparent_keys(colors: Any) -> Any:
    """The keys, (n,) uint32, of C-contiguous (n, 4) uint8 colors."""
    xp = array_module(colors)
    words = colors.astype("u1", copy=False).view("<u4").reshape(-1)
    return xp.minimum(words ^ np.uint32(CLEAR), np.uint32(CLEAR))


def unpack(keys: Any, channels: int = 3) -> Any:
    """The (n, channels) uint8 colors of (n,) keys; each channel is contiguous."""
    xp = array_module(keys)
    little = keys.astype("<i8", copy=False).view(xp.uint8).reshape(-1, 8)
    by_channel = little[:, :channels].T.copy()
    by_channel[3:] ^= 255
    return by_channel.T
