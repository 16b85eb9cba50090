"""Files as tasks of a cluster: the outputs and reports of `batch.tasks`, the sums of `batch.count`.

Dask repeats a task whose worker dies: its file is then written again, with equal bytes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from quantgpu.batch.convert import ConversionJob
from quantgpu.batch.count import CountTotal, FileCountOptions, count_file
from quantgpu.batch.destination import Destination
from quantgpu.batch.report import Report
from quantgpu.batch.tasks import Task, convert_task
from quantgpu.distributed.blocks import add_histograms, compress
from quantgpu.distributed.stores import Picture, Region, count_region, inspect, is_zarr, regions
from quantgpu.distributed.workers import (
    Workers,
    check_workers,
    name_device,
    name_notes,
    run_block,
    worker_name,
)
from quantgpu.errors import (
    ClusterError,
    DeviceError,
    OnError,
    OutputError,
    QuantgpuError,
    UsageError,
    report_errors,
)
from quantgpu.io.atomic import check_writable
from quantgpu.io.decode import ReadOptions
from quantgpu.io.histogram_files import Counted
from quantgpu.io.streams import STREAM
from quantgpu.progress import Display, Progress, no_display, no_progress

POLL_SECONDS, WAIT_SECONDS = 0.05, 60
"""Seconds between two looks at cancelled tasks that still run, and the most in all."""


def check_names(names: Sequence[str | None], option: str = "--scheduler") -> None:
    """Raise a UsageError for standard input and output, which workers do not have."""
    if STREAM in names:
        raise UsageError(f"{option}: workers have no standard input and output; name files")


class Outcome(NamedTuple):
    """The reports and the error of a file that a worker converted."""

    reports: list[Report]
    """The report on each written output."""
    error: QuantgpuError | None
    """The error that ended the conversion; None without one."""


@contextlib.contextmanager
def convert_tasks(
    workers: Workers,
    tasks: Sequence[Task],
    destination: Destination,
    job: ConversionJob,
    display: Display,
) -> Iterator[Iterator[Callable[[], None]]]:
    """Convert files on the workers, as `run_jobs` does with `convert_task` on this machine.

    Yields:
        An iterator of a function for each task, which waits for the task and raises its error.
    """
    worker_destination = absolute_destination(destination)
    submitted_job: Any = compress_shared_histogram(job)
    if submitted_job is not job:
        # as the result of a task, the histogram is sent once to each worker
        submitted_job = workers.submit(compress_shared_histogram, submitted_job)
    futures: list[Any] = []
    for task in tasks:
        task.error = task.error or output_error(task, destination.force)
        future = None
        if task.is_open:
            arguments = absolute_task(task), worker_destination, submitted_job
            future = workers.submit(convert_on_worker, *arguments)
        futures.append(future)
    try:
        yield (partial(collect_result, *each, display) for each in zip(tasks, futures, strict=True))
    finally:
        workers.client.cancel([future for future in futures if future is not None])


def output_error(task: Task, force: bool) -> QuantgpuError | None:
    """The error of a task whose output must not be written; None without one.

    Workers themselves replace existing outputs, as a task may run twice.
    """
    try:
        for output in task.outputs:
            if output not in task.kept:
                check_writable(Path(output), force)
    except QuantgpuError as error:
        return error
    return None


def absolute_destination(destination: Destination) -> Destination:
    """The destination with absolute paths, for workers in other folders; outputs are replaced."""
    output, folder = destination.output, destination.output_dir
    return replace(
        destination,
        output=None if output is None else os.path.abspath(output),
        output_dir=None if folder is None else Path(os.path.abspath(folder)),
        force=True,
    )


def absolute_task(task: Task) -> Task:
    """The task with absolute paths, for workers in other folders."""
    outputs, kept = ([*map(os.path.abspath, names)] for names in (task.outputs, task.kept))
    return Task(os.path.abspath(task.name), outputs, kept)


def compress_shared_histogram(job: ConversionJob) -> ConversionJob:
    """The job, whose histogram, if the images share one, is compressed when pickled."""
    convert: Any = job.convert
    if "histogram" not in getattr(convert, "keywords", {}):
        return job
    shared = {**convert.keywords, "histogram": compress(convert.keywords["histogram"])}
    return job._replace(convert=partial(convert.func, **shared))


def convert_on_worker(task: Task, destination: Destination, job: ConversionJob) -> Outcome:
    """Convert an image on a worker."""
    error: QuantgpuError | None = None
    try:
        with name_worker_on_error():
            convert_task(task, no_progress, destination, job)
    except DeviceError as caught:
        error = DeviceError(*name_notes([str(caught)]))
    except QuantgpuError as caught:
        error = caught
    except MemoryError:
        error = QuantgpuError("not enough memory; try a smaller picture or fewer threads")
    return Outcome([with_worker_name(report) for report in task.reports], error)


def with_worker_name(report: Report) -> Report:
    """The report with the worker's name in its device and device notes."""
    notes = name_notes(report.device_notes)
    return report._replace(device=name_device(report.device), device_notes=notes)


@contextlib.contextmanager
def name_worker_on_error() -> Iterator[None]:
    """Add the worker's name to an OutputError inside the context: another worker may succeed."""
    try:
        yield
    except OutputError as error:
        raise OutputError(f"{error}, on the worker {worker_name()}") from None


def collect_result(task: Task, future: Any, display: Display) -> None:
    """Wait for a task, and add its reports with the names that the user gave.

    Raises:
        QuantgpuError: The error of the task, with the names that the user gave.
    """
    if task.error is not None:
        raise task.error
    if future is None:
        return
    with display(task.name) as progress:
        progress("on the cluster", 0)
        outcome = result_of(future, task.name)
    given = {os.path.abspath(name): name for name in [*task.outputs, task.name]}
    for report in outcome.reports:
        task.reports.append(
            report._replace(input=task.name, output=given.get(report.output, report.output))
        )
    if outcome.error is not None:
        raise with_given_names(outcome.error, given)


def with_given_names(error: QuantgpuError, given: dict[str, str]) -> QuantgpuError:
    """The error with absolute paths replaced by the names that the user gave.

    `given`: from absolute path to name.
    """
    return type(error)(replace_names(str(error), given))


def replace_names(text: str, given: dict[str, str]) -> str:
    """Replace absolute paths in a text by the names that the user gave, the longest first."""
    for worker_path in sorted(given, key=len, reverse=True):
        text = text.replace(worker_path, given[worker_path])
    return text


def result_of(future: Any, name: str) -> Any:
    """Wait for the result of a task. `name`: the task, as messages call it.

    Raises:
        ClusterError: One worker after the other died of the task, the cluster is gone, or a worker
            that joined later lacks a module or has another version of quantgpu.
    """
    import distributed

    try:
        return future.result()
    except distributed.KilledWorker:
        raise ClusterError(
            f"{name}: every worker that tried it died; there may be too little memory for it, see "
            "the logs of the workers"
        ) from None
    except (OSError, distributed.CancelledError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ClusterError(f"{name}: the scheduler is gone ({reason})") from None
    except (ImportError, AttributeError):  # of a worker with another quantgpu, or none
        check_workers(future.client)
        raise


@contextlib.contextmanager
def cancel_on_error(workers: Workers, futures: Sequence[Any]) -> Iterator[None]:
    """Cancel the tasks if an error leaves the context, and wait until no worker runs one.

    A running task would go on to write files that are removed after the context.
    """
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            workers.client.cancel(futures)
            keys, deadline = {future.key for future in futures}, time.monotonic() + WAIT_SECONDS
            while any(workers.client.run(is_executing, keys, on_error="ignore").values()):
                if time.monotonic() > deadline:
                    break
                time.sleep(POLL_SECONDS)
        raise


def is_executing(keys: set[str], dask_worker: Any) -> bool:
    """Whether a worker runs one of the tasks with some keys."""
    return any(task.key in keys for task in [*dask_worker.state.executing])


# Images into one histogram


class CountSum(NamedTuple):
    """The colors of several files together."""

    counted: Counted | None
    """The sum; None if no file could be counted."""
    notes: list[str]
    errors: list[tuple[int, QuantgpuError]]
    """The numbers of files that could not be counted, ascending, and their errors."""


def count_on_workers(
    workers: Workers, images: Sequence[str], options: FileCountOptions, display: Display
) -> CountSum:
    """Count the colors of images on the workers, and add the counts as a tree."""
    with display(f"{len(images)} files") as progress:
        progress("count on the cluster", 0)
        parts = [
            workers.submit(*task, options)
            for number, name in enumerate(images)
            for task in count_tasks(number, name)
        ]
        track_progress(parts, "count on the cluster", progress)
        if not parts:
            return CountSum(None, [], [])
        count_sum: CountSum = result_of(workers.tree_sum(sum_counts, parts), "counting")
    return count_sum


def track_progress(futures: Sequence[Any], stage: str, progress: Progress) -> None:
    """Report the share of finished tasks to a progress; no future's result is kept."""
    total, done = len(futures), set[str]()

    def report_one(future: Any) -> None:
        done.add(future.key)
        progress(stage, len(done) / total)

    for future in futures:
        future.add_done_callback(report_one)


def count_tasks(number: int, name: str) -> list[tuple[Any, ...]]:
    """The tasks that count an image, one for each block of a Zarr array.

    Each is a function with its arguments but the last, the options.
    """
    path = os.path.abspath(name)
    if not is_zarr(name):
        return [(count_image, number, name, path)]
    try:
        picture = inspect(path)
    except QuantgpuError as error:
        return [(failed_count, number, with_given_names(error, {path: name}))]
    return [(count_image_block, number, name, picture, region) for region in regions(picture)]


def failed_count(number: int, error: QuantgpuError, options: FileCountOptions) -> CountSum:
    """The count of an image that cannot be opened: its error."""
    return CountSum(None, [], [(number, error)])


def count_image_block(
    number: int, name: str, picture: Picture, region: Region, options: FileCountOptions
) -> CountSum:
    """Count the colors of a block of an image."""
    alpha, perceptual = options.read.alpha, options.counting.perceptual
    try:
        check_for_blocks(name, options)
        done = run_block(count_region, picture, region, perceptual, alpha, options.compute)
    except QuantgpuError as error:
        return failed_count(number, with_given_names(error, {picture.path: name}), options)
    return CountSum(
        options.to_counted(done.result, transparent=picture.shape[2] == 4), done.notes, []
    )


def check_for_blocks(name: str, options: FileCountOptions) -> None:
    """Raise a UsageError for options without effect on pictures in blocks."""
    usual = ReadOptions()
    for option, given in (
        ("weights", options.counting.mask is not None),
        ("icc", options.read.icc != usual.icc),
        ("max-pixels", options.read.max_pixels != usual.max_pixels),
    ):
        if given:
            raise UsageError(f"{name}: --{option} is not for pictures in blocks")


def count_image(number: int, name: str, path: str, options: FileCountOptions) -> CountSum:
    """Count the colors of an image. `name`: as the user gave it; `path`: absolute."""
    try:
        found, notes, device_notes = count_file(path, no_progress, options)
    except DeviceError as error:
        return CountSum(None, [], [(number, DeviceError(f"{name}: {name_notes([str(error)])[0]}"))])
    except QuantgpuError as error:
        return CountSum(None, [], [(number, with_given_names(error, {path: name}))])
    except MemoryError:
        return CountSum(None, [], [(number, QuantgpuError(f"{name}: not enough memory"))])
    found = replace(found, histogram=compress(found.histogram))
    notes = [note.replace(path, name) for note in notes]
    return CountSum(found, [*notes, *name_notes(device_notes)], [])


def sum_counts(parts: Sequence[CountSum]) -> CountSum:
    """Add the counts of some files."""
    total: Counted | None = None
    for part in parts:
        if part.counted is not None:
            total = part.counted if total is None else total + part.counted
    if total is not None:
        total = replace(total, histogram=add_histograms([total.histogram]))
    return CountSum(
        total,
        list(dict.fromkeys(note for part in parts for note in part.notes)),
        first_each([error for part in parts for error in part.errors]),
    )


def first_each(errors: list[tuple[int, QuantgpuError]]) -> list[tuple[int, QuantgpuError]]:
    """The first error of each file."""
    return sorted(dict(reversed(errors)).items())


def count_images_on(
    images: Sequence[str],
    options: FileCountOptions,
    *,
    workers: Workers,
    display: Display = no_display,
    on_error: OnError | None = None,
) -> CountTotal:
    """`count_images` on the workers of a cluster; errors are reported after all images."""
    count_sum = count_on_workers(workers, images, options, display)
    for _, error in count_sum.errors:
        with report_errors(on_error):
            raise error
    failed = [number for number, _ in count_sum.errors]
    return CountTotal(count_sum.counted, count_sum.notes, failed)
