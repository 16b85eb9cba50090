"""CuPy's functions that make few numbers of many, and products."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu_double import machine as machines
from gpu_double.numerics import bin_counts
from gpu_double.operations import compute, device_array
from gpu_double.operators import matmul

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "array_equal",
    "bincount",
    "count_nonzero",
    "cumsum",
    "diff",
    "dot",
    "matmul",
    "max",
    "mean",
    "min",
    "prod",
    "round",
    "sum",
]


def sum(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    return device_array(a).sum(axis, dtype, out, keepdims)


def prod(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    return device_array(a).prod(axis, dtype, out, keepdims)


def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    return device_array(a).mean(axis, dtype, out, keepdims)


def amin(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    return device_array(a).min(axis, out, keepdims)


def amax(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    return device_array(a).max(axis, out, keepdims)


def argmin(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    return device_array(a).argmin(axis, out, dtype, keepdims)


def argmax(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> Any:
    return device_array(a).argmax(axis, out, dtype, keepdims)


def any(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    return device_array(a).any(axis, out, keepdims)


def all(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    return device_array(a).all(axis, out, keepdims)


def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    return device_array(a).cumsum(axis, dtype, out)


def round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    return device_array(a).round(decimals, out)


def count_nonzero(a: Any, axis: Any = None) -> Any:
    return compute("count_nonzero", lambda v: np.count_nonzero(v, axis), device_array(a))


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    if prepend is not None or append is not None:
        raise NotImplementedError("the stand-in's diff has neither prepend nor append")
    return compute("diff", lambda v: np.diff(v, n, axis), device_array(a))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    operands = device_array(a1, "a1"), device_array(a2, "a2")
    return compute("array_equal", lambda a, b: np.array_equal(a, b), *operands)


def bincount(x: Any, weights: Any = None, minlength: Any = None) -> Any:
    """CuPy waits twice: is anything negative, and how large is the largest?"""
    x = device_array(x, "x")
    if x.ndim != 1:
        raise ValueError("object too deep for desired array")
    if x.dtype.kind == "f":
        raise TypeError("x must be int array")
    if weights is not None and x.shape != device_array(weights, "weights").shape:
        raise ValueError("The weights and list don't have the same length.")
    machines.current().stream.synchronize("bincount")
    count = int(minlength or 0)
    return compute(
        "bincount", lambda v, w: bin_counts(v, w, count), x, weights, waits=True, scratch=x.size
    )


def dot(a: Any, b: Any, out: Any = None) -> Any:
    return device_array(a).dot(b, out)


min = amin
max = amax
