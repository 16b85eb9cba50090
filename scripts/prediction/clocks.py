"""Clocks of the host, of streams and of copy engines."""

from __future__ import annotations

from collections import defaultdict

from prediction.calls import Call, Copy, Deed, Mark, Order, Work
from prediction.cards import COPY_START, SYNC, Card


class Timeline:
    """Clocks of the host, of streams and of copy engines, in seconds."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.host = 0.0
        self.streams: defaultdict[int, float] = defaultdict(float)
        self.engines: defaultdict[str, float] = defaultdict(float)
        self.events: dict[int, float] = {}
        self.under_way: list[tuple[float, str]] = []
        """When what was begun ends, and its stage."""
        self.spent: defaultdict[str, float] = defaultdict(float)
        """Seconds of the host by stage: computing, or waiting for work of that stage."""
        self.busy: defaultdict[str, float] = defaultdict(float)
        """Seconds of the engines: ``kernels``, ``up`` and ``down``."""
        self.waited = 0.0

    def run(self, calls: list[Call]) -> Timeline:
        """All calls, one after the other."""
        for call in calls:
            seconds = call.python + call.cupy
            self.host += seconds
            self.spent[call.stage] += seconds
            for deed in call.deeds:
                self.do(deed, call.stage)
        return self

    def do(self, deed: Deed, stage: str) -> None:
        """One deed."""
        if isinstance(deed, Work):
            self.begin("kernels", deed.stream, deed.need.seconds(self.card), stage)
        elif isinstance(deed, Copy):
            rate = self.card.up if deed.direction == "up" else self.card.down
            self.begin(deed.direction, deed.stream, COPY_START + deed.nbytes / rate, stage)
        elif isinstance(deed, Mark):
            self.events[deed.event] = self.streams[deed.stream]
        elif isinstance(deed, Order):
            end = self.events.get(deed.event, 0.0)
            self.streams[deed.stream] = max(self.streams[deed.stream], end)
        else:
            end = self.streams[deed.stream] if deed.event is None else self.events[deed.event]
            self.wait(end, stage)

    def begin(self, engine: str, stream: int, seconds: float, stage: str) -> None:
        """Work starts when the host has asked for it and its stream and engine are free."""
        end = max(self.host, self.streams[stream], self.engines[engine]) + seconds
        self.streams[stream] = self.engines[engine] = end
        self.busy[engine] += seconds
        self.under_way.append((end, stage))

    def wait(self, end: float, stage: str) -> None:
        """The host's clock goes on to `end`; the time counts for what ends next."""
        before = self.host
        for finished, whose in sorted(self.under_way):
            if self.host < finished <= end:
                self.spent[whose] += finished - self.host
                self.host = finished
        self.under_way = [item for item in self.under_way if item[0] > self.host]
        self.host = max(self.host, end) + SYNC
        self.spent[stage] += SYNC
        self.waited += self.host - before
