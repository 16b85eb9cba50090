"""What the stand-in writes down: launches, synchronizations, transfers."""

from __future__ import annotations

import functools
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

OURS = {str(p) for p in Path(__file__).parent.glob("*.py") if not p.name.startswith("test_")}
"""Files whose calls are not their own doing."""


@dataclass(frozen=True)
class Launch:
    """One kernel of ours, or one array function, which costs CuPy at least one kernel."""

    name: str
    kind: str
    """``kernel`` or ``array``."""
    bytes_read: int
    bytes_written: int
    where: str
    stream: int = 0
    grid: tuple[int, int, int] | None = None
    block: tuple[int, int, int] | None = None
    shared: int = 0


@dataclass(frozen=True)
class Synchronization:
    """The host waited for the device."""

    why: str
    where: str


@dataclass(frozen=True)
class Transfer:
    """Bytes crossed the bus."""

    direction: str
    """``up`` or ``down``."""
    nbytes: int
    pinned: bool
    where: str
    stream: int = 0


@dataclass
class Pool:
    """The device memory of CuPy's pool."""

    used: int = 0
    """Bytes of living arrays."""
    held: int = 0
    """Bytes that the pool keeps, used or not."""
    limit: int = 0
    """Most bytes to use; 0 for no limit."""


@dataclass
class Log:
    """Everything since the last `reset`."""

    pools: dict[int, Pool]
    """The memory of each device."""
    launches: list[Launch] = field(default_factory=list)
    synchronizations: list[Synchronization] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    peak_bytes: int = 0
    """The most memory of one device in use at a time, in units of 512 bytes like the pool's."""
    allocations: int = 0

    def reset(self) -> None:
        """Forget everything but the memory in use."""
        self.launches.clear()
        self.synchronizations.clear()
        self.transfers.clear()
        self.peak_bytes = self.bytes_in_use
        self.allocations = 0

    @property
    def bytes_in_use(self) -> int:
        """Device memory of living arrays, on the device that has most."""
        return max((pool.used for pool in self.pools.values()), default=0)

    def kernels(self, name: str | None = None) -> list[Launch]:
        """Launches of our kernels, or of the one of that name."""
        return [x for x in self.launches if x.kind == "kernel" and name in (None, x.name)]

    def moved(self, direction: str, pinned: bool | None = None) -> int:
        """Bytes that went ``up`` or ``down``, all or only from and to (un)pinned memory."""
        chosen = [x for x in self.transfers if x.direction == direction]
        return sum(x.nbytes for x in chosen if pinned in (None, x.pinned))

    @property
    def uploaded(self) -> int:
        """Bytes from host to device."""
        return self.moved("up")

    @property
    def downloaded(self) -> int:
        """Bytes from device to host."""
        return self.moved("down")

    @property
    def bytes_read(self) -> int:
        """Device memory read by kernels and array functions."""
        return sum(launch.bytes_read for launch in self.launches)

    @property
    def bytes_written(self) -> int:
        """Device memory written by kernels and array functions."""
        return sum(launch.bytes_written for launch in self.launches)

    def by_name(self) -> Counter[str]:
        """How often each kernel and array function ran."""
        return Counter(launch.name for launch in self.launches)

    def synchronized_at(self) -> Counter[str]:
        """``file:line (why)`` of every synchronization."""
        return Counter(f"{x.where} ({x.why})" for x in self.synchronizations)

    def moved_by(self, direction: str) -> Counter[str]:
        """Bytes by the ``file:line`` that moved them."""
        total: Counter[str] = Counter()
        for transfer in self.transfers:
            if transfer.direction == direction:
                total[transfer.where] += transfer.nbytes
        return total


def caller() -> str:
    """``file:line`` of whoever called into this package (or, for a finalizer, what runs)."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename in OURS:
        frame = frame.f_back
    return f"{name_of(frame.f_code.co_filename)}:{frame.f_lineno}"


@functools.cache
def name_of(path: str) -> str:
    """A file's name without its folder."""
    return Path(path).name
