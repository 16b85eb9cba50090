"""Clips on a cluster have the bytes of the plain call, and say what it says."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from command_runs import Ran
from dask_workers import kill_one, processes, unable_to_write
from pictures import photo
from PIL import Image
from videos import damaged, moving, video

from quantgpu.distributed import video as crew_frames
from quantgpu.video.frames.open import open_frames

FEW = ["-k", "8", "--effort", "fast", "--device", "cpu"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, which is not the workers', with a clip; ranges are short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(crew_frames, "LEAST_FRAMES", 2)
    video(Path("in.mkv"), moving())


@pytest.fixture
def on_cluster(two_workers: Any) -> list[str]:
    return ["--scheduler", two_workers.scheduler.address]


def made(name: str) -> dict[str, bytes]:
    """What was written under names that begin so."""
    files = [path for path in Path().rglob("*") if path.is_file() and str(path).startswith(name)]
    return {str(file)[len(name) :]: file.read_bytes() for file in files}


def told(ran: Ran) -> list[str]:
    """What is printed, but for times and the output's name."""
    return [re.sub(r", [\d.]+ s \(.*|^\w+", "", line) for line in ran.lines]


def assert_same(source: str, suffix: str, options: list[str], on_cluster: list[str]) -> Ran:
    """The plain call and the cluster write and say the same."""
    plain = Ran("video", source, f"plain{suffix}", *options)
    ran = Ran("video", source, f"there{suffix}", *options, *on_cluster)
    assert (ran.code, ran.err, told(ran)) == (plain.code, plain.err, told(plain))
    assert made("there") == made("plain")
    assert not list(Path().glob(".quantgpu*"))
    return ran


@pytest.mark.parametrize(
    ("suffix", "by_workers", "options"),
    [
        (".gif", False, FEW),
        ("/", True, FEW),
        ("/", False, [*FEW, "--hold", "3"]),
        ("/", False, [*FEW, "--first", "0.1", "--no-perceptual"]),
        ("/", False, [*FEW, "--dither", "floyd-steinberg"]),
        (".webp", False, [*FEW, "--fps", "50", "--start", "0.05", "--width", "31"]),
        ("/", True, ["--palette", "#000,#fa1403,#6e828c,#fff", "--device", "cpu"]),
    ],
)
def test_a_clip_has_the_bytes_of_the_plain_call(
    on_cluster: list[str],
    suffix: str,
    by_workers: bool,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[Any] = []
    real = crew_frames.DistributedClip.write

    def noted(*each: Any) -> Any:
        written.append(each)
        return real(*each)

    monkeypatch.setattr(crew_frames.DistributedClip, "write", noted)
    assert assert_same("in.mkv", suffix, options, on_cluster).code == 0
    assert len(written) == by_workers


def test_a_worker_with_a_gpu_beside_one_without_gives_the_same_bytes(on_cluster: list[str]) -> None:
    assert Ran("video", "in.mkv", "plain/", *FEW).code == 0
    ran = Ran("video", "in.mkv", "there/", *FEW[:-1], "auto", *on_cluster)
    assert (ran.code, len(ran.lines)) == (0, 1)
    assert made("there") == made("plain")
    notes = [line for line in ran.err.splitlines() if "the worker" in line]
    assert len(set(notes)) == len(notes)
    assert all(re.search(r"the worker tcp://[\d.:]+: no GPU is used: no NV", n) for n in notes)
    ran = Ran("video", "in.mkv", "not/", *FEW[:-1], "gpu", *on_cluster)
    assert (ran.code, ran.lines) == (6, [])
    assert re.search(r"the worker tcp://[\d.:]+ cannot use --device gpu: no NVIDIA", ran.err)
    assert not Path("not").exists()


def test_pictures_and_animations_are_spread_too(on_cluster: list[str]) -> None:
    Path("frames").mkdir()
    for number, picture in enumerate(moving()):
        Image.fromarray(picture).convert("P").save(f"frames/{number}.png")
    assert_same("frames/*.png", "_%02d.bmp", FEW, on_cluster)
    first, *others = map(Image.fromarray, moving())
    first.save("in.gif", save_all=True, append_images=others, duration=[30, 50, 40, 90, 20, 70])
    assert_same("in.gif", ".webp", FEW, on_cluster)


def test_damage_is_told_as_without(on_cluster: list[str]) -> None:
    damaged(Path("bad.avi"))
    ran = assert_same("bad.avi", ".gif", [*FEW, "--dither", "none"], on_cluster)
    assert ran.code == 9
    assert "error: bad.avi: damaged" in ran.err
    Path("frames").mkdir()
    for number, picture in enumerate(moving()):
        Image.fromarray(picture).save(f"frames/{number}.png")
    data = Path("frames/3.png").read_bytes()
    Path("frames/3.png").write_bytes(data[: len(data) // 2])
    assert "frames/3.png" in assert_same("frames/*.png", "/", [*FEW, "--force"], on_cluster).err


def test_a_worker_that_is_killed_while_it_counts_costs_nothing(
    two_workers: Any, on_cluster: list[str]
) -> None:
    video(Path("long.mkv"), [photo(160, 200, seed) for seed in range(4)] * 8)
    options = [*FEW, "--dither", "none"]
    plain = Ran("video", "long.mkv", "plain/", *options)
    killer = threading.Thread(target=kill_one, args=(two_workers, processes(two_workers)))
    killer.start()
    ran = Ran("video", "long.mkv", "there/", *options, *on_cluster)
    killer.join()
    assert (ran.code, ran.err, told(ran)) == (0, "", told(plain))
    assert made("there") == made("plain")


def test_pictures_that_are_there_stay_unless_forced(on_cluster: list[str]) -> None:
    Path("out").mkdir()
    Path("out/frame_00004.png").write_bytes(b"mine")
    ran = Ran("video", "in.mkv", "out/", *FEW, *on_cluster)
    assert ran.code == 4
    assert "out/frame_00004.png: exists" in ran.err
    assert made("out") == {"/frame_00004.png": b"mine"}
    assert Ran("video", "in.mkv", "out/", *FEW, "--force", *on_cluster).code == 0
    assert len(made("out")) == 6


def test_a_worker_that_cannot_write_is_told_with_its_address(
    two_workers: Any, on_cluster: list[str]
) -> None:
    with unable_to_write(two_workers, 2) as workers:
        video(Path("in.mkv"), moving())
        ran = Ran("video", "in.mkv", "out/", *FEW, *on_cluster)
        assert (ran.code, ran.lines) == (4, [])
        assert re.search(
            rf"out: not writable \(permission denied\), on the worker ({'|'.join(workers)})$",
            ran.err.strip(),
        )
        assert os.listdir() == ["in.mkv"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-", "out.gif"], 2, "workers have no standard input"),
        (["in.mkv", "out.gif", "--palette", "scene"], 2, "leave out --scheduler, or use --palette"),
        (["in.mkv", "out.gif", "--palette", "frame"], 2, "finds each palette from the one before"),
        (["in.mkv", "out.gif", "--start", "9"], 3, "in.mkv: no frames in the time"),
        (["none.mkv", "out.gif"], 3, "none.mkv: no such file"),
        (["in.mkv", "none/out/"], 4, "no such folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    on_cluster: list[str], arguments: list[str], code: int, message: str
) -> None:
    ran = Ran("video", *arguments, *FEW, *on_cluster)
    assert (ran.code, ran.lines, len(ran.err.splitlines())) == (code, [], 1)
    assert message in ran.err
    assert sorted(os.listdir()) == ["in.mkv"]


def without_pyav(absent: bool) -> None:
    """Let a process have no PyAV, or have it again."""
    for name in [name for name in sys.modules if name == "av" or name.startswith("av.")]:
        del sys.modules[name]
    if absent:
        sys.modules["av"] = None  # type: ignore[assignment]


def test_a_worker_without_pyav_is_named(two_workers: Any, on_cluster: list[str]) -> None:
    two_workers.run(without_pyav, True)
    try:
        ran = Ran("video", "in.mkv", "out.gif", *FEW, *on_cluster)
    finally:
        two_workers.run(without_pyav, False)
    assert (ran.code, ran.lines) == (10, [])
    said = r"in.mkv: video is .* not installed; pip install av, on the worker tcp://[\d.:]+$"
    assert re.search(said, ran.err.strip())


def test_a_cluster_that_cannot_be_used_is_told_before_anything_is_done() -> None:
    ran = Ran("video", "in.mkv", "out.gif", *FEW, "--scheduler", "nonsense")
    assert (ran.code, ran.lines) == (2, [])
    assert "is not tcp://HOST:PORT" in ran.err


def test_frames_that_change_meanwhile_are_noticed(
    on_cluster: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = crew_frames.DistributedClip.write

    def late(*arguments: Any) -> Any:
        video(Path("in.mkv"), moving()[::-1])
        return real(*arguments)

    monkeypatch.setattr(crew_frames.DistributedClip, "write", late)
    ran = Ran("video", "in.mkv", "out/", *FEW, *on_cluster)
    assert (ran.code, ran.lines) == (3, [])
    assert "in.mkv: has changed since its colors were counted" in ran.err
    assert sorted(os.listdir()) == ["in.mkv"]


def test_progress_tells_what_the_cluster_has_done(two_workers: Any) -> None:
    from quantgpu import quantize_video

    said: list[tuple[str, float]] = []
    report = quantize_video(
        "in.mkv", "out/", 8, effort="fast", device="cpu",
        scheduler=two_workers.scheduler.address, progress=lambda *each: said.append(each),
    )  # fmt: skip
    with open_frames("in.mkv") as frames:
        assert report.frames == frames.count == 6
    counted = [share for stage, share in said if stage == "count on the cluster"]
    assert counted == [(number + 1) / len(counted) for number in range(len(counted))]
    assert said[-1] == ("write on the cluster", 1.0)
    assert json.loads(json.dumps(report.as_json()))["frames"] == 6
