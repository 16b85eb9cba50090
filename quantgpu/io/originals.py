"""Protect inputs from being overwritten: one rule for all commands and kinds of files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from quantgpu.errors import UsageError
from quantgpu.io.streams import STREAM


def file_id(path: str) -> Any:
    """The identity of a file, equal for all names, links and hard links of the file."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def file_ids(names: Iterable[str | None]) -> frozenset[Any]:
    """The identities of the existing files among `names`; others, such as colors, are left out."""
    return frozenset(
        file_id(name) for name in names if name not in (None, "", STREAM) and os.path.exists(name)
    )


def check_not_read(output: str | None, inputs: Iterable[str | None]) -> None:
    """Raise if the output, a file or folder, is an input or contains one.

    Args:
        output: A file or a folder; None and standard output replace nothing.
        inputs: Files and folders that are read. Names of no file are ignored, so that an option
            for colors or a file can be passed as it is.

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
