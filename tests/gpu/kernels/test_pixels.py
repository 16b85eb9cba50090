"""Pixels are counted, weighed and mapped by kernels as NumPy does it."""

from typing import Any

import numpy as np
import pytest
from kernel_device import device
from kernel_problems import SIZES, some_colors
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from quantgpu.color.packing import pack
from quantgpu.dithering import error_diffusion_gpu, lookup_gpu, ordered_gpu
from quantgpu.dithering.diffusion_matrices import FULL
from quantgpu.dithering.error_diffusion_plan import local_strength
from quantgpu.pixels import counting_gpu
from quantgpu.pixels.counting import packed
from quantgpu.pixels.perceptual import lightness, local_contrast, pixel_weights, rows_around


def check_histogram(gpu: Any, colors: NDArray[np.uint8], keys: int = 1 << 17) -> None:
    """Pixels are added to the bins of their colors; also those of a later row."""
    bins = np.random.default_rng(0).integers(0, 1 << 32, keys, np.uint32)
    there, found = gpu.asarray(colors), gpu.asarray(bins)
    for start in (0, 16):
        counting_gpu.add_to_bins(found, there[start:])
        bins += np.bincount(pack(colors[start:]), minlength=keys).astype(np.uint32)
        assert_array_equal(found.get(), bins)


def check_weighted(gpu: Any, colors: NDArray[np.uint8], keys: int = 1 << 17) -> None:
    """Counts and summed weights are added to the bins, those of a later row too."""
    rng = np.random.default_rng(1)
    bins = rng.integers(0, 1 << 20, keys).astype(np.uint64)
    weights = rng.integers(1, 65, len(colors)).astype(np.uint8)
    there, found = gpu.asarray(colors), gpu.asarray(bins)
    for start in (0, 16):
        counting_gpu.add_to_bins(found, there[start:], gpu.asarray(weights)[start:])
        np.add.at(bins, pack(colors[start:]), packed(weights[start:]))
        assert_array_equal(found.get(), bins)


def check_weigh(gpu: Any, height: int, width: int) -> None:
    """Rows between others, and at both ends of a picture, weigh what NumPy says."""
    picture = np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)
    picture[: height // 2] //= 16
    there = gpu.asarray(picture.reshape(-1, 3))
    for start, stop in ((0, height), (0, 1), (height // 2, height), (1, max(height - 2, 1))):
        if start >= stop:
            continue
        first, last = rows_around(start, stop, height)
        expected = pixel_weights(picture[first:last], start - first, stop - start)
        rows, before, after = (
            there[a * width : b * width].copy()
            for a, b in ((start, stop), (first, start), (stop, last))
        )
        found = gpu.zeros(len(expected), np.uint8)
        counting_gpu.weigh(rows, before, after, width, found)
        assert_array_equal(found.get(), expected)


def check_temper(gpu: Any, height: int, width: int) -> None:
    """Errors of rows between others are passed on as NumPy says."""
    rng = np.random.default_rng([height, width])
    picture = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    picture[: height // 2] //= 64
    ranks = rng.integers(0, 50, height * width).astype(np.int32)
    full, wanted = rng.integers(0, FULL + 1, (2, 50)).astype(np.uint8)
    tables = gpu.asarray(full), gpu.asarray(wanted)
    busy = local_contrast(lightness(picture), 0, height).reshape(-1)
    expected = local_strength(full[ranks], wanted[ranks], busy).reshape(height, width)
    there = gpu.asarray(picture.reshape(-1, 3))
    for start, stop in ((0, height), (height // 2, height), (1, max(height - 2, 1))):
        first, last = rows_around(start, stop, height)
        rows, before, after, own = (
            array[a * width : b * width].copy()
            for array, a, b in (
                *((there, start, stop), (there, first, start), (there, stop, last)),
                (gpu.asarray(ranks), start, stop),
            )
        )
        found = gpu.zeros(len(rows), np.uint8)
        if start < stop:
            error_diffusion_gpu.temper(rows, before, after, width, own, *tables, found)
        assert_array_equal(found.get(), expected[start:stop].reshape(-1))


def check_tally(gpu: Any, colors: NDArray[np.uint8], k: int = 256) -> None:
    """What pixels were mapped to is added to what is there."""
    rng = np.random.default_rng(len(colors))
    palette = rng.integers(0, 256, (k, 3)).astype(np.uint8)
    index = rng.integers(0, k, len(colors)).astype(np.uint8)
    gaps = palette[index].astype(np.int64) - colors
    entries = gpu.asarray(pack(palette).astype(np.uint32))
    counts, error = gpu.full(k, 5, np.uint64), gpu.full(1, 11, np.uint64)
    for told in (counts, None):
        lookup_gpu.tally(gpu.asarray(colors), gpu.asarray(index), entries, error, told)
    assert_array_equal(counts.get(), 5 + np.bincount(index, minlength=k))
    assert int(error[0]) == 11 + 2 * int((gaps * gaps).sum())


def check_remap(gpu: Any, colors: NDArray[np.uint8], dtype: Any, keys: int = 1 << 17) -> None:
    """Every pixel gets its color's entry; also those of a later row, beside others."""
    info = np.iinfo(dtype)
    table = np.random.default_rng(0).integers(0, info.max + 1, keys).astype(dtype)
    there, index = gpu.asarray(colors), gpu.full(len(colors), 7, dtype)
    expected = table[pack(colors)]
    lookup_gpu.remap(gpu.asarray(table), there[16:], index[16:])
    assert_array_equal(index.get()[16:], expected[16:])
    assert (index.get()[:16] == 7).all()
    lookup_gpu.remap(gpu.asarray(table), there, index)
    assert_array_equal(index.get(), expected)


def check_ordered(
    gpu: Any, shape: tuple[int, int], pictures: int, k: int = 256, keys: int = 1 << 17
) -> None:
    """Pictures between others, from some place of the matrix on, are mapped and told by NumPy."""
    rng = np.random.default_rng([*shape, k])
    count, side = shape[0] * shape[1], 8
    stride = -(-count // counting_gpu.RUN) * counting_gpu.RUN
    colors = some_colors(pictures * stride).reshape(pictures, stride, 3)
    low, high = rng.integers(0, k, (2, keys))
    table = (low | high << 8 | rng.integers(0, 1 << 16, keys) << 16).astype(np.uint32)
    bounds = (rng.integers(1, 1 << 16, (side, side)) << 16).astype(np.uint32) - np.uint32(1)
    palette = rng.integers(0, 256, (k, 3)).astype(np.uint8)
    place = 3, 13
    y, x = np.indices(shape)
    word = table[pack(colors.reshape(-1, 3))].reshape(pictures, stride)[:, :count]
    limit = bounds[(y + place[0]) % side, (x + place[1]) % side].reshape(-1)
    expected = np.where(word > limit, word >> 8 & 255, word & 255)
    gaps = palette[expected].astype(np.int64) - colors[:, :count]
    tables = [gpu.asarray(a) for a in (table, bounds, pack(palette).astype(np.uint32))]
    found = gpu.full(k, 5, np.uint64)
    for counts in (None, found):
        index = gpu.full((pictures, stride), 7, np.uint8)
        errors = gpu.full(pictures, 11, np.uint64)
        ordered_gpu.launch_ordered(
            gpu.asarray(colors), tuple(tables), shape, place, index, errors, counts
        )
        assert_array_equal(index.get()[:, :count], expected)
        assert (index.get()[:, count:] == 7).all()
        assert_array_equal(errors.get(), 11 + (gaps * gaps).sum(axis=(1, 2)))
    assert_array_equal(found.get(), 5 + np.bincount(expected.reshape(-1), minlength=k))


@pytest.mark.parametrize("count", [*SIZES, 4096, 4097])
def test_pixels_are_counted_as_numpy_counts(gpu: Any, count: int) -> None:
    check_histogram(gpu, some_colors(count))


@pytest.mark.parametrize("count", [*SIZES, 4096, 4097])
def test_weights_are_added_up_as_numpy_adds_them(gpu: Any, count: int) -> None:
    check_weighted(gpu, some_colors(count))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 1), (3, 2), (31, 33), (70, 130)])
def test_pixels_weigh_what_numpy_says(gpu: Any, shape: tuple[int, int]) -> None:
    check_weigh(gpu, *shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("count", [*SIZES, 4096, 4097])
def test_pixels_are_mapped_as_numpy_maps(gpu: Any, count: int, dtype: Any) -> None:
    check_remap(gpu, some_colors(count), dtype)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 1), (3, 2), (31, 33), (70, 130)])
def test_errors_are_passed_on_as_numpy_says(gpu: Any, shape: tuple[int, int]) -> None:
    check_temper(gpu, *shape)


@pytest.mark.parametrize("count", [*SIZES, 4096, 4097])
def test_what_pixels_are_mapped_to_is_added_up(gpu: Any, count: int) -> None:
    check_tally(gpu, some_colors(count), 1 + count % 256)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (16, 16), (17, 31), (70, 130)])
@pytest.mark.parametrize(("pictures", "k"), [(1, 2), (3, 256)])
def test_pixels_are_switched_as_numpy_switches(
    gpu: Any, pictures: int, k: int, shape: tuple[int, int]
) -> None:
    check_ordered(gpu, shape, pictures, k)


def test_all_colors_from_black_to_white_have_a_bin_and_an_entry() -> None:
    colors = some_colors(5000, 256)
    colors[-2:] = [[0], [255]]
    with device() as gpu:
        check_histogram(gpu, colors, 1 << 24)
        check_remap(gpu, colors, np.uint16, 1 << 24)
