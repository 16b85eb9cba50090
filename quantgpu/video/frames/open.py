"""Sources of frames: videos, animations and numbered pictures, streamed.

>>> from quantgpu.video.frames.open import open_frames
>>> with open_frames("clip.mp4", width=480) as frames:  # doctest: +SKIP
...     for frame in frames:
...         print(frame.time, frame.pixels.shape)
"""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from quantgpu.errors import InputError, UsageError
from quantgpu.batch.convert import STREAM
from quantgpu.io.decode import open_image, reading

DEFAULT_RATE = Fraction(25)
"""Frames per second of pictures that say none, as ffmpeg takes them."""

MOVIES = {"MPEG"}
"""What Pillow recognizes and PyAV reads."""


class Frame(NamedTuple):
    """A picture and when it is shown."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB or (H, W, 4) RGBA with straight alpha, C-contiguous."""
    time: Fraction
    """When it appears, in seconds from the start."""
    duration: Fraction
    """For how many seconds it is shown, above 0."""


@dataclass
class Frames:
    """Frames in the order of their times, as a context manager that can be iterated over."""

    name: str
    """What messages call the source."""
    width: int
    height: int
    channels: int
    """Of every frame: 4 if some pixel of some frame may be not opaque, else 3."""
    count: int | None
    """How many frames there are, if it is known; near enough for a progress bar."""
    rate: Fraction | None
    """Frames per second; None if they vary or it is not known."""
    loop: int | None
    """How often an animation is shown, 0 for without end; None for what says nothing of it."""
    notes: list[str]
    """What was changed; grows as frames are read."""
    read: Callable[[Fraction], Iterator[Frame]]
    """All frames from the one on that is shown at so many seconds; earlier ones may come, too."""
    close: Callable[[], None] = lambda: None
    rereadable: bool = True
    """Whether the frames can be iterated over more than once."""
    broken: str | None = field(default=None, init=False)
    """Why the latest iteration ended before the end of the source; None if it did not."""
    begun: bool = field(default=False, init=False)
    """Whether a frame was asked for."""

    def __enter__(self) -> Frames:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        """The frames; where the source is damaged they end early, and `broken` tells why.

        Raises:
            InputError: There is not one frame.
        """
        self.broken, self.begun, delivered = None, True, False
        try:
            for frame in self.read(Fraction(0)):
                yield frame
                delivered = True
        except InputError as error:
            if not delivered:
                raise
            self.broken = str(error)
            return
        if not delivered:
            raise InputError(f"{self.name}: no frames in the time that was asked for")


def open_frames(
    source: str | os.PathLike[str],
    *,
    fps: Fraction | float | None = None,
    start: Fraction | float | None = None,
    duration: Fraction | float | None = None,
    width: int | None = None,
    conversion: str = "exact",
    channels: int | None = None,
) -> Frames:
    """The frames of a video, an animation, or numbered pictures.

    Args:
        source: A video file (read with PyAV, the extra ``video``); an animated GIF, PNG or WebP;
            a picture; a folder of pictures; a pattern such as ``frame_%05d.png`` or ``*.png``; or
            ``-`` for a video, such as y4m, on standard input. Pictures are in natural order: 2
            before 10.
        fps: Frames per second: frames are dropped or repeated, so that each is shown when it was.
            Of pictures it is the rate, 25 when not given.
        start: Seconds to leave out.
        duration: Seconds to take.
        width: Scale to so many pixels across, keeping the proportions.
        conversion: How videos become RGB, a row of `frames_video.CONVERSIONS`.
        channels: `Frames.channels` of a source that was opened before, which spares to look for
            transparency in all its pictures.

    Raises:
        UsageError: An option is outside its range.
        InputError: There is no such source, it cannot be read, or has no frames; pictures are of
            different sizes; PyAV is needed and absent.
    """
    rate = seconds(fps, "--fps", Fraction(1, 3600), 1000)
    first = seconds(start, "--start", Fraction(0), None)
    length = seconds(duration, "--duration", Fraction(1, 1_000_000), None)
    if width is not None and not 1 <= width <= 65_535:
        raise UsageError(f"--width {width} is outside 1..65535")
    frames = opened(source, rate or DEFAULT_RATE, conversion, channels)
    if first or length is not None:
        frames = trimmed(frames, first or Fraction(0), length)
    if rate is not None:
        frames = resampled(frames, rate)
    return frames if width in (None, frames.width) else scaled(frames, int(width or 0))


def seconds(
    value: Fraction | float | None, option: str, least: Fraction, most: int | None
) -> Fraction | None:
    """An option's number as a fraction; 29.97 is the number of that name, not 30000/1001."""
    if value is None:
        return None
    if isinstance(value, Fraction) or np.isfinite(value):
        exact = Fraction(str(value)) if isinstance(value, float) else Fraction(value)
        if exact >= least and (most is None or exact <= most):
            return exact
    limits = f"outside {float(least):g}..{most}" if most is not None else f"below {float(least):g}"
    raise UsageError(f"{option} {value} is {limits}")


def opened(
    source: str | os.PathLike[str], rate: Fraction, conversion: str, channels: int | None
) -> Frames:
    """The frames of a source as they are; `rate` of pictures."""
    name = os.fspath(source)
    if name != STREAM and not os.path.isdir(name) and (os.path.exists(name) or not many(name)):
        kind = picture_kind(name)
        if kind == "animation":
            from quantgpu.video.frames.pictures import open_animation

            return open_animation(name, channels)
        if kind == "picture":
            from quantgpu.video.frames.pictures import open_pictures

            return open_pictures(name, [name], rate, channels)
    elif name != STREAM:
        from quantgpu.video.frames.pictures import open_pictures, pictures_of

        return open_pictures(name, pictures_of(name), rate, channels)
    from quantgpu.video.frames.pyav import open_video

    return open_video(name, conversion)


def many(name: str) -> bool:
    """Whether a name is a pattern of names."""
    return "%" in name or glob.has_magic(name)


def picture_kind(path: str) -> str | None:
    """``animation``, ``picture``, or None for what Pillow does not read."""
    with reading(path):
        if os.path.getsize(path) == 0:
            raise InputError(f"{path}: no frames (it is empty)")
        try:
            with open_image(path) as image:
                if image.format in MOVIES:
                    return None
                return "animation" if getattr(image, "is_animated", False) else "picture"
        except UnidentifiedImageError:
            return None


def trimmed(frames: Frames, start: Fraction, length: Fraction | None) -> Frames:
    """The frames that are shown from `start` on for `length` seconds; times count from there."""

    def read(since: Fraction) -> Iterator[Frame]:
        for pixels, time, duration in frames.read(start + since):
            if length is not None and time >= start + length:
                return
            shown, gone = max(time, start), time + duration
            gone = gone if length is None else min(gone, start + length)
            if gone > shown:
                yield Frame(pixels, shown - start, gone - shown)

    count = None
    if frames.count is not None and frames.rate is not None:
        total = Fraction(frames.count) / frames.rate
        taken = total - start if length is None else min(total - start, length)
        count = max(round(taken * frames.rate), 0)
    return replace(frames, count=count, read=read)


def resampled(frames: Frames, rate: Fraction) -> Frames:
    """A frame at every tick of a clock, frames' times being rounded to the nearest tick.

    Files whose times are rounded to milliseconds so keep all frames at their own rate.
    """

    def read(since: Fraction) -> Iterator[Frame]:
        tick = 0
        for pixels, time, duration in frames.read(math.floor(since * rate) / rate):
            if time > 0:  # whatever comes before ends here
                tick = max(tick, math.floor(time * rate + Fraction(1, 2)), 1)
            last = max(math.floor((time + duration) * rate + Fraction(1, 2)), 1)
            for now in range(tick, last):
                yield Frame(pixels, now / rate, 1 / rate)
            tick = max(tick, last)

    known = frames.count is not None and frames.rate is not None
    count = round(Fraction(frames.count or 0) / (frames.rate or 1) * rate) if known else None
    return replace(frames, count=count, rate=rate, read=read)


def scaled(frames: Frames, width: int) -> Frames:
    """Frames of another width and the same proportions, by Lanczos' filter."""
    height = max(round(Fraction(frames.height * width, frames.width)), 1)

    def read(since: Fraction) -> Iterator[Frame]:
        for pixels, time, duration in frames.read(since):
            image = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
            yield Frame(np.asarray(image), time, duration)

    notes = [*frames.notes, f"scaled from {frames.width} x {frames.height}"]
    frames.notes[:] = notes
    return replace(frames, width=width, height=height, read=read)


def timed(
    pictures: Iterator[tuple[NDArray[np.uint8], Fraction]], last: Callable[[], Fraction]
) -> Iterator[Frame]:
    """Frames of pictures with their times: each lasts until the next, the last as `last` says.

    A picture that comes no later than the one before it follows it by
    as much as that followed its own.
    """
    held: tuple[NDArray[np.uint8], Fraction] | None = None
    step, failure = Fraction(0), None
    try:
        for pixels, time in pictures:
            if held is not None and time <= held[1]:
                time = held[1] + (step or last())
            if held is not None:
                step = time - held[1]
                yield Frame(*held, step)
            held = pixels, time
    except InputError as error:
        failure = error
    if held is not None:
        yield Frame(*held, last())
    if failure is not None:
        raise failure
