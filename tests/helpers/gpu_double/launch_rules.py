"""What CuPy 14 and CUDA accept as a launch: arguments, geometry, options.

CuPy checks little: a Python int becomes a 64-bit parameter and silently fills half of two 32-bit
ones. Here every argument must be what the kernel's signature says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_double.cuda_on_cpu import Argument, Geometry, Module

MOST_THREADS = 1024
MOST_BLOCK = 1024, 1024, 64
MOST_GRID = 2**31 - 1, 65535, 65535
SHARED = 48 << 10
"""Bytes of shared memory that a kernel gets without asking for more."""

GARBAGE = b"\xcd" * 16
"""What lies behind a value that is shorter than the parameter."""


PYTHON_SCALARS: dict[type, Any] = {bool: np.bool_, float: np.float64, complex: np.complex128}


class LaunchError(RuntimeError):
    """CUDA would refuse the launch."""


def scalar(value: Any) -> np.generic:
    """By-value arguments as CuPy converts them (cupy/_core/_scalar.pyx)."""
    converted: Any
    if isinstance(value, np.ndarray):
        if value.size != 1:
            raise TypeError(
                f"You are trying to pass a numpy.ndarray of shape {value.shape} as a kernel "
                "parameter. Only numpy.ndarrays of size one can be passed by value. If you meant "
                "to pass a pointer to __global__ memory, you need to pass a cupy.ndarray instead."
            )
        converted = value.reshape(())[()]
    elif isinstance(value, np.generic):
        converted = value
    elif type(value) is int:
        converted = np.int64(value) if value < 2**63 else np.uint64(value)
    elif type(value) in PYTHON_SCALARS:
        converted = PYTHON_SCALARS[type(value)](value)
    else:
        raise TypeError(f"Unsupported type {type(value)}")
    result: np.generic = converted
    return result


def check_geometry(
    module: Module,
    name: str,
    grid: Any,
    block: Any,
    shared: int = 0,
    most_shared: int = SHARED,
) -> Geometry:
    """The launch's geometry, or the error that CuPy or CUDA would raise."""
    if name not in module.kernels:
        raise LaunchError(f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name}")
    for value, what in ((grid, "grid"), (block, "block")):
        if not isinstance(value, tuple):
            raise TypeError(
                f"Argument '{what}' has incorrect type (expected tuple, got {type(value).__name__})"
            )
        if any(int(extent) < 1 for extent in value):
            raise LaunchError(
                f"{name}: {what} {value} has an empty side, for which CuPy launches 1"
            )
    full_grid, full_block = three(grid), three(block)
    most = min(MOST_THREADS, module.bounds[name])
    threads = full_block[0] * full_block[1] * full_block[2]
    beyond = any(x > m for x, m in zip(full_block + full_grid, MOST_BLOCK + MOST_GRID, strict=True))
    if threads > most or beyond:
        raise LaunchError(
            f"CUDA_ERROR_INVALID_VALUE: invalid argument: {name} with grid {full_grid}, "
            f"block {full_block}; at most {most} threads"
        )
    if shared + module.static_shared > most_shared:
        raise LaunchError(
            f"CUDA_ERROR_INVALID_VALUE: invalid argument: {name} wants {shared} bytes of dynamic "
            f"shared memory and {module.static_shared} of static, the limit is {most_shared}"
        )
    return Geometry(full_grid, full_block, int(shared))


def three(extents: tuple[Any, ...]) -> tuple[int, int, int]:
    """Extents filled up with ones."""
    x, y, z = (int(extent) for extent in (*extents, 1, 1)[:3])
    return x, y, z


def check_arguments(
    name: str, signature: Sequence[str], values: Sequence[Any], memory_of: Any
) -> list[Argument]:
    """The arguments in the form that a launch takes.

    `memory_of` gives the NumPy view of what counts as device memory, and None for values.
    """
    if len(signature) != len(values):
        raise TypeError(f"{name}: {len(values)} arguments for {len(signature)} parameters")
    arguments: list[Argument] = []
    for position, (parameter, value) in enumerate(zip(signature, values, strict=True)):
        where = f"{name}: argument {position}"
        memory = memory_of(value)
        if memory is not None:
            check_memory(where, parameter, memory)
            arguments.append(memory)
        elif value is None:
            if parameter[0] != "p":
                raise TypeError(f"{where} is None, the parameter is {parameter}")
            arguments.append(bytes(8) + GARBAGE)
        else:
            arguments.append(check_scalar(where, parameter, value).tobytes() + GARBAGE)
    return arguments


def check_scalar(where: str, parameter: str, value: Any) -> np.generic:
    """The value as it is passed, if its bytes are what the parameter reads."""
    passed = scalar(value)
    if parameter != f"{passed.dtype.kind}{passed.dtype.itemsize}":
        raise TypeError(
            f"{where} is passed as {passed.dtype}, the parameter is {parameter}: "
            "give a NumPy scalar of the right type"
        )
    return passed


def check_memory(where: str, parameter: str, memory: NDArray[Any]) -> None:
    """A device array fits a pointer if type, alignment and contiguity do."""
    if parameter[0] != "p":
        raise TypeError(f"{where} is an array, the parameter is {parameter}")
    if not memory.flags.c_contiguous:
        raise TypeError(f"{where} is not C-contiguous; a kernel would ignore its strides")
    kind, size = parameter[1], int(parameter[2:].rstrip("c"))
    actual = memory.dtype
    if kind in "iufb":
        if (actual.kind, actual.itemsize) != (kind, size):
            raise TypeError(f"{where} has dtype {actual}, the kernel wants {kind}{size}*")
    elif size and memory.ndim and memory.shape[-1] * actual.itemsize % size:
        raise TypeError(
            f"{where} has rows of {memory.shape[-1] * actual.itemsize} bytes, "
            f"the kernel's elements have {size}"
        )
    if size and memory.ctypes.data % min(size, 16):
        raise LaunchError(f"{where} is misaligned for {parameter}")
