"""The errors of CUDA and CuPy, and the stand-in's own."""

from __future__ import annotations

import sys
from typing import Any

RUNTIME_ERRORS = {
    1: ("cudaErrorInvalidValue", "invalid argument"),
    2: ("cudaErrorMemoryAllocation", "out of memory"),
    35: (
        "cudaErrorInsufficientDriver",
        "CUDA driver version is insufficient for CUDA runtime version",
    ),
    100: ("cudaErrorNoDevice", "no CUDA-capable device is detected"),
    101: ("cudaErrorInvalidDevice", "invalid device ordinal"),
    600: ("cudaErrorNotReady", "device not ready"),
    700: ("cudaErrorIllegalAddress", "an illegal memory access was encountered"),
}
DRIVER_ERRORS = {
    1: ("CUDA_ERROR_INVALID_VALUE", "invalid argument"),
    500: ("CUDA_ERROR_NOT_FOUND", "named symbol not found"),
    700: ("CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"),
}


class CUDARuntimeError(RuntimeError):
    """The CUDA runtime failed; `status` is its code."""

    __module__ = "cupy_backends.cuda.api.runtime"

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(": ".join(RUNTIME_ERRORS[status]))


class CUDADriverError(RuntimeError):
    """The CUDA driver failed; `status` is its code."""

    __module__ = "cupy_backends.cuda.api.driver"

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(": ".join(DRIVER_ERRORS[status]))


class OutOfMemoryError(MemoryError):
    """The device's memory, or the pool's limit, is exhausted."""

    __module__ = "cupy.cuda.memory"

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        message = f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes"
        super().__init__(message + (f", limit set to: {limit:,} bytes)." if limit else ")."))


class CompileException(Exception):  # noqa: N818 - CuPy's name
    """NVRTC refused a text."""

    __module__ = "cupy.cuda.compiler"

    def __init__(self, msg: str, source: str, name: str, options: Any, backend: str = "nvrtc"):
        self._msg = msg
        self.source = source
        self.name = name
        self.options = options
        self.backend = backend
        super().__init__()

    def __str__(self) -> str:
        return self.get_message()

    def get_message(self) -> str:
        return self._msg

    def dump(self, f: Any = sys.stderr) -> None:
        f.write(f"{self.backend.upper()} compilation error: {self}\n{self.source}\n")


class MisuseError(AssertionError):
    """The stand-in saw what CuPy would let pass and a GPU would punish."""


class DynamicLibNotFoundError(RuntimeError):
    """A library of the CUDA toolkit is not installed (cuda.pathfinder's error)."""

    __module__ = "cuda.pathfinder._dynamic_libs.load_dl_common"
