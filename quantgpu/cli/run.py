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
    """Options for converting several images."""

    jobs: int = 1
    """Images at work at once; results are reported in order."""
    resume: bool = False
    """Leave outputs that are complete."""
    sharing: SharedPaletteOptions | None = None
    """Options of the palettes that images share; None if each image has its own."""
    workers: Workers | None = None
    """Workers of a cluster that convert the images; None for this machine."""

    def counter(self, **callbacks: Any) -> CountImages:
        """A function that counts images; `callbacks` are its ``display`` and ``on_error``."""
        return counter_for(self.workers, self.jobs, **callbacks)


def counter_for(workers: Workers | None, jobs: int, **callbacks: Any) -> CountImages:
    """A function that counts images on this machine, or on the workers of a cluster."""
    if workers is None:
        from quantgpu.batch.count import count_images

        return partial(count_images, jobs=jobs, **callbacks)
    from quantgpu.distributed.files import count_images_on

    return partial(count_images_on, workers=workers, **callbacks)


def convert_each(
    inputs: list[str],
    destination: Destination,
    work: ConversionJob,
    shown: Output,
    batch: Batch = Batch(),
    others: Sequence[str] = (),
) -> None:
    """Convert every input, print a report on each, and fail at the end if any input failed.

    Neither inputs nor the `others` are ever overwritten.

    Args:
        inputs: Names of images.
        destination: The names of the outputs, and options for writing them.
        work: The conversion of each image.
        shown: Options for printing.
        batch: Options for several images.
        others: Names of further files that are read.
    """
    import logging

    from quantgpu.batch.tasks import plan_tasks

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its warnings are printed
    failures: list[QuantgpuError] = []
    tasks = plan_tasks(inputs, others, destination, work, batch.resume)
    if batch.sharing is not None:
        work, tasks = share_palettes(work, tasks, destination, shown, batch, failures)
    print_each(tasks, start_tasks(tasks, destination, work, shown, batch), shown, failures)
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
    """Count all images, find their palettes, and return the job and the tasks that use them."""
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


def start_tasks(
    tasks: list[Task], destination: Destination, work: ConversionJob, shown: Output, batch: Batch
) -> AbstractContextManager[Iterator[Callable[[], None]]]:
    """Start all tasks, several at once; yield a function for each, in order, that waits for it."""
    if batch.workers is not None:
        from quantgpu.distributed.files import convert_tasks

        return convert_tasks(batch.workers, tasks, destination, work, shown.display)
    from quantgpu.batch.jobs import run_jobs
    from quantgpu.batch.tasks import convert_task

    convert = partial(convert_task, destination=destination, work=work)
    return run_jobs(convert, tasks, [task.name for task in tasks], batch.jobs, shown.display)


def print_each(
    tasks: list[Task],
    done: AbstractContextManager[Iterator[Callable[[], None]]],
    shown: Output,
    failures: list[QuantgpuError],
) -> None:
    """Wait for the tasks one by one, and print the reports of each."""
    printed: set[str] = set()
    with done as waits:
        for task, wait in zip(tasks, waits, strict=True):
            with print_errors(failures):
                try:
                    wait()
                finally:
                    print_task(task, printed, shown)


def print_task(task: Task, printed: set[str], shown: Output) -> None:
    """Print the reports of a task, and a line for each output that was complete already."""
    for output in task.kept:
        if shown.as_json:
            say(json.dumps({"input": task.name, "output": output, "resumed": True}))
        elif not shown.quiet:
            say(f"{output}: complete already")
    for report in task.reports:
        print_report(report, printed, shown)


def print_report(report: Report, printed: set[str], shown: Output) -> None:
    """Print a report as a line or JSON, and its warnings, unless in `printed` already."""
    from quantgpu.io.streams import STREAM

    notes = [*(f"{report.input}: {note}" for note in report.notes), *report.device_notes]
    notes = list(dict.fromkeys(notes))
    shown.warn(note for note in notes if note not in printed)
    printed.update(notes)
    if shown.prints_results:
        line = json.dumps(report.as_json()) if shown.as_json else report.as_line()
        say(line, err=report.output == STREAM)
