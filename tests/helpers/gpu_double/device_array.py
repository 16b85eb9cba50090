"""`cupy.ndarray`: NumPy's values in counted device memory, with CuPy's rules and methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpu_double import machine as machines
from gpu_double.element_types import element_type
from gpu_double.indexing import get_item, set_item
from gpu_double.memory import Memory, MemoryPointer
from gpu_double.numerics import cast, multiply_matrices, reduction
from gpu_double.operations import (
    compute,
    device_array,
    into,
    is_device,
    operand,
    update,
)
from gpu_double.operators import Operators
from gpu_double.protocols import Protocols
from gpu_double.transfers import download, upload


class Flags:
    """Layout, by CuPy's names for it."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.c_contiguous = values.flags.c_contiguous
        self.f_contiguous = values.flags.f_contiguous
        self.fnc = values.flags.fnc
        self.forc = values.flags.forc
        self.owndata = True

    def __getitem__(self, name: str) -> bool:
        flag: bool = getattr(self, name.lower())
        return flag


def extents_of(shape: Any) -> tuple[int, ...]:
    """A shape as a tuple."""
    extents = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if not all(isinstance(extent, (int, np.integer)) for extent in extents):
        raise TypeError(f"an array's shape must be integers on the host, not {shape}")
    if any(extent < 0 for extent in extents):
        raise ValueError("Negative dimensions are not allowed")
    return extents


def bytes_of(extents: tuple[int, ...], kind: np.dtype[Any]) -> int:
    """The bytes of a contiguous array."""
    return int(np.prod(extents, dtype=object)) * kind.itemsize


class Owner:
    """An array's memory, in a base class: an array that ends lets go of its values before it."""

    __slots__ = ("_memory",)

    _memory: Memory


class ndarray(Owner, Operators, Protocols):  # noqa: N801 - CuPy's name
    """An array on the device."""

    __slots__ = ("__weakref__", "_values")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    _values: NDArray[Any]

    def __init__(
        self,
        shape: Any,
        dtype: DTypeLike = float,
        memptr: MemoryPointer | None = None,
        strides: Any = None,
        order: Any = "C",
    ) -> None:
        kind, extents, offset = element_type(dtype), extents_of(shape), 0
        if memptr is None:
            self._memory = machines.current().allocate(bytes_of(extents, kind))
        else:
            self._memory, offset = memptr.mem, memptr._offset
        buffer = self._memory.block.bytes
        self._values = np.ndarray(extents, kind, buffer, offset, strides, order or "C")

    @classmethod
    def _cleared(cls, shape: Any, dtype: DTypeLike, order: Any) -> ndarray:
        """An array of zeros that nobody had to write."""
        nbytes = bytes_of(extents_of(shape), element_type(dtype))
        memory = machines.current().allocate(nbytes, cleared=True)
        return cls(shape, dtype, MemoryPointer(memory, 0), order=order)

    @classmethod
    def _view(cls, values: NDArray[Any], memory: Memory) -> ndarray:
        """An array over memory that exists."""
        array = cls.__new__(cls)
        array._values, array._memory = values, memory
        return array

    def _like(self, values: NDArray[Any]) -> ndarray:
        """Another view of this array's memory."""
        return self._view(values, self._memory)

    def _viewed(self, name: str, function: Callable[[Any], Any]) -> Any:
        """A view where NumPy makes one, otherwise a copy."""
        values = function(self._values)
        if values.size == 0 or np.may_share_memory(values, self._values):
            return self._like(values)
        return compute(name, function, self)

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._values.dtype

    @property
    def ndim(self) -> int:
        return self._values.ndim

    @property
    def size(self) -> int:
        return self._values.size

    @property
    def itemsize(self) -> int:
        return self._values.itemsize

    @property
    def nbytes(self) -> int:
        return self._values.nbytes

    @property
    def strides(self) -> tuple[int, ...]:
        return self._values.strides

    @property
    def flags(self) -> Flags:
        return Flags(self._values)

    @property
    def data(self) -> MemoryPointer:
        offset = self._values.ctypes.data - self._memory.ptr if self.size else 0
        return MemoryPointer(self._memory, offset)

    @property
    def device(self) -> Any:
        from gpu_double.cuda_runtime import Device

        return Device(self._memory.device_id)

    @property
    def T(self) -> ndarray:  # noqa: N802
        return self._like(self._values.T)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        return get_item(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        set_item(self, key, value)

    # Between host and device

    def get(
        self, stream: Any = None, order: Any = "C", out: Any = None, blocking: bool = True
    ) -> NDArray[Any]:
        if out is None:
            fortran = order == "F" or (order == "A" and self.flags.fnc)
            out = np.empty(self.shape, self.dtype, "F" if fortran else "C")
        elif not isinstance(out, np.ndarray):
            raise TypeError("Only numpy.ndarray can be obtained from cupy.ndarray")
        elif out.dtype != self.dtype:
            raise TypeError(f"{out.dtype} array cannot be obtained from {self.dtype} array")
        elif out.shape != self.shape:
            raise ValueError(
                f"Shape mismatch. Expected shape: {self.shape}, actual shape: {out.shape}"
            )
        elif not (out.flags.c_contiguous or out.flags.f_contiguous):
            raise RuntimeError("`out` cannot be specified when copying to non-contiguous ndarray")
        chosen = machines.current().stream if stream is None else stream._stream
        download(self, out, chosen, blocking)
        result: NDArray[Any] = out
        return result

    def set(self, arr: Any, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if self.flags.c_contiguous:
            arr = np.ascontiguousarray(arr).reshape(self.shape)
        elif self.flags.f_contiguous:
            arr = np.asfortranarray(arr)
        else:
            raise RuntimeError("Cannot set to non-contiguous array")
        upload(arr, self, machines.current().stream if stream is None else stream._stream)

    def item(self) -> Any:
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: Any = "C") -> bytes:
        return self.get().tobytes(order)

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. "
                "Use a.any() or a.all()"
            )
        return bool(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __format__(self, format_spec: str) -> str:
        return format(self.get(), format_spec)

    # Shape and type

    def reshape(self, *shape: Any, order: Any = "C", copy: Any = None) -> Any:
        extents = shape[0] if len(shape) == 1 else shape
        return self._viewed("reshape", lambda a: a.reshape(extents, order=order))

    def ravel(self, order: Any = "C") -> Any:
        return self._viewed("ravel", lambda a: a.ravel(order))

    def flatten(self, order: Any = "C") -> Any:
        return compute("flatten", lambda a: a.flatten(order), self)

    def squeeze(self, axis: Any = None) -> ndarray:
        return self._like(self._values.squeeze(axis))

    def transpose(self, *axes: Any) -> ndarray:
        return self._like(self._values.transpose(*axes))

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return self._like(self._values.swapaxes(axis1, axis2))

    def view(self, dtype: Any = None, type: Any = None) -> ndarray:
        return self._like(self._values.view(element_type(dtype or self.dtype)))

    def copy(self, order: Any = "C") -> Any:
        return compute("copy", lambda a: a.copy(order), self)

    def astype(
        self,
        dtype: Any,
        order: Any = "K",
        casting: Any = None,
        subok: Any = None,
        copy: Any = True,
    ) -> Any:
        if casting is not None:
            raise TypeError("casting is not supported yet")
        if subok is not None:
            raise TypeError("subok is not supported yet")
        kind = element_type(dtype)
        if not copy and kind == self.dtype:
            return self
        return compute("astype", lambda a: cast(a, kind, order), self)

    def fill(self, value: Any) -> None:
        if is_device(value):
            if value.shape != ():
                raise ValueError("non-scalar cupy.ndarray cannot be used for fill")
        else:
            value = np.asarray(value, self.dtype)[()]
        update("fill", lambda target, new: np.copyto(target, new, casting="unsafe"), self, value)

    # Reductions

    def _reduce(self, name: str, out: Any, **options: Any) -> Any:
        return into(out, name, lambda a: reduction(name, a, **options), self)

    def sum(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        return self._reduce("sum", out, axis=axis, dtype=dtype, keepdims=keepdims)

    def prod(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        return self._reduce("prod", out, axis=axis, dtype=dtype, keepdims=keepdims)

    def mean(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        return self._reduce("mean", out, axis=axis, dtype=dtype, keepdims=keepdims)

    def min(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return self._reduce("min", out, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return self._reduce("max", out, axis=axis, keepdims=keepdims)

    def any(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return self._reduce("any", out, axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return self._reduce("all", out, axis=axis, keepdims=keepdims)

    def argmin(
        self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False
    ) -> Any:
        return self._reduce("argmin", out, axis=axis, keepdims=keepdims)

    def argmax(
        self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False
    ) -> Any:
        return self._reduce("argmax", out, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        return self._reduce("cumsum", out, axis=axis, dtype=dtype)

    # Elements

    def take(self, indices: Any, axis: Any = None, out: Any = None) -> Any:
        if not is_device(indices) and not isinstance(indices, (int, np.integer)):
            raise TypeError("take would upload its indices implicitly: use cupy.asarray")
        if out is not None and out.dtype != self.dtype:
            raise TypeError("Output dtype mismatch")
        return into(out, "take", lambda a, i: a.take(i, axis), self, indices)

    def clip(self, min: Any = None, max: Any = None, out: Any = None) -> Any:
        low, high = (x if x is None else operand(x) for x in (min, max))
        return into(out, "clip", lambda a, x, y: np.clip(a, x, y), self, low, high)

    def round(self, decimals: int = 0, out: Any = None) -> Any:
        return into(out, "round", lambda a: a.round(decimals), self)

    def repeat(self, repeats: Any, axis: Any = None) -> Any:
        if is_device(repeats):  # 14.2 takes one, which synchronizes; 14.0 does not
            raise ValueError("cupy.ndaray cannot be specified as `repeats` argument.")
        if not isinstance(repeats, (int, np.integer, list, tuple)):
            raise ValueError(f"'repeats' should be int or sequence: {repeats}")
        return compute("repeat", lambda a: a.repeat(repeats, axis), self)

    def argsort(self, axis: Any = -1, kind: Any = None) -> Any:
        check_sort(kind)
        scratch = 2 * self.nbytes + 8 * self.size
        return compute("argsort", lambda a: a.argsort(axis, kind="stable"), self, scratch=scratch)

    def sort(self, axis: int = -1, kind: Any = None) -> None:
        check_sort(kind)
        if not self.flags.c_contiguous:
            raise NotImplementedError("Sorting non-contiguous array is not supported.")
        update("sort", lambda target: target.sort(axis, kind="stable"), self)

    def searchsorted(self, v: Any, side: Any = "left", sorter: Any = None) -> Any:
        if not is_device(v):
            raise NotImplementedError("Only ndarrays are supported for v")
        if sorter is not None:
            raise NotImplementedError("the stand-in's searchsorted has no sorter")
        return compute("searchsorted", lambda a, x: a.searchsorted(x, side), self, v)

    def nonzero(self) -> Any:
        if not self.ndim:
            raise ValueError("Calling nonzero on 0d arrays is not allowed.")
        scratch = self.size * (self.dtype != bool) + self.size // 128
        # NumPy looks through booleans several times faster than through numbers.
        return compute("nonzero", lambda a: (a != 0).nonzero(), self, waits=True, scratch=scratch)

    def dot(self, b: Any, out: Any = None) -> Any:
        return into(out, "dot", multiply_matrices, self, device_array(b))


ndarray.__module__ = "cupy"


def check_sort(kind: Any) -> None:
    """CuPy sorts stably, and accepts no other kind."""
    if kind is not None and kind != "stable":
        raise ValueError("kind can only be None or 'stable'")
