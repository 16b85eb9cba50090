"""Colors are chosen from a fixed set so that they serve an image best."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pictures import photo, soft_photo

from quantgpu import apply_palette, quantize
from quantgpu.clustering.k_medoids import (
    grow,
    k_medoids,
    losses_of_swaps,
    squared_distances,
    swap,
    whole_masses,
)
from quantgpu.clustering.points import weighted_points
from quantgpu.errors import UsageError

PHOTO = photo()
LEVELS = (0, 36, 73, 109, 146, 182, 219, 255)
MACHINE = np.array([[r, g, b] for r in LEVELS for g in LEVELS for b in LEVELS], np.uint8)
"""512 colors, as of machines with three bits for each channel."""

PLAIN: dict[str, Any] = {
    "color_space": "srgb", "perceptual": False, "dither": "none", "device": "cpu",
}  # fmt: skip


def error_of(distances: NDArray[np.float64], masses: NDArray[np.float64], chosen: Any) -> float:
    return float(masses @ distances[:, list(chosen)].min(axis=1))


def small_problem(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    points = weighted_points(rng.integers(-1000, 1000, (3, 25)), rng.integers(1, 50, 25))
    candidates = rng.integers(-1000, 1000, (9, 3)).astype(np.float32)
    return squared_distances(points, candidates), whole_masses(points.weights)


@given(st.integers(0, 10_000), st.integers(1, 4))
@settings(max_examples=60)
def test_no_single_exchange_makes_the_choice_better_and_it_is_near_the_best(
    seed: int, k: int
) -> None:
    distances, masses = small_problem(seed)
    found = swap(distances, masses, grow(distances, masses, [], k), 0)
    error = error_of(distances, masses, found)
    for place in range(k):
        for other in range(9):
            swapped = [*found[:place], other, *found[place + 1 :]]
            assert error_of(distances, masses, swapped) >= error
    best = min(error_of(distances, masses, some) for some in combinations(range(9), k))
    assert error <= 1.25 * best


@given(st.integers(0, 10_000), st.integers(1, 5))
@settings(max_examples=30)
def test_losses_of_exchanges_are_the_differences_of_errors(seed: int, k: int) -> None:
    distances, masses = small_problem(seed)
    chosen = np.random.default_rng(seed).permutation(9)[:k].tolist()
    before = error_of(distances, masses, chosen)
    loss = losses_of_swaps(distances, masses, chosen)
    for place, other in np.ndindex(k, 9):
        swapped = [*chosen[:place], other, *chosen[place + 1 :]]
        assert loss[place, other] == error_of(distances, masses, swapped) - before


def test_weights_are_scaled_so_that_sums_are_exact() -> None:
    assert whole_masses(np.array([1, 2**31 - 9])).tolist() == [1, 2**27 - 1]
    assert whole_masses(np.array([3, 4])).tolist() == [3, 4]


def test_of_many_candidates_those_near_the_points_and_the_kept_ones_are_looked_at() -> None:
    rng = np.random.default_rng(0)
    points = weighted_points(rng.integers(-50, 50, (3, 300)), rng.integers(1, 9, 300))
    candidates = rng.integers(-1000, 1000, (5000, 3)).astype(np.float32)
    free = points.columns[:-1, :6].T.copy()
    found = k_medoids(points, candidates, free, 8, 2)
    assert found[:2] == [0, 1]
    assert len(set(found)) == 8


@pytest.mark.parametrize("k", [1, 2, 16, 64, 300])
@pytest.mark.parametrize("color_space", ["srgb", "oklab"])
def test_only_colors_of_the_set_are_used_and_every_pixel_has_its_nearest(
    k: int, color_space: str
) -> None:
    options: dict[str, Any] = {"color_space": color_space, "dither": "none", "device": "cpu"}
    found = quantize(PHOTO, k, from_palette=MACHINE, **options)
    allowed = set(map(tuple, MACHINE.tolist()))
    assert set(map(tuple, found.palette.colors.tolist())) <= allowed
    assert 1 <= len(found.palette) <= k
    assert found.counts.min() > 0
    again = apply_palette(PHOTO, found.palette, **options)
    np.testing.assert_array_equal(found.index, again.index)


def test_the_choice_is_better_than_the_most_used_colors_and_than_a_free_palette_snapped() -> None:
    found = quantize(PHOTO, 8, from_palette=MACHINE, **PLAIN)
    counts = apply_palette(PHOTO, MACHINE, color_space="srgb", device="cpu").counts
    used = MACHINE[np.argsort(-counts, kind="stable")[:8]]
    free = apply_palette(quantize(PHOTO, 8, **PLAIN).palette.colors, MACHINE, device="cpu")
    snapped = MACHINE[np.unique(free.index)]
    for naive in (used, snapped):
        assert found.mse <= apply_palette(PHOTO, naive, color_space="srgb", device="cpu").mse


def test_a_picture_of_few_colors_takes_no_colors_outside_the_set() -> None:
    picture = [(1, 1, 1), (250, 2, 3)]
    found = quantize(picture, 2, from_palette=[(0, 0, 0), (255, 0, 0), (9, 99, 9)], **PLAIN)
    assert found.palette.hex() == ["#000000", "#ff0000"]
    assert found.squared_error == 3 + 25 + 4 + 9


def test_kept_colors_come_first_and_need_not_be_in_the_set() -> None:
    found = quantize(PHOTO, 3, from_palette=MACHINE, keep=[(1, 2, 254)], device="cpu")
    assert "#0102fe" in found.palette.hex()
    assert len(found.palette) <= 3


def test_clear_pixels_stay_clear_and_opaque_ones_opaque() -> None:
    picture = soft_photo()
    found = quantize(picture, 9, from_palette=MACHINE, device="cpu").to_array()
    assert (found[picture[..., 3] == 0][:, 3] == 0).all()
    assert (found[picture[..., 3] == 255][:, 3] == 255).all()


def test_flat_colors_of_the_image_cannot_be_had_from_a_fixed_set() -> None:
    with pytest.raises(UsageError, match="snap takes colors of the image"):
        quantize(PHOTO, 3, from_palette=MACHINE, snap=0.1)


@pytest.mark.parametrize("colors", [[], np.zeros((70_000, 3), np.uint8), [(1, 2)]])
def test_a_set_without_colors_or_with_too_many_is_refused(colors: Any) -> None:
    with pytest.raises(UsageError, match=r"a palette is \(K, 3\)"):
        quantize(PHOTO, 3, from_palette=colors)
