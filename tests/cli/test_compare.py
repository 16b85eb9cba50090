"""The command `compare`: what it prints and writes, and how it ends."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from image_files import encoded, noise
from pictures import photo
from PIL import Image
from typer.testing import CliRunner, Result

import quantgpu
from quantgpu import cli
from quantgpu.cli import compare as cli_compare
from quantgpu.io import decode
from quantgpu.metrics import comparison


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a.png, b.png, which differs from it, and wide.png."""
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(encoded(photo(), "PNG"))
    Path("b.png").write_bytes(encoded(photo(seed=1), "PNG"))
    Path("wide.png").write_bytes(encoded(photo(20, 90), "PNG"))
    return tmp_path


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    """`quantgpu compare` in this process."""
    result = CliRunner().invoke(cli.app, ["compare", *arguments], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def contents() -> dict[str, bytes]:
    """All files below the working directory."""
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def test_each_metric_gives_a_line() -> None:
    ran = run("a.png", "b.png")
    assert (ran.exit_code, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert lines == quantgpu.compare(photo(), photo(seed=1)).as_lines()
    names = ["MSE", "PSNR", "SSIM", "CIEDE2000", "colors", "pixels"]
    assert [line.split()[0] for line in lines] == names
    assert sorted(contents()) == ["a.png", "b.png", "wide.png"]


def test_json_is_one_object_with_every_metric() -> None:
    ran = run("a.png", "b.png", "--json")
    found = json.loads(ran.stdout)
    assert [*found] == ["a", "b", "width", "height", "map", *comparison.METRICS]
    assert [found[name] for name in ("a", "b", "width", "height", "map")] == [
        *("a.png", "b.png", 83, 61, None)
    ]
    expected = quantgpu.compare(photo(), photo(seed=1)).as_json()
    assert {name: found[name] for name in expected} == json.loads(json.dumps(expected))


def test_equal_pictures_have_no_finite_psnr() -> None:
    found = json.loads(run("a.png", "a.png", "--json").stdout)
    assert found["psnr"] is None
    assert (found["mse"], found["ssim"], found["changed"]) == (0, 1, 0)
    assert found["ciede2000"] == {"mean": 0, "percentile_95": 0, "maximum": 0}
    assert "PSNR infinite" in run("a.png", "a.png").stdout.splitlines()


def test_one_image_may_come_from_standard_input() -> None:
    ran = run("-", "b.png", stdin=Path("a.png").read_bytes())
    assert ran.exit_code == 0
    assert ran.stdout == run("a.png", "b.png").stdout


def test_what_was_left_out_is_said_on_standard_error() -> None:
    clear = np.dstack([photo(), np.full((61, 83), 200, np.uint8)])
    Path("clear.png").write_bytes(encoded(clear, "PNG"))
    ran = run("clear.png", "a.png")
    assert ran.exit_code == 0
    assert re.fullmatch(r"quantgpu: warning: clear\.png: .+\n", ran.stderr)


# The map


def test_map_is_the_difference_of_each_pixel() -> None:
    ran = run("a.png", "b.png", "--map", "map.png")
    assert ran.exit_code == 0
    assert ran.stdout == run("a.png", "b.png").stdout
    with Image.open("map.png") as opened:
        assert (opened.format, opened.mode) == ("PNG", "L")
        levels = np.asarray(opened)
    assert np.array_equal(levels, comparison.difference_map(photo(), photo(seed=1)))
    assert levels.max() > 0
    assert sorted(contents()) == ["a.png", "b.png", "map.png", "wide.png"]


def test_map_of_equal_pictures_is_black() -> None:
    assert run("a.png", "a.png", "--map", "map.PNG").exit_code == 0
    with Image.open("map.PNG") as opened:
        assert not np.any(np.asarray(opened))


def test_map_that_exists_is_replaced_only_by_force() -> None:
    Path("map.png").write_bytes(b"precious")
    ran = run("a.png", "b.png", "--map", "map.png")
    assert (ran.exit_code, ran.stdout) == (4, "")
    assert "map.png: exists; use --force" in ran.stderr
    assert Path("map.png").read_bytes() == b"precious"
    assert run("a.png", "b.png", "--map", "map.png", "--force").exit_code == 0
    with Image.open("map.png") as opened:
        assert opened.size == (83, 61)


@pytest.mark.parametrize("name", ["a.png", "./b.png", "link.png"])
def test_map_never_replaces_an_input(name: str) -> None:
    Path("link.png").hardlink_to("a.png")
    before = contents()
    ran = run("a.png", "b.png", "--map", name, "--force")
    assert ran.exit_code == 2
    assert "is an input; originals are never replaced" in ran.stderr
    assert contents() == before


# Refusals


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.png", "wide.png"], 2, r"a\.png: 83 x 61, wide\.png: 90 x 20; .* same size"),
        (["-", "-"], 2, "standard input is one image"),
        (["a.png", "b.png", "--map", "map.jpg"], 2, r"map\.jpg: maps are PNG files"),
        (["a.png", "b.png", "--map", "-"], 2, "maps are PNG files"),
        (["a.png", "gone.png"], 3, r"gone\.png: no such file"),
        (["broken.png", "a.png"], 3, r"broken\.png: not an image"),
        (["a.png", "b.png", "--max-pixels", "5062"], 3, "83 x 61 = 5,063 pixels are more than 5,0"),
        (["a.png", "b.png", "--map", "no/map.png"], 4, "no such folder"),
        (["a.png", "wide.png", "--map", "map.png"], 2, "same size"),
    ],
)
def test_refusals_are_one_line_and_change_nothing(
    arguments: list[str], code: int, message: str
) -> None:
    Path("broken.png").write_bytes(b"no picture")
    before = contents()
    ran = run(*arguments)
    assert (ran.exit_code, ran.stdout) == (code, "")
    assert len(ran.stderr.splitlines()) == 1
    assert ran.stderr.startswith("quantgpu: error: ")
    assert re.search(message, ran.stderr), ran.stderr
    assert contents() == before


def test_map_that_fails_midway_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    before = contents()
    ran = run("a.png", "b.png", "--map", "map.png")
    assert (ran.exit_code, ran.stdout) == (4, "")
    assert "map.png: the disk is full" in ran.stderr
    assert contents() == before


def test_two_names_are_needed() -> None:
    assert run("a.png").exit_code == 2


# The command itself


def test_greatest_number_of_pixels_is_the_library_s() -> None:
    option = inspect.signature(cli_compare.compare).parameters["max_pixels"]
    assert option.default == decode.MAX_PIXELS


def test_help_imports_no_array_library() -> None:
    code = (
        "import atexit, sys\n"
        "names = 'numpy', 'PIL', 'cupy', 'quantgpu.metrics.comparison'\n"
        "atexit.register(lambda: print([n for n in names if n in sys.modules], file=sys.stderr))\n"
        "from quantgpu.__main__ import main; main()"
    )
    command = [sys.executable, "-c", code, "compare", "--help"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert b"--map" in done.stdout
    assert done.stderr.decode().split() == ["[]"]


def test_module_of_the_command_can_be_imported_first() -> None:
    code = "import quantgpu.cli.compare as c; print(c.app.registered_commands is not None)"
    assert subprocess.check_output([sys.executable, "-c", code], timeout=60).split() == [b"True"]


def test_tiny_pictures_are_compared() -> None:
    Path("one.png").write_bytes(encoded(noise(1, 1, 3), "PNG"))
    Path("other.png").write_bytes(encoded(noise(1, 1, 3, seed=1), "PNG"))
    assert run("one.png", "other.png", "--map", "map.png").exit_code == 0
