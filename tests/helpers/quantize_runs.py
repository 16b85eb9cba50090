"""Runs of `quantgpu quantize`, in this process and in one of its own, and what they leave."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_runs import contents
from image_files import encoded, exif
from numpy.typing import NDArray
from pictures import photo
from PIL import Image
from typer.testing import CliRunner

from quantgpu import cli

IN_HASTE = ["-k", "5", "--effort", "fast"]

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals, devices and terminals")


@pytest.fixture
def two_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with photo.png and odd.jpg in it."""
    monkeypatch.chdir(tmp_path)
    Path("photo.png").write_bytes(encoded(photo(), "PNG"))
    Path("odd.jpg").write_bytes(encoded(photo(37, 53, seed=1), "JPEG", exif=exif(6)))
    return tmp_path


class Ran:
    """How a run of the command ended."""

    def __init__(self, code: int | None, stdout: bytes, stderr: bytes) -> None:
        self.code, self.image, self.out, self.err = code, stdout, stdout, stderr.decode()
        self.lines = stdout.decode(errors="replace").splitlines()
        self.complaints = self.err.splitlines()

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.lines}\n{self.complaints}"


QUANTIZE = "quantize", "--device", "cpu"
"""On the CPU, wherever the tests run: elsewhere a line says why no GPU is used."""


def run(*arguments: str, stdin: bytes | None = None) -> Ran:
    """`quantgpu quantize` in this process."""
    result = CliRunner().invoke(cli.app, [*QUANTIZE, *arguments], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout_bytes, result.stderr_bytes)


def start(
    *arguments: str | bytes,
    code: str = "",
    stdin: Any = None,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    env: dict[str, str] | None = None,
    preexec_fn: Callable[[], Any] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `quantgpu quantize` in a process of its own, after `code`."""
    command = [sys.executable, "-c", f"{code}\nfrom quantgpu.__main__ import main; main()"]
    return subprocess.Popen(
        [*command, *QUANTIZE, *arguments],
        stdin=stdin, stdout=stdout, stderr=stderr, env=env, preexec_fn=preexec_fn,
    )  # fmt: skip


def run_process(*arguments: str | bytes, **options: Any) -> Ran:
    """`quantgpu quantize` in a process of its own, run to its end."""
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=60)
    return Ran(process.returncode, out or b"", err)


def decoded(source: Path | str | bytes) -> NDArray[np.uint8]:
    """The colors of the pixels of a file."""
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
        return np.asarray(opened.convert("RGB"))


def assert_refused(ran: Ran, code: int, message: str, before: dict[str, bytes]) -> None:
    """One line on standard error, the exit code, and nothing changed on disk."""
    assert ran.code == code, ran
    assert ran.lines == []
    assert len(ran.complaints) == 1, ran
    assert ran.complaints[0].startswith("quantgpu: error: ")
    assert re.search(message, ran.complaints[0]), ran
    assert contents() == before
