"""Threads of the CPU: their number, and parallel maps that keep the order of the items."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")


Result = TypeVar("Result")


def default_threads() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def imap_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Map `function` over `items`, in order, on `threads` threads that work a few items ahead.

    At most ``threads + 2`` results exist at a time, so a slow consumer bounds the memory.
    """
    if threads <= 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > threads + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def chunks(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """The half-open intervals of at most `step` that cover ``start … stop``."""
    for first in range(start, stop, step):
        yield first, min(first + step, stop)


def parallel_chunks(function: Callable[[tuple[int, int]], None], stop: int, threads: int) -> None:
    """Call `function` on intervals that cover ``0 … stop``, four for each thread."""
    share = -(-stop // (4 * threads)) if threads > 1 else stop
    for _ in imap_threads(function, chunks(0, stop, max(share, 1)), threads):
        pass


class Stopped(BaseException):
    """Raised in work whose result is no longer needed."""


STOP_POLL = 0.1
"""Seconds between checks whether a thread that waits for room has to end."""


@contextlib.contextmanager
def prefetch(
    items: Generator[Item, None, None], most: int, stopped: Event | None = None
) -> Iterator[Iterator[Item]]:
    """Run a generator in a thread of its own, up to `most` items ahead, and yield its items.

    An error of the generator is raised to the consumer in place of the next item. Leaving the
    context early closes the generator and waits for its end.

    Args:
        items: The generator.
        most: The most items that wait to be taken, at least 1.
        stopped: Set when the context is left, so that a generator that works for long on one item
            can raise Stopped.
    """
    waiting: Queue[tuple[Item | None, BaseException | None]] = Queue(most)
    stopped = Event() if stopped is None else stopped

    def put(item: Item | None, error: BaseException | None = None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(Full):
                waiting.put((item, error), timeout=STOP_POLL)
                return
        raise Stopped

    def make() -> None:
        with contextlib.suppress(Stopped):
            try:
                with contextlib.closing(items):
                    for item in items:
                        put(item)
                put(None, StopIteration())
            except BaseException as error:  # raised again in the consumer
                put(None, error)

    def take() -> Iterator[Item]:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # an Item, as there is no error

    thread = Thread(target=make, daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stopped.set()
        thread.join()


MOST_THREADS = 1024
