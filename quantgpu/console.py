"""How commands run: one input after the other, what is said where, and how they end."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

import typer

from quantgpu.errors import (
    INTERRUPTED,
    SKIPPED,
    OutputError,
    PartialError,
    QuantgpuError,
    UsageError,
)

if TYPE_CHECKING:
    from quantgpu.files import Destination, Report, Work


@contextlib.contextmanager
def orderly_stop() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the program with one line, after everything was cleaned up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        say("quantgpu: interrupted; the file at work was not written", err=True)
        raise typer.Exit(INTERRUPTED) from None


def convert_each(
    inputs: list[str],
    destination: Destination,
    work: Work,
    quiet: bool,
    as_json: bool,
    others: Sequence[str] = (),
) -> None:
    """Do the work on every input, say what was done, and fail if any of it failed.

    Neither inputs nor the `others` are ever written to.
    """
    import logging

    from quantgpu.files import STREAM, convert_file, identity
    from quantgpu.progress import Bar

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it adds lines of its own
    failures: list[QuantgpuError] = []
    said: set[str] = set()
    skipped = False
    taken = {
        identity(name): "is an input; originals are never replaced" for name in [*inputs, *others]
    }
    for name in inputs:
        reports: list[Report] = []
        with complaining(failures):
            for output in (destination.of(name, tag) for tag in work.tags):
                if output != STREAM and (reason := taken.get(identity(output))):
                    raise UsageError(f"{name}: {output} {reason}")
            try:
                with Bar(name, shown=not (quiet or as_json)) as bar:
                    reports.extend(convert_file(name, destination, work, bar))
            finally:
                for report in reports:
                    tell_of(report, said, quiet, as_json)
        for report in reports:
            taken[identity(report.output)] = f"was just made from {name}"
            skipped = skipped or report.skipped
    if len(inputs) > 1 and failures:
        fail(PartialError(f"{len(failures)} of {len(inputs)} inputs failed"))
    if failures:
        raise typer.Exit(failures[0].exit_code)
    if skipped:
        raise typer.Exit(SKIPPED)


def tell_of(report: Report, said: set[str], quiet: bool, as_json: bool) -> None:
    """Print what was done with an image, and warnings that were not `said` yet."""
    from quantgpu.files import STREAM

    warnings = [f"{report.input}: {note}" for note in report.notes] + report.device_notes
    for warning in [] if quiet else warnings:
        if warning not in said:
            say(f"quantgpu: warning: {warning}", err=True)
        said.add(warning)
    if as_json or not quiet:
        line = json.dumps(report.as_json()) if as_json else report.as_line()
        say(line, err=report.output == STREAM)


@contextlib.contextmanager
def complaining(failures: list[QuantgpuError]) -> Iterator[None]:
    """An error inside is printed and appended to `failures`."""
    try:
        yield
    except QuantgpuError as error:
        failures.append(error)
    except MemoryError:
        failures.append(QuantgpuError("not enough memory; try a smaller picture or fewer threads"))
    else:
        return
    complain(failures[-1])


def say(text: str, err: bool = False) -> None:
    """One line on standard output or standard error; what cannot be shown there is escaped."""
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
    """One line on standard error."""
    say(f"quantgpu: error: {error}", err=True)


def fail(error: QuantgpuError) -> NoReturn:
    """Complain, and end with the error's exit code."""
    complain(error)
    raise typer.Exit(error.exit_code)
