"""Ranges of a clip's frames: counted on their own, with the sum of the whole.

A range begins to be read at a key frame before it, if seeking leads there. Whether the pixels are
then those that reading from the beginning gives depends on the file, so each range also keeps a
mark of the frame before its first. It has to be that of the last frame of the range before, else
the range is read again, from the beginning.
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
"""Seconds, fewer than any frame is shown, by which a range is read earlier than it begins."""

AGAIN = "seeking leads to other pixels; ranges were read from the beginning on"


class FrameRange(NamedTuple):
    """The frames of a clip that appear from `start` on and before `stop`.

    Ranges of which each starts where the one before stops have each frame once.
    """

    source: str
    """What `frames.open_frames` reads, but standard input."""
    start: Fraction | float = 0
    """Seconds from the beginning of the clip."""
    stop: Fraction | float | None = None
    """Seconds, too; None for the end."""


@dataclass(frozen=True, kw_only=True)
class FrameCountOptions:
    """How the frames of a clip are read and counted."""

    frames: FrameOptions = FrameOptions()
    channels: int | None = None
    """`Frames.channels`, if the clip was opened before."""
    perceptual: bool = True
    """Whether pixels weigh what `perceptual` says."""
    alpha: AlphaOptions = AlphaOptions()
    compute: Compute = ON_CPU
    """Where they are counted and mapped."""

    def open(self, source: str) -> Frames:
        """The frames of a source."""
        return self.frames.open(source, self.channels)


class Mark(NamedTuple):
    """What a frame is known by."""

    time: Fraction
    digest: bytes
    """Of the pixels, before anything becomes of transparency."""


class Part(NamedTuple):
    """What a range counts."""

    histogram: CompressedHistogram | None
    """None if there are no frames in it."""
    frames: int
    length: Fraction
    """Seconds for which they are shown."""
    before: Mark | None
    """The frame before the range; None if there is none."""
    last: Mark | None
    """The last frame up to its end."""
    notes: list[str]
    """What was changed on reading."""
    damage: str | None
    """Why the clip ended in it, or before it; None if it did not."""
    sought: bool = True
    """Whether it was found by seeking; else by reading from the beginning on."""
    device_notes: Sequence[str] = ()
    """Why it was not counted where it was meant to be."""


def frame_ranges(source: str | os.PathLike[str], count: int, **opening: Any) -> list[FrameRange]:
    """A clip in ranges of about as many frames each, one if nobody knows how many there are.

    Args:
        source: What `frames.open_frames` reads, but standard input.
        count: How many ranges, at least 1.
        opening: Options of `frames.open_frames`.

    Raises:
        UsageError: `count` is below 1, or it is standard input.
        InputError: The clip cannot be read.
    """
    if count < 1:
        raise UsageError(f"count = {count} is below 1")
    check_range(FrameRange(os.fspath(source)))
    with open_frames(source, **opening) as frames:
        return ranges_of(os.fspath(source), frames, count, None)


def ranges_of(source: str, frames: Frames, count: int, stop: Fraction | None) -> list[FrameRange]:
    """The frames of a clip up to `stop`, in at most so many ranges."""
    if frames.count is None or frames.rate is None:
        return [FrameRange(source, 0, stop)]
    total = frames.count if stop is None else min(frames.count, int(stop * frames.rate))
    numbers = sorted({total * part // count for part in range(count)})
    starts = [number / frames.rate for number in numbers]
    return [
        FrameRange(source, start, end)
        for start, end in zip(starts, [*starts[1:], stop], strict=True)
    ]


def check_range(part: FrameRange) -> None:
    """Raise a UsageError unless there may be frames in a range."""
    start, stop = moments(part)
    if part.source == STREAM:
        raise UsageError("standard input has no ranges, as it can be read only once; name a file")
    if stop is not None and stop <= start:
        raise UsageError(f"{part.source}: stop = {part.stop} is not after start = {part.start}")


def moments(part: FrameRange) -> tuple[Fraction, Fraction | None]:
    """When a range starts and stops."""
    start = parse_seconds(part.start, "start =", Fraction(0), None)
    assert start is not None
    return start, parse_seconds(part.stop, "stop =", Fraction(0), None)


class Reader:
    """Reads the frames of a range, and keeps what is beside them."""

    def __init__(self, frames: Frames, part: FrameRange) -> None:
        self.frames = frames
        self.start, self.stop = moments(part)
        self.before: Frame | None = None
        """The frame before the range."""
        self.last: Frame | None = None
        """The last frame before its end."""
        self.damage: str | None = None
        """Why the clip ended in it; None if it did not."""

    def read(self, seek: bool) -> Iterator[Frame]:
        """The frames; found by seeking, or by reading from the beginning on."""
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


def count_range(part: FrameRange, way: FrameCountOptions, seek: bool = True) -> Part:
    """The colors of the frames in a range.

    Args:
        part: The range.
        way: How frames are counted.
        seek: Whether to look for its first frame; it is read from the beginning on otherwise.

    Raises:
        UsageError: An option is outside its range.
        InputError: The clip cannot be read at all.
        DeviceError: The GPU that was asked for cannot be used.
    """
    count = partial(counted_on, part, way, seek)
    found, _, notes = run_on_device(
        way.compute.device, way.compute.memory, count, partial(count, np, None, False)
    )
    return found._replace(device_notes=notes)


def counted_on(
    part: FrameRange, way: FrameCountOptions, seek: bool, xp: Any, device: Device | None, keep: bool
) -> Part:
    """The same, counted by an array module, on a GPU unless there is no `device`."""
    with way.open(part.source) as frames:
        channels = channels_of(frames, way.alpha.alpha)
        reader, counter = Reader(frames, part), Counter(xp, channels, way.perceptual)
        count, length = 0, Fraction(0)
        for pixels, _, lasts in reader.read(seek):
            here = Pixels(with_alpha(pixels, way.alpha, channels))
            if device is None:
                counter.add(here, way.perceptual)
            else:
                with synchronize_on_error(GpuPixels(here, xp, device, keep=False)) as there:
                    counter.add(there, way.perceptual)
                    there.wait()
            count, length = count + 1, length + lasts
        histogram = compress(counter.total()) if count else None
        before, last = mark_of(reader.before), mark_of(reader.last)
        return Part(histogram, count, length, before, last, [*frames.notes], reader.damage, seek)


def mark_of(frame: Frame | None) -> Mark | None:
    """What a frame is known by."""
    if frame is None:
        return None
    return Mark(frame.time, hashlib.blake2b(frame.pixels.data, digest_size=16).digest())


def end_of(part: Part) -> Part:
    """What the range behind has to know of a range."""
    return part._replace(histogram=None)


def joined(part: Part, end: Part, place: FrameRange, way: FrameCountOptions) -> Part:
    """What a range counts that begins where another ends.

    Args:
        part: What it counted.
        end: `end_of` the range before.
        place: Where it is.
        way: How frames are counted.

    Returns:
        The same; nothing if the clip ended before; or what is counted from the beginning on, if
        seeking has led to other pixels.
    """
    if end.damage is not None:
        return Part(None, 0, Fraction(0), None, end.last, [], end.damage)
    if part.before == end.last:
        return part
    again = count_range(place, replace(way, compute=ON_CPU), seek=False)
    return again._replace(notes=[*again.notes, f"{place.source}: {AGAIN}"])


def follows(part: FrameRange, other: FrameRange) -> bool:
    """Whether a range begins where another of the same clip ends."""
    return part.source == other.source and moments(other)[1] == moments(part)[0]


def sum_of_ranges(parts: Sequence[Part]) -> Part:
    """What some ranges count together; the first that is damaged tells why."""
    found = [part.histogram for part in parts if part.histogram is not None]
    return Part(
        add_histograms(found) if found else None,
        sum(part.frames for part in parts),
        sum((part.length for part in parts), Fraction(0)),
        parts[0].before,
        parts[-1].last,
        list(dict.fromkeys(note for part in parts for note in part.notes)),
        next((part.damage for part in parts if part.damage is not None), None),
        device_notes=list(dict.fromkeys(note for part in parts for note in part.device_notes)),
    )


def colors_of_sound(part: Part) -> CompressedHistogram:
    """The colors of clips that are whole.

    Raises:
        InputError: One is damaged, or there is no frame.
    """
    if part.damage is not None:
        raise InputError(part.damage)
    return colors_of(part, "clips")


def colors_of(part: Part, name: str) -> CompressedHistogram:
    """The colors of what there is of a clip.

    Raises:
        InputError: There is no frame.
    """
    if part.histogram is None:
        raise InputError(part.damage or f"{name}: no frames in the time that was asked for")
    return part.histogram


def counted_frames(dask: Any, places: Sequence[FrameRange], way: FrameCountOptions) -> list[Any]:
    """The delayed sum of ranges of frames; nothing if there are none."""
    parts: list[Any] = []
    for number, place in enumerate(places):
        check_range(place)
        part = dask.delayed(count_range)(place, way)
        if number and follows(place, places[number - 1]):
            part = dask.delayed(joined)(part, dask.delayed(end_of)(parts[-1]), place, way)
        parts.append(part)
    if not parts:
        return []
    return [dask.delayed(colors_of_sound)(tree(dask.delayed(sum_of_ranges), parts))]
