"""The command `help`: the list of topics, a page for a pipe and for a terminal, unknown topics."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import quantgpu
from quantgpu import cli
from quantgpu.cli.help import TOPICS, page

DOCS = Path(quantgpu.__file__).parent / "docs"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["help", *arguments])


def test_without_a_topic_each_has_a_line_that_fits_into_80_columns() -> None:
    ran = run()
    lines = ran.stdout.splitlines()
    assert ran.exit_code == 0
    assert [line.split()[0] for line in lines] == list(TOPICS)
    assert max(map(len, lines)) < 80
    titles = [page(topic).splitlines()[0].removeprefix("# ") for topic in TOPICS]
    assert [line.split(maxsplit=1)[1] for line in lines] == titles


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_in_a_pipe_is_the_file_itself(topic: str) -> None:
    ran = run(topic)
    assert ran.exit_code == 0
    assert ran.stdout == (DOCS / TOPICS[topic]).read_text()


def test_capitals_and_the_suffix_of_the_file_do_not_matter() -> None:
    assert run("CONTRIBUTING.md").stdout == run("contributing").stdout != ""


@pytest.mark.parametrize(
    ("topic", "near"),
    [
        ("vidoe", "video"),
        ("histogram", "histogram-files"),
        ("palete", "palettes"),
        ("zebra", " or ".join(TOPICS)),
    ],
)
def test_an_unknown_topic_is_refused_and_near_ones_are_named(topic: str, near: str) -> None:
    ran = run(topic)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr == f"quantgpu: error: topic = {topic!r} is none; use {near}\n"


def test_what_a_pipe_cannot_show_is_escaped() -> None:
    command = [sys.executable, "-m", "quantgpu", "help", "video"]
    ran = subprocess.run(
        command, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert ran.stdout.isascii()
    assert b"6\\xb2 levels" in ran.stdout


def on_a_terminal(topic: str, columns: int) -> str:
    """What a terminal gets to see."""
    screen, terminal = pty.openpty()
    wanted = {"TERM": "xterm-256color", "PAGER": "cat", "COLUMNS": str(columns), "LINES": "24"}
    command = [sys.executable, "-m", "quantgpu", "help", topic]
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, env={**os.environ, **wanted}
    )
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # the end, on Linux
        while part := os.read(screen, 1 << 16):
            shown += part
    os.close(screen)
    assert process.wait() == 0
    return shown.decode()


@pytest.mark.parametrize(("columns", "widest"), [(60, 60), (200, 100)])
def test_a_terminal_shows_a_page_in_its_width_with_tables_and_colors(
    columns: int, widest: int
) -> None:
    shown = on_a_terminal("exit-codes", columns)
    assert "\x1b[" in shown
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert max(map(len, lines)) <= widest
    assert any("─" * 20 in line for line in lines)
    assert any(line.split()[:2] == ["130", "interrupted"] for line in lines)
    assert "|---" not in shown


def test_the_list_loads_neither_rich_nor_numpy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from quantgpu import cli\n"
        "assert CliRunner().invoke(cli.app, ['help']).exit_code == 0\n"
        "sys.exit(bool({'numpy', 'PIL', 'rich.markdown', 'cupy'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
