"""`quantgpu quantize` interrupted, and on a terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from command_runs import contents
from image_files import encoded, noise
from quantize_runs import (
    IN_HASTE,
    POSIX,
    Ran,
    run,
    run_process,
    start,
)

pytestmark = pytest.mark.usefixtures("two_pictures")


@pytest.mark.parametrize("stage", ["read", "count", "cluster", "remap", "write"])
def test_interruption_at_any_stage_ends_with_130_and_leaves_no_file(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    before = contents()
    doing = {
        "read": "quantgpu.io.decode.read_image",
        "count": "quantgpu.pipeline.convert.count_colors",
        "cluster": "quantgpu.clustering.cluster.round_to_palette",
        "remap": "quantgpu.pipeline.convert.mapper_for",
        "write": "PIL.Image.Image.save",
    }
    monkeypatch.setattr(doing[stage], interrupt)
    ran = run("photo.png", "odd.jpg", *IN_HASTE)
    assert (ran.code, ran.lines) == (130, [])
    assert ran.complaints == ["quantgpu: interrupted; files at work were not written"]
    assert contents() == before


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_work_with_130_and_leaves_no_file(number: signal.Signals) -> None:
    Path("large.png").write_bytes(encoded(noise(1500, 1400, 3), "PNG", compress_level=0))
    before = contents()

    def heard() -> None:  # jobs in the background begin with deaf ears for Ctrl-C
        signal.signal(number, signal.SIG_DFL)

    process = start("large.png", "--effort", "best", "--verbose", preexec_fn=heard)
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"quantgpu ")  # the work begins
    time.sleep(0.1)
    process.send_signal(number)
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 130
    assert complaint == b"quantgpu: interrupted; files at work were not written\n"
    assert contents() == before


def on_terminal(*arguments: str, patience: float, stdout: bool = False) -> Ran:
    """`quantgpu quantize` with its standard error, and maybe output, on a terminal.

    What is shown there is in `err`.
    """
    import pty

    terminal, end = pty.openpty()
    with open("photo.png", "rb") as stdin, open(end, "wb") as shown:
        process = start(
            *arguments,
            code=f"from quantgpu.cli import progress_bar; progress_bar.PATIENCE = {patience}",
            stdin=stdin,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
            stdout=shown if stdout else subprocess.PIPE,
            stderr=shown,
        )
    received = b""
    with open(terminal, "rb", buffering=0) as screen, contextlib.suppress(OSError):
        while data := screen.read(65_536):  # at the end Linux raises, others return nothing
            received += data
    out, _ = process.communicate(timeout=60)
    return Ran(process.returncode, out or b"", received)


@POSIX
def test_work_longer_than_the_patience_shows_a_bar_that_vanishes() -> None:
    ran = on_terminal("photo.png", *IN_HASTE, patience=0)
    assert (ran.code, len(ran.lines)) == (0, 1)
    assert "photo.png" in ran.err
    assert "━" in ran.err
    assert ran.err.rstrip("\r\n").endswith("\x1b[2K"), "the last that is done is to clear the line"


@POSIX
@pytest.mark.parametrize(("options", "patience"), [([], 60), (["--quiet"], 0), (["--json"], 0)])
def test_short_quiet_and_json_runs_show_no_bar(options: list[str], patience: float) -> None:
    ran = on_terminal("photo.png", *IN_HASTE, *options, patience=patience)
    assert (ran.code, ran.err) == (0, "")


def test_no_bar_is_shown_where_standard_error_is_no_terminal() -> None:
    ran = run_process(
        "photo.png",
        *IN_HASTE,
        code="from quantgpu.cli import progress_bar; progress_bar.PATIENCE = 0",
    )
    assert (ran.code, len(ran.lines), ran.complaints) == (0, 1, [])


@POSIX
def test_image_is_not_written_to_a_terminal() -> None:
    ran = on_terminal("-", patience=60, stdout=True)
    assert ran.code == 2
    assert len(ran.complaints) == 1
    assert "name a file with -o FILE" in ran.err
