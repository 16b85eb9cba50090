"""Clips in K colors."""

from __future__ import annotations

import errno
import threading
import tracemalloc
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import gpu_double
import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import photo, soft_photo
from PIL import Image
from videos import animation, colors, damaged, frames_of, moving, video

import quantgpu
from quantgpu.api import quantize_video
from quantgpu.dithering.methods import DITHERS
from quantgpu.errors import DeviceError, InputError, OutputError, UsageError
from quantgpu.video import gpu_stream
from quantgpu.video.palettes import PALETTES
from quantgpu.video.sinks import gif

FAST: dict[str, Any] = {"device": "cpu", "effort": "fast"}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """`moving` as a video."""
    return video(tmp_path / "in.mkv", moving())


def shown(path: Path) -> list[NDArray[np.uint8]]:
    """The pictures in a file."""
    return [frame.pixels for frame in frames_of(path)]


def error_of(source: Path, output: Path) -> float:
    """The mean squared error of a pixel."""
    gaps = [(a.astype(int) - b) ** 2 for a, b in zip(shown(source), shown(output), strict=True)]
    return float(np.mean(gaps)) * 3


def still_changes(source: Path, output: Path) -> int:
    """Pixels that change in the output, but not in the source."""
    before, after = shown(source), shown(output)
    return sum(
        int((((a == b).all(axis=2)) & (c != d).any(axis=2)).sum())
        for a, b, c, d in zip(before, before[1:], after, after[1:], strict=False)
    )


@pytest.mark.parametrize("suffix", [".gif", ".apng", ".webp", ".mkv"])
@pytest.mark.parametrize("palette", PALETTES)
def test_each_way_writes_frames_of_k_colors(clip: Path, suffix: str, palette: str) -> None:
    output = clip.with_name(f"out{suffix}")
    report = quantize_video(clip, output, 9, palette=palette, **FAST)
    pictures = shown(output)
    assert [len(np.unique(p.reshape(-1, 3), axis=0)) <= 9 for p in pictures] == [True] * 6
    assert (report.frames, report.width, report.height, report.colors_out) == (6, 53, 37, 9)
    assert report.palettes == (1 if palette != "frame" else report.palettes)
    assert report.mse == pytest.approx(error_of(clip, output))
    assert report.bytes_out == output.stat().st_size
    assert report.length == Fraction(6, 25)
    assert report.damage is None


def test_the_shared_palette_is_that_of_all_pixels_together(clip: Path) -> None:
    output = clip.with_name("out.apng")
    options = {"color_space": "srgb", "perceptual": False, "dither": "none", **FAST}
    quantize_video(clip, output, 16, **options)
    together = quantgpu.quantize(np.concatenate(moving()), 16, **options)
    np.testing.assert_array_equal(np.concatenate(shown(output)), together.to_array())


@pytest.mark.parametrize("method", DITHERS)
def test_what_is_still_stays_whatever_the_method(clip: Path, method: str) -> None:
    output = clip.with_name("out.gif")
    report = quantize_video(clip, output, 12, dither=method, **FAST)
    assert still_changes(clip, output) == 0
    assert report.flicker == 0
    assert report.mse == pytest.approx(error_of(clip, output))


@pytest.mark.parametrize("palette", PALETTES)
def test_what_is_held_stays_too_and_makes_files_smaller(clip: Path, palette: str) -> None:
    noisy = [
        np.clip(p + np.random.default_rng(n).integers(-3, 4, p.shape), 0, 255).astype(np.uint8)
        for n, p in enumerate(moving())
    ]
    source = video(clip.with_name("noisy.mkv"), noisy)
    sizes, changes = [], []
    for hold in (0, 8):
        output = clip.with_name(f"held{hold}.gif")
        report = quantize_video(
            source, output, 32, palette=palette, hold=hold, dither="none", **FAST
        )
        assert report.mse == pytest.approx(error_of(source, output))
        sizes.append(output.stat().st_size)
        pictures = shown(output)
        changes.append(sum((a != b).any(axis=2).sum() for a, b in pairwise(pictures)))
    assert sizes[1] < 0.8 * sizes[0]
    assert changes[1] < 0.5 * changes[0]


def test_flicker_is_told_where_palettes_change(clip: Path) -> None:
    output = clip.with_name("out.apng")
    report = quantize_video(clip, output, 6, palette="frame", dither="none", **FAST)
    before, after = shown(clip), shown(output)
    change, pixels = 0, 0
    for a, b, c, d in zip(before, before[1:], after, after[1:], strict=False):
        still = (a == b).all(axis=2)
        change += int(np.abs(c.astype(int) - d)[still].sum())
        pixels += int(still.sum())
    assert report.flicker == pytest.approx(change / (3 * pixels))


def test_scenes_get_palettes_of_their_own(tmp_path: Path) -> None:
    red, blue = photo(), photo()[:, :, ::-1].copy()
    blue[:] = np.minimum(blue, 120)
    source = video(tmp_path / "in.mkv", [red, red, blue, blue, blue])
    found = [
        quantize_video(source, tmp_path / f"{way}.gif", 8, palette=way, dither="none", **FAST)
        for way in ("shared", "scene")
    ]
    assert [report.palettes for report in found] == [1, 2]
    assert found[1].mse < 0.8 * found[0].mse


def test_few_colors_come_out_unchanged(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    some = rng.integers(0, 256, (7, 3), dtype=np.uint8)
    pictures = [some[rng.integers(0, 7, (17, 31))] for _ in range(4)]
    source = video(tmp_path / "in.mkv", pictures)
    for palette in PALETTES:
        output = tmp_path / f"{palette}.gif"
        report = quantize_video(source, output, palette=palette, **FAST)
        assert report.mse == 0
        assert "lossless" in report.as_line()
        np.testing.assert_array_equal(shown(output), pictures)


@pytest.mark.parametrize("method", ["none", "blue-noise", "adaptive"])
def test_a_given_palette_serves_alike_in_one_pass_and_in_two(
    clip: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    palette = [(0, 0, 0), (250, 20, 3), (110, 130, 140), (255, 255, 255), (160, 90, 120)]
    outputs = []
    for once in (False, True):
        output = clip.with_name(f"{once}.gif")
        frames = opened_once if once else quantgpu_frames()
        monkeypatch.setattr("quantgpu.video.options.open_frames", frames)
        report = quantize_video(clip, output, palette=palette, dither=method, **FAST)
        assert report.mse == pytest.approx(error_of(clip, output))
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]


def quantgpu_frames() -> Any:
    from quantgpu.video.frames.open import open_frames

    return open_frames


def opened_once(*arguments: Any, **options: Any) -> Any:
    """Frames that can be read only once."""
    frames = quantgpu_frames()(*arguments, **options)
    read, used = frames.read, list[int]()

    def once(since: Fraction) -> Any:
        assert not used
        used.append(1)
        yield from read(since)

    frames.read, frames.rereadable = once, False
    return frames


def test_the_beginning_may_decide(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = []
    for once in (False, True):
        frames = opened_once if once else quantgpu_frames()
        monkeypatch.setattr("quantgpu.video.options.open_frames", frames)
        output = clip.with_name(f"{once}.gif")
        report = quantize_video(clip, output, 16, first=0.08, dither="none", **FAST)
        assert (report.frames, report.palettes) == (6, 1)
        assert report.mse == pytest.approx(error_of(clip, output))
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]
    monkeypatch.undo()
    short = quantize_video(clip, clip.with_name("b.gif"), 16, duration=0.08, dither="none", **FAST)
    palette = {tuple(c) for p in shown(clip.with_name("b.gif")) for c in p.reshape(-1, 3).tolist()}
    later = {tuple(c) for p in shown(output) for c in p.reshape(-1, 3).tolist()}
    assert short.frames == 2
    assert later <= palette


@pytest.mark.parametrize("palette", ["shared", "scene"])
def test_what_is_read_twice_must_be_readable_twice(
    clip: Path, palette: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantgpu.video.options.open_frames", opened_once)
    with pytest.raises(UsageError, match=r"only once, .* --first 5.*--palette frame"):
        quantize_video(clip, clip.with_name("out.gif"), palette=palette, **FAST)
    assert not clip.with_name("out.gif").exists()


@pytest.mark.parametrize("suffix", [".gif", ".apng"])
@pytest.mark.parametrize("palette", PALETTES)
def test_transparent_frames_stay_transparent(tmp_path: Path, suffix: str, palette: str) -> None:
    pictures = [np.roll(soft_photo(), 7 * n, axis=1) for n in range(3)]
    for picture in pictures:
        picture[..., 3] = np.where(picture[..., 3] > 127, 255, 0)
    source = animation(tmp_path / "in.png", pictures)
    output = tmp_path / f"out{suffix}"
    quantize_video(source, output, 16, palette=palette, dither="none", **FAST)
    for before, after in zip(pictures, shown(output), strict=True):
        np.testing.assert_array_equal(before[..., 3], after[..., 3])


def test_soft_transparency_is_said_to_be_lost(tmp_path: Path) -> None:
    source = animation(tmp_path / "in.png", [soft_photo(), soft_photo(seed=1)])
    report = quantize_video(source, tmp_path / "out.gif", 16, **FAST)
    assert report.notes == ["GIF holds fully transparent colors only"]
    report = quantize_video(source, tmp_path / "out.mp4", 16, **FAST)
    assert report.notes == ["MP4 holds no transparent colors"] or "transparent" in report.notes[-1]


@pytest.mark.parametrize("size", [(1, 1), (1, 19), (23, 1), (17, 31)])
def test_awkward_sizes_are_written(tmp_path: Path, size: tuple[int, int]) -> None:
    source = animation(tmp_path / "in.png", colors(3, *size))
    for palette in PALETTES:
        output = tmp_path / f"{palette}.gif"
        report = quantize_video(source, output, 4, palette=palette, **FAST)
        assert report.mse == pytest.approx(error_of(source, output))


def test_one_frame_and_pictures_are_clips_too(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "a.png")
    report = quantize_video(tmp_path / "a.png", f"{tmp_path}/out/", 16, **FAST)
    assert report.frames == 1
    assert report.as_line().startswith(f"{tmp_path}/out/: 1 frame of 83 x 61, ")
    assert report.bytes_out == (tmp_path / "out/frame_00001.png").stat().st_size


def test_times_are_kept(tmp_path: Path) -> None:
    source = video(tmp_path / "in.mkv", moving(4), pts=[0, 10, 30, 37], base=Fraction(1, 100))
    output = tmp_path / "out.gif"
    quantize_video(source, output, 8, **FAST)
    assert [f.time for f in frames_of(output)] == [0, *(Fraction(n, 100) for n in (10, 30, 37))]


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("hold", [0, 5])
def test_threads_change_nothing(clip: Path, palette: str, hold: float) -> None:
    files = []
    for threads in (1, 3):
        output = clip.with_name(f"{threads}.gif")
        quantize_video(clip, output, 16, palette=palette, hold=hold, threads=threads, **FAST)
        files.append(output.read_bytes())
    assert files[0] == files[1]


GIVEN = [(0, 0, 0), (250, 20, 3), (110, 130, 140), (255, 255, 255)]


def assert_a_gpu_gives_the_same_bytes(source: Path, notes: list[str], **options: Any) -> None:
    """A GIF by the CPU, and one on the stand-in that is installed."""
    files = [source.with_name(f"{device}.gif") for device in ("cpu", "gpu")]
    options = {"effort": "fast", "force": True, **options}
    reports = [quantize_video(source, file, device=file.stem, **options) for file in files]
    assert reports[1].device_notes == notes
    assert reports[1].device == (
        "cpu" if any("with the CPU" in note for note in notes) else "gpu:0"
    )
    assert files[0].read_bytes() == files[1].read_bytes()
    told = [(r.frames, r.squared_error, r.palettes, r.colors_in, r.damage) for r in reports]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("palette", "method"),
    [
        *(("shared", "none"), ("shared", "blue-noise"), ("scene", "adaptive")),
        *(("frame", "blue-noise"), (GIVEN, "adaptive")),
    ],
)
def test_a_gpu_gives_the_same_bytes(
    clip: Path, palette: Any, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_stream, "BATCH_BYTES", 2 * 3 * 37 * 53)
    options = {"k": 8} if isinstance(palette, str) else {}
    with gpu_double.installed():
        assert_a_gpu_gives_the_same_bytes(
            clip, [], palette=palette, dither=method, duration=0.2, **options
        )


def test_a_gpu_gives_the_same_bytes_for_transparent_and_damaged_clips(tmp_path: Path) -> None:
    pictures = [np.roll(soft_photo(), 7 * n, axis=1) for n in range(3)]
    source = animation(tmp_path / "in.png", pictures)
    broken = damaged(tmp_path / "in.avi")
    with gpu_double.installed():
        assert_a_gpu_gives_the_same_bytes(source, [], k=9, palette="scene", hold=3)
        assert_a_gpu_gives_the_same_bytes(broken, [], k=9, dither="none", start=0.3)


SLOWER = "gpu:0 ran out of memory; went on with smaller slabs"
WITHOUT = "gpu:0 ran out of memory; went on with the CPU"


def failing(times: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the fourth batch on, a GPU fails so many times."""
    calls, send = [], gpu_stream.GpuFrameStream.send

    def failing_send(self: Any, batch: Any) -> Any:
        calls.append(batch)
        if 3 < len(calls) <= 3 + times:
            raise error
        return send(self, batch)

    monkeypatch.setattr(gpu_stream.GpuFrameStream, "send", failing_send)
    monkeypatch.setattr(gpu_stream, "BATCH_BYTES", 1)


@pytest.mark.parametrize(("times", "note"), [(1, SLOWER), (9, WITHOUT)])
def test_a_gpu_that_runs_out_of_memory_half_way_costs_nothing_but_time(
    clip: Path, times: int, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gpu_double.installed() as gpu:
        failing(times, gpu.cuda.memory.OutOfMemoryError(9, 9), monkeypatch)
        assert_a_gpu_gives_the_same_bytes(clip, [note], k=8)


def test_a_gpu_with_little_memory_takes_frames_one_by_one(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(gpu_stream.GpuFrameStream, "send", none)
    monkeypatch.setattr(gpu_stream, "IN_BUDGET", 1 << 30)
    with gpu_double.installed():
        assert_a_gpu_gives_the_same_bytes(clip, [], k=8)


def test_a_clip_that_can_be_read_only_once_is_not_begun_again(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantgpu.video.options.open_frames", opened_once)
    with gpu_double.installed():
        failing(9, RuntimeError("cudaErrorLaunchFailure"), monkeypatch)
        with pytest.raises(DeviceError, match=r"failed half-way.* only once: use --device cpu"):
            quantize_video(clip, clip.with_name("out.gif"), palette="frame", effort="fast")
    assert not clip.with_name("out.gif").exists()


@pytest.mark.parametrize("palette", [*PALETTES, [(0, 0, 0), (250, 20, 3)]])
def test_frames_before_damage_are_written(tmp_path: Path, palette: Any) -> None:
    source, output = damaged(tmp_path / "in.avi"), tmp_path / "out.gif"
    report = quantize_video(source, output, palette=palette, dither="none", **FAST)
    assert report.frames == len(shown(output)) == 10
    assert report.damage is not None
    assert "in.avi: damaged" in report.damage
    assert report.mse == pytest.approx(error_of(source, output))


def test_a_full_disk_leaves_nothing(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def full(self: Any, *_: Any) -> None:
        written.append(1)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gif.Gif, "write", full)
    before = set(threading.enumerate())
    with pytest.raises(OutputError, match="the disk is full; nothing was written"):
        quantize_video(clip, clip.with_name("out.gif"), 8, **FAST)
    assert sorted(path.name for path in clip.parent.iterdir()) == ["in.mkv"]
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("stage", ["count", "write"])
def test_an_interrupt_leaves_nothing(clip: Path, stage: str) -> None:
    def interrupt(said: str, share: float) -> None:
        if said.startswith(stage):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize_video(clip, clip.with_name("out.gif"), 8, progress=interrupt, **FAST)
    assert sorted(path.name for path in clip.parent.iterdir()) == ["in.mkv"]


def test_frames_of_different_sizes_are_refused(tmp_path: Path) -> None:
    Image.fromarray(photo(20, 20)).save(tmp_path / "1.png")
    Image.fromarray(photo(20, 21)).save(tmp_path / "2.png")
    with pytest.raises(InputError, match="frames must be of one size"):
        quantize_video(tmp_path, tmp_path / "out.gif", 8, **FAST)


def test_no_frames_in_the_time_asked_for_is_said(clip: Path) -> None:
    with pytest.raises(InputError, match="no frames in the time"):
        quantize_video(clip, clip.with_name("out.gif"), 8, start=9, **FAST)
    assert not clip.with_name("out.gif").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 257}, r"k = 257 is more than the 256 colors of GIF"),
        ({"k": 0}, r"k = 0 is outside"),
        ({"hold": -1}, r"hold = -1 is outside 0\.\.64"),
        ({"hold": float("nan")}, r"hold = nan is outside"),
        ({"palette": "every"}, r"use one of shared, scene, frame"),
        ({"palette": "frame", "first": 2}, r"--first is for --palette shared"),
        ({"first": 0}, r"--first 0 is below"),
        ({"palette": [(0, 0, 0)], "k": 4}, r"the one given has its own colors"),
        ({"dither": "some"}, r"is not one of none"),
        ({"fps": -3}, r"--fps -3"),
        ({"conversion": "some"}, r"exact, fast"),
        ({"alpha": "some"}, r"keep"),
        ({"palette": np.zeros((300, 3), np.uint8)}, r"k = 300 is more than the 256 colors of GIF"),
    ],
)
def test_wrong_options_are_refused_before_any_work(
    clip: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        quantize_video(clip, clip.with_name("out.gif"), **{**FAST, **options})
    assert not clip.with_name("out.gif").exists()


def test_what_exists_is_kept_unless_forced(clip: Path) -> None:
    output = clip.with_name("out.gif")
    output.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        quantize_video(clip, output, 8, **FAST)
    assert output.read_bytes() == b"mine"
    quantize_video(clip, output, 8, force=True, **FAST)
    assert len(shown(output)) == 6


def test_progress_tells_frames_and_their_rate(clip: Path) -> None:
    told: list[tuple[str, float]] = []
    quantize_video(
        clip, clip.with_name("out.gif"), 8, progress=lambda *say: told.append(say), **FAST
    )
    stages = [stage.split(",")[0] for stage, _ in told if "frames/s" in stage]
    assert [s for s in stages if s.startswith("write")] == [f"write {n} of 6" for n in range(1, 7)]
    assert [s for s in stages if s.startswith("count")] == [f"count {n} of 6" for n in range(1, 7)]
    assert told[-1][1] == 1.0


def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    peaks = []
    for frames in (20, 200):
        source = video(tmp_path / f"{frames}.mkv", 10 * frames // 10 * moving(1, 90, 120))
        tracemalloc.start()
        quantize_video(source, tmp_path / f"{frames}.gif", 8, dither="none", **FAST)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.02 * peaks[0]
