"""CuPy's functions that join, split and turn arrays, and choose among their elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu_double.creation import asarray
from gpu_double.device_array import check_sort
from gpu_double.operations import compute, device_array, into, is_device, operand, update

__all__ = [
    "append",
    "argsort",
    "atleast_1d",
    "broadcast_to",
    "clip",
    "concatenate",
    "copyto",
    "delete",
    "expand_dims",
    "flatnonzero",
    "flip",
    "hstack",
    "isin",
    "lexsort",
    "may_share_memory",
    "moveaxis",
    "nonzero",
    "ravel",
    "repeat",
    "reshape",
    "roll",
    "searchsorted",
    "shares_memory",
    "sort",
    "squeeze",
    "stack",
    "swapaxes",
    "take",
    "take_along_axis",
    "tile",
    "transpose",
    "unique",
    "vstack",
    "where",
]


def uploadable(value: Any, name: str) -> Any:
    """A device array or a scalar; CuPy would upload anything else implicitly."""
    if isinstance(value, (list, tuple, np.ndarray)):
        raise TypeError(f"{name} would upload its argument implicitly: use cupy.asarray")
    return value


# Joining


def joined(tup: Any) -> list[Any]:
    """Device arrays, of which there is at least one."""
    for a in tup:
        if not is_device(a):
            raise TypeError("Only cupy arrays can be concatenated")
    if not len(tup):
        raise ValueError("Cannot concatenate from empty tuple")
    return list(tup)


def concatenate(
    tup: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind"
) -> Any:
    arrays = joined(tup)
    return into(out, "concatenate", lambda *v: np.concatenate(v, axis, dtype=dtype), *arrays)


def stack(tup: Any, axis: int = 0, out: Any = None, *, dtype: Any = None) -> Any:
    return into(out, "stack", lambda *v: np.stack(v, axis, dtype=dtype), *joined(tup))


def hstack(tup: Any, *, dtype: Any = None) -> Any:
    return compute("hstack", lambda *v: np.hstack(v, dtype=dtype), *joined(tup))


def vstack(tup: Any, *, dtype: Any = None) -> Any:
    return compute("vstack", lambda *v: np.vstack(v, dtype=dtype), *joined(tup))


def append(arr: Any, values: Any, axis: Any = None) -> Any:
    operands = (asarray(uploadable(a, "append")) for a in (arr, values))
    return compute("append", lambda a, b: np.append(a, b, axis), *operands)


def tile(A: Any, reps: Any) -> Any:  # noqa: N803
    return compute("tile", lambda a: np.tile(a, reps), device_array(A))


def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    return device_array(a).repeat(repeats, axis)


# Shapes


def reshape(a: Any, newshape: Any, order: Any = "C", *, copy: Any = None) -> Any:
    return device_array(a).reshape(newshape, order=order)


def ravel(a: Any, order: Any = "C") -> Any:
    return device_array(a).ravel(order)


def squeeze(a: Any, axis: Any = None) -> Any:
    return device_array(a).squeeze(axis)


def transpose(a: Any, axes: Any = None) -> Any:
    return device_array(a).transpose(axes)


def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    return device_array(a).swapaxes(axis1, axis2)


def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    return device_array(a)._viewed("", lambda v: np.moveaxis(v, source, destination))


def expand_dims(a: Any, axis: Any) -> Any:
    return device_array(a)._viewed("", lambda v: np.expand_dims(v, axis))


def broadcast_to(array: Any, shape: Any) -> Any:
    return device_array(array)._viewed("", lambda v: np.broadcast_to(v, shape))


def flip(a: Any, axis: Any = None) -> Any:
    return device_array(a)._viewed("", lambda v: np.flip(v, axis))


def atleast_1d(*arys: Any) -> Any:
    results = [device_array(a)._viewed("", np.atleast_1d) for a in arys]
    return results[0] if len(results) == 1 else results


def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    return compute("roll", lambda v: np.roll(v, shift, axis), device_array(a))


def may_share_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    return np.may_share_memory(device_array(a)._values, device_array(b)._values)


def shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    return np.shares_memory(device_array(a)._values, device_array(b)._values)


# Choosing


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if (x is None) != (y is None):
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    if x is None:
        return nonzero(condition)
    condition = device_array(condition, "condition").astype(bool, copy=False)
    return compute("where", lambda c, a, b: np.where(c, a, b), condition, operand(x), operand(y))


def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = None) -> None:
    mask = True if where is None else where
    if not np.can_cast(src.dtype if is_device(src) else np.asarray(src).dtype, dst.dtype, casting):
        raise TypeError(f"Cannot cast {src} to {dst.dtype} in {casting} casting mode")

    def write(target: Any, source: Any, chosen: Any) -> None:
        np.copyto(target, source, "unsafe", where=chosen)

    update("copyto", write, device_array(dst, "dst"), operand(src), mask)


def take(a: Any, indices: Any, axis: Any = None, out: Any = None) -> Any:
    return device_array(a).take(indices, axis, out)


def take_along_axis(a: Any, indices: Any, axis: Any) -> Any:
    operands = device_array(a), device_array(indices, "indices")
    return compute("take_along_axis", lambda v, i: np.take_along_axis(v, i, axis), *operands)


def clip(a: Any, a_min: Any, a_max: Any, out: Any = None) -> Any:
    return device_array(a).clip(a_min, a_max, out)


def delete(arr: Any, indices: Any, axis: Any = None) -> Any:
    indices = uploadable(indices, "delete")
    return compute(
        "delete", lambda a, i: np.delete(a, i, axis), device_array(arr), indices, waits=True
    )


def nonzero(a: Any) -> Any:
    return device_array(a).nonzero()


def flatnonzero(a: Any) -> Any:
    return device_array(a).ravel().nonzero()[0]


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    *,
    equal_nan: bool = True,
) -> Any:
    if axis is not None:
        raise NotImplementedError("CuPy compares rows one by one, each with a synchronization")
    options: Any = return_index, return_inverse, return_counts

    def distinct(values: Any) -> Any:
        return np.unique(values, *options, equal_nan=equal_nan)

    a = device_array(ar)
    scratch = 3 * a.nbytes + 16 * a.size
    return compute("unique", distinct, a, waits=True, scratch=scratch)


# Order


def argsort(a: Any, axis: Any = -1, kind: Any = None) -> Any:
    return device_array(a).argsort(axis, kind)


def sort(a: Any, axis: Any = -1, kind: Any = None) -> Any:
    check_sort(kind)
    a = device_array(a)
    return compute("sort", lambda v: np.sort(v, axis, kind="stable"), a, scratch=a.nbytes)


def lexsort(keys: Any) -> Any:
    if isinstance(keys, (tuple, list)):
        raise TypeError("CuPy's lexsort takes one 2-D array: cupy.stack the keys")
    a = device_array(keys, "keys")
    return compute("lexsort", lambda k: np.lexsort(k), a, scratch=a.nbytes)


def searchsorted(a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    return device_array(a).searchsorted(v, side, sorter)


def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False
) -> Any:
    tested = device_array(test_elements, "test_elements")
    operands = device_array(element, "element"), tested
    return compute(
        "isin", lambda a, b: np.isin(a, b, invert=invert), *operands, scratch=2 * tested.nbytes
    )
