"""A progress bar on terminals, for work that takes more than half a second."""

from __future__ import annotations

import sys
from threading import Timer
from typing import Any

PATIENCE = 0.5
"""Seconds before a bar appears."""

WIDTH = 1000
"""The number of steps of the bar."""


class Bar:
    """A bar on standard error that appears when the work takes longer than `PATIENCE`."""

    def __init__(self, title: str, shown: bool, left: bool = False) -> None:
        """Create a bar, drawn only if `shown`; `left` adds the remaining time."""
        self.title, self.left = title, left
        self.stage, self.share = "", 0.0
        self.display: Any = None
        self.task: Any = None
        self.timer = Timer(PATIENCE, self.show) if shown and sys.stderr.isatty() else None

    def __enter__(self) -> Bar:
        if self.timer:
            self.timer.daemon = True
            self.timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.timer:
            self.timer.cancel()
            self.timer.join()
        if self.display:
            self.display.stop()

    def __call__(self, stage: str, share: float) -> None:
        """Show the name of the running stage, and the share of the stage that is done, 0 to 1."""
        self.stage, self.share = stage, share
        if self.task is not None:
            self.display.update(self.task, description=self.text(), completed=share * WIDTH)

    def text(self) -> str:
        """The text before the bar: the title and the stage."""
        return f"{self.title}  {self.stage}"

    def show(self) -> None:
        """Start to draw the bar."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            ProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        text = TextColumn("{task.description}", markup=False)
        columns: list[ProgressColumn] = [text, BarColumn(), TimeElapsedColumn()]
        columns += [TimeRemainingColumn()] if self.left else []
        self.display = Progress(*columns, console=Console(stderr=True), transient=True)
        self.display.start()
        self.task = self.display.add_task(self.text(), total=WIDTH, completed=self.share * WIDTH)
