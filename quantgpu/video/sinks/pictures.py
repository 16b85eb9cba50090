"""Frames as numbered pictures in a folder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.errors import OutputError, UsageError
from quantgpu.io.atomic import check_writable, translate_write_errors
from quantgpu.io.encode import COMPRESS_LEVEL, encode, format_for
from quantgpu.io.originals import file_id
from quantgpu.video.sinks.base import ClipInfo, Write

NUMBER = re.compile(r"%(0?\d*)d")
"""The place of the number in a pattern of names."""

NAMES_IN_FOLDER = "frame_%05d.png"
"""The pattern of names for an output that is a folder."""


class Sink(NamedTuple):
    """An open output of frames."""

    write: Write
    notes: list[str]
    """Losses on writing, for people."""
    numbered: NumberedPictures | None
    """The numbered pictures, which several processes may write; None for a single file."""


def picture_pattern(name: str) -> str | None:
    """The pattern of numbered pictures for an output's name; None for a single file.

    Raises:
        UsageError: The name has more than one place for a number, or one in its folder.
    """
    if name.endswith(("/", os.sep)) or os.path.isdir(name):
        return os.path.join(name, NAMES_IN_FOLDER)
    if "%" not in name:
        return None
    last = os.path.basename(name)
    if name.count("%") != 1 or len(NUMBER.findall(last)) != 1:
        raise UsageError(f"{name}: not a pattern of names; use one %d or %05d, as in out_%05d.png")
    return name


class NumberedPictures(NamedTuple):
    """Writes pictures with numbers from 1 on into a temporary folder."""

    temporary: str
    folder: str
    """The folder to which finished pictures are moved."""
    names: str
    """The pattern of the pictures' names."""
    free: bool
    """Whether the folder is new, so that no picture can exist."""
    force: bool
    """Whether to replace existing pictures."""
    clip: ClipInfo

    def __call__(self, index: NDArray[Any], palette: NDArray[np.uint8], duration: Fraction) -> None:
        """Write the next picture."""
        number = self.clip.written + 1
        self.check(number)
        write_picture(os.path.join(self.temporary, self.names % number), index, palette)

    def check(self, number: int) -> None:
        """Raise an error if a picture is an input, or exists and must not be replaced."""
        if self.free:
            return
        path = os.path.join(self.folder, self.names % number)
        if self.clip.originals and file_id(path) in self.clip.originals:
            raise UsageError(f"{path} is an input; originals are never replaced")
        check_writable(Path(path), self.force)

    def move_pictures(self) -> None:
        """Move the pictures into their folder."""
        os.makedirs(self.folder, exist_ok=True)
        for number in range(1, self.clip.written + 1):
            name = self.names % number
            os.replace(os.path.join(self.temporary, name), os.path.join(self.folder, name))


def write_picture(path: str, index: NDArray[Any], palette: NDArray[np.uint8]) -> None:
    """Write a picture in the format of `encode.FORMATS` that its suffix names."""
    with open(path, "wb") as stream:
        encode(index, palette, format_for(path), stream, COMPRESS_LEVEL)


@contextlib.contextmanager
def pictures(name: str, force: bool, clip: ClipInfo) -> Iterator[Write]:
    """Begin numbered pictures, which are moved into their folder when all are written."""
    pattern = picture_pattern(name) or name
    folder, last = os.path.split(os.path.realpath(pattern))
    is_new = not os.path.isdir(folder)
    if is_new and not os.path.isdir(os.path.dirname(folder)):
        raise OutputError(f"{os.path.dirname(folder)}: no such folder; create it first")
    with translate_write_errors(folder):
        temporary = tempfile.mkdtemp(prefix=".quantgpu-", suffix=".partial", dir=parent_of(folder))
    try:
        with translate_write_errors(folder):
            numbered = NumberedPictures(temporary, folder, last, is_new, force, clip)
            yield numbered
            numbered.move_pictures()
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def parent_of(folder: str) -> str:
    """The parent of the temporary folder: `folder`, or the folder around it if it is missing."""
    return folder if os.path.isdir(folder) else os.path.dirname(folder)
