"""A strict stand-in for the module `cupy`, installed for the length of a `with` block."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from gpu_double import cuda_module, ufuncs
from gpu_double import machine as machines
from gpu_double.cuda_on_cpu import Schedule
from gpu_double.functions import FUNCTIONS
from gpu_double.log import Log
from gpu_double.machine import Machine, Model
from gpu_double.raw import RawKernel, RawModule

VERSION = "14.2.0"

FROM_NUMPY = [
    "bool_",
    "byte",
    "double",
    "dtype",
    "e",
    "finfo",
    "float16",
    "float32",
    "float64",
    "floating",
    "generic",
    "iinfo",
    "inf",
    "int16",
    "int32",
    "int64",
    "int8",
    "int_",
    "intc",
    "integer",
    "intp",
    "issubdtype",
    "nan",
    "newaxis",
    "number",
    "pi",
    "promote_types",
    "short",
    "single",
    "ubyte",
    "uint",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
    "uintc",
    "uintp",
    "ushort",
]
"""What CuPy takes over from NumPy as it is."""

ALIASES = {"abs": "absolute", "bitwise_not": "invert", "mod": "remainder"}


def package() -> dict[str, ModuleType]:
    """The modules of the stand-in, by name."""
    cupy = ModuleType("cupy")
    cupy.__path__ = []
    vars(cupy).update(FUNCTIONS | ufuncs.UFUNCS)
    for alias, name in ALIASES.items():
        setattr(cupy, alias, ufuncs.UFUNCS[name])
    for name in FROM_NUMPY:
        setattr(cupy, name, getattr(np, name))
    pool, pinned_pool = cuda_module.MemoryPool(), cuda_module.PinnedMemoryPool()
    below = cuda_module.modules()
    members: dict[str, Any] = {
        "__version__": VERSION,
        "RawKernel": RawKernel,
        "RawModule": RawModule,
        "cuda": below["cupy.cuda"],
        "get_default_memory_pool": lambda: pool,
        "get_default_pinned_memory_pool": lambda: pinned_pool,
        "is_available": cuda_module.is_available,
        "ufunc": ufuncs.ufunc,
    }
    vars(cupy).update(members)
    return {"cupy": cupy} | below


class Double:
    """The installed stand-in: everything that `cupy` has, and a look behind it."""

    def __init__(self, cupy: ModuleType, machine: Machine) -> None:
        self.cupy = cupy
        self.machine = machine

    @property
    def log(self) -> Log:
        """What happened since the last reset."""
        return self.machine.log

    @property
    def model(self) -> Model:
        """The machine; a test may change it at any time."""
        return self.machine.model

    @property
    def misuses(self) -> list[str]:
        """Mistakes seen so far; whatever is left at the end of the block is raised there."""
        return self.machine.misuses

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cupy, name)


def is_cupy(name: str) -> bool:
    """Whether a module belongs to CuPy."""
    return name.split(".")[0] in ("cupy", "cupyx")


@contextmanager
def installed(
    *, mode: str = "fiber", order: str = "forward", seed: int = 1, **model: Any
) -> Iterator[Double]:
    """Let `import cupy` give the stand-in, on the machine that `model` describes (see `Model`).

    `mode` and `order` say how kernels are executed. At the end of the block every mistake that was
    seen is raised, even if somebody caught the error.
    """
    machine = Machine(Model(**model, schedule=Schedule(mode, order, seed)))
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if is_cupy(name)}
    modules = package()
    sys.modules.update(modules)
    machines.push(machine)
    try:
        yield Double(modules["cupy"], machine)
        machine.finish()
        gc.collect()
        machine.check_canaries()
        machine.complain()
    finally:
        for name in list(sys.modules):
            if is_cupy(name):
                del sys.modules[name]
        sys.modules.update(before)
        machines.pop()
