"""Error diffusion: the wave must give what the definition gives, pixel after pixel."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quantgpu.dithering.diffusion import diffuse, no_errors
from quantgpu.dithering.diffusion_matrices import DIFFUSION_MATRICES, FULL, DiffusionMatrix
from quantgpu.dithering.nearest_grid import ColorGrid, cells_around

SIZES = [(1, 1), (1, 9), (9, 1), (2, 3), (17, 31), (31, 4), (5, 40)]

ERRORS_PASSED_ON = {"atkinson": 6}
"""Weights of kernels that drop some of the error."""


def scheme_of(
    seed: int, axes: int = 3, colors: int = 50, k: int = 9, reach: int = 400
) -> ColorGrid:
    rng = np.random.default_rng(seed)
    points = rng.integers(-1000, 1001, (axes, colors)).astype(np.int32)
    centers = rng.integers(-900, 901, (k, axes)).astype(np.int32)
    cells, _ = cells_around(points, centers, reach)
    return ColorGrid(points, np.ascontiguousarray(centers.T), cells, reach)


def picture_of(
    seed: int, size: tuple[int, int], colors: int = 50
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Colors and strengths of the pixels."""
    rng = np.random.default_rng(seed)
    strength = rng.integers(0, FULL + 1, size).astype(np.uint8)
    return rng.integers(0, colors, size).astype(np.int32), strength


def naive(
    colors: NDArray[np.int32],
    strength: NDArray[np.uint8],
    kernel: DiffusionMatrix,
    scheme: ColorGrid,
) -> NDArray[np.int64]:
    """Each pixel hands its error to its neighbors, in reading order, in Python's integers."""
    height, width = colors.shape
    points, centers = scheme.points.T.tolist(), scheme.centers.T.tolist()
    waiting: dict[tuple[int, int], list[int]] = {}
    index = np.empty((height, width), np.int64)
    for y in range(height):
        for x in range(width):
            got = waiting.pop((y, x), [0] * len(scheme.points))
            divisor = kernel.divisor * FULL
            share = [(2 * part * int(strength[y, x]) + divisor) // (2 * divisor) for part in got]
            share = [max(-scheme.reach, min(scheme.reach, part)) for part in share]
            place = [a + b for a, b in zip(points[colors[y, x]], share, strict=True)]
            gaps = [sum((a - b) ** 2 for a, b in zip(place, c, strict=True)) for c in centers]
            index[y, x] = found = gaps.index(min(gaps))
            error = [a - b for a, b in zip(place, centers[found], strict=True)]
            for row, weights in enumerate(kernel.shares):
                for column, weight in enumerate(weights):
                    there = y + row, x + column - len(weights) // 2
                    before = waiting.get(there, [0] * len(error))
                    after = [a + weight * b for a, b in zip(before, error, strict=True)]
                    if weight and there[0] < height and 0 <= there[1] < width:
                        waiting[there] = after
    return index


@pytest.mark.parametrize("name", DIFFUSION_MATRICES)
def test_weights_sum_to_the_divisor_and_come_after_the_pixel(name: str) -> None:
    kernel = DIFFUSION_MATRICES[name]
    total = sum(sum(row) for row in kernel.shares)
    assert total == ERRORS_PASSED_ON.get(name, kernel.divisor)
    assert len({len(row) for row in kernel.shares}) == 1
    assert len(kernel.shares[0]) % 2 == 1
    assert all(dy > 0 or dx > 0 for dx, dy, _ in kernel.taps)


@pytest.mark.parametrize("name", DIFFUSION_MATRICES)
def test_a_row_lags_as_little_as_its_errors_allow(name: str) -> None:
    kernel = DIFFUSION_MATRICES[name]
    below = [(dx, dy) for dx, dy, _ in kernel.taps if dy]
    assert all(dx + kernel.lag * dy >= 1 for dx, dy in below)
    assert not all(dx + (kernel.lag - 1) * dy >= 1 for dx, dy in below)


def test_floyd_and_steinberg_share_out_seven_three_five_one() -> None:
    assert DIFFUSION_MATRICES["floyd-steinberg"].taps == [
        (1, 0, 7),
        (-1, 1, 3),
        (0, 1, 5),
        (1, 1, 1),
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", DIFFUSION_MATRICES)
def test_the_wave_gives_what_the_definition_gives(name: str, size: tuple[int, int]) -> None:
    kernel, scheme = DIFFUSION_MATRICES[name], scheme_of(len(name))
    colors, strength = picture_of(sum(size), size)
    found, _ = diffuse(colors, strength, kernel, scheme, no_errors(kernel, 3, size[1]))
    np.testing.assert_array_equal(found, naive(colors, strength, kernel, scheme))


@settings(deadline=None, max_examples=25)
@given(
    name=st.sampled_from(list(DIFFUSION_MATRICES)),
    seed=st.integers(0, 2**32),
    axes=st.sampled_from([3, 4]),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    k=st.integers(1, 20),
    reach=st.sampled_from([0, 3, 90, 2000]),
)
def test_any_picture_is_diffused_as_the_definition_has_it(
    name: str, seed: int, axes: int, height: int, width: int, k: int, reach: int
) -> None:
    kernel, scheme = DIFFUSION_MATRICES[name], scheme_of(seed, axes, 50, k, reach)
    colors, strength = picture_of(seed, (height, width))
    found, _ = diffuse(colors, strength, kernel, scheme, no_errors(kernel, axes, width))
    np.testing.assert_array_equal(found, naive(colors, strength, kernel, scheme))


@pytest.mark.parametrize("cuts", [[1], [2], [3], [1, 2, 3, 4], [16]])
@pytest.mark.parametrize("name", DIFFUSION_MATRICES)
def test_bands_go_on_with_the_errors_of_the_last(name: str, cuts: list[int]) -> None:
    kernel, scheme = DIFFUSION_MATRICES[name], scheme_of(1)
    colors, strength = picture_of(2, (17, 13))
    whole, below = diffuse(colors, strength, kernel, scheme, no_errors(kernel, 3, 13))
    errors: Any = no_errors(kernel, 3, 13)
    parts = []
    for band, strengths in zip(np.split(colors, cuts), np.split(strength, cuts), strict=True):
        part, errors = diffuse(band, strengths, kernel, scheme, errors)
        parts.append(part)
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(errors, below)


def test_indices_have_the_type_that_was_asked_for() -> None:
    kernel, scheme = DIFFUSION_MATRICES["burkes"], scheme_of(3)
    colors, strength = picture_of(4, (6, 7))
    wide, _ = diffuse(colors, strength, kernel, scheme, no_errors(kernel, 3, 7))
    narrow, _ = diffuse(colors, strength, kernel, scheme, no_errors(kernel, 3, 7), np.uint8)
    assert narrow.dtype == np.uint8
    np.testing.assert_array_equal(narrow, wide)


def test_progress_rises_from_0_towards_1() -> None:
    kernel, scheme = DIFFUSION_MATRICES["floyd-steinberg"], scheme_of(3)
    colors, strength = picture_of(4, (200, 300))
    told: list[float] = []
    diffuse(
        *(colors, strength, kernel, scheme, no_errors(kernel, 3, 300), np.uint8),
        progress=lambda stage, share: told.append(share),
    )
    assert len(told) > 3
    assert told == sorted(told)
    assert told[0] == 0
    assert 0.7 < told[-1] <= 1


def test_no_pixel_is_moved_farther_than_errors_reach() -> None:
    kernel = DIFFUSION_MATRICES["floyd-steinberg"]
    points = np.array([[0], [0], [0]], np.int32)
    centers = np.array([[-900, 0, 0], [901, 0, 0]], np.int32)
    cells, _ = cells_around(points, centers, 100)
    scheme = ColorGrid(points, np.ascontiguousarray(centers.T), cells, 100)
    colors = np.zeros((8, 8), np.int32)
    _, below = diffuse(
        colors, np.full((8, 8), FULL, np.uint8), kernel, scheme, no_errors(kernel, 3, 8)
    )
    assert np.abs(below).max() <= 901 + 100
