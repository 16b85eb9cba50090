"""Frames of any source, cut, resampled and scaled."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from videos import colors, frames_of, lengths, times, video

from quantgpu.errors import InputError, UsageError
from quantgpu.video.frames.base import Frame, Frames, parse_seconds, with_times
from quantgpu.video.frames.open import open_frames, resample, trim

PICTURE = np.zeros((2, 3, 3), np.uint8)


def clip(durations: list[Fraction]) -> Frames:
    """Frames of durations; the first pixel tells the number."""

    def read(since: Fraction) -> Iterator[Frame]:
        time = Fraction(0)
        for number, duration in enumerate(durations):
            pixels = PICTURE.copy()
            pixels[0, 0, 0] = number
            yield Frame(pixels, time, duration)
            time += duration

    return Frames("clip", 3, 2, 3, len(durations), None, None, [], read)


def numbers(frames: Frames) -> list[int]:
    """The numbers of the frames."""
    return [int(frame.pixels[0, 0, 0]) for frame in frames]


DURATIONS = st.lists(st.fractions(Fraction(1, 100), 2), min_size=1, max_size=20)


@given(DURATIONS, st.fractions(1, 60))
def test_at_another_rate_each_moment_shows_what_it_showed_up_to_half_a_tick(
    durations: list[Fraction], rate: Fraction
) -> None:
    starts = [sum(durations[:number], Fraction(0)) for number in range(len(durations) + 1)]
    got = list(resample(clip(durations), rate))
    for tick, frame in enumerate(got):
        number = int(frame.pixels[0, 0, 0])
        assert (frame.time, frame.duration) == (tick / rate, 1 / rate)
        assert starts[number] - frame.time <= Fraction(1, 2) / rate
        assert frame.time - starts[number + 1] < Fraction(1, 2) / rate or tick == 0
    assert abs(len(got) / rate - starts[-1]) <= max(Fraction(1, 2) / rate, 1 / rate - starts[-1])


@given(DURATIONS, st.fractions(1, 60), st.fractions(0, 9))
def test_a_late_start_at_another_rate_shows_what_the_whole_shows_there(
    durations: list[Fraction], rate: Fraction, since: Fraction
) -> None:
    whole = clip(durations)

    def late(since: Fraction) -> Iterator[Frame]:
        return (f for f in whole.read(since) if f.time + f.duration > since)

    expected = [f for f in resample(whole, rate).read(Fraction(0)) if f.time + 1 / rate > since]
    found = list(resample(replace(whole, read=late), rate).read(since))
    assert len(found) >= len(expected)
    for frame, other in zip(found[len(found) - len(expected) :], expected, strict=True):
        assert frame[1:] == other[1:]
        np.testing.assert_array_equal(frame.pixels, other.pixels)


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24), Fraction(60)])
def test_times_in_milliseconds_keep_all_frames_at_their_own_rate(rate: Fraction) -> None:
    ends = [Fraction(round(1000 * number / rate), 1000) for number in range(101)]
    frames = resample(clip([end - start for start, end in pairwise(ends)]), rate)
    assert numbers(frames) == list(range(100))


@given(DURATIONS, st.fractions(0, 10), st.fractions(Fraction(1, 100), 10))
def test_a_part_shows_what_the_whole_shows_there(
    durations: list[Fraction], start: Fraction, length: Fraction
) -> None:
    def shown(frames: Frames, time: Fraction) -> int | None:
        for frame in frames.read(Fraction(0)):
            if frame.time <= time < frame.time + frame.duration:
                return int(frame.pixels[0, 0, 0])
        return None

    whole = clip(durations)
    part = trim(whole, start, length)
    for time in (Fraction(0), length / 3, length * Fraction(99, 100)):
        assert shown(part, time) == shown(whole, time + start)
    assert shown(part, length) is None


def test_times_that_do_not_grow_are_mended() -> None:
    told = [Fraction(t) for t in (0, 1, 1, -2, 4)]
    frames = list(with_times(((PICTURE, time) for time in told), lambda: Fraction(7)))
    assert times(frames) == [0, 1, 2, 3, 4]
    assert lengths(frames) == [1, 1, 1, 1, 7]


def test_frames_before_the_damage_are_delivered_and_the_damage_is_told() -> None:
    def read(since: Fraction) -> Iterator[Frame]:
        yield from clip([Fraction(1)] * 2).read(since)
        raise InputError("x.mp4: damaged")

    frames = Frames("x.mp4", 3, 2, 3, None, None, None, [], read)
    for _ in range(2):
        assert numbers(frames) == [0, 1]
        assert frames.broken == "x.mp4: damaged"


def test_damage_before_the_first_frame_is_an_error() -> None:
    def read(since: Fraction) -> Iterator[Frame]:
        raise InputError("x.mp4: damaged")
        yield

    with pytest.raises(InputError, match="damaged"):
        list(Frames("x.mp4", 3, 2, 3, None, None, None, [], read))


def test_the_frame_before_the_damage_keeps_its_place() -> None:
    def pictures() -> Iterator[tuple[Any, Fraction]]:
        yield PICTURE, Fraction(0)
        raise InputError("damaged")

    frames = Frames(
        "x", 3, 2, 3, None, None, None, [], lambda _: with_times(pictures(), lambda: Fraction(1))
    )
    assert numbers(frames) == [0]
    assert frames.broken


def test_options_go_together(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mkv", colors(50))
    options: dict[str, Any] = {"fps": 10, "start": 0.5, "duration": 1, "width": 62}
    with open_frames(path, **options) as frames:
        assert (frames.width, frames.height) == (62, 34)
        assert (frames.rate, frames.count) == (Fraction(10), 10)
        assert frames.notes == ["scaled from 31 x 17"]
        got = list(frames)
    assert times(got) == [Fraction(tick, 10) for tick in range(10)]
    first = Image.fromarray(colors(50)[12]).resize((62, 34), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(got[0].pixels, np.asarray(first))


def test_nothing_is_scaled_unless_asked(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mkv", colors(1))
    with open_frames(path, width=31) as frames:
        assert frames.notes == []
        np.testing.assert_array_equal(next(iter(frames)).pixels, colors(1)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0}, r"--fps 0 is outside 0.000277778..1000"),
        ({"fps": float("nan")}, r"--fps nan is outside"),
        ({"start": 1e18}, r"--start 1e\+18 is outside 0..10000000"),
        ({"duration": float("inf")}, r"--duration inf is outside 1e-06..10000000"),
        ({"start": -1}, r"--start -1 is below 0"),
        ({"duration": 0}, r"--duration 0 is below 1e-06"),
        ({"width": 0}, r"--width 0 is outside 1..65535"),
        ({"conversion": "best"}, r"conversion 'best': use one of exact, fast"),
    ],
)
def test_what_is_out_of_range_is_said_with_the_range(
    tmp_path: Path, options: Any, message: str
) -> None:
    path = video(tmp_path / "a.mkv", colors(1))
    with pytest.raises(UsageError, match=message):
        open_frames(path, **options)


def test_a_start_behind_the_end_is_an_error(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mkv", colors(3))
    with pytest.raises(InputError, match="no frames in the time that was asked for"):
        frames_of(path, start=100)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.mp4: no such file"):
        open_frames(tmp_path / "none.mp4")


def test_an_empty_file_has_no_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.touch()
    with pytest.raises(InputError, match=r"a\.mp4: no frames \(it is empty\)"):
        open_frames(path)


def test_nothing_heavy_is_imported_before_a_video_is_opened() -> None:
    modules = "sys, quantgpu.video.frames.open, quantgpu.video.sinks.open"
    code = f"import {modules}; sys.exit('av' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (29.97002997002997, Fraction(30000, 1001)),
        (29.97, Fraction(2997, 100)),
        (12.3456789012345, Fraction("12.3456789012345").limit_denominator(1_000_000)),
        (Fraction(1, 3), Fraction(1, 3)),
        (1 / 3600, Fraction(1, 3600)),
    ],
)
def test_numbers_are_fractions_that_files_hold(given: Any, expected: Fraction) -> None:
    assert parse_seconds(given, "--fps", Fraction(1, 3600), 1000) == expected
    assert expected.denominator <= 1_000_000
