"""CuPy's universal functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu_double.element_types import element_type
from gpu_double.operations import into, operand, update

ADDED_AT = "ilqILQefd"
"""Types of which CuPy can add to elements given by index: atomicAdd has them."""


def add_reversed(target: Any, indices: Any, values: Any) -> None:
    """Atomic additions, in another order than NumPy's: a sum that it changes is not exact."""
    if isinstance(indices, np.ndarray) and indices.ndim == 1:
        values = np.broadcast_to(values, indices.shape + target.shape[1:])
        np.add.at(target, indices[::-1], values[::-1])
    else:
        np.add.at(target, indices, values)


class ufunc:  # noqa: N801 - CuPy's name
    """A function applied element by element."""

    def __init__(self, name: str) -> None:
        self._numpy: np.ufunc = getattr(np, name)
        self.name = f"cupy_{name}"
        self.__name__ = self.name
        self.nin = self._numpy.nin
        self.nout = self._numpy.nout
        self.nargs = self.nin + self.nout

    def __repr__(self) -> str:
        return f"<ufunc '{self.name}'>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        dtype = kwargs.pop("dtype", None)
        casting = kwargs.pop("casting", "same_kind")
        if kwargs:
            raise TypeError(f"Wrong arguments {kwargs}")
        if not self.nin <= len(args) <= self.nargs:
            raise TypeError(f"Wrong number of arguments for {self.name!r}.")
        inputs, outputs = args[: self.nin], args[self.nin :]
        if out is not None and outputs:
            raise ValueError("Cannot specify 'out' as both a positional and keyword argument")
        out = out if out is not None else (outputs[0] if len(outputs) == 1 else outputs or None)
        if isinstance(out, tuple) and len(out) == 1:
            (out,) = out
        options = {} if dtype is None else {"dtype": element_type(dtype), "casting": casting}

        def apply(*views: Any) -> Any:
            return self._numpy(*views, **options)

        name = self.name.removeprefix("cupy_")
        return into(out, name, apply, *map(operand, inputs), casting=casting)

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        if self.name != "cupy_add":
            raise NotImplementedError(f"`{self.name}.at` is not supported here")
        if a.dtype.char not in ADDED_AT:
            raise TypeError(
                "cupy.add.at only supports int32, int64, float16, float32, float64, uint32, "
                "uint64 as data type"
            )
        update("add.at", add_reversed, a, indices, operand(b))

    def reduce(
        self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        if self.name != "cupy_add":
            raise NotImplementedError(f"`{self.name}.reduce` is not supported yet")
        return array.sum(axis, dtype, out, keepdims)

    def accumulate(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        if self.name != "cupy_add":
            raise NotImplementedError(f"`{self.name}.accumulate` is not supported yet")
        return array.cumsum(axis, dtype, out)

    def reduceat(
        self, array: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None
    ) -> Any:
        if self.name != "cupy_add":
            raise NotImplementedError(f"`{self.name}.reduceat` is not supported yet")
        return into(
            out, "add.reduceat", lambda a, i: np.add.reduceat(a, i, axis, dtype), array, indices
        )


NAMES = [
    "absolute",
    "add",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "cbrt",
    "ceil",
    "divide",
    "divmod",
    "equal",
    "exp",
    "fabs",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "greater",
    "greater_equal",
    "hypot",
    "invert",
    "isfinite",
    "isinf",
    "isnan",
    "left_shift",
    "less",
    "less_equal",
    "log",
    "log2",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "power",
    "reciprocal",
    "remainder",
    "right_shift",
    "rint",
    "sign",
    "sqrt",
    "square",
    "subtract",
    "true_divide",
    "trunc",
]

UFUNCS = {name: ufunc(name) for name in NAMES}
