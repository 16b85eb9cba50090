"""The types that elements of a device array can have."""

from __future__ import annotations

from typing import Any

import numpy as np

SUPPORTED = "?bhilqBHILQefdFD"


def element_type(dtype: Any) -> np.dtype[Any]:
    """The dtype, if CuPy supports it (structures left out)."""
    result: np.dtype[Any] = np.dtype(dtype)
    if result.char not in SUPPORTED or not result.isnative:
        raise ValueError(f"Unsupported dtype {result}")
    return result
