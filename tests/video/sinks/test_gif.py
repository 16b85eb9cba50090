"""GIF files draw no more than what changed, and keep time."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from videos import frames_of

from quantgpu.video.sinks.base import ClipInfo, bounds
from quantgpu.video.sinks.gif import LONG_FRAMES, gif
from quantgpu.video.sinks.open import open_sink

COLORS = np.array([[250, 0, 0], [0, 240, 0], [0, 0, 230]], np.uint8)
OTHERS = np.array([[0, 240, 0], [250, 0, 0], [9, 9, 9]], np.uint8)
FRAME = Fraction(1, 25)


def encoded(frames: list[tuple[Any, Any, Fraction]], **options: Any) -> tuple[bytes, ClipInfo]:
    """A GIF file."""
    height, width = frames[0][0].shape
    stream, clip = io.BytesIO(), ClipInfo(width, height, **options)
    with gif(stream, clip) as write:
        for frame in frames:
            write(*frame)
    return stream.getvalue(), clip


def drawn(file: bytes) -> list[tuple[Any, int]]:
    """Of each frame: its rectangle and its hundredths, as Pillow reads them."""
    found = []
    with Image.open(io.BytesIO(file)) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            tile: Any = image.tile[0]
            found.append((tile[1], round(image.info["duration"] / 10)))
    return found


def naive_bounds(chosen: Any) -> tuple[int, int, int, int]:
    """The rectangle by the definition."""
    places = [(x, y) for y, row in enumerate(chosen) for x, value in enumerate(row) if value]
    if not places:
        return 0, 0, 1, 1
    columns, rows = zip(*places, strict=True)
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=4))
def test_bounds_are_the_smallest_rectangle(places: list[tuple[int, int]]) -> None:
    chosen = np.zeros((5, 7), bool)
    for place in places:
        chosen[place] = True
    assert bounds(chosen) == naive_bounds(chosen)


def test_only_the_rectangle_that_changed_is_drawn() -> None:
    first = np.zeros((20, 30), np.uint8)
    second = first.copy()
    second[5, 7] = second[9, 12] = 1
    file, _ = encoded([(first, COLORS, FRAME), (second, COLORS, FRAME), (second, COLORS, FRAME)])
    assert [box for box, _ in drawn(file)] == [(0, 0, 30, 20), (7, 5, 13, 10), (0, 0, 1, 1)]


def test_a_palette_in_another_order_changes_no_pixel_of_the_same_color() -> None:
    first = np.zeros((20, 30), np.uint8)
    first[3, 4] = 2
    second = np.ones((20, 30), np.uint8)
    second[3, 4] = 2
    file, _ = encoded([(first, COLORS, FRAME), (second, OTHERS, FRAME)])
    assert [box for box, _ in drawn(file)] == [(0, 0, 30, 20), (4, 3, 5, 4)]
    with Image.open(io.BytesIO(file)) as image:
        image.seek(1)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), OTHERS[second])


def test_there_is_one_color_table_while_the_palette_stays() -> None:
    index = np.arange(600, dtype=np.uint8).reshape(20, 30) % 3
    table = COLORS.tobytes()
    frames = [(np.roll(index, number), COLORS, FRAME) for number in range(3)]
    assert encoded(frames)[0].count(table) == 1
    changed = [*frames, (index, OTHERS, FRAME), (index, COLORS, FRAME)]
    file, _ = encoded(changed)
    assert file.count(table) == 1
    assert file.count(OTHERS.tobytes()) == 1


@given(st.lists(st.fractions(Fraction(1, 50), 3), min_size=1, max_size=40))
def test_rounding_errors_of_times_do_not_add_up(durations: list[Fraction]) -> None:
    index = np.zeros((1, 1), np.uint8)
    file, clip = encoded([(index, COLORS, duration) for duration in durations])
    total = Fraction(0)
    shown = 0
    for duration, (_, hundredths) in zip(durations, drawn(file), strict=True):
        total, shown = total + duration, shown + hundredths
        assert abs(Fraction(shown, 100) - total) <= Fraction(1, 200)
    assert all("0.02" in note for note in clip.notes)


def test_frames_too_short_for_most_programs_are_noted_once() -> None:
    index = np.zeros((1, 1), np.uint8)
    _, clip = encoded([(index, COLORS, Fraction(1, 100))] * 5)
    assert clip.notes == [
        "frames of less than 0.02 s, which most programs show for 0.1 s; use --fps 50"
    ]
    _, clip = encoded([(index, COLORS, Fraction(1, 50))] * 5)
    assert clip.notes == []


@pytest.mark.parametrize("k", [255, 256])
def test_pixels_that_stay_take_one_entry_if_there_is_room(k: int) -> None:
    rng = np.random.default_rng(0)
    colors = rng.permutation(256)[:k, None].repeat(3, 1).astype(np.uint8)
    first = rng.integers(0, k, (64, 64), dtype=np.uint8)
    second = first.copy()
    second[::8, ::8] = second[::8, ::8] == 0
    one, _ = encoded([(first, colors, FRAME)])
    both, _ = encoded([(first, colors, FRAME), (second, colors, FRAME)])
    grown = len(both) - len(one)
    assert grown < 600 if k == 255 else grown > 4000


def test_a_frame_longer_than_gif_holds_is_shown_as_long_as_it_can_be(tmp_path: Path) -> None:
    path = tmp_path / "long.gif"
    palette = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    with open_sink(path, width=3, height=2) as sink:
        sink.write(np.zeros((2, 3), np.uint8), palette, Fraction(1000))
        sink.write(np.ones((2, 3), np.uint8), palette, Fraction(1, 2))
        assert sink.notes == [LONG_FRAMES]
    assert [frame.duration for frame in frames_of(path)] == [Fraction(13107, 20), Fraction(1, 2)]
