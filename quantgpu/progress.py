"""How far along long work is: functions of a stage's name and a share, 0 to 1."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

Progress = Callable[[str, float], None]
"""Called with a stage's name and the share of it that is done, 0 to 1."""


def no_progress(stage: str, share: float) -> None:
    """Progress that nobody sees."""


Observer = Callable[[str, Mapping[str, Any]], None]
"""Called with the name of a stage and the arrays that it made, by name, wherever they are."""


def no_observer(stage: str, arrays: Mapping[str, Any]) -> None:
    """An observer that looks at nothing."""


Display = Callable[[str], AbstractContextManager[Progress]]
"""From a title to a progress that someone may see, as long as its context lasts."""


def no_display(title: str) -> AbstractContextManager[Progress]:
    """A display that nobody sees."""
    return nullcontext(no_progress)


def subprogress(progress: Progress, turn: int, turns: int) -> Progress:
    """A progress that reports the share of one of several turns to `progress`."""
    return lambda stage, share: progress(stage, (turn + share) / turns)


def stopwatch(since: float) -> Callable[[], float]:
    """A function that says how many seconds went by since it last did, or since then."""

    def lap() -> float:
        nonlocal since
        before, since = since, time.perf_counter()
        return since - before

    return lap
