"""What is read is never written over, whatever names it goes by, and whatever may be replaced."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_runs import Ran, contents
from image_files import encoded
from pictures import photo
from PIL import Image
from typer.testing import CliRunner

from quantgpu import cli
from quantgpu.errors import UsageError
from quantgpu.io.originals import check_not_read, file_ids


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with everything that commands read."""
    monkeypatch.chdir(tmp_path)
    Path("photo.png").write_bytes(encoded(photo(17, 31), "PNG"))
    Path("mask.png").write_bytes(encoded(photo(17, 31)[..., 0], "PNG"))
    frames = [Image.fromarray(np.roll(photo(17, 31), 3 * n, axis=1)) for n in range(3)]
    frames[0].save("clip.gif", save_all=True, append_images=frames[1:], duration=40)
    Path("frames").mkdir()
    for number, frame in enumerate(frames, 1):
        frame.save(f"frames/frame_{number:05}.png")
    Image.fromarray(photo(17, 31)).quantize(5).save("colors.png")
    assert Ran("count", "photo.png", "-o", "photo.qhist").code == 0


def same(name: str) -> str:
    return name


def spelled(name: str) -> str:
    return os.path.join("..", os.path.basename(os.getcwd()), name)


def link(name: str) -> str:
    other = f"link-{os.path.basename(name)}"
    os.symlink(os.path.abspath(name), other)
    return other


def hard_link(name: str) -> str:
    other = f"hard-{os.path.basename(name)}"
    os.link(name, other)
    return other


WAYS = [same, spelled, link, hard_link]

COMMANDS = {
    "photo.png": [
        ["quantize", "photo.png", "-k", "4", "-o", "{}"],
        ["apply", "photo.png", "--palette", "colors.png", "-o", "{}"],
        ["palette", "photo.png", "-k", "4", "-o", "{}"],
    ],
    "mask.png": [
        ["quantize", "photo.png", "-k", "4", "--weights", "mask.png", "-o", "{}"],
        ["palette", "photo.png", "-k", "4", "--weights", "mask.png", "-o", "{}"],
    ],
    "colors.png": [
        ["quantize", "photo.png", "-k", "9", "--keep", "colors.png", "-o", "{}"],
        ["quantize", "photo.png", "-k", "4", "--from-palette", "colors.png", "-o", "{}"],
        ["apply", "photo.png", "--palette", "colors.png", "-o", "{}"],
    ],
    "photo.qhist": [
        ["count", "photo.png", "--histogram", "photo.qhist", "-o", "{}"],
    ],
    "clip.gif": [["video", "clip.gif", "{}", "-k", "4"]],
}
"""What is read, to commands that read it and are asked to write over it."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "command"), [(n, c) for n in COMMANDS for c in COMMANDS[n]])
def test_no_command_replaces_what_it_reads(
    name: str, command: list[str], way: Callable[[str], str]
) -> None:
    output = way(name)
    before = contents()
    ran = Ran(*[part.format(output) for part in command], "--force")
    assert (ran.code, contents()) == (2, before), ran
    assert "originals are never replaced" in ran.err


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["photo.png", "mask.png"])
def test_an_error_map_replaces_no_picture(name: str, way: Callable[[str], str]) -> None:
    output = way(name)
    before = contents()
    command = ["compare", "photo.png", "mask.png", "--map", output, "--force"]
    ran = CliRunner().invoke(cli.app, command)
    assert (ran.exit_code, contents()) == (2, before)
    assert "originals are never replaced" in ran.stderr


@pytest.mark.parametrize("source", ["frames", "frames/*.png", "frames/frame_%05d.png"])
@pytest.mark.parametrize("output", ["frames/", "frames/frame_%05d.png", "link/", "hard/"])
def test_no_frame_is_replaced_by_a_picture_made_of_it(source: str, output: str) -> None:
    os.symlink("frames", "link")
    Path("hard").mkdir()
    os.link("frames/frame_00003.png", "hard/frame_00003.png")
    before = contents()
    ran = Ran("video", source, output, "-k", "4", "--force")
    assert (ran.code, contents()) == (2, before), ran
    assert "is an input; originals are never replaced" in ran.err


def test_a_palette_of_a_clip_is_not_replaced_by_the_clip() -> None:
    os.symlink("colors.png", "out.png")
    before = contents()
    for output in ("colors.png", "out.png"):
        ran = Ran("video", "clip.gif", output, "--palette", "colors.png", "--force")
        assert (ran.code != 0, contents()) == (True, before), ran


def test_a_folder_around_an_input_is_not_replaced() -> None:
    with pytest.raises(UsageError, match=r"frames has the input frames/frame_00001.png inside"):
        check_not_read("frames", ["frames/frame_00001.png"])
    check_not_read("frames", ["photo.png"])
    check_not_read("-", ["-"])
    check_not_read(None, ["photo.png"])
    check_not_read("#fff", ["#fff", None, ""])


def test_colors_and_streams_are_no_files() -> None:
    assert file_ids(["#fff", "-", None, "", "none.png"]) == frozenset()
    assert len(file_ids(["photo.png", "mask.png", "./photo.png"])) == 2
