"""Working spaces: exact there and back, and small enough for exact float32."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from quantgpu.color.spaces import (
    CIELAB_SCALE,
    COLOR_SPACES,
    LINEAR_SCALE,
    OKLAB_CHROMA,
    OKLAB_SCALE,
    WHITE_SHARE,
    ColorSpace,
)

ALL_GRAYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
CORNERS = np.array(np.meshgrid(*[[0, 255]] * 3)).reshape(3, -1).T.astype(np.uint8)

spaces = pytest.mark.parametrize("space", COLOR_SPACES.values(), ids=COLOR_SPACES)


LATTICE = np.stack(
    np.meshgrid(*[np.rint(np.linspace(0, 255, 12))] * 3, indexing="ij"), axis=-1
).reshape(-1, 3).astype(np.uint8)  # fmt: skip


def all_colors() -> Iterator[NDArray[np.uint8]]:
    """All 2^24 colors, a sixteenth at a time."""
    keys = np.arange(1 << 20)
    for first in range(0, 1 << 24, len(keys)):
        channels = [(first + keys) >> shift & 255 for shift in (0, 8, 16)]
        yield np.stack(channels, axis=1).astype(np.uint8)


@spaces
def test_every_color_leads_back_to_its_own_grid_point(space: ColorSpace) -> None:
    rng = np.random.default_rng(0)
    for colors in (ALL_GRAYS, CORNERS, LATTICE, rng.integers(0, 256, (999, 3)).astype(np.uint8)):
        grid = space.to_grid(colors)
        np.testing.assert_array_equal(space.to_grid(space.from_grid(grid.T)), grid)


@spaces
def test_no_other_color_lies_nearer_to_a_mean_of_colors(space: ColorSpace) -> None:
    rng = np.random.default_rng(1)
    pairs = space.to_grid(rng.integers(0, 256, (120, 3)).astype(np.uint8)).T.reshape(60, 2, 3)
    points = np.rint(pairs.mean(axis=1)).astype(np.float32)
    found = space.from_grid(points)
    nearest = ((space.to_grid(found).T - points) ** 2).sum(axis=1)
    offsets = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for point, color, least in zip(points, found.astype(int), nearest, strict=True):
        around = np.clip(color + offsets, 0, 255).astype(np.uint8)
        for colors in (LATTICE, around):
            distances = ((space.to_grid(colors).T - point) ** 2).sum(axis=1)
            assert distances.min() >= least


@spaces
def test_coordinates_are_integers_and_products_stay_below_24_bits(space: ColorSpace) -> None:
    grid = space.to_grid(LATTICE).astype(np.float64)
    np.testing.assert_array_equal(grid, np.rint(grid))
    assert abs(grid).max() < 2**11
    surface = grid[:, ((LATTICE == 0) | (LATTICE == 255)).any(axis=1)]
    distances = ((surface[:, :, None] - surface[:, None]) ** 2).sum(axis=0)
    size = (surface**2).sum(axis=0)
    partial = size[None] + 2 * np.tensordot(abs(surface), abs(surface), (0, 0))
    assert distances.max() < 2**24
    assert partial.max() < 2**24


@pytest.mark.parametrize("name", COLOR_SPACES)
def test_no_color_lies_near_a_rounding_boundary(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """All 2^24 colors: float64 errors of any library are far smaller than the margin."""
    space, nearest = COLOR_SPACES[name], 0.5
    for colors in all_colors():
        exact = space.unrounded(colors).astype(np.float64)
        grid = space.to_grid(colors)
        nearest = min(nearest, 0.5 - np.abs(grid - exact).max())
    with capsys.disabled():
        print(f" {name}: {nearest:.2g} of a grid step from a rounding boundary ", end="")
    assert nearest > 1e-10


def test_srgb_reaches_the_grid_without_rounding() -> None:
    """All 2^24 colors, against integer arithmetic."""
    space = COLOR_SPACES["srgb"]
    for colors in all_colors():
        np.testing.assert_array_equal(space.to_grid(colors).T, (colors.astype(int) - 128) * 8)


@pytest.mark.parametrize(
    ("name", "color", "expected"),
    [
        ("oklab", (255, 255, 255), (1, 0, 0)),
        ("oklab", (255, 0, 0), (0.627955, 0.224863, 0.125846)),
        ("oklab", (0, 0, 255), (0.452014, -0.032457, -0.311528)),
        ("cielab", (255, 255, 255), (100, 0, 0)),
        ("cielab", (255, 0, 0), (53.2408, 80.0925, 67.2032)),
        ("cielab", (0, 0, 255), (32.2970, 79.1875, -107.8602)),
        ("linear", (188, 0, 255), (0.502886, 0, 1)),
    ],
)
def test_known_colors_have_their_published_coordinates(
    name: str, color: tuple[int, ...], expected: tuple[float, ...]
) -> None:
    """Oklab: Ottosson's reference; CIELAB: Lindbloom's calculator, both D65."""
    scale = {"oklab": OKLAB_SCALE, "cielab": CIELAB_SCALE, "linear": LINEAR_SCALE}[name]
    zero = {"oklab": (0.5, 0, 0), "cielab": (50, 0, 0), "linear": (0.5, 0.5, 0.5)}[name]
    factors = (1, *OKLAB_CHROMA) if name == "oklab" else (1, 1, 1)
    grid = COLOR_SPACES[name].unrounded(np.array([color], np.uint8))[:, 0]
    found = grid / scale / factors + zero
    np.testing.assert_allclose(found, expected, atol=2e-3 if name == "cielab" else 2e-6)


def test_srgb_rounds_halves_up_and_clips() -> None:
    grid = np.array([[-1024, -1021, -1020], [3, 4, 1020], [-1100, 1016, 1100]], np.float32)
    found = COLOR_SPACES["srgb"].from_grid(grid)
    assert found.tolist() == [[0, 0, 1], [128, 129, 255], [0, 255, 255]]


SOFT_CORNERS = np.array(
    list(product((0, 255), (0, 255), (0, 255), (0, 1, 128, 254, 255))), np.uint8
)


@spaces
def test_distances_of_transparent_colors_are_exact_in_float32(space: ColorSpace) -> None:
    """Whatever the order of summation: no sum of some of the terms reaches 2^24."""
    rng = np.random.default_rng(0)
    colors = np.concatenate([SOFT_CORNERS, rng.integers(0, 256, (400, 4)).astype(np.uint8)])
    points = space.points(colors).astype(np.int64)
    assert abs(points).max() < 2048
    terms = -2 * points[:, :, None] * points[:, None, :]
    squares = (points * points).sum(axis=0)
    assert (squares[None] + np.maximum(terms, 0).sum(axis=0)).max() < 1 << 24
    assert np.minimum(terms, 0).sum(axis=0).min() > -(1 << 24)


@spaces
def test_the_distance_is_that_of_what_is_seen_on_white_and_on_black(space: ColorSpace) -> None:
    rng = np.random.default_rng(1)
    pairs = rng.integers(0, 256, (2, 500, 4)).astype(np.uint8)
    first, second = (space.points(colors).astype(float) for colors in pairs)
    ends = space.to_grid(np.array([[0, 0, 0], [255, 255, 255]], np.uint8)).astype(float)

    def seen(colors: NDArray[np.uint8], behind: NDArray[np.float64]) -> NDArray[np.float64]:
        share = colors[:, 3] / 255
        laid: NDArray[np.float64] = (
            share * space.to_grid(colors[:, :3]) + (1 - share) * behind[:, None]
        )
        return laid

    black, white = (((seen(pairs[0], b) - seen(pairs[1], b)) ** 2).sum(axis=0) for b in ends.T)
    expected = WHITE_SHARE * white + (1 - WHITE_SHARE) * black
    distance = ((first - second) ** 2).sum(axis=0)
    np.testing.assert_allclose(distance, 0.64 * expected, rtol=0.02, atol=3000)


@spaces
def test_colors_with_alpha_come_back(space: ColorSpace) -> None:
    colors = np.random.default_rng(2).integers(0, 256, (300, 4)).astype(np.uint8)
    colors[:20, 3], colors[20:40, 3] = 255, 0
    back = space.colors(np.ascontiguousarray(space.points(colors).T))
    np.testing.assert_array_equal(back[:, 3], colors[:, 3])
    assert (back[20:40] == 0).all()
    opaque = space.points(colors[:20]).T - space.points(back[:20]).T
    assert abs(opaque).max() <= 1
