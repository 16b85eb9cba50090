"""Clocks of the host, of streams and of copy engines."""

from __future__ import annotations

from collections import defaultdict

from prediction.calls import Call, Copy, Deed, Mark, Order, Work
from prediction.cards import COPY_START, SYNC, Card


class Timeline:
    """Clocks of the host, of streams and of copy engines, in seconds."""

    def __init__(self, card: Card, slowness: float = 1.0) -> None:
        """`slowness` times as long as assumed is what the host takes for calls and Python."""
        self.card = card
        self.slowness = slowness
        self.host = 0.0
        self.streams: defaultdict[int, float] = defaultdict(float)
        self.engines: defaultdict[str, float] = defaultdict(float)
        self.events: dict[int, float] = {}
        self.under_way: list[tuple[bool, float, float, str]] = []
        """What was begun: whether it is a launch, its start and end, its stage."""
        self.spent: defaultdict[str, float] = defaultdict(float)
        """Seconds of the host by stage: computing, or waiting for work of that stage."""
        self.busy: defaultdict[str, float] = defaultdict(float)
        """Seconds of the engines: ``kernels``, ``up`` and ``down``."""
        self.waited = 0.0

    def run(self, calls: list[Call]) -> Timeline:
        """All calls, one after the other."""
        for call in calls:
            seconds = self.slowness * (call.python + call.cupy) + call.copying
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
            mark = deed.event
            end = self.streams[deed.stream] if mark is None else self.events.get(mark, 0.0)
            self.wait(end, stage)

    def begin(self, engine: str, stream: int, seconds: float, stage: str) -> None:
        """Work starts when the host has asked for it and its stream and engine are free."""
        start = max(self.host, self.streams[stream], self.engines[engine])
        self.streams[stream] = self.engines[engine] = start + seconds
        self.busy[engine] += seconds
        self.under_way.append((engine == "kernels", start, start + seconds, stage))

    def wait(self, end: float, stage: str) -> None:
        """The host's clock goes on to `end`; the time counts for what is at work, copies first."""
        self.under_way = [item for item in self.under_way if item[2] > self.host]
        edges = {edge for item in self.under_way for edge in item[1:3] if self.host < edge < end}
        before = self.host
        for edge in sorted({*edges, max(end, self.host)}):
            at_work = [item for item in self.under_way if item[1] <= self.host < item[2]]
            self.spent[min(at_work)[3] if at_work else stage] += edge - self.host
            self.host = edge
        self.host += SYNC
        self.spent[stage] += SYNC
        self.waited += self.host - before
