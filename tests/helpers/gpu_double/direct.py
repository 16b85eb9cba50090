"""Kernels on NumPy arrays, without the stand-in around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpu_double.cuda_on_cpu import KernelError, Module, Schedule
from gpu_double.launch_rules import SHARED, check_arguments, check_geometry
from gpu_double.memory import Block


def run_kernel(
    text: str,
    name: str,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    args: Sequence[Any],
    shared_mem: int = 0,
    *,
    mode: str = "fiber",
    order: str = "forward",
    seed: int = 1,
    options: tuple[str, ...] = (),
    most_shared: int = SHARED,
    architecture: str = "86",
) -> None:
    """Run one kernel; NumPy arrays among `args` count as device memory and change in place.

    Raises:
        CompileError: g++ or NVRTC would refuse the text or an option.
        TypeError, LaunchError: The arguments or the geometry are not what the kernel wants.
        KernelError: The kernel misbehaves, as far as the mode can see it.
    """
    module = Module(text, options, architecture)
    geometry = check_geometry(module, name, grid, block, shared_mem, most_shared)
    guarded = [Guarded(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
    arguments = check_arguments(name, module.signatures[name], guarded, memory_of)
    module.launch(name, geometry, arguments, Schedule(mode, order, seed))
    for arg in guarded:
        if isinstance(arg, Guarded):
            arg.give_back(name)


class Guarded:
    """A copy of a NumPy array between canaries."""

    def __init__(self, original: Any) -> None:
        self.original = original
        self.block = Block(original.nbytes, "the array")
        self.copy: Any = np.ndarray(original.shape, original.dtype, self.block.bytes)
        self.copy[...] = original

    def give_back(self, name: str) -> None:
        """Copy what the kernel made of it into the original."""
        if not self.block.intact():
            raise KernelError(f"{name} wrote outside an array of {self.original.nbytes} bytes")
        if self.original.flags.writeable:
            self.original[...] = self.copy
        elif not np.array_equal(self.original, self.copy, equal_nan=self.copy.dtype.kind in "fc"):
            raise KernelError(f"{name} wrote to a read-only array")


def memory_of(value: Any) -> Any:
    """The view that a kernel gets."""
    return value.copy if isinstance(value, Guarded) else None
