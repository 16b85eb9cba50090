"""What `quantgpu quantize` refuses, what goes wrong, and what is left on disk then."""

from __future__ import annotations

import errno
import io
import os
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_runs import contents
from image_files import encoded, noise
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
from quantgpu.cli.app import EXIT_CODES
from quantgpu.pipeline import convert

pytestmark = pytest.mark.usefixtures("two_pictures")


def test_quiet_still_prints_errors() -> None:
    assert_refused(run("none.png", "--quiet"), 3, "none.png: no such file", contents())


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


def test_one_of_several_that_is_not_good_enough_is_a_failure_like_others() -> None:
    Path("flat.png").write_bytes(encoded(np.full((5, 6, 3), 9, np.uint8), "PNG"))
    ran = run("photo.png", "flat.png", "--min-quality", "mse=0", *IN_HASTE)
    assert ran.code == 5
    assert [line.split(": ")[0] for line in ran.lines] == ["flat-5.png"]


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


def test_lines_of_the_image_library_itself_are_not_shown() -> None:
    tag = struct.pack("<HHI", 277, 3, 1)  # samples per pixel, one short integer
    data = encoded(photo(), "TIFF")
    assert data.count(tag + b"\3\0") == 1
    Path("odd.tif").write_bytes(data.replace(tag + b"\3\0", tag + b"\0\x08"))
    assert_refused(run_process("odd.tif"), 3, "odd.tif: is a TIFF file of samples", contents())


def test_full_disk_is_one_line_and_leaves_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def save(picture: Image.Image, stream: io.BytesIO, *_: Any, **__: Any) -> None:
        stream.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    before = contents()
    monkeypatch.setattr(Image.Image, "save", save)
    ran = run("photo.png", *IN_HASTE)
    assert_refused(ran, 4, "photo-5.png: the disk is full; nothing was written", before)


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


def test_every_exit_code_is_documented() -> None:
    from quantgpu import errors

    kinds: list[type[quantgpu.QuantgpuError]] = [
        errors.QuantgpuError,
        *errors.QuantgpuError.__subclasses__(),
    ]
    codes = {kind.exit_code for kind in kinds} | {errors.SKIPPED, errors.INTERRUPTED}
    assert {int(number) for number in re.findall(r"\d+(?= )", EXIT_CODES)} == codes | {0}
