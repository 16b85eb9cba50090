"""APNG files tell durations as fractions and have their parts in order."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantgpu.video.sinks.apng import apng, fit_duration
from quantgpu.video.sinks.base import ClipInfo

COLORS = np.array([[250, 0, 0], [0, 240, 0], [0, 0, 230]], np.uint8)


@given(st.fractions(Fraction(1, 1000), 60))
def test_durations_fit_into_16_bits_and_are_near(duration: Fraction) -> None:
    numerator, denominator = fit_duration(duration)
    assert 0 <= numerator <= 65_535
    assert 1 <= denominator <= 65_535
    assert abs(Fraction(numerator, denominator) - duration) <= duration / 1000


def test_durations_that_fit_are_exact() -> None:
    assert fit_duration(Fraction(1001, 30_000)) == (1001, 30_000)
    assert fit_duration(Fraction(70_000)) == (65_535, 1)


def parts(file: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and data of the chunks."""
    start, found = 8, []
    while start < len(file):
        length, kind = struct.unpack_from(">I4s", file, start)
        found.append((kind, file[start + 8 : start + 8 + length]))
        start += 12 + length
    return found


def test_the_parts_are_there_in_order() -> None:
    stream = io.BytesIO()
    frames: list[Any] = [np.zeros((20, 30), np.uint8) for _ in range(3)]
    frames[1][5, 7] = frames[2][5, 7] = 1
    with apng(stream, ClipInfo(30, 20, loop=4)) as write:
        for index in frames:
            write(index, COLORS, Fraction(1, 30))
    found = parts(stream.getvalue())
    assert [kind for kind, _ in found] == [
        *(b"IHDR", b"acTL", b"PLTE", b"tRNS", b"fcTL", b"IDAT"),
        *(b"fcTL", b"fdAT", b"fcTL", b"fdAT", b"IEND"),
    ]
    assert struct.unpack(">II", found[1][1]) == (3, 4)
    numbers = [
        struct.unpack(">I", data[:4])[0] for kind, data in found if kind in (b"fcTL", b"fdAT")
    ]
    assert numbers == [0, 1, 2, 3, 4]
    places = [struct.unpack(">IIIIHHBB", data[4:]) for kind, data in found if kind == b"fcTL"]
    assert places == [
        (30, 20, 0, 0, 1, 30, 0, 0),
        (1, 1, 7, 5, 1, 30, 0, 1),
        (1, 1, 0, 0, 1, 30, 0, 1),
    ]
