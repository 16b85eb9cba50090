"""Page-locked memory of the host, which a GPU copies from and to asynchronously."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module

PINNED = 1
"""CUDA's name for page-locked host memory, which a GPU reads and writes by itself."""


def align(colors: Any) -> Any:
    """Make `colors`, on a GPU, C-contiguous from a multiple of 4 bytes on; copy only if needed."""
    colors = array_module(colors).ascontiguousarray(colors)
    return colors.copy() if colors.data.ptr % 4 else colors


def is_pinned(xp: Any, source: Any) -> bool:
    """Whether `source` is a C-contiguous array of NumPy in page-locked memory."""
    if not isinstance(source, np.ndarray) or not source.flags.c_contiguous:
        return False
    return bool(xp.cuda.runtime.pointerGetAttributes(source.ctypes.data).type == PINNED)


def pinned_empty(xp: Any, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """An uninitialized host array in page-locked memory, or in any if none can be allocated."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    try:
        return np.ndarray(shape, dtype, xp.cuda.alloc_pinned_memory(size))
    except (MemoryError, xp.cuda.runtime.CUDARuntimeError):
        return np.empty(shape, dtype)
