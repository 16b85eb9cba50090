"""`quantgpu video`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_runs import Ran
from image_files import encoded
from pictures import photo
from videos import colors, damaged, frames_of, moving, video

FEW = ["-k", "8", "--effort", "fast", "--device", "cpu"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a clip."""
    monkeypatch.chdir(tmp_path)
    video(Path("in.mkv"), moving())
    return tmp_path


def names() -> list[str]:
    """What is in the working directory."""
    return sorted(os.listdir("."))


def test_a_clip_is_written_and_one_line_says_so() -> None:
    ran = Ran("video", "in.mkv", "out.gif", *FEW)
    assert (ran.code, ran.err) == (0, ""), ran
    [line] = ran.lines
    assert re.fullmatch(
        r"out\.gif: 6 frames of 53 x 37, [\d,]+ colors -> 8, MSE [\d.]+, PSNR [\d.]+ dB, "
        r"flicker 0\.00, [\d.]+ kB, [\d.]+ s \([\d.]+ frames/s\)",
        line,
    )
    assert len(frames_of("out.gif")) == 6


def test_machines_get_one_object() -> None:
    ran = Ran("video", "in.mkv", "out.gif", *FEW, "--json", "--palette", "frame", "--hold", "3")
    [line] = ran.lines
    said = json.loads(line)
    assert (said["frames"], said["colors_out"], said["damage"]) == (6, 8, None)
    assert said["bytes_out"] == os.path.getsize("out.gif")
    assert said["flicker"] >= 0
    assert said["length"] == 0.24


def test_quiet_says_nothing_and_verbose_says_what_was_decided() -> None:
    assert Ran("video", "in.mkv", "a.gif", *FEW, "-q").lines == []
    ran = Ran("video", "in.mkv", "b.gif", *FEW, "-v")
    assert "palette shared" in ran.err


def test_the_format_decides_how_many_colors_there_are() -> None:
    video(Path("many.mkv"), colors(3, 40, 40))
    found = {}
    for name in ("a.gif", "a.webp"):
        ran = Ran("video", "many.mkv", name, "--effort", "fast", "--device", "cpu", "--json")
        found[name] = json.loads(ran.lines[0])["colors_out"]
    assert found == {"a.gif": 255, "a.webp": 256}


def test_what_is_shown_can_be_chosen() -> None:
    options = ["--start", "0.04", "--duration", "0.12", "--width", "20", "--fps", "50"]
    Ran("video", "in.mkv", "out.gif", *FEW, *options)
    found = frames_of("out.gif")
    assert [len(found), found[0].pixels.shape] == [6, (14, 20, 3)]


def test_damage_has_an_exit_code_of_its_own() -> None:
    damaged(Path("bad.avi"))
    ran = Ran("video", "bad.avi", "out.gif", *FEW)
    assert ran.code == 9
    assert ran.lines[0].startswith("out.gif: 10 frames")
    assert re.search(r"error: bad\.avi: damaged .*; the frames before that were written", ran.err)
    assert len(frames_of("out.gif")) == 10


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("in.mkv", "in.mkv"), 2, "in.mkv is an input"),
        (("in.mkv", "out.txt"), 2, r"no format of animations"),
        (("absent.mkv", "out.gif"), 3, "absent.mkv"),
        (("in.mkv", "out.gif", "--palette", "each"), 2, "use one of shared, scene, frame"),
        (
            ("in.mkv", "out.gif", "--palette", "absent.gpl"),
            2,
            "absent.gpl.*palette file that exists",
        ),
        (("in.mkv", "out.gif", "--hold", "65"), 2, r"hold = 65.0 is outside 0\.\.64"),
        (("in.mkv", "out.gif", "--memory", "much"), 2, "memory"),
        (("in.mkv", "out.gif", "--matte", "no color"), 2, "matte"),
        (("in.mkv", "absent/out.gif"), 4, "absent"),
        (("in.mkv", "out.gif", "--start", "7"), 3, "no frames in the time"),
        (("noise.mp4", "out.gif"), 3, "damaged or not a video"),
        (("empty.png", "out.gif"), 3, "empty"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: tuple[str, ...], code: int, message: str
) -> None:
    Path("noise.mp4").write_bytes(np.random.default_rng(0).bytes(3000))
    Path("empty.png").touch()
    before = names()
    extra = [] if "--palette" in arguments else FEW
    ran = Ran("video", *arguments, *extra, "--device", "cpu")
    assert (ran.code, ran.lines) == (code, []), ran
    assert len(ran.err.splitlines()) == 1, ran
    assert re.search(message, ran.err), ran
    assert names() == before


def test_a_palette_file_is_used() -> None:
    Path("few.hex").write_text("000000\nfa1403\n6e828c\n")
    ran = Ran("video", "in.mkv", "out.gif", "--palette", "few.hex", "--device", "cpu")
    assert ran.code == 0, ran
    used = np.unique(
        np.concatenate([f.pixels.reshape(-1, 3) for f in frames_of("out.gif")]), axis=0
    )
    assert {tuple(color) for color in used.tolist()} <= {(0, 0, 0), (250, 20, 3), (110, 130, 140)}


def quantgpu(*arguments: str) -> list[str]:
    """The command as another process runs it."""
    return [sys.executable, "-m", "quantgpu", "video", *arguments, "--device", "cpu"]


def y4m(frames: int) -> bytes:
    """A clip of 64 x 48, as it comes through a pipe."""
    planes = np.random.default_rng(0).integers(16, 236, (frames, 64 * 48 * 3 // 2), np.uint8)
    parts = [b"YUV4MPEG2 W64 H48 F25:1 C420jpeg\n"]
    return b"".join(parts + [b"FRAME\n" + plane.tobytes() for plane in planes])


def test_pipes_are_read_once_and_written() -> None:
    refused = subprocess.run(quantgpu("-", "out.gif"), input=y4m(3), capture_output=True)
    assert refused.returncode == 2
    assert b"--first 5" in refused.stderr
    options = ["--first", "0.1", "-k", "8", "--effort", "fast"]
    done = subprocess.run(quantgpu("-", "-", *options), input=y4m(9), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"YUV4MPEG2 W64 H48 F25:1")
    assert done.stdout.count(b"FRAME\n") == 9
    assert b"-: 9 frames of 64 x 48" in done.stderr


def test_a_reader_that_goes_away_ends_it_with_one_line() -> None:
    process = subprocess.Popen(
        quantgpu("-", "-", "--first", "0.04", "-k", "2", "--effort", "fast"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
        stdin.write(y4m(40))
    assert process.stderr is not None
    with process.stderr as stderr:
        said = stderr.read().decode()
    assert process.wait(30) == 4, said
    assert len(said.splitlines()) == 1, said


def test_ctrl_c_leaves_no_partial_file() -> None:
    video(Path("long.mkv"), 40 * moving())
    before = names()
    process = subprocess.Popen(
        quantgpu("long.mkv", "out.gif", "--palette", "frame"),
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 30
    while names() == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert names() != before
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert process.stderr is not None
    assert b"interrupted" in process.stderr.read()
    process.stderr.close()
    assert names() == before


@pytest.mark.skipif(sys.platform == "win32", reason="terminals are emulated with pty")
def test_a_terminal_shows_frames_their_rate_and_the_time_left() -> None:
    import pty

    video(Path("long.mkv"), 60 * moving())
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        quantgpu("long.mkv", "out.gif", "--palette", "frame", "--duration", "2"),
        stdout=subprocess.DEVNULL, stderr=follower, env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip
    os.close(follower)
    said = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(leader, 4096):
            said += chunk
    os.close(leader)
    assert process.wait(60) == 0
    assert re.search(rb"(count|write) \d+ of 50, \d+ frames/s", said)
    clocks = rb"\d:\d\d:\d\d|-:--:--"
    assert max(len(re.findall(clocks, line)) for line in re.split(rb"[\r\n]", said)) == 2


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_frames_are_counted_is_answered_at_once(
    tmp_path: Path, sign: signal.Signals
) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    (folder / "0.png").write_bytes(encoded(photo(300, 400), "PNG"))
    for number in range(1, 3000):
        os.link(folder / "0.png", folder / f"{number}.png")
    command = [sys.executable, "-m", "quantgpu", "video", "long", "out.gif", "-v", "--device"]

    def heard() -> None:  # jobs in the background begin with deaf ears for Ctrl-C
        signal.signal(sign, signal.SIG_DFL)

    with subprocess.Popen(
        [*command, "cpu"], stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("quantgpu ")  # the work begins
        time.sleep(1)
        process.send_signal(sign)
        started = time.monotonic()
        _, said = process.communicate(timeout=60)
    assert time.monotonic() - started < 5
    assert process.returncode == 130
    assert said == "quantgpu: interrupted; files at work were not written\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "long"]
