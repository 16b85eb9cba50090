"""NumPy or CuPy: the array module follows the argument's type.

CuPy is looked up among what is loaded already; it is never imported here.
"""

from __future__ import annotations

import contextlib
import sys
from types import ModuleType
from typing import Any

import numpy as np


def array_module(array: Any) -> ModuleType:
    """`numpy` or `cupy`, whichever `array` belongs to; CuPy is looked for where it is loaded."""
    cupy = sys.modules.get("cupy")
    return cupy if cupy is not None and isinstance(array, cupy.ndarray) else np


def on_host(array: Any) -> bool:
    """Whether `array` belongs to NumPy."""
    return isinstance(array, np.ndarray)


def device_of(array: Any) -> contextlib.AbstractContextManager[Any]:
    """The GPU that `array` is on, if it is on one, is the current one inside."""
    return contextlib.nullcontext() if on_host(array) else array.device


def to_host(array: Any) -> Any:
    """`array` as a NumPy array; waits for the GPU that it is on."""
    return array if on_host(array) else array.get()
