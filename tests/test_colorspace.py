"""Working spaces: exact there and back, and small enough for exact float32."""

import numpy as np
import pytest

from quantgpu.colorspace import COLOR_SPACES, ColorSpace

ALL_GRAYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
CORNERS = np.array(np.meshgrid(*[[0, 255]] * 3)).reshape(3, -1).T.astype(np.uint8)

spaces = pytest.mark.parametrize("space", COLOR_SPACES.values(), ids=COLOR_SPACES)


@spaces
def test_every_level_comes_back(space: ColorSpace) -> None:
    for colors in (
        ALL_GRAYS,
        CORNERS,
        np.roll(ALL_GRAYS, 77, axis=0) ^ np.array([[1, 2, 4]], np.uint8),
    ):
        np.testing.assert_array_equal(space.from_grid(space.to_grid(colors).T), colors)


@spaces
def test_coordinates_are_integers_and_squared_distances_stay_below_24_bits(
    space: ColorSpace,
) -> None:
    grid = space.to_grid(CORNERS).astype(np.float64)
    np.testing.assert_array_equal(grid, np.rint(grid))
    distances = ((grid[:, :, None] - grid[:, None]) ** 2).sum(axis=0)
    partial = (grid**2).sum(axis=0)[None] + 2 * abs(grid.T @ grid)
    assert distances.max() < 2**24
    assert partial.max() < 2**24


def test_srgb_reaches_the_grid_without_rounding(capsys: pytest.CaptureFixture[str]) -> None:
    """All 2^24 colors, against integer arithmetic: no library can round them differently."""
    space = COLOR_SPACES["srgb"]
    nearest = np.inf
    keys = np.arange(1 << 20)
    for first in range(0, 1 << 24, len(keys)):
        colors = np.stack([(first + keys) >> shift & 255 for shift in (0, 8, 16)], axis=1)
        exact = (colors - 128) * 8
        grid = space.to_grid(colors.astype(np.uint8)).T
        nearest = min(nearest, 0.5 - np.abs(grid.astype(np.float64) - exact).max())
        np.testing.assert_array_equal(space.from_grid(grid), colors)
    with capsys.disabled():
        print(f" srgb: {nearest} of a grid step from a rounding boundary ", end="")
    assert nearest == 0.5


def test_srgb_rounds_halves_up_and_clips() -> None:
    grid = np.array([[-1024, -1021, -1020], [3, 4, 1020], [-1100, 1016, 1100]], np.float32)
    found = COLOR_SPACES["srgb"].from_grid(grid)
    assert found.tolist() == [[0, 0, 1], [128, 129, 255], [0, 255, 255]]
