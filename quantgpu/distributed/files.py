"""Files as tasks of a cluster: the outputs and reports of `batches`, the sums of `counting`.

A task can be done twice, when its worker dies: it then writes the same file again.
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

SOON, WAIT = 0.05, 60
"""Seconds after which one looks again whether tasks that were given up have ended, and at most."""


def check_names(names: Sequence[str | None], option: str = "--scheduler") -> None:
    """Raise a UsageError for standard input and output, which workers have not."""
    if STREAM in names:
        raise UsageError(f"{option}: workers have no standard input and output; name files")


class Outcome(NamedTuple):
    """What became of a file on a worker."""

    reports: list[Report]
    """Of what was written."""
    error: QuantgpuError | None


@contextlib.contextmanager
def convert_tasks(
    crew: Workers,
    tasks: Sequence[Task],
    destination: Destination,
    work: ConversionJob,
    display: Display,
) -> Iterator[Iterator[Callable[[], None]]]:
    """`jobs.run_jobs` of `batches.convert_task` on the workers: what waits for each, in order."""
    there = absolute_destination(destination)
    carried: Any = compress_shared_histogram(work)
    if carried is not work:
        carried = crew.submit(compress_shared_histogram, carried)  # once to each worker
    futures: list[Any] = []
    for task in tasks:
        task.error = task.error or trouble_with(task, destination.force)
        waiting = task.is_open
        futures.append(
            crew.submit(convert_on_worker, absolute_task(task), there, carried) if waiting else None
        )
    try:
        yield (partial(collect_result, *each, display) for each in zip(tasks, futures, strict=True))
    finally:
        crew.client.cancel([future for future in futures if future is not None])


def trouble_with(task: Task, force: bool) -> QuantgpuError | None:
    """Why an output may not be written; workers replace what is there, as they may write twice."""
    try:
        for output in task.outputs:
            if output not in task.kept:
                check_writable(Path(output), force)
    except QuantgpuError as error:
        return error
    return None


def absolute_destination(destination: Destination) -> Destination:
    """The destination, wherever a worker runs."""
    output, folder = destination.output, destination.output_dir
    return replace(
        destination,
        output=None if output is None else os.path.abspath(output),
        output_dir=None if folder is None else Path(os.path.abspath(folder)),
        force=True,
    )


def absolute_task(task: Task) -> Task:
    """The task, wherever a worker runs."""
    outputs, kept = ([*map(os.path.abspath, names)] for names in (task.outputs, task.kept))
    return Task(os.path.abspath(task.name), outputs, kept)


def compress_shared_histogram(work: ConversionJob) -> ConversionJob:
    """The work; a histogram that the images share is compressed on the way."""
    convert: Any = work.convert
    if "histogram" not in getattr(convert, "keywords", {}):
        return work
    shared = {**convert.keywords, "histogram": compress(convert.keywords["histogram"])}
    return work._replace(convert=partial(convert.func, **shared))


def convert_on_worker(task: Task, destination: Destination, work: ConversionJob) -> Outcome:
    """Make what is to be made of an image, on a worker."""
    error: QuantgpuError | None = None
    try:
        with name_worker_on_error():
            convert_task(task, no_progress, destination, work)
    except DeviceError as trouble:
        error = DeviceError(*name_notes([str(trouble)]))
    except QuantgpuError as trouble:
        error = trouble
    except MemoryError:
        error = QuantgpuError("not enough memory; try a smaller picture or fewer threads")
    return Outcome([with_worker_name(report) for report in task.reports], error)


def with_worker_name(report: Report) -> Report:
    """What a worker says of a device, told so that the worker is named."""
    notes = name_notes(report.device_notes)
    return report._replace(device=name_device(report.device), device_notes=notes)


@contextlib.contextmanager
def name_worker_on_error() -> Iterator[None]:
    """What cannot be written inside is told with the worker's name: others may write there."""
    try:
        yield
    except OutputError as error:
        raise OutputError(f"{error}, on the worker {worker_name()}") from None


def collect_result(task: Task, future: Any, display: Display) -> None:
    """Wait for a task, and report on it as if it had been done here."""
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
    """The error with names of files as they were given."""
    return type(error)(replace_names(str(error), given))


def replace_names(text: str, given: dict[str, str]) -> str:
    """The same for what is said."""
    for there in sorted(given, key=len, reverse=True):
        text = text.replace(there, given[there])
    return text


def result_of(future: Any, name: str) -> Any:
    """What a task gave.

    Raises:
        ClusterError: Nobody could do it: one worker after the other died, or the cluster is gone;
            or a worker that came later cannot do the work.
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
    except (ImportError, AttributeError):  # as of a worker that has another quantgpu, or none
        check_workers(future.client)
        raise


@contextlib.contextmanager
def cancel_on_error(crew: Workers, futures: Sequence[Any]) -> Iterator[None]:
    """Whoever leaves with an error gives up the tasks, and waits until no worker is at one of them:
    it would go on to write what is then removed."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # the scheduler may be what is gone
            crew.client.cancel(futures)
            keys, deadline = {future.key for future in futures}, time.monotonic() + WAIT
            while any(crew.client.run(is_at, keys, on_error="ignore").values()):
                if time.monotonic() > deadline:
                    break
                time.sleep(SOON)
        raise


def is_at(keys: set[str], dask_worker: Any) -> bool:
    """Whether a worker is at one of some tasks."""
    return any(task.key in keys for task in [*dask_worker.state.executing])


# Images into one histogram


class CountSum(NamedTuple):
    """What several files count together."""

    counted: Counted | None
    """None if none could be counted."""
    notes: list[str]
    errors: list[tuple[int, QuantgpuError]]
    """The numbers of files that could not, ascending, and why."""


def count_on_workers(
    crew: Workers, images: Sequence[str], way: FileCountOptions, display: Display
) -> CountSum:
    """The colors of images together, counted by the workers and added as a tree."""
    with display(f"{len(images)} files") as progress:
        progress("count on the cluster", 0)
        parts = [
            crew.submit(*task, way)
            for number, name in enumerate(images)
            for task in count_tasks(number, name)
        ]
        track_progress(parts, "count on the cluster", progress)
        if not parts:
            return CountSum(None, [], [])
        found: CountSum = result_of(crew.summed(sum_counts, parts), "counting")
    return found


def track_progress(futures: Sequence[Any], stage: str, progress: Progress) -> None:
    """Let a progress tell how many of some tasks are done; their results are not held on to."""
    total, done = len(futures), set[str]()

    def one_more(future: Any) -> None:
        done.add(future.key)
        progress(stage, len(done) / total)

    for future in futures:
        future.add_done_callback(one_more)


def count_tasks(number: int, name: str) -> list[tuple[Any, ...]]:
    """What counts an image: a function, and its arguments but the last; in Zarr for each block."""
    there = os.path.abspath(name)
    if not is_zarr(name):
        return [(count_one, number, name, there)]
    try:
        picture = inspect(there)
    except QuantgpuError as error:
        return [(failed_count, number, with_given_names(error, {there: name}))]
    return [(count_part, number, name, picture, region) for region in regions(picture)]


def failed_count(number: int, error: QuantgpuError, way: FileCountOptions) -> CountSum:
    """What an image counts that cannot be opened."""
    return CountSum(None, [], [(number, error)])


def count_part(
    number: int, name: str, picture: Picture, region: Region, way: FileCountOptions
) -> CountSum:
    """The colors of a block of an image."""
    alpha, perceptual = way.read.alpha, way.counting.perceptual
    try:
        check_for_blocks(name, way)
        done = run_block(count_region, picture, region, perceptual, alpha, way.compute)
    except QuantgpuError as error:
        return failed_count(number, with_given_names(error, {picture.path: name}), way)
    return CountSum(way.counted(done.result, transparent=picture.shape[2] == 4), done.notes, [])


def check_for_blocks(name: str, way: FileCountOptions) -> None:
    """Raise a UsageError for what has no effect on pictures in blocks."""
    usual = ReadOptions()
    for option, given in (
        ("weights", way.counting.mask is not None),
        ("icc", way.read.icc != usual.icc),
        ("max-pixels", way.read.max_pixels != usual.max_pixels),
    ):
        if given:
            raise UsageError(f"{name}: --{option} is not for pictures in blocks")


def count_one(number: int, name: str, there: str, way: FileCountOptions) -> CountSum:
    """The colors of an image."""
    try:
        found, notes, device_notes = count_file(there, no_progress, way)
    except DeviceError as error:
        return CountSum(None, [], [(number, DeviceError(f"{name}: {name_notes([str(error)])[0]}"))])
    except QuantgpuError as error:
        return CountSum(None, [], [(number, with_given_names(error, {there: name}))])
    except MemoryError:
        return CountSum(None, [], [(number, QuantgpuError(f"{name}: not enough memory"))])
    found = replace(found, histogram=compress(found.histogram))
    notes = [note.replace(there, name) for note in notes]
    return CountSum(found, [*notes, *name_notes(device_notes)], [])


def sum_counts(parts: Sequence[CountSum]) -> CountSum:
    """What some files count together."""
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
    way: FileCountOptions,
    *,
    crew: Workers,
    display: Display = no_display,
    on_error: OnError | None = None,
) -> CountTotal:
    """`count_images` on the workers of a cluster, which are all done before an error is told."""
    found = count_on_workers(crew, images, way, display)
    for _, error in found.errors:
        with report_errors(on_error):
            raise error
    return CountTotal(found.counted, found.notes, [number for number, _ in found.errors])
