"""Several files at work: in what order, how many, and how they end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantgpu.batch.jobs import MOST_JOBS, RESULTS_AHEAD, run_jobs, share_threads, submit_jobs
from quantgpu.errors import InputError, UsageError
from quantgpu.progress import Progress, no_display, no_progress
from quantgpu.threads import Stopped, default_threads, prefetch

PATIENCE = 20
"""Seconds after which a test gives up."""


def results(function: Any, items: list[Any], jobs: int) -> list[Any]:
    with submit_jobs(function, items, jobs) as waits:
        return [wait(no_progress) for wait in waits]


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_results_come_in_order_whoever_is_first(jobs: int) -> None:
    def slow_first(item: int, progress: Progress) -> int:
        time.sleep(0.002 * (7 - item))
        return item * item

    assert results(slow_first, list(range(7)), jobs) == [n * n for n in range(7)]
    assert results(slow_first, [], jobs) == []


def test_as_many_are_at_work_as_there_are_jobs() -> None:
    together = threading.Barrier(3)

    def meet(item: int, progress: Progress) -> int:
        return together.wait(PATIENCE)

    assert sorted(results(meet, [0, 1, 2], 3)) == [0, 1, 2]


def test_one_job_works_where_it_is_waited_for() -> None:
    def who(item: int, progress: Progress) -> threading.Thread:
        return threading.current_thread()

    assert results(who, [0, 1], 1) == [threading.main_thread()] * 2


def test_no_more_than_a_few_results_are_there_before_they_are_asked_for() -> None:
    jobs, done = 2, []

    def note(item: int, progress: Progress) -> int:
        done.append(item)
        return item

    with submit_jobs(note, list(range(50)), jobs) as waits:
        next(waits)(no_progress)
        time.sleep(0.05)
        assert len(done) <= RESULTS_AHEAD * jobs + 1


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_error_is_raised_where_its_result_is_waited_for(jobs: int) -> None:
    def broken(item: int, progress: Progress) -> int:
        if item == 1:
            raise InputError("no")
        return item

    with submit_jobs(broken, [0, 1, 2], jobs) as waits:
        first, second, third = waits
        assert first(no_progress) == 0
        with pytest.raises(InputError, match="no"):
            second(no_progress)
        assert third(no_progress) == 2


def test_who_leaves_early_stops_what_is_at_work_and_starts_nothing_more() -> None:
    started, ended = threading.Event(), []

    def endless(item: int, progress: Progress) -> None:
        started.set()
        deadline = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline:
                progress("count", 0)
        except Stopped:
            ended.append(item)
            raise

    with contextlib.suppress(KeyboardInterrupt), submit_jobs(endless, list(range(9)), 2) as waits:
        next(waits)
        assert started.wait(PATIENCE)
        raise KeyboardInterrupt
    assert set(ended) <= {0, 1}
    assert ended


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_is_told_to_who_waits(jobs: int) -> None:
    go_on = threading.Event()

    def tell(item: int, progress: Progress) -> int:
        if jobs > 1:
            assert go_on.wait(PATIENCE)
        progress("count", 0.5)
        return item

    told = []

    def listen(stage: str, share: float) -> None:
        told.append((stage, share))

    with submit_jobs(tell, [4], jobs) as waits:
        wait = next(waits)
        threading.Timer(0.05, go_on.set).start()
        assert wait(listen) == 4
    assert told == [("count", 0.5)]


def test_waiting_behind_a_bar_gives_the_results() -> None:
    with run_jobs(lambda item, progress: item + 1, [1, 2], ["a", "b"], 2, no_display) as turns:
        assert [turn() for turn in turns] == [2, 3]


@given(st.none() | st.integers(1, 40), st.none() | st.integers(1, 40), st.integers(0, 40))
def test_jobs_share_the_threads(jobs: int | None, threads: int | None, files: int) -> None:
    used, each = share_threads(jobs, threads, files)
    total = default_threads() if threads is None else threads
    assert 1 <= used <= max(files, 1)
    assert used <= (MOST_JOBS if jobs is None else jobs)
    assert each == threads if used == 1 else each is not None and each >= 1
    if used > 1 and each is not None:
        assert each * used <= max(total, used)
    assert share_threads(jobs, threads, files, one_by_one=True) == (1, threads)


@pytest.mark.parametrize("jobs", [0, -1, 1025])
def test_jobs_out_of_range_are_refused(jobs: int) -> None:
    with pytest.raises(UsageError, match=rf"jobs = {jobs} is outside 1\.\.1024"):
        share_threads(jobs, None, 3)


def counting(made: list[int], most: int = 50, error: BaseException | None = None) -> Any:
    """Numbers, which are noted as they are made; at last an error."""

    def numbers() -> Generator[int, None, None]:
        try:
            for number in range(most):
                made.append(number)
                yield number
            if error is not None:
                raise error
        finally:
            made.append(-1)

    return numbers()


def test_items_are_made_ahead_in_order_and_not_too_far() -> None:
    made: list[int] = []
    with prefetch(counting(made), 3) as items:
        assert next(items) == 0
        deadline = time.monotonic() + PATIENCE
        while len(made) < 5 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.01)
        assert made == [0, 1, 2, 3, 4]
        assert list(items) == list(range(1, 50))
    assert made[-1] == -1


def test_items_that_nobody_takes_are_not_made() -> None:
    made: list[int] = []
    before = threading.active_count()
    with prefetch(counting(made), 2) as items:
        next(items)
    assert threading.active_count() == before
    assert made[-1] == -1
    assert len(made) < 9


@pytest.mark.parametrize("error", [InputError("cut off"), KeyboardInterrupt("now")])
def test_errors_come_where_the_next_item_would(error: BaseException) -> None:
    with prefetch(counting([], 4, error), 2) as items:
        assert [next(items) for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(type(error), match=str(error)):
            next(items)
