"""Pixels up to a GPU and indices down from it, in slabs, while the last slab is at work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.device import Device
from quantgpu.arrays.namespace import array_module
from quantgpu.arrays.pinned import align, is_pinned, pinned_empty
from quantgpu.pixels import counting_gpu
from quantgpu.pixels.perceptual import Weighed, over_gray
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Progress, no_progress
from quantgpu.threads import chunks

SLAB = 32 << 20
"""Bytes of pixels that go up at a time, unless the budget is small."""

SLABS_IN_BUDGET = 64
"""A slab is at most such a part of the budget."""

FIXED = 400 << 20
"""Bytes of device memory that are needed beside pixels and colors: 2^24 bins and their scan."""

PER_COLOR = 280
"""Bytes of device memory that clustering takes for each distinct color of three channels, at most:
272 were counted for a million colors."""

ROWS = 16
"""Slabs begin at a multiple of so many rows: kernels read words and write 16 indices at a time."""


Uploading = TypeVar("Uploading", bound=Pixels)


class GpuPixels(Pixels):
    """Pixels on a GPU: they go up once and stay there if the budget allows, else once more."""

    def __init__(
        self, pixels: Pixels, xp: Any, device: Device, keep: bool = True, step: int | None = None
    ) -> None:
        """`pixels` on the host, or on that device, the current one, already.

        `step`: rows in a slab, if they are given.
        """
        self.shape, self.height, self.width = pixels.shape, pixels.height, pixels.width
        self.channels, self.place = pixels.channels, pixels.place
        self.xp, self.pixels = xp, pixels
        self.resident = None if pixels.gpu is None else align(pixels.source)
        size = min(SLAB, device.memory // SLABS_IN_BUDGET)
        self.step = step or max(size // (self.channels * self.width) // ROWS * ROWS, ROWS)
        self.memory = device.memory
        self.keep = keep and self.channels * len(self) + FIXED <= self.memory
        self.kept: list[Any] = []
        self.staging: list[Any] = [None, None]
        self.leaving: list[Any] = []
        if pixels.mask is not None:
            self.mask = GpuPixels(pixels.mask, xp, device, False, self.step)

    @cached_property
    def streams(self) -> list[Any]:
        """On which slabs go up and indices down."""
        return [self.xp.cuda.Stream(non_blocking=True) for _ in range(2)]

    def slabs(self, batch: int = 0) -> Iterator[tuple[tuple[int, int], Any]]:
        """Intervals of rows and their colors, (pixels, channels), on the device; its own steps."""
        intervals = list(chunks(0, self.height, self.step))
        if self.resident is not None:
            for rows in intervals:
                yield rows, self.resident[slice(*rows)].reshape(-1, self.channels)
        elif self.kept:
            yield from zip(intervals, self.kept, strict=True)
        else:
            yield from self.upload(intervals)

    def upload(self, intervals: list[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], Any]]:
        """The slabs, each while the next is on its way; the host waits only for staging memory."""
        xp = self.xp
        current = xp.cuda.get_current_stream()
        count = len(intervals) if self.keep else min(3, len(intervals))
        sizes = [(stop - start) * self.width for start, stop in intervals]
        buffers = [xp.empty((size, self.channels), xp.uint8) for size in sizes[:count]]
        free = [current.record()] * count
        sent: list[Any] = [None, None]
        direct = is_pinned(xp, self.pixels.source)
        for number, rows in enumerate(intervals):
            turn, slot = number % 2, number % count
            host = self.pixels.slab(*rows)
            if not direct:
                if sent[turn]:
                    sent[turn].synchronize()
                host = self.stage(turn, host)
            colors = buffers[slot][: sizes[number]]
            self.streams[turn].wait_event(free[slot])
            colors.set(host, stream=self.streams[turn])
            sent[turn] = self.streams[turn].record()
            current.wait_event(sent[turn])
            yield rows, colors
            free[slot - 1] = current.record()  # the slab before is done with, and its neighbors
        self.kept = buffers if self.keep else []

    def perceptual_slabs(self, batch: int = 0, threads: int = 0) -> Iterator[Weighed]:
        """`slabs` with the weights of `pixel_weights`, each when the next has come."""
        for rows, colors, before, after in self.slabs_between():
            yield rows, colors, self.weights_of(colors, before, after)

    def slabs_between(self) -> Iterator[tuple[tuple[int, int], Any, Any, Any]]:
        """`slabs` with the row before and two rows after, as far as there are any."""
        none = self.xp.empty((0, self.channels), self.xp.uint8)
        before, waiting = none, None
        for rows, colors in self.slabs():
            if waiting is not None:
                yield *waiting, before, colors[: 2 * self.width]
                before = waiting[1][-self.width :].copy()
            waiting = rows, colors
        if waiting is not None:
            yield *waiting, before, none

    def weights_of(self, colors: Any, before: Any, after: Any) -> Any:
        """(pixels,) uint8: the weights of a slab between the row before and two rows after it."""
        weights = self.xp.empty(len(colors), self.xp.uint8)
        around = over_gray(colors), over_gray(before), over_gray(after)
        counting_gpu.weigh(*around, self.width, weights)
        return weights

    def make_room(self, colors: int) -> list[str]:
        """Give the pixels up, if so many distinct colors need their memory; a note if that is not
        enough."""
        needed = PER_COLOR * (self.channels + 1) // 4 * colors
        if self.channels * len(self) + needed > self.memory:
            self.keep, self.kept = False, []
        if needed <= self.memory:
            return []
        return [f"{colors:,} colors take {needed >> 20} MiB of device memory, more than was given"]

    def stage(self, turn: int, host: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A page-locked copy of `host`; the memory is kept, as the copy from it comes later."""
        if self.staging[turn] is None:
            self.staging[turn] = pinned_empty(
                self.xp, (self.step * self.width, self.channels), np.uint8
            )
        copy: NDArray[np.uint8] = self.staging[turn][: len(host)]
        copy[...] = host
        return copy

    def map(
        self,
        dtype: Any,
        function: Callable[..., None],
        stay: bool,
        progress: Progress = no_progress,
        slabs: Iterable[tuple[Any, ...]] | None = None,
    ) -> Any:
        """(H, W): what `function` writes into its second argument, for the colors in its first.

        It is called with slab after slab, from above to below, and gets what else the `slabs` bring
        along as further arguments.

        In page-locked host memory, complete after `wait`, or on the device if it is to `stay`.
        """
        xp = self.xp
        current = xp.cuda.get_current_stream()
        shape = self.height, self.width
        index = xp.empty(shape, dtype) if stay else pinned_empty(xp, shape, dtype)
        size = min(self.step, self.height) * self.width
        buffers = [] if stay else [xp.empty(size, dtype) for _ in range(2)]
        self.leaving = [*buffers, index]  # the copies go on after this returns
        done: list[Any] = [None, None]
        for number, (rows, colors, *more) in enumerate(self.slabs() if slabs is None else slabs):
            turn, there = number % 2, index[slice(*rows)].reshape(-1)
            progress("remap", rows[1] / self.height)
            if stay:
                function(colors, there, *more)
                continue
            if done[turn]:
                current.wait_event(done[turn])
            here = buffers[turn][: len(colors)]
            function(colors, here, *more)
            self.streams[turn].wait_event(current.record())
            here.get(stream=self.streams[turn], out=there, blocking=False)
            done[turn] = self.streams[turn].record()
        return index

    def wait(self) -> None:
        """Wait for all copies; before that, their memory must be left alone."""
        for stream in self.streams:
            stream.synchronize()
        self.leaving = []
        if self.mask is not None:
            self.mask.wait()


@contextlib.contextmanager
def synchronize_on_error(there: Uploading) -> Iterator[Uploading]:
    """Pixels on a GPU; an error inside waits until nothing is on its way."""
    try:
        yield there
    except BaseException:
        with contextlib.suppress(Exception):  # a GPU that failed may not even wait
            there.wait()
        raise


class GpuFrames(Pixels):
    """Pictures of one size on a GPU, one after the other, which are mapped where they are."""

    def __init__(self, colors: Any, height: int, width: int) -> None:
        """`colors`: (frames, stride, 3 | 4) uint8, of which the first H * W of each are a picture.

        The stride is `stride_of` such pictures.
        """
        self.xp, self.colors = array_module(colors), colors
        self.height, self.width, self.channels = height, width, colors.shape[2]
        self.shape = height, width
        self.errors: Any = None
        """(frames,) integers: the squared error of each once they are mapped, where the colors
        alone do not decide it."""

    def mapped(self, dtype: Any, function: Callable[[Any, Any], None]) -> Any:
        """(frames, stride): what `function` writes into its second argument, for the colors in its
        first, those between the pictures among them."""
        index = self.xp.empty(self.colors.shape[:2], dtype)
        function(self.colors.reshape(-1, self.channels), index.reshape(-1))
        return index

    def map(self, dtype: Any, function: Callable[[Any, Any], Any]) -> Any:
        """(frames, stride): what `function` writes, picture by picture; it returns their errors."""
        index = self.xp.empty(self.colors.shape[:2], dtype)
        pixels = slice(self.height * self.width)
        found = [
            function(colors[pixels], out[pixels])
            for colors, out in zip(self.colors, index, strict=True)
        ]
        self.errors = self.xp.stack(found)
        return index


def stride_of(height: int, width: int, channels: int) -> int:
    """From a picture to the next on a GPU, in pixels: kernels take `kernels.RUN` at a time."""
    run = counting_gpu.RUN if channels == 3 else 1
    return -(-height * width // run) * run
