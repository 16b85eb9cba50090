"""Colors are mixed of the two palette entries that the definition says, everywhere the same."""

from typing import Any

import gpu_double
import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import naive_assignment, random_centers, random_points

from quantgpu.dithering import mixtures as module
from quantgpu.dithering.diffusion_matrices import FULL
from quantgpu.dithering.mixtures import (
    CANDIDATES,
    NOISE,
    SHARES,
    Mixtures,
    mixtures,
    nearest_others,
)

HALF = SHARES // 2


def problem(k: int, axes: int = 3, count: int = 300) -> tuple[Any, ...]:
    """Points, centers, labels and which are exact: none."""
    points, centers = random_points(count, axes=axes), random_centers(k, axes=axes)
    labels = naive_assignment(points, centers)
    return points.columns[:-1], centers, labels, np.zeros(count, bool)


def objective(away: Any, step: Any, share: Any) -> Any:
    """What is minimized, by the definition in float64."""
    gap = away - share[..., None] * step
    return (gap * gap).sum(axis=-1) + float(NOISE) * share * (1 - share) * (step * step).sum(-1)


def second_entries(mixed: Mixtures, labels: NDArray[np.intp]) -> tuple[Any, Any]:
    """The entry that is not the label, and its share, an integer."""
    low, high, share = (field.astype(np.int64) for field in mixed)
    return np.where(low == labels, high, low), np.where(high == labels, SHARES - share, share) * (
        low < high
    )


@pytest.mark.parametrize("axes", [3, 4])
@pytest.mark.parametrize("k", [1, 2, 3, 9, CANDIDATES + 1])
def test_no_entry_and_no_share_would_be_better(k: int, axes: int) -> None:
    points, centers, labels, exact = problem(k, axes)
    second, share = second_entries(mixtures(points, centers, labels, exact), labels)
    away = points.T.astype(float) - centers[labels]
    reached = objective(away, centers[second] - centers[labels].astype(float), share / SHARES)
    steps = centers[None].astype(float) - centers[labels][:, None]
    for tried in np.linspace(0, 0.5, 65):
        other = objective(away[:, None], steps, np.full(labels.shape, tried)[:, None])
        assert (reached[:, None] <= other + 1e-3 * (1 + other)).all()
    assert (share > 0).any() == (k > 1)


def test_most_is_mixed_of_few_of_many_entries_and_labels_weigh_most() -> None:
    points, centers, labels, exact = problem(200)
    mixed = mixtures(points, centers, labels, exact)
    assert all(field.dtype == np.uint16 for field in mixed)
    second, share = second_entries(mixed, labels)
    assert (mixed.low <= mixed.high).all()
    assert ((mixed.low == labels) | (mixed.high == labels)).all()
    np.testing.assert_array_equal(mixed.low == mixed.high, mixed.share == 0)
    assert 0 <= share.min() < share.max() <= HALF
    distances = ((centers[:, None] - centers[None]) ** 2).sum(axis=2)
    ranks = distances.argsort(axis=1, kind="stable").argsort(axis=1)
    assert ranks[labels, second].max() <= CANDIDATES


@pytest.mark.parametrize("k", [2, 50])
def test_what_is_in_the_palette_is_left_alone(k: int) -> None:
    centers = random_centers(k)
    labels = np.arange(k)
    mixed = mixtures(centers.T.copy(), centers, labels, np.zeros(k, bool))
    assert not mixed.share.any()
    np.testing.assert_array_equal(mixed.low, labels)


def test_what_is_exact_is_left_alone_wherever_it_lies() -> None:
    points, centers, labels, _ = problem(9)
    exact = np.arange(len(labels)) % 2 == 0
    mixed, free = (mixtures(points, centers, labels, given) for given in (exact, exact & False))
    np.testing.assert_array_equal(mixed.low[exact], labels[exact])
    assert not mixed.share[exact].any()
    assert free.share[exact].any()
    np.testing.assert_array_equal(mixed.share[~exact], free.share[~exact])


def test_repeated_entries_are_not_mixed_with_each_other() -> None:
    centers = np.repeat(np.array([[0, 0, 0], [80, 8, 0]], np.float32), 3, axis=0)
    points = np.array([[30], [3], [0]], np.float32)
    mixed = mixtures(points, centers, np.array([1]), np.zeros(1, bool))
    assert (mixed.low.tolist(), mixed.high.tolist()) == ([1], [3])
    assert mixed.share > 0


def test_the_strength_scales_shares() -> None:
    points, centers, labels, exact = problem(20)
    full = second_entries(mixtures(points, centers, labels, exact), labels)[1]
    for strength in (0, 1, 31, 32, 63):
        share = second_entries(mixtures(points, centers, labels, exact, strength), labels)[1]
        assert abs(share - full * strength / FULL).max() <= 1


def test_the_middle_of_two_entries_is_half_of_each() -> None:
    centers = np.array([[-9, 4, 0], [11, -4, 2]], np.float32)
    points = np.array([[1], [0], [1]], np.float32)
    mixed = mixtures(points, centers, np.array([0]), np.zeros(1, bool))
    assert [int(field[0]) for field in mixed] == [0, 1, HALF]


def test_groups_are_mixed_of_their_own_entries() -> None:
    points, centers, labels, exact = problem(30)
    allowed = np.arange(0, 30, 3)
    inside = np.flatnonzero(labels % 3 == 0)
    outside = np.flatnonzero(labels % 3)
    groups = [(outside, np.arange(30)), (inside, allowed)]
    mixed = mixtures(points, centers, labels, exact, groups=groups)
    alone = mixtures(points[:, inside], centers[allowed], labels[inside] // 3, exact[inside])
    for found, expected, step in zip(mixed, alone, (3, 3, 1), strict=True):
        np.testing.assert_array_equal(found[inside], expected * step)
    free = mixtures(points, centers, labels, exact)
    np.testing.assert_array_equal(mixed.share[outside], free.share[outside])
    assert (free.share[inside] != mixed.share[inside]).any()


def test_a_group_may_have_one_entry() -> None:
    points, centers, labels, exact = problem(5)
    groups = [(np.flatnonzero(labels == k), np.array([k])) for k in range(5)]
    assert not mixtures(points, centers, labels, exact, groups=groups).share.any()


@pytest.mark.parametrize("count", [1, 2, 24, 25, 26, 200, 300])
def test_others_are_the_nearest_in_order(count: int) -> None:
    centers = random_centers(count, axes=4) // 64  # with ties
    for among in (np.arange(count), np.arange(0, count, 3)):
        distances = ((centers[:, None] - centers[None, among]) ** 2).sum(axis=2)
        expected = among[distances.argsort(axis=1, kind="stable")[:, : CANDIDATES + 1]]
        np.testing.assert_array_equal(nearest_others(centers, among), expected)


def test_threads_and_parts_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    points, centers, labels, exact = problem(40)
    expected = mixtures(points, centers, labels, exact)
    for size, threads in ((1, 1), (7, 3), (1000, 2)):
        monkeypatch.setattr(module, "COLORS", (size, size))
        found = mixtures(points, centers, labels, exact, threads=threads)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("axes", [3, 4])
@pytest.mark.parametrize("k", [1, 2, 40])
def test_a_gpu_finds_the_same(k: int, axes: int) -> None:
    points, centers, labels, exact = problem(k, axes)
    groups = [(np.flatnonzero(labels % 2 == odd), np.arange(odd, k, 2)) for odd in range(min(k, 2))]
    with gpu_double.installed() as cupy:
        there = cupy.asarray(points), centers, cupy.asarray(labels), cupy.asarray(exact)
        for strength, given in ((FULL, None), (23, groups)):
            found = mixtures(
                *there, strength, 1, given and [(cupy.asarray(m), allowed) for m, allowed in given]
            )
            expected = mixtures(points, centers, labels, exact, strength, 1, given)
            for field, right in zip(found, expected, strict=True):
                np.testing.assert_array_equal(field.get(), right)
