"""What stays as it is from frame to frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quantgpu.metrics.palette_error import composited
from quantgpu.video.flicker import FlickerFilter, squared_error

SIZES = (1, 1), (1, 19), (23, 1), (17, 31)


def case(seed: int, size: tuple[int, int], channels: int = 3) -> tuple[Any, ...]:
    """Two frames that are alike, their entries, and a palette."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 256, (*size, channels), dtype=np.uint8)
    noise = rng.integers(-6, 7, first.shape)
    second = np.clip(first + noise * (rng.random((*size, 1)) < 0.5), 0, 255).astype(np.uint8)
    palette = rng.integers(0, 256, (40, channels), dtype=np.uint8)
    entries = rng.integers(0, 40, (2, *size), dtype=np.uint8)
    return first, second, entries, palette


def held_one_by_one(
    first: Any, second: Any, entries: Any, palette: Any, hold: float, still: bool
) -> NDArray[np.uint8]:
    """The rule, pixel by pixel."""
    found: NDArray[np.uint8] = entries[1].copy()
    for place in np.ndindex(found.shape):
        color = second[place].astype(int)
        costs = [int(((palette[e[place]].astype(int) - color) ** 2).sum()) for e in entries]
        cheap = costs[0] - costs[1] < 3 * hold**2 if hold else False
        if cheap or (still and (first[place] == second[place]).all()):
            found[place] = entries[0][place]
    return found


@given(
    st.integers(0, 999), st.sampled_from(SIZES), st.sampled_from([0.0, 2.5, 60.0]), st.booleans()
)
@settings(max_examples=25, deadline=None)
def test_pixels_are_held_by_the_stated_rule(
    seed: int, size: tuple[int, int], hold: float, still: bool
) -> None:
    first, second, entries, palette = case(seed, size)
    follower = FlickerFilter(hold, still, False)
    now = entries[0]
    assert follower.apply(first, now, palette) is now
    before = entries.copy()
    found = follower.apply(second, entries[1], palette)
    np.testing.assert_array_equal(
        found, held_one_by_one(first, second, entries, palette, hold, still)
    )
    np.testing.assert_array_equal(entries, before)


def test_threads_change_nothing() -> None:
    first, second, entries, palette = case(5, (700, 400))
    results = []
    for threads in (1, 3):
        follower = FlickerFilter(20, True, True, threads)
        follower.apply(first, entries[0], palette)
        results.append(
            (follower.apply(second, entries[1], palette), follower.still, follower.change)
        )
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1:] == results[1][1:]


def test_still_pixels_do_not_keep_the_entry_of_another_palette() -> None:
    first, _, entries, palette = case(3, (17, 31))
    follower = FlickerFilter(0, True, False)
    follower.apply(first, entries[0], palette)
    found = follower.apply(first, entries[1], palette[::-1].copy())
    np.testing.assert_array_equal(found, entries[1])


def test_flicker_is_the_mean_change_of_what_is_still() -> None:
    first, second, entries, palette = case(7, (17, 31))
    follower = FlickerFilter(0, False, True)
    assert follower.flicker == 0
    follower.apply(first, entries[0], palette)
    follower.apply(second, entries[1], palette)
    still = (first == second).all(axis=2)
    shown = palette[entries].astype(int)
    assert follower.flicker == pytest.approx(np.abs(shown[1] - shown[0])[still].mean())
    assert follower.flicker > 1


def test_nothing_is_done_where_nothing_can_be_held() -> None:
    first, second, entries, palette = case(9, (17, 31))
    follower = FlickerFilter(0, False, False)
    now = entries[1]
    follower.apply(first, entries[0], palette)
    assert follower.apply(second, now, palette) is now
    assert follower.flicker == 0


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", SIZES)
def test_the_squared_error_is_that_of_what_is_seen(channels: int, size: tuple[int, int]) -> None:
    first, _, entries, palette = case(11, size, channels)
    gaps = composited(first.reshape(-1, channels)) - composited(palette[entries[0].reshape(-1)])
    expected = int((gaps * gaps).sum()) // (channels - 2)
    assert squared_error(first, entries[0], palette, 2) == expected
