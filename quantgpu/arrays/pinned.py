"""Page-locked memory: what a GPU copies from and to without waiting."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module

PINNED = 1
"""CUDA's name for page-locked host memory, which a GPU reads and writes by itself."""


def aligned(colors: Any) -> Any:
    """`colors`, C-contiguous and from a multiple of 4 bytes on; a copy only if it must be."""
    colors = array_module(colors).ascontiguousarray(colors)
    return colors.copy() if colors.data.ptr % 4 else colors


def is_pinned(xp: Any, source: Any) -> bool:
    """Whether pixels lie, row by row, in page-locked memory."""
    if not isinstance(source, np.ndarray) or not source.flags.c_contiguous:
        return False
    return bool(xp.cuda.runtime.pointerGetAttributes(source.ctypes.data).type == PINNED)


def pinned_empty(xp: Any, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """A host array in page-locked memory, or, if there is none, in any."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    try:
        return np.ndarray(shape, dtype, xp.cuda.alloc_pinned_memory(size))
    except (MemoryError, xp.cuda.runtime.CUDARuntimeError):
        return np.empty(shape, dtype)
