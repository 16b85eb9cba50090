"""Counting, packing and adding."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pictures import photo

from quantgpu.color.packing import pack, unpack
from quantgpu.histogram import Histogram
from quantgpu.pixels import counting
from quantgpu.pixels.counting import count_colors, occurring
from quantgpu.pixels.pixels import Pixels

pictures = arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)),
    elements=st.integers(0, 255),
)


def assert_same(one: Histogram, other: Histogram) -> None:
    np.testing.assert_array_equal(one.keys, other.keys)
    np.testing.assert_array_equal(one.counts, other.counts)


def naive_count(picture: NDArray[np.uint8]) -> dict[tuple[int, ...], int]:
    counts: dict[tuple[int, ...], int] = {}
    for color in map(tuple, picture.reshape(-1, 3).tolist()):
        counts[color] = counts.get(color, 0) + 1
    return counts


@given(pictures)
def test_counts_are_those_of_a_dictionary(picture: NDArray[np.uint8]) -> None:
    found = count_colors(Pixels(picture))
    colors = map(tuple, found.colors.tolist())
    assert dict(zip(colors, found.counts.tolist(), strict=True)) == naive_count(picture)
    assert (np.diff(found.keys) > 0).all()
    assert found.pixels == picture.shape[0] * picture.shape[1]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 1001])
def test_unpacking_undoes_packing(count: int) -> None:
    colors = np.random.default_rng(count).integers(0, 256, (count, 3)).astype(np.uint8)
    keys = pack(colors)
    expected = [red + 256 * green + 65536 * blue for red, green, blue in colors.tolist()]
    assert keys.tolist() == expected
    np.testing.assert_array_equal(unpack(keys), colors)


@pytest.mark.parametrize("cut", [0, 1, 7, 60, 61])
def test_counting_the_parts_and_adding_equals_counting_the_whole(cut: int) -> None:
    picture = photo()
    parts = [part for part in (picture[:cut], picture[cut:]) if len(part)]
    total = sum((count_colors(Pixels(part)) for part in parts[1:]), count_colors(Pixels(parts[0])))
    assert_same(total, count_colors(Pixels(picture)))


@pytest.mark.parametrize("batch", [1, 83, 84, 1 << 17])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_slabs_and_threads_change_nothing(
    batch: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = count_colors(Pixels(photo()))
    monkeypatch.setattr(counting, "BATCH", batch)
    assert_same(count_colors(Pixels(photo()), threads), expected)


def test_counts_carry_on_when_the_bins_could_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = count_colors(Pixels(photo()))
    emptied = 0

    def count_and_find(*arguments: Any) -> Histogram:
        nonlocal emptied
        emptied += 1
        return occurring(*arguments)

    monkeypatch.setattr(counting, "BATCH", 83)
    monkeypatch.setattr(counting, "FLUSH", 200)
    monkeypatch.setattr(counting, "occurring", count_and_find)
    assert_same(count_colors(Pixels(photo())), expected)
    slabs = -(-photo().shape[0] // (200 // photo().shape[1]))
    assert 1 < emptied < slabs  # only where one color is so frequent that its bin could overflow


def test_counts_beyond_32_bits_add_exactly() -> None:
    keys = np.array([5, 9])
    large = Histogram(keys, np.array([2**33 + 1, 2**40]))
    total = large + Histogram(np.array([9, 11]), np.array([2**33, 1]))
    assert total.keys.tolist() == [5, 9, 11]
    assert total.counts.tolist() == [2**33 + 1, 2**40 + 2**33, 1]
