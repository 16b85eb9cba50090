"""`cupy.ndarray`: NumPy's values in counted device memory, with CuPy's rules and methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpu_double import machine as machines
from gpu_double.memory import Memory, MemoryPointer
from gpu_double.operations import SCALARS, compute, is_device, update
from gpu_double.transfers import download, upload

MODULE = "cupy"

SUPPORTED = "?bhilqBHILQefdFD"
"""Types of elements; CuPy has no others, structures left out."""


def element_type(dtype: DTypeLike) -> np.dtype[Any]:
    """The dtype, if a device array can have it."""
    result = np.dtype(dtype)
    if result.char not in SUPPORTED or not result.isnative:
        raise ValueError(f"Unsupported dtype {result}")
    return result


def no_duplicates(key: Any, shape: tuple[int, ...], values: Any) -> None:
    """Assigning different values to one element: CuPy stores any of them."""
    places = np.arange(np.prod(shape, dtype=int)).reshape(shape)[key]
    order = np.argsort(places, axis=None, kind="stable")
    sorted_places = places.ravel()[order]
    sorted_values = np.broadcast_to(values, places.shape).ravel()[order]
    same = sorted_places[1:] == sorted_places[:-1]
    if (same & (sorted_values[1:] != sorted_values[:-1])).any():
        raise machines.current().misuse(
            "an assignment by index array stores different values in one element; "
            "which one stays is undefined in CuPy"
        )


def has_arrays(key: Any) -> bool:
    """Whether an index is advanced: it holds arrays or lists."""
    return any(is_device(k) or isinstance(k, list) for k in parts(key))


def parts(key: Any) -> tuple[Any, ...]:
    """An index as a tuple."""
    return key if isinstance(key, tuple) else (key,)


def has_masks(key: Any) -> bool:
    """Whether an index holds a boolean array."""
    return any(is_device(k) and k.dtype == bool for k in parts(key))


def check_index(key: Any) -> None:
    """Refuse what CuPy would silently send to the device."""
    for part in parts(key):
        if isinstance(part, (np.ndarray, list)):
            raise TypeError(
                f"an index is a {type(part).__name__}, which CuPy would upload implicitly; "
                "use cupy.asarray"
            )


class ndarray:  # noqa: N801 - CuPy's name
    """An array on the device."""

    __slots__ = ("__weakref__", "_memory", "_values")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    _values: NDArray[Any]
    _memory: Memory

    def __init__(
        self,
        shape: Any,
        dtype: DTypeLike = float,
        memptr: MemoryPointer | None = None,
        strides: Any = None,
        order: str = "C",
    ) -> None:
        kind = element_type(dtype)
        extents = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        if not all(isinstance(extent, (int, np.integer)) for extent in extents):
            raise TypeError(f"an array's shape must be integers on the host, not {shape}")
        if any(extent < 0 for extent in extents):
            raise ValueError("Negative dimensions are not allowed")
        nbytes = int(np.prod(extents, dtype=object)) * kind.itemsize
        offset = 0
        if memptr is None:
            self._memory = machines.current().allocate(nbytes)
        else:
            self._memory, offset = memptr.mem, memptr._offset
        buffer = self._memory.block.bytes
        layout: Any = order or "C"
        self._values = np.ndarray(extents, kind, buffer, offset, strides, layout)

    @classmethod
    def _view(cls, values: NDArray[Any], memory: Memory) -> ndarray:
        """An array over memory that exists."""
        array = cls.__new__(cls)
        array._values, array._memory = values, memory
        return array

    def _like(self, values: NDArray[Any]) -> ndarray:
        """Another view of this array's memory."""
        return self._view(values, self._memory)

    def _reshaped(self, name: str, function: Callable[[Any], Any]) -> ndarray:
        """A view where NumPy makes one, otherwise a copy."""
        values = function(self._values)
        if values.size == 0 or np.may_share_memory(values, self._values):
            return self._like(values)
        result: ndarray = compute(name, function, self)
        return result

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    @shape.setter
    def shape(self, new: Any) -> None:
        self._values = self._values.reshape(new)

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
    def flags(self) -> Any:
        return self._values.flags

    @property
    def base(self) -> Any:
        return None

    @property
    def data(self) -> MemoryPointer:
        offset = self._values.ctypes.data - self._memory.ptr if self.size else 0
        return MemoryPointer(self._memory, offset)

    @property
    def device(self) -> Any:
        from gpu_double.cuda_module import Device

        return Device(self._memory.device_id)

    @property
    def T(self) -> ndarray:  # noqa: N802
        return self._like(self._values.T)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return len(self._values)

    def __iter__(self) -> Iterator[ndarray]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # Between host and device

    def get(
        self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True
    ) -> NDArray[Any]:
        if out is None:
            out = np.empty(self.shape, self.dtype, order if order != "A" else "C")  # type: ignore[call-overload]
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
        if self._values.flags.c_contiguous:
            arr = np.ascontiguousarray(arr).reshape(self.shape)
        elif self._values.flags.f_contiguous:
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

    def __array__(self, dtype: Any = None) -> NDArray[Any]:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from gpu_double import ufuncs

        function = ufuncs.UFUNCS.get(ufunc.__name__)
        if function is None:
            return NotImplemented
        if "out" in kwargs:
            (kwargs["out"],) = kwargs["out"]
        return (function if method == "__call__" else getattr(function, method))(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from gpu_double import functions

        function = getattr(functions, func.__name__, None)
        if func.__name__ not in functions.__all__ or function is None:
            return NotImplemented
        return function(*args, **kwargs)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "descr": self.dtype.descr,
            "stream": machines.current().stream.ptr or 1,
            "version": 3,
            "strides": None if self._values.flags.c_contiguous else self.strides,
            "data": (self.data.ptr, False),
        }

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: Any = None,
        dl_device: Any = None,
        copy: Any = None,
    ) -> Any:
        return Capsule(self)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self._memory.device_id

    # Elements

    def __getitem__(self, key: Any) -> Any:
        check_index(key)
        if not has_arrays(key):
            if any(isinstance(k, (bool, np.bool_)) for k in parts(key)):
                raise TypeError("a bool as index is an upload in CuPy")
            if any(
                is_device(x)
                for k in parts(key)
                if isinstance(k, slice)
                for x in (k.start, k.stop, k.step)
            ):
                raise TypeError("slice indices must be integers or None")
            values = self._values[key]
            if not isinstance(values, np.ndarray):
                values = self._values[(*parts(key), ...)]
            return self._like(values)
        return compute("getitem", lambda a, k: a[k], self, key, waits=has_masks(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        check_index(key)
        if not is_device(value) and not isinstance(value, SCALARS):
            raise TypeError(f"a device array takes device arrays and scalars, not {type(value)}")

        def store(target: Any, place: Any, new: Any) -> None:
            if has_integers(place):
                no_duplicates(place, target.shape, new)
            target[place] = new

        if not is_device(value):
            value = weak(value, self.dtype)
        update("setitem", store, self, key, value)

    def take(self, indices: Any, axis: Any = None, out: Any = None) -> Any:
        from gpu_double.functions import take

        return take(self, indices, axis, out)

    def fill(self, value: Any) -> None:
        if is_device(value):
            if value.shape != ():
                raise ValueError("non-scalar cupy.ndarray cannot be used for fill")
        else:
            value = np.asarray(value, self.dtype)[()]
        update("fill", lambda target, new: np.copyto(target, new, casting="unsafe"), self, value)

    # Shape and type

    def reshape(self, *shape: Any, order: str = "C", copy: Any = None) -> ndarray:
        extents = shape[0] if len(shape) == 1 else shape
        return self._reshaped("reshape", lambda a: a.reshape(extents, order=order))

    def ravel(self, order: str = "C") -> ndarray:
        return self._reshaped("ravel", lambda a: a.ravel(order))

    def flatten(self, order: str = "C") -> Any:
        return compute("flatten", lambda a: a.flatten(order), self)

    def squeeze(self, axis: Any = None) -> ndarray:
        return self._like(self._values.squeeze(axis))

    def transpose(self, *axes: Any) -> ndarray:
        return self._like(self._values.transpose(*axes))

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return self._like(self._values.swapaxes(axis1, axis2))

    def view(self, dtype: Any = None, array_class: Any = None) -> ndarray:
        return self._like(self._values.view(element_type(dtype or self.dtype)))

    def copy(self, order: Any = "C") -> Any:
        return compute("copy", lambda a: a.copy(order), self)

    def astype(
        self,
        dtype: Any,
        order: Any = "K",
        casting: Any = None,
        subok: Any = None,
        copy: bool = True,
    ) -> Any:
        if casting is not None:
            raise TypeError("casting is not supported yet")
        if subok is not None:
            raise TypeError("subok is not supported yet")
        kind = element_type(dtype)
        if not copy and kind == self.dtype:
            return self
        return compute("astype", lambda a: a.astype(kind, order), self)

    # Reductions

    def _reduce(self, name: str, out: Any, **options: Any) -> Any:
        given = {key: value for key, value in options.items() if value is not None}
        return into(out, name, lambda a: getattr(a, name)(**given), self)

    def sum(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        return self._reduce("sum", out, axis=axis, dtype=dtype, keepdims=keepdims)

    def prod(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = None
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

    def cumprod(self, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        return self._reduce("cumprod", out, axis=axis, dtype=dtype)

    def clip(self, min: Any = None, max: Any = None, out: Any = None) -> Any:
        from gpu_double.functions import clip

        return clip(self, min, max, out)

    def round(self, decimals: int = 0, out: Any = None) -> Any:
        return into(out, "round", lambda a: a.round(decimals), self)

    # Order

    def argsort(self, axis: Any = -1, kind: Any = None) -> Any:
        check_sort(kind)
        return compute("argsort", lambda a: a.argsort(axis, kind="stable"), self)

    def sort(self, axis: int = -1, kind: Any = None) -> None:
        check_sort(kind)
        if not self._values.flags.c_contiguous:
            raise NotImplementedError("Sorting non-contiguous array is not supported.")
        update("sort", lambda target: target.sort(axis, kind="stable"), self)

    def searchsorted(self, v: Any, side: Any = "left", sorter: Any = None) -> Any:
        from gpu_double.functions import searchsorted

        return searchsorted(self, v, side, sorter)

    def nonzero(self) -> Any:
        if not self.ndim:
            raise ValueError("Calling nonzero on 0d arrays is not allowed.")
        return compute("nonzero", lambda a: a.nonzero(), self, waits=True)

    def repeat(self, repeats: Any, axis: Any = None) -> Any:
        from gpu_double.functions import repeat

        return repeat(self, repeats, axis)

    def dot(self, b: Any, out: Any = None) -> Any:
        from gpu_double.functions import dot

        return dot(self, b, out)


def check_sort(kind: Any) -> None:
    """CuPy sorts stably, and accepts no other kind."""
    if kind is not None and kind != "stable":
        raise ValueError("kind can only be None or 'stable'")


def has_integers(key: Any) -> bool:
    """Whether a NumPy index holds arrays of integers."""
    return any(isinstance(k, np.ndarray) and k.dtype != bool for k in parts(key))


def weak(value: Any, dtype: np.dtype[Any]) -> Any:
    """A scalar as an element of that type, refused where CuPy refuses it."""
    return np.asarray(value, dtype)[()]


def into(out: Any, name: str, function: Callable[..., Any], *operands: Any) -> Any:
    """A result in a new array, or written to `out`."""
    if out is None:
        return compute(name, function, *operands)
    if not is_device(out):
        raise TypeError("Output arguments type must be cupy.ndarray")

    def write(target: Any, *views: Any) -> None:
        result = function(*views)
        if np.shape(result) != target.shape:
            raise ValueError("Out shape is mismatched")
        np.copyto(target, result, casting="same_kind")

    update(name, write, out, *operands)
    return out


class Capsule:
    """What `__dlpack__` hands over."""

    def __init__(self, array: ndarray) -> None:
        self.array = array


def binary(name: str, swapped: bool = False) -> Callable[[ndarray, Any], Any]:
    """An operator as a method."""

    def method(self: ndarray, other: Any) -> Any:
        from gpu_double import functions, ufuncs

        if not is_device(other) and not isinstance(other, (*SCALARS, np.ndarray)):
            return NotImplemented
        function = ufuncs.UFUNCS.get(name) or getattr(functions, name)
        return function(other, self) if swapped else function(self, other)

    return method


def in_place(name: str) -> Callable[[ndarray, Any], ndarray]:
    """An in-place operator as a method."""

    def method(self: ndarray, other: Any) -> ndarray:
        from gpu_double import ufuncs

        result: ndarray = ufuncs.UFUNCS[name](self, other, self)
        return result

    return method


def unary(name: str) -> Callable[[ndarray], Any]:
    """A unary operator as a method."""

    def method(self: ndarray) -> Any:
        from gpu_double import ufuncs

        return ufuncs.UFUNCS[name](self)

    return method


OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "lshift": "left_shift",
    "rshift": "right_shift",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "matmul": "matmul",
}
COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "eq": "equal",
    "ne": "not_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
for _short, _name in OPERATORS.items():
    setattr(ndarray, f"__{_short}__", binary(_name))
    setattr(ndarray, f"__r{_short}__", binary(_name, swapped=True))
    if _name != "matmul":
        setattr(ndarray, f"__i{_short}__", in_place(_name))
for _short, _name in COMPARISONS.items():
    setattr(ndarray, f"__{_short}__", binary(_name))
for _short, _name in {"neg": "negative", "abs": "absolute", "invert": "invert"}.items():
    setattr(ndarray, f"__{_short}__", unary(_name))
ndarray.__module__ = MODULE
