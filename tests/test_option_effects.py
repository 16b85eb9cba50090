"""No option without effect: each changes the result, is refused by name, or is known to have none.

The commands are asked for their options, so that a new one fails here until it is classified.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import typer
from command_runs import contents
from pictures import photo, soft_photo
from PIL import Image
from typer.testing import CliRunner

from quantgpu import cli

CHANGES, REFUSED = "changes", "refused"

NO_RESULT = {
    "threads": "how much of the machine is used",
    "device": "where the work is done",
    "memory": "how much of a GPU is used",
    "jobs": "how many files are at work at once",
    "scheduler": "where the work is done",
    "force": "whether outputs may be replaced",
    "resume": "whether complete outputs are made again",
    "max_pixels": "which inputs are refused",
    "min_quality": "which results are refused",
    "verbose": "what is said of the run",
    "conversion": "how films are decoded, not animations",
    "name": "what is shown",
}
"""Options that change no result, and what they are about; the help and the manual say so."""


class Route(NamedTuple):
    """A command line whose options are tried one by one."""

    base: list[str]
    options: dict[str, list[str]]
    """The name of an option to what is added for it."""
    refused: tuple[str, ...] = ()
    """Options that are refused by name here."""


PALETTE: dict[str, list[str]] = {
    "effort": ["--effort", "none"],
    "init": ["--init", "wu", "--effort", "none"],
    "seed": ["--seed", "3", "--effort", "none"],
    "color_space": ["--color-space", "srgb"],
    "perceptual": ["--no-perceptual"],
    "salient": ["--salient"],
}

KEPT: dict[str, list[str]] = {
    "keep": ["--keep", "#0000fe"],
    "snap": ["--snap", "0.0005"],
    "from_palette": ["--from-palette", "colors.hex"],
    "lock_grays": ["--lock-grays"],
}

MIXING: dict[str, list[str]] = {
    "dither": ["--dither", "bayer"],
    "dither_strength": ["--dither-strength", "0.2", "--dither", "bayer"],
}

PIXELS: dict[str, list[str]] = {
    "alpha": ["--alpha", "flatten"],
    "matte": ["--matte", "#123456", "--alpha", "flatten"],
}

READING: dict[str, list[str]] = {
    **PIXELS,
    "icc": ["--icc", "ignore"],
    "max_pixels": ["--max-pixels", "10"],
}

MACHINE: dict[str, list[str]] = {
    "threads": ["--threads", "1"],
    "device": ["--device", "cpu"],
    "memory": ["--memory", "1GB"],
}

PRINTED: dict[str, list[str]] = {"as_json": ["--json"], "quiet": ["--quiet"]}

QUANTIZE: dict[str, list[str]] = {
    **PALETTE,
    **KEPT,
    **MIXING,
    **READING,
    **MACHINE,
    **PRINTED,
    "k": ["-k", "5"],
    "target": ["--target", "psnr=18"],
    "min_quality": ["--min-quality", "psnr=5", "--dither", "none"],
    "output": ["-o", "out/named.gif"],
    "output_dir": ["--output-dir", "other"],
    "weights": ["--weights", "mask.png"],
    "metadata": ["--metadata", "strip"],
    "compress_level": ["--compress-level", "9"],
    "skip_if_larger": ["--skip-if-larger", "-k", "250", "--compress-level", "0"],
    "shared_palette": ["--shared-palette"],
    "resume": ["--resume"],
    "jobs": ["--jobs", "2"],
    "force": ["--force"],
    "verbose": ["--verbose"],
    "scheduler": [],
}

ROUTES = {
    "quantize": Route(
        ["quantize", "soft.png", "gray.png", "profile.png", "-k", "6", "--output-dir", "out"],
        {**QUANTIZE, "output": []},
    ),
    "apply": Route(
        ["apply", "soft.png", "profile.png", "--palette", "soft8.png", "--output-dir", "out"],
        {
            **{name: QUANTIZE[name] for name in ("color_space", *MIXING, *READING, *MACHINE)},
            **PRINTED,
            **{name: QUANTIZE[name] for name in ("metadata", "compress_level", "jobs", "force")},
            **{name: QUANTIZE[name] for name in ("resume", "verbose", "output_dir")},
            "palette": ["--palette", "other.hex"],
            "output": [],
        },
    ),
    "palette": Route(
        ["palette", "soft.png", "profile.png", "-k", "6"],
        {
            **PALETTE,
            **READING,
            **MACHINE,
            **PRINTED,
            "k": ["-k", "5"],
            "histogram": ["--histogram", "noise.qhist"],
            "output": ["-o", "out/named.gpl"],
            "sort": ["--sort", "count"],
            "weights": ["--weights", "mask.png"],
            "jobs": ["--jobs", "2"],
            "force": ["--force"],
            "scheduler": [],
        },
    ),
    "count": Route(
        ["count", "soft.png", "profile.png", "-o", "out/all.qhist"],
        {
            **READING,
            **MACHINE,
            **PRINTED,
            "histogram": ["--histogram", "noise.qhist"],
            "output": ["-o", "out/named.qhist"],
            "perceptual": ["--no-perceptual", "--histogram", "noise.qhist"],
            "weights": ["--weights", "mask.png"],
            "jobs": ["--jobs", "2"],
            "force": ["--force"],
            "scheduler": [],
        },
    ),
    "video": Route(
        ["video", "soft-clip.png", "out/clip.webp", "-k", "6"],
        {
            **PALETTE,
            **KEPT,
            **MIXING,
            **PIXELS,
            **MACHINE,
            **PRINTED,
            "k": ["-k", "5"],
            "palette": ["--palette", "frame"],
            "first": ["--first", "0.05"],
            "hold": ["--hold", "20"],
            "fps": ["--fps", "7"],
            "start": ["--start", "0.1"],
            "duration": ["--duration", "0.1"],
            "width": ["--width", "20"],
            "conversion": ["--conversion", "fast"],
            "force": ["--force"],
            "verbose": ["--verbose"],
            "scheduler": [],
        },
    ),
    "video in given colors": Route(
        ["video", "soft-clip.png", "out/clip.webp", "--palette", "colors.hex"],
        KEPT | {"k": ["-k", "5"], "first": ["--first", "0.1"], "salient": ["--salient"]},
        ("keep", "snap", "from_palette", "k", "first", "salient"),
    ),
    "quantize with one palette for all": Route(
        ["quantize", "soft.png", "gray.png", "-k", "6", "--output-dir", "out", "--shared-palette"],
        {
            **PALETTE,
            **KEPT,
            **MIXING,
            **PIXELS,
            "target": ["--target", "psnr=18"],
            "min_quality": ["--min-quality", "psnr=5"],
            "weights": ["--weights", "mask.png"],
        },
        ("target", "min_quality"),
    ),
    "compare": Route(
        ["compare", "soft.png", "gray.png"],
        {
            "error_map": ["--map", "out/map.png"],
            "max_pixels": ["--max-pixels", "10"],
            "force": ["--force"],
            "as_json": ["--json"],
        },
    ),
}  # fmt: skip

ARGUMENTS = {
    "quantize": {"inputs"}, "apply": {"inputs"}, "palette": {"images"}, "count": {"images"},
    "video": {"source", "output"}, "compare": {"image_a", "image_b", "a", "b", "first", "second"},
}  # fmt: skip
"""What commands take that is no option."""

ELSEWHERE = {
    "demo": "one picture, tested in `demo/test_run.py`",
    "doctor": "about GPUs, tested in `test_stages.py` and `execution/test_selection.py`",
    "help": "prints pages, tested in `cli/test_help.py`",
}
"""Commands whose options are all tried in other tests."""


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A working directory with everything that commands read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("effects"))
        Image.fromarray(soft_photo(40, 56)).save("soft.png")
        rows = photo(40, 56)
        rows[:20] = rows[:20].mean(axis=-1, keepdims=True)
        rows[:4] = (7, 99, 200)
        gray = Image.fromarray(rows)
        exif = Image.Exif()
        exif[270] = "a picture"
        gray.save("gray.png", exif=exif)
        linear = b"gAMA" + (100_000).to_bytes(4, "big")
        data = Path("gray.png").read_bytes()
        chunk = (4).to_bytes(4, "big") + linear + crc(linear)
        Path("profile.png").write_bytes(data[:33] + chunk + data[33:])
        Image.fromarray(photo(40, 56, seed=2)[..., 0]).save("mask.png")
        still = soft_photo(40, 56)
        still[:, :30, :3] = still[:, :30, :3].mean(axis=-1, keepdims=True)
        still[:, :30, 3] = 255
        frames = [Image.fromarray(np.roll(still, 3 * n, axis=0)) for n in range(4)]
        frames[0].save("soft-clip.png", save_all=True, append_images=frames[1:], duration=50)
        Path("colors.hex").write_text("000000\nffffff\ncc2222\n2244cc\n22aa44\nddcc11\n707070\n")
        Path("other.hex").write_text("000000\nffffff\n336699\n")
        Path("other").mkdir()
        Image.fromarray(photo(40, 56, seed=5)).save("noise.png")
        make = ["quantize", "soft.png", "-k", "8", "-o", "soft8.png", "--device", "cpu"]
        assert CliRunner().invoke(cli.app, make).exit_code == 0
        count = ["count", "noise.png", "-o", "noise.qhist", "--device", "cpu"]
        assert CliRunner().invoke(cli.app, count).exit_code == 0
        yield


def crc(data: bytes) -> bytes:
    """The checksum of a PNG chunk."""
    import zlib

    return zlib.crc32(data).to_bytes(4, "big")


class Outcome(NamedTuple):
    """How a command ended, what it printed but for times, and the files that it wrote."""

    code: int
    printed: str
    errors: str
    files: dict[str, bytes]


DONE: dict[tuple[str, ...], Outcome] = {}
"""Runs that are needed again and again."""


def outcome(*command: str) -> Outcome:
    """Run a command in an empty folder for its outputs."""
    if command not in DONE:
        for name in ("out", "other"):
            shutil.rmtree(name, ignore_errors=True)
            Path(name).mkdir()
        device = [] if "--device" in command or command[0] == "compare" else ["--device", "cpu"]
        ran = CliRunner().invoke(cli.app, [*command, *device])
        assert not ran.exception or isinstance(ran.exception, SystemExit), (command, ran.exception)
        printed = re.sub(
            r", [\d.]+ s( on \S+)? \([^)]*\)|[\d.]+ s\b|[\d.]+ frames/s", "", ran.stdout
        )
        printed = re.sub(r'"(seconds|frames_per_second)": (\{[^}]*\}|[\d.e-]+)', "", printed)
        files = {name: data for name, data in contents().items() if name[:4] in ("out/", "othe")}
        files.pop("other.hex", None)
        DONE[command] = Outcome(ran.exit_code, printed, ran.stderr, files)
    return DONE[command]


def without(option: str, base: list[str], extra: list[str]) -> list[str]:
    """What is added beside an option, so that it alone makes the difference."""
    flag = extra[0]
    rest = extra[1:] if len(extra) > 1 and extra[1].startswith("-") else extra[2:]
    return [*base, *rest] if flag.startswith("-") else base


CASES = [(name, option) for name, route in ROUTES.items() for option in route.options]


@pytest.mark.parametrize(("name", "option"), CASES)
def test_an_option_changes_the_result_or_is_refused_or_known_to_change_none(
    name: str, option: str
) -> None:
    route = ROUTES[name]
    extra = route.options[option]
    if not extra:
        return  # of the command line itself, or tried in a test of its own
    plain = outcome(*without(option, route.base, extra))
    assert plain.code == 0, plain
    found = outcome(*route.base, *extra)
    if option in route.refused:
        assert (found.code, found.files) == (2, {}), found
        flag = "-k" if option == "k" else f"--{option.replace('_', '-')}"
        assert flag in found.errors, found.errors
        return
    same = (found.printed, found.files) == (plain.printed, plain.files)
    if option in NO_RESULT:
        assert same or found.code in (3, 5), found.errors
    else:
        assert found.code in (0, 8), found.errors
        assert not same


@pytest.mark.parametrize("command", list(typer.main.get_command(cli.app).commands))  # type: ignore[attr-defined]
def test_every_option_of_every_command_is_classified(command: str) -> None:
    parameters = typer.main.get_command(cli.app).commands[command].params  # type: ignore[attr-defined]
    options = {parameter.name for parameter in parameters} - {"help"}
    if command in ELSEWHERE:
        assert command not in ROUTES
        return
    assert options - ARGUMENTS[command] == set(ROUTES[command].options) - ARGUMENTS[command]


OF_BLOCKS: dict[str, tuple[list[str], str]] = {
    "max-pixels": (["--max-pixels", "1"], "--max-pixels is not for pictures in blocks"),
    "skip-if-larger": (["--skip-if-larger"], "--skip-if-larger is not for pictures in blocks"),
    "compress-level": (["--compress-level", "9"], "--compress-level is not for pictures in blocks"),
    "icc": (["--icc", "keep"], "--icc is not for pictures in blocks"),
    "metadata": (["--metadata", "strip"], "--metadata is not for pictures in blocks"),
    "resume": (["--resume"], "--resume is not for pictures in blocks"),
    "weights": (["--weights", "mask.png"], "--weights is not for pictures in blocks"),
    "shared-palette": (["--shared-palette"], "--shared-palette is not for pictures in blocks"),
    "target": (["--target", "psnr=9"], "--target is not for pictures in blocks"),
    "min-quality": (["--min-quality", "psnr=9"], "--min-quality is not for pictures in blocks"),
    "dither": (["--dither", "burkes"], "dither = 'burkes' runs through a whole picture in order"),
}


def test_pictures_in_blocks_refuse_what_they_do_not_honor(two_workers: Any) -> None:
    import tifffile

    picture = photo(80, 96)
    picture[9:20] = picture[9:20] // 9 + (0, 80, 180)  # near the color that fills the top
    picture[:9] = (7, 99, 200)
    tifffile.imwrite("tiles.tif", picture, tile=(32, 32), photometric="rgb")
    base = ["quantize", "tiles.tif", "-k", "6", "-o", "out/tiles.tif"]
    base += ["--scheduler", two_workers.scheduler.address]
    plain = outcome(*base, "--dither", "none")
    assert plain.code == 0, plain.errors
    for name, (extra, said) in OF_BLOCKS.items():
        mixing = [] if name == "dither" else ["--dither", "none"]
        found = outcome(*base, *mixing, *extra)
        assert (found.code, found.files, said in found.errors) == (2, {}, True), (name, found)
    for extra in (*PALETTE.values(), *KEPT.values(), ["--dither", "bayer"], ["-k", "5"]):
        mixing = [] if "--dither" in extra else ["--dither", "none"]
        found = outcome(*base, *mixing, *extra)
        assert found.code == 0, found.errors
        assert found.files != plain.files, extra
