"""Indexing by CuPy's rules, stricter where CuPy would upload, wrap around or leave it undefined."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu_double import machine as machines
from gpu_double.operations import SCALARS, compute, is_device, update


def parts(key: Any) -> tuple[Any, ...]:
    """An index as a tuple."""
    return key if isinstance(key, tuple) else (key,)


def check(key: Any) -> None:
    """Refuse what CuPy would silently send to the device or fetch from there."""
    for part in parts(key):
        if isinstance(part, (np.ndarray, list, bool, np.bool_)):
            raise TypeError(
                f"an index is a {type(part).__name__}, which CuPy would upload implicitly: "
                "use cupy.asarray"
            )
        if isinstance(part, slice) and any(map(is_device, (part.start, part.stop, part.step))):
            raise TypeError("slice indices must be integers or None, not device arrays")


def is_advanced(key: Any) -> bool:
    """Whether an index holds arrays."""
    return any(map(is_device, parts(key)))


def has_masks(key: Any) -> bool:
    """Whether an index holds boolean arrays, whose true elements CuPy counts on the host."""
    return any(is_device(part) and part.dtype == bool for part in parts(key))


def get_item(array: Any, key: Any) -> Any:
    """A view for numbers and slices, otherwise a copy."""
    check(key)
    if is_advanced(key):
        scratch = 4 * array.size if has_masks(key) else 0
        return compute(
            "getitem", lambda a, k: a[k], array, key, waits=has_masks(key), scratch=scratch
        )
    values = array._values[key]
    if not isinstance(values, np.ndarray):
        as_view = (*parts(key), ...)
        values = array._values[as_view]
    return array._like(values)


def set_item(array: Any, key: Any, value: Any) -> None:
    """Store a device array or a scalar; a boolean index synchronizes, as in CuPy."""
    check(key)
    if not is_device(value):
        if not isinstance(value, SCALARS):
            raise TypeError(f"a device array takes device arrays and scalars, not {type(value)}")
        value = np.asarray(value, array.dtype)[()]
    if has_masks(key):
        machines.current().stream.synchronize("setitem")

    def store(target: Any, place: Any, new: Any) -> None:
        if any(isinstance(part, np.ndarray) and part.dtype != bool for part in parts(place)):
            check_duplicates(place, target.shape, new)
        target[place] = new

    update("setitem", store, array, key, value)


def check_duplicates(key: Any, shape: tuple[int, ...], values: Any) -> None:
    """CuPy stores any of the values that are assigned to one element."""
    if isinstance(key, np.ndarray) and len(shape) == 1:
        places = key % shape[0]  # fast; what follows is for any index
    else:
        places = np.arange(np.prod(shape, dtype=int)).reshape(shape)[key]
    order = np.argsort(places, axis=None, kind="stable")
    place = places.ravel()[order]
    value = np.broadcast_to(values, places.shape).ravel()[order]
    if ((place[1:] == place[:-1]) & (value[1:] != value[:-1])).any():
        raise machines.current().misuse(
            "an assignment by index array stores different values in one element; "
            "which one stays is undefined in CuPy"
        )
