"""`cupy.cuda.Stream` and `cupy.cuda.Event`."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from gpu_double import machine as machines
from gpu_double.errors import CUDARuntimeError
from gpu_double.streams import Marker, merge
from gpu_double.streams import Stream as Queue


class Event:
    """A place in a stream's work."""

    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        if interprocess and not disable_timing:
            raise ValueError("Timing must be disabled for interprocess events")
        machines.current().require_device()
        self.ptr = id(self)
        self._timed = not disable_timing
        self._marker: Marker | None = None
        self._time = 0.0

    def record(self, stream: Any = None) -> None:
        chosen = machines.current().stream if stream is None else stream._stream
        chosen.begin()
        if self._timed:
            chosen.submit(self._note_time)
        self._marker = chosen.marker()

    def _note_time(self) -> None:
        self._time = time.perf_counter()

    def synchronize(self) -> None:
        machines.current().synchronized("Event.synchronize")
        self._join()

    def _join(self) -> None:
        """The host knows that the event has happened."""
        marker = self._marker
        if marker is not None:
            marker.stream.finish(marker)
            merge(marker.stream.machine.host, marker.clock)

    @property
    def done(self) -> bool:
        reached = self._marker is None or self._marker.reached
        self._join()
        return reached


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Milliseconds between two events that have happened."""
    for event in (start_event, end_event):
        if not event._timed or event._marker is None:
            raise CUDARuntimeError(1)
        if not event._marker.reached:
            raise CUDARuntimeError(600)
    return (end_event._time - start_event._time) * 1000


class Stream:
    """A queue of work for the device."""

    null: Stream

    def __init__(
        self,
        null: bool = False,
        non_blocking: bool = False,
        ptds: bool = False,
        priority: Any = None,
    ) -> None:
        machine = machines.current()
        machine.require_device()
        if ptds:
            raise NotImplementedError("per-thread default streams")
        if null:
            self._queue = machine.default_stream
        else:
            self._queue = machine.new_stream(non_blocking)
        self.device_id = -1 if null else machine.device_id

    @property
    def _stream(self) -> Queue:
        return self._queue

    @property
    def ptr(self) -> int:
        return self._stream.ptr

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other._stream is self._stream

    def __hash__(self) -> int:
        return self.ptr

    def __repr__(self) -> str:
        return f"<Stream {self.ptr} (device {self.device_id})>"

    def __enter__(self) -> Stream:
        machine = machines.current()
        if self._stream.device != machine.device_id:
            raise RuntimeError(
                f"The device that the stream is created on ({self._stream.device}) does not match "
                f"with the current device ({machine.device_id})"
            )
        machine.local.streams = [*getattr(machine.local, "streams", []), self._stream]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        machines.current().local.streams.pop()

    def use(self) -> Stream:
        machines.current().local.streams = [self._stream]
        return self

    @property
    def done(self) -> bool:
        empty = not self._stream.queue
        self._stream.join_host()
        return empty

    def synchronize(self) -> None:
        self._stream.synchronize("Stream.synchronize")

    def record(self, event: Event | None = None) -> Event:
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        if event._marker is not None:
            self._stream.wait(event._marker)


class NullStream(Stream):
    """`Stream.null`: the default stream of whatever machine is installed."""

    def __init__(self) -> None:
        self.device_id = -1

    @property
    def _stream(self) -> Queue:
        return machines.current().default_stream


Stream.null = NullStream()


def get_current_stream(device_id: int = -1) -> Stream:
    """The stream that work goes to."""
    machine = machines.current()
    machine.require_device()
    if machine.stream is machine.default_stream:
        return Stream.null
    result = Stream.__new__(Stream)
    result._queue = machine.stream
    result.device_id = machine.device_id
    return result
