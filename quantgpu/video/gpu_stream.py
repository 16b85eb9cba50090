"""Frames through a GPU: uploads, mapping and downloads overlap.

While the GPU maps one batch of frames, the next is uploaded and the last is downloaded, each on a
stream of its own, and the host fills page-locked memory with the batch after that. The host waits
for two events only: until page-locked memory may be filled again, `SLOTS` copies after its last
use; and until the indices of a requested frame are on the host.
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

BATCH_BYTES = 32 << 20
"""Most bytes of pixels in one upload, unless a frame has more: small frames are uploaded in
batches, so that launches and copies do not take longer to begin than to be done."""

DIFFUSED_BATCH_BYTES = 128 << 20
"""Most bytes in one upload with error diffusion, whose launch takes as long for several frames as
for one. Predicted for 3840 x 2160 on an RTX 4090: 149 frames/s one at a time, 510 five at a
time."""

MOST_FRAMES = 256
"""Most frames in a batch."""

SLOTS = 3
"""Upload buffers: one that the host fills, one that is copied, and one that the GPU maps."""

IN_BUDGET = 8
"""The upload buffers take at most 1 / IN_BUDGET of the device memory to use."""

PENDING_BATCHES = 2
"""Most batches under way when the next is sent."""


def gpu_stream_for(
    xp: Any, device: Device, shape: tuple[int, int, int], diffuses: bool
) -> GpuFrameStream | None:
    """A stream for frames of one shape; None if device memory is too small for its buffers.

    Without a stream, frames are mapped one by one, in slabs: see `GpuPixels`.

    Args:
        xp: CuPy.
        device: A GPU.
        shape: Height, width and channels of a frame.
        diffuses: Whether the frames are dithered by error diffusion.
    """
    size = shape[2] * stride_of(*shape)
    room = device.memory // (IN_BUDGET * SLOTS)
    if size > room:
        return None
    batch = DIFFUSED_BATCH_BYTES if diffuses else BATCH_BYTES
    return GpuFrameStream(xp, device, shape, min(max(min(batch, room) // size, 1), MOST_FRAMES))


class GpuFrameStream:
    """Maps frames of one size on a GPU, in order."""

    def __init__(
        self, xp: Any, device: Device, shape: tuple[int, int, int], batch_size: int
    ) -> None:
        """`shape`: height, width and channels of a frame. `batch_size`: most frames in a batch."""
        self.xp, self.device, self.shape, self.batch_size = xp, device, shape, batch_size
        self.uploads = UploadRing(xp, shape, batch_size)
        self.download_stream = xp.cuda.Stream(non_blocking=True)

    def upload(self, pixels: NDArray[np.uint8]) -> Pixels:
        """Begin to upload a frame; its pixels on the GPU, to be counted until `wait` is called."""
        slot, colors = self.uploads.upload([pixels])
        return UploadedFrame(self, slot, colors[0])

    def map_frames(self, frames: Iterable[PreparedFrame]) -> Generator[Result, None, None]:
        """Map frames to palette entries, on the host.

        A frame with another mapper waits until no batch is under way: each mapper has a table of
        64 MiB on the GPU.
        """
        under_way: deque[Batch] = deque()
        try:
            for batch in self.batches(frames):
                same = under_way and under_way[-1].frames[0].prepared is batch[0].prepared
                while len(under_way) > (PENDING_BATCHES if same else 0):
                    yield from under_way.popleft().results(self.shape)
                under_way.append(self.send(batch))
            while under_way:
                yield from under_way.popleft().results(self.shape)
        finally:
            self.end()

    def batches(self, frames: Iterable[PreparedFrame]) -> Iterator[list[PreparedFrame]]:
        """Successive frames with one mapper, at most `batch_size` at a time."""
        batch: list[PreparedFrame] = []
        for prepared_frame in frames:
            if batch and (
                prepared_frame.prepared is not batch[0].prepared or len(batch) == self.batch_size
            ):
                yield batch
                batch = []
            batch.append(prepared_frame)
        if batch:
            yield batch

    def send(self, batch: list[PreparedFrame]) -> Batch:
        """Queue the upload, the mapping and the download of a batch."""
        xp, (height, width, _) = self.xp, self.shape
        slot, colors = self.uploads.upload([each.frame.pixels for each in batch])
        frames = GpuFrames(colors, height, width)
        index, _ = batch[0].prepared.mapper(frames, True, no_progress)
        self.uploads.release(slot)
        self.download_stream.wait_event(xp.cuda.get_current_stream().record())
        device_arrays = [index] if frames.errors is None else [index, frames.errors]
        host_arrays = [pinned_empty(xp, array.shape, array.dtype) for array in device_arrays]
        for array, out in zip(device_arrays, host_arrays, strict=True):
            array.get(stream=self.download_stream, out=out, blocking=False)
        return Batch(batch, device_arrays, host_arrays, self.download_stream.record())

    def end(self) -> None:
        """Wait for all copies, until which the memory they use must not be freed or changed."""
        with contextlib.suppress(Exception):  # a GPU that failed may not even wait
            self.uploads.stream.synchronize()
            self.download_stream.synchronize()


class Batch(NamedTuple):
    """Frames whose indices are on their way to the host."""

    frames: list[PreparedFrame]
    device_arrays: list[Any]
    """On the GPU: indices, (frames, stride), and squared errors, (frames,), if the mapper sums."""
    host_arrays: list[NDArray[Any]]
    """Page-locked copies of `device_arrays`."""
    copied: Any
    """The event after which `host_arrays` are filled."""

    def results(self, shape: tuple[int, int, int]) -> Iterator[Result]:
        """Wait for the download; the result of each frame. `shape`: of a frame."""
        self.copied.synchronize()
        self.device_arrays.clear()
        height, width, _ = shape
        index, *errors = self.host_arrays
        for number, (frame, prepared) in enumerate(self.frames):
            entries = index[number, : height * width].reshape(height, width)
            yield frame, prepared, entries, int(errors[0][number]) if errors else None


class UploadRing:
    """Slots of page-locked and device memory, used one after the other to upload frames."""

    def __init__(self, xp: Any, shape: tuple[int, int, int], batch_size: int) -> None:
        """`shape`: height, width and channels of a frame. `batch_size`: most frames in a copy."""
        height, width, channels = shape
        self.xp, self.pixels = xp, height * width
        self.room = batch_size, stride_of(height, width, channels), channels
        self.stream = xp.cuda.Stream(non_blocking=True)
        self.slots: list[Slot] = []
        self.count = 0

    def upload(self, frames: Sequence[NDArray[np.uint8]]) -> tuple[Slot, Any]:
        """Upload frames for use on the current stream.

        Args:
            frames: (H, W, channels) uint8 each, which may change as soon as this returns.

        Returns:
            The slot, and the frames on the GPU, (n, stride, channels).
        """
        if len(self.slots) < SLOTS:
            self.slots.append(Slot(self.xp, self.room))
        slot = self.slots[self.count % SLOTS]
        self.count += 1
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
        """Make the next upload into a slot wait for the work queued on the current stream."""
        slot.free = self.xp.cuda.get_current_stream().record()


class Slot:
    """A page-locked buffer on the host and one of the same shape on a GPU."""

    def __init__(self, xp: Any, room: tuple[int, int, int]) -> None:
        """`room`: frames, pixels from the start of a frame to that of the next, channels."""
        self.host = pinned_empty(xp, room, np.uint8)
        self.colors = xp.empty(room, xp.uint8)
        self.free: Any = xp.cuda.get_current_stream().record()
        """The event after which `colors` may be overwritten."""
        self.sent: Any = None
        """The event after which `colors` is filled and `host` may be overwritten."""

    def fill(self, number: int, pixels: NDArray[np.uint8]) -> None:
        """Copy a frame's pixels, (m, channels), to the place `number` of the host buffer."""
        self.host[number, : len(pixels)] = pixels


class UploadedFrame(GpuPixels):
    """A frame on a GPU, in a slot that later frames overwrite."""

    def __init__(self, gpu_stream: GpuFrameStream, slot: Slot, colors: Any) -> None:
        """`colors`: (stride, channels) uint8, on the GPU."""
        height, width, _ = gpu_stream.shape
        whole = Pixels(colors[: height * width].reshape(gpu_stream.shape))
        super().__init__(whole, gpu_stream.xp, gpu_stream.device)
        self.gpu_stream, self.slot = gpu_stream, slot

    def wait(self) -> None:
        """Make the next upload into the slot wait; the host waits for nothing."""
        self.gpu_stream.uploads.release(self.slot)
