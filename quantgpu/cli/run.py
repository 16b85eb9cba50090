"""Convert many files from the command line: bars, lines, failures, exit codes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from quantgpu.cli.console import complaining, complaint, fail, say
from quantgpu.cli.progress_bar import Bar
from quantgpu.errors import SKIPPED, PartialError, QuantgpuError

if TYPE_CHECKING:
    from quantgpu.batch.convert import Work
    from quantgpu.batch.count import CountImages
    from quantgpu.batch.destination import Destination
    from quantgpu.batch.report import Report
    from quantgpu.batch.shared_palette import Sharing
    from quantgpu.batch.tasks import Task
    from quantgpu.distributed.workers import Crew


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

    from quantgpu.batch.count import count_images
    from quantgpu.batch.jobs import in_turn
    from quantgpu.batch.shared_palette import with_shared_palettes
    from quantgpu.batch.tasks import convert_task, planned

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it adds lines of its own
    failures: list[QuantgpuError] = []
    display = partial(Bar, shown=not (quiet or as_json))
    tasks = planned(inputs, others, destination, work, resume)
    if sharing is not None:
        fatal: list[QuantgpuError] = []
        telling: dict[str, Any] = {"display": display, "on_error": complaint(failures)}
        count: CountImages
        if crew is None:
            count = partial(count_images, jobs=jobs, **telling)
        else:
            from quantgpu.distributed.files import counted_there

            count = partial(counted_there, crew=crew, **telling)
        with complaining(fatal):
            force = destination.force
            work, tasks = with_shared_palettes(work, tasks, sharing, force, count, display)
        if fatal:
            raise typer.Exit(fatal[0].exit_code)
    if crew is None:
        convert = partial(convert_task, destination=destination, work=work)
        done = in_turn(convert, tasks, [task.name for task in tasks], jobs, display)
    else:
        from quantgpu.distributed.files import converted

        done = converted(crew, tasks, destination, work, display)
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
    from quantgpu.io.streams import STREAM

    warnings = [f"{report.input}: {note}" for note in report.notes] + report.device_notes
    for warning in [] if quiet else warnings:
        if warning not in said:
            say(f"quantgpu: warning: {warning}", err=True)
        said.add(warning)
    if as_json or not quiet:
        line = json.dumps(report.as_json()) if as_json else report.as_line()
        say(line, err=report.output == STREAM)
