"""Sinks of indexed frames: animations, videos and numbered pictures, which appear whole or not.

>>> from quantgpu.video.sinks.open import open_sink
>>> with open_sink("clip.gif", width=640, height=360) as sink:  # doctest: +SKIP
...     sink.write(index, palette, Fraction(1, 25))

An error that leaves the context removes the output; an error caught inside it keeps the frames so
far.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.errors import UsageError
from quantgpu.io.atomic import atomic_write
from quantgpu.io.encode import check_alpha, format_for
from quantgpu.io.originals import file_id
from quantgpu.io.streams import STREAM, standard_output
from quantgpu.video.sinks.apng import apng
from quantgpu.video.sinks.base import Begin, ClipInfo, SinkFormat, Write
from quantgpu.video.sinks.gif import gif
from quantgpu.video.sinks.pictures import NumberedPictures, Sink, picture_pattern, pictures
from quantgpu.video.sinks.pyav import FFV1, H264, Y4M, mkv, mp4, y4m
from quantgpu.video.sinks.webp import webp


@contextlib.contextmanager
def begin_file(name: str, force: bool, clip: ClipInfo, begin: Begin) -> Iterator[Write]:
    """Begin a file that appears when it is complete, or standard output."""
    stream = standard_output() if name == STREAM else atomic_write(Path(name), force)
    with stream as file, begin(file, clip) as write:
        yield write


MAX_K = 65_536
"""Most colors of a palette with 16-bit indices."""

SINKS = {
    ".gif": SinkFormat("GIF", 255, 256, "binary", 65_535, partial(begin_file, begin=gif)),
    ".apng": SinkFormat("APNG", 255, MAX_K, "keep", 2**31 - 1, partial(begin_file, begin=apng)),
    ".webp": SinkFormat("WebP", MAX_K, MAX_K, "keep", 16_383, partial(begin_file, begin=webp)),
    ".mkv": SinkFormat(FFV1.name, MAX_K, MAX_K, "keep", 65_535, partial(begin_file, begin=mkv)),
    ".mp4": SinkFormat(H264.name, MAX_K, MAX_K, "flatten", 16_384, partial(begin_file, begin=mp4)),
    ".y4m": SinkFormat(Y4M.name, MAX_K, MAX_K, "flatten", 65_535, partial(begin_file, begin=y4m)),
}
"""Suffix to format; all but y4m are lossless.

APNG with more than 256 colors, or palettes that change, is true color. Browsers show GIF, APNG and
WebP. RGB in H.264 (profile High 4:4:4 Predictive) and FFV1 are played by mpv, VLC and ffmpeg, and
read by editing programs that use FFmpeg, but by few browsers and no QuickTime. y4m is YUV 4:4:4 by
BT.601 in the limited range, as FFmpeg takes it: colors come back with errors of up to 3 levels."""


def sink_format(path: str | os.PathLike[str]) -> SinkFormat:
    """The format of an output by its suffix: of `SINKS`, or of `encode.FORMATS` for pictures.

    Raises:
        UsageError: No format has the suffix.
    """
    name = os.fspath(path)
    if name == STREAM:
        return SINKS[".y4m"]
    if pattern := picture_pattern(name):
        form = format_for(pattern)
        colors = form.entries or form.colors
        return SinkFormat(form.name, colors, form.colors, form.alpha, form.side, pictures)
    suffix = Path(name).suffix.lower()
    if suffix not in SINKS:
        raise UsageError(
            f"{name}: no format of animations for the suffix {suffix or '(none)'!r}; use one of "
            f"{', '.join(SINKS)}, - for y4m on standard output, a pattern such as "
            "out_%05d.png, or a folder with / at the end"
        )
    return SINKS[suffix]


@contextlib.contextmanager
def open_sink(
    path: str | os.PathLike[str],
    *,
    width: int,
    height: int,
    rate: Fraction | None = None,
    loop: int = 0,
    one_palette: bool = True,
    transparent: bool = False,
    force: bool = False,
    originals: frozenset[Any] = frozenset(),
) -> Iterator[Sink]:
    """Open a file, or numbered files, for frames written one by one, in constant memory.

    Args:
        path: A name with a suffix of `SINKS`; ``-`` for y4m on standard output; a pattern such as
            ``out_%05d.png`` with a suffix of `encode.FORMATS`; or a folder.
        width: Columns of every frame.
        height: Rows of every frame.
        rate: Frames per second; None if durations vary.
        loop: How often an animation is shown, 0 for without end.
        one_palette: Whether all frames have the same palette: APNG holds no other indices.
        transparent: Whether some palette may have colors that are not opaque.
        force: Whether to replace existing files.
        originals: Identities of files that are read, see `file_ids`; they are never replaced.

    Raises:
        UsageError: A file that is read would be replaced; or the format is unknown, or cannot hold
            the frames.
        OutputError: A file exists, or cannot be written; PyAV is needed and absent.
    """
    name, form = os.fspath(path), sink_format(path)
    if max(width, height) > form.side:
        raise UsageError(
            f"{name}: {width} x {height} is more than {form.name} holds ({form.side} pixels a side)"
        )
    clip = ClipInfo(width, height, rate, loop, one_palette, transparent, originals)
    if picture_pattern(name) is None and file_id(name) in originals:
        raise UsageError(f"{name} is an input; originals are never replaced")
    with form.open(name, force, clip) as write:
        numbered = write if isinstance(write, NumberedPictures) else None
        yield Sink(checked_write(write, form, clip), clip.notes, numbered)
        if not clip.written:
            raise UsageError(f"{name}: no frames to write")


def checked_write(write: Write, form: SinkFormat, clip: ClipInfo) -> Write:
    """`write` after a check of each frame, which raises a UsageError for size, K or alpha."""

    def write_checked(index: NDArray[Any], palette: NDArray[np.uint8], duration: Fraction) -> None:
        if index.shape != (clip.height, clip.width):
            raise UsageError(
                f"a frame of {index.shape[1]} x {index.shape[0]} among frames of "
                f"{clip.width} x {clip.height}"
            )
        check_palette(palette, form, clip)
        write(index, palette, duration)
        clip.written += 1

    return write_checked


def check_palette(palette: NDArray[np.uint8], form: SinkFormat, clip: ClipInfo) -> None:
    """Raise a UsageError unless the format and the clip hold the colors of a frame."""
    if len(palette) > form.colors:
        raise UsageError(f"k = {len(palette)} is more than the {form.colors} colors of {form.name}")
    if palette.shape[1] == 4 and not clip.transparent and (palette[:, 3] < 255).any():
        raise UsageError("transparent colors in a clip that was said to have none")
    check_alpha(form.name, form.alpha, palette)


def size_of(output: str, frames: int) -> int | None:
    """The bytes of an output of `frames` frames; None for standard output."""
    if output == STREAM:
        return None
    pattern = picture_pattern(output)
    if pattern is None:
        return os.path.getsize(output)
    return sum(os.path.getsize(pattern % number) for number in range(1, frames + 1))
