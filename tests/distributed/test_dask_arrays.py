"""Blocks and files over Dask give the bytes of the plain call, whatever the chunks and workers."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array
import gpu_double
import numpy as np
import pytest
from assertions import assert_same_histogram
from dask_workers import kill_one, processes
from image_files import encoded
from numpy.typing import NDArray
from pictures import photo, soft_photo

import quantgpu
from quantgpu import UsageError, cluster
from quantgpu.arrays.namespace import to_host
from quantgpu.distributed import blocks
from quantgpu.distributed.blocks import BlockMapper, count_block
from quantgpu.distributed.tiles import Halo
from quantgpu.dithering.base import Dithering
from quantgpu.dithering.options import MapOptions
from quantgpu.histogram import Histogram
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.pixels import Pixels

CHUNKS = [(1, 83), (7, 83), (512, 512), (23, 31)]
BLOCKWISE = ["none", "bayer", "blue-noise"]


def in_chunks(picture: NDArray[np.uint8], chunks: tuple[int, int]) -> Any:
    return dask.array.from_array(picture, chunks=(*chunks, -1))


def assert_same(found: cluster.Remapped, plain: quantgpu.Indexed, **how: Any) -> None:
    index, palette, tally = dask.compute(*found, **how)
    assert np.array_equal(palette.palette.colors, plain.palette.colors)
    assert index.dtype == plain.index.dtype
    assert np.array_equal(index, plain.index)
    assert np.array_equal(tally.counts, plain.counts)
    assert tally.squared_error == plain.squared_error


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("picture", [photo(), soft_photo()])
@pytest.mark.parametrize("perceptual", [True, False])
def test_counts_and_weights_of_blocks_add_up_to_those_of_the_picture(
    picture: NDArray[np.uint8], chunks: tuple[int, int], perceptual: bool
) -> None:
    found = cluster.histogram(in_chunks(picture, chunks), perceptual=perceptual)
    expected = count_colors(Pixels(picture), perceptual=perceptual)
    assert_same_histogram(found.compute(scheduler="sync"), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (20, 1), (2, 9), (3, 3), (7, 11)])
@pytest.mark.parametrize("chunks", [(1, 1), (2, 3), (99, 4)])
def test_thin_pictures_have_the_weights_of_the_plain_call(
    shape: tuple[int, int], chunks: tuple[int, int]
) -> None:
    picture = photo(*shape)
    found = cluster.histogram(in_chunks(picture, chunks)).compute(scheduler="sync")
    assert_same_histogram(found, count_colors(Pixels(picture), perceptual=True))


@pytest.mark.parametrize("few", [1, 1 << 18])
def test_large_blocks_are_counted_like_small_ones(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "FEW_PIXELS", few)
    for picture in (photo(), soft_photo()):
        found = cluster.histogram(in_chunks(picture, (50, 40))).compute(scheduler="sync")
        assert_same_histogram(found, count_colors(Pixels(picture), perceptual=True))


@pytest.mark.parametrize("dither", BLOCKWISE)
@pytest.mark.parametrize("picture", [photo(37, 53), soft_photo(30, 61)])
def test_remapped_blocks_have_the_bytes_of_the_plain_call(
    picture: NDArray[np.uint8], dither: str
) -> None:
    plain = quantgpu.quantize(picture, 6, dither=dither, device="cpu")
    for chunks in CHUNKS[1:]:
        found = cluster.quantize(in_chunks(picture, chunks), 6, dither=dither, device="cpu")
        assert_same(found, plain, scheduler="threads")


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": "binary"}, {"alpha": "flatten", "matte": (9, 200, 30)}, {"perceptual": False},
        {"keep": [(1, 2, 3)], "snap": 0.01}, {"lock_grays": True}, {"salient": True},
        {"from_palette": [(0, 0, 0), (255, 255, 255), (200, 100, 90), (90, 120, 99)]},
        {"effort": "none", "init": "random"}, {"color_space": "srgb", "seed": 4},
    ],
)  # fmt: skip
def test_options_mean_what_they_mean_in_the_plain_call(options: dict[str, Any]) -> None:
    picture = soft_photo(40, 61)
    how: dict[str, Any] = {"dither": "bayer:4", "device": "cpu", **options}
    plain = quantgpu.quantize(picture, 5, **how)
    found = cluster.quantize(in_chunks(picture, (20, 31)), 5, **how)
    assert_same(found, plain, scheduler="sync")


def test_one_color_and_no_k_are_those_of_the_plain_call() -> None:
    picture = photo(20, 20)
    for k in (1, None):
        plain = quantgpu.quantize(picture, k, dither=None if k == 1 else "none", device="cpu")
        how: dict[str, Any] = {"dither": None if k == 1 else "none", "device": "cpu"}
        found = cluster.quantize(in_chunks(picture, (9, 9)), k, **how)
        assert_same(found, plain, scheduler="sync")


def test_processes_give_the_same_bytes() -> None:
    picture = soft_photo()
    plain = quantgpu.quantize(picture, 6, dither="blue-noise", device="cpu")
    found = cluster.quantize(in_chunks(picture, (31, 50)), 6, dither="blue-noise", device="cpu")
    assert_same(found, plain, scheduler="processes", num_workers=1)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_one_two_and_four_workers_give_the_same_bytes(four_workers: Any, workers: int) -> None:
    picture = photo()
    plain = quantgpu.quantize(picture, 6, dither="blue-noise", device="cpu")
    names = list(four_workers.scheduler_info(n_workers=-1)["workers"])[:workers]
    found = cluster.quantize(in_chunks(picture, (20, 50)), 6, dither="blue-noise", device="cpu")
    assert_same(found, plain, scheduler=four_workers, workers=names)


def slowly(block: Any) -> Any:
    """The block, after a while."""
    time.sleep(0.1)
    return block


def test_a_worker_that_is_killed_while_counting_changes_nothing(four_workers: Any) -> None:
    picture = photo()
    slow = in_chunks(picture, (8, 40)).map_blocks(slowly, dtype=np.uint8)
    pids = processes(four_workers)
    future = four_workers.compute(cluster.histogram(slow))
    kill_one(four_workers, pids)
    assert not future.done()
    assert_same_histogram(future.result(30), count_colors(Pixels(picture), perceptual=True))


def test_a_worker_that_is_killed_while_remapping_changes_nothing(four_workers: Any) -> None:
    picture = photo()
    plain = quantgpu.quantize(picture, 6, dither="bayer", device="cpu")
    found = cluster.quantize(in_chunks(picture, (8, 40)), 6, dither="bayer", device="cpu")
    pids = processes(four_workers)
    palette = four_workers.compute(found.palette)
    slow = four_workers.compute(found.index.map_blocks(slowly, dtype=np.uint8))
    assert len(palette.result(30).palette) == 6
    kill_one(four_workers, pids)
    assert not slow.done()
    assert np.array_equal(slow.result(30), plain.index)


def test_files_share_a_palette_whatever_the_method(tmp_path: Path) -> None:
    names = []
    for number, picture in enumerate((photo(), soft_photo(30, 41), photo(9, 70, 2))):
        names.append(tmp_path / f"{number}.png")
        names[-1].write_bytes(encoded(picture, "PNG"))
    found = dask.compute(
        cluster.histogram(names),
        *cluster.quantize(names, 7, device="cpu"),
        scheduler="threads",
    )
    histogram, *pictures = found
    whole = sum(
        (count_colors(Pixels(p), perceptual=True) for p in (soft_photo(30, 41), photo(9, 70, 2))),
        count_colors(Pixels(photo()), perceptual=True),
    )
    assert_same_histogram(histogram, whole)
    assert [picture.index.shape for picture in pictures] == [(61, 83), (30, 41), (9, 70)]
    assert len({picture.palette.colors.tobytes() for picture in pictures}) == 1


# On GPUs


@pytest.fixture(scope="module")
def gpu() -> Iterator[Any]:
    with gpu_double.installed() as double:
        yield double


def on_gpu(gpu: Any, array: Any, columns: int = 99) -> Any:
    """The array, of which the blocks that begin left of a column are on a GPU."""

    def moved(block: Any, block_info: Any) -> Any:
        is_left = block_info[0]["array-location"][1][0] < columns
        return gpu.asarray(block) if is_left else block

    meta = gpu.empty((0, 0, 0), np.uint8)
    return array.map_blocks(moved, meta=meta, dtype=np.uint8)


@pytest.mark.parametrize(
    ("picture", "columns", "dither"),
    [
        (photo(37, 83), 99, "none"),
        (photo(37, 83), 50, "bayer"),
        (soft_photo(37, 83), 99, "bayer"),
        (soft_photo(37, 83), 50, "blue-noise"),
    ],
)
def test_blocks_on_a_gpu_stay_there_and_have_the_bytes_of_the_plain_call(
    gpu: Any, picture: NDArray[np.uint8], columns: int, dither: str
) -> None:
    plain = quantgpu.quantize(picture, 6, dither=dither, device="cpu")
    array = on_gpu(gpu, in_chunks(picture, (20, 50)), columns)
    found = cluster.quantize(array, 6, dither=dither, device="cpu")
    assert isinstance(found.index._meta, gpu.ndarray)
    (*blocks, tally, palette) = dask.compute(
        *found.index.to_delayed().flat, found.tally, found.palette, scheduler="threads"
    )
    kinds = [gpu.ndarray, gpu.ndarray if columns == 99 else np.ndarray] * 2
    assert [type(block) for block in blocks] == kinds
    here = [to_host(block) for block in blocks]
    assert np.array_equal(np.block([here[:2], here[2:]]), plain.index)
    assert np.array_equal(palette.palette.colors, plain.palette.colors)
    assert np.array_equal(tally.counts, plain.counts)
    assert tally.squared_error == plain.squared_error


def test_neither_pixels_nor_indices_of_blocks_on_a_gpu_leave_it(gpu: Any) -> None:
    picture = np.tile(photo(40, 50) & 0xF0, (10, 8, 1))
    array = on_gpu(gpu, in_chunks(picture, (200, 200))).persist(scheduler="sync")
    gpu.log.reset()
    found = cluster.quantize(array, 6, dither="bayer", device="cpu")
    dask.compute(*found.index.to_delayed().flat, found.tally, scheduler="sync")
    assert gpu.log.moved("up") < picture.nbytes / 10
    assert gpu.log.moved("down") < picture.nbytes / 10


@pytest.mark.usefixtures("gpu")
def test_files_are_counted_and_remapped_on_the_device_that_is_named(tmp_path: Path) -> None:
    name = tmp_path / "a.png"
    name.write_bytes(encoded(soft_photo(30, 41), "PNG"))
    found = []
    for device in ("gpu:0", "cpu"):
        how: dict[str, Any] = {"device": device, "effort": "fast", "dither": "none"}
        lazy = cluster.histogram([name], device=device), *cluster.quantize([name], 7, **how)
        found.append(dask.compute(*lazy, scheduler="sync"))
        assert found[-1][1].device == device
    assert_same_histogram(found[0][0], found[1][0])
    assert np.array_equal(found[0][1].index, found[1][1].index)


# What travels


def test_histograms_and_recipes_travel_compressed_and_arrive_whole() -> None:
    picture = soft_photo()
    counted = count_block(picture, Halo()).result
    data = pickle.dumps(counted)
    columns = counted.keys, counted.counts, counted.weights
    assert len(data) < sum(column.nbytes for column in columns) / 4 < sys.getsizeof(counted)
    assert_same_histogram(pickle.loads(data), counted)
    shared = cluster.palette(counted_later(counted), 6, device="cpu").compute(scheduler="sync")
    mapper = blocks.mapper_for_blocks(counted, shared, MapOptions(dithering=Dithering("bayer")))
    data = pickle.dumps(mapper)
    assert len(data) < sys.getsizeof(mapper) / 4
    there = pickle.loads(data)
    assert isinstance(there, BlockMapper)
    assert np.array_equal(there.keys, mapper.keys)
    assert np.array_equal(there.labels, mapper.labels)
    assert np.array_equal(there.colors, mapper.colors)
    assert (there.options, there.channels) == (mapper.options, mapper.channels)


def counted_later(counted: Histogram) -> Any:
    return dask.delayed(lambda: counted)()


def test_a_process_builds_one_table_for_all_blocks() -> None:
    counted = count_block(photo(), Halo()).result
    shared = cluster.palette(counted_later(counted), 6, device="cpu").compute(scheduler="sync")
    data = pickle.dumps(blocks.mapper_for_blocks(counted, shared, MapOptions()))
    assert pickle.loads(data) is pickle.loads(data)
    assert pickle.loads(data).mapper() is pickle.loads(data).mapper()


# What is refused


def test_error_diffusion_of_blocks_is_refused_with_what_to_type() -> None:
    array = in_chunks(photo(), (20, 20))
    for dither in (None, "floyd-steinberg", "adaptive"):
        with pytest.raises(UsageError, match="use --dither none, bayer or blue-noise"):
            cluster.quantize(array, 6, dither=dither)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (dask.array.zeros((4, 4, 3)), "blocks of float64: they are uint8"),
        (dask.array.zeros((4, 4, 3), dtype=np.uint16), "blocks of uint16"),
        (dask.array.zeros((4, 4), dtype=np.uint8), r"blocks of shape \(4, 4\)"),
        (dask.array.zeros((4, 4, 2), dtype=np.uint8), r"blocks of shape \(4, 4, 2\)"),
        (dask.array.zeros((0, 4, 3), dtype=np.uint8), "no pixels"),
        ("photo.png", "neither a dask.array"),
        ([], "neither a dask.array"),
        (photo(), "neither a dask.array"),
    ],
)
def test_what_is_no_picture_is_refused_before_any_work(source: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        cluster.histogram(source)


def test_blocks_of_another_type_or_channel_count_than_promised_are_refused() -> None:
    for lie, message in (
        (np.float32, "blocks of float32: they are uint8"),
        (lambda block: block[..., :2], r"blocks of shape \(20, 20, 2\)"),
        (lambda block: np.repeat(block, 2, axis=2), r"blocks of shape \(20, 20, 6\)"),
    ):
        lying = in_chunks(photo(20, 20), (20, 20)).map_blocks(lie, dtype=np.uint8)
        with pytest.raises(UsageError, match=message):
            cluster.histogram(lying).compute(scheduler="sync")


def test_dask_is_not_imported_before_it_is_used() -> None:
    text = "import sys, quantgpu.cli, quantgpu.cluster; print('dask' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_many_colors_are_added_in_bins_with_the_sums_of_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = [
        count_colors(Pixels(photo(40, 50, seed)), perceptual=bool(seed % 2)) for seed in range(5)
    ]
    soft = count_colors(Pixels(soft_photo()), perceptual=True)
    groups = [parts, parts[:1], parts[::2], [parts[0], soft], [soft, *parts]]
    few = [blocks.add_histograms(group) for group in groups]
    used: list[int] = []
    real = blocks.add_in_bins

    def noted(those: Any) -> Any:
        used.append(len(those))
        return real(those)

    monkeypatch.setattr(blocks, "MANY_COLORS", 1)
    monkeypatch.setattr(blocks, "add_in_bins", noted)
    for group, expected in zip(groups, few, strict=True):
        found = blocks.add_histograms(group)
        assert_same_histogram(found, expected)
        assert found.channels == expected.channels
    assert used == [5, 1, 3]
