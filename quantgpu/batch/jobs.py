"""Process several files at once, and return their results in order."""

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
"""Waits for the result of a job, whose progress is reported to the argument."""

MOST_JOBS = 4
"""The most files at work at once by default, as each takes memory of its own."""

RESULTS_AHEAD = 2
"""The most results, for each job, that wait to be taken."""


def share_threads(
    jobs: int | None, threads: int | None, files: int, one_by_one: bool = False
) -> tuple[int, int | None]:
    """The number of files that are at work at once, and the number of threads of each.

    Args:
        jobs: Files at once; up to `MOST_JOBS`, one for each thread, when not given.
        threads: Of all files together; as many as there are processors when not given.
        files: The number of files.
        one_by_one: Whether files cannot be read at the same time.

    Raises:
        UsageError: `jobs` is out of range.

    >>> share_threads(None, 8, 20), share_threads(3, 8, 20), share_threads(None, 8, 1)
    ((4, 2), (3, 2), (1, 8))
    """
    if jobs is not None:
        check_number("jobs", jobs, 1, MOST_THREADS)
    total = default_threads() if threads is None else threads
    used = 1 if one_by_one else min(min(MOST_JOBS, total) if jobs is None else jobs, max(files, 1))
    return (1, threads) if used == 1 else (used, max(total // used, 1))


class JobProgress:
    """The progress of one job, passed on to the thread that waits for the job; stops the job."""

    def __init__(self, stopped: Event) -> None:
        self.stopped = stopped
        self.progress: Progress = no_progress

    def __call__(self, stage: str, share: float) -> None:
        """Report the share of a stage that is done.

        Raises:
            Stopped: The job has to end.
        """
        if self.stopped.is_set():
            raise Stopped
        self.progress(stage, share)

    def wait(self, future: Future[Result], progress: Progress) -> Result:
        """Wait for the result of the job, and report its progress to `progress` meanwhile."""
        self.progress = progress
        return future.result()


@contextlib.contextmanager
def submit_jobs(
    function: Callable[[Item, Progress], Result], items: Sequence[Item], jobs: int
) -> Iterator[Iterator[Pending[Result]]]:
    """Run ``function(item, progress)`` for all items; yield a wait for each result, in order.

    With one job, an item is processed when its result is waited for. Leaving the context early
    stops running jobs at their next report of progress.
    """
    if jobs == 1:
        yield (partial(function, item) for item in items)
        return
    stopped = Event()
    pool = ThreadPoolExecutor(jobs)
    try:
        yield pending_jobs(function, items, pool, RESULTS_AHEAD * jobs, stopped)
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
    """Submit jobs to a pool, at most `most` ahead of the results that were taken."""
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
    """Run jobs as `submit_jobs` does, and show a display with the item's name during each wait."""

    def wait_shown(number: int, wait: Pending[Result]) -> Result:
        of_many = f"{number + 1}/{len(names)}  " if len(names) > 1 else ""
        with display(of_many + names[number]) as progress:
            return wait(progress)

    with submit_jobs(function, items, jobs) as waits:
        yield (partial(wait_shown, number, wait) for number, wait in enumerate(waits))
