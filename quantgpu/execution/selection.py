"""Which device does the work: the CPU, or a GPU that proved that it computes right."""

from __future__ import annotations

from dataclasses import dataclass

from quantgpu.arrays.device import (
    CPU,
    Device,
    check_device,
    free_memory,
    gpu_count,
    import_cupy,
    is_installed,
    translate_gpu_errors,
)
from quantgpu.errors import DeviceError, UsageError, check_number
from quantgpu.threads import MOST_THREADS, default_threads

LEAST_CAPABILITY = 75
"""The oldest GPUs that the kernels are compiled for: compute capability 7.5."""


MEMORY_SHARE = 0.8
"""Of the free device memory, used unless a budget is given."""


def choose_device(
    option: str, memory: int | None = None, at: int | None = None
) -> tuple[Device, str]:
    """The device for an option of `check_device`, and why ``auto`` did not find a GPU.

    The reason is empty where nobody expects a GPU: CuPy is not installed, or a GPU was found.

    Args:
        option: ``auto`` takes a GPU that works, else the CPU.
        memory: Bytes of device memory to use; most of what is free when None.
        at: The number of the GPU that the pixels are on already; None for the host.

    Raises:
        DeviceError: The GPU that was asked for cannot be used.
        UsageError: It is another than the pixels are on.
    """
    if option == "cpu":
        return CPU, ""
    wanted = int(option[4:]) if option.startswith("gpu:") else at or 0
    if at is not None and wanted != at:
        raise UsageError(f"the array is on gpu:{at}, but device = {option!r}; copy it there first")
    try:
        open_gpu(wanted)
        free = free_memory(wanted)
        return Device(wanted, min(memory or int(free * MEMORY_SHARE), free)), ""
    except DeviceError as error:
        if option != "auto":
            raise
        return CPU, str(error) if is_installed() else ""


def open_gpu(number: int) -> None:
    """Make sure that a GPU can be used: compile, launch and compare.

    Raises:
        DeviceError: It cannot; the message says why and what to do.
    """
    count, cupy = gpu_count(), import_cupy()
    with translate_gpu_errors():
        if number >= count:
            raise DeviceError(f"there is no gpu:{number}; this machine has {count} CUDA device(s)")
        with cupy.cuda.Device(number) as device:
            capability = int(device.compute_capability)
            if capability < LEAST_CAPABILITY:
                raise DeviceError(
                    f"gpu:{number} has compute capability {capability / 10}; 7.5 is the least"
                )
            from quantgpu.execution.self_test import self_test

            self_test(cupy, number)


LEAST_MEMORY, MOST_MEMORY = 1 << 20, 1 << 50
"""Bytes of device memory that may be asked for."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where the work is done, and how much of the machine it may have; no result depends on it.

    Raises:
        UsageError: An option is outside its range.
    """

    threads: int | None = None
    """As many as there are processors when None."""
    device: str = "auto"
    """``auto``, ``cpu``, ``gpu`` or ``gpu:N``."""
    memory: int | None = None
    """Bytes of device memory to use; most of what is free when None."""

    def __post_init__(self) -> None:
        if self.threads is not None:
            check_number("threads", self.threads, 1, MOST_THREADS)
        check_device(self.device)
        if self.memory is not None:
            check_number("memory", self.memory, LEAST_MEMORY, MOST_MEMORY)

    @property
    def thread_count(self) -> int:
        """The threads that are used."""
        return default_threads() if self.threads is None else self.threads
