"""Devices: names, memory, contexts, and the errors of CUDA and CuPy as errors of quantgpu.

CuPy is imported when a GPU is looked for, never before.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from quantgpu.errors import DeviceError, DeviceMemoryError, QuantgpuError, UsageError

INSTALL = "pip install 'cupy-cuda13x[ctk]', or 'cupy-cuda12x[ctk]' for a driver older than 580"
"""The command that installs CuPy."""

LEAST_CUPY = 14
"""The oldest major version of CuPy that is supported."""


class Device(NamedTuple):
    """The CPU or a GPU, with a budget of device memory."""

    gpu: int | None = None
    """The number of a GPU; None is the CPU."""
    memory: int = 0
    """Bytes of device memory that may be used."""

    def __str__(self) -> str:
        return "cpu" if self.gpu is None else f"gpu:{self.gpu}"


CPU = Device()


UNITS = {
    **{"": 1, "B": 1},
    **{"KB": 10**3, "MB": 10**6, "GB": 10**9},
    **{"KIB": 2**10, "MIB": 2**20, "GIB": 2**30},
}
"""Unit, in capitals, to bytes."""


def parse_bytes(text: str) -> int:
    """Parse a number of bytes, with or without a unit.

    >>> parse_bytes("1.5 GB"), parse_bytes("512MiB")
    (1500000000, 536870912)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([a-zA-Z]*)", text.strip())
    if not found or found[2].upper() not in UNITS:
        raise UsageError(f"memory = {text!r} is not a number of bytes, such as 2GB or 512MiB")
    return int(float(found[1]) * UNITS[found[2].upper()])


SEVERAL_GPUS = r"gpu:(all|\d{1,4}(,\d{1,4})+)"
"""A regular expression for options that name several GPUs."""


def check_device(option: str) -> None:
    """Raise a UsageError unless `option` is ``auto``, ``cpu``, ``gpu`` or ``gpu:N``."""
    if isinstance(option, str) and re.fullmatch(SEVERAL_GPUS, option):
        raise UsageError(
            f"device = {option!r}: several GPUs are for the commands quantize, palette and count; "
            "name one here, such as gpu:0"
        )
    if not isinstance(option, str) or not re.fullmatch(r"auto|cpu|gpu(:\d{1,4})?", option):
        raise UsageError(f"device = {option!r} is not one of auto, cpu, gpu, gpu:N")


def is_installed() -> bool:
    """Whether CuPy is installed, usable or not."""
    return "cupy" in sys.modules or find_spec("cupy") is not None


def gpu_count() -> int:
    """The number of GPUs that CUDA shows to this process.

    Raises:
        DeviceError: CUDA or CuPy cannot be used; the message says why and what to do.
    """
    cupy = import_cupy()
    with translate_gpu_errors():
        return int(cupy.cuda.runtime.getDeviceCount())


def import_cupy() -> Any:
    """Import CuPy and return the module; a DeviceError without CuPy or a driver."""
    if not is_installed():
        raise DeviceError(f"CuPy is not installed: {INSTALL}")
    if "cupy" not in sys.modules and not has_driver():
        raise DeviceError("no NVIDIA driver (the CUDA driver library is not on this machine)")
    try:
        import cupy
    except Exception as error:  # a broken install raises various errors
        raise DeviceError(
            f"CuPy cannot be imported ({first_line(error)}); reinstall it: {INSTALL}"
        ) from None
    found = str(getattr(cupy, "__version__", "of no version"))
    if not found.split(".")[0].isdigit() or int(found.split(".")[0]) < LEAST_CUPY:
        raise DeviceError(f"CuPy {found} is too old; {LEAST_CUPY}.0 is the least: {INSTALL}")
    return cupy


def has_driver() -> bool:
    """Whether the CUDA driver library, a part of every NVIDIA driver, can be loaded."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return True
    return False


REASONS = {
    "cudaErrorInsufficientDriver": "no NVIDIA driver, or one too old for this CuPy: update the "
    f"driver, or {INSTALL}",
    "cudaErrorNoDevice": "the NVIDIA driver finds no GPU",
    "cudaErrorSystemDriverMismatch": "the NVIDIA driver and its library differ: restart",
    "cudaErrorNoKernelImageForDevice": f"this CuPy has no code for the GPU: {INSTALL}",
    "CUDA_ERROR_NO_BINARY_FOR_GPU": f"this NVRTC is too old for the GPU: {INSTALL}",
}
"""The name of an error in messages of CUDA to its meaning, and what to do."""


OUT_OF_MEMORY = "cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY", "ALLOC_FAILED"
"""Names in messages of CUDA's libraries for device memory that ran out; CuPy's pool raises its own
OutOfMemoryError."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that device memory, not the host's, is exhausted."""
    if isinstance(error, MemoryError):
        return type(error).__module__.startswith("cupy")
    return any(name in str(error) for name in OUT_OF_MEMORY)


@contextlib.contextmanager
def translate_gpu_errors() -> Iterator[None]:
    """Turn errors of CUDA, NVRTC, CuPy or the system inside into a DeviceError of one line.

    The caller's own mistakes (a UsageError) and a host without memory stay what they are.
    """
    try:
        yield
    except QuantgpuError:
        raise
    except Exception as error:  # CuPy also passes on errors of the system and the linker
        message = first_line(error)
        if is_out_of_memory(error):
            raise DeviceMemoryError(f"no device memory left ({message})") from None
        if isinstance(error, MemoryError):
            raise
        for name, meaning in REASONS.items():
            if name in message:
                raise DeviceError(meaning) from None
        for library in ("NVRTC", "cuBLAS"):
            if library.lower() in message.lower():
                message = f"{library} is missing or broken: {message}; reinstall it: {INSTALL}"
        raise DeviceError(message) from None


def first_line(error: BaseException) -> str:
    """The class name and the first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def free_memory(number: int) -> int:
    """Bytes of a GPU's memory that are free, with those that CuPy's pool holds unused."""
    import cupy

    with translate_gpu_errors(), cupy.cuda.Device(number):
        held_unused = int(cupy.get_default_memory_pool().free_bytes())
        return int(cupy.cuda.runtime.memGetInfo()[0]) + held_unused


@contextlib.contextmanager
def device_context(device: Device) -> Iterator[ModuleType]:
    """Make `device` the current one inside, and yield its array module."""
    if device.gpu is None:
        yield np
        return
    import cupy

    with cupy.cuda.Device(device.gpu):
        yield cupy


def free_cached_memory(device: Device) -> None:
    """Return the unused memory of CuPy's pool to the device."""
    with device_context(device) as xp:
        if xp is not np:
            xp.get_default_memory_pool().free_all_blocks()


def device_array(image: Any) -> Any:
    """`image` as a `cupy.ndarray` without a copy, or None if it is not on a GPU.

    Raises:
        DeviceError: The image is on a GPU, but CuPy cannot be used.
        UsageError: CuPy cannot share the array of the other library.
    """
    dlpack_device = getattr(image, "__dlpack_device__", None)
    has_dlpack = dlpack_device is not None and dlpack_device()[0] == 2
    if not hasattr(image, "__cuda_array_interface__") and not has_dlpack:
        return None
    cupy = import_cupy()
    if isinstance(image, cupy.ndarray):
        return image
    try:  # DLPack makes the current stream wait for that of the other library
        speaks_dlpack = hasattr(image, "__dlpack__")
        return cupy.from_dlpack(image) if speaks_dlpack else cupy.asarray(image)
    except Exception as error:  # each library has its own
        raise UsageError(f"the array on the GPU cannot be taken: {first_line(error)}") from None
