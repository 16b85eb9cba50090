"""Arithmetic as a GPU does it: float sums in another order than NumPy's, careful casts.

Sums of floats come out in whatever order a parallel reduction adds them. Here they are added in
another order than NumPy's on purpose, so that a result that depends on it differs from NumPy's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_double import machine as machines

CHUNK = 61
"""Elements that a running sum adds before it looks at what came before them."""


def reduction(name: str, values: NDArray[Any], **options: Any) -> Any:
    """The reduction of that name of NumPy's arrays."""
    given = {key: value for key, value in options.items() if value is not None}
    if values.dtype.kind in "fc" and values.size:
        if name == "cumsum" and values.ndim == 1:
            return chunked_running_sum(values, given.get("dtype", values.dtype))
        if name == "sum" and not isinstance(given.get("axis"), tuple):
            return one_by_one(values, **given)
        if name == "mean" and not isinstance(given.get("axis"), tuple):
            total = one_by_one(values, **given)
            return total / total.dtype.type(values.size // max(total.size, 1))
    return getattr(values, name)(**given)


def one_by_one(
    values: NDArray[Any], axis: Any = None, dtype: Any = None, keepdims: bool = False
) -> Any:
    """The sum, added from the last to the first: NumPy adds halves of halves."""
    if axis is None:
        total = np.add.accumulate(values.ravel()[::-1], dtype=dtype)[-1]
        return total.reshape((1,) * values.ndim) if keepdims else total
    running = np.add.accumulate(np.flip(values, axis), axis, dtype)
    last = running.take([-1], axis)
    return last if keepdims else last.squeeze(axis)


def chunked_running_sum(values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """The running sum as a parallel scan computes it: inside chunks, then over their totals."""
    padded = np.zeros(-(-len(values) // CHUNK) * CHUNK, dtype)
    padded[: len(values)] = values
    inside = padded.reshape(-1, CHUNK).cumsum(axis=1)
    before = np.concatenate([np.zeros(1, dtype), inside[:, -1].cumsum()[:-1]])
    sums: NDArray[Any] = (inside + before[: len(inside), None]).ravel()[: len(values)]
    return sums


def cast(values: NDArray[Any], dtype: np.dtype[Any], order: Any) -> NDArray[Any]:
    """The values in another type; floats that an integer type cannot hold are a mistake.

    CUDA saturates them, processors do as they like.
    """
    if values.dtype.kind == "f" and dtype.kind in "iu" and values.size:
        limits = np.iinfo(dtype)
        low, high = values.min(), values.max()
        if not (low > float(limits.min) - 1 and high < float(limits.max) + 1):
            raise machines.current().misuse(
                f"astype({dtype}) of values {low} to {high}: CUDA and NumPy differ beyond the type"
            )
    return values.astype(dtype, order)


def bin_counts(values: NDArray[Any], weights: Any, minlength: int) -> NDArray[Any]:
    """`np.bincount`, adding weights in another order."""
    if weights is not None:
        values, weights = values[::-1], weights[::-1]
    return np.bincount(values, weights, minlength)


def truncated(values: NDArray[Any]) -> NDArray[Any]:
    """float32 rounded to 10 bits behind the binary point, as TF32 keeps them."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def multiply_matrices(a: NDArray[Any], b: NDArray[Any]) -> Any:
    """The matrix product as the device at hand computes it; floats need cuBLAS."""
    model = machines.current().model
    if a.dtype.kind in "fc" or b.dtype.kind in "fc":
        if not model.cublas:
            raise ImportError('Failure finding "libcublasLt.so.13 or libcublasLt.so.12"')
        if model.rounds_products and a.dtype == b.dtype == np.float32:
            a, b = truncated(a), truncated(b)
        if b.ndim > 1:
            return a[..., ::-1] @ b[..., ::-1, :]
    return a @ b
