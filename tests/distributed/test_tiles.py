"""Blocks and what is around them: cut and pieced together, on the host and on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gpu_double
import numpy as np
import pytest
from assertions import assert_same_histogram
from flat import shared_palette
from numpy.typing import NDArray
from pictures import photo, soft_photo

from quantgpu.arrays.namespace import to_host
from quantgpu.color.alpha import AlphaOptions
from quantgpu.distributed.blocks import count_block, mapper_for_blocks, remap_block
from quantgpu.distributed.tiles import Halo, assemble, edge
from quantgpu.dithering.methods import parse_dither
from quantgpu.dithering.options import MapOptions
from quantgpu.errors import DeviceError
from quantgpu.execution.selection import Compute
from quantgpu.pixels import gpu as gpu_module
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.pixels import Pixels

HALOS = [Halo(), Halo(1, 2, 1, 2), Halo(1, 0, 0, 2), Halo(0, 2, 1, 0)]

KEEP = AlphaOptions()


@pytest.fixture(scope="module")
def gpu() -> Iterator[Any]:
    with gpu_double.installed() as double:
        yield double


def around(picture: NDArray[np.uint8], halo: Halo) -> NDArray[np.uint8]:
    """A part of a picture that has so much around it, and no more on the other sides."""
    height, width = picture.shape[:2]
    rows = slice(7 - halo.above if halo.above else 0, 23 + halo.below if halo.below else height)
    columns = slice(5 - halo.left if halo.left else 0, 31 + halo.right if halo.right else width)
    return picture[rows, columns]


@pytest.mark.parametrize(("halo", "slab"), [*zip(HALOS, [1, 1, 1 << 20, 1], strict=True)])
@pytest.mark.parametrize("picture", [photo(38, 47), soft_photo(38, 47)])
def test_a_block_on_a_gpu_counts_what_it_counts_here(
    gpu: Any, picture: NDArray[np.uint8], halo: Halo, slab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_module, "SLAB", slab)
    block = around(picture, halo)
    for perceptual in (True, False):
        here = count_block(block, halo, perceptual)
        assert (here.device, here.notes) == ("cpu", [])
        there = count_block(block, halo, perceptual, KEEP, Compute(device="gpu"))
        resident = count_block(gpu.asarray(block), halo, perceptual)
        for found in (there, resident):
            assert (found.device, found.notes) == ("gpu:0", [])
            assert_same_histogram(found.result, here.result)


@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (20, 1), (17, 31)])
def test_thin_blocks_on_a_gpu_are_counted(gpu: Any, shape: tuple[int, int]) -> None:
    found = count_block(gpu.asarray(photo(*shape)), Halo()).result
    assert_same_histogram(found, count_colors(Pixels(photo(*shape)), perceptual=True))


@pytest.mark.parametrize("dither", ["none", "bayer:4", "blue-noise"])
@pytest.mark.parametrize("picture", [photo(17, 31), soft_photo(17, 31)])
def test_a_block_on_a_gpu_is_remapped_as_here_and_stays_there(
    gpu: Any, picture: NDArray[np.uint8], dither: str
) -> None:
    counted = count_block(picture, Halo()).result
    shared = shared_palette(counted, 6, device="cpu")
    recipe = mapper_for_blocks(counted, shared, MapOptions(dithering=parse_dither(dither)))
    here = remap_block(picture, recipe, (23, 5), KEEP)
    there = remap_block(picture, recipe, (23, 5), KEEP, Compute(device="gpu"))
    resident = remap_block(gpu.asarray(picture), recipe, (23, 5), KEEP)
    assert isinstance(there.result.index, np.ndarray)
    assert isinstance(resident.result.index, gpu.ndarray)
    assert np.array_equal(there.result.index, here.result.index)
    assert np.array_equal(resident.result.index.get(), here.result.index)
    for found in (there, resident):
        assert found.device == "gpu:0"
        if here.result.tally is not None:
            assert np.array_equal(found.result.tally.counts, here.result.tally.counts)
            assert found.result.tally[1:] == here.result.tally[1:]


def test_a_block_whose_gpu_fails_is_done_here_and_indices_go_back(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = soft_photo(17, 31)
    there = gpu.asarray(picture)
    monkeypatch.setattr(gpu_module.GpuPixels, "slabs", lambda *arguments: 1 / 0)
    counted = count_block(there, Halo())
    assert (counted.device, len(counted.notes)) == ("cpu", 1)
    assert "went on with the CPU: ZeroDivisionError" in counted.notes[0]
    assert_same_histogram(counted.result, count_block(picture, Halo()).result)
    shared = shared_palette(counted.result, 6, device="cpu")
    recipe = mapper_for_blocks(counted.result, shared, MapOptions(dithering=parse_dither("bayer")))
    found = remap_block(there, recipe, (5, 3), KEEP)
    assert isinstance(found.result.index, gpu.ndarray)
    expected = remap_block(picture, recipe, (5, 3), KEEP).result.index
    assert np.array_equal(found.result.index.get(), expected)
    with pytest.raises(DeviceError, match="ZeroDivisionError"):
        count_block(picture, Halo(), compute=Compute(device="gpu:0"))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("on_gpu", [False, True])
def test_edges_are_laid_around_the_block_that_they_lie_beside(gpu: Any, on_gpu: bool) -> None:
    picture = photo(9, 12)
    rows, columns = (
        [slice(0, 3), slice(3, 6), slice(6, 9)],
        [slice(0, 4), slice(4, 8), slice(8, 12)],
    )
    block = picture[3:6, 4:8]
    lines: list[list[Any]] = [
        [edge(picture[rows[1 + d], columns[1 + r]], d, r) for r in (-1, 0, 1)] for d in (-1, 0, 1)
    ]
    lines[1][1] = gpu.asarray(block) if on_gpu else block

    found, halo = assemble(lines)
    assert isinstance(found, gpu.ndarray if on_gpu else np.ndarray)
    host = to_host(found)
    assert halo == Halo(1, 2, 1, 2)
    assert np.array_equal(host, picture[2:8, 3:10])
    assert np.array_equal(halo.trim(host), block)
    nothing: list[Any] = [None] * 3
    found, halo = assemble([nothing, [lines[1][0], *lines[1][1:2], None], nothing])
    assert halo == Halo(left=1)
    found, halo = assemble([nothing, [None, block, None], nothing])
    assert found is block
    assert halo == Halo()
