"""How commands run: one input after the other, what is said where, and how they end."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import typer

from quantgpu.errors import INTERRUPTED, SKIPPED, OutputError, PartialError, QuantgpuError

if TYPE_CHECKING:
    from quantgpu.batch.convert import Destination, Report, Work
    from quantgpu.batch.tasks import Sharing, Task
    from quantgpu.distributed.workers import Crew


@contextlib.contextmanager
def orderly_stop() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the program with one line, after everything was cleaned up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        say("quantgpu: interrupted; files at work were not written", err=True)
        raise typer.Exit(INTERRUPTED) from None


def convert_each(
    inputs: list[str],
    destination: Destination,
    work: Work,
    quiet: bool,
    as_json: bool,
    others: Sequence[str] = (),
    jobs: int = 1,
    resume: bool = False,
    sharing: Sharing | None = None,
    crew: Crew | None = None,
) -> None:
    """Do the work on every input, say what was done, and fail if any of it failed.

    Neither inputs nor the `others` are ever written to.

    Args:
        inputs: Names of images.
        destination: Where the results go.
        work: What is done with each image.
        quiet: Whether only errors are printed.
        as_json: Whether results are told to machines.
        others: Names of further files that are read.
        jobs: Images at work at once; the results are told in order.
        resume: Leave outputs that are complete.
        sharing: How they get one palette; None if each has its own.
        crew: Workers of a cluster that do it; None for this machine.
    """
    import logging

    from quantgpu.batch.jobs import in_turn
    from quantgpu.batch.tasks import convert_task, planned, with_shared_palettes

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it adds lines of its own
    failures: list[QuantgpuError] = []
    shown = not (quiet or as_json)
    tasks = planned(inputs, others, destination, work, resume)
    if sharing is not None:
        fatal: list[QuantgpuError] = []
        with complaining(fatal):
            force = destination.force
            work, tasks = with_shared_palettes(work, tasks, sharing, force, shown, failures, crew)
        if fatal:
            raise typer.Exit(fatal[0].exit_code)
    if crew is None:
        convert = partial(convert_task, destination=destination, work=work)
        done = in_turn(convert, tasks, [task.name for task in tasks], jobs, shown)
    else:
        from quantgpu.distributed.files import converted

        done = converted(crew, tasks, destination, work, shown)
    said: set[str] = set()
    with done as turns:
        for task, turn in zip(tasks, turns, strict=True):
            with complaining(failures):
                try:
                    turn()
                finally:
                    tell_of_task(task, said, quiet, as_json)
    if len(inputs) > 1 and failures:
        fail(PartialError(f"{len(failures)} of {len(inputs)} inputs failed"))
    if failures:
        raise typer.Exit(failures[0].exit_code)
    if any(report.skipped for task in tasks for report in task.reports):
        raise typer.Exit(SKIPPED)


def tell_of_task(task: Task, said: set[str], quiet: bool, as_json: bool) -> None:
    """Print what was done with an image, and which outputs were there already."""
    for output in task.kept:
        if as_json:
            say(json.dumps({"input": task.name, "output": output, "resumed": True}))
        elif not quiet:
            say(f"{output}: complete already")
    for report in task.reports:
        tell_of(report, said, quiet, as_json)


def tell_of(report: Report, said: set[str], quiet: bool, as_json: bool) -> None:
    """Print what was done with an image, and warnings that were not `said` yet."""
    from quantgpu.batch.convert import STREAM

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
