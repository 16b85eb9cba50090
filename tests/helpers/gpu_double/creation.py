"""CuPy's functions that make device arrays, and those that bring them back."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from gpu_double import machine as machines
from gpu_double.device_array import ndarray
from gpu_double.element_types import element_type
from gpu_double.memory import MemoryPointer
from gpu_double.operations import compute, device_array, is_device, update
from gpu_double.protocols import Capsule
from gpu_double.transfers import upload

__all__ = [
    "arange",
    "array",
    "asarray",
    "ascontiguousarray",
    "asnumpy",
    "copy",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "full",
    "full_like",
    "get_array_module",
    "linspace",
    "ndarray",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]


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
    if subok or ndmin:
        raise NotImplementedError("the stand-in's array has neither subok nor ndmin")
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
    if isinstance(value, (list, tuple)) and any(map(is_device, value)):
        raise TypeError("a list of device arrays is not joined implicitly here: use cupy.stack")
    values = np.asarray(value, dtype, order=order)
    if values.ndim == 0:
        return full((), values[()], values.dtype)
    fortran = order == "F" or (order in ("K", "A") and values.flags.fnc)
    result = ndarray(values.shape, values.dtype, order="F" if fortran else "C")
    stream = machines.current().stream
    upload(values, result, stream)
    if blocking:
        stream.synchronize("asarray")
    return result


def from_interface(description: dict[str, Any]) -> ndarray:
    """The device array that another library describes."""
    address = description["data"][0]
    for memory in list(machines.current().blocks.values()):
        if memory.ptr <= address < memory.ptr + memory.size:
            pointer = MemoryPointer(memory, address - memory.ptr)
            strides = description.get("strides")
            return ndarray(description["shape"], description["typestr"], pointer, strides)
    raise ValueError("no device array lies at the address that __cuda_array_interface__ gives")


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
    if out is None:
        return np.asarray(a, order=order)
    np.copyto(out, a)
    return out


def ascontiguousarray(a: Any, dtype: Any = None) -> Any:
    a = device_array(a)
    kind = a.dtype if dtype is None else element_type(dtype)
    if kind == a.dtype and a.flags.c_contiguous:
        return a if a.ndim else a.ravel()
    return compute("ascontiguousarray", lambda v: np.ascontiguousarray(v, kind), a)


def copy(a: Any, order: Any = "K") -> Any:
    return device_array(a).copy(order)


def get_array_module(*args: Any) -> Any:
    return sys.modules["cupy"] if any(map(is_device, args)) else np


def empty(shape: Any, dtype: Any = float, order: Any = "C") -> Any:
    return ndarray(shape, dtype, order=order)


def empty_like(
    prototype: Any, dtype: Any = None, order: Any = "K", subok: Any = None, shape: Any = None
) -> Any:
    a = device_array(prototype, "prototype")
    extents = a.shape if shape is None else shape
    fortran = order == "F" or (a.flags.fnc and order in ("K", "A") and shape is None)
    return ndarray(extents, a.dtype if dtype is None else dtype, order="F" if fortran else "C")


def filled(a: Any, value: Any) -> Any:
    """The array after `fill`."""
    a.fill(value)
    return a


def zeros(shape: Any, dtype: Any = float, order: Any = "C") -> Any:
    if machines.current().stream.late:  # until it is the memset's turn there is poison
        return filled(empty(shape, dtype, order), 0)
    array = ndarray._cleared(shape, dtype, order)
    update("fill", lambda target: None, array)
    return array


def zeros_like(
    a: Any, dtype: Any = None, order: Any = "K", subok: Any = None, shape: Any = None
) -> Any:
    return filled(empty_like(a, dtype, order, subok, shape), 0)


def ones(shape: Any, dtype: Any = float, order: Any = "C") -> Any:
    return filled(empty(shape, dtype, order), 1)


def ones_like(
    a: Any, dtype: Any = None, order: Any = "K", subok: Any = None, shape: Any = None
) -> Any:
    return filled(empty_like(a, dtype, order, subok, shape), 1)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C") -> Any:
    if dtype is None:
        dtype = fill_value.dtype if is_device(fill_value) else np.asarray(fill_value).dtype
    return filled(empty(shape, dtype, order), fill_value)


def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: Any = "K",
    subok: Any = None,
    shape: Any = None,
) -> Any:
    return filled(empty_like(a, dtype, order, subok, shape), fill_value)


def on_host(values: Iterable[Any], name: str) -> None:
    """Refuse device arrays, whose values CuPy would have to fetch."""
    if any(map(is_device, values)):
        raise TypeError(f"{name} takes numbers on the host; a cupy.ndarray would synchronize")


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Any:
    on_host((start, stop, step), "arange")
    first, last = (0, start) if stop is None else (start, stop)
    return compute("arange", lambda: np.arange(first, last, step, dtype=dtype))


def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True) -> Any:
    on_host((start, stop, num), "linspace")
    return compute("linspace", lambda: np.linspace(start, stop, num, endpoint))


def eye(N: int, M: Any = None, k: int = 0, dtype: Any = float) -> Any:  # noqa: N803
    return compute("eye", lambda: np.eye(N, M, k, dtype))
