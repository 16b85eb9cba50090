"""CuPy's array functions, as many as a color quantizer may want, by their own names and rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpu_double import machine as machines
from gpu_double.device_array import Capsule, check_sort, element_type, into, ndarray
from gpu_double.errors import DynamicLibNotFoundError
from gpu_double.operations import SCALARS, compute, is_device
from gpu_double.transfers import upload

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "append",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "array",
    "array_equal",
    "asarray",
    "ascontiguousarray",
    "asnumpy",
    "atleast_1d",
    "bincount",
    "broadcast_to",
    "clip",
    "concatenate",
    "copy",
    "copyto",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "delete",
    "diff",
    "dot",
    "empty",
    "empty_like",
    "expand_dims",
    "eye",
    "flatnonzero",
    "flip",
    "from_dlpack",
    "full",
    "full_like",
    "get_array_module",
    "hstack",
    "isin",
    "lexsort",
    "linspace",
    "matmul",
    "max",
    "may_share_memory",
    "mean",
    "min",
    "moveaxis",
    "ndarray",
    "nonzero",
    "ones",
    "ones_like",
    "prod",
    "ravel",
    "repeat",
    "reshape",
    "roll",
    "round",
    "searchsorted",
    "shares_memory",
    "sort",
    "squeeze",
    "stack",
    "sum",
    "swapaxes",
    "take",
    "take_along_axis",
    "tile",
    "transpose",
    "unique",
    "vstack",
    "where",
    "zeros",
    "zeros_like",
]


def device(value: Any, what: str = "a") -> ndarray:
    """The value, which must be a device array."""
    if not isinstance(value, ndarray):
        raise TypeError(f"Argument '{what}' has incorrect type: {type(value)}, not cupy.ndarray")
    return value


# New arrays


def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False
) -> Any:
    return make(a, dtype, bool(copy), order or "K", blocking)


def array(
    obj: Any,
    dtype: Any = None,
    copy: Any = True,
    order: Any = "K",
    subok: bool = False,
    ndmin: int = 0,
    *,
    blocking: bool = False,
) -> Any:
    return make(obj, dtype, bool(copy), order, blocking)


def make(value: Any, dtype: Any, copy: bool, order: Any, blocking: bool) -> Any:
    """A device array: the value itself, a copy, or its upload."""
    if not is_device(value) and hasattr(value, "__cuda_array_interface__"):
        value = from_interface(value.__cuda_array_interface__)
    if is_device(value):
        kind = value.dtype if dtype is None else element_type(dtype)
        fits = order in ("K", "A") or value.flags[f"{order}_CONTIGUOUS"]
        if not copy and kind == value.dtype and fits:
            return value
        return value.astype(kind, order=order)
    if any_device(value):
        return stack(list(value)).astype(dtype or value[0].dtype, copy=False)
    values = np.asarray(value, dtype, order=order)
    if values.ndim == 0:
        return full((), values[()], values.dtype)
    fortran = order in ("F", "K", "A") and values.flags.fnc
    result = ndarray(values.shape, values.dtype, order="F" if fortran else "C")
    stream = machines.current().stream
    upload(values, result, stream)
    if blocking:
        stream.synchronize("asarray")
    return result


def any_device(value: Any) -> bool:
    """Whether it is a sequence of device arrays."""
    return isinstance(value, (list, tuple)) and len(value) > 0 and is_device(value[0])


def from_interface(description: dict[str, Any]) -> ndarray:
    """The device array that another library describes."""
    address = description["data"][0]
    for memory in list(machines.current().blocks.values()):
        if memory.ptr <= address < memory.ptr + memory.size:
            strides = description.get("strides")
            pointer = memory_pointer(memory, address - memory.ptr)
            return ndarray(description["shape"], description["typestr"], pointer, strides)
    raise ValueError("no device array lies at the address that __cuda_array_interface__ gives")


def memory_pointer(memory: Any, offset: int) -> Any:
    """A place in an allocation."""
    from gpu_double.memory import MemoryPointer

    return MemoryPointer(memory, offset)


def from_dlpack(array: Any, *, device: Any = None, copy: Any = None) -> Any:
    if array.__dlpack_device__()[0] != 2:
        raise BufferError("the array is not on a CUDA device")
    capsule = array.__dlpack__()
    if not isinstance(capsule, Capsule):
        raise BufferError("the stand-in reads only what it exported itself")
    return capsule.array.copy() if copy else capsule.array.view()


def asnumpy(
    a: Any, stream: Any = None, order: Any = "C", out: Any = None, *, blocking: bool = True
) -> Any:
    if is_device(a):
        return a.get(stream=stream, order=order, out=out, blocking=blocking)
    if any_device(a):
        return np.asarray(array(a).get())
    if out is None:
        return np.asarray(a, order=order)
    np.copyto(out, a)
    return out


def ascontiguousarray(a: Any, dtype: Any = None) -> Any:
    a = device(a)
    kind = a.dtype if dtype is None else element_type(dtype)
    if kind == a.dtype and a.flags.c_contiguous:
        return a if a.ndim else a.ravel()
    return compute("ascontiguousarray", lambda v: np.ascontiguousarray(v, kind), a)


def copy(a: Any, order: Any = "K") -> Any:
    return device(a).copy(order)


def get_array_module(*args: Any) -> Any:
    import sys

    return sys.modules["cupy"] if any_of(args) else np


def any_of(values: Any) -> bool:
    """Whether a device array is among the values."""
    return next((True for value in values if is_device(value)), False)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    return ndarray(shape, dtype, order=order)


def empty_like(
    prototype: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> Any:
    a = device(prototype)
    extents = a.shape if shape is None else shape
    fortran = a.flags.fnc and order in ("K", "A") and shape is None
    return ndarray(extents, dtype or a.dtype, order="F" if fortran or order == "F" else "C")


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    return filled(ndarray(shape, dtype, order=order), 0)


def zeros_like(
    a: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> Any:
    return filled(empty_like(a, dtype, order, subok, shape), 0)


def ones(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    return filled(ndarray(shape, dtype, order=order), 1)


def ones_like(
    a: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> Any:
    return filled(empty_like(a, dtype, order, subok, shape), 1)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> Any:
    if dtype is None:
        dtype = fill_value.dtype if is_device(fill_value) else np.array(fill_value).dtype
    return filled(ndarray(shape, dtype, order=order), fill_value)


def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: Any = None,
    shape: Any = None,
) -> Any:
    return filled(empty_like(a, dtype, order, subok, shape), fill_value)


def filled(a: ndarray, value: Any) -> ndarray:
    """The array after `fill`."""
    a.fill(value)
    return a


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Any:
    if any_of((start, stop, step)):
        raise TypeError("arange takes numbers on the host; a cupy.ndarray would synchronize")
    return compute("arange", lambda: np.arange(*bounds_of(start, stop), step, dtype=dtype))


def bounds_of(start: Any, stop: Any) -> tuple[Any, Any]:
    """Start and stop of a range, of which the first may be left out."""
    return (0, start) if stop is None else (start, stop)


def linspace(start: Any, stop: Any, num: int = 50) -> Any:
    return compute("linspace", lambda: np.linspace(start, stop, num))


def eye(N: int, M: Any = None, k: int = 0, dtype: Any = float) -> Any:  # noqa: N803
    return compute("eye", lambda: np.eye(N, M, k, dtype))


# Joining and shaping


def concatenate(
    tup: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind"
) -> Any:
    for a in tup:
        if not is_device(a):
            raise TypeError("Only cupy arrays can be concatenated")
    return into(out, "concatenate", lambda *all_: np.concatenate(all_, axis, dtype=dtype), *tup)


def stack(tup: Any, axis: int = 0, out: Any = None, *, dtype: Any = None) -> Any:
    for a in tup:
        device(a, "tup")
    return into(out, "stack", lambda *all_: np.stack(all_, axis, dtype=dtype), *tup)


def hstack(tup: Any) -> Any:
    return compute("hstack", lambda *all_: np.hstack(all_), *map(device, tup))


def vstack(tup: Any) -> Any:
    return compute("vstack", lambda *all_: np.vstack(all_), *map(device, tup))


def append(arr: Any, values: Any, axis: Any = None) -> Any:
    if isinstance(values, (list, tuple, np.ndarray)) or isinstance(arr, (list, tuple, np.ndarray)):
        raise TypeError("append would upload its argument implicitly; use cupy.asarray")
    return compute("append", lambda a, b: np.append(a, b, axis), asarray(arr), asarray(values))


def tile(A: Any, reps: Any) -> Any:  # noqa: N803
    return compute("tile", lambda a: np.tile(a, reps), device(A))


def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    if not isinstance(repeats, (int, np.integer, list, tuple)):
        raise ValueError(f"'repeats' should be int or sequence: {type(repeats)}")
    return compute("repeat", lambda v: np.repeat(v, repeats, axis), device(a))


def reshape(a: Any, /, shape: Any = None, order: str = "C", *, copy: Any = None) -> Any:
    return device(a).reshape(shape, order=order)


def ravel(a: Any, order: str = "C") -> Any:
    return device(a).ravel(order)


def squeeze(a: Any, axis: Any = None) -> Any:
    return device(a).squeeze(axis)


def transpose(a: Any, axes: Any = None) -> Any:
    return device(a).transpose(axes)


def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    return device(a).swapaxes(axis1, axis2)


def view_of(a: Any, function: Callable[[Any], Any]) -> Any:
    """A view that NumPy makes."""
    a = device(a)
    return a._like(function(a._values))


def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    return view_of(a, lambda v: np.moveaxis(v, source, destination))


def expand_dims(a: Any, axis: Any) -> Any:
    return view_of(a, lambda v: np.expand_dims(v, axis))


def broadcast_to(array: Any, shape: Any) -> Any:
    return view_of(array, lambda v: np.broadcast_to(v, shape))


def flip(m: Any, axis: Any = None) -> Any:
    return view_of(m, lambda v: np.flip(v, axis))


def atleast_1d(*arys: Any) -> Any:
    results = [view_of(a, np.atleast_1d) for a in arys]
    return results[0] if len(results) == 1 else results


def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    return compute("roll", lambda v: np.roll(v, shift, axis), device(a))


def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = None) -> None:
    from gpu_double.operations import update

    if not is_device(src) and not isinstance(src, SCALARS):
        raise TypeError(f"Unsupported type {type(src)}")
    mask = True if where is None else where
    update("copyto", lambda d, s, w: np.copyto(d, s, casting, where=w), device(dst), src, mask)


# Choosing


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if (x is None) != (y is None):
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    if x is None:
        return nonzero(condition)
    for value in (x, y):
        if not is_device(value) and not isinstance(value, SCALARS):
            raise TypeError(f"Unsupported type {type(value)}")
    return compute("where", lambda c, a, b: np.where(c, a, b), device(condition), x, y)


def take(a: Any, indices: Any, axis: Any = None, out: Any = None) -> Any:
    if not is_device(indices) and not isinstance(indices, (int, np.integer)):
        raise TypeError("take would upload its indices implicitly; use cupy.asarray")
    if out is not None and out.dtype != a.dtype:
        raise TypeError("Output dtype mismatch")
    return into(out, "take", lambda v, i: np.take(v, i, axis), device(a), indices)


def take_along_axis(a: Any, indices: Any, axis: Any) -> Any:
    return compute(
        "take_along_axis", lambda v, i: np.take_along_axis(v, i, axis), device(a), device(indices)
    )


def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None) -> Any:
    for bound in (a_min, a_max):
        if bound is not None and not is_device(bound) and not isinstance(bound, SCALARS):
            raise TypeError(f"Unsupported type {type(bound)}")
    return into(out, "clip", lambda v, low, high: np.clip(v, low, high), device(a), a_min, a_max)


def delete(arr: Any, indices: Any, axis: Any = None) -> Any:
    if isinstance(indices, (list, tuple, np.ndarray)):
        raise TypeError("delete would upload its indices implicitly; use cupy.asarray")
    return compute("delete", lambda a, i: np.delete(a, i, axis), device(arr), indices, waits=True)


def nonzero(a: Any) -> Any:
    return device(a).nonzero()


def flatnonzero(a: Any) -> Any:
    return compute("flatnonzero", lambda v: np.flatnonzero(v), device(a), waits=True)


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
        raise NotImplementedError("CuPy compares the rows one by one, each with a synchronization")
    options: Any = return_index, return_inverse, return_counts

    def distinct(values: Any) -> Any:
        return np.unique(values, *options, equal_nan=equal_nan)

    return compute("unique", distinct, device(ar), waits=True)


# Order


def argsort(a: Any, axis: Any = -1, kind: Any = None) -> Any:
    return device(a).argsort(axis, kind)


def sort(a: Any, axis: Any = -1, kind: Any = None) -> Any:
    check_sort(kind)
    return compute("sort", lambda v: np.sort(v, axis, kind="stable"), device(a))


def lexsort(keys: Any) -> Any:
    if isinstance(keys, tuple):
        raise TypeError("CuPy's lexsort takes one 2-D array: cupy.stack the keys")
    return compute("lexsort", lambda k: np.lexsort(k), device(keys))


def searchsorted(a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    if not is_device(v):
        raise NotImplementedError("Only ndarrays are supported for v")
    return compute("searchsorted", lambda x, y: np.searchsorted(x, y, side), device(a), v)


def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False
) -> Any:
    operands = device(element), device(test_elements)
    return compute("isin", lambda a, b: np.isin(a, b, invert=invert), *operands)


# Reductions


def method(name: str, a: Any, **options: Any) -> Any:
    """A reduction that the array itself offers."""
    return getattr(device(a), name)(**options)


def sum(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    return method("sum", a, axis=axis, dtype=dtype, out=out, keepdims=keepdims)


def prod(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    return method("prod", a, axis=axis, dtype=dtype, out=out, keepdims=keepdims)


def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    return method("mean", a, axis=axis, dtype=dtype, out=out, keepdims=keepdims)


def amin(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    return method("min", a, axis=axis, out=out, keepdims=keepdims)


def amax(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    return method("max", a, axis=axis, out=out, keepdims=keepdims)


def argmin(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    return method("argmin", a, axis=axis, dtype=dtype, out=out, keepdims=keepdims)


def argmax(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    return method("argmax", a, axis=axis, dtype=dtype, out=out, keepdims=keepdims)


def any(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    return method("any", a, axis=axis, out=out, keepdims=keepdims)


def all(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    return method("all", a, axis=axis, out=out, keepdims=keepdims)


def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    return method("cumsum", a, axis=axis, dtype=dtype, out=out)


def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    return method("cumprod", a, axis=axis, dtype=dtype, out=out)


def round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    return device(a).round(decimals, out)


def count_nonzero(a: Any, axis: Any = None) -> Any:
    return compute("count_nonzero", lambda v: np.count_nonzero(v, axis), device(a))


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    if prepend is not None or append is not None:
        raise NotImplementedError("diff's prepend and append")
    return compute("diff", lambda v: np.diff(v, n, axis), device(a))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    return compute("array_equal", lambda a, b: np.array_equal(a, b), device(a1), device(a2))


def bincount(x: Any, weights: Any = None, minlength: Any = None) -> Any:
    if x.ndim != 1:
        raise ValueError("object too deep for desired array")
    if x.dtype.kind == "f":
        raise TypeError("x must be int array")
    if weights is not None and x.shape != weights.shape:
        raise ValueError("The weights and list don't have the same length.")
    machines.current().stream.synchronize("bincount: is anything negative?")
    return compute(
        "bincount", lambda v, w: np.bincount(v, w, minlength or 0), device(x), weights, waits=True
    )


def may_share_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    return np.may_share_memory(device(a)._values, device(b)._values)


def shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    return np.shares_memory(device(a)._values, device(b)._values)


# Products


def truncated(values: Any) -> Any:
    """float32 with 10 bits behind the binary point, rounded to nearest, as TF32 keeps them."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def multiply_matrices(a: Any, b: Any) -> Any:
    """The matrix product as the device at hand computes it."""
    if machines.current().model.rounds_products and a.dtype == b.dtype == np.float32:
        a, b = truncated(a), truncated(b)
    return a @ b


def matmul(x1: Any, x2: Any, /, out: Any = None, **kwargs: Any) -> Any:
    for value in (x1, x2):
        if not is_device(value):
            raise TypeError(f"Unsupported type {type(value)}")
    model = machines.current().model
    if not model.cublas and x1.dtype.kind in "fc":
        raise DynamicLibNotFoundError('Failure finding "libcublas.so"')
    return into(out, "matmul", multiply_matrices, x1, x2)


def dot(a: Any, b: Any, out: Any = None) -> Any:
    return matmul(device(a), device(b), out=out)


min = amin
max = amax
