"""Progress of long work: callbacks with the name of a stage and the share that is done, 0 to 1."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

Progress = Callable[[str, float], None]
"""Called with the name of a stage and the share of the stage that is done, 0 to 1."""


def no_progress(stage: str, share: float) -> None:
    """Do nothing: the progress of work that is not watched."""


Observer = Callable[[str, Mapping[str, Any]], None]
"""Called with the name of a stage and its arrays by name, on the host or on a GPU."""


def no_observer(stage: str, arrays: Mapping[str, Any]) -> None:
    """Do nothing: the observer of work that is not watched."""


Display = Callable[[str], AbstractContextManager[Progress]]
"""From a title to a context whose progress is shown."""


def no_display(title: str) -> AbstractContextManager[Progress]:
    """A context whose progress is not shown."""
    return nullcontext(no_progress)


def subprogress(progress: Progress, part: int, parts: int) -> Progress:
    """A progress for one of several equal parts, 0 to `parts` - 1, of the work of `progress`."""
    return lambda stage, share: progress(stage, (part + share) / parts)


def stopwatch(since: float) -> Callable[[], float]:
    """A function that returns the seconds since its last call; at first since `since`.

    `since` is a time of `time.perf_counter`.
    """

    def lap() -> float:
        nonlocal since
        before, since = since, time.perf_counter()
        return since - before

    return lap
