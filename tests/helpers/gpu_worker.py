"""What `distributed` loads into workers of tests: the stand-in for a GPU, or for a missing driver.

Of two workers the first has a GPU; so has each that sees GPUs of its own.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

import gpu_double

STACK = ExitStack()
"""Keeps the stand-in installed as long as the worker lives."""


def dask_setup(worker: Any) -> None:
    """Install the stand-in."""
    has_gpu = worker.name == 0 or "CUDA_VISIBLE_DEVICES" in os.environ
    STACK.enter_context(gpu_double.installed(driver=has_gpu))


def mistakes() -> list[str]:
    """What the worker did wrong with the stand-in."""
    machine = gpu_double.machine.current()
    machine.check_canaries()
    return machine.misuses


def shown() -> str | None:
    """The GPUs that a worker sees."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")
