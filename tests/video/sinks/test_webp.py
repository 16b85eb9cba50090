"""WebP files draw no more than what changed, and keep time."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantgpu.video.sinks.base import ClipInfo
from quantgpu.video.sinks.webp import webp

COLORS = np.array([[250, 0, 0], [0, 240, 0], [0, 0, 230]], np.uint8)


def frames_in(file: bytes) -> list[tuple[int, int, int, int, int, int]]:
    """Left, top, width, height, thousandths and features of the frames of a file."""
    assert struct.unpack_from("<4sI4s", file) == (b"RIFF", len(file) - 8, b"WEBP")
    start, found = 12, []
    while start < len(file):
        kind, length = struct.unpack_from("<4sI", file, start)
        if kind == b"ANMF":
            data = file[start + 8 :]
            x, y, width, height, time = (
                int.from_bytes(data[at : at + 3], "little") for at in range(0, 15, 3)
            )
            found.append((2 * x, 2 * y, width + 1, height + 1, time, data[15]))
        start += 8 + length + length % 2
    return found


def encoded(frames: list[tuple[Any, Any, Fraction]], **options: Any) -> bytes:
    """A WebP file."""
    height, width = frames[0][0].shape
    stream = io.BytesIO()
    with webp(stream, ClipInfo(width, height, **options)) as write:
        for frame in frames:
            write(*frame)
    return stream.getvalue()


def test_only_the_rectangle_that_changed_is_drawn_from_an_even_place() -> None:
    first = np.zeros((20, 30), np.uint8)
    second = first.copy()
    second[5, 7] = second[9, 12] = 1
    file = encoded([(index, COLORS, Fraction(1, 25)) for index in (first, second, second)])
    over, replaces = 0, 2
    assert frames_in(file) == [
        (0, 0, 30, 20, 40, replaces),
        (6, 4, 7, 6, 40, over),
        (0, 0, 1, 1, 40, over),
    ]


@given(st.lists(st.fractions(Fraction(1, 500), 3), min_size=1, max_size=20))
def test_rounding_errors_of_times_do_not_add_up(durations: list[Fraction]) -> None:
    index = np.zeros((1, 1), np.uint8)
    file = encoded([(index, COLORS, duration) for duration in durations])
    total, shown = Fraction(0), 0
    for duration, (*_, time, _) in zip(durations, frames_in(file), strict=True):
        total, shown = total + duration, shown + time
        assert abs(Fraction(shown, 1000) - total) <= Fraction(1, 2000)
