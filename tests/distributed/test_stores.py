"""Blocks of TIFF and Zarr pictures are read and written as the whole would be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from pictures import photo, soft_photo
from PIL import Image

from quantgpu import InputError, OutputError, UsageError
from quantgpu.distributed import stores
from quantgpu.distributed.stores import (
    Picture,
    check_store_output,
    create_store,
    inspect,
    is_blockwise,
    is_zarr,
    read_region,
    regions,
    with_halo,
    write_region,
)

PICTURE = photo(150, 210)

REGIONS = [(0, 150, 0, 210), (3, 140, 49, 209), (64, 65, 1, 2), (149, 150, 209, 210)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stores, "SIDE", 64)
    monkeypatch.setattr(stores, "TILE", 16)


def write_zarr(path: str, picture: NDArray[Any], chunks: tuple[int, ...] = (64, 50, 3)) -> None:
    array = zarr.open(path, mode="w", shape=picture.shape, chunks=chunks, dtype=picture.dtype)
    array[:] = picture


def write_tiff(path: str, picture: NDArray[Any], **options: Any) -> None:
    tifffile.imwrite(path, picture, **{"photometric": "rgb", **options})


WRITERS: dict[str, Any] = {
    "a.zarr": lambda name, picture: write_zarr(name, picture, (64, 50, 1)),
    "tiles.tif": lambda name, picture: write_tiff(name, picture, tile=(64, 48)),
    "deflated.tif": lambda name, picture: write_tiff(
        name, picture, tile=(16, 160), compression="zlib", predictor=True
    ),
    "big.tiff": lambda name, picture: write_tiff(name, picture, tile=(32, 32), bigtiff=True),
    "strips.tif": lambda name, picture: write_tiff(name, picture, rowsperstrip=7),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("picture", [PICTURE, soft_photo(31, 17)])
def test_a_block_has_the_pixels_of_the_picture(name: str, picture: NDArray[np.uint8]) -> None:
    WRITERS[name](name, picture)
    found = inspect(name)
    assert found.shape == picture.shape
    for region in [*regions(found), *REGIONS]:
        top, bottom, left, right = np.minimum(region, np.repeat(picture.shape[:2], 2)).tolist()
        read = read_region(found, (top, bottom, left, right))
        assert np.array_equal(read, picture[top:bottom, left:right])


@pytest.mark.parametrize("segment", [(1, 1), (64, 48), (7, 210), (99, 65)])
def test_blocks_cover_a_picture_once(segment: tuple[int, int]) -> None:
    times = np.zeros((150, 210), int)
    for top, bottom, left, right in regions(Picture("", (150, 210, 3), segment)):
        assert top % stores.TILE == left % stores.TILE == 0
        times[top:bottom, left:right] += 1
    assert (times == 1).all()


def test_a_halo_ends_at_the_borders() -> None:
    picture = Picture("", (10, 9, 3), (4, 4))
    assert with_halo((0, 4, 4, 8), picture) == ((0, 6, 3, 9), (0, 2, 1, 1))
    assert with_halo((4, 10, 0, 9), picture) == ((3, 10, 0, 9), (1, 0, 0, 0))


@pytest.mark.parametrize("output", ["out.zarr", "out.tif"])
def test_blocks_that_are_written_make_the_whole(output: str) -> None:
    index = (np.arange(150 * 210).reshape(150, 210) % 7).astype(np.uint8)
    colors = np.arange(21, dtype=np.uint8).reshape(7, 3)
    picture = Picture("", (150, 210, 3), (4, 4))
    with create_store(output, picture, colors, 7) as there:
        for top, bottom, left, right in regions(picture)[::-1] * 2:
            write_region(there, (top, bottom, left, right), index[top:bottom, left:right])
        assert not Path(output).exists()
    assert [path.name for path in Path().iterdir()] == [output]
    if output.endswith(".zarr"):
        group = zarr.open(output, mode="r")
        assert np.array_equal(group["index"][:], index)
        assert np.array_equal(group["palette"][:], colors)
        return
    with Image.open(output) as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), index)
        assert (image.getpalette() or [])[:21] == colors.ravel().tolist()


@pytest.mark.parametrize("output", ["out.zarr", "out.tif"])
def test_nothing_is_left_of_what_fails_and_what_was_there_stays(output: str) -> None:
    write_zarr(output, PICTURE) if output.endswith("zarr") else write_tiff(output, PICTURE)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    picture = Picture("", (150, 210, 3), (4, 4))
    with pytest.raises(KeyError), create_store(output, picture, np.zeros((1, 3), np.uint8), 1):
        raise KeyError
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    with create_store(output, picture, np.zeros((1, 3), np.uint8), 1):
        pass
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} != before


def test_what_is_read_in_blocks_is_told_by_name_and_tiles() -> None:
    for name, write in WRITERS.items():
        write(name, PICTURE)
    Path("text.tif").write_text("a text")
    assert {name: is_blockwise(name) for name in WRITERS} == {
        **dict.fromkeys(WRITERS, True),
        "strips.tif": False,
    }
    assert not is_blockwise("text.tif")
    assert not is_blockwise("none.tif")
    assert not is_blockwise("photo.png")
    assert is_zarr("scan.zarr/0")


@pytest.mark.parametrize(
    ("name", "picture", "options", "error", "message"),
    [
        ("a.tif", np.zeros((20, 20, 3), np.uint16), {}, UsageError, "blocks of uint16"),
        ("a.tif", np.zeros((20, 20), np.uint8), {"photometric": "minisblack"}, UsageError, "shape"),
        (
            "a.tif",
            PICTURE.transpose(2, 0, 1).copy(),
            {"planarconfig": "separate"},
            UsageError,
            "shape",
        ),
        ("a.zarr", np.zeros((20, 20, 3), np.float32), None, UsageError, "blocks of float32"),
        ("a.zarr", np.zeros((20, 20, 5), np.uint8), None, UsageError, r"shape \(20, 20, 5\)"),
    ],
)
def test_other_pixels_are_refused(
    name: str, picture: NDArray[Any], options: Any, error: type[Exception], message: str
) -> None:
    if options is None:
        write_zarr(name, picture, picture.shape)
    else:
        write_tiff(name, picture, **options)
    with pytest.raises(error, match=message):
        inspect(name)


def test_stores_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    zarr.open_group("group.zarr", mode="w")
    with pytest.raises(InputError, match=r"group.zarr: is a group; name one of its arrays"):
        inspect("group.zarr")
    Path("text.tif").write_text("a text")
    for name in ("none.zarr", "none.tif", "text.tif"):
        with pytest.raises(InputError, match=f"{name}: cannot be read"):
            inspect(name)
    write_tiff("strips.tif", PICTURE, rowsperstrip=100)
    monkeypatch.setattr(stores, "WIDEST", 100)
    with pytest.raises(InputError, match="write it with tiles"):
        inspect("strips.tif")


def test_a_profile_that_is_not_converted_is_told() -> None:
    write_tiff("a.tif", PICTURE, tile=(64, 64), iccprofile=b"a profile")
    write_tiff("b.tif", PICTURE, tile=(64, 64))
    assert inspect("a.tif").notes == (stores.UNCONVERTED,)
    assert inspect("b.tif").notes == ()


def test_a_store_that_went_away_is_named() -> None:
    write_tiff("a.tif", PICTURE, tile=(64, 64))
    found = inspect("a.tif")
    Path("a.tif").unlink()
    with pytest.raises(InputError, match=r"a.tif: cannot be read"):
        read_region(found, (0, 9, 0, 9))


def test_outputs_that_cannot_be_are_refused() -> None:
    Path("there.zarr").mkdir()
    for output, k, error, message in [
        ("out.png", 9, UsageError, r"block by block .zarr and .tif are written"),
        ("out.tif", 257, UsageError, "k = 257 is more than"),
        ("none/out.tif", 9, OutputError, "no such folder"),
        ("there.zarr", 9, OutputError, "exists; use --force"),
    ]:
        with pytest.raises(error, match=message):
            check_store_output(output, k, False)
    check_store_output("there.zarr", 9, True)


@pytest.mark.parametrize("output", ["out.zarr", "out.tif"])
def test_a_folder_that_is_no_store_is_never_replaced(output: str) -> None:
    Path(output).mkdir()
    Path(output, "thesis.txt").write_text("years")
    picture = Picture("", (150, 210, 3), (4, 4))
    with pytest.raises(OutputError, match="is a folder"):
        check_store_output(output, 5, force=True)
    with (
        pytest.raises(OutputError, match="is a folder"),
        create_store(output, picture, np.zeros((1, 3), np.uint8), 1),
    ):
        pass  # as if it had come between the check and the end
    assert Path(output, "thesis.txt").read_text() == "years"
    assert [path.name for path in Path().iterdir()] == [output]


def test_a_file_is_not_replaced_by_a_store() -> None:
    Path("out.zarr").write_text("a file")
    with pytest.raises(OutputError, match="is a file"):
        check_store_output("out.zarr", 5, force=True)


def test_the_old_store_stays_where_the_new_one_cannot_be_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_zarr("out.zarr", PICTURE)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    real, calls = os.rename, list[str]()

    def refuse_second(source: str, target: str) -> None:
        calls.append(str(target))
        if len(calls) == 2:
            raise PermissionError(13, "Permission denied")
        real(source, target)

    monkeypatch.setattr(os, "rename", refuse_second)
    picture = Picture("", (150, 210, 3), (4, 4))
    with (
        pytest.raises(OutputError, match="Permission denied"),
        create_store("out.zarr", picture, np.zeros((1, 3), np.uint8), 1),
    ):
        pass
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("output", ["out.zarr", "out.tif"])
def test_temporary_names_cannot_be_known_ahead(output: str) -> None:
    picture, names = Picture("", (150, 210, 3), (4, 4)), set()
    for _ in range(2):
        with create_store(output, picture, np.zeros((1, 3), np.uint8), 1) as temporary:
            names.add(temporary)
    assert len(names) == 2
    assert all(len(Path(name).name) > 24 for name in names)
