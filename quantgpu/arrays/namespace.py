"""NumPy or CuPy: the array module follows the argument's type.

CuPy is looked up among the loaded modules, and never imported.

Algorithms are written once, against the array module of their arguments:
``xp = array_module(points)``.
"""

from __future__ import annotations

import contextlib
import sys
from types import ModuleType
from typing import Any

import numpy as np


def array_module(array: Any) -> ModuleType:
    """The module of an array: `cupy` for an array of CuPy, else `numpy`."""
    cupy = sys.modules.get("cupy")
    return cupy if cupy is not None and isinstance(array, cupy.ndarray) else np


def on_host(array: Any) -> bool:
    """Whether `array` belongs to NumPy."""
    return isinstance(array, np.ndarray)


def device_of(array: Any) -> contextlib.AbstractContextManager[Any]:
    """Make the GPU of `array` the current one inside; nothing for an array of NumPy."""
    return contextlib.nullcontext() if on_host(array) else array.device


def to_host(array: Any) -> Any:
    """Copy `array` to the host as a NumPy array, waiting for its GPU; itself if of NumPy."""
    return array if on_host(array) else array.get()
