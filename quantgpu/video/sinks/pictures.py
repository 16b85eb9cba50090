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
"""The pictures that are written into a folder."""


class Sink(NamedTuple):
    """Where frames go."""

    write: Write
    notes: list[str]
    """What could not be written as it was given."""
    numbered: Numbered | None
    """Where pictures are that several may write; None if it is one file."""


def picture_pattern(name: str) -> str | None:
    """The pattern of the names of pictures that `name` asks for; None for a single file.

    Raises:
        UsageError: It has more than one place for a number, or one in its folder.
    """
    if name.endswith(("/", os.sep)) or os.path.isdir(name):
        return os.path.join(name, NAMES_IN_FOLDER)
    if "%" not in name:
        return None
    last = os.path.basename(name)
    if name.count("%") != 1 or len(NUMBER.findall(last)) != 1:
        raise UsageError(f"{name}: not a pattern of names; use one %d or %05d, as in out_%05d.png")
    return name


class Numbered(NamedTuple):
    """Writes numbered pictures, from 1 on, into a temporary folder."""

    temporary: str
    folder: str
    """Where they are moved when all are written."""
    names: str
    """The pattern of their names."""
    free: bool
    """Whether nothing can be in the way there."""
    force: bool
    clip: ClipInfo

    def __call__(self, index: NDArray[Any], palette: NDArray[np.uint8], duration: Fraction) -> None:
        """Write the next picture."""
        number = self.clip.written + 1
        self.check(number)
        write_picture(os.path.join(self.temporary, self.names % number), index, palette)

    def check(self, number: int) -> None:
        """Raise an OutputError if another picture of that number is there and has to stay."""
        if self.free:
            return
        path = os.path.join(self.folder, self.names % number)
        if self.clip.originals and file_id(path) in self.clip.originals:
            raise UsageError(f"{path} is an input; originals are never replaced")
        check_writable(Path(path), self.force)

    def place(self) -> None:
        """Move the pictures to where they belong."""
        os.makedirs(self.folder, exist_ok=True)
        for number in range(1, self.clip.written + 1):
            name = self.names % number
            os.replace(os.path.join(self.temporary, name), os.path.join(self.folder, name))


def write_picture(path: str, index: NDArray[Any], palette: NDArray[np.uint8]) -> None:
    """Write a picture of a format of `output.FORMATS`."""
    with open(path, "wb") as stream:
        encode(index, palette, format_for(path), stream, COMPRESS_LEVEL)


@contextlib.contextmanager
def pictures(name: str, force: bool, clip: ClipInfo) -> Iterator[Write]:
    """Numbered pictures, from 1 on, which are moved into their folder when all are written."""
    pattern = picture_pattern(name) or name
    folder, last = os.path.split(os.path.realpath(pattern))
    made = not os.path.isdir(folder)
    if made and not os.path.isdir(os.path.dirname(folder)):
        raise OutputError(f"{os.path.dirname(folder)}: no such folder; create it first")
    with translate_write_errors(folder):
        temporary = tempfile.mkdtemp(prefix=".quantgpu-", suffix=".partial", dir=parent_of(folder))
    try:
        with translate_write_errors(folder):
            numbered = Numbered(temporary, folder, last, made, force, clip)
            yield numbered
            numbered.place()
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def parent_of(folder: str) -> str:
    """Where the temporary folder is made: in the folder, or beside it where it is to be made."""
    return folder if os.path.isdir(folder) else os.path.dirname(folder)
