"""The console of commands: lines, warnings, errors, interruptions and exit codes."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple, NoReturn

import typer

from quantgpu.cli.progress_bar import Bar
from quantgpu.errors import INTERRUPTED, OnError, OutputError, QuantgpuError, report_errors
from quantgpu.progress import Display


class Output(NamedTuple):
    """Options for the output of a command."""

    quiet: bool = False
    """Print errors only."""
    as_json: bool = False
    """Print results as JSON."""
    verbose: bool = False
    """Also print decisions, such as chosen options."""

    @property
    def prints_results(self) -> bool:
        """Whether results are printed."""
        return self.as_json or not self.quiet

    @property
    def display(self) -> Display:
        """The display of progress: a bar on a terminal, nothing otherwise."""
        return partial(Bar, shown=not (self.quiet or self.as_json))

    def warn(self, notes: Iterable[str]) -> None:
        """Print notes as warnings, unless only errors are printed."""
        for note in () if self.quiet else notes:
            say(f"quantgpu: warning: {note}", err=True)


@contextlib.contextmanager
def orderly_stop() -> Iterator[None]:
    """End the program with one line after Ctrl-C or SIGTERM inside, once all is cleaned up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        say("quantgpu: interrupted; files at work were not written", err=True)
        raise typer.Exit(INTERRUPTED) from None


@contextlib.contextmanager
def print_errors(failures: list[QuantgpuError]) -> Iterator[None]:
    """Print an error inside, and append it to `failures`."""
    with report_errors(error_printer(failures)):
        yield


def error_printer(failures: list[QuantgpuError]) -> OnError:
    """A callback that prints an error and appends it to `failures`."""

    def report(error: QuantgpuError) -> None:
        failures.append(error)
        complain(error)

    return report


def say(text: str, err: bool = False) -> None:
    """Print one line to standard output or standard error; escape characters it cannot show."""
    stream = sys.stderr if err else sys.stdout
    if stream is None:
        return
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    try:
        typer.echo(
            line.encode(stream.encoding, "backslashreplace").decode(stream.encoding), err=err
        )
    except OSError as error:
        if not err:
            raise OutputError(f"standard output: cannot be written ({error.strerror})") from None


def complain(error: QuantgpuError) -> None:
    """Print an error as one line to standard error."""
    say(f"quantgpu: error: {error}", err=True)


def fail(error: QuantgpuError) -> NoReturn:
    """Print an error, and end the program with its exit code."""
    complain(error)
    raise typer.Exit(error.exit_code)
