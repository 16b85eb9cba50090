"""Threshold matrices hold every rank once, and have the spectra they are made for."""

import numpy as np
import pytest
from numpy.typing import NDArray

from quantgpu.dithering.threshold_matrices import BAYER_SIZES, bayer, blue_noise
from quantgpu.errors import UsageError

PUBLISHED = {
    2: ["0 2", "3 1"],
    4: ["0 8 2 10", "12 4 14 6", "3 11 1 9", "15 7 13 5"],
    8: [
        "0 32 8 40 2 34 10 42",
        "48 16 56 24 50 18 58 26",
        "12 44 4 36 14 46 6 38",
        "60 28 52 20 62 30 54 22",
        "3 35 11 43 1 33 9 41",
        "51 19 59 27 49 17 57 25",
        "15 47 7 39 13 45 5 37",
        "63 31 55 23 61 29 53 21",
    ],
}
"""Bayer's matrices, row by row."""


@pytest.mark.parametrize("size", PUBLISHED)
def test_bayer_matrices_are_the_published_ones(size: int) -> None:
    expected = [[int(rank) for rank in row.split()] for row in PUBLISHED[size]]
    assert bayer(size).tolist() == expected


@pytest.mark.parametrize("size", BAYER_SIZES)
def test_ranks_of_a_bayer_matrix_are_the_interleaved_bits_of_the_place(size: int) -> None:
    """The closed form: bits of x ^ y and of y in turns, the lowest first in the result."""
    for y, x in np.ndindex(size, size):
        rank, weight = 0, size * size
        for bit in range(size.bit_length() - 1):
            across, down = x >> bit & 1, y >> bit & 1
            weight //= 4
            rank += weight * (2 * (across ^ down) + down)
        assert bayer(size)[y, x] == rank


MATRICES = [*map(bayer, BAYER_SIZES), blue_noise()]


@pytest.mark.parametrize("ranks", MATRICES, ids=lambda ranks: str(len(ranks)))
def test_every_rank_once(ranks: NDArray[np.uint16]) -> None:
    assert ranks.dtype == np.uint16
    assert ranks.shape == (len(ranks), len(ranks))
    assert sorted(ranks.ravel()) == list(range(ranks.size))


@pytest.mark.parametrize("ranks", MATRICES, ids=lambda ranks: str(len(ranks)))
def test_nobody_can_change_what_is_shared(ranks: NDArray[np.uint16]) -> None:
    with pytest.raises(ValueError, match="read-only"):
        ranks[0, 0] = 1


@pytest.mark.parametrize("size", [-2, 0, 1, 3, 6, 32])
def test_other_sizes_are_refused_with_the_list(size: int) -> None:
    with pytest.raises(UsageError, match=rf"{size} is no size .* one of \(2, 4, 8, 16\)"):
        bayer(size)


def spectrum(lit: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The power at each frequency; 1 on average, and white noise about 1 everywhere."""
    share = lit.mean()
    power = np.abs(np.fft.fft2(lit - share)) ** 2
    normalized: NDArray[np.float64] = power / (lit.size * share * (1 - share))
    return normalized


def low_power(ranks: NDArray[np.uint16] | NDArray[np.int64], rank: int) -> float:
    """The mean power at less than half the frequency of the dots, or of the gaps between them."""
    frequency = np.fft.fftfreq(len(ranks))
    radius = np.hypot(frequency[:, None], frequency)
    dots = min(np.sqrt(min(rank, ranks.size - rank) / ranks.size), 0.5)
    low = (radius > 0) & (radius < dots / 2)
    return float(spectrum(ranks < rank)[low].mean())


LEVELS = (64, 256, 410, 512, 1024, 2048, 3072, 3584, 4032)


@pytest.mark.parametrize("rank", LEVELS)
def test_blue_noise_lacks_the_low_frequencies_of_white_noise(rank: int) -> None:
    """Measured: 0.056 to 0.148; white noise: 0.98 to 1.06, mean of eight."""
    rng = np.random.default_rng(0)
    white = [low_power(rng.permutation(4096).reshape(64, 64), rank) for _ in range(8)]
    assert low_power(blue_noise(), rank) < 0.2 * np.mean(white)


@pytest.mark.parametrize("rank", LEVELS)
def test_blue_noise_has_no_pattern(rank: int) -> None:
    """Measured: peaks of at most 11.2; the Bayer matrix: 65 and more."""
    assert spectrum(blue_noise() < rank).max() < 15
    assert spectrum(np.tile(bayer(16), (4, 4)) < rank // 16).max() > 60
