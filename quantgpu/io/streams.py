"""Standard input and standard output as files."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import IO

from quantgpu.errors import ChangedError, InputError, QualityError, UsageError
from quantgpu.io.atomic import translate_write_errors
from quantgpu.io.decode import translate_read_errors

STREAM = "-"
"""The file name that stands for standard input or standard output."""


@contextlib.contextmanager
def prefix_errors(name: str) -> Iterator[None]:
    """Prefix a UsageError, QualityError or ChangedError inside with the name of the image."""
    try:
        yield
    except (UsageError, QualityError, ChangedError) as error:
        raise type(error)(f"{name}: {error}") from None


def read_standard_input() -> io.BytesIO:
    """Read all of standard input; an InputError if it is closed."""
    if sys.stdin is None:
        raise InputError("standard input: is closed")
    with translate_read_errors("standard input"):
        return io.BytesIO(sys.stdin.buffer.read())


def standard_input_stream() -> IO[bytes]:
    """The stream of standard input; an InputError if it is closed."""
    if sys.stdin is None:
        raise InputError("standard input: is closed")
    return sys.stdin.buffer


@contextlib.contextmanager
def standard_output() -> Iterator[IO[bytes]]:
    """The stream of standard output, flushed at the end; a UsageError if closed or a terminal."""
    if sys.stdout is None or sys.stdout.isatty():
        raise UsageError("standard output is closed or a terminal; name a file with -o FILE")
    with translate_write_errors("standard output"):
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
