"""Choose the device: the CPU, or a GPU that passed the self-test."""

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
"""The lowest compute capability that the kernels are compiled for, times 10: 7.5."""


MEMORY_SHARE = 0.8
"""The share of free device memory that is used unless a budget is given."""


def choose_device(
    option: str, memory: int | None = None, resident_gpu: int | None = None
) -> tuple[Device, str]:
    """Choose the device for an option, and return the reason why ``auto`` found no GPU.

    The reason is empty if a GPU was found, or if CuPy is not installed, so that none is expected.

    Args:
        option: As `check_device` accepts it; ``auto`` takes a GPU that works, else the CPU.
        memory: Bytes of device memory to use; most of what is free when None.
        resident_gpu: The number of the GPU that the pixels are on already; None for the host.

    Raises:
        DeviceError: The GPU that was asked for cannot be used.
        UsageError: The option names another GPU than `resident_gpu`.
    """
    if option == "cpu":
        return CPU, ""
    wanted = int(option[4:]) if option.startswith("gpu:") else resident_gpu or 0
    if resident_gpu is not None and wanted != resident_gpu:
        raise UsageError(
            f"the array is on gpu:{resident_gpu}, but device = {option!r}; copy it there first"
        )
    try:
        open_gpu(wanted)
        free = free_memory(wanted)
        return Device(wanted, min(memory or int(free * MEMORY_SHARE), free)), ""
    except DeviceError as error:
        if option != "auto":
            raise
        return CPU, str(error) if is_installed() else ""


def open_gpu(number: int) -> None:
    """Check that a GPU can be used: compile, launch and compare with NumPy.

    Raises:
        DeviceError: The GPU cannot be used; the message says why and what to do.
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
"""The range of the option `memory`, in bytes of device memory."""


@dataclass(frozen=True, kw_only=True)
class Compute:
    """The device, device memory and threads of the work; no result depends on them.

    Raises:
        UsageError: An option is outside its range.
    """

    threads: int | None = None
    """At least 1; as many as there are processors when None."""
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
        """The number of threads: `threads`, or as many as there are processors."""
        return default_threads() if self.threads is None else self.threads
