"""CUDA kernels: whole files, one `__global__` function each, and what launches them.

Each does what array code elsewhere in the package says, to the last bit; the header of a file gives
the shapes, and names the array code where floating point decides something.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from quantgpu.errors import DeviceError

THREADS = 256
"""Threads in a block, where a kernel does not say otherwise."""

WAVES = 8
"""Blocks for each multiprocessor, at most; a kernel strides over what is left."""

SHARED_BYTES = 44 << 10
"""Dynamic shared memory that every device grants a block, beside 4 KiB of static memory."""

EXACT = {"spread", "place", "octree"}
"""Kernels in which float64 arithmetic decides something: each operation rounds on its own."""


class Launch(NamedTuple):
    """A kernel with all it needs, to be run any number of times."""

    kernel: Any
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple[Any, ...]
    shared: int
    """Bytes of dynamic shared memory."""

    def run(self) -> None:
        """Put the kernel on the current stream."""
        self.kernel(self.grid, self.block, self.arguments, shared_mem=self.shared)


def prepare(
    name: str, blocks: int, arguments: tuple[Any, ...], *, threads: int = THREADS, shared: int = 0,
    **defines: Any,
) -> Launch:  # fmt: skip
    """A launch of ``NAME.cu``, compiled with `defines`, on the current device."""
    import cupy

    device = cupy.cuda.Device().id
    blocks = max(1, min(blocks, WAVES * multiprocessors(cupy, device)))
    kernel = compiled(cupy, device, name, tuple(f"-D{key}={defines[key]}" for key in defines))
    return Launch(kernel, (blocks,), (threads,), arguments, shared)


@lru_cache
def multiprocessors(cupy: Any, device: int) -> int:
    """The multiprocessors of a device."""
    return int(cupy.cuda.Device(device).attributes["MultiProcessorCount"])


@lru_cache
def compiled(cupy: Any, device: int, name: str, defines: tuple[str, ...]) -> Any:
    """The function in ``NAME.cu``, compiled for a device.

    Raises:
        DeviceError: It cannot be compiled.
    """
    code = Path(__file__).with_name(f"{name}.cu").read_text(encoding="utf-8")
    options = ("--std=c++17", *defines, *(("--fmad=false",) if name in EXACT else ()))
    compiler = import_module(f"{cupy.__name__}.cuda.compiler")
    try:
        return cupy.RawModule(code=code, options=options).get_function(name)
    except compiler.CompileException as error:
        architecture = cupy.cuda.Device(device).compute_capability
        raise DeviceError(
            f"kernel {name} cannot be compiled for compute capability {architecture}: {error}"
        ) from None


def blocks_for(count: int, per_block: int = THREADS) -> int:
    """The blocks that take `count` items."""
    return -(-count // per_block)


def int32(number: int) -> np.int32:
    """A kernel argument `int`; a Python integer would be passed as 64 bits."""
    return np.int32(number)
