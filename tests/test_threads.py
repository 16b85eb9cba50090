"""Threads and intervals."""

import threading
from collections.abc import Iterator

import pytest

from quantgpu.threads import chunks, default_threads, imap_threads, parallel_chunks


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order(threads: int) -> None:
    assert list(imap_threads(lambda x: x * x, range(50), threads)) == [x * x for x in range(50)]


@pytest.mark.parametrize("threads", [2, 4])
def test_only_a_few_items_are_fetched_ahead(threads: int) -> None:
    fetched = 0

    def items() -> Iterator[int]:
        nonlocal fetched
        while fetched < 100:
            fetched += 1
            yield fetched

    for consumed, result in enumerate(imap_threads(lambda x: x, items(), threads), 1):
        assert result == consumed
        assert fetched - consumed <= threads + 2


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_reaches_the_caller(threads: int) -> None:
    def fail_on_three(number: int) -> int:
        if number == 3:
            raise KeyError("three")
        return number

    with pytest.raises(KeyError, match="three"):
        list(imap_threads(fail_on_three, range(20), threads))


@pytest.mark.parametrize(("start", "stop", "step"), [(0, 0, 3), (0, 7, 3), (5, 6, 1), (2, 9, 100)])
def test_ranges_cover_everything_once(start: int, stop: int, step: int) -> None:
    covered = [number for first, last in chunks(start, stop, step) for number in range(first, last)]
    assert covered == list(range(start, stop))


@pytest.mark.parametrize("stop", [1, 2, 7, 8, 9, 1000])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_each_range_covers_everything_once(stop: int, threads: int) -> None:
    seen: list[int] = []
    lock = threading.Lock()

    def see(interval: tuple[int, int]) -> None:
        with lock:
            seen.extend(range(*interval))

    parallel_chunks(see, stop, threads)
    assert sorted(seen) == list(range(stop))


def test_there_is_a_processor() -> None:
    assert default_threads() >= 1
