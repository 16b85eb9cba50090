"""What device arrays tell NumPy and other libraries."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from gpu_double import machine as machines
from gpu_double.ufuncs import UFUNCS


class Protocols:
    """The protocols of a device array."""

    __slots__ = ()

    def __array__(self: Any, dtype: Any = None) -> NDArray[Any]:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        function = UFUNCS.get(ufunc.__name__)
        if function is None:
            return NotImplemented
        if "out" in kwargs:
            (kwargs["out"],) = kwargs["out"]
        return (function if method == "__call__" else getattr(function, method))(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from gpu_double.functions import FUNCTIONS

        function = FUNCTIONS.get(func.__name__)
        return NotImplemented if function is None else function(*args, **kwargs)

    @property
    def __cuda_array_interface__(self: Any) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "descr": self.dtype.descr,
            "stream": machines.current().stream.ptr or 1,
            "version": 3,
            "strides": None if self.flags.c_contiguous else self.strides,
            "data": (self.data.ptr, False),
        }

    def __dlpack__(
        self: Any,
        *,
        stream: Any = None,
        max_version: Any = None,
        dl_device: Any = None,
        copy: Any = None,
    ) -> Any:
        return Capsule(self)

    def __dlpack_device__(self: Any) -> tuple[int, int]:
        return 2, self._memory.device_id


class Capsule:
    """What `__dlpack__` hands over."""

    def __init__(self, array: Any) -> None:
        self.array = array
