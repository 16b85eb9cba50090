"""A result says truly what it is, and every format gives it back as it was."""

from __future__ import annotations

import errno
import io
import math
import os
import stat
import struct
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from image_files import noise
from numpy.typing import NDArray
from pictures import photo
from PIL import Image

from quantgpu import Indexed, OutputError, Palette, UsageError, quantize
from quantgpu.io import encode
from quantgpu.io.encode import FORMATS

PICTURES = [suffix for suffix in FORMATS if suffix != ".npz"]
WITH_PALETTE = [suffix for suffix in PICTURES if suffix != ".webp"]

COLORS = noise(300, 3)
"""Distinct, and in no order."""


def indexed(k: int, height: int = 23, width: int = 29) -> Indexed:
    """Random indices into the first K of `COLORS`, all of them used."""
    index = np.random.default_rng(1).permutation(np.arange(height * width) % k)
    return Indexed(
        index=index.astype(np.uint8 if k <= 256 else np.uint16).reshape(height, width),
        palette=Palette(COLORS[:k]),
        counts=np.bincount(index, minlength=k),
        colors_in=k,
        squared_error=0,
    )


def decoded(path: Path) -> NDArray[np.uint8]:
    """The colors of a file's pixels."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def see_through(k: int, *alphas: int) -> Indexed:
    """`indexed` whose first entries have these alphas."""
    picture = indexed(k)
    rest = np.full(k - len(alphas), 255)
    colors = np.column_stack([COLORS[:k], np.concatenate([alphas, rest])]).astype(np.uint8)
    return replace(picture, palette=Palette(colors))


def chunks(path: Path) -> dict[bytes, bytes]:
    """The chunks of a PNG file, the last of each name."""
    data, found, start = path.read_bytes(), {}, 8
    while start < len(data):
        (length,) = struct.unpack_from(">I", data, start)
        found[data[start + 4 : start + 8]] = data[start + 8 : start + 8 + length]
        start += length + 12
    return found


def files_in(folder: Path) -> list[str]:
    """The names of all files, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())


# Files


@pytest.mark.parametrize("suffix", PICTURES)
@pytest.mark.parametrize("k", [1, 2, 3, 17, 256])
def test_every_format_gives_the_pixels_back(suffix: str, k: int, tmp_path: Path) -> None:
    picture = indexed(k)
    path = tmp_path / f"out{suffix}"
    assert picture.save(path) == path.stat().st_size
    assert np.array_equal(decoded(path), picture.to_array())
    with Image.open(path) as image:
        assert image.format == FORMATS[suffix].name


@pytest.mark.parametrize("suffix", WITH_PALETTE)
@pytest.mark.parametrize("k", [1, 2, 5, 16, 255, 256])
def test_indexed_formats_keep_indices_and_the_order_of_the_palette(
    suffix: str, k: int, tmp_path: Path
) -> None:
    picture = indexed(k)
    picture.save(tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert image.mode == "P"
        stored = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
        assert np.array_equal(np.asarray(image), picture.index)
    assert np.array_equal(stored[:k], COLORS[:k])


# Transparency

TRANSPARENT = {
    ".png": [(2, 0), (3, 0, 99), (17, 0, 0, 1, 254), (256, *range(255)), (300, *range(255))],
    ".webp": [(2, 0), (17, 0, 0, 1, 254), (300, *range(255))],
    ".gif": [(1, 0), (2, 0), (256, 0)],
}
"""Suffix to K and the alphas of the first palette entries."""


@pytest.mark.parametrize(
    ("suffix", "k", "alphas"),
    [(suffix, k, alphas) for suffix, cases in TRANSPARENT.items() for k, *alphas in cases],
)
def test_transparent_colors_come_back_as_they_are(
    suffix: str, k: int, alphas: list[int], tmp_path: Path
) -> None:
    picture = see_through(k, *alphas)
    picture.save(tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert np.array_equal(np.asarray(image.convert("RGBA")), picture.to_array())
        if image.mode == "P":
            assert np.array_equal(np.asarray(image), picture.index)


@pytest.mark.parametrize(
    ("alphas", "written"),
    [((0,), b"\0"), ((0, 7), b"\0\7"), ((0, 255, 7), b"\0\xff\7"), ((7, 255), b"\7")],
)
def test_png_lists_alphas_up_to_the_last_that_is_not_255(
    alphas: tuple[int, ...], written: bytes, tmp_path: Path
) -> None:
    see_through(9, *alphas).save(tmp_path / "out.png")
    assert chunks(tmp_path / "out.png")[b"tRNS"] == written


@pytest.mark.parametrize("suffix", FORMATS)
def test_opaque_rgba_palette_gives_the_bytes_of_the_rgb_palette(
    suffix: str, tmp_path: Path
) -> None:
    indexed(9).save(tmp_path / f"rgb{suffix}")
    see_through(9).save(tmp_path / f"rgba{suffix}")
    assert (tmp_path / f"rgb{suffix}").read_bytes() == (tmp_path / f"rgba{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("suffix", "alphas", "message"),
    [
        (
            ".gif",
            (0, 0),
            "GIF holds one transparent color of alpha 0, no others; write .png",
        ),
        (".gif", (1,), "GIF holds one transparent color"),
        (".gif", (0, 99), "GIF holds one transparent color"),
        (".tif", (0,), "TIFF holds no transparent colors; write .png, or use --alpha flatten"),
        (".tiff", (254,), "TIFF holds no transparent colors"),
        (".bmp", (0,), "BMP holds no transparent colors"),
    ],
)
def test_alphas_that_the_format_cannot_hold_are_refused(
    suffix: str, alphas: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        see_through(9, *alphas).save(tmp_path / f"out{suffix}")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("k", [9, 300])
def test_pillow_image_has_the_alphas(k: int) -> None:
    picture = see_through(k, 0, 99)
    image = picture.to_image()
    assert image.mode == ("P" if k == 9 else "RGBA")
    assert np.array_equal(np.asarray(image.convert("RGBA")), picture.to_array())


def test_palette_entries_that_no_pixel_uses_are_kept(tmp_path: Path) -> None:
    picture = quantize(np.zeros((3, 5, 3), np.uint8), k=1)
    padded = Indexed(picture.index + 6, Palette(COLORS[:9]), picture.counts, 1, 0)
    for suffix in WITH_PALETTE:
        padded.save(tmp_path / f"out{suffix}")
        with Image.open(tmp_path / f"out{suffix}") as image:
            assert set(np.asarray(image).flat) == {6}
            assert image.getpalette()[:27] == COLORS[:9].ravel().tolist()  # type: ignore[index]


@pytest.mark.parametrize(
    ("k", "depth"),
    [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (255, 8), (256, 8)],
)
def test_png_has_the_smallest_bit_depth_that_holds_k(k: int, depth: int, tmp_path: Path) -> None:
    indexed(k).save(tmp_path / "out.png")
    header = (tmp_path / "out.png").read_bytes()[:26]
    assert header[12:16] == b"IHDR"
    assert (header[24], header[25]) == (depth, 3), "bit depth, and color type 3: a palette"


@pytest.mark.parametrize("suffix", [suffix for suffix in PICTURES if suffix != ".gif"])
def test_more_than_256_colors_are_written_as_true_color(suffix: str, tmp_path: Path) -> None:
    picture = indexed(300)
    assert picture.index.max() == 299
    picture.save(tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), picture.to_array())


def test_more_colors_than_the_format_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"k = 300 is more than the 256 colors of GIF; .*\.png"):
        indexed(300).save(tmp_path / "out.gif")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("k", [1, 256, 257, 300])
def test_npz_holds_the_indices_and_the_palette(k: int, tmp_path: Path) -> None:
    picture = indexed(k)
    assert picture.save(tmp_path / "out.npz") == (tmp_path / "out.npz").stat().st_size
    with np.load(tmp_path / "out.npz") as arrays:
        assert sorted(arrays) == ["index", "palette"]
        assert arrays["index"].dtype == (np.uint8 if k <= 256 else np.uint16)
        assert np.array_equal(arrays["index"], picture.index)
        assert np.array_equal(arrays["palette"], picture.palette.colors)


def test_npz_holds_the_largest_palette_of_all(tmp_path: Path) -> None:
    numbers = np.random.default_rng(7).permutation(1 << 16)
    colors = np.stack([numbers >> 8, numbers & 255, numbers % 251], axis=1).astype(np.uint8)
    picture = quantize(colors.reshape(256, 256, 3), k=1 << 16)
    picture.save(tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        assert np.array_equal(arrays["palette"][arrays["index"]], colors.reshape(256, 256, 3))
        assert int(arrays["index"].max()) == 65_535


@pytest.mark.parametrize(("alphas", "channels"), [((0, 99), 4), ((255,), 3)])
def test_npz_holds_alpha_where_there_is_some(
    alphas: tuple[int, ...], channels: int, tmp_path: Path
) -> None:
    picture = see_through(9, *alphas)
    picture.save(tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        assert np.array_equal(arrays["palette"], picture.palette.colors[:, :channels])


def test_npz_of_a_list_of_colors_is_a_list(tmp_path: Path) -> None:
    quantize(COLORS, k=7).save(tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["index"].shape == (300,)


def test_npz_has_the_same_bytes_at_any_time_and_from_any_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = indexed(300)
    picture.save(tmp_path / "a.npz")
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    monkeypatch.setattr("time.localtime", lambda *_: (2033, 5, 18, 3, 33, 20, 2, 138, 0))
    other = replace(picture, index=np.asfortranarray(picture.index.astype(">u2")))
    other.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_npz_takes_the_level_of_compression(tmp_path: Path) -> None:
    picture = quantize(photo(), k=16, effort="fast")
    sizes = [picture.save(tmp_path / f"{n}.npz", compress_level=n) for n in (0, 1, 9)]
    assert sizes == sorted(set(sizes), reverse=True)
    assert sizes[0] > 61 * 83


@pytest.mark.parametrize(("suffix", "side"), [(".gif", 65_535), (".webp", 16_383)])
def test_sides_that_the_format_cannot_hold_are_refused(
    suffix: str, side: int, tmp_path: Path
) -> None:
    indexed(2, height=1, width=side).save(tmp_path / f"fits{suffix}")
    assert decoded(tmp_path / f"fits{suffix}").shape == (1, side, 3)
    with pytest.raises(UsageError, match=rf"{side + 1} x 1 is more than .*{side} pixels"):
        indexed(2, height=1, width=side + 1).save(tmp_path / f"out{suffix}")
    assert files_in(tmp_path) == [f"fits{suffix}"]


@pytest.mark.parametrize("name", ["out", "out.jpg", "out.", ".png", "out.png.txt"])
def test_unknown_suffix_is_refused_with_those_that_are_known(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"use one of \.png, \.gif"):
        indexed(2).save(tmp_path / name)
    assert files_in(tmp_path) == []


def test_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    indexed(2).save(tmp_path / "OUT.PNG")
    assert decoded(tmp_path / "OUT.PNG").shape == (23, 29, 3)


def test_compress_level_changes_the_size_but_no_pixel(tmp_path: Path) -> None:
    picture = quantize(photo(), k=40, effort="fast")
    sizes = [picture.save(tmp_path / f"{n}.png", compress_level=n) for n in (0, 1, 9)]
    assert sizes == sorted(set(sizes), reverse=True)
    for level in (0, 1, 9):
        assert np.array_equal(decoded(tmp_path / f"{level}.png"), picture.to_array())


@pytest.mark.parametrize("level", [-1, 10])
def test_compress_level_outside_0_to_9_is_refused(level: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"compress_level = {level} is outside 0..9"):
        indexed(2).save(tmp_path / "out.png", compress_level=level)
    assert files_in(tmp_path) == []


def test_existing_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    path.write_text("precious")
    with pytest.raises(OutputError, match="exists; use --force"):
        indexed(2).save(path)
    assert path.read_text() == "precious"
    indexed(2).save(path, force=True)
    assert np.array_equal(decoded(path), indexed(2).to_array())
    assert files_in(tmp_path) == ["out.png"]


def test_longest_file_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".png")
    indexed(2).save(path)
    assert decoded(path).shape == (23, 29, 3)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    indexed(2).save(tmp_path / "out.png")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none/out.png", "no such folder; create it first"),
        ("file/out.png", "is not a folder"),
        ("folder.png", "is a folder; name a file"),
        ("n" * 300 + ".png", "cannot be written"),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_place_where_no_file_can_be_is_named(
    name: str, reason: str, force: bool, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match=reason):
        indexed(2).save(tmp_path / name, force=force)
    assert files_in(tmp_path) == ["file", "folder.png"]


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="permission bits do not bind this user"
)
def test_folder_without_write_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match=r"not writable \(permission denied\)"):
        indexed(2).save(tmp_path / "out.png")
    tmp_path.chmod(0o700)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("failure", "raised", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OutputError, "the disk is full"),
        (OSError(errno.EIO, "Input/output error"), OutputError, r"\(input/output error\)"),
        (PermissionError(errno.EACCES, "Permission denied"), OutputError, "permission denied"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (MemoryError(), MemoryError, None),
    ],
    ids=["disk full", "bad disk", "permission", "Ctrl-C", "memory"],
)
@pytest.mark.parametrize("moment", ["middle", "end"])
def test_failure_while_writing_leaves_everything_as_it_was(
    failure: BaseException,
    raised: type[BaseException],
    message: str | None,
    moment: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def save(image: Image.Image, stream: IO[bytes], *_: Any, **__: Any) -> None:
        stream.write(b"half of it")
        raise failure

    def replace(*_: Any) -> None:
        raise failure

    path = tmp_path / "out.png"
    path.write_text("precious")
    if moment == "middle":
        monkeypatch.setattr(Image.Image, "save", save)
    else:
        monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(raised, match=message):
        indexed(2).save(path, force=True)
    assert path.read_text() == "precious"
    assert files_in(tmp_path) == ["out.png"]


# What a result says


def test_pillow_image_has_the_indices_and_the_palette() -> None:
    picture = indexed(9)
    image = picture.to_image()
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), picture.index)
    assert image.getpalette() == COLORS[:9].ravel().tolist()


def test_pillow_image_of_more_than_256_colors_is_true_color() -> None:
    picture = indexed(300)
    image = picture.to_image()
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), picture.to_array())


def test_list_of_colors_has_one_index_each_and_is_saved_as_a_column(tmp_path: Path) -> None:
    picture = quantize(COLORS.tolist(), k=7)
    assert picture.index.shape == (300,)
    assert picture.to_array().shape == (300, 3)
    picture.save(tmp_path / "out.png")
    assert np.array_equal(decoded(tmp_path / "out.png")[:, 0], picture.to_array())


@pytest.mark.parametrize("k", [1, 6, 40, 300])
def test_error_and_counts_are_those_of_the_pixels(k: int) -> None:
    picture = quantize(photo(), k=k, effort="fast")
    differences = picture.to_array().astype(np.int64) - photo()
    mse = (differences**2).sum() / (61 * 83)
    assert picture.mse == pytest.approx(mse, rel=1e-12)
    assert picture.psnr == pytest.approx(10 * math.log10(255**2 / (differences**2).mean()))
    assert np.array_equal(picture.counts, np.bincount(picture.index.ravel(), minlength=k))
    assert picture.colors_in == len(np.unique(photo().reshape(-1, 3), axis=0))
    assert picture.index.dtype == (np.uint8 if k <= 256 else np.uint16)


def test_lossless_result_has_no_error_and_infinite_psnr() -> None:
    picture = quantize(COLORS[:9], k=9)
    assert (picture.mse, picture.psnr) == (0, math.inf)
    assert np.array_equal(picture.to_array(), COLORS[:9])


def test_png_of_few_colors_is_as_small_as_the_better_strategy_makes_it() -> None:
    rng = np.random.default_rng(0)
    smooth = np.cumsum(rng.random((90, 400)) < 0.05, axis=1).astype(np.uint8) % 16
    pattern = np.tile(rng.integers(0, 16, (10, 40)), (9, 10)).astype(np.uint8)
    palette = np.repeat(np.arange(0, 256, 16, dtype=np.uint8)[:, None], 3, axis=1)
    for index in (smooth, pattern):
        sizes = []
        for strategy in encode.PNG_STRATEGIES:
            stream = io.BytesIO()
            picture = encode.to_picture(index, palette)
            picture.save(stream, "PNG", compress_level=2, compress_type=strategy)
            sizes.append(stream.tell())
        assert sizes[0] != sizes[1]
        assert encode.encode(index, palette, FORMATS[".png"], io.BytesIO(), 2) == min(sizes)
    assert sizes[0] < sizes[1]
