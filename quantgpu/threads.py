"""Threads of the CPU: how many, and maps over them that keep their order."""

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
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def imap_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """`map(function, items)`, in order, computed by `threads` threads a few items ahead.

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
    """Ends work of which nobody wants the result any more."""


SOON = 0.1
"""Seconds after which a thread that waits for room looks whether it is to end."""


@contextlib.contextmanager
def prefetch(
    items: Generator[Item, None, None], most: int, stopped: Event | None = None
) -> Iterator[Iterator[Item]]:
    """The items, made by a thread of their own, of which at most so many wait to be taken.

    What the generator raises is raised where its next item is asked for. Whoever leaves the context
    early closes it, and waits until it has ended.

    Args:
        items: Their generator.
        most: At least 1.
        stopped: Set when the context is left, for a generator that works for long on one item: it
            raises Stopped then.
    """
    waiting: Queue[tuple[Item | None, BaseException | None]] = Queue(most)
    stopped = Event() if stopped is None else stopped

    def put(item: Item | None, error: BaseException | None = None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(Full):
                waiting.put((item, error), timeout=SOON)
                return
        raise Stopped

    def make() -> None:
        with contextlib.suppress(Stopped):
            try:
                with contextlib.closing(items):
                    for item in items:
                        put(item)
                put(None, StopIteration())
            except BaseException as error:  # whatever it is, the other thread is to see it
                put(None, error)

    def taken() -> Iterator[Item]:
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
        yield taken()
    finally:
        stopped.set()
        thread.join()


MOST_THREADS = 1024
