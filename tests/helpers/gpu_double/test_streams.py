"""Streams: work comes as late as CUDA allows, and what nothing orders is a mistake."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_double import Double, MisuseError, installed

DOUBLED = """
extern "C" __global__ void twice(const int* from, int* to)
{
    to[threadIdx.x] = 2 * from[threadIdx.x];
}
"""
UNFILLED = np.frombuffer(b"\xa5" * 4, np.int32)[0]


@pytest.fixture
def cupy() -> Iterator[Double]:
    """The stand-in on its usual machine."""
    with installed() as double:
        yield double


def pinned(cupy: Double, values: Any) -> NDArray[np.int32]:
    """The values in page-locked memory."""
    values = np.asarray(values, np.int32)
    memory = cupy.cuda.alloc_pinned_memory(values.nbytes)
    array: NDArray[np.int32] = np.frombuffer(memory, np.int32, values.size)
    array[:] = values
    return array


def arrays(cupy: Double) -> tuple[Any, Any, Any]:
    """A stream, a host buffer of threes and a device buffer of zeros, ready for use."""
    there = cupy.zeros(8, cupy.int32)
    stream = cupy.cuda.Stream(non_blocking=True)
    stream.wait_event(cupy.cuda.get_current_stream().record())
    return stream, pinned(cupy, np.full(8, 3)), there


def double_in_slabs(cupy: Double, omitted: str = "") -> tuple[Any, Any]:
    """What comes back and what should, through two staging buffers and two streams.

    One of the waits that make it right can be omitted.
    """
    twice = cupy.RawModule(code=DOUBLED).get_function("twice")
    copies, work = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)
    slabs = [np.arange(8, dtype=np.int32) + 10 * i for i in range(6)]
    staging = [pinned(cupy, np.zeros(8)) for _ in range(2)]
    results = [pinned(cupy, np.zeros(8)) for _ in slabs]
    buffers = [cupy.zeros(8, cupy.int32) for _ in range(4)]
    start = cupy.cuda.get_current_stream().record()
    sent: list[Any] = [None, None]
    used: list[Any] = [start, start]
    for i, slab in enumerate(slabs):
        turn = i % 2
        if sent[turn] and omitted != "the host before it stages":
            sent[turn].synchronize()
        staging[turn][:] = slab
        if omitted != "a copy before it overwrites":
            copies.wait_event(used[turn])
        buffers[turn].set(staging[turn], stream=copies)
        sent[turn] = copies.record()
        if omitted != "a kernel before it reads":
            work.wait_event(sent[turn])
        with work:
            twice((1,), (8,), (buffers[turn], buffers[2 + turn]))
            buffers[2 + turn].get(out=results[i], blocking=False)
            used[turn] = work.record()
    if omitted != "the host before it looks":
        work.synchronize()
    came = np.stack(results)
    cupy.cuda.Device().synchronize()
    return came, 2 * np.stack(slabs)


def test_slabs_in_two_buffers_arrive_in_order(cupy: Double) -> None:
    np.testing.assert_array_equal(*double_in_slabs(cupy))


@pytest.mark.parametrize("omitted", ["the host before it stages", "the host before it looks"])
def test_a_wait_of_the_host_that_is_missing_shows_in_the_bytes(omitted: str, cupy: Double) -> None:
    came, expected = double_in_slabs(cupy, omitted)
    assert (came != expected).any()


@pytest.mark.parametrize("omitted", ["a copy before it overwrites", "a kernel before it reads"])
def test_a_wait_of_a_stream_that_is_missing_is_a_mistake(omitted: str) -> None:
    with pytest.raises(MisuseError, match="without waiting"):
        in_stand_in(lambda cupy: double_in_slabs(cupy, omitted))


def read_without_waiting(cupy: Double) -> None:
    stream, host, there = arrays(cupy)
    there.set(host, stream=stream)
    there + 1


def read_after_another_event(cupy: Double) -> None:
    stream, host, there = arrays(cupy)
    early = stream.record()
    there.set(host, stream=stream)
    cupy.cuda.get_current_stream().wait_event(early)
    there + 1


def overwrite_while_it_is_read(cupy: Double) -> None:
    stream, host, there = arrays(cupy)
    there + 1
    there.set(host, stream=stream)


def overwrite_what_another_stream_wrote(cupy: Double) -> None:
    stream, host, there = arrays(cupy)
    there[2:].set(host[2:], stream=stream)
    there[:3] = 1


def launch_without_waiting(cupy: Double) -> None:
    stream, host, there = arrays(cupy)
    there.set(host, stream=stream)
    cupy.RawModule(code=DOUBLED).get_function("twice")((1,), (8,), (there, cupy.empty(8, "i4")))


def use_fresh_memory_at_once(cupy: Double) -> None:
    stream, host, _ = arrays(cupy)
    cupy.zeros(8, cupy.int32).set(host, stream=stream)


def download_without_waiting(cupy: Double) -> None:
    stream, host, there = arrays(cupy)
    there.fill(1)
    there.get(stream=stream, out=host, blocking=False)


def fill_one_buffer_from_two_streams(cupy: Double) -> None:
    stream, host, there = arrays(cupy)
    there.get(stream=stream, out=host, blocking=False)
    there.get(out=host, blocking=False)


def free_what_another_stream_reads(cupy: Double) -> None:
    stream, host, there = arrays(cupy)
    there.get(stream=stream, out=host, blocking=False)
    del there
    cupy.cuda.Device().synchronize()


def free_page_locked_memory_in_use(cupy: Double) -> None:
    stream, host, there = arrays(cupy)
    there.set(host, stream=stream)
    del host
    stream.synchronize()


HAZARDS: list[Callable[[Double], None]] = [
    read_without_waiting,
    read_after_another_event,
    overwrite_while_it_is_read,
    overwrite_what_another_stream_wrote,
    launch_without_waiting,
    use_fresh_memory_at_once,
    download_without_waiting,
    fill_one_buffer_from_two_streams,
    free_what_another_stream_reads,
    free_page_locked_memory_in_use,
]


def in_stand_in(function: Callable[[Double], Any]) -> None:
    """Call the function on a machine of its own."""
    with installed() as cupy:
        function(cupy)


@pytest.mark.parametrize("hazard", HAZARDS)
def test_what_nothing_orders_is_a_mistake(hazard: Callable[[Double], None]) -> None:
    with pytest.raises(MisuseError, match=r"without waiting|was freed while") as raised:
        in_stand_in(hazard)
    assert "test_streams.py:" in str(raised.value)


def waited_by_event(cupy: Double, stream: Any) -> None:
    cupy.cuda.Stream.null.wait_event(stream.record())


def waited_by_host(cupy: Double, stream: Any) -> None:
    stream.synchronize()


def waited_by_host_for_an_event(cupy: Double, stream: Any) -> None:
    event = cupy.cuda.Event(disable_timing=True)
    event.record(stream)
    event.synchronize()


def waited_for_the_device(cupy: Double, stream: Any) -> None:
    cupy.cuda.Device().synchronize()


def waited_by_polling(cupy: Double, stream: Any) -> None:
    event = stream.record()
    assert not event.done
    assert event.done


def waited_through_a_third_stream(cupy: Double, stream: Any) -> None:
    between = cupy.cuda.Stream(non_blocking=True)
    between.wait_event(stream.record())
    cupy.cuda.Stream.null.wait_event(between.record())


WAITS = [
    waited_by_event,
    waited_by_host,
    waited_by_host_for_an_event,
    waited_for_the_device,
    waited_by_polling,
    waited_through_a_third_stream,
]


@pytest.mark.parametrize("wait", WAITS)
def test_every_way_of_waiting_orders(wait: Callable[[Double, Any], None], cupy: Double) -> None:
    stream, host, there = arrays(cupy)
    there.set(host, stream=stream)
    wait(cupy, stream)
    assert (there + 1).tolist() == [4] * 8
    there.fill(5)
    stream.synchronize()


def test_a_page_locked_buffer_that_is_overwritten_too_early_gives_other_bytes(cupy: Double) -> None:
    for stream in (cupy.cuda.Stream(non_blocking=True), None):
        host = pinned(cupy, np.full(8, 3))
        there = cupy.empty(8, cupy.int32)
        if stream:
            stream.wait_event(cupy.cuda.Stream.null.record())
        there.set(host, stream=stream)
        host[:] = 9
        cupy.cuda.Device().synchronize()
        assert there.tolist() == [9] * 8


def test_a_pageable_buffer_is_read_at_once(cupy: Double) -> None:
    stream, _, there = arrays(cupy)
    host = np.full(8, 3, np.int32)
    there.set(host, stream=stream)
    host[:] = 9
    stream.synchronize()
    assert there.tolist() == [3] * 8


def test_a_result_that_is_read_before_it_came_is_poison(cupy: Double) -> None:
    stream, host, there = arrays(cupy)
    there.get(stream=stream, out=host, blocking=False)
    assert (host == UNFILLED).all()
    stream.synchronize()
    assert (host == 0).all()


def test_a_download_to_pageable_memory_waits(cupy: Double) -> None:
    stream, _, there = arrays(cupy)
    cupy.log.reset()
    assert there.get(stream=stream, blocking=False).tolist() == [0] * 8
    assert len(cupy.log.synchronizations) == 1


def test_array_functions_in_a_stream_come_late_and_in_order(cupy: Double) -> None:
    stream, host, there = arrays(cupy)
    with stream:
        assert cupy.cuda.get_current_stream() == stream
        there.set(host)
        total = ((there + 1) * 2).sum()
        result = np.frombuffer(cupy.cuda.alloc_pinned_memory(8), np.int64, 1)
        total.reshape(1).get(out=result, blocking=False)
        assert result != 64
    assert cupy.cuda.get_current_stream() == cupy.cuda.Stream.null
    stream.synchronize()
    assert result == 64


def test_memory_freed_in_its_own_stream_is_no_hazard(cupy: Double) -> None:
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        a = cupy.arange(8)
        b = a + 1
        del a
        assert b.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_blocking_streams_and_the_default_stream_wait_for_each_other(cupy: Double) -> None:
    there = cupy.zeros(8, cupy.int32)
    stream = cupy.cuda.Stream()
    host = pinned(cupy, np.full(8, 3))
    there.set(host, stream=stream)
    assert (there + 1).tolist() == [4] * 8
    with stream:
        there += 1
    assert int(there.sum()) == 32


def test_each_thread_has_its_own_current_stream(cupy: Double) -> None:
    seen = []
    with cupy.cuda.Stream(non_blocking=True):
        thread = threading.Thread(target=lambda: seen.append(cupy.cuda.get_current_stream()))
        thread.start()
        thread.join()
    assert seen == [cupy.cuda.Stream.null]


def test_events_measure_time(cupy: Double) -> None:
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    cupy.zeros(1000).sum()
    end.record()
    end.synchronize()
    assert cupy.cuda.get_elapsed_time(start, end) > 0
    late = cupy.cuda.Stream(non_blocking=True).record()
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="NotReady"):
        cupy.cuda.get_elapsed_time(start, late)
    late.synchronize()


def test_synchronizations_say_where(cupy: Double) -> None:
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.log.reset()
    stream.synchronize()
    stream.record().synchronize()
    cupy.cuda.Device().synchronize()
    whys = ["Stream.synchronize", "Event.synchronize", "Device.synchronize"]
    assert [wait.why for wait in cupy.log.synchronizations] == whys
    assert all(where.startswith("test_streams.py:") for where in cupy.log.synchronized_at())
