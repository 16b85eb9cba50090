"""Palettes over time: cuts, places of entries, colors that come up late."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import photo

from quantgpu.palette import distinct
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.pixels import Pixels
from quantgpu.video.palettes import cells_of, is_cut, match_order, missing_colors


@given(st.integers(0, 999), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_colors_take_the_places_of_near_ones(seed: int, before: int, after: int) -> None:
    rng = np.random.default_rng(seed)
    old = distinct(rng.integers(0, 256, (before, 3), dtype=np.uint8))
    new = distinct(rng.integers(0, 256, (after, 3), dtype=np.uint8))
    colors, rows = match_order(old, new)
    assert len(colors) == max(len(old), len(new))
    assert len(set(rows.tolist())) == len(new)
    np.testing.assert_array_equal(colors[rows], new)
    left = np.setdiff1d(np.arange(len(old)), rows)
    np.testing.assert_array_equal(colors[left], old[left])


def test_colors_that_move_a_little_keep_their_places() -> None:
    old = np.array([[0, 0, 0], [100, 0, 0], [0, 200, 0], [250, 250, 250]], np.uint8)
    moved = old[[2, 0, 3, 1]] + np.array([3, 1, 5], np.uint8)
    colors, rows = match_order(old, moved)
    assert rows.tolist() == [2, 0, 3, 1]
    np.testing.assert_array_equal(colors, old + np.array([3, 1, 5], np.uint8))


def test_opaque_and_transparent_palettes_are_matched() -> None:
    old = np.array([[0, 0, 0, 0], [9, 9, 9, 255]], np.uint8)
    colors, rows = match_order(old, np.array([[10, 9, 9, 255]], np.uint8))
    assert rows.tolist() == [1]
    assert colors.tolist() == [[0, 0, 0, 0], [10, 9, 9, 255]]


def test_another_scene_is_a_cut_and_motion_is_not() -> None:
    scene = np.asarray(photo(120, 160))
    other = 255 - np.asarray(photo(120, 160, seed=1))
    assert not is_cut(cells_of(scene), cells_of(scene))
    assert not is_cut(cells_of(scene), cells_of(np.roll(scene, 9, axis=1)))
    assert is_cut(cells_of(scene), cells_of(other))


def test_lacking_are_the_colors_that_are_new() -> None:
    first = count_colors(Pixels(np.array([[1, 2, 3], [4, 5, 6]], np.uint8)))
    second = count_colors(Pixels(np.array([[9, 0, 0], [4, 5, 6], [0, 0, 9]], np.uint8)))
    assert missing_colors(first, first) is None
    new = missing_colors(first, second)
    assert new is not None
    assert new.colors.tolist() == [[9, 0, 0], [0, 0, 9]]
    assert new.counts.tolist() == [1, 1]
