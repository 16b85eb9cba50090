"""Protect files that are read from being written over: one rule for all commands and kinds."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from quantgpu.errors import UsageError
from quantgpu.io.streams import STREAM


def file_id(path: str) -> Any:
    """The identity of a file, whatever names, links and hard links it goes by."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def file_ids(names: Iterable[str | None]) -> frozenset[Any]:
    """The identities of the files among some names; colors and standard input are none."""
    return frozenset(
        file_id(name) for name in names if name not in (None, "", STREAM) and os.path.exists(name)
    )


def check_not_read(output: str | None, inputs: Iterable[str | None]) -> None:
    """Raise if a file or folder that is to be replaced is one that is read, or has one inside.

    Args:
        output: A file or a folder; None and standard output replace nothing.
        inputs: Files and folders that are read. Names of none are left out, so that an option that
            takes colors or a file can be given as it is.

    Raises:
        UsageError: The output is an input, or a folder around one.
    """
    if output in (None, STREAM):
        return
    names = [name for name in inputs if name not in (None, "", STREAM) and os.path.exists(name)]
    if file_id(output) in map(file_id, names):
        raise UsageError(f"{output} is an input; originals are never replaced")
    folder = os.path.join(os.path.realpath(output), "")
    for name in names:
        if os.path.realpath(name).startswith(folder):
            raise UsageError(f"{output} has the input {name} inside; originals are never replaced")
