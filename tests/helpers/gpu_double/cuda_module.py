"""`cupy.cuda` and the modules in it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from gpu_double import errors
from gpu_double import machine as machines
from gpu_double.cuda_runtime import Device, namespace, runtime
from gpu_double.cuda_streams import Event, Stream, get_current_stream, get_elapsed_time
from gpu_double.log import Pool
from gpu_double.memory import MemoryPointer, PinnedMemoryPointer, pinned_pointer


def is_available() -> bool:
    """Whether there is a device and a driver."""
    model = machines.current().model
    return model.driver and model.devices > 0


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    """Page-locked host memory."""
    machine = machines.current()
    machine.require_device()
    pointer: PinnedMemoryPointer = pinned_pointer(machine, size)
    return pointer


def own_pool() -> Pool:
    """The memory of the current device."""
    machine = machines.current()
    machine.require_device()
    return machine.pool


class MemoryPool:
    """The pool that device arrays come from."""

    def used_bytes(self) -> int:
        return own_pool().used

    def total_bytes(self) -> int:
        return own_pool().held

    def free_bytes(self) -> int:
        return self.total_bytes() - self.used_bytes()

    def free_all_blocks(self, stream: Any = None) -> None:
        pool = own_pool()
        pool.held = pool.used

    def set_limit(self, size: Any = None, fraction: Any = None) -> None:
        if size is not None and fraction is not None:
            raise ValueError("size and fraction cannot be specified at one time")
        if fraction is not None:
            size = int(fraction * machines.current().model.memory)
        own_pool().limit = size or 0

    def get_limit(self) -> int:
        return own_pool().limit


class PinnedMemoryPool:
    """The pool that pinned memory comes from."""

    def free_all_blocks(self) -> None:
        pass

    def n_free_blocks(self) -> int:
        return 0


def nvrtc_version() -> tuple[int, int]:
    """NVRTC's version."""
    if not machines.current().model.nvrtc:
        raise errors.DynamicLibNotFoundError('Failure finding "libnvrtc.so"')
    return 13, 2


def modules() -> dict[str, ModuleType]:
    """`cupy.cuda` and what is below it, by name."""
    cuda = ModuleType("cupy.cuda")
    below = {
        "runtime": runtime(),
        "driver": namespace(
            "driver",
            CUDADriverError=errors.CUDADriverError,
            get_build_version=lambda: 13000,
        ),
        "nvrtc": namespace("nvrtc", getVersion=nvrtc_version),
        "memory": namespace(
            "memory",
            OutOfMemoryError=errors.OutOfMemoryError,
            MemoryPointer=MemoryPointer,
            MemoryPool=MemoryPool,
        ),
        "compiler": namespace("compiler", CompileException=errors.CompileException),
        "stream": namespace("stream", Stream=Stream, Event=Event),
        "device": namespace("device", Device=Device),
        "pinned_memory": namespace(
            "pinned_memory",
            PinnedMemoryPointer=PinnedMemoryPointer,
            PinnedMemoryPool=PinnedMemoryPool,
        ),
    }
    offered: list[Any] = [
        Device,
        Event,
        MemoryPointer,
        MemoryPool,
        PinnedMemoryPointer,
        PinnedMemoryPool,
        Stream,
        alloc_pinned_memory,
        get_current_stream,
        get_elapsed_time,
        is_available,
    ]
    for item in offered:
        setattr(cuda, item.__name__, item)
    for name, module in below.items():
        setattr(cuda, name, module)
    return {"cupy.cuda": cuda} | {f"cupy.cuda.{name}": m for name, m in below.items()}
