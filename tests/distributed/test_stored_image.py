"""One huge picture on a cluster has the palette and pixels of the plain call."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from command_runs import Ran
from dask_workers import kill_one, processes, unable_to_write
from pictures import photo, soft_photo
from PIL import Image

import quantgpu
from quantgpu.distributed import stored_image as crew_store
from quantgpu.distributed import stores
from quantgpu.pipeline.shared_palette import shared_palette


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stores, "SIDE", 64)
    monkeypatch.setattr(stores, "TILE", 16)
    tifffile.imwrite("tiles.tif", photo(150, 210), photometric="rgb", tile=(64, 48))
    soft = soft_photo(130, 99)
    zarr.open("soft.zarr", mode="w", shape=soft.shape, chunks=(40, 30, 4), dtype="u1")[:] = soft


def quantize(two_workers: Any, *arguments: str) -> Ran:
    return Ran("quantize", *arguments, "--scheduler", two_workers.scheduler.address)


def test_a_store_gets_the_bytes_of_the_plain_call(two_workers: Any) -> None:
    for name, picture, dither in (
        ("tiles.tif", photo(150, 210), "none"),
        ("soft.zarr", soft_photo(130, 99), "blue-noise"),
    ):
        plain = quantgpu.quantize(picture, 9, dither=dither, device="cpu")
        ran = quantize(
            two_workers, name, "-k", "9", "--dither", dither, "-o", "out.zarr", "--json", "--force"
        )
        assert (ran.code, ran.err) == (0, "")
        group = zarr.open("out.zarr", mode="r")
        assert np.array_equal(group["index"][:], plain.index)
        assert np.array_equal(group["palette"][:], plain.palette.colors)
        said = json.loads(ran.lines[0])
        assert (said["mse"], said["colors_in"]) == (plain.mse, plain.colors_in)
        assert (said["height"], said["width"]) == picture.shape[:2]


def test_blocks_on_a_gpu_and_beside_it_have_the_same_bytes(two_workers: Any) -> None:
    plain = quantgpu.quantize(soft_photo(130, 99), 9, dither="bayer", device="cpu")
    ran = quantize(
        two_workers, "soft.zarr", "-k", "9", "--dither", "bayer", "-o", "out.zarr", "--json",
        "--device", "auto",
    )  # fmt: skip
    assert ran.code == 0
    assert np.array_equal(zarr.open("out.zarr", mode="r")["index"][:], plain.index)
    said = json.loads(ran.lines[0])
    assert re.fullmatch(r"cpu, gpu:0 of tcp://127.0.0.1:\d+", said["device"])
    there = [note for note in said["device_notes"] if note.startswith("the worker tcp://")]
    assert len(there) == 1
    assert "no GPU is used: no NVIDIA driver" in there[0]


def test_a_tiff_is_what_the_plain_call_writes(two_workers: Any) -> None:
    plain = quantgpu.quantize(photo(150, 210), 9, dither="bayer", device="cpu")
    ran = quantize(two_workers, "tiles.tif", "-k", "9", "--dither", "bayer", "-o", "out.tif", "-v")
    assert ran.code == 0
    assert "over the network: histograms of the blocks" in ran.err
    assert np.array_equal(tifffile.imread("out.tif"), plain.index)


def test_a_worker_that_is_killed_leaves_no_trace(two_workers: Any) -> None:
    picture = photo(300, 400)
    zarr.open("large.zarr", mode="w", shape=picture.shape, chunks=(100, 90, 3), dtype="u1")[:] = (
        picture
    )
    plain = quantgpu.quantize(picture, 9, dither="none", device="cpu")
    killer = threading.Thread(target=kill_one, args=(two_workers, processes(two_workers)))
    killer.start()
    ran = quantize(two_workers, "large.zarr", "-k", "9", "--dither", "none", "-o", "out.zarr")
    killer.join()
    assert (ran.code, ran.err) == (0, "")
    assert np.array_equal(zarr.open("out.zarr", mode="r")["index"][:], plain.index)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["tiles.tif", "-o", "o.tif"], 2, "use --dither none, bayer or blue-noise"),
        (["tiles.tif"], 2, "tiles.tif is read in blocks; name one K, and -o"),
        (["tiles.tif", "-k", "2,3", "-o", "{k}.tif"], 2, "name one K"),
        (["tiles.tif", "-o", "tiles.tif", "--force"], 2, "originals are never replaced"),
        (["tiles.tif", "-o", "o.png", "--dither", "none"], 2, ".zarr and .tif are written"),
        (["tiles.tif", "-o", "o.tif", "--target", "mse=9"], 2, "--target is not for pictures"),
        (["none.zarr", "-o", "o.tif", "--dither", "none"], 3, "none.zarr: cannot be read"),
    ],
)
def test_what_is_wrong_is_told_before_any_work(
    two_workers: Any, arguments: list[str], code: int, message: str
) -> None:
    ran = quantize(two_workers, *arguments)
    assert (ran.code, ran.lines, Path("o.tif").exists()) == (code, [], False)
    assert message in ran.err


def test_palettes_and_counts_of_stores_are_those_of_their_pixels(two_workers: Any) -> None:
    address = two_workers.scheduler.address
    Image.fromarray(soft_photo(130, 99)).save("soft.png")
    for command in (["palette", "-k", "7", "--json"], ["palette", "--alpha", "binary", "--json"]):
        plain = Ran(*command, "soft.png", "soft.png")
        ran = Ran(*command, "soft.zarr", "soft.png", "--scheduler", address)
        assert ran.code == 0, ran.err
        assert json.loads(ran.lines[0])["colors"] == json.loads(plain.lines[0])["colors"]


def test_a_damaged_store_is_one_error(two_workers: Any) -> None:
    for chunk in Path("soft.zarr").rglob("*"):
        if chunk.is_file() and chunk.suffix != ".json" and not chunk.name.startswith(".z"):
            chunk.write_bytes(b"no chunk")
    ran = Ran("palette", "soft.zarr", "none.zarr", "--scheduler", two_workers.scheduler.address)
    assert (ran.code, ran.lines, len(ran.err.splitlines())) == (3, [], 1)
    assert "soft.zarr: cannot be read" in ran.err


@pytest.mark.parametrize("output", ["out.zarr", "out.tif"])
def test_a_worker_that_cannot_write_is_told_with_its_address(two_workers: Any, output: str) -> None:
    with unable_to_write(two_workers, 2) as workers:
        tifffile.imwrite("tiles.tif", photo(150, 210), photometric="rgb", tile=(64, 48))
        ran = quantize(two_workers, "tiles.tif", "-k", "9", "--dither", "none", "-o", output)
        assert (ran.code, ran.lines, os.listdir()) == (4, [], ["tiles.tif"])
        assert f"error: {output}: cannot be written (Permission denied)" in ran.err
        assert ran.err.strip().rpartition(", on the worker ")[2] in workers


@pytest.mark.parametrize("name", ["tiles.tif", "soft.zarr"])
def test_a_store_that_goes_away_after_it_was_counted_is_named(
    two_workers: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shared_palette

    def gone(*arguments: Any, **options: Any) -> Any:
        Path(name).rename("elsewhere")
        return real(*arguments, **options)

    monkeypatch.setattr(crew_store.__name__ + ".shared_palette", gone)
    before = len(os.listdir())
    ran = quantize(two_workers, name, "-k", "9", "--dither", "none", "-o", "out.tif")
    assert (ran.code, ran.lines, len(ran.err.splitlines())) == (3, [], 1)
    assert f"error: {name}: cannot be read" in ran.err
    assert len(os.listdir()) == before


def test_a_store_of_other_pixels_is_refused_by_name(two_workers: Any) -> None:
    for shape, dtype in (((40, 40, 3), "u2"), ((40, 40, 5), "u1"), ((40, 40), "u1")):
        zarr.open("other.zarr", mode="w", shape=shape, chunks=shape, dtype=dtype)
        ran = quantize(two_workers, "other.zarr", "-k", "9", "--dither", "none", "-o", "o.zarr")
        assert (ran.code, ran.lines) == (2, [])
        assert "error: other.zarr: blocks of " in ran.err


@pytest.mark.parametrize(
    ("name", "output"),
    [("in.zarr/0", "in.zarr"), ("in.zarr/0", "link.zarr"), ("tiles.tif", "tiles.tif")],
)
def test_a_store_around_what_is_read_is_not_replaced(
    two_workers: Any, name: str, output: str
) -> None:
    group = zarr.open_group("in.zarr", mode="w")
    group.create_array("0", data=photo(), chunks=(20, 30, 3))
    os.symlink("in.zarr", "link.zarr")
    ran = quantize(two_workers, name, "-k", "9", "--dither", "none", "-o", output, "--force")
    assert (ran.code, ran.lines) == (2, []), ran
    assert "originals are never replaced" in ran.err
    assert np.array_equal(zarr.open("in.zarr/0", mode="r")[:], photo())
