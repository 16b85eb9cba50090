"""Work on a GPU; with smaller slabs if its memory runs out, and on the CPU if it fails."""

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
"""Work on a GPU: called with its array module, its budget, and whether it may keep the pixels."""

SMALLER = 8
"""When device memory runs out, the work is tried again with such a part of the budget."""


ONE_ON_A_GPU = RLock()
"""Held while there is work on a GPU, as budgets go by the memory that is free."""


class CallerError(BaseException):
    """Carries what the caller's `progress` raised past all who deal with errors of a GPU."""


def guard_progress(progress: Progress) -> Progress:
    """`progress` whose errors come as a CallerError, which `run_on_device` turns back."""

    def tell(stage: str, share: float) -> None:
        try:
            progress(stage, share)
        except Exception as error:
            raise CallerError(error) from None

    return tell


def run_on_device(
    option: str,
    memory: int | None,
    there: Attempt[Result],
    here: Callable[[], Result],
    at: int | None = None,
) -> tuple[Result, str, list[str]]:
    """Run work on a GPU, again in smaller slabs if memory runs out, and else on the CPU.

    Args:
        option: The device, as `choose_device` takes it. A GPU that was named is only replaced by
            the CPU if it is memory that it lacks.
        memory: Bytes of device memory to use; most of what is free when None.
        there: The work on a GPU; called again with a part of the budget if memory runs out.
        here: The same on the CPU.
        at: The number of the GPU that the pixels are on already; None for the host.

    Raises:
        DeviceError: The GPU that was named cannot be used, or failed.
    """
    try:
        with ONE_ON_A_GPU:
            found, used, notes = try_gpu(option, memory, there, at)
        return (here(), "cpu", notes) if isinstance(found, Failure) else (found, used, notes)
    except CallerError as error:
        raise error.args[0] from None


def try_gpu(
    option: str, memory: int | None, there: Attempt[Result], at: int | None
) -> tuple[Result | Failure, str, list[str]]:
    """`run_on_device`, as far as it is about GPUs: a Failure where the CPU is to do the work."""
    device, reason = choose_device(option, memory, at)
    if device.gpu is None:
        return Failure(False, reason), "cpu", [f"no GPU is used: {reason}"] if reason else []
    notes: list[str] = []
    found = on_gpu(device, there, True)
    if isinstance(found, Failure) and found.is_memory:
        notes = [f"{device} ran out of memory; went on with smaller slabs"]
        found = on_gpu(with_smaller_budget(device), there, False)
    if not isinstance(found, Failure):
        return found, str(device), notes
    if option != "auto" and not found.is_memory:
        raise DeviceError(found.reason)
    with contextlib.suppress(Exception):  # a GPU that failed may not even do that
        free_cached_memory(device)
    notes = [f"{device} failed; went on with the CPU: {found.reason.splitlines()[0]}"]
    if found.is_memory:
        notes = [f"{device} ran out of memory; went on with the CPU"]
    return found, "cpu", notes


class Failure(NamedTuple):
    """Why a GPU gave no result; unlike an error it holds on to none of the work."""

    is_memory: bool
    reason: str


def with_smaller_budget(device: Device) -> Device:
    """The device with a part of its budget, and no more than is free when nothing is held."""
    free_cached_memory(device)
    assert device.gpu is not None
    return device._replace(memory=min(device.memory // SMALLER, free_memory(device.gpu)))


def on_gpu(device: Device, there: Attempt[Result], keep: bool) -> Result | Failure:
    """The result of work on a GPU, or the Failure that ended it."""
    try:
        with translate_gpu_errors(), device_context(device) as xp:
            return there(xp, device, keep)
    except DeviceError as error:
        return Failure(isinstance(error, DeviceMemoryError), str(error))
