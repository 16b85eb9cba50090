"""`quantgpu palette` and `quantgpu apply`: what they print, what they write, and how they end."""

from __future__ import annotations

import inspect
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_runs import Ran, contents
from image_files import encoded
from pictures import photo
from PIL import Image

import quantgpu
from quantgpu import api
from quantgpu.cli import apply, palette
from quantgpu.cli.app import keys_of
from quantgpu.cli.quantize import quantize as quantize_command
from quantgpu.io import decode, encode, icc
from quantgpu.io.palette_files import PALETTE_FILES, read_palette, write_palette
from quantgpu.pipeline import shared_palette

COLORS = np.array([[0, 0, 0], [255, 255, 255], [250, 20, 3], [0, 0, 0], [120, 90, 140]], np.uint8)
BOTH = "first.png", "second.jpg"
IN_HASTE = ["-k", "5", "--effort", "fast"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with two photos and a palette in it."""
    monkeypatch.chdir(tmp_path)
    Path("first.png").write_bytes(encoded(photo(), "PNG"))
    Path("second.jpg").write_bytes(encoded(photo(37, 53, seed=1), "JPEG"))
    write_palette("five.gpl", COLORS)
    return tmp_path


def assert_refused(code: int, message: str, *arguments: str) -> None:
    """One line on standard error, the exit code, and nothing changed on disk."""
    before = contents()
    ran = Ran(*arguments)
    assert (ran.code, ran.lines) == (code, []), ran
    assert len(ran.err.splitlines()) == 1, ran
    assert re.search(message, ran.err), ran
    assert contents() == before


# palette


def test_each_color_gives_a_line_and_no_file_is_written() -> None:
    before = contents()
    ran = Ran("palette", "first.png", *IN_HASTE)
    expected = quantgpu.quantize(photo(), 5, effort="fast", dither="none", device="cpu")
    assert (ran.code, ran.err) == (0, "")
    rows = [line.split() for line in ran.lines]
    assert [row[0] for row in rows] == expected.palette.hex()
    assert [int(row[1].replace(",", "")) for row in rows] == expected.counts.tolist()
    assert sum(float(row[2].rstrip("%")) for row in rows) == pytest.approx(100, abs=0.01)
    assert contents() == before


def test_several_images_have_one_palette() -> None:
    pixels = [photo().reshape(-1, 3), np.asarray(Image.open("second.jpg")).reshape(-1, 3)]
    expected = quantgpu.quantize(
        np.concatenate(pixels), 5, effort="fast", dither="none", device="cpu"
    )
    plain = "--json", "--no-perceptual"
    found = json.loads(Ran("palette", *BOTH, *IN_HASTE, *plain).out)
    assert found["inputs"] == list(BOTH)
    assert found["pixels"] == 61 * 83 + 37 * 53
    assert [color["hex"] for color in found["colors"]] == expected.palette.hex()
    assert [color["pixels"] for color in found["colors"]] == expected.counts.tolist()
    assert found["mse"] == pytest.approx(expected.mse)
    assert sum(color["share"] for color in found["colors"]) == pytest.approx(1)


@pytest.mark.parametrize("suffix", PALETTE_FILES)
def test_the_palette_is_written_in_the_format_of_the_suffix(suffix: str) -> None:
    ran = Ran("palette", "first.png", *IN_HASTE, "--sort", "count", "-o", f"p{suffix}")
    colors = read_palette(f"p{suffix}")[:5].tolist()
    assert ["#{:02x}{:02x}{:02x}".format(*color) for color in colors] == [
        line.split()[0] for line in ran.lines
    ]


@pytest.mark.parametrize("sort", shared_palette.SORTS)
def test_sorting_changes_the_order_alone(sort: str) -> None:
    ran, plain = (
        Ran("palette", "first.png", *IN_HASTE, *more) for more in ([f"--sort={sort}"], [])
    )
    assert sorted(ran.lines) == sorted(plain.lines)
    assert (ran.lines == plain.lines) == (sort == "lightness")


def test_standard_input_is_an_image_too() -> None:
    ran = Ran("palette", "-", *IN_HASTE, stdin=encoded(photo(), "PNG"))
    assert ran.lines == Ran("palette", "first.png", *IN_HASTE).lines


def test_quiet_prints_nothing_and_still_writes() -> None:
    ran = Ran("palette", "first.png", *IN_HASTE, "-q", "-o", "p.hex")
    assert (ran.code, ran.lines, ran.err) == (0, [], "")
    assert len(read_palette("p.hex")) == 5


def test_what_is_left_out_of_an_image_is_said() -> None:
    Image.new("RGBA", (4, 4), (1, 2, 3, 0)).save("clear.png")
    ran = Ran("palette", "clear.png", "--alpha", "flatten")
    assert "clear.png: transparent pixels laid on #ffffff" in ran.err


def test_transparent_colors_are_printed_and_written_where_that_can_be() -> None:
    Image.fromarray(np.array([[(9, 9, 9, 255), (1, 2, 3, 0)]], np.uint8)).save("clear.png")
    ran = Ran("palette", "clear.png", "-o", "clear-palette.png")
    assert [line.split()[0] for line in ran.lines] == ["#00000000", "#090909"]
    assert ran.err == ""
    assert read_palette("clear-palette.png").tolist() == [[0, 0, 0, 0], [9, 9, 9, 255]]
    ran = Ran("palette", "clear.png", "-o", "p.gpl")
    assert [line.split()[0] for line in ran.lines] == ["#090909", "#ffffff"]
    assert ran.err.splitlines() == [
        "quantgpu: warning: clear.png: transparent pixels laid on #ffffff",
        "quantgpu: warning: clear.png: .gpl holds no transparent colors",
    ]
    ran = Ran("palette", "first.png", *IN_HASTE, "-o", "q.gpl")
    assert ran.err == "", "opaque pictures are no news"


def test_transparency_is_applied_as_far_as_the_palette_holds_it() -> None:
    pixels = np.array([[(9, 9, 9, 255), (250, 0, 0, 0), (250, 20, 3, 200)]], np.uint8)
    Image.fromarray(pixels).save("clear.png")
    ran = Ran("apply", "clear.png", "--palette", "five.gpl")
    assert np.asarray(Image.open("clear-five.png")).tolist() == [[0, 1, 2]]
    assert ran.err.splitlines() == [
        "quantgpu: warning: clear.png: transparent pixels laid on #ffffff",
        "quantgpu: warning: clear.png: the palette holds no transparent colors",
    ]
    colors = np.array([[9, 9, 9, 255], [0, 0, 0, 0], [250, 20, 3, 255]], np.uint8)
    write_palette("sprite.png", colors)
    ran = Ran("apply", "clear.png", "--palette", "sprite.png", "-o", "out.png")
    with Image.open("out.png") as opened:
        assert np.asarray(opened).tolist() == [[0, 1, 2]]
        assert np.array_equal(np.asarray(opened.convert("RGBA"))[0], colors)
    assert ran.err.splitlines() == [
        f"quantgpu: warning: clear.png: {note}"
        for note in (
            "partly transparent pixels become opaque or fully transparent",
            "the palette holds fully transparent colors only",
        )
    ]


def test_profiles_count_for_palettes_and_when_they_are_applied() -> None:
    light = icc.power_profile(1, icc.PRIMARIES, gray=False)
    Path("light.png").write_bytes(
        encoded(np.full((3, 5, 3), 55, np.uint8), "PNG", icc_profile=light, dpi=(300, 300))
    )
    for way, color in (("convert", "#808080"), ("ignore", "#373737"), ("keep", "#373737")):
        ran = Ran("palette", "light.png", "-k", "1", "--icc", way)
        assert [line.split()[0] for line in ran.lines] == [color]
        Ran("apply", "light.png", "--palette", "five.gpl", "--icc", way, "-o", f"{way}.png")
        with Image.open(f"{way}.png") as opened:
            assert opened.info.get("icc_profile") == (light if way == "keep" else None)
            assert "dpi" in opened.info
    arguments = ["light.png", "--palette", "five.gpl", "-o", "bare.png"]
    assert Ran("apply", *arguments, "--metadata", "strip").code == 0
    with Image.open("bare.png") as opened:
        assert "dpi" not in opened.info


def test_matte_is_what_transparent_pixels_are_laid_on() -> None:
    Image.new("RGBA", (4, 4), (1, 2, 3, 0)).save("clear.png")
    ran = Ran("palette", "clear.png", "--matte", "f01234", "--alpha=flatten")
    assert [line.split()[0] for line in ran.lines] == ["#f01234"]
    assert "clear.png: transparent pixels laid on #f01234" in ran.err
    ran = Ran("apply", "clear.png", "--palette", "five.gpl", "--matte", "black", "-o", "out.png")
    assert set(np.asarray(Image.open("out.png")).flat) == {0}


@pytest.mark.parametrize(
    ("code", "message", "arguments"),
    [
        (2, "matte = '' is no color", ["first.png", "--matte", ""]),
        (2, "k = 0 is outside", ["first.png", "-k", "0"]),
        (2, "k = 9999 is greater than the number of pixels, 5063", ["first.png", "-k", "9999"]),
        (2, "sort = 'size' is not one of lightness", ["first.png", "--sort", "size"]),
        (2, "effort = 'x'", ["first.png", "--effort", "x"]),
        (2, "memory = 'much'", ["first.png", "--memory", "much"]),
        (2, "no palette format for the suffix '.xyz'", ["first.png", "-o", "p.xyz"]),
        (2, "300 colors are outside 1..256", ["first.png", "-k", "300", "-o", "p.act"]),
        (2, "first.png is an input", ["first.png", "-o", "./first.png", "--force"]),
        (4, "five.gpl: exists; use --force", ["first.png", "-o", "five.gpl"]),
        (4, "no such folder", ["first.png", "-o", "none/p.gpl"]),
        (3, "none.png: no such file", ["first.png", "none.png", "-o", "p.gpl"]),
        (3, "five.gpl: not an image", ["five.gpl"]),
        (3, "--max-pixels 5063", ["first.png", "--max-pixels", "10"]),
    ],
)
def test_wrong_use_of_palette_is_one_line(code: int, message: str, arguments: list[str]) -> None:
    assert_refused(code, message, "palette", *arguments)


def test_weights_and_salience_choose_other_palettes() -> None:
    mask = np.zeros(photo().shape[:2], np.uint8)
    mask[:30] = 255
    Image.fromarray(mask).save("mask.png")
    options = ["palette", "first.png", "first.png", "--no-perceptual", *IN_HASTE]
    plain, masked, salient = (
        Ran(*options, *more).lines for more in ([], ["--weights", "mask.png"], ["--salient"])
    )
    palettes = {tuple(line.split()[0] for line in lines) for lines in (plain, masked, salient)}
    assert len(palettes) == 3
    expected = quantgpu.quantize(
        "first.png", 5, weights=mask, effort="fast", perceptual=False, dither="none", device="cpu"
    )
    assert [line.split()[0] for line in masked] == expected.palette.hex()
    mask[:] = 255
    Image.fromarray(mask).save("mask.png")
    assert Ran(*options, "--weights", "mask.png").lines == plain


@pytest.mark.parametrize(
    ("code", "message", "arguments"),
    [
        (2, "second.jpg: weights for 83 x 61 pixels, but the image has 53 x 37", ["second.jpg"]),
        (2, "with weights use 'fast'", ["--effort", "none"]),
        (2, "mask.png is an input", ["-o", "mask.png", "--force"]),
    ],
)
def test_weights_that_cannot_be_used_are_refused(
    code: int, message: str, arguments: list[str]
) -> None:
    Path("mask.png").write_bytes(encoded(photo(), "PNG"))
    assert_refused(code, message, "palette", "first.png", "--weights", "mask.png", *arguments)


def test_force_replaces_a_palette() -> None:
    assert Ran("palette", "first.png", *IN_HASTE, "-o", "five.gpl", "--force").code == 0
    assert not np.array_equal(read_palette("five.gpl"), COLORS)


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX terminal")
@pytest.mark.parametrize(
    ("setting", "drawn"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_swatches_are_drawn_in_a_terminal_that_wants_them(
    setting: dict[str, str], drawn: bool
) -> None:
    import pty

    known = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "quantgpu", "palette", "first.png", "--device", "cpu"]
    subprocess.run(
        [*command, *IN_HASTE], stdout=theirs, stderr=subprocess.DEVNULL, check=True,
        env={**known, "TERM": "xterm", **setting},
    )  # fmt: skip
    os.close(theirs)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert shown.count("\x1b[48;2;") == (5 if drawn else 0)
    assert len(re.findall("#[0-9a-f]{6}", shown)) == 5


# apply


@pytest.mark.parametrize("suffix", [suffix for suffix in encode.FORMATS if suffix != ".npz"])
def test_every_format_has_the_palettes_colors_in_its_order(suffix: str) -> None:
    ran = Ran("apply", "first.png", "--palette", "five.gpl", "-o", f"out{suffix}")
    expected = api.apply_palette(photo(), COLORS, device="cpu")
    assert ran.code == 0, ran
    with Image.open(f"out{suffix}") as opened:
        assert np.array_equal(np.asarray(opened.convert("RGB")), expected.to_array())
        if opened.mode == "P":
            assert np.array_equal(np.asarray(opened), expected.index)
            assert opened.getpalette("RGB")[:15] == COLORS.ravel().tolist()  # type: ignore[index]


def test_a_png_has_exactly_the_palette_with_unused_entries_and_duplicates() -> None:
    assert Ran("apply", "first.png", "--palette", "five.gpl").code == 0
    assert np.array_equal(read_palette("first-five.png"), COLORS)


def test_palettes_of_more_than_256_colors_give_16_bit_indices_or_true_color() -> None:
    colors = np.stack([np.arange(999) % 251, np.arange(999) % 37, np.arange(999) % 256], axis=1)
    write_palette("many.gpl", colors.astype(np.uint8))
    expected = api.apply_palette(photo(), colors, device="cpu")
    assert expected.index.max() > 255
    assert Ran("apply", "first.png", "--palette", "many.gpl", "-o", "out.npz").err == ""
    with np.load("out.npz") as arrays:
        assert np.array_equal(arrays["index"], expected.index)
        assert np.array_equal(arrays["palette"], colors)
    ran = Ran("apply", "first.png", "--palette", "many.gpl")
    assert "999 colors are written as true color, as palettes of PNG hold 256" in ran.err
    with Image.open("first-many.png") as opened:
        assert np.array_equal(np.asarray(opened), expected.to_array())


def test_images_are_named_by_the_palette_and_reported_like_those_of_quantize() -> None:
    Path("out").mkdir()
    ran = Ran("apply", *BOTH, "--palette", "five.gpl", "--output-dir", "out")
    assert [line.split(": ")[0] for line in ran.lines] == [
        os.path.join("out", name) for name in ("first-five.png", "second-five.png")
    ]
    mse = api.apply_palette(photo(), COLORS, device="cpu").mse
    assert f"MSE {mse:.2f}" in ran.lines[0]
    (report,) = Ran("apply", "first.png", "--palette", "five.gpl", "--json").lines
    assert json.loads(report)["mse"] == pytest.approx(mse)
    assert json.loads(report)["colors_out"] == 5


def test_a_pipe_works() -> None:
    ran = Ran("apply", "-", "--palette", "five.gpl", stdin=encoded(photo(), "PNG"))
    with Image.open(io.BytesIO(ran.out)) as opened:
        expected = api.apply_palette(photo(), COLORS, device="cpu").index
        assert np.array_equal(np.asarray(opened), expected)


def test_a_picture_made_with_palette_and_apply_is_that_of_quantize() -> None:
    Ran("palette", "first.png", *IN_HASTE, "-o", "p.json")
    Ran("apply", "first.png", "--palette", "p.json", "-o", "applied.png")
    Ran("quantize", "first.png", *IN_HASTE, "--dither", "none", "-o", "quantized.png")
    assert contents()["applied.png"] == contents()["quantized.png"]


def test_distances_are_measured_in_the_color_space() -> None:
    Ran("apply", "first.png", "--palette", "five.gpl", "--color-space", "oklab", "-o", "o.png")
    expected = api.apply_palette(photo(), COLORS, color_space="oklab", device="cpu").index
    assert np.array_equal(np.asarray(Image.open("o.png")), expected)


def test_verbose_says_what_was_decided() -> None:
    ran = Ran("apply", "first.png", "--palette", "five.gpl", "-v")
    assert re.search("5 colors, color_space oklab", ran.err)


@pytest.mark.parametrize(
    ("code", "message", "arguments"),
    [
        (2, "Missing option '--palette'|--palette", ["first.png"]),
        (2, "no palette format for the suffix '.xyz'", ["first.png", "--palette", "p.xyz"]),
        (2, "color_space = 'x'", ["first.png", "--palette", "five.gpl", "--color-space", "x"]),
        (2, "matte = 'x' is no color", ["first.png", "--palette", "five.gpl", "--matte", "x"]),
        (2, "alpha = 'x'", ["first.png", "--palette", "five.gpl", "--alpha", "x"]),
        (2, "icc = 'x'", ["first.png", "--palette", "five.gpl", "--icc", "x"]),
        (2, "metadata = 'x'", ["first.png", "--palette", "five.gpl", "--metadata", "x"]),
        (2, "threads = 0", ["first.png", "--palette", "five.gpl", "--threads", "0"]),
        (2, "-o names one file", [*BOTH, "--palette", "five.gpl", "-o", "a.png"]),
        (2, "first.png is an input", ["first.png", "--palette", "five.gpl", "-o", "first.png"]),
        (2, "no format for the suffix", ["first.png", "--palette", "five.gpl", "-o", "a.jpg"]),
        (2, "k = 300 is more than the 256", ["first.png", "--palette", "many.gpl", "-o", "a.gif"]),
        (3, "none.gpl: no such file", ["first.png", "--palette", "none.gpl"]),
        (3, "broken.gpl: line 2: expected levels", ["first.png", "--palette", "broken.gpl"]),
        (3, "none.png: no such file", ["none.png", "--palette", "five.gpl"]),
        (4, "taken.png: exists", ["first.png", "--palette", "five.gpl", "-o", "taken.png"]),
    ],
)
def test_wrong_use_of_apply_is_one_line(code: int, message: str, arguments: list[str]) -> None:
    write_palette("many.gpl", np.repeat(COLORS, 60, axis=0))
    Path("broken.gpl").write_text("GIMP Palette\n1 2\n")
    Path("taken.png").write_text("precious")
    if arguments == ["first.png"]:
        assert Ran("apply", *arguments).code == code
    else:
        assert_refused(code, message, "apply", *arguments)


def test_the_palette_itself_is_never_replaced() -> None:
    write_palette("p.png", COLORS)
    message = "p.png is an input; originals are never replaced"
    assert_refused(2, message, "apply", "first.png", "--palette", "p.png", "-o", "p.png", "--force")


def test_webp_takes_a_palette_of_more_than_256_colors() -> None:
    write_palette("many.gpl", np.repeat(COLORS, 60, axis=0))
    assert Ran("apply", "first.png", "--palette", "many.gpl", "-o", "a.webp").code == 0


def test_one_bad_input_of_several_costs_only_itself() -> None:
    ran = Ran("apply", "none.png", "first.png", "--palette", "five.gpl")
    assert (ran.code, len(ran.lines)) == (5, 1)
    assert "first-five.png" in contents()


# Options


@pytest.mark.parametrize("command", [palette.palette, apply.apply])
def test_defaults_are_those_of_quantize(command: object) -> None:
    own, others = (inspect.signature(c).parameters for c in (command, quantize_command))  # type: ignore[arg-type]
    assert own.keys() & others.keys() >= {"color_space", "threads", "device", "max_pixels"}
    for name in own.keys() & others.keys() - {"dither"}:
        assert own[name].default == others[name].default
    assert others["max_pixels"].default == decode.MAX_PIXELS


def test_help_names_every_palette_format_and_order() -> None:
    text = [
        subprocess.check_output(
            [sys.executable, "-m", "quantgpu", command, "--help"],
            text=True, env={**os.environ, "COLUMNS": "250", "NO_COLOR": "1"},
        )
        for command in ("palette", "apply")
    ]  # fmt: skip
    assert all(suffix in help for help in text for suffix in PALETTE_FILES)
    assert ", ".join(shared_palette.SORTS) in text[0]


def test_completion_offers_the_orders() -> None:
    complete = keys_of("SORTS", "pipeline.shared_palette")
    assert complete("") == list(shared_palette.SORTS)
    assert complete("c") == ["count"]
