"""Device and pinned memory: real addresses, poison, canaries."""

from __future__ import annotations

import ctypes
import sys
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpu_double.streams import Access, Accesses, Clock, merge

if TYPE_CHECKING:
    from gpu_double.machine import Machine
    from gpu_double.streams import Stream

CANARY = 0xA5
POISON = 0xFF
"""Fresh memory: NaN, -1, 255."""
GUARD = 512
"""Bytes of canary on either side."""
LARGE = 1 << 20
"""Bytes of a block that the system, not the heap, gives and gets back."""


UNSEEN = 2
"""References to a block's bytes if there are no arrays over them: its own, and the question's."""


class Block:
    """The bytes of an allocation with canaries around them; outlives the allocation in queues."""

    def __init__(self, nbytes: int, name: str, cleared: bool = False) -> None:
        self.nbytes = nbytes
        self.raw = (np.zeros if cleared else np.empty)(nbytes + 3 * GUARD, np.uint8)
        self.start = GUARD + (-(self.raw.ctypes.data + GUARD)) % GUARD
        self.ptr: int = self.raw.ctypes.data + self.start
        self.raw[: self.start] = CANARY
        self.raw[self.start + nbytes :] = CANARY
        self.accesses = Accesses(name)
        if not cleared:
            self.poison()

    @property
    def bytes(self) -> NDArray[np.uint8]:
        """The bytes between the canaries."""
        return self.raw[self.start : self.start + self.nbytes]

    def poison(self, value: int = POISON) -> None:
        """Fill with what nobody may rely on."""
        self.bytes[:] = value

    def bury(self) -> None:
        """Poison what somebody could still see.

        A large block that no array looks at goes back to the system: who goes there crashes.
        """
        if self.nbytes < LARGE or sys.getrefcount(self.raw) > UNSEEN:
            self.poison()

    def intact(self) -> bool:
        """Whether both canaries live."""
        before, after = self.raw[: self.start], self.raw[self.start + self.nbytes :]
        return bool((before == CANARY).all() and (after == CANARY).all())


class Memory:
    """An allocation of device memory; its end gives the bytes back to the pool."""

    def __init__(
        self, machine: Machine, nbytes: int, rounded: int, stream: Stream, cleared: bool = False
    ) -> None:
        self.machine = machine
        self.size = rounded
        self.block = Block(nbytes, f"the device array of {nbytes} bytes", cleared)
        self.ptr = self.block.ptr
        self.device_id = machine.device_id
        finalizer = weakref.finalize(self, release, machine, self.block, rounded, stream)
        finalizer.atexit = False

    def check(self) -> None:
        """Raise if anything was written beside it."""
        if not self.block.intact():
            raise self.machine.misuse(f"something wrote outside {self.block.accesses.name}")


def release(machine: Machine, block: Block, rounded: int, stream: Stream) -> None:
    """Give device memory back; work that is not ordered before its next use is a mistake."""
    with machine.lock:
        machine.pools[stream.device].used -= rounded
        if not block.intact():
            machine.misuses.append(
                f"something wrote outside a device array of {block.nbytes} bytes"
            )
        unfinished = block.accesses.unfinished(known(machine, stream.clock))
        if unfinished and unfinished.stream != stream.number:
            machine.misuses.append(freed_too_early(block, unfinished))
            block.poison()
        elif stream.late and stream.queue:
            stream.queue.append(block.poison)
        else:
            block.bury()


def known(machine: Machine, clock: Clock) -> Clock:
    """What work that is submitted now to a stream with this clock comes after."""
    result = dict(clock)
    merge(result, machine.host)
    return result


def freed_too_early(block: Block, access: Access) -> str:
    """What to say about it."""
    return (
        f"{block.accesses.name} was freed while stream {access.stream} "
        f"{'writes' if access.write else 'reads'} it (at {access.where})"
    )


class MemoryPointer:
    """A place in device memory, as `ndarray.data` is in CuPy."""

    def __init__(self, mem: Memory, offset: int) -> None:
        self.mem = mem
        self.ptr = mem.ptr + offset if mem.size else 0
        self._offset = offset

    @property
    def device_id(self) -> int:
        return self.mem.device_id

    def __int__(self) -> int:
        return self.ptr

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self._offset + offset)

    def __sub__(self, offset: int) -> MemoryPointer:
        return self + -offset


class Pinned:
    """Page-locked host memory, registered by its address as long as somebody holds it."""

    def __init__(self, machine: Machine, nbytes: int) -> None:
        self.block = Block(nbytes, f"the pinned buffer of {nbytes} bytes")
        self.ptr = self.block.ptr
        self.size = nbytes
        machine.pinned[self.ptr] = self
        weakref.finalize(self, release_pinned, machine, self.block).atexit = False


def release_pinned(machine: Machine, block: Block) -> None:
    """The pool hands the bytes to the next who asks, whatever copies are under way."""
    unfinished = block.accesses.unfinished(machine.host)
    if unfinished:
        machine.misuses.append(freed_too_early(block, unfinished))
        block.poison()


class PinnedMemoryPointer:
    """A buffer of pinned memory; `np.frombuffer` takes it."""

    mem: Any
    ptr: int

    def size(self) -> int:
        """Bytes."""
        size: int = self.mem.size
        return size

    def __int__(self) -> int:
        return self.ptr

    def __len__(self) -> int:
        raise TypeError("object of type 'PinnedMemoryPointer' has no len()")

    def __getitem__(self, key: Any) -> Any:
        raise TypeError("'PinnedMemoryPointer' object is not subscriptable")


def pinned_pointer(machine: Machine, nbytes: int) -> Any:
    """Pinned memory of at least `nbytes`: the pool rounds up to a power of two."""
    rounded = 1 << max(nbytes - 1, 511).bit_length() if nbytes else 0
    memory = Pinned(machine, rounded)
    array_type = ctypes.c_byte * rounded
    kind = type("PinnedMemoryPointer", (PinnedMemoryPointer, array_type), {})
    pointer = kind.from_address(memory.ptr)  # type: ignore[attr-defined]
    pointer.mem = memory
    pointer.ptr = memory.ptr
    return pointer


def pinned_block(machine: Machine, array: NDArray[Any]) -> Block | None:
    """The pinned memory that holds the array, if any does."""
    address = array.ctypes.data
    for ptr, memory in list(machine.pinned.items()):
        if ptr <= address < ptr + max(memory.size, 1):
            return memory.block
    return None
