"""Convert many files from the command line: bars, lines, failures, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from quantgpu.cli.console import Output, error_printer, fail, print_errors, say
from quantgpu.errors import SKIPPED, PartialError, QuantgpuError

if TYPE_CHECKING:
    from quantgpu.batch.convert import ConversionJob
    from quantgpu.batch.count import CountImages
    from quantgpu.batch.destination import Destination
    from quantgpu.batch.report import Report
    from quantgpu.batch.shared_palette import SharedPaletteOptions
    from quantgpu.batch.tasks import Task
    from quantgpu.distributed.workers import Workers


class Batch(NamedTuple):
    """How several images are done."""

    jobs: int = 1
    """Images at work at once; the results are told in order."""
    resume: bool = False
    """Leave outputs that are complete."""
    sharing: SharedPaletteOptions | None = None
    """How they get one palette; None if each has its own."""
    crew: Workers | None = None
    """Workers of a cluster that do it; None for this machine."""

    def counter(self, **telling: Any) -> CountImages:
        """A function that counts images; `telling`: its display and its callback for errors."""
        return counter_for(self.crew, self.jobs, **telling)


def counter_for(crew: Workers | None, jobs: int, **telling: Any) -> CountImages:
    """A function that counts images on this machine, or on the workers of a cluster."""
    if crew is None:
        from quantgpu.batch.count import count_images

        return partial(count_images, jobs=jobs, **telling)
    from quantgpu.distributed.files import count_images_on

    return partial(count_images_on, workers=crew, **telling)


def convert_each(
    inputs: list[str],
    destination: Destination,
    work: ConversionJob,
    shown: Output,
    batch: Batch = Batch(),
    others: Sequence[str] = (),
) -> None:
    """Do the work on every input, say what was done, and fail if any of it failed.

    Neither inputs nor the `others` are ever written to.

    Args:
        inputs: Names of images.
        destination: Where the results go.
        work: What is done with each image.
        shown: What is printed.
        batch: How several are done.
        others: Names of further files that are read.
    """
    import logging

    from quantgpu.batch.tasks import plan_tasks

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it adds lines of its own
    failures: list[QuantgpuError] = []
    tasks = plan_tasks(inputs, others, destination, work, batch.resume)
    if batch.sharing is not None:
        work, tasks = share_palettes(work, tasks, destination, shown, batch, failures)
    tell_each(tasks, turns_of(tasks, destination, work, shown, batch), shown, failures)
    if len(inputs) > 1 and failures:
        fail(PartialError(f"{len(failures)} of {len(inputs)} inputs failed"))
    if failures:
        raise typer.Exit(failures[0].exit_code)
    if any(report.skipped for task in tasks for report in task.reports):
        raise typer.Exit(SKIPPED)


def share_palettes(
    work: ConversionJob,
    tasks: list[Task],
    destination: Destination,
    shown: Output,
    batch: Batch,
    failures: list[QuantgpuError],
) -> tuple[ConversionJob, list[Task]]:
    """The work and the tasks, once all images are counted and their palettes found."""
    from quantgpu.batch.shared_palette import with_shared_palettes

    assert batch.sharing is not None
    fatal: list[QuantgpuError] = []
    count = batch.counter(display=shown.display, on_error=error_printer(failures))
    with print_errors(fatal):
        work, tasks = with_shared_palettes(
            work, tasks, batch.sharing, destination.force, count, shown.display
        )
    if fatal:
        raise typer.Exit(fatal[0].exit_code)
    return work, tasks


def turns_of(
    tasks: list[Task], destination: Destination, work: ConversionJob, shown: Output, batch: Batch
) -> AbstractContextManager[Iterator[Callable[[], None]]]:
    """For each task, in order, a function that waits for it; several tasks are at work at once."""
    if batch.crew is not None:
        from quantgpu.distributed.files import convert_tasks

        return convert_tasks(batch.crew, tasks, destination, work, shown.display)
    from quantgpu.batch.jobs import run_jobs
    from quantgpu.batch.tasks import convert_task

    convert = partial(convert_task, destination=destination, work=work)
    return run_jobs(convert, tasks, [task.name for task in tasks], batch.jobs, shown.display)


def tell_each(
    tasks: list[Task],
    done: AbstractContextManager[Iterator[Callable[[], None]]],
    shown: Output,
    failures: list[QuantgpuError],
) -> None:
    """Wait for the tasks one by one, and print what was done with each."""
    said: set[str] = set()
    with done as turns:
        for task, turn in zip(tasks, turns, strict=True):
            with print_errors(failures):
                try:
                    turn()
                finally:
                    tell_of_task(task, said, shown)


def tell_of_task(task: Task, said: set[str], shown: Output) -> None:
    """Print what was done with an image, and which outputs were there already."""
    for output in task.kept:
        if shown.as_json:
            say(json.dumps({"input": task.name, "output": output, "resumed": True}))
        elif not shown.quiet:
            say(f"{output}: complete already")
    for report in task.reports:
        tell_of(report, said, shown)


def tell_of(report: Report, said: set[str], shown: Output) -> None:
    """Print what was done with an image, and warnings that were not `said` yet."""
    from quantgpu.io.streams import STREAM

    notes = [*(f"{report.input}: {note}" for note in report.notes), *report.device_notes]
    notes = list(dict.fromkeys(notes))
    shown.warn(note for note in notes if note not in said)
    said.update(notes)
    if shown.prints_results:
        line = json.dumps(report.as_json()) if shown.as_json else report.as_line()
        say(line, err=report.output == STREAM)
