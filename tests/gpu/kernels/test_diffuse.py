"""Errors are diffused by the kernel as NumPy diffuses them."""

from functools import lru_cache
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from kernel_device import build_ahead, device, diffusion, options_for, text_of
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from quantgpu.arrays.namespace import to_host
from quantgpu.dithering import diffusion_gpu, nearest_grid
from quantgpu.dithering.diffusion import diffuse
from quantgpu.dithering.diffusion_matrices import DIFFUSION_MATRICES, FULL, DiffusionMatrix
from quantgpu.dithering.nearest_grid import ColorGrid

COLORS = 200
REACH = 90


@lru_cache
def some_scheme(axes: int, k: int, parted: bool = False) -> ColorGrid:
    """Random colors and centers on a small grid, in wide cells, many of which have several; a few
    centers are there twice.

    If `parted`, every other color keeps to every other center, and has cells of its own.
    """
    rng = np.random.default_rng([axes, k])
    points = rng.integers(-300, 301, (axes, COLORS)).astype(np.int32)
    points[0] //= 3
    centers = rng.integers(-300, 301, (k, axes)).astype(np.int32)
    centers[1::4] = centers[::4]
    halves = np.arange(0, COLORS, 2), np.arange(1, COLORS, 2)
    groups = [(half, np.arange(k)[part::2]) for part, half in enumerate(halves)]
    with patch.object(nearest_grid, "MOST_CELLS", 1 << 9):
        cells, first = nearest_grid.cells_around(points, centers, REACH, groups if parted else None)
    return ColorGrid(points, np.ascontiguousarray(centers.T), cells, REACH, first)


def on_device(gpu: Any, scheme: ColorGrid) -> ColorGrid:
    """The scheme's arrays uploaded."""
    first = None if scheme.first is None else gpu.asarray(scheme.first)
    points, centers = gpu.asarray(scheme.points), gpu.asarray(scheme.centers)
    return ColorGrid(points, centers, scheme.cells.on(gpu.cupy), scheme.reach, first)


def some_rows(
    kernel: DiffusionMatrix, axes: int, shape: tuple[int, ...]
) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int32]]:
    """Colors and strengths of frames, and errors above them."""
    rng = np.random.default_rng(shape)
    colors = rng.integers(0, COLORS, shape).astype(np.int32)
    strength = rng.integers(0, FULL + 1, shape).astype(np.uint8)
    strength[..., ::3] = FULL
    above = rng.integers(-400, 401, (shape[0], kernel.depth, axes, shape[2]))
    return colors, strength, above.astype(np.int32)


def check_frames(
    gpu: Any, name: str, shape: tuple[int, int, int], axes: int = 3, k: int = 40,
    parted: bool = False,
) -> None:  # fmt: skip
    """Several frames at once are what NumPy makes of one after the other."""
    kernel, scheme = DIFFUSION_MATRICES[name], some_scheme(axes, k, parted)
    rows = some_rows(kernel, axes, shape)
    expected = [
        diffuse(colors, strength, kernel, scheme, above)
        for colors, strength, above in zip(*rows, strict=True)
    ]
    colors, strength, above = map(gpu.asarray, rows)
    dtype = np.uint8 if k <= 256 else np.uint16
    there = on_device(gpu, scheme)
    found = diffusion_gpu.diffuse_frames(colors, strength, kernel, there, above, dtype)
    assert found[0].dtype == dtype
    for result, right in zip(found, zip(*expected, strict=True), strict=True):
        assert_array_equal(result.get(), np.stack(right))


def check_slabs(gpu: Any, name: str, heights: list[int], axes: int = 3) -> None:
    """Slabs, each with the errors of the last, are what NumPy makes of all rows at once."""
    kernel, scheme = DIFFUSION_MATRICES[name], some_scheme(axes, 40)
    [colors], [strength], [above] = some_rows(kernel, axes, (1, sum(heights), 21))
    index, below = diffuse(colors, strength, kernel, scheme, above)
    there, errors, start = on_device(gpu, scheme), gpu.asarray(above), 0
    for height in heights:
        rows = slice(start, start + height)
        part = gpu.asarray(colors[rows]), gpu.asarray(strength[rows])
        found, errors = diffuse(*part, kernel, there, errors, np.uint8)
        assert_array_equal(to_host(found), index[rows])
        start += height
    assert_array_equal(to_host(errors), below)


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    rows = [
        *(diffusion(name) for name in DIFFUSION_MATRICES),
        *(diffusion(name, 4) for name in FEW),
    ]
    build_ahead([(text_of("diffuse"), options_for(row), "fiber") for row in rows])


FEW = "adaptive", "stevenson-arce"
"""The rows of the table with the least and the most errors to remember."""


@pytest.mark.parametrize("name", DIFFUSION_MATRICES)
def test_each_kernel_diffuses_as_numpy_does(gpu: Any, name: str) -> None:
    check_frames(gpu, name, (1, 35, 23))


SHAPES = [(1, 1, 1), (1, 1, 9), (1, 9, 1), (1, 17, 31), (3, 33, 2), (2, 32, 16), (2, 65, 35)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FEW)
def test_pictures_of_any_size_are_diffused_as_numpy_does(
    gpu: Any, name: str, shape: tuple[int, int, int]
) -> None:
    check_frames(gpu, name, shape)


@pytest.mark.parametrize("name", FEW)
def test_a_fourth_axis_and_colors_with_cells_of_their_own(gpu: Any, name: str) -> None:
    check_frames(gpu, name, (1, 34, 12), 4)
    check_frames(gpu, name, (1, 34, 12), parted=True)


def test_more_than_256_colors(gpu: Any) -> None:
    check_frames(gpu, "stevenson-arce", (1, 34, 12), 4, 300)


@pytest.mark.parametrize("heights", [[1, 1, 2, 3, 1], [31, 33, 1, 2], [34, 32]])
@pytest.mark.parametrize("name", FEW)
def test_slabs_continue_the_errors_of_the_last(gpu: Any, name: str, heights: list[int]) -> None:
    check_slabs(gpu, name, heights)


def test_diffusion_never_waits_for_the_host(gpu: Any) -> None:
    kernel, scheme = DIFFUSION_MATRICES["adaptive"], on_device(gpu, some_scheme(3, 40))
    [colors], [strength], [above] = some_rows(kernel, 3, (1, 34, 12))
    there = gpu.asarray(colors), gpu.asarray(strength)
    errors = gpu.asarray(above)
    gpu.log.reset()
    diffuse(*there, kernel, scheme, errors, np.uint16)
    assert not gpu.log.synchronizations
    assert not gpu.log.transfers


@pytest.mark.parametrize("mode", ["fiber", "race"])
@pytest.mark.parametrize("name", FEW)
def test_blocks_side_by_side_wait_for_each_other(name: str, mode: str) -> None:
    """Whose turn it is is drawn again and again; a device runs as many as it has room for."""
    axes, k = (3, 40) if name == "adaptive" else (4, 300)
    with device(mode, "beside", together=True) as gpu:
        check_frames(gpu, name, (2, 65, 50), axes, k)
