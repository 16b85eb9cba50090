"""`quantgpu quantize`: what it prints where, and which colors its options choose."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import typer
from command_runs import contents
from image_files import encoded, noise
from numpy.typing import NDArray
from pictures import photo
from PIL import Image
from quantize_runs import (
    IN_HASTE,
    decoded,
    run,
)
from typer.testing import CliRunner

import quantgpu
from quantgpu import api, cli
from quantgpu.cli.app import keys_of
from quantgpu.cli.quantize import quantize as quantize_command
from quantgpu.clustering import coarse_to_fine, seeding
from quantgpu.clustering.target import parse_target
from quantgpu.color import alpha as alpha_module
from quantgpu.color import spaces
from quantgpu.dithering import methods
from quantgpu.io import decode, encode, icc, metadata

pytestmark = pytest.mark.usefixtures("two_pictures")


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


def test_verbose_says_what_was_decided_on_standard_error() -> None:
    ran = run("photo.png", "--verbose", *IN_HASTE)
    assert len(ran.lines) == len(ran.complaints) == 1
    assert ran.complaints[0].startswith(f"quantgpu {quantgpu.__version__}: k 5, ")
    assert ", effort fast, " in ran.complaints[0]


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


def test_time_is_told_once() -> None:
    ran = run("photo.png", "-k", "4,9", "--effort", "fast", "--json")
    first, second = (json.loads(line)["seconds"] for line in ran.lines)
    assert list(first) == ["read", "count", "cluster", "remap", "write"]
    assert list(second) == ["cluster", "remap", "write"]


@pytest.mark.parametrize("target", ["psnr=30", "mse=190", "de=4.5"])
def test_a_target_names_the_file_and_its_search_is_told(target: str) -> None:
    ran = run("photo.png", "--target", target, "--effort", "fast")
    found = quantgpu.quantize(photo(), target=target, effort="fast")
    output = f"photo-{target.replace('=', '')}.png"
    assert (ran.code, ran.complaints) == (0, [])
    assert np.array_equal(decoded(output), found.to_array())
    assert ran.lines[0].startswith(f"{output}: 83 x 61, ")
    shown = parse_target(target).format_value
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


def test_what_is_good_enough_is_written() -> None:
    assert run("photo.png", "--min-quality", "psnr=20", *IN_HASTE).code == 0
    assert "photo-5.png" in contents()


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
