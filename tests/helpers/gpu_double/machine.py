"""The machine behind the stand-in: its devices, what fails on it, and what happened on it."""

from __future__ import annotations

import functools
import gc
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from gpu_double.cuda_on_cpu import Schedule
from gpu_double.errors import CUDARuntimeError, MisuseError, OutOfMemoryError
from gpu_double.log import Launch, Log, Pool, Synchronization, caller
from gpu_double.memory import Memory, Pinned
from gpu_double.streams import Clock, Stream

UNIT = 512
"""Bytes in which CuPy's pools hand out memory."""


@dataclass
class Model:
    """What a machine offers, and what is broken about it; a test may change it at any time."""

    devices: int = 1
    memory: int = 8 << 30
    """Bytes of each device."""
    used_by_others: int = 0
    """Bytes of them that other programs hold."""
    compute_capability: str = "86"
    multiprocessors: int = 46
    shared_memory_optin: int = 101376
    """The most dynamic shared memory, in bytes, that a kernel may ask for."""
    name: str = "Stand-in"
    driver: bool = True
    """Whether there is a driver."""
    nvrtc: bool = True
    """Whether NVRTC can be loaded."""
    cublas: bool = True
    """Whether cuBLAS can be loaded: matrix products of floats need it."""
    allocations: int | None = None
    """How many more allocations succeed; None for any number."""
    refuses_to_compile: bool = False
    rounds_products: bool = False
    """Whether float32 matrix products round their operands to 10 bits, as TF32 does."""
    falsify: Callable[[str, list[Any]], None] | None = None
    """Called with a kernel's name and the arrays it may write, after it ran: a broken device."""
    schedule: Schedule = field(default_factory=Schedule)
    """How kernels are executed."""


class Machine:
    """One process's view of the machine."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.misuses: list[str] = []
        self.lock = threading.RLock()
        self.local = threading.local()
        self.host: Clock = {}
        self.blocks: weakref.WeakValueDictionary[int, Memory] = weakref.WeakValueDictionary()
        self.pinned: weakref.WeakValueDictionary[int, Pinned] = weakref.WeakValueDictionary()
        self.pools: dict[int, Pool] = defaultdict(Pool)
        self.log = Log(self.pools)
        self.streams: dict[int, Stream] = {}
        self.default_streams: dict[int, Stream] = {}

    def require_device(self) -> None:
        """Raise what CUDA raises when there is none."""
        if not self.model.driver:
            raise CUDARuntimeError(35)
        if not self.model.devices:
            raise CUDARuntimeError(100)

    @property
    def device_id(self) -> int:
        """The current device of this thread."""
        number: int = getattr(self.local, "device", 0)
        return number

    def set_device(self, number: int) -> None:
        """Make a device current for this thread."""
        self.require_device()
        if not 0 <= number < self.model.devices:
            raise CUDARuntimeError(101)
        self.local.device = number

    @property
    def pool(self) -> Pool:
        """The memory of the current device."""
        return self.pools[self.device_id]

    @property
    def default_stream(self) -> Stream:
        """The default stream of the current device."""
        device = self.device_id
        if device not in self.default_streams:
            self.default_streams[device] = Stream(self, -device, device, late=False, blocking=True)
        return self.default_streams[device]

    @property
    def stream(self) -> Stream:
        """The current stream of this thread."""
        stack: list[Stream] = getattr(self.local, "streams", [])
        mine = [stream for stream in stack if stream.device == self.device_id]
        return mine[-1] if mine else self.default_stream

    @property
    def all_streams(self) -> list[Stream]:
        """Every queue of work on any device."""
        return [*self.default_streams.values(), *self.streams.values()]

    def new_stream(self, non_blocking: bool) -> Stream:
        """A stream of the current device."""
        number = 3 + len(self.streams)
        blocking = not non_blocking
        self.streams[number] = Stream(self, number, self.device_id, late=True, blocking=blocking)
        return self.streams[number]

    def misuse(self, message: str) -> MisuseError:
        """Note a mistake that must fail the test even if somebody catches the error."""
        self.misuses.append(message)
        return MisuseError(message)

    def complain(self) -> None:
        """Raise the mistakes noted so far, and forget them."""
        noted, self.misuses[:] = list(self.misuses), []
        if noted:
            raise MisuseError("\n".join(dict.fromkeys(noted)))

    def synchronized(self, why: str) -> None:
        """Note that the host waits."""
        self.log.synchronizations.append(Synchronization(why, caller()))

    def launched(self, name: str, read: int, written: int) -> None:
        """Note an array function."""
        entry = Launch(name, "array", read, written, caller(), self.stream.ptr)
        self.log.launches.append(entry)

    def allocate(self, nbytes: int, cleared: bool = False) -> Memory:
        """Device memory, poisoned or cleared, or OutOfMemoryError."""
        self.require_device()
        with self.lock:
            rounded = -(-nbytes // UNIT) * UNIT
            try:
                self.take(rounded)
            except OutOfMemoryError:  # arrays in reference cycles give way, as in CuPy
                gc.collect()
                self.take(rounded)
            memory = Memory(self, nbytes, rounded, self.stream, cleared)
            if nbytes:
                self.blocks[memory.ptr] = memory
            return memory

    def take(self, rounded: int) -> None:
        """Count `rounded` bytes as used, if they can be had."""
        log, model, pool = self.log, self.model, self.pool
        if rounded and model.allocations is not None:
            if model.allocations <= 0:
                raise OutOfMemoryError(rounded, pool.used)
            model.allocations -= 1
        used = pool.used + rounded
        if pool.limit and used > pool.limit:
            raise OutOfMemoryError(rounded, pool.used, pool.limit)
        if used > model.memory - model.used_by_others:
            raise OutOfMemoryError(rounded, pool.used)
        pool.used = used
        pool.held = max(pool.held, used)
        log.peak_bytes = max(log.peak_bytes, used)
        log.allocations += bool(rounded)

    @property
    def free_bytes(self) -> int:
        """What CUDA calls free: neither others nor this process's pool hold it."""
        return max(self.model.memory - self.model.used_by_others - self.pool.held, 0)

    def finish(self) -> None:
        """Do everything that any stream has to do."""
        for stream in self.all_streams:
            stream.finish()

    def check_canaries(self) -> None:
        """Raise if anything was written beside a device array."""
        for memory in list(self.blocks.values()):
            memory.check()


P = ParamSpec("P")
R = TypeVar("R")


def locked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which no two threads are in at a time."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        with current().lock:
            return function(*args, **kwargs)

    return guarded


class _Installed:
    """The machine that the installed modules talk to."""

    machines: list[Machine] = []  # noqa: RUF012


def current() -> Machine:
    """The machine that is installed now."""
    if not _Installed.machines:
        raise RuntimeError("the stand-in is not installed")
    return _Installed.machines[-1]


def push(machine: Machine) -> None:
    """Install a machine."""
    _Installed.machines.append(machine)


def pop() -> None:
    """Take the installed machine out."""
    _Installed.machines.pop()
