"""Tasks of a batch: plan the outputs of each image, and convert the image."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from quantgpu.batch.convert import ConversionJob, convert_file
from quantgpu.batch.destination import Destination
from quantgpu.batch.report import Report
from quantgpu.errors import OutputError, QuantgpuError, UsageError
from quantgpu.io.originals import file_id
from quantgpu.io.streams import STREAM
from quantgpu.progress import Progress


@dataclass
class Task:
    """One image and its outputs."""

    name: str
    outputs: list[str]
    kept: list[str] = field(default_factory=list)
    """Outputs that exist already, and are complete."""
    error: QuantgpuError | None = None
    """The error that keeps the image from being converted."""
    reports: list[Report] = field(default_factory=list)
    """A report on each output, appended when the output is written."""

    @property
    def is_open(self) -> bool:
        """Whether an output has to be made."""
        return self.error is None and len(self.kept) < len(self.outputs)


def plan_tasks(
    inputs: Sequence[str],
    others: Sequence[str],
    destination: Destination,
    work: ConversionJob,
    resume: bool,
) -> list[Task]:
    """Plan a task for each input, with an error if an output is an input or another's output.

    With `resume`, outputs that are complete are kept. `others` are the names of further files that
    are read.
    """
    names = [*inputs, *(name for name in others if os.path.exists(name))]
    taken = {file_id(name): "is an input; originals are never replaced" for name in names}
    tasks = []
    for name in inputs:
        task = Task(name, [destination.of(name, tag) for tag in work.tags])
        places = [file_id(output) for output in task.outputs if output != STREAM]
        for output, place in zip(task.outputs, places, strict=False):
            if place in taken:
                task.error = UsageError(f"{name}: {output} {taken[place]}")
        if task.error is None:
            taken |= dict.fromkeys(places, f"is made from {name} already; rename one of them")
            if resume:
                mark_complete(task, destination.force)
        tasks.append(task)
    return tasks


def mark_complete(task: Task, force: bool) -> None:
    """Keep outputs that exist: they are complete, as files are moved into place as a whole.

    With `force`, an output that is older than its input is made again; without, it is the task's
    error.
    """
    for output in task.outputs:
        with contextlib.suppress(OSError):  # an unreadable file is reported when it is converted
            if os.stat(output).st_mtime_ns >= os.stat(task.name).st_mtime_ns:
                task.kept.append(output)
            elif not force:
                task.error = OutputError(
                    f"{output}: is older than {task.name}; use --force to make it again"
                )


def convert_task(
    task: Task, progress: Progress, destination: Destination, work: ConversionJob
) -> None:
    """Convert the image of a task, and append reports on its outputs to the task."""
    if task.error is not None:
        raise task.error
    if task.is_open:
        made = convert_file(task.name, destination, work, progress, task.kept)
        task.reports.extend(made)
