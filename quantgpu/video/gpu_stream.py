"""Frames through a GPU, several on their way at a time.

While some frames are at work, the next go up and the last come down, each on a stream of its own,
and the host makes ready those after them. It waits for two things only: that page-locked memory may
be filled again, `SLOTS` copies after it was filled last; and for indices that are asked for.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.device import Device
from quantgpu.arrays.pinned import pinned_empty
from quantgpu.pixels.gpu import GpuFrames, GpuPixels, stride_of
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import no_progress
from quantgpu.video.palettes import PreparedFrame, Result

BATCH = 32 << 20
"""Bytes of pixels that go up in one copy, at most, unless a frame has more: small frames go
batch_size, so that launches and copies do not take longer to begin than to be done."""

DIFFUSED = 128 << 20
"""The same where errors are diffused: there a launch takes as long for several frames as for one.
Predicted for 3840 x 2160 on an RTX 4090: 149 frames/s one at a time, 510 five at a time."""

MOST = 256
"""Frames that go batch_size, at most."""

SLOTS = 3
"""Buffers for what is made ready, what is on its way up, and what is at work."""

IN_BUDGET = 8
"""The buffers are at most such a part of the budget."""

BEHIND = 2
"""Batches that may be under way when the next is sent."""


def gpu_stream_for(
    xp: Any, device: Device, shape: tuple[int, int, int], diffuses: bool
) -> GpuFrameStream | None:
    """What takes frames of a size through a GPU; None if its memory does not hold enough of them.

    They then go through one by one, in slabs: see `transfer.GpuPixels`.

    Args:
        shape: Of a frame: height, width, channels.
        diffuses: Whether errors will be diffused.
    """
    size = shape[2] * stride_of(*shape)
    room = device.memory // (IN_BUDGET * SLOTS)
    if size > room:
        return None
    batch = DIFFUSED if diffuses else BATCH
    return GpuFrameStream(xp, device, shape, min(max(min(batch, room) // size, 1), MOST))


class GpuFrameStream:
    """Takes frames of one size through a GPU, in the order in which they come."""

    def __init__(
        self, xp: Any, device: Device, shape: tuple[int, int, int], batch_size: int
    ) -> None:
        """`shape`: of a frame. `batch_size`: frames in a batch, at most."""
        self.xp, self.device, self.shape, self.batch_size = xp, device, shape, batch_size
        self.uploads = UploadRing(xp, shape, batch_size)
        self.download_stream = xp.cuda.Stream(non_blocking=True)

    def arriving(self, pixels: NDArray[np.uint8]) -> Pixels:
        """A frame on its way up, whose colors can be counted; its memory is free after `wait`."""
        slot, colors = self.uploads.up([pixels])
        return UploadedFrame(self, slot, colors[0])

    def mapped(self, turns: Iterable[PreparedFrame]) -> Generator[Result, None, None]:
        """The frames' entries, on the host.

        Frames that are mapped by something else wait until none are under way: a GPU holds a table
        of 64 MiB for each of these.
        """
        under_way: deque[Batch] = deque()
        try:
            for batch in self.batches(turns):
                same = under_way and under_way[-1].turns[0].prepared is batch[0].prepared
                while len(under_way) > (BEHIND if same else 0):
                    yield from under_way.popleft().results(self.shape)
                under_way.append(self.sent(batch))
            while under_way:
                yield from under_way.popleft().results(self.shape)
        finally:
            self.end()

    def batches(self, turns: Iterable[PreparedFrame]) -> Iterator[list[PreparedFrame]]:
        """Frames that follow each other and are mapped by the same."""
        batch: list[PreparedFrame] = []
        for turn in turns:
            if batch and (turn.prepared is not batch[0].prepared or len(batch) == self.batch_size):
                yield batch
                batch = []
            batch.append(turn)
        if batch:
            yield batch

    def sent(self, turns: list[PreparedFrame]) -> Batch:
        """Frames on their way up, through and down."""
        xp, (height, width, _) = self.xp, self.shape
        slot, colors = self.uploads.up([turn.frame.pixels for turn in turns])
        frames = GpuFrames(colors, height, width)
        index, _ = turns[0].prepared.mapper(frames, True, no_progress)
        self.uploads.release(slot)
        self.download_stream.wait_event(xp.cuda.get_current_stream().record())
        leaving = [index] if frames.errors is None else [index, frames.errors]
        here = [pinned_empty(xp, array.shape, array.dtype) for array in leaving]
        for array, out in zip(leaving, here, strict=True):
            array.get(stream=self.download_stream, out=out, blocking=False)
        return Batch(turns, leaving, here, self.download_stream.record())

    def end(self) -> None:
        """Wait for all copies; before that, their memory must be left alone."""
        with contextlib.suppress(Exception):  # a GPU that failed may not even wait
            self.uploads.stream.synchronize()
            self.download_stream.synchronize()


class Batch(NamedTuple):
    """Frames whose indices are on their way to the host."""

    turns: list[PreparedFrame]
    leaving: list[Any]
    """On the GPU: indices, (frames, stride), and errors, (frames,), where the mapping tells."""
    here: list[NDArray[Any]]
    """What these become."""
    there: Any
    """The event after which they have."""

    def results(self, shape: tuple[int, int, int]) -> Iterator[Result]:
        """What became of each frame, once it is there."""
        self.there.synchronize()
        self.leaving.clear()
        height, width, _ = shape
        index, *errors = self.here
        for number, (frame, prepared) in enumerate(self.turns):
            entries = index[number, : height * width].reshape(height, width)
            yield frame, prepared, entries, int(errors[0][number]) if errors else None


class UploadRing:
    """Page-locked memory and memory of a GPU, through which frames go up in turns."""

    def __init__(self, xp: Any, shape: tuple[int, int, int], batch_size: int) -> None:
        """`shape`: of a frame. `batch_size`: frames in a copy, at most."""
        height, width, channels = shape
        self.xp, self.pixels = xp, height * width
        self.room = batch_size, stride_of(height, width, channels), channels
        self.stream = xp.cuda.Stream(non_blocking=True)
        self.slots: list[Slot] = []
        self.turn = 0

    def up(self, frames: Sequence[NDArray[np.uint8]]) -> tuple[Slot, Any]:
        """Frames, (n, stride, channels), for the current stream, and where they are.

        They may be left alone or changed as soon as this returns.
        """
        if len(self.slots) < SLOTS:
            self.slots.append(Slot(self.xp, self.room))
        slot = self.slots[self.turn % SLOTS]
        self.turn += 1
        if slot.sent is not None:
            slot.sent.synchronize()
        for number, pixels in enumerate(frames):
            slot.fill(number, pixels.reshape(self.pixels, -1))
        colors = slot.colors[: len(frames)]
        self.stream.wait_event(slot.free)
        colors.set(slot.host[: len(frames)], stream=self.stream)
        slot.sent = self.stream.record()
        self.xp.cuda.get_current_stream().wait_event(slot.sent)
        return slot, colors

    def release(self, slot: Slot) -> None:
        """What comes next goes there after all that was asked for of the current stream."""
        slot.free = self.xp.cuda.get_current_stream().record()


class Slot:
    """A buffer on the host and one on a GPU."""

    def __init__(self, xp: Any, room: tuple[int, int, int]) -> None:
        """`room`: frames, pixels from one to the next, channels."""
        self.host = pinned_empty(xp, room, np.uint8)
        self.colors = xp.empty(room, xp.uint8)
        self.free: Any = xp.cuda.get_current_stream().record()
        """The event after which colors may come."""
        self.sent: Any = None
        """The event after which they have, and those on the host may be replaced."""

    def fill(self, number: int, pixels: NDArray[np.uint8]) -> None:
        """Put a frame's pixels, (m, channels), into a place on the host."""
        self.host[number, : len(pixels)] = pixels


class UploadedFrame(GpuPixels):
    """A frame on a GPU, in memory that other frames get, too."""

    def __init__(self, flight: GpuFrameStream, slot: Slot, colors: Any) -> None:
        """`colors`: (stride, channels), on the GPU."""
        height, width, _ = flight.shape
        whole = Pixels(colors[: height * width].reshape(flight.shape))
        super().__init__(whole, flight.xp, flight.device)
        self.flight, self.slot = flight, slot

    def wait(self) -> None:
        """Nothing comes back, so the host does not wait: what comes next into the memory does."""
        self.flight.uploads.release(self.slot)
