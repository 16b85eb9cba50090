"""Ranges of a clip's frames: counted one by one, with the sum of the whole.

Reading a range begins at a key frame before it, if seeking succeeds. In some files, pixels after
seeking differ from those of reading from the beginning, so each range keeps a mark of the frame
before its first. If the mark is not that of the last frame of the range before, the range is read
again, from the beginning.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from quantgpu.arrays.device import Device
from quantgpu.color.alpha import AlphaOptions
from quantgpu.distributed.blocks import ON_CPU, CompressedHistogram, add_histograms, compress, tree
from quantgpu.errors import InputError, UsageError
from quantgpu.execution.fallback import run_on_device
from quantgpu.execution.selection import Compute
from quantgpu.io.streams import STREAM
from quantgpu.pixels.counting import Counter
from quantgpu.pixels.gpu import GpuPixels, synchronize_on_error
from quantgpu.pixels.pixels import Pixels
from quantgpu.video.frames.base import Frame, Frames, channels_of, parse_seconds, with_alpha
from quantgpu.video.frames.open import open_frames
from quantgpu.video.options import FrameOptions

EARLIER = Fraction(1, 1_000_000)
"""Seconds by which reading begins before a range, fewer than the duration of any frame."""

REREAD_NOTE = "seeking leads to other pixels; ranges were read from the beginning on"


class FrameRange(NamedTuple):
    """The frames of a clip that appear from `start` on and before `stop`.

    Ranges have each frame once if each range starts where the one before stops.
    """

    source: str
    """A source of `open_frames`, but standard input."""
    start: Fraction | float = 0
    """Seconds from the beginning of the clip."""
    stop: Fraction | float | None = None
    """Seconds from the beginning of the clip; None for the end."""


@dataclass(frozen=True, kw_only=True)
class FrameCountOptions:
    """How the frames of a clip are read and counted."""

    frames: FrameOptions = FrameOptions()
    channels: int | None = None
    """`Frames.channels`, if the clip was opened before."""
    perceptual: bool = True
    """Whether pixels have the weights of `pixels.perceptual`."""
    alpha: AlphaOptions = AlphaOptions()
    compute: Compute = ON_CPU
    """The device that counts and maps the frames."""

    def open(self, source: str) -> Frames:
        """Open the frames of a source."""
        return self.frames.open(source, self.channels)


class FrameMark(NamedTuple):
    """The time and a digest of a frame, to compare readings."""

    time: Fraction
    digest: bytes
    """Of the pixels, before transparency is treated."""


class RangeCount(NamedTuple):
    """The colors of a range, and its place among the frames."""

    histogram: CompressedHistogram | None
    """The colors; None for a range without frames."""
    frames: int
    """The number of frames."""
    length: Fraction
    """Seconds for which the frames are shown."""
    before: FrameMark | None
    """The frame before the range; None for a range at the beginning."""
    last: FrameMark | None
    """The last frame before the end of the range."""
    notes: list[str]
    """Changes on reading, for people."""
    damage: str | None
    """Why the clip ended in the range, or before it; None if the clip goes on."""
    sought: bool = True
    """Whether the range was found by seeking; else by reading from the beginning on."""
    device_notes: Sequence[str] = ()
    """Why another device than the requested one counted the range."""


def frame_ranges(source: str | os.PathLike[str], count: int, **opening: Any) -> list[FrameRange]:
    """Split a clip into ranges of about equally many frames.

    Args:
        source: A source of `open_frames`, but standard input.
        count: The number of ranges, at least 1; one range results if the clip's length is unknown.
        opening: Options of `open_frames`.

    Raises:
        UsageError: `count` is below 1, or `source` is standard input.
        InputError: The clip cannot be read.
    """
    if count < 1:
        raise UsageError(f"count = {count} is below 1")
    check_range(FrameRange(os.fspath(source)))
    with open_frames(source, **opening) as frames:
        return ranges_of(os.fspath(source), frames, count, None)


def ranges_of(source: str, frames: Frames, count: int, stop: Fraction | None) -> list[FrameRange]:
    """Split the frames of a clip up to `stop`, in seconds, into at most `count` ranges."""
    if frames.count is None or frames.rate is None:
        return [FrameRange(source, 0, stop)]
    total = frames.count if stop is None else min(frames.count, int(stop * frames.rate))
    numbers = sorted({total * part // count for part in range(count)})
    starts = [number / frames.rate for number in numbers]
    return [
        FrameRange(source, start, end)
        for start, end in zip(starts, [*starts[1:], stop], strict=True)
    ]


def check_range(frame_range: FrameRange) -> None:
    """Raise a UsageError for standard input, and for a range that ends before it begins."""
    start, stop = moments(frame_range)
    if frame_range.source == STREAM:
        raise UsageError("standard input has no ranges, as it can be read only once; name a file")
    if stop is not None and stop <= start:
        raise UsageError(
            f"{frame_range.source}: stop = {frame_range.stop} is not after "
            f"start = {frame_range.start}"
        )


def moments(frame_range: FrameRange) -> tuple[Fraction, Fraction | None]:
    """The start and the stop of a range in seconds, as fractions."""
    start = parse_seconds(frame_range.start, "start =", Fraction(0), None)
    assert start is not None
    return start, parse_seconds(frame_range.stop, "stop =", Fraction(0), None)


class RangeReader:
    """Reads the frames of a range, and keeps the frames at its borders."""

    def __init__(self, frames: Frames, frame_range: FrameRange) -> None:
        self.frames = frames
        self.start, self.stop = moments(frame_range)
        self.before: Frame | None = None
        """The last frame before the range."""
        self.last: Frame | None = None
        """The last frame before the end of the range."""
        self.damage: str | None = None
        """Why the clip ended in the range; None if the clip goes on."""

    def read(self, seek: bool) -> Iterator[Frame]:
        """The frames of the range, found by seeking or by reading from the beginning on."""
        since = max(self.start - EARLIER, Fraction(0)) if seek else Fraction(0)
        try:
            for frame in self.frames.read(since):
                if self.stop is not None and frame.time >= self.stop:
                    return
                self.last = frame
                if frame.time >= self.start:
                    yield frame
                else:
                    self.before = frame
        except InputError as error:
            self.damage = str(error)


def count_range(
    frame_range: FrameRange, options: FrameCountOptions, seek: bool = True
) -> RangeCount:
    """Count the colors of the frames in a range.

    Args:
        frame_range: The range.
        options: How to read and count frames.
        seek: Whether to seek to the range; False to read from the beginning on.

    Raises:
        UsageError: An option is outside its range.
        InputError: The clip cannot be read at all.
        DeviceError: The requested GPU cannot be used.
    """
    count = partial(count_on_device, frame_range, options, seek)
    range_count, _, notes = run_on_device(
        options.compute.device, options.compute.memory, count, partial(count, np, None, False)
    )
    return range_count._replace(device_notes=notes)


def count_on_device(
    frame_range: FrameRange,
    options: FrameCountOptions,
    seek: bool,
    xp: Any,
    device: Device | None,
    keep_pixels: bool,
) -> RangeCount:
    """Count the colors of a range with the array module `xp`, on a GPU if there is a `device`."""
    with options.open(frame_range.source) as frames:
        channels = channels_of(frames, options.alpha.alpha)
        reader = RangeReader(frames, frame_range)
        counter = Counter(xp, channels, options.perceptual)
        count, length = 0, Fraction(0)
        for pixels, _, lasts in reader.read(seek):
            host_pixels = Pixels(with_alpha(pixels, options.alpha, channels))
            if device is None:
                counter.add(host_pixels, options.perceptual)
            else:
                frame_pixels = GpuPixels(host_pixels, xp, device, keep=False)
                with synchronize_on_error(frame_pixels) as device_pixels:
                    counter.add(device_pixels, options.perceptual)
                    device_pixels.wait()
            count, length = count + 1, length + lasts
        histogram = compress(counter.total()) if count else None
        before, last = mark_of(reader.before), mark_of(reader.last)
        return RangeCount(
            histogram, count, length, before, last, [*frames.notes], reader.damage, seek
        )


def mark_of(frame: Frame | None) -> FrameMark | None:
    """The time and digest of a frame; None without a frame."""
    if frame is None:
        return None
    return FrameMark(frame.time, hashlib.blake2b(frame.pixels.data, digest_size=16).digest())


def range_end(part: RangeCount) -> RangeCount:
    """The count of a range without its histogram, as the next range needs it."""
    return part._replace(histogram=None)


def recount_if_astray(
    part: RangeCount, end: RangeCount, frame_range: FrameRange, options: FrameCountOptions
) -> RangeCount:
    """Check that a range begins where the one before ends, and recount it otherwise.

    Args:
        part: The count of the range.
        end: `range_end` of the range before.
        frame_range: The range.
        options: How to read and count frames.

    Returns:
        `part`; a count of no frames if the clip ended before the range; or the count from reading
        the clip from its beginning, if seeking led to other pixels.
    """
    if end.damage is not None:
        return RangeCount(None, 0, Fraction(0), None, end.last, [], end.damage)
    if part.before == end.last:
        return part
    again = count_range(frame_range, replace(options, compute=ON_CPU), seek=False)
    return again._replace(notes=[*again.notes, f"{frame_range.source}: {REREAD_NOTE}"])


def follows(frame_range: FrameRange, other: FrameRange) -> bool:
    """Whether a range begins where another of the same clip ends."""
    return frame_range.source == other.source and moments(other)[1] == moments(frame_range)[0]


def sum_of_ranges(parts: Sequence[RangeCount]) -> RangeCount:
    """Add the counts of successive ranges, with the damage of the first damaged one."""
    histograms = [part.histogram for part in parts if part.histogram is not None]
    return RangeCount(
        add_histograms(histograms) if histograms else None,
        sum(part.frames for part in parts),
        sum((part.length for part in parts), Fraction(0)),
        parts[0].before,
        parts[-1].last,
        list(dict.fromkeys(note for part in parts for note in part.notes)),
        next((part.damage for part in parts if part.damage is not None), None),
        device_notes=list(dict.fromkeys(note for part in parts for note in part.device_notes)),
    )


def colors_of_undamaged(part: RangeCount) -> CompressedHistogram:
    """The colors of undamaged clips.

    Raises:
        InputError: A clip is damaged, or there is no frame.
    """
    if part.damage is not None:
        raise InputError(part.damage)
    return colors_of(part, "clips")


def colors_of(part: RangeCount, name: str) -> CompressedHistogram:
    """The colors of a clip up to its end or its damage. `name`: the clip, as messages call it.

    Raises:
        InputError: There is no frame.
    """
    if part.histogram is None:
        raise InputError(part.damage or f"{name}: no frames in the time that was asked for")
    return part.histogram


def delayed_range_sum(
    dask: Any, ranges: Sequence[FrameRange], options: FrameCountOptions
) -> list[Any]:
    """Delayed: the colors of ranges of frames together, as a list of one; empty without ranges."""
    parts: list[Any] = []
    for number, frame_range in enumerate(ranges):
        check_range(frame_range)
        part = dask.delayed(count_range)(frame_range, options)
        if number and follows(frame_range, ranges[number - 1]):
            part = dask.delayed(recount_if_astray)(
                part, dask.delayed(range_end)(parts[-1]), frame_range, options
            )
        parts.append(part)
    if not parts:
        return []
    return [dask.delayed(colors_of_undamaged)(tree(dask.delayed(sum_of_ranges), parts))]
