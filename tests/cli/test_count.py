"""`quantgpu count`, and `quantgpu palette` with what it wrote."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
from command_runs import Ran, contents
from image_files import encoded
from pictures import photo, soft_photo
from PIL import Image

from quantgpu.cli import count as cli_count
from quantgpu.cli.quantize import quantize as quantize_command
from quantgpu.io.histogram_files import read_histogram
from quantgpu.io.palette_files import read_palette

FEW = ["-k", "5", "--effort", "fast"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with three pictures, the last of which is soft."""
    monkeypatch.chdir(tmp_path)
    Path("first.png").write_bytes(encoded(photo(), "PNG"))
    Path("second.jpg").write_bytes(encoded(photo(37, 53, seed=1), "JPEG"))
    Path("soft.png").write_bytes(encoded(soft_photo(), "PNG"))
    Image.new("L", (83, 61), 50).save("mask.png")
    return tmp_path


def assert_refused(code: int, message: str, *arguments: str) -> None:
    """One line on standard error, the exit code, and nothing changed on disk."""
    before = contents()
    ran = Ran(*arguments)
    assert (ran.code, ran.lines) == (code, []), ran
    assert len(ran.err.splitlines()) == 1, ran
    assert re.search(message, ran.err), ran
    assert contents() == before


def counted(*arguments: str) -> bytes:
    """The file that is counted from images and with options."""
    ran = Ran("count", *arguments, "-o", "made.qhist", "--force", "--quiet")
    assert (ran.code, ran.lines, ran.err) == (0, [], "")
    return Path("made.qhist").read_bytes()


# count


def test_a_line_says_what_the_file_holds() -> None:
    ran = Ran("count", "first.png", "second.jpg", "-o", "both.qhist")
    assert (ran.code, ran.err) == (0, "")
    size = len(Path("both.qhist").read_bytes())
    found = read_histogram("both.qhist").histogram
    assert found.pixels == 83 * 61 + 37 * 53
    assert ran.lines == [f"both.qhist: {len(found):,} colors of 7,024 pixels, {size / 1e3:.3g} kB"]


def test_json_is_one_object() -> None:
    counted("second.jpg")
    ran = Ran("count", "first.png", "--histogram", "made.qhist", "-o", "all.qhist", "--json")
    said = json.loads("\n".join(ran.lines))
    assert said == {
        "inputs": ["first.png"], "histograms": ["made.qhist"], "output": "all.qhist",
        "pixels": 7024, "colors": len(read_histogram("all.qhist").histogram),
        "bytes_out": len(Path("all.qhist").read_bytes()), "notes": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        *([], ["--no-perceptual"], ["--weights", "mask.png"], ["--alpha", "flatten"]),
        ["--alpha", "binary", "--matte", "red"],
    ],
)
def test_parts_that_are_added_are_the_whole_byte_for_byte(options: list[str]) -> None:
    whole = counted("first.png", "soft.png", *options)
    Path("a.qhist").write_bytes(counted("first.png", *options))
    Path("b.qhist").write_bytes(counted("soft.png", *options))
    more = [option for option in options if option == "--no-perceptual"]
    assert counted("--histogram", "a.qhist", "--histogram", "b.qhist", *more) == whole
    assert counted("soft.png", "--histogram", "a.qhist", *options) == whole
    assert counted("first.png", "soft.png", *options, "--jobs", "2", "--threads", "5") == whole


def test_any_split_of_a_picture_adds_up_without_perceptual_weights() -> None:
    for name, part in (("top.png", photo()[:20]), ("bottom.png", photo()[20:])):
        Path(name).write_bytes(encoded(part, "PNG"))
    names = "top.png", "bottom.png"
    assert counted(*names, "--no-perceptual") == counted("first.png", "--no-perceptual")
    assert counted(*names) != counted("first.png"), "weights look at neighbors"


def test_standard_input_is_counted() -> None:
    Ran("count", "-", "-o", "piped.qhist", stdin=Path("first.png").read_bytes())
    assert Path("piped.qhist").read_bytes() == counted("first.png")


def test_what_is_left_out_of_an_image_is_said() -> None:
    ran = Ran("count", "soft.png", "--alpha", "flatten", "-o", "flat.qhist")
    assert ran.err == "quantgpu: warning: soft.png: transparent pixels laid on #ffffff\n"


@pytest.mark.parametrize(
    ("code", "message", "arguments"),
    [
        (2, "nothing to count: name images, or histogram files with --histogram", []),
        (3, r"none\.png: no such file", ["first.png", "none.png"]),
        (3, r"mask\.png: expected a histogram file", ["--histogram", "mask.png"]),
        (2, r"threads = 0 is outside 1\.\.1024", ["first.png", "--threads", "0"]),
        (2, r"jobs = 0 is outside 1\.\.1024", ["first.png", "--jobs", "0"]),
        (2, "alpha = 'soft' is not one of keep", ["first.png", "--alpha", "soft"]),
        (2, r"second\.jpg: weights for 83 x 61", ["second.jpg", "--weights", "mask.png"]),
        (2, "matte = 'no' is", ["first.png", "--matte", "no"]),
    ],
)
def test_wrong_use_of_count_is_one_line(code: int, message: str, arguments: list[str]) -> None:
    assert_refused(code, message, "count", *arguments, "-o", "new.qhist")


@pytest.mark.parametrize(
    ("code", "message", "output"),
    [
        (2, r"new\.png: histograms are written as \.qhist", "new.png"),
        (4, r"there\.qhist: exists; use --force", "there.qhist"),
        (4, "no such folder", "none/new.qhist"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused(code: int, message: str, output: str) -> None:
    Path("there.qhist").write_text("mine")
    assert_refused(code, message, "count", "first.png", "-o", output)


def test_a_file_that_is_read_is_never_replaced() -> None:
    counted("first.png")
    assert_refused(
        2, r"made\.qhist is an input", "count", "--histogram", "made.qhist", "--force",
        "-o", "made.qhist",
    )  # fmt: skip


# palette --histogram


def test_the_palette_of_histograms_is_that_of_the_images() -> None:
    Path("a.qhist").write_bytes(counted("first.png"))
    Path("b.qhist").write_bytes(counted("second.jpg"))
    expected = Ran("palette", "first.png", "second.jpg", *FEW)
    both = ["--histogram", "a.qhist", "--histogram", "b.qhist"]
    assert Ran("palette", *both, *FEW).lines == expected.lines
    assert Ran("palette", "first.png", *both[2:], *FEW, "--jobs", "2").lines == expected.lines
    ran = Ran("palette", *both, *FEW, "-o", "both.gpl")
    assert (ran.code, len(read_palette("both.gpl"))) == (0, 5)


@pytest.mark.parametrize("options", [["--no-perceptual"], ["--salient"]])
def test_a_file_with_weights_serves_palettes_without(options: list[str]) -> None:
    counted("first.png")
    expected = Ran("palette", "first.png", *FEW, *options)
    assert Ran("palette", "--histogram", "made.qhist", *FEW, *options).lines == expected.lines


def test_json_names_the_histograms() -> None:
    counted("first.png")
    ran = Ran("palette", "--histogram", "made.qhist", *FEW, "--json")
    said = json.loads("\n".join(ran.lines))
    assert (said["inputs"], said["histograms"], said["pixels"]) == ([], ["made.qhist"], 83 * 61)


def test_transparent_colors_are_written_where_that_can_be() -> None:
    counted("soft.png")
    ran = Ran("palette", "--histogram", "made.qhist", *FEW, "-o", "soft.png", "--force")
    assert ran.code == 0
    assert read_palette("soft.png").shape == (5, 4)
    assert_refused(
        2, r"\.gpl holds no transparent colors, but the histogram has .*--alpha flatten",
        "palette", "--histogram", "made.qhist", *FEW, "-o", "soft.gpl",
    )  # fmt: skip
    counted("soft.png", "--alpha", "flatten", "--quiet")
    assert Ran("palette", "--histogram", "made.qhist", *FEW, "-o", "soft.gpl").code == 0


@pytest.mark.parametrize(
    ("message", "options", "more"),
    [
        ("--no-perceptual; use that here too", ["--no-perceptual"], []),
        ("--icc ignore, but .* --icc convert", ["--icc", "ignore"], ["first.png"]),
        ("--perceptual and --weights", ["--weights", "mask.png"], ["--no-perceptual"]),
        ("nothing to count", [], []),
    ],
)
def test_histograms_that_do_not_fit_are_refused(
    message: str, options: list[str], more: list[str]
) -> None:
    counted("first.png", *options)
    files = ["--histogram", "made.qhist"] if options else []
    assert_refused(2, message, "palette", *files, *more, *FEW)


def test_a_damaged_file_is_refused() -> None:
    data = bytearray(counted("first.png"))
    data[len(data) // 2] ^= 1
    Path("made.qhist").write_bytes(data)
    message = r"made\.qhist: damaged or truncated: expected the checksum .*; copy it again"
    assert_refused(3, message, "palette", "--histogram", "made.qhist", *FEW)


def test_a_histogram_is_never_replaced() -> None:
    counted("first.png")
    Path("made.qhist").rename("made.hex")
    assert_refused(
        2, r"made\.hex is an input", "palette", "--histogram", "made.hex", *FEW, "-o", "made.hex",
        "--force",
    )  # fmt: skip


def test_defaults_are_those_of_quantize() -> None:
    own, others = (inspect.signature(c).parameters for c in (cli_count.count, quantize_command))
    common = own.keys() & others.keys() - {"output"}
    assert common >= {"perceptual", "alpha", "icc", "threads", "jobs", "max_pixels"}
    assert all(own[name].default == others[name].default for name in common)


def test_counts_are_those_of_the_pixels() -> None:
    counted("first.png", "--no-perceptual")
    found = read_histogram("made.qhist").histogram
    colors, counts = np.unique(photo().reshape(-1, 3), axis=0, return_counts=True)
    expected = dict(zip(map(tuple, colors.tolist()), counts.tolist(), strict=True))
    rows = zip(map(tuple, found.colors.tolist()), found.counts.tolist(), strict=True)
    assert dict(rows) == expected
