"""Several files at work at once, whose results are waited for in order."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import TypeVar

from quantgpu.errors import check_number
from quantgpu.progress import Display, Progress, no_progress
from quantgpu.threads import MOST_THREADS, Stopped, default_threads

Item = TypeVar("Item")
Result = TypeVar("Result")

Pending = Callable[[Progress], Result]
"""Waits for a result while it tells a progress of it."""

MOST_JOBS = 4
"""Files at work at once unless more are asked for, as each takes memory of its own."""

AHEAD = 2
"""For each job, results that may be there before they are asked for."""


def shared_out(
    jobs: int | None, threads: int | None, files: int, one_by_one: bool = False
) -> tuple[int, int | None]:
    """How many of the files are at work at once, and the threads of each.

    Args:
        jobs: Files at once; up to `MOST_JOBS`, one for each thread, when not given.
        threads: Of all files together; as many as there are processors when not given.
        files: How many there are.
        one_by_one: Whether they cannot be read at the same time.

    Raises:
        UsageError: `jobs` is out of range.

    >>> shared_out(None, 8, 20), shared_out(3, 8, 20), shared_out(None, 8, 1)
    ((4, 2), (3, 2), (1, 8))
    """
    if jobs is not None:
        check_number("jobs", jobs, 1, MOST_THREADS)
    total = default_threads() if threads is None else threads
    used = 1 if one_by_one else min(min(MOST_JOBS, total) if jobs is None else jobs, max(files, 1))
    return (1, threads) if used == 1 else (used, max(total // used, 1))


class JobProgress:
    """The progress of one job, told to whoever waits for it; it also ends the job."""

    def __init__(self, stopped: Event) -> None:
        self.stopped = stopped
        self.progress: Progress = no_progress

    def __call__(self, stage: str, share: float) -> None:
        """Tell that so much of a stage is done.

        Raises:
            Stopped: The job is to end.
        """
        if self.stopped.is_set():
            raise Stopped
        self.progress(stage, share)

    def wait(self, future: Future[Result], progress: Progress) -> Result:
        """The result of the job, whose progress is told from now on."""
        self.progress = progress
        return future.result()


@contextlib.contextmanager
def submit_jobs(
    function: Callable[[Item, Progress], Result], items: Sequence[Item], jobs: int
) -> Iterator[Iterator[Pending[Result]]]:
    """For each item, in order, what waits for the result of ``function(item, progress)``.

    With one job, the work is done when it is waited for. Whoever leaves the context early stops
    what is at work: at the next progress that it tells.
    """
    if jobs == 1:
        yield (partial(function, item) for item in items)
        return
    stopped = Event()
    pool = ThreadPoolExecutor(jobs)
    try:
        yield pending_jobs(function, items, pool, AHEAD * jobs, stopped)
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


def pending_jobs(
    function: Callable[[Item, Progress], Result],
    items: Sequence[Item],
    pool: ThreadPoolExecutor,
    most: int,
    stopped: Event,
) -> Iterator[Pending[Result]]:
    """`submit_jobs` in a pool, with at most so many results that were not asked for."""
    pending: deque[Pending[Result]] = deque()
    for item in items:
        relay = JobProgress(stopped)
        pending.append(partial(relay.wait, pool.submit(function, item, relay)))
        if len(pending) >= most:
            yield pending.popleft()
    while pending:
        yield pending.popleft()


@contextlib.contextmanager
def run_jobs(
    function: Callable[[Item, Progress], Result],
    items: Sequence[Item],
    names: Sequence[str],
    jobs: int,
    display: Display,
) -> Iterator[Iterator[Callable[[], Result]]]:
    """`submit_jobs`, but what waits tells a display with the item's name meanwhile."""

    def shown(number: int, wait: Pending[Result]) -> Result:
        of_many = f"{number + 1}/{len(names)}  " if len(names) > 1 else ""
        with display(of_many + names[number]) as progress:
            return wait(progress)

    with submit_jobs(function, items, jobs) as waits:
        yield (partial(shown, number, wait) for number, wait in enumerate(waits))
