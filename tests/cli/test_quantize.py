"""The command line: what it prints where, what it leaves on disk, and how it ends."""

from __future__ import annotations

import contextlib
import errno
import inspect
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer
from image_files import encoded, exif, noise
from numpy.typing import NDArray
from pictures import photo
from PIL import Image
from typer.testing import CliRunner

import quantgpu
from quantgpu import api, cli
from quantgpu.cli.app import EXIT_CODES, keys_of
from quantgpu.cli.quantize import quantize as quantize_command
from quantgpu.clustering import coarse_to_fine, seeding
from quantgpu.clustering.target import parse_target
from quantgpu.color import alpha as alpha_module
from quantgpu.color import spaces
from quantgpu.dithering import methods
from quantgpu.io import decode, encode, icc, metadata
from quantgpu.pipeline import convert

DISPLAY_P3 = icc.power_profile(
    2.2, (0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06), gray=False
)

PICTURES = [suffix for suffix in encode.FORMATS if suffix != ".npz"]

IN_HASTE = ["-k", "5", "--effort", "fast"]

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals, devices and terminals")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with photo.png and odd.jpg in it."""
    monkeypatch.chdir(tmp_path)
    Path("photo.png").write_bytes(encoded(photo(), "PNG"))
    Path("odd.jpg").write_bytes(encoded(photo(37, 53, seed=1), "JPEG", exif=exif(6)))
    return tmp_path


class Ran:
    """How a run of the command ended."""

    def __init__(self, code: int | None, stdout: bytes, stderr: bytes) -> None:
        self.code, self.image, self.out, self.err = code, stdout, stdout, stderr.decode()
        self.lines = stdout.decode(errors="replace").splitlines()
        self.complaints = self.err.splitlines()

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.lines}\n{self.complaints}"


QUANTIZE = "quantize", "--device", "cpu"
"""On the CPU, wherever the tests run: elsewhere a line says why no GPU is used."""


def run(*arguments: str, stdin: bytes | None = None) -> Ran:
    """`quantgpu quantize` in this process."""
    result = CliRunner().invoke(cli.app, [*QUANTIZE, *arguments], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout_bytes, result.stderr_bytes)


def start(
    *arguments: str | bytes,
    code: str = "",
    stdin: Any = None,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    env: dict[str, str] | None = None,
    preexec_fn: Callable[[], Any] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `quantgpu quantize` in a process of its own, after `code`."""
    command = [sys.executable, "-c", f"{code}\nfrom quantgpu.__main__ import main; main()"]
    return subprocess.Popen(
        [*command, *QUANTIZE, *arguments],
        stdin=stdin, stdout=stdout, stderr=stderr, env=env, preexec_fn=preexec_fn,
    )  # fmt: skip


def run_process(*arguments: str | bytes, **options: Any) -> Ran:
    """`quantgpu quantize` in a process of its own, run to its end."""
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=60)
    return Ran(process.returncode, out or b"", err)


def contents() -> dict[str, bytes]:
    """All files below the working directory."""
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def decoded(source: Path | str | bytes) -> NDArray[np.uint8]:
    """The colors of the pixels of a file."""
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
        return np.asarray(opened.convert("RGB"))


def assert_refused(ran: Ran, code: int, message: str, before: dict[str, bytes]) -> None:
    """One line on standard error, the exit code, and nothing changed on disk."""
    assert ran.code == code, ran
    assert ran.lines == []
    assert len(ran.complaints) == 1, ran
    assert ran.complaints[0].startswith("quantgpu: error: ")
    assert re.search(message, ran.complaints[0]), ran
    assert contents() == before


# What is written and printed


def test_each_image_gives_a_file_and_one_line_on_standard_output() -> None:
    ran = run("photo.png", "odd.jpg", *IN_HASTE)
    assert (ran.code, ran.complaints) == (0, [])
    assert [line.split(": ")[0] for line in ran.lines] == ["photo-5.png", "odd-5.png"]
    assert np.array_equal(
        decoded("photo-5.png"), quantgpu.quantize(photo(), 5, effort="fast").to_array()
    )
    assert decoded("odd-5.png").shape == (53, 37, 3), "upright"
    assert sorted(contents()) == ["odd-5.png", "odd.jpg", "photo-5.png", "photo.png"]


def test_inputs_are_left_untouched() -> None:
    before = contents()
    run("photo.png", "odd.jpg", *IN_HASTE)
    assert {name: contents()[name] for name in before} == before


def test_k_is_256_when_not_given() -> None:
    assert run("photo.png", "--effort", "fast").code == 0
    assert len(np.unique(decoded("photo-256.png").reshape(-1, 3), axis=0)) == 256


def test_fewer_pixels_than_256_are_no_error_when_k_is_not_given() -> None:
    Path("tiny.png").write_bytes(encoded(noise(3, 5, 3), "PNG"))
    assert run("tiny.png").code == 0
    assert np.array_equal(decoded("tiny-256.png"), noise(3, 5, 3))


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


@pytest.mark.parametrize("threads", ["1", "3"])
def test_bytes_do_not_depend_on_threads(threads: str) -> None:
    run("photo.png", "-o", "all.png", *IN_HASTE)
    run("photo.png", "-o", "some.png", "--threads", threads, *IN_HASTE)
    assert contents()["all.png"] == contents()["some.png"]


def test_seed_chooses_the_draws_of_the_textbook_method() -> None:
    textbook = ["-k", "5", "--init", "random", "--effort", "none"]
    for name, seed in (("a.png", "0"), ("b.png", "0"), ("c.png", "1")):
        run("photo.png", "-o", name, "--seed", seed, *textbook)
    assert contents()["a.png"] == contents()["b.png"] != contents()["c.png"]


def test_json_is_one_object_per_image_and_nothing_else() -> None:
    ran = run("photo.png", "odd.jpg", "--json", *IN_HASTE)
    reports = [json.loads(line) for line in ran.lines]
    assert [report["output"] for report in reports] == ["photo-5.png", "odd-5.png"]
    assert [(report["width"], report["height"]) for report in reports] == [(83, 61), (37, 53)]
    assert ran.complaints == []


@pytest.mark.parametrize("flag", ["--quiet", "-q"])
def test_quiet_prints_nothing_at_all(flag: str) -> None:
    Path("clear.png").write_bytes(encoded(noise(7, 5, 4), "PNG"))
    ran = run("clear.png", flag, *IN_HASTE)
    assert (ran.code, ran.lines, ran.complaints) == (0, [], [])
    assert "clear-5.png" in contents()


def test_quiet_still_prints_errors() -> None:
    assert_refused(run("none.png", "--quiet"), 3, "none.png: no such file", contents())


def test_verbose_says_what_was_decided_on_standard_error() -> None:
    ran = run("photo.png", "--verbose", *IN_HASTE)
    assert len(ran.lines) == len(ran.complaints) == 1
    assert ran.complaints[0].startswith(f"quantgpu {quantgpu.__version__}: k 5, ")
    assert ", effort fast, " in ran.complaints[0]


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


# Several K, targets, and what is not written


def test_several_k_give_a_file_and_a_line_each() -> None:
    ran = run("photo.png", "odd.jpg", "-k", "4,16, 300", "--output-dir", ".", "-o", "x")
    assert ran.code == 2
    ran = run("photo.png", "odd.jpg", "-k", "4,16", "--effort", "fast")
    assert (ran.code, ran.complaints) == (0, [])
    outputs = ["photo-4.png", "photo-16.png", "odd-4.png", "odd-16.png"]
    assert [line.split(": ")[0] for line in ran.lines] == outputs
    both = contents()
    for name, k in (("photo.png", 4), ("photo.png", 16)):
        run(name, "-k", str(k), "--effort", "fast", "-o", "alone.png", "--force")
        assert contents()["alone.png"] == both[f"photo-{k}.png"]


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


def test_time_is_told_once() -> None:
    ran = run("photo.png", "-k", "4,9", "--effort", "fast", "--json")
    first, second = (json.loads(line)["seconds"] for line in ran.lines)
    assert list(first) == ["read", "count", "cluster", "remap", "write"]
    assert list(second) == ["cluster", "remap", "write"]


def test_an_output_that_exists_is_found_out_before_any_of_several_is_written() -> None:
    Path("photo-9.png").write_text("precious")
    before = contents()
    assert_refused(run("photo.png", "-k", "4,9"), 4, "photo-9.png: exists; use --force", before)


def test_what_was_written_before_an_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def save(picture: Image.Image, *arguments: Any, **options: Any) -> None:
        if np.asarray(picture).max() > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(picture, *arguments, **options)

    real = Image.Image.save
    monkeypatch.setattr(Image.Image, "save", save)
    ran = run("photo.png", "-k", "4,9", "--effort", "fast")
    assert ran.code == 4
    assert [line.split(": ")[0] for line in ran.lines] == ["photo-4.png"]
    [complaint] = ran.complaints
    assert complaint.endswith("photo-9.png: the disk is full; nothing was written")
    assert contents().keys() == {"odd.jpg", "photo.png", "photo-4.png"}


@pytest.mark.parametrize("target", ["psnr=30", "mse=190", "de=4.5"])
def test_a_target_names_the_file_and_its_search_is_told(target: str) -> None:
    ran = run("photo.png", "--target", target, "--effort", "fast")
    found = quantgpu.quantize(photo(), target=target, effort="fast")
    output = f"photo-{target.replace('=', '')}.png"
    assert (ran.code, ran.complaints) == (0, [])
    assert np.array_equal(decoded(output), found.to_array())
    assert ran.lines[0].startswith(f"{output}: 83 x 61, ")
    shown = parse_target(target).shown
    tried = ", ".join(f"{k}: {shown(value)}" for k, value in found.curve.items())
    assert f", smallest K for {target} ({tried}), " in ran.lines[0]

    ran = run(
        "photo.png", "--target", f" {target.upper()} ", "--effort", "fast", "--json", "--force"
    )
    report = json.loads(ran.lines[0])
    name = target.partition("=")[0]
    assert report["target"] == target
    assert report["output"] == output
    assert report["curve"] == [{"k": k, name: value} for k, value in found.curve.items()]
    assert report["colors_out"] == len(found.palette)


def test_a_lossless_target_is_null_in_json_and_said() -> None:
    Path("few.png").write_bytes(encoded(np.eye(3, dtype=np.uint8)[[[0, 1], [2, 0]]] * 99, "PNG"))
    ran = run("few.png", "--target", "psnr=90", "--json")
    assert json.loads(ran.lines[0])["curve"][-1] == {"k": 3, "psnr": None}
    line = run("few.png", "--target", "psnr=90", "--force").lines[0]
    assert "3: lossless" in line


def test_without_a_target_json_has_no_curve() -> None:
    report = json.loads(run("photo.png", "--json", *IN_HASTE).lines[0])
    assert (report["target"], report["curve"], report["skipped"]) == (None, [], False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "psnr=60"], "photo.png: psnr=60 is not reached with 256 colors: the best is "
         ".*; raise -k, up to 65536, or ask for less"),
        (["--target", "de=0.1", "-k", "9"], "photo.png: de=0.1 is not reached with 9 colors"),
        (["--min-quality", "psnr=60", "-k", "5"], "photo.png: min_quality psnr=60 is not reached "
         "with 5 colors: it is .* dB"),
        (["--min-quality", "mse=100", "-k", "200,5"], "photo.png: min_quality mse=100 is not .* 5"),
    ],
)  # fmt: skip
def test_what_is_not_good_enough_is_not_written(options: list[str], message: str) -> None:
    assert_refused(run("photo.png", "--effort", "fast", *options), 7, message, contents())


def test_what_is_good_enough_is_written() -> None:
    assert run("photo.png", "--min-quality", "psnr=20", *IN_HASTE).code == 0
    assert "photo-5.png" in contents()


def test_one_of_several_that_is_not_good_enough_is_a_failure_like_others() -> None:
    Path("flat.png").write_bytes(encoded(np.full((5, 6, 3), 9, np.uint8), "PNG"))
    ran = run("photo.png", "flat.png", "--min-quality", "mse=0", *IN_HASTE)
    assert ran.code == 5
    assert [line.split(": ")[0] for line in ran.lines] == ["flat-5.png"]


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


# Pipes


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


@pytest.mark.parametrize(
    ("stdin", "message"),
    [(b"", r"it is empty"), (b"no image", "not an image"), (b"\x89PNG\r\n\x1a\n", "not an image")],
)
def test_standard_input_that_is_no_image_is_refused(stdin: bytes, message: str) -> None:
    assert_refused(run("-", stdin=stdin), 3, f"standard input: .*{message}", contents())


@POSIX
@pytest.mark.parametrize(
    ("descriptor", "code", "message"),
    [(0, 3, "standard input: is closed"), (1, 2, "standard output is closed or a terminal")],
)
def test_closed_stream_is_named(descriptor: int, code: int, message: str) -> None:
    with open("photo.png", "rb") as stdin:
        ran = run_process("-", stdin=stdin, preexec_fn=lambda: os.close(descriptor))
    assert_refused(ran, code, message, contents())


@POSIX
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
@pytest.mark.parametrize("name", ["-", "photo.png"])
def test_full_standard_output_is_one_line_and_exit_code_4(name: str) -> None:
    with open("photo.png", "rb") as stdin, open("/dev/full", "wb") as full:
        ran = run_process(name, *IN_HASTE, stdin=stdin, stdout=full)
    errors = [line for line in ran.complaints if "error" in line]
    assert ran.code == 4
    assert len(ran.complaints) == len(errors) == 1
    assert "standard output: " in errors[0]


# Refusals


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.png"], 3, "none.png: no such file"),
        (["nowhere/none.png"], 3, "nowhere/none.png: no such file"),
        (["photo.png/below.png"], 3, "photo.png/below.png: no such file"),
        (["folder"], 3, "folder: is a folder; name the images in it"),
        (["text.png"], 3, "text.png: not an image"),
        (["empty.png"], 3, r"empty.png: not an image that can be read \(it is empty\)"),
        (["cut.png"], 3, "cut.png: damaged or truncated"),
        (["n" * 300], 3, "not readable"),
        (["photo.png", "--max-pixels", "5062"], 3, "83 x 61 = 5,063 .* --max-pixels 5063"),
        (["photo.png", "-k", "0"], 2, r"k = 0 is outside 1\.\.65536"),
        (["photo.png", "-k", "-1"], 2, r"k = -1 is outside 1\.\.65536"),
        (["photo.png", "-k", "five"], 2, "k = 'five' is not an integer, nor several, such as 4,16"),
        (["photo.png", "-k", "4,"], 2, "k = '4,' is not an integer"),
        (["photo.png", "-k", "4,0"], 2, r"k = 0 is outside 1\.\.65536"),
        (["photo.png", "-k", "4,4"], 2, "k = 4 is given twice"),
        (["photo.png", "-k", "4,300", "-o", "{k}.gif"], 2, "k = 300 is more than the 256 colors"),
        (["tiny.png", "-k", "4,16"], 2, "tiny.png: k = 16 is greater than the number of pixels"),
        (
            ["photo.png", "-k", "4,16", "-o", "a.png"],
            2,
            r"-o a.png is one name for 2 results; put "
            r"\{k\} in it, as in -o out-\{k\}.png, or use --output-dir",
        ),
        (["photo.png", "-k", "4,16", "-o", "-"], 2, "-o - is one name for 2 results"),
        (["-", "-k", "4,16"], 2, "standard output takes one result, not 2; use --output-dir, or"),
        (["photo.png", "odd.jpg", "-k", "4,16", "-o", "{k}.png"], 2, "-o names one file"),
        (["photo.png", "-k", "4,16", "--target", "mse=9"], 2, "target = 'mse=9' finds one K by"),
        (
            ["photo.png", "--target", "ssim=1"],
            2,
            "target = 'ssim=1' is not of the form psnr=38, mse=12 or de=1.5",
        ),
        (["photo.png", "--min-quality", "80"], 2, "min_quality = '80' is not of the form psnr=38"),
        (
            ["photo.png", "--target", "mse=9", "-o", "{k}.png"],
            2,
            r"-o \{k\}.png: K is found by "
            "--target; use a name without",
        ),
        (["photo.png", "--target", "mse=9", "-k", "300", "-o", "a.gif"], 2, "k = 300 is more"),
        (["photo.png", "-k", "65537"], 2, r"k = 65537 is outside 1\.\.65536"),
        (["tiny.png", "-k", "16"], 2, "tiny.png: k = 16 is greater than the number of pixels, 15"),
        (["photo.png", "-k", "257", "-o", "a.gif"], 2, r"k = 257 is .* 256 colors of GIF; .*\.npz"),
        (
            ["wide.png", "-k", "2", "-o", "a.webp"],
            2,
            r"wide.png: 20000 x 2 .* \(16383",
        ),
        (["photo.png", "--effort", "much"], 2, "effort = 'much' is not one of none, fast"),
        (["photo.png", "--init", ""], 2, "init = '' is not one of random"),
        (["photo.png", "--color-space", "x"], 2, "color_space = 'x' is not one of srgb"),
        (["photo.png", "--dither", "x"], 2, "dither = 'x' is not one of none"),
        (["photo.png", "--alpha", "x"], 2, "alpha = 'x' is not one of keep, binary, flatten"),
        (["photo.png", "--icc", "x"], 2, "icc = 'x' is not one of convert, keep, ignore"),
        (["photo.png", "--metadata", "x"], 2, "metadata = 'x' is not one of keep, strip"),
        (["photo.png", "--matte", "x"], 2, "matte = 'x' is no color; use #rgb, #rrggbb or a CSS"),
        (["photo.png", "--seed", "-1"], 2, "seed = -1 is outside"),
        (["photo.png", "--threads", "0"], 2, "threads = 0 is outside"),
        (["photo.png", "-o", "a"], 2, "no format for the suffix"),
        (["photo.png", "-o", "a.jpg"], 2, r"no format for the suffix '.jpg'; use one of \.png"),
        (["photo.png", "-o", ""], 2, "no format for the suffix"),
        (["photo.png", "-o", "photo.png"], 2, "photo.png is an input; originals are never"),
        (["photo.png", "-o", "photo.png", "--force"], 2, "photo.png is an input"),
        (["photo.png", "-o", "./folder/../photo.png", "--force"], 2, "is an input"),
        (["photo.png", "-o", "a.png", "--output-dir", "."], 2, "-o names one file"),
        (["photo.png", "odd.jpg", "-o", "a.png"], 2, "-o names one file; use --output-dir"),
        (["photo.png", "odd.jpg", "--effort", "much"], 2, "effort = 'much'"),
        (["taken.png", "-k", "5"], 4, "taken-5.png: exists; use --force to replace it"),
        (["photo.png", "-o", "nowhere/a.png"], 4, "nowhere: no such folder; create it first"),
        (["photo.png", "--output-dir", "nowhere"], 4, "nowhere: no such folder"),
        (["photo.png", "--output-dir", "text.png"], 4, "text.png: is not a folder"),
        (["photo.png", "-o", "text.png/a.png"], 4, "text.png: is not a folder"),
        (["photo.png", "-o", "folder.png"], 4, "folder.png: is a folder; name a file"),
        (["photo.png", "-o", "folder.png", "--force"], 4, "folder.png: is a folder"),
        (["photo.png", "-o", "n" * 300 + ".png"], 4, "cannot be written"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else "",
)
def test_refusal_is_one_line_and_a_documented_exit_code(
    arguments: list[str], code: int, message: str
) -> None:
    Path("folder").mkdir()
    Path("folder.png").mkdir()
    Path("text.png").write_text("a text")
    Path("empty.png").touch()
    Path("cut.png").write_bytes(contents()["photo.png"][:3000])
    Path("tiny.png").write_bytes(encoded(noise(3, 5, 3), "PNG"))
    Path("wide.png").write_bytes(encoded(noise(2, 20_000, 3), "PNG"))
    Path("taken.png").write_bytes(contents()["photo.png"])
    Path("taken-5.png").write_text("precious")
    before = contents()
    assert_refused(run(*arguments), code, message, before)
    assert f"{code} " in EXIT_CODES


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["photo.png", "--seed", "five"], ["photo.png", "--unknown"], ["-photo.png"],
        ["photo.png", "--compress-level", "10"], ["photo.png", "--max-pixels", "0"],
    ],
)  # fmt: skip
def test_misspelled_command_is_wrong_usage(arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.lines) == (2, [])
    assert "quantgpu quantize" in ran.err


def test_force_replaces_the_output() -> None:
    Path("photo-5.png").write_text("old")
    assert run("photo.png", "--force", *IN_HASTE).code == 0
    assert decoded("photo-5.png").shape == (61, 83, 3)


def test_output_that_is_another_input_is_never_replaced() -> None:
    # photo.png becomes photo-5.png, which stands beside it from an earlier run: `*.png --force`
    Path("photo-5.png").write_bytes(encoded(noise(7, 5, 3), "PNG"))
    before = contents()
    ran = run("photo.png", "photo-5.png", "--force", *IN_HASTE)
    assert ran.code == 5
    assert "photo-5.png is an input; originals are never replaced" in ran.complaints[0]
    assert contents().keys() - before.keys() == {"photo-5-5.png"}
    assert {name: contents()[name] for name in before} == before


@POSIX
@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_output_that_is_a_link_to_the_input_is_refused(link: Any) -> None:
    link("photo.png", "link.png")
    before = contents()
    assert_refused(run("photo.png", "-o", "link.png", "--force"), 2, "is an input", before)


@pytest.mark.parametrize("second", ["sub/photo.png", "sub/../sub/photo.png"])
def test_second_input_with_the_same_output_is_refused_even_by_force(second: str) -> None:
    Path("sub").mkdir()
    Path("sub/photo.png").write_bytes(encoded(noise(7, 5, 3), "PNG"))
    ran = run("photo.png", second, "--output-dir", ".", "--force", *IN_HASTE)
    assert ran.code == 5
    assert f"{second}: photo-5.png is made from photo.png already" in ran.complaints[0]
    assert decoded("photo-5.png").shape == (61, 83, 3)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_one_bad_input_of_several_costs_only_itself(bad: int) -> None:
    Path("text.png").write_text("a text")
    names = ["photo.png", "odd.jpg"]
    names.insert(bad, "text.png")
    ran = run(*names, *IN_HASTE)
    assert ran.code == 5
    assert [line.split(": ")[0] for line in ran.lines] == ["photo-5.png", "odd-5.png"]
    assert len(ran.complaints) == 2
    assert "text.png: not an image" in ran.complaints[0]
    assert ran.complaints[1] == "quantgpu: error: 1 of 3 inputs failed"


def test_memory_that_runs_out_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(convert, "count_colors", count)
    assert_refused(run("photo.png"), 1, "not enough memory", contents())


# Names


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


# Failures and interruptions while at work


def test_lines_of_the_image_library_itself_are_not_shown() -> None:
    tag = struct.pack("<HHI", 277, 3, 1)  # samples per pixel, one short integer
    data = encoded(photo(), "TIFF")
    assert data.count(tag + b"\3\0") == 1
    Path("odd.tif").write_bytes(data.replace(tag + b"\3\0", tag + b"\0\x08"))
    assert_refused(run_process("odd.tif"), 3, "odd.tif: not an image", contents())


def test_full_disk_is_one_line_and_leaves_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def save(picture: Image.Image, stream: io.BytesIO, *_: Any, **__: Any) -> None:
        stream.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    before = contents()
    monkeypatch.setattr(Image.Image, "save", save)
    ran = run("photo.png", *IN_HASTE)
    assert_refused(ran, 4, "photo-5.png: the disk is full; nothing was written", before)


@pytest.mark.parametrize("stage", ["read", "count", "cluster", "remap", "write"])
def test_interruption_at_any_stage_ends_with_130_and_leaves_no_file(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    before = contents()
    doing = {
        "read": "quantgpu.io.decode.read_image",
        "count": "quantgpu.pipeline.convert.count_colors",
        "cluster": "quantgpu.clustering.cluster.round_to_palette",
        "remap": "quantgpu.pipeline.convert.mapper_for",
        "write": "PIL.Image.Image.save",
    }
    monkeypatch.setattr(doing[stage], interrupt)
    ran = run("photo.png", "odd.jpg", *IN_HASTE)
    assert (ran.code, ran.lines) == (130, [])
    assert ran.complaints == ["quantgpu: interrupted; files at work were not written"]
    assert contents() == before


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_work_with_130_and_leaves_no_file(number: signal.Signals) -> None:
    Path("large.png").write_bytes(encoded(noise(1500, 1400, 3), "PNG", compress_level=0))
    before = contents()

    def heard() -> None:  # jobs in the background begin with deaf ears for Ctrl-C
        signal.signal(number, signal.SIG_DFL)

    process = start("large.png", "--effort", "best", "--verbose", preexec_fn=heard)
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"quantgpu ")  # the work begins
    time.sleep(0.1)
    process.send_signal(number)
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 130
    assert complaint == b"quantgpu: interrupted; files at work were not written\n"
    assert contents() == before


# Terminals


def on_terminal(*arguments: str, patience: float, stdout: bool = False) -> Ran:
    """`quantgpu quantize` with its standard error, and maybe output, on a terminal.

    What is shown there is in `err`.
    """
    import pty

    terminal, end = pty.openpty()
    with open("photo.png", "rb") as stdin, open(end, "wb") as shown:
        process = start(
            *arguments,
            code=f"from quantgpu.cli import progress_bar; progress_bar.PATIENCE = {patience}",
            stdin=stdin,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
            stdout=shown if stdout else subprocess.PIPE,
            stderr=shown,
        )
    received = b""
    with open(terminal, "rb", buffering=0) as screen, contextlib.suppress(OSError):
        while data := screen.read(65_536):  # at the end Linux raises, others return nothing
            received += data
    out, _ = process.communicate(timeout=60)
    return Ran(process.returncode, out or b"", received)


@POSIX
def test_work_longer_than_the_patience_shows_a_bar_that_vanishes() -> None:
    ran = on_terminal("photo.png", *IN_HASTE, patience=0)
    assert (ran.code, len(ran.lines)) == (0, 1)
    assert "photo.png" in ran.err
    assert "━" in ran.err
    assert ran.err.rstrip("\r\n").endswith("\x1b[2K"), "the last that is done is to clear the line"


@POSIX
@pytest.mark.parametrize(("options", "patience"), [([], 60), (["--quiet"], 0), (["--json"], 0)])
def test_short_quiet_and_json_runs_show_no_bar(options: list[str], patience: float) -> None:
    ran = on_terminal("photo.png", *IN_HASTE, *options, patience=patience)
    assert (ran.code, ran.err) == (0, "")


def test_no_bar_is_shown_where_standard_error_is_no_terminal() -> None:
    ran = run_process(
        "photo.png",
        *IN_HASTE,
        code="from quantgpu.cli import progress_bar; progress_bar.PATIENCE = 0",
    )
    assert (ran.code, len(ran.lines), ran.complaints) == (0, 1, [])


@POSIX
def test_image_is_not_written_to_a_terminal() -> None:
    ran = on_terminal("-", patience=60, stdout=True)
    assert ran.code == 2
    assert len(ran.complaints) == 1
    assert "name a file with -o FILE" in ran.err


# Help, version and imports


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["quantize", "--help"], ["-h"]], ids=" ".join
)
def test_help_and_version_import_no_array_library(arguments: list[str]) -> None:
    code = (
        "import atexit, sys\n"
        "names = 'numpy', 'PIL', 'cupy', 'quantgpu.pipeline.convert'\n"
        "atexit.register(lambda: print([n for n in names if n in sys.modules], file=sys.stderr))\n"
        "from quantgpu.__main__ import main; main()"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert done.stdout
    assert done.stderr.decode().split() == ["[]"]


def test_import_of_the_package_imports_no_array_library() -> None:
    code = "import sys, quantgpu; print({'numpy', 'PIL', 'cupy', 'typer'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], timeout=60) == b"set()\n"


def test_version_is_the_packages_by_every_way() -> None:
    command = [sys.executable, "-m", "quantgpu", "--version"]
    expected = f"quantgpu {quantgpu.__version__}\n"
    assert subprocess.check_output(command, timeout=60).decode() == expected
    assert CliRunner().invoke(cli.app, ["--version"]).stdout == expected


@pytest.mark.parametrize(
    ("option", "table", "module"),
    [
        ("effort", "EFFORTS", coarse_to_fine),
        ("init", "SEEDINGS", seeding),
        ("color_space", "COLOR_SPACES", spaces),
        ("dither", "DITHERS", methods),
        ("alpha", "ALPHAS", alpha_module),
        ("icc", "ICCS", icc),
        ("metadata", "METADATA", metadata),
    ],
)
def test_help_and_completion_offer_the_rows_of_the_table(
    option: str, table: str, module: ModuleType
) -> None:
    keys = list(getattr(module, table))
    parameters = typer.main.get_command(cli.app).commands["quantize"].params  # type: ignore[attr-defined]
    (text,) = (parameter.help for parameter in parameters if parameter.name == option)
    named = text.partition(": ")[2].partition(".")[0].split(", ")
    assert named == keys
    complete = keys_of(table, module.__name__.removeprefix("quantgpu."))
    assert complete("") == keys
    assert complete(keys[-1][:1]) == [key for key in keys if key[0] == keys[-1][0]]


def test_kept_colors_flat_colors_and_grays_come_out_as_they_are() -> None:
    assert run("photo.png", "-k", "6", "--keep", "#0000fe,lime").code == 0
    found = {tuple(color) for color in np.asarray(Image.open("photo-6.png").convert("RGB"))[0]}
    palette = Image.open("photo-6.png").getpalette() or []
    entries = {tuple(palette[i : i + 3]) for i in range(0, len(palette), 3)}
    assert {(0, 0, 254), (0, 255, 0)} <= entries
    assert found <= entries
    assert run("photo.png", "-k", "2", "--snap", "0.02", "--lock-grays", "--force").code == 0
    assert np.asarray(Image.open("photo-2.png").convert("RGB"))[25, 3].tolist() == [250, 20, 3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--keep", "#00f,#0f0,#f00"], "3 colors to keep are more than k = 2"),
        (["--keep", "nocolor"], "keep = 'nocolor' is no color; use #rgb"),
        (["--keep", "photo.png"], "4850 colors to keep are more than k = 2"),
        (["--snap", "1.5"], "snap = 1.5 is not a share above 0, up to 1"),
    ],
)
def test_colors_that_cannot_be_kept_are_refused(arguments: list[str], said: str) -> None:
    ran = run("photo.png", "-k", "2", *arguments)
    assert ran.code in (2, 3)
    assert said in ran.err
    assert not Path("photo-2.png").exists()


@pytest.mark.parametrize("suffix", [".gif", ".bmp"])
def test_kept_colors_that_the_format_cannot_hold_are_refused(suffix: str) -> None:
    ran = run("photo.png", "-k", "4", "--keep", "#ff000080", "-o", f"a{suffix}")
    assert ran.code == 2
    assert ran.err.startswith("quantgpu: error: photo.png: ")
    assert "and no such colors with --keep or --palette" in ran.err
    assert not Path(f"a{suffix}").exists()


def test_colors_that_only_look_alike_are_not_called_lossless() -> None:
    colors = [(level, 0, 0, 1) for level in range(9)]
    Image.fromarray(np.array([colors], np.uint8)).save("faint.png")
    assert b"9 colors -> 2, no error to be seen, " in run("faint.png", "-k", "2").out
    assert b"9 colors -> 9, lossless, " in run("faint.png", "-k", "9").out


def test_a_mask_and_salience_choose_other_colors() -> None:
    mask = np.zeros(photo().shape[:2], np.uint8)
    mask[:30] = 255
    Image.fromarray(mask).save("mask.png")
    found = {
        tuple(decoded_after(*options).reshape(-1, 3).max(axis=0))
        for options in ([], ["--weights", "mask.png"], ["--salient"])
    }
    assert len(found) == 3
    same = quantgpu.quantize("photo.png", 5, weights=mask, effort="fast", device="cpu")
    np.testing.assert_array_equal(decoded_after("--weights", "mask.png"), same.to_array())


def decoded_after(*options: str) -> NDArray[np.uint8]:
    """The pixels of photo-5.png made with options."""
    assert run("photo.png", *IN_HASTE, "--force", *options).code == 0
    return decoded("photo-5.png")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--weights", "odd.jpg"], 2, "weights for 37 x 53 pixels, but the image has 83 x 61"),
        (["--weights", "none.png"], 3, "none.png: no such file"),
        (["--weights", "text.png"], 3, "text.png: not an image"),
        (["--weights", "photo.png", "--effort", "none"], 2, "with weights use 'fast'"),
        (["--salient", "--effort", "none"], 2, "with salient use 'fast'"),
        (["--weights", "photo.png", "--max-pixels", "99"], 3, "photo.png: 5,063 pixels are more"),
        (["--weights", "photo.png", "-o", "mask.png", "--weights", "mask.png", "--force"], 2,
         "mask.png is an input; originals are never replaced"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_used_are_refused(
    arguments: list[str], code: int, said: str
) -> None:
    Path("text.png").write_text("no picture")
    Image.fromarray(photo()).save("mask.png")
    before = contents()
    assert_refused(run("photo.png", "-k", "2", *arguments), code, re.escape(said), before)


def test_one_mask_serves_all_inputs_of_its_size_and_no_other() -> None:
    Path("second.png").write_bytes(encoded(photo(seed=3), "PNG"))
    ran = run("photo.png", "odd.jpg", "second.png", *IN_HASTE, "--weights", "photo.png")
    assert ran.code == 5
    assert [line.split(":")[0] for line in ran.lines] == ["photo-5.png", "second-5.png"]
    assert "odd.jpg: weights for 83 x 61 pixels, but the image has 37 x 53" in ran.err


def test_defaults_are_those_of_the_library() -> None:
    doors = [inspect.signature(door).parameters for door in (quantize_command, api.quantize)]
    options, keywords = ({name: door[name].default for name in door} for door in doors)
    shared = keywords.keys() & options.keys()
    assert shared == keywords.keys() - {"image", "progress", "keep_on_device"}
    assert {name: options[name] for name in shared} == {name: keywords[name] for name in shared}
    assert options["max_pixels"] == decode.MAX_PIXELS
    assert options["compress_level"] == encode.COMPRESS_LEVEL


def test_every_exit_code_is_documented() -> None:
    from quantgpu import errors

    kinds: list[type[quantgpu.QuantgpuError]] = [
        errors.QuantgpuError,
        *errors.QuantgpuError.__subclasses__(),
    ]
    codes = {kind.exit_code for kind in kinds} | {errors.SKIPPED, errors.INTERRUPTED}
    assert {int(number) for number in re.findall(r"\d+(?= )", EXIT_CODES)} == codes | {0}
