"""Frames through Pillow, from animated GIF, PNG and WebP files and from separate pictures."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantgpu.color.alpha import is_opaque
from quantgpu.errors import InputError
from quantgpu.io.decode import open_image, read_image, translate_read_errors
from quantgpu.io.exif import orientation_of
from quantgpu.threads import default_threads, imap_threads
from quantgpu.video.frames.base import Frame, Frames

NO_TIME = Fraction(1, 10)
"""Seconds for which browsers show a frame of duration 0."""

SIDEWAYS = 5
"""The first EXIF orientation that swaps width and height."""

LONGEST_DENOMINATOR = 65_535
"""The greatest denominator of a duration: APNG files have fractions of 16-bit numbers, which
Pillow converts to milliseconds."""


class AnimationInfo(NamedTuple):
    """Durations and opacity of an animation, from decoding it once."""

    durations: list[Fraction]
    """Seconds of each frame."""
    opaque: bool
    """Whether every pixel of every frame is opaque."""
    whole: bool
    """Whether the animation was read to its end."""


def open_animation(path: str, channels: int | None = None) -> Frames:
    """The frames of an animated GIF, PNG or WebP file, composed as they are shown.

    `channels`: 3 if every pixel is known to be opaque, 4 if some pixel is not, None if unknown.
    """
    with translate_read_errors(path), open_image(path) as image:
        width, height = image.size
        loop = loop_count(image)
    durations, opaque, whole = survey(path, channels)
    if not durations:
        raise InputError(f"{path}: no frames (it is damaged from the start)")
    notes: list[str] = []
    if 0 in durations:
        notes.append(f"frames that are shown for no time are shown for {float(NO_TIME)} s")
    lasting = [duration or NO_TIME for duration in durations]

    def read(since: Fraction) -> Iterator[Frame]:
        time = Fraction(0)
        pictures = animation_frames(path, "RGB" if opaque else "RGBA")
        for duration, (picture, _) in zip(lasting, pictures, strict=False):
            yield Frame(np.asarray(picture), time, duration)
            time += duration
        if not whole:
            next(pictures, None)

    rate = 1 / lasting[0] if len(set(lasting)) == 1 else None
    count = len(durations) if whole else None
    channels = 3 if opaque else 4
    return Frames(path, width, height, channels, count, rate, loop, notes, read)


def loop_count(image: Image.Image) -> int:
    """How often an animation is shown, 0 for without end.

    A GIF file has the number of repetitions, files of other formats the number of runs.
    """
    loop = image.info.get("loop")
    if image.format == "GIF":
        return 1 if loop is None else loop and int(loop) + 1
    return int(loop or 0)


def survey(path: str, channels: int | None) -> AnimationInfo:
    """Decode an animation for its durations and its opacity; `channels`: as in `open_animation`."""
    durations, opaque = [], channels != 4
    try:
        for picture, duration in animation_frames(path, None):
            durations.append(duration)
            if channels is None and opaque and picture.has_transparency_data:
                opaque = is_opaque(picture.convert("RGBA"))
    except InputError:
        return AnimationInfo(durations, opaque, False)
    return AnimationInfo(durations, opaque, True)


def animation_frames(path: str, mode: str | None) -> Iterator[tuple[Image.Image, Fraction]]:
    """The frames of an animation in a Pillow mode, None for Pillow's choice, and their seconds."""
    with translate_read_errors(path), open_image(path) as image:
        first = 1 if getattr(image, "default_image", False) else 0
        for number in range(first, getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            shown = Fraction(image.info.get("duration", 0)) / 1000
            duration = shown.limit_denominator(LONGEST_DENOMINATOR)
            yield image if mode is None else image.convert(mode), duration


def natural_key(name: str) -> list[tuple[int, str]]:
    """A sorting key that compares the numbers in names by value."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def pictures_of(source: str) -> list[str]:
    """The names of pictures in a folder, or of files that match a pattern, in natural order.

    Raises:
        InputError: No file matches.
    """
    if os.path.isdir(source):
        Image.init()
        known = Image.registered_extensions()
        entries = [path for path in Path(source).iterdir() if path.suffix.lower() in known]
        names = [str(path) for path in entries if not path.name.startswith(".")]
        missing = "no pictures in this folder"
    elif "%" in source:
        names = numbered_files(source)
        missing = "no file has such a name, with a number in place of %d or %05d"
    else:
        names, missing = glob.glob(source), "no file has such a name"
    names = sorted(filter(os.path.isfile, names), key=natural_key)
    if not names:
        raise InputError(f"{source}: {missing}")
    return names


def numbered_files(pattern: str) -> list[str]:
    """The files that match a pattern with one number, such as ``frame_%05d.png``.

    Raises:
        InputError: The pattern has no place for a number, or several; its folder does not exist.
    """
    folder, name = os.path.split(pattern)
    places = re.findall(r"%(0?\d*)d", name)
    if len(places) != 1 or name.count("%") != 1:
        raise InputError(f"{pattern}: not a pattern of names; use one %d or %05d, as in f_%05d.png")
    before, after = re.split(r"%0?\d*d", name)
    digits = int(places[0] or 1)
    fitting = re.compile(re.escape(before) + rf"(\d{{{digits},}})" + re.escape(after))
    folder = folder or "."
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder")
    return [os.path.join(folder, name) for name in os.listdir(folder) if fitting.fullmatch(name)]


def open_pictures(
    name: str, paths: Sequence[str], rate: Fraction, channels: int | None = None
) -> Frames:
    """Pictures, decoded by `read_image`, as frames of one size.

    `channels`: 3 or 4 if known; only the first picture is then inspected before reading.

    Raises:
        InputError: A picture cannot be opened, or its size is not that of the first.
    """
    (width, height), first_channels = inspect_pictures(paths if channels is None else paths[:1])
    mode = "RGB" if (channels or first_channels) == 3 else "RGBA"
    notes: list[str] = []

    def read(since: Fraction) -> Iterator[Frame]:
        first = min(int(since * rate), len(paths) - 1)
        pictures = imap_threads(pixels_of(mode), paths[first:], default_threads())
        for number, (pixels, picture_notes) in enumerate(pictures, first):
            notes.extend(note for note in picture_notes if note not in notes)
            yield Frame(pixels, number / rate, 1 / rate)

    return Frames(
        name, width, height, len(mode), len(paths), rate, None, notes, read, files=tuple(paths)
    )  # fmt: skip


def inspect_pictures(paths: Sequence[str]) -> tuple[tuple[int, int], int]:
    """The common size (width, height) of pictures, and 4 if any pixel is not opaque, else 3.

    Raises:
        InputError: A picture cannot be opened, or its size is not that of the first.
    """
    sizes, plain = zip(*imap_threads(read_header, paths, default_threads()), strict=True)
    for path, size in zip(paths, sizes, strict=True):
        if size != sizes[0]:
            raise InputError(
                f"{path}: {size[0]} x {size[1]} pixels, but {paths[0]} has {sizes[0][0]} x "
                f"{sizes[0][1]}; frames must be of one size"
            )
    doubtful = [path for path, sure in zip(paths, plain, strict=True) if not sure]
    opaque = all(imap_threads(is_opaque_file, doubtful, default_threads()))
    return sizes[0], 3 if opaque else 4


def read_header(path: str) -> tuple[tuple[int, int], bool]:
    """Read the upright size of a picture, and whether it has no transparency, from its header."""
    with translate_read_errors(path), open_image(path) as image:
        turned: Any = orientation_of(image, [])
        sideways = isinstance(turned, int) and turned >= SIDEWAYS
        width, height = image.size
        size = (height, width) if sideways else (width, height)
        return size, not image.has_transparency_data


def is_opaque_file(path: str) -> bool:
    """Whether every pixel of a picture is opaque; True also for an unreadable picture."""
    try:
        return read_image(path, alpha="keep", threads=1).image.mode == "RGB"
    except InputError:
        return True


def pixels_of(mode: str) -> Callable[[str], tuple[NDArray[np.uint8], list[str]]]:
    """A function from a path to the pixels of the picture in a Pillow mode, and notes."""

    def pixels(path: str) -> tuple[NDArray[np.uint8], list[str]]:
        decoded = read_image(path, alpha="keep", threads=1)
        image = decoded.image
        return np.asarray(image if image.mode == mode else image.convert(mode)), decoded.notes

    return pixels
