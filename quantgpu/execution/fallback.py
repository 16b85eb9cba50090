"""Run work on a GPU, with smaller slabs if memory runs out, and on the CPU if the GPU fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from threading import RLock
from types import ModuleType
from typing import NamedTuple, TypeVar

from quantgpu.arrays.device import (
    Device,
    device_context,
    free_cached_memory,
    free_memory,
    translate_gpu_errors,
)
from quantgpu.errors import DeviceError, DeviceMemoryError
from quantgpu.execution.selection import choose_device
from quantgpu.progress import Progress

Result = TypeVar("Result")

Attempt = Callable[[ModuleType, Device, bool], Result]
"""Work on a GPU, called with the array module, the device with its budget, and whether pixels may
be kept in device memory."""

BUDGET_DIVISOR = 8
"""The second attempt, after device memory ran out, gets the budget divided by this number."""


GPU_LOCK = RLock()
"""Held during work on a GPU, as budgets are shares of the memory that is free."""


class CallerError(BaseException):
    """Wraps an error of the caller's `progress`, so that no handler of GPU errors sees it."""


def guard_progress(progress: Progress) -> Progress:
    """A progress that wraps errors of `progress` in a CallerError; `run_on_device` unwraps them."""

    def report(stage: str, share: float) -> None:
        try:
            progress(stage, share)
        except Exception as error:
            raise CallerError(error) from None

    return report


def run_on_device(
    option: str,
    memory: int | None,
    on_gpu: Attempt[Result],
    on_cpu: Callable[[], Result],
    resident_gpu: int | None = None,
) -> tuple[Result, str, list[str]]:
    """Run work on a GPU, again in smaller slabs if memory runs out, and else on the CPU.

    Args:
        option: The device, as `choose_device` takes it. The CPU replaces a named GPU only if
            memory runs out.
        memory: Bytes of device memory to use; most of what is free when None.
        on_gpu: The work on a GPU; called again with a part of the budget if memory runs out.
        on_cpu: The work on the CPU.
        resident_gpu: The number of the GPU that the pixels are on already; None for the host.

    Returns:
        The result, the device that computed it (``cpu`` or ``gpu:N``), and notes on a fallback.

    Raises:
        DeviceError: The GPU that was named cannot be used, or failed.
    """
    try:
        with GPU_LOCK:
            found, used, notes = try_gpu(option, memory, on_gpu, resident_gpu)
        return (on_cpu(), "cpu", notes) if isinstance(found, Failure) else (found, used, notes)
    except CallerError as error:
        raise error.args[0] from None


def try_gpu(
    option: str, memory: int | None, on_gpu: Attempt[Result], resident_gpu: int | None
) -> tuple[Result | Failure, str, list[str]]:
    """Run work as `run_on_device` does, but return a Failure where the CPU has to do the work."""
    device, reason = choose_device(option, memory, resident_gpu)
    if device.gpu is None:
        return Failure(False, reason), "cpu", [f"no GPU is used: {reason}"] if reason else []
    notes: list[str] = []
    found = run_on_gpu(device, on_gpu, True)
    if isinstance(found, Failure) and found.is_memory:
        notes = [f"{device} ran out of memory; went on with smaller slabs"]
        found = run_on_gpu(with_smaller_budget(device), on_gpu, False)
    if not isinstance(found, Failure):
        return found, str(device), notes
    if option != "auto" and not found.is_memory:
        raise DeviceError(found.reason)
    with contextlib.suppress(Exception):  # a GPU that failed may fail in this, too
        free_cached_memory(device)
    notes = [f"{device} failed; went on with the CPU: {found.reason.splitlines()[0]}"]
    if found.is_memory:
        notes = [f"{device} ran out of memory; went on with the CPU"]
    return found, "cpu", notes


class Failure(NamedTuple):
    """The reason why a GPU gave no result; unlike an error it holds no references to the work."""

    is_memory: bool
    reason: str


def with_smaller_budget(device: Device) -> Device:
    """The device with a part of its budget, at most the memory that is free without caches."""
    free_cached_memory(device)
    assert device.gpu is not None
    return device._replace(memory=min(device.memory // BUDGET_DIVISOR, free_memory(device.gpu)))


def run_on_gpu(device: Device, on_gpu: Attempt[Result], keep_pixels: bool) -> Result | Failure:
    """Run work on a GPU; return its result, or a Failure in place of a DeviceError."""
    try:
        with translate_gpu_errors(), device_context(device) as xp:
            return on_gpu(xp, device, keep_pixels)
    except DeviceError as error:
        return Failure(isinstance(error, DeviceMemoryError), str(error))
