"""The scripts on dithering show and measure what they say, with pngquant and without."""

import sys
from pathlib import Path

import numpy as np
import pytest
from assertions import is_inside
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import banding
import dither_pictures
import dither_sheet
import pngquant

from quantgpu import quantize
from quantgpu.dithering.methods import DITHERS

DRAWN = dither_pictures.PICTURES | dither_pictures.GRADIENTS

SMOOTH = [name for name in DRAWN if name not in ("text", "caption")]


@pytest.fixture
def no_pngquant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def fake_pngquant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program of this name that gives back its input; the file that has its arguments."""
    folder, told = tmp_path / "bin", tmp_path / "told"
    folder.mkdir()
    program = folder / "pngquant"
    program.write_text(f'#!/bin/sh\necho "$@" >> "{told}"\nexec /bin/cat\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return told


def colors_of(picture: NDArray[np.uint8]) -> int:
    return len(np.unique(picture.reshape(-1, 3), axis=0))


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_have_any_size_and_are_the_same_every_time(name: str) -> None:
    for width, height in ((48, 32), (31, 17), (1, 1)):
        picture = DRAWN[name](width, height)
        assert picture.shape == (height, width, 3)
        assert picture.dtype == np.uint8
        assert np.array_equal(picture, DRAWN[name](width, height))


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_have_neither_bands_nor_kinks_of_their_own(name: str) -> None:
    """Neighbors differ by little, and so do their differences; but for the outline of the face."""
    picture = DRAWN[name](512, 384).astype(int)
    inside = picture[:, :120] if name == "face" else picture
    assert colors_of(picture) > 200
    for axis in (0, 1):
        assert abs(np.diff(inside, axis=axis)).max() <= 5
        assert abs(np.diff(inside, 2, axis=axis)).max() <= 2


def test_gray_is_gray() -> None:
    gray = dither_pictures.gray(48, 32)
    assert (gray == gray[..., :1]).all()


def test_text_stays_inside_its_picture() -> None:
    text = dither_pictures.text(192, 128)
    for edge in (text[:4], text[-4:], text[:, :4], text[:, -4:]):
        assert (edge == text[0, 0]).all()
    assert colors_of(text) > 100


def test_a_sheet_has_a_row_for_every_picture_and_k(no_pngquant: None) -> None:
    pictures = {name: draw(24, 16) for name, draw in dither_pictures.PICTURES.items()}
    sheet = np.asarray(dither_sheet.dither_sheet(pictures, [2, 9], ["none"]))
    for picture in pictures.values():
        assert is_inside(picture, sheet)
        for k in (2, 9):
            assert is_inside(quantize(picture, k, dither="none").to_array(), sheet)


def test_a_row_has_a_tile_for_every_method(no_pngquant: None) -> None:
    picture = dither_pictures.face(24, 16)
    tiles = dither_sheet.row("face", picture, 5, list(DITHERS))
    assert [label for label, _ in tiles] == ["face, K = 5", *DITHERS]
    for (_, shown), method in zip(tiles[1:], DITHERS, strict=True):
        assert np.array_equal(shown, quantize(picture, 5, dither=method).to_array())


def test_pngquant_is_one_tile_more_where_it_is_installed(fake_pngquant: Path) -> None:
    picture = dither_pictures.sky(24, 16)
    tiles = dither_sheet.row("sky", picture, 9, ["none"])
    assert [label for label, _ in tiles] == ["sky, K = 9", "none", "pngquant"]
    assert np.array_equal(tiles[-1][1], picture)
    assert fake_pngquant.read_text() == "9 -\n"


def test_a_sheet_is_written_once(
    no_pngquant: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "sheet.png"
    command = [str(output), "-k", "2", "--pictures", "sky,text", "--methods", "none"]
    dither_sheet.main(command)
    with Image.open(output) as sheet:
        assert sheet.size == (2 * 200 + 8, 2 * 156 + 8)
    for refused, complaint in (
        (command, "exists"),
        ([str(tmp_path / "b.png"), "--pictures", "sea"], "'sea' is not one of sky, face"),
        ([str(tmp_path / "b.png"), "--methods", "wild"], "'wild' is not one of"),
        ([str(tmp_path / "b.png"), "-k", "few"], "'few'"),
    ):
        with pytest.raises(SystemExit):
            dither_sheet.main(refused)
        assert complaint in capsys.readouterr().err
    dither_sheet.main([*command, "--force"])


def test_pngquant_gets_k_and_options_and_gives_pixels(fake_pngquant: Path) -> None:
    picture = dither_pictures.sunset(31, 17)
    assert pngquant.has_pngquant()
    assert np.array_equal(pngquant.pngquant(picture, 16, "--nofs"), picture)
    assert fake_pngquant.read_text() == "--nofs 16 -\n"


def test_blurring_keeps_what_is_flat_and_the_sum_of_the_rest() -> None:
    assert banding.blur(np.full((5, 40, 3), 7.0)) == pytest.approx(7)
    picture = np.random.default_rng(0).random((31, 17, 3))
    assert banding.blur(picture).sum(axis=(0, 1)) == pytest.approx(picture.sum(axis=(0, 1)))


def test_blurring_a_dot_gives_the_gaussian() -> None:
    dot = np.zeros((61, 67, 1))
    dot[30, 33] = 1
    y, x = np.mgrid[-30:31, -33:34]
    gaussian = np.exp(-(y**2 + x**2) / (2 * 3.0**2)) / (2 * np.pi * 3.0**2)
    assert banding.blur(dot, 3.0)[..., 0] == pytest.approx(gaussian, abs=2e-6)


def test_dots_vanish_in_the_blur_and_bands_stay() -> None:
    flat = np.full((64, 64, 3), 128, np.uint8)
    dots = flat + 8 * (np.indices((64, 64)).sum(axis=0) % 2).astype(np.uint8)[..., None]
    bands = flat + 8 * (np.arange(64) // 16 % 2).astype(np.uint8)[:, None]
    assert banding.blurred_errors(flat + np.uint8(4), dots)[0] < 0.05
    assert banding.blurred_errors(flat + np.uint8(4), bands)[0] > 2
    assert banding.blurred_errors(bands, bands) == (0, 0)


def test_linear_light_is_what_a_mixture_shines() -> None:
    """Black and white dots shine like 188, though they average to 127.5."""
    dots = np.zeros((64, 64, 3), np.uint8)
    dots[np.indices((64, 64)).sum(axis=0) % 2 == 1] = 255
    srgb, linear = banding.blurred_errors(np.full((64, 64, 3), 188, np.uint8), dots)
    assert srgb == pytest.approx(60.5, abs=0.1)
    assert linear == pytest.approx(255 * (((188 / 255 + 0.055) / 1.055) ** 2.4 - 0.5), abs=0.1)


def test_the_table_of_banding_has_a_row_for_each_method(
    fake_pngquant: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    banding.main(["-k", "4", "--size", "31", "17", "--methods", "all"])
    title, names, _, *rows = capsys.readouterr().out.splitlines()
    assert "3 pixels, K = 4" in title
    assert names.split() == [*dither_pictures.GRADIENTS, "mean"]
    labels = [row[:18].strip() for row in rows]
    assert labels == [*DITHERS, "pngquant", "pngquant --nofs"]
    figures = [[float(figure) for figure in row[18:].split()] for row in rows]
    assert all(figure > 0 for row in figures[:-2] for figure in row)
    assert figures[-2:] == [[0.0] * 8] * 2
    sky = dither_pictures.sky(31, 17)
    error = banding.blurred_errors(sky, quantize(sky, 4, dither="none").to_array())
    assert figures[labels.index("none")][:2] == pytest.approx(error, abs=1e-3)


def test_banding_starts_with_the_default_and_none(
    no_pngquant: None, capsys: pytest.CaptureFixture[str]
) -> None:
    banding.main(["-k", "2", "--size", "8", "5"])
    assert "\nnone " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        banding.main(["--methods", "wild"])
    assert "'wild' is not one of all" in capsys.readouterr().err
