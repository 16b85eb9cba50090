"""The seam between NumPy and CuPy, and the threads of the CPU.

Algorithms are written once, against the array module of their arguments:
``xp = array_module(points)``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[str, float], None]
"""Called with a stage's name and the share of it that is done, 0 to 1."""


def no_progress(stage: str, share: float) -> None:
    """Progress that nobody sees."""


def array_module(array: Any) -> ModuleType:
    """The module, `numpy` or one that speaks its language, that `array` belongs to."""
    return np


def default_threads() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_ahead(
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


def ranges(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """The half-open intervals of at most `step` that cover ``start … stop``."""
    for first in range(start, stop, step):
        yield first, min(first + step, stop)


def each_range(function: Callable[[tuple[int, int]], None], stop: int, threads: int) -> None:
    """Call `function` on intervals that cover ``0 … stop``, four for each thread."""
    share = -(-stop // (4 * threads)) if threads > 1 else stop
    for _ in map_ahead(function, ranges(0, stop, share), threads):
        pass
