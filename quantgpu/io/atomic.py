"""Files that appear whole or not at all: a temporary name, then moved into place."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from quantgpu.errors import OutputError

NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
"""Flags of `os.open` for a new file; opening fails if the file exists."""


@contextlib.contextmanager
def atomic_write(path: Path, force: bool) -> Iterator[IO[bytes]]:
    """Open a temporary stream, and move it to `path` on success; an error leaves `path` as it was.

    Raises:
        OutputError: `path` exists and `force` is not given, or cannot be written.
    """
    temporary: str | None = None
    path = Path(os.path.realpath(path))
    check_writable(path, force)
    try:
        with translate_write_errors(path):
            candidate = str(path.parent / f".quantgpu-{secrets.token_hex(8)}.partial")
            descriptor = os.open(candidate, NEW_FILE, 0o666)  # less what the umask takes
            temporary = candidate
            with open(descriptor, "wb") as stream:
                yield stream
            if path.exists():
                os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
            check_writable(path, force)
            os.replace(temporary, path)
            temporary = None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


@contextlib.contextmanager
def translate_write_errors(name: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an OSError inside into an OutputError that begins with `name`."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            reason = "the disk is full; nothing was written"
        elif isinstance(error, PermissionError):
            reason = "not writable (permission denied)"
        else:
            reason = f"cannot be written ({(error.strerror or str(error)).lower()})"
        raise OutputError(f"{os.fspath(name)}: {reason}") from None


def check_writable(path: Path, force: bool) -> None:
    """Raise an OutputError if `path` is a folder, is in none, or exists without `force`."""
    with translate_write_errors(path):
        if not path.parent.is_dir():
            if path.parent.exists():
                raise OutputError(f"{path.parent}: is not a folder")
            raise OutputError(f"{path.parent}: no such folder; create it first")
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; name a file, or use --output-dir")
        if path.exists() and not force:
            raise OutputError(f"{path}: exists; use --force to replace it, or -o for another name")
