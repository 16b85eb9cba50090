"""Copies between host and device, counted, and as late as CUDA allows.

A copy from or to pinned memory reads or fills the host's buffer when the stream gets to it, on the
default stream too: that is, before its next operation. Until then a buffer that is to be filled
holds 0xA5. A copy from pageable memory is staged: it reads the buffer at once. A copy to pageable
memory waits for the stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_double import machine as machines
from gpu_double.log import Transfer, caller
from gpu_double.memory import pinned_block
from gpu_double.operations import bounds, span
from gpu_double.streams import Stream

UNFILLED = 0xA5
"""What a host buffer holds until an asynchronous download fills it."""


def count(direction: str, values: NDArray[Any], pinned: bool, stream: Stream) -> None:
    """Note a transfer."""
    entry = Transfer(direction, values.nbytes, pinned, caller(), stream.ptr)
    stream.machine.log.transfers.append(entry)


@machines.locked
def upload(values: NDArray[Any], target: Any, stream: Stream) -> None:
    """Copy a host array to a device array of its shape, dtype and layout."""
    block = pinned_block(stream.machine, values)
    count("up", values, block is not None, stream)
    spans = [span(target, write=True)]
    if block is not None:
        spans.append((block.accesses, *bounds(values), False))
    stream.begin(spans)
    source = raw(values) if block is not None else values.copy("K")
    device = target._values
    stream.queue.append(lambda: np.copyto(device, source))
    if block is None and not stream.late:
        stream.finish()


def raw(values: NDArray[Any]) -> NDArray[Any]:
    """The same bytes, without keeping the owner of the buffer alive: CuPy doesn't either."""
    block = pinned_block(machines.current(), values)
    assert block is not None
    offset = values.ctypes.data - block.ptr
    return np.ndarray(values.shape, values.dtype, block.bytes, offset, values.strides)


@machines.locked
def download(source: Any, out: NDArray[Any], stream: Stream, blocking: bool) -> None:
    """Copy a device array to a host array of its shape, dtype and layout."""
    machine = stream.machine
    block = pinned_block(machine, out)
    count("down", out, block is not None, stream)
    spans = [span(source, write=False)]
    if block is not None:
        spans.append((block.accesses, *bounds(out), True))
    stream.begin(spans)
    device = source._values
    target = out if block is None else raw(out)
    if out.flags.c_contiguous or out.flags.f_contiguous:
        out.reshape(-1, order="A").view(np.uint8)[...] = UNFILLED
    stream.queue.append(lambda: np.copyto(target, device))
    if blocking:
        stream.synchronize("get")
    elif block is None:  # CUDA returns when the copy is done
        stream.synchronize("get into pageable memory")
