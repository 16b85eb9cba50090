"""The operators of device arrays, each the array function that CuPy calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpu_double.numerics import multiply_matrices
from gpu_double.operations import SCALARS, device_array, into, is_device
from gpu_double.ufuncs import UFUNCS


class Operators:
    """What `add_operators` fills."""

    __slots__ = ()


def matmul(x1: Any, x2: Any, /, out: Any = None) -> Any:
    """The product of two device matrices; no scalars."""
    return into(out, "matmul", multiply_matrices, device_array(x1, "x1"), device_array(x2, "x2"))


OPERATORS: dict[str, Callable[..., Any]] = {
    "add": UFUNCS["add"],
    "sub": UFUNCS["subtract"],
    "mul": UFUNCS["multiply"],
    "truediv": UFUNCS["true_divide"],
    "floordiv": UFUNCS["floor_divide"],
    "mod": UFUNCS["remainder"],
    "pow": UFUNCS["power"],
    "lshift": UFUNCS["left_shift"],
    "rshift": UFUNCS["right_shift"],
    "and": UFUNCS["bitwise_and"],
    "or": UFUNCS["bitwise_or"],
    "xor": UFUNCS["bitwise_xor"],
    "matmul": matmul,
}
COMPARISONS: dict[str, Callable[..., Any]] = {
    "lt": UFUNCS["less"],
    "le": UFUNCS["less_equal"],
    "eq": UFUNCS["equal"],
    "ne": UFUNCS["not_equal"],
    "gt": UFUNCS["greater"],
    "ge": UFUNCS["greater_equal"],
}
UNARY: dict[str, Callable[..., Any]] = {
    "neg": UFUNCS["negative"],
    "abs": UFUNCS["absolute"],
    "invert": UFUNCS["invert"],
}


def binary(function: Callable[..., Any], swapped: bool = False) -> Callable[[Any, Any], Any]:
    """An operator as a method; NumPy's arrays reach the function, which refuses them."""

    def method(self: Any, other: Any) -> Any:
        if not is_device(other) and not isinstance(other, (np.ndarray, *SCALARS)):
            return NotImplemented
        return function(other, self) if swapped else function(self, other)

    return method


def add_operators() -> None:
    """Give the class its operators."""
    for name, function in OPERATORS.items():
        setattr(Operators, f"__{name}__", binary(function))
        setattr(Operators, f"__r{name}__", binary(function, swapped=True))
        if name != "matmul":
            setattr(Operators, f"__i{name}__", lambda a, b, function=function: function(a, b, a))
    for name, function in COMPARISONS.items():
        setattr(Operators, f"__{name}__", binary(function))
    for name, function in UNARY.items():
        setattr(Operators, f"__{name}__", lambda a, function=function: function(a))


add_operators()
