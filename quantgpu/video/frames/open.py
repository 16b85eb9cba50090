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
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
from PIL import Image, UnidentifiedImageError

from quantgpu.errors import InputError, UsageError
from quantgpu.io.decode import open_image, translate_read_errors
from quantgpu.io.streams import STREAM
from quantgpu.video.frames.base import DEFAULT_RATE, Frame, Frames, parse_seconds

MOVIES = {"MPEG"}
"""Formats that Pillow recognizes but leaves to PyAV."""


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
        fps: Frames per second: frames are dropped or repeated to keep their times. For pictures
            the rate, 25 when None.
        start: Seconds to leave out.
        duration: Seconds to take.
        width: Columns to scale to, keeping the proportions.
        conversion: From YUV to RGB, a row of `frames.pyav.CONVERSIONS`.
        channels: `Frames.channels` of a source that was opened before; None to search all pictures
            for transparency.

    Raises:
        UsageError: An option is outside its range.
        InputError: The source does not exist, cannot be read, or has no frames; pictures have
            different sizes; PyAV is needed and absent.
    """
    rate = parse_seconds(fps, "--fps", Fraction(1, 3600), 1000)
    first = parse_seconds(start, "--start", Fraction(0), None)
    length = parse_seconds(duration, "--duration", Fraction(1, 1_000_000), None)
    if width is not None and not 1 <= width <= 65_535:
        raise UsageError(f"--width {width} is outside 1..65535")
    frames = open_source(source, rate or DEFAULT_RATE, conversion, channels)
    if first or length is not None:
        frames = trim(frames, first or Fraction(0), length)
    if rate is not None:
        frames = resample(frames, rate)
    return frames if width in (None, frames.width) else scale(frames, int(width or 0))


def open_source(
    source: str | os.PathLike[str], rate: Fraction, conversion: str, channels: int | None
) -> Frames:
    """The frames of a source, neither cut nor resampled nor scaled; `rate`: of pictures."""
    name = os.fspath(source)
    if (
        name != STREAM
        and not os.path.isdir(name)
        and (os.path.exists(name) or not is_pattern(name))
    ):
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


def is_pattern(name: str) -> bool:
    """Whether a name is a pattern such as ``frame_%05d.png`` or ``*.png``."""
    return "%" in name or glob.has_magic(name)


def picture_kind(path: str) -> str | None:
    """``animation`` or ``picture``; None for a file that Pillow does not read.

    Raises:
        InputError: The file is missing or empty.
    """
    with translate_read_errors(path):
        if os.path.getsize(path) == 0:
            raise InputError(f"{path}: no frames (it is empty)")
        try:
            with open_image(path) as image:
                if image.format in MOVIES:
                    return None
                return "animation" if getattr(image, "is_animated", False) else "picture"
        except UnidentifiedImageError:
            return None


def trim(frames: Frames, start: Fraction, length: Fraction | None) -> Frames:
    """Cut frames to the `length` seconds from `start` on, with times from `start`."""

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


def resample(frames: Frames, rate: Fraction) -> Frames:
    """Resample frames to a constant rate, with their times rounded to the nearest tick.

    Rounding keeps all frames of a file whose times are in milliseconds at the file's own rate.
    """

    def read(since: Fraction) -> Iterator[Frame]:
        tick = 0
        for pixels, time, duration in frames.read(math.floor(since * rate) / rate):
            if time > 0:  # the frame before ends at this tick
                tick = max(tick, math.floor(time * rate + Fraction(1, 2)), 1)
            last = max(math.floor((time + duration) * rate + Fraction(1, 2)), 1)
            for now in range(tick, last):
                yield Frame(pixels, now / rate, 1 / rate)
            tick = max(tick, last)

    known = frames.count is not None and frames.rate is not None
    count = round(Fraction(frames.count or 0) / (frames.rate or 1) * rate) if known else None
    return replace(frames, count=count, rate=rate, read=read)


def scale(frames: Frames, width: int) -> Frames:
    """Scale frames to a width, keeping the proportions, by Lanczos' filter."""
    height = max(round(Fraction(frames.height * width, frames.width)), 1)

    def read(since: Fraction) -> Iterator[Frame]:
        for pixels, time, duration in frames.read(since):
            image = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
            yield Frame(np.asarray(image), time, duration)

    notes = [*frames.notes, f"scaled from {frames.width} x {frames.height}"]
    frames.notes[:] = notes
    return replace(frames, width=width, height=height, read=read)
