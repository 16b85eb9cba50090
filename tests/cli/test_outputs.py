"""The files of `quantgpu quantize`: formats, names, pipes, and what they hold."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from command_runs import contents
from image_files import encoded, exif, noise
from numpy.typing import NDArray
from pictures import photo
from PIL import Image
from quantize_runs import (
    IN_HASTE,
    POSIX,
    assert_refused,
    decoded,
    run,
    run_process,
)

import quantgpu
from quantgpu.io import encode, icc

pytestmark = pytest.mark.usefixtures("two_pictures")

DISPLAY_P3 = icc.power_profile(
    2.2, (0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06), gray=False
)

PICTURES = [suffix for suffix in encode.FORMATS if suffix != ".npz"]


@pytest.mark.parametrize("suffix", PICTURES)
def test_suffix_of_the_output_chooses_the_format(suffix: str) -> None:
    assert run("photo.png", "-o", f"out{suffix}", *IN_HASTE).code == 0
    with Image.open(f"out{suffix}") as opened:
        assert opened.format == encode.FORMATS[suffix].name


@pytest.mark.parametrize("suffix", [suffix for suffix in PICTURES if suffix != ".gif"])
def test_more_than_256_colors_are_true_color_and_that_is_said(suffix: str) -> None:
    ran = run("photo.png", "-k", "300", "--effort", "fast", "-o", f"out{suffix}")
    assert len(np.unique(decoded(f"out{suffix}").reshape(-1, 3), axis=0)) == 300
    name = encode.FORMATS[suffix].name
    note = (
        f"300 colors are written as true color, as palettes of {name} hold 256; .npz keeps indices"
    )
    assert ran.complaints == (
        [] if suffix == ".webp" else [f"quantgpu: warning: photo.png: {note}"]
    )


def test_npz_holds_what_the_library_finds() -> None:
    ran = run("photo.png", "-k", "300", "--effort", "fast", "-o", "out.npz")
    assert (ran.code, ran.complaints) == (0, [])
    expected = quantgpu.quantize(photo(), 300, effort="fast")
    with np.load("out.npz") as arrays:
        assert np.array_equal(arrays["index"], expected.index)
        assert np.array_equal(arrays["palette"], expected.palette.colors)


def test_output_dir_takes_all_results() -> None:
    Path("out").mkdir()
    assert run("photo.png", "odd.jpg", "--output-dir", "out", *IN_HASTE).code == 0
    assert sorted(contents()) == ["odd.jpg", "out/odd-5.png", "out/photo-5.png", "photo.png"]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_was_changed_on_reading_is_one_warning_each(options: list[str]) -> None:
    frames = [Image.fromarray(noise(7, 5, 4, seed=seed)) for seed in (0, 1)]
    Path("film.png").write_bytes(encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]))
    ran = run("film.png", *options, "--alpha", "flatten", *IN_HASTE)
    assert ran.code == 0
    assert ran.complaints == [
        "quantgpu: warning: film.png: first of 2 frames",
        "quantgpu: warning: film.png: transparent pixels laid on #ffffff",
    ]


@pytest.mark.parametrize(("matte", "color"), [("#0a14c8", (10, 20, 200)), ("navy", (0, 0, 128))])
def test_matte_is_what_transparent_pixels_are_laid_on(
    matte: str, color: tuple[int, int, int]
) -> None:
    Path("clear.png").write_bytes(encoded(np.zeros((3, 5, 4), np.uint8), "PNG"))
    ran = run("clear.png", "--matte", matte, "--alpha", "flatten")
    assert (decoded("clear-256.png") == color).all()
    shown = "#{:02x}{:02x}{:02x}".format(*color)
    assert ran.complaints == [
        f"quantgpu: warning: clear.png: transparent pixels laid on {shown}",
    ]


def test_profiles_and_metadata_go_where_the_format_holds_them() -> None:
    Path("wide.jpg").write_bytes(
        encoded(photo(), "JPEG", icc_profile=DISPLAY_P3, exif=exif(6), xmp=b"<x/>", dpi=(300, 300))
    )
    for way, profile in (("convert", None), ("keep", DISPLAY_P3), ("ignore", None)):
        ran = run("wide.jpg", "-o", f"{way}.png", "--icc", way, *IN_HASTE)
        warning = "wide.jpg: colors converted from gamma 2.2 with primaries of its own to sRGB"
        assert ran.complaints == ([f"quantgpu: warning: {warning}"] if way == "convert" else [])
        with Image.open(f"{way}.png") as opened:
            assert opened.info.get("icc_profile") == profile
            assert opened.info["xmp"] == b"<x/>"
            assert opened.info["dpi"] == pytest.approx((300, 300), rel=1e-3)
            assert opened.getexif()[0x0112] == 1
            assert opened.size == (61, 83)
    assert contents()["convert.png"] != contents()["ignore.png"]
    assert run("wide.jpg", "-o", "bare.png", "--metadata", "strip", *IN_HASTE).code == 0
    with Image.open("bare.png") as opened:
        assert not {"exif", "xmp", "dpi", "icc_profile"} & set(opened.info)


@pytest.mark.parametrize("way", ["keep", "ignore"])
def test_levels_are_those_of_the_file_unless_converted(way: str) -> None:
    Path("wide.png").write_bytes(encoded(photo(), "PNG", icc_profile=DISPLAY_P3))
    assert run("wide.png", "--icc", way, *IN_HASTE).code == 0
    expected = quantgpu.quantize(photo(), 5, effort="fast").to_array()
    assert np.array_equal(decoded("wide-5.png"), expected)


def test_what_the_format_cannot_hold_is_said_once_each() -> None:
    data = encoded(photo(), "JPEG", icc_profile=DISPLAY_P3, exif=exif(6), xmp=b"<x/>")
    Path("wide.jpg").write_bytes(data)
    ran = run("wide.jpg", "-o", "out.gif", "--icc", "keep", *IN_HASTE)
    assert ran.complaints == [
        f"quantgpu: warning: wide.jpg: {note}"
        for note in (
            "colors converted from gamma 2.2 with primaries of its own to sRGB",
            "GIF holds no color profile",
            "GIF holds no EXIF or XMP data",
        )
    ]
    ran = run("wide.jpg", "-o", "out.bmp", "--icc", "keep", "--metadata", "strip", *IN_HASTE)
    assert len(ran.complaints) == 2
    assert run("photo.png", "-o", "plain.gif", "--icc", "keep", *IN_HASTE).complaints == []


TRANSPARENT = np.dstack([photo(13, 11), noise(13, 11, seed=2)])
"""With every alpha, 0 and 255 among them."""
TRANSPARENT[0, :4, 3] = 0, 0, 255, 254


def decoded_alpha(source: str) -> NDArray[np.uint8]:
    """The alphas of a file."""
    with Image.open(source) as opened:
        return np.asarray(opened.convert("RGBA").getchannel("A"))


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_transparency_is_kept_where_the_format_holds_it(suffix: str) -> None:
    Path("clear.png").write_bytes(encoded(TRANSPARENT, "PNG"))
    ran = run("clear.png", "-k", "9", "-o", f"out{suffix}")
    assert ran.complaints == []
    alpha = decoded_alpha(f"out{suffix}")
    assert len(np.unique(alpha)) > 3
    assert (alpha[TRANSPARENT[..., 3] == 0] == 0).all()
    assert (alpha[TRANSPARENT[..., 3] == 255] == 255).all()


@pytest.mark.parametrize(
    ("suffix", "way", "note", "reason"),
    [
        (".gif", "binary", "partly transparent pixels become opaque or fully transparent",
         "GIF holds fully transparent colors only"),
        (".tif", "flatten", "transparent pixels laid on #ffffff",
         "TIFF holds no transparent colors"),
        (".bmp", "flatten", "transparent pixels laid on #ffffff",
         "BMP holds no transparent colors"),
    ],
)  # fmt: skip
def test_formats_that_hold_less_take_less_and_say_so(
    suffix: str, way: str, note: str, reason: str
) -> None:
    Path("clear.png").write_bytes(encoded(TRANSPARENT, "PNG"))
    ran = run("clear.png", "-k", "9", "-o", f"out{suffix}")
    complaints = [f"quantgpu: warning: clear.png: {text}" for text in (note, reason)]
    assert ran.complaints == complaints
    asked = run("clear.png", "-k", "9", "-o", f"asked{suffix}", "--alpha", way)
    assert asked.complaints == complaints[:1], "what was asked for needs no reason"
    assert contents()[f"asked{suffix}"] == contents()[f"out{suffix}"]
    expected = np.where(TRANSPARENT[..., 3] >= 128, 255, 0) if way == "binary" else 255
    assert (decoded_alpha(f"out{suffix}") == expected).all()


@pytest.mark.parametrize("suffix", encode.FORMATS)
def test_opaque_alpha_is_no_news_in_any_format(suffix: str) -> None:
    pixels = np.dstack([photo(13, 11), np.full((13, 11), 255, np.uint8)])
    Path("opaque.png").write_bytes(encoded(pixels, "PNG"))
    assert run("opaque.png", "-k", "9", "-o", f"out{suffix}").complaints == []


def test_matte_that_has_no_effect_is_mentioned() -> None:
    Path("clear.png").write_bytes(encoded(TRANSPARENT, "PNG"))
    ran = run("clear.png", "-k", "9", "--matte", "navy")
    assert ran.complaints == [
        "quantgpu: warning: clear.png: --matte has no effect with --alpha keep; use binary or "
        "flatten"
    ]
    assert run("clear.png", "-k", "9", "--matte", "navy", "-o", "out.tif").complaints == [
        "quantgpu: warning: clear.png: transparent pixels laid on #000080",
        "quantgpu: warning: clear.png: TIFF holds no transparent colors",
    ]
    assert run("photo.png", "--matte", "navy", "-o", "photo.gif", *IN_HASTE).complaints == []


def test_k_in_braces_becomes_k() -> None:
    Path("out").mkdir()
    ran = run("photo.png", "-k", "4,9,300", "--effort", "fast", "-o", "out/k{k}-{k}.webp")
    assert ran.code == 0
    assert {name for name in contents() if "out" in name} == {
        "out/k4-4.webp",
        "out/k9-9.webp",
        "out/k300-300.webp",
    }
    assert run("photo.png", "-o", "{k}.png", *IN_HASTE).code == 0
    assert "5.png" in contents()


@pytest.mark.parametrize("options", [[], ["--json"], ["--quiet"]])
def test_what_would_be_larger_is_not_written(options: list[str]) -> None:
    before = contents()
    ran = run("odd.jpg", "--skip-if-larger", "-k", "250", "--compress-level", "0", *options)
    assert (ran.code, ran.complaints) == (8, [])
    assert contents() == before
    if options == ["--json"]:
        report = json.loads(ran.lines[0])
        assert report["skipped"]
        assert report["bytes_out"] > report["bytes_in"] == len(before["odd.jpg"])
    elif not options:
        [line] = ran.lines
        assert line.startswith("odd-250.png: not written, as it would be larger than odd.jpg: ")
    else:
        assert ran.lines == []


def test_what_is_not_larger_is_written_all_the_same() -> None:
    plain = run("photo.png", "-o", "plain.png", *IN_HASTE)
    ran = run("photo.png", "-o", "other.png", "--skip-if-larger", *IN_HASTE)
    assert (plain.code, ran.code) == (0, 0)
    assert contents()["plain.png"] == contents()["other.png"]
    same = run("plain.png", "-o", "same.png", "--skip-if-larger", *IN_HASTE)
    assert (same.code, contents()["same.png"]) == (0, contents()["plain.png"]), "of equal size"


def test_an_output_that_exists_survives_a_larger_one() -> None:
    Path("odd-250.png").write_text("precious")
    ran = run("odd.jpg", "-k", "250", "--compress-level", "0", "--skip-if-larger", "--force")
    assert ran.code == 8
    assert contents()["odd-250.png"] == b"precious"


def test_one_of_several_that_is_skipped_is_no_failure_but_told() -> None:
    options = ["-k", "250", "--compress-level", "0", "--skip-if-larger"]
    ran = run("odd.jpg", "photo.png", *options)
    assert (ran.code, ran.complaints) == (8, [])
    assert ["not written" in line for line in ran.lines] == [True, False]
    Path("text.png").write_text("a text")
    assert run("odd.jpg", "text.png", *options).code == 5


def test_standard_output_stays_empty_where_the_result_is_skipped() -> None:
    jpeg = contents()["odd.jpg"]
    options = ["-k", "250", "--compress-level", "0", "--skip-if-larger"]
    ran = run("-", *options, stdin=jpeg)
    assert (ran.code, ran.image) == (8, b"")
    assert "not written" in ran.complaints[0]
    ran = run("-", *IN_HASTE, "--skip-if-larger", stdin=contents()["photo.png"])
    assert (ran.code, decoded(ran.image).shape) == (0, (61, 83, 3))


def test_pipe_carries_the_image_and_nothing_else() -> None:
    run("photo.png", *IN_HASTE)
    with open("photo.png", "rb") as stdin:
        ran = run_process("-", *IN_HASTE, stdin=stdin)
    assert ran.code == 0
    assert ran.image == contents()["photo-5.png"]
    assert [line.split(": ")[0] for line in ran.complaints] == ["-"]


def test_file_can_go_to_standard_output_and_standard_input_to_a_file() -> None:
    run("photo.png", *IN_HASTE)
    assert run("photo.png", "-o", "-", *IN_HASTE).image == contents()["photo-5.png"]
    assert run("-", "-o", "piped.png", *IN_HASTE, stdin=contents()["photo.png"]).code == 0
    assert contents()["piped.png"] == contents()["photo-5.png"]


def test_standard_input_goes_to_a_folder_as_stdin_k() -> None:
    assert run("-", "--output-dir", ".", *IN_HASTE, stdin=contents()["photo.png"]).code == 0
    assert decoded("stdin-5.png").shape == (61, 83, 3)


def test_json_goes_to_standard_error_when_the_image_takes_standard_output() -> None:
    ran = run("-", "--json", *IN_HASTE, stdin=contents()["photo.png"])
    assert decoded(ran.image).shape == (61, 83, 3)
    assert json.loads(ran.err)["bytes_out"] == len(ran.image)


def test_force_replaces_the_output() -> None:
    Path("photo-5.png").write_text("old")
    assert run("photo.png", "--force", *IN_HASTE).code == 0
    assert decoded("photo-5.png").shape == (61, 83, 3)


@pytest.mark.parametrize("name", ["größer als 日本.png", "two  spaces.png", "a.b.png", "[x].png"])
def test_names_are_taken_as_they_are(name: str) -> None:
    Path("photo.png").rename(name)
    ran = run(name, *IN_HASTE)
    assert ran.code == 0
    assert ran.lines[0].startswith(f"{name[:-4]}-5.png: ")
    assert f"{name[:-4]}-5.png" in contents()


@pytest.mark.parametrize("arguments", [["--", "-photo.png"], ["./-photo.png"]])
def test_name_may_begin_with_a_dash(arguments: list[str]) -> None:
    Path("photo.png").rename("-photo.png")
    assert run(*IN_HASTE, *arguments).code == 0
    assert decoded("-photo-5.png").shape == (61, 83, 3)


@POSIX
def test_line_feed_in_a_name_is_printed_in_one_line() -> None:
    Path("photo.png").rename("two\nlines.png")
    ran = run("two\nlines.png", *IN_HASTE)
    assert (ran.code, len(ran.lines)) == (0, 1)
    assert ran.lines[0].startswith(r"two\nlines-5.png: ")
    assert_refused(run("no\nfile"), 3, r"no\\nfile: no such file", contents())


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_name_that_the_terminal_cannot_show_is_escaped(encoding: str) -> None:
    name = "größer".encode() + b"\xff.png"
    os.rename("photo.png", name)
    environment = {**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"}
    ran = run_process(name, *IN_HASTE, env=environment)
    assert (ran.code, ran.complaints, len(ran.lines)) == (0, [], 1)
    assert r"\udcff-5.png: 83 x 61" in ran.lines[0]
