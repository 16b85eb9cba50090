"""The script makes the matrix that is shipped, by the method it names."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import blue_noise as script

from quantgpu.dithering.threshold_matrices import BLUE_NOISE, BLUE_NOISE_SIZE, blue_noise


def test_the_script_makes_what_is_shipped() -> None:
    assert np.array_equal(script.void_and_cluster(BLUE_NOISE_SIZE), blue_noise())


def test_the_script_writes_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "made.npy"
    monkeypatch.setattr(script, "BLUE_NOISE", made)
    script.main()
    assert made.read_bytes() == BLUE_NOISE.read_bytes()
    assert "8,320 bytes" in capsys.readouterr().out


@pytest.mark.parametrize("size", [4, 5, 8, 11])
def test_every_rank_once_at_any_size(size: int) -> None:
    assert sorted(script.void_and_cluster(size).ravel()) == list(range(size * size))


def naive_energy(lit: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What lit pixels add to each, by the definition."""
    size = len(lit)
    energy = np.zeros((size, size))
    for y, x in np.ndindex(size, size):
        for lit_y, lit_x in np.argwhere(lit).tolist():
            down, across = abs(y - lit_y), abs(x - lit_x)
            squared = min(down, size - down) ** 2 + min(across, size - across) ** 2
            energy[y, x] += math.exp(-squared / (2 * 1.5**2))
    return energy


SIZE = 9


@pytest.fixture(scope="module")
def ranks() -> NDArray[np.int64]:
    return script.void_and_cluster(SIZE)


@pytest.mark.parametrize("rank", [8, 9, 20, 40, 41, 60, 79])
def test_the_next_pixel_lies_in_the_largest_void(ranks: NDArray[np.int64], rank: int) -> None:
    lit = ranks < rank
    energy = naive_energy(lit)
    assert energy[ranks == rank] == pytest.approx(energy[~lit].min(), abs=1e-9)


@pytest.mark.parametrize("rank", [41, 50, 65, 79])
def test_that_is_the_tightest_cluster_of_dark_pixels(ranks: NDArray[np.int64], rank: int) -> None:
    dark = ranks >= rank
    energy = naive_energy(dark)
    assert energy[ranks == rank] == pytest.approx(energy[dark].max(), abs=1e-9)


@pytest.mark.parametrize("rank", range(1, 8))
def test_the_first_pattern_is_taken_away_from_its_tightest_cluster(
    ranks: NDArray[np.int64], rank: int
) -> None:
    lit = ranks <= rank
    energy = naive_energy(lit)
    assert energy[ranks == rank] == pytest.approx(energy[lit].max(), abs=1e-9)


def test_the_first_pattern_ends_with_its_tightest_cluster_being_its_largest_void() -> None:
    table = script.gaussian(SIZE)
    lit, energy = script.spread(script.first_pattern(SIZE), table)
    assert lit.sum() == SIZE * SIZE // script.FIRST
    assert energy / script.SCALE == pytest.approx(naive_energy(lit), abs=1e-12)
    cluster = script.tightest_cluster(lit, energy)
    script.switch(lit, energy, cluster, table)
    assert script.largest_void(lit, energy) == cluster
