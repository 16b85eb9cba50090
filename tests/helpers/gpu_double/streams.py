"""Streams that do their work as late as CUDA allows, and know which work is ordered.

Work on a stream that is not the default one waits in a queue until somebody must see its result,
so whoever forgets to wait reads poison. Each access also carries a vector clock: two accesses to
the same bytes, one of them a write, by different streams are a mistake unless one is ordered
before the other by an event or by the host, in whatever order they happened to run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpu_double.log import caller

if TYPE_CHECKING:
    from gpu_double.machine import Machine

Clock = dict[int, int]
"""How much of each stream's work is known to be done."""


def merge(clock: Clock, other: Clock) -> None:
    """Let `clock` also know what `other` knows."""
    for stream, count in other.items():
        clock[stream] = max(count, clock.get(stream, 0))


@dataclass
class Access:
    """Bytes ``low … high`` that work on a stream reads or writes."""

    low: int
    high: int
    write: bool
    stream: int
    count: int
    where: str

    def before(self, clock: Clock) -> bool:
        """Whether whoever has this clock comes after."""
        return clock.get(self.stream, 0) >= self.count


Span = tuple["Accesses", int, int, bool]
"""Whose bytes, from where to where, and whether they are written."""


@dataclass
class Accesses:
    """Who touched a block of memory."""

    name: str
    entries: list[Access] = field(default_factory=list)

    def add(self, new: Access, clock: Clock, host: Clock) -> str | None:
        """Note an access; what is wrong with it, if anything."""
        wrong = None
        kept = []
        for old in self.entries:
            overlap = old.low < new.high and new.low < old.high
            if overlap and (old.write or new.write) and not old.before(clock):
                wrong = (
                    f"{new.where} {'writes' if new.write else 'reads'} {self.name} on stream "
                    f"{new.stream} without waiting for stream {old.stream}, which "
                    f"{'writes' if old.write else 'reads'} it at {old.where}"
                )
            inside = new.low <= old.low and old.high <= new.high and new.write >= old.write
            if not (old.before(host) or (inside and old.before(clock))):
                kept.append(old)
        self.entries = [*kept, new]
        return wrong

    def unfinished(self, clock: Clock) -> Access | None:
        """An access that whoever has this clock does not come after."""
        return next((entry for entry in self.entries if not entry.before(clock)), None)


@dataclass
class Marker:
    """A place in a stream's queue."""

    stream: Stream
    clock: Clock
    reached: bool = False


class Stream:
    """A queue of work."""

    def __init__(
        self, machine: Machine, number: int, device: int, *, late: bool, blocking: bool
    ) -> None:
        self.machine = machine
        self.number = number
        """0, -1, … for the default streams of the devices, 3, 4, … for others."""
        self.ptr = max(number, 0)
        self.device = device
        self.late = late
        self.blocking = blocking
        self.queue: deque[Callable[[], None] | Marker] = deque()
        self.count = 0
        self.clock: Clock = {}

    def begin(self, spans: Iterable[Span] = ()) -> None:
        """Order new work after what it waits for, and check what it touches."""
        machine = self.machine
        if machine.streams and self.blocking:
            self.join_default()
        self.count += 1
        merge(self.clock, machine.host)
        self.clock[self.number] = self.count
        self.touch(spans)

    def touch(self, spans: Iterable[Span]) -> None:
        """Check what the work just begun touches."""
        machine = self.machine
        if not machine.streams:
            return
        where = caller()
        for accesses, low, high, write in spans:
            access = Access(low, high, write, self.number, self.count, where)
            wrong = accesses.add(access, self.clock, machine.host)
            if wrong:
                raise machine.misuse(wrong)

    def join_default(self) -> None:
        """The legacy default stream and the streams that block it wait for each other."""
        for other in self.blocked_by():
            merge(self.clock, other.clock)
            if other.queue:
                self.queue.append(other.marker())

    def blocked_by(self) -> list[Stream]:
        """The streams whose work this one waits for without being told."""
        mine = [s for s in self.machine.all_streams if s.blocking and s.device == self.device]
        return [s for s in mine if s is not self and (s.number <= 0 or self.number <= 0)]

    def submit(self, work: Callable[[], None]) -> None:
        """Do `work` in its turn: at once on the default stream."""
        self.queue.append(work)
        if not self.late:
            self.finish()

    def marker(self) -> Marker:
        """The end of the queue as it is now."""
        marker = Marker(self, dict(self.clock))
        self.queue.append(marker)
        if not self.late and len(self.queue) == 1:
            self.finish()
        return marker

    def wait(self, marker: Marker) -> None:
        """Later work comes after the marker."""
        merge(self.clock, marker.clock)
        if not marker.reached:
            self.queue.append(marker)

    def finish(self, until: Marker | None = None) -> None:
        """Do what is queued, all or up to a marker."""
        with self.machine.lock:
            while self.queue and not (until and until.reached):
                item = self.queue.popleft()
                if not isinstance(item, Marker):
                    item()
                elif item.stream is self:
                    item.reached = True
                elif not item.reached:
                    item.stream.finish(item)

    def synchronize(self, why: str) -> None:
        """The host waits for everything queued."""
        self.machine.synchronized(why)
        self.join_host()

    def join_host(self) -> None:
        """The host knows that everything queued is done."""
        self.finish()
        for other in self.blocked_by() if self.number <= 0 else []:
            other.finish()
            merge(self.machine.host, other.clock)
        merge(self.machine.host, self.clock)
