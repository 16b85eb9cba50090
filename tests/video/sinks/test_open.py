"""Frames in any format: written whole or not at all, read back by other programs."""

from __future__ import annotations

import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from videos import frames_of

from quantgpu.errors import InputError, OutputError, UsageError
from quantgpu.video.frames.open import open_frames
from quantgpu.video.sinks.open import SINKS, open_sink, sink_format

FRAME = Fraction(1, 25)


def indices(frames: int, k: int = 7, height: int = 17, width: int = 31) -> list[NDArray[np.uint8]]:
    """Index maps, of which about half stays from one to the next, and one stays as it is."""
    rng = np.random.default_rng(k)
    clip = [rng.integers(0, k, (height, width), dtype=np.uint8)]
    for number in range(frames - 1):
        stays = (rng.random((height, width)) < 0.5) | (number == 1)
        clip.append(np.where(stays, clip[-1], rng.integers(0, k, (height, width), dtype=np.uint8)))
    return clip


def palette(k: int, seed: int = 0) -> NDArray[np.uint8]:
    """K distinct colors."""
    rng = np.random.default_rng(seed)
    numbers = rng.choice(1 << 24, k, replace=False)
    return np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=1).astype(np.uint8)


def written(
    path: Path | str, clip: list[Any], colors: list[Any], durations: list[Fraction], **options: Any
) -> list[str]:
    """Write a clip; the notes."""
    height, width = clip[0].shape
    with open_sink(path, width=width, height=height, **options) as sink:
        for index, palette, duration in zip(clip, colors, durations, strict=True):
            sink.write(index, palette, duration)
    return sink.notes


def by_ffmpeg(path: Path) -> tuple[list[NDArray[np.uint8]], list[Fraction]]:
    """Pixels and times of frames, read by FFmpeg."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        pixels: list[Any] = [frame.to_ndarray(format="rgb24") for frame in frames]
        return pixels, [Fraction(frame.pts or 0) * (frame.time_base or 0) for frame in frames]


def by_pillow(path: Path) -> tuple[list[NDArray[np.uint8]], list[Fraction]]:
    """Pixels and times of frames, read by Pillow."""
    pixels, times, time = [], [], Fraction(0)
    with Image.open(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            pixels.append(np.asarray(image.convert("RGB")))
            times.append(time)
            time += Fraction(round(image.info["duration"]), 1000)
    return pixels, times


READERS = {
    ".gif": (by_ffmpeg, by_pillow),
    ".apng": (by_ffmpeg, by_pillow),
    ".webp": (by_pillow,),
    ".mkv": (by_ffmpeg,),
    ".mp4": (by_ffmpeg,),
}
"""Formats that are lossless to independent readers of them."""


@pytest.mark.parametrize("k", [2, 7, 255, 256])
@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("changes", [False, True], ids=["one palette", "palettes change"])
def test_other_programs_read_the_same_pixels_and_times(
    tmp_path: Path, suffix: str, k: int, changes: bool
) -> None:
    clip = indices(6, k, 18, 32)
    colors = [palette(k, number // 2 if changes else 0) for number in range(6)]
    durations = [Fraction(cs, 100) for cs in (4, 8, 4, 10, 2, 2)]
    path = tmp_path / f"a{suffix}"
    assert not written(path, clip, colors, durations, rate=Fraction(25), one_palette=not changes)
    for read in READERS[suffix]:
        pixels, times = read(path)
        assert times == [sum(durations[:number], Fraction(0)) for number in range(6)]
        for got, index, color in zip(pixels, clip, colors, strict=True):
            np.testing.assert_array_equal(got, color[index])


@pytest.mark.parametrize("suffix", [".gif", ".apng", ".webp"])
@pytest.mark.parametrize("loop", [0, 1, 3])
def test_how_often_it_is_shown_is_kept(tmp_path: Path, suffix: str, loop: int) -> None:
    path = tmp_path / f"a{suffix}"
    written(path, indices(3), [palette(7)] * 3, [FRAME] * 3, loop=loop)
    with open_frames(path) as frames:
        assert (frames.loop, frames.count) == (loop, 3)


@pytest.mark.parametrize("suffix", [*SINKS, "_%02d.png"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (17, 31)])
def test_awkward_sizes_and_a_single_frame(
    tmp_path: Path, suffix: str, size: tuple[int, int]
) -> None:
    if suffix == ".mkv" and size == (9, 1):
        with pytest.raises(OutputError, match="Matroska with FFV1 cannot be written"):
            written(tmp_path / "a.mkv", indices(1, 7, *size), [palette(7)], [FRAME])
        return
    for frames in (1, 3):
        clip = indices(frames, 7, *size)
        path = tmp_path / f"a{suffix}"
        written(path, clip, [palette(7)] * frames, [FRAME] * frames, force=True)
        got = frames_of(path)
        assert len(got) == frames
        for frame, index in zip(got, clip, strict=True):
            error = frame.pixels.astype(int) - palette(7)[index]
            assert abs(error).max() <= (3 if suffix == ".y4m" else 0)


@pytest.mark.parametrize("suffix", [".gif", ".apng", ".webp", ".mkv"])
@pytest.mark.parametrize("changes", [False, True])
def test_transparent_pixels_come_and_go(tmp_path: Path, suffix: str, changes: bool) -> None:
    clip = indices(5, 7)
    colors = []
    for number in range(5):
        opacity = np.full((7, 1), 255, np.uint8)
        opacity[6] = 0
        shown = palette(7, number if changes else 0)
        shown[6] = 0
        colors.append(np.hstack([shown, opacity]))
    path = tmp_path / f"a{suffix}"
    written(path, clip, colors, [FRAME] * 5, transparent=True, one_palette=not changes)
    for frame, index, color in zip(frames_of(path), clip, colors, strict=True):
        expected = color[index]
        np.testing.assert_array_equal(frame.pixels[..., 3], expected[..., 3])
        seen = expected[..., 3] > 0
        np.testing.assert_array_equal(frame.pixels[seen], expected[seen])


@pytest.mark.parametrize("suffix", [".apng", ".webp", ".mkv"])
def test_partly_transparent_colors_are_kept(tmp_path: Path, suffix: str) -> None:
    color = np.hstack([palette(7), np.arange(255, 80, -25, dtype=np.uint8)[:, None]])
    path = tmp_path / f"a{suffix}"
    written(path, indices(4), [color] * 4, [FRAME] * 4, transparent=True)
    for frame, index in zip(frames_of(path), indices(4), strict=True):
        np.testing.assert_array_equal(frame.pixels, color[index])


@pytest.mark.parametrize("suffix", [".apng", ".webp", ".mkv", ".mp4", "_%d.png"])
def test_more_than_256_colors_are_true_color(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    clip = [rng.integers(0, 1000, (18, 32), dtype=np.uint16) for _ in range(3)]
    path = tmp_path / f"a{suffix}"
    written(path, clip, [palette(1000)] * 3, [FRAME] * 3)
    for frame, index in zip(frames_of(path), clip, strict=True):
        np.testing.assert_array_equal(frame.pixels, palette(1000)[index])


def test_y4m_repeats_what_is_shown_for_longer(tmp_path: Path) -> None:
    path = tmp_path / "a.y4m"
    durations = [FRAME, 3 * FRAME, FRAME]
    clip = [np.full((17, 31), number, np.uint8) for number in range(3)]
    written(path, clip, [palette(7)] * 3, durations, rate=Fraction(25))
    pixels, times = by_ffmpeg(path)
    assert times == [number * FRAME for number in range(5)]
    np.testing.assert_array_equal(pixels[1], pixels[3])
    assert (pixels[0] != pixels[1]).any()
    assert (pixels[3] != pixels[4]).any()


def test_numbered_pictures_keep_their_palette(tmp_path: Path) -> None:
    for name in ("out_%03d.png", "new/", "."):
        written(tmp_path / name if name == "out_%03d.png" else f"{tmp_path}/{name}", *problem())
    names = ["out_001.png", "new/frame_00002.png", "frame_00003.png"]
    for name, index in zip(names, indices(3), strict=True):
        with Image.open(tmp_path / name) as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.asarray(image), index)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["new"]


def problem() -> Any:
    """Three frames, their palettes and durations."""
    return indices(3), [palette(7)] * 3, [FRAME] * 3


@pytest.mark.parametrize("name", ["a.gif", "a.apng", "a.webp", "a.mkv", "a_%d.png", "new/"])
def test_an_error_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    def work() -> None:
        with open_sink(f"{tmp_path}/{name}", width=31, height=17) as sink:
            sink.write(indices(1)[0], palette(7), FRAME)
            raise InputError("the source is damaged")

    with pytest.raises(InputError, match="the source is damaged"):
        work()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.gif", "a.apng", "a.webp", "a.mkv", "a.y4m", "a_%d.png"])
def test_no_frames_make_no_file(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(UsageError, match="no frames to write"),
        open_sink(tmp_path / name, width=31, height=17),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.gif", "a.apng", "a.webp", "a.mkv", "a_%d.png"])
def test_who_catches_the_error_keeps_the_frames_so_far(tmp_path: Path, name: str) -> None:
    with open_sink(tmp_path / name, width=31, height=17) as sink:
        try:
            sink.write(indices(1)[0], palette(7), FRAME)
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
    [frame] = frames_of(tmp_path / name)
    np.testing.assert_array_equal(frame.pixels, palette(7)[indices(1)[0]])


@pytest.mark.parametrize(("name", "there"), [("a.gif", "a.gif"), ("a_%d.png", "a_2.png")])
def test_nothing_is_replaced_unless_forced(tmp_path: Path, name: str, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(OutputError, match="exists; use --force"):
        written(tmp_path / name, *problem())
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"
    written(tmp_path / name, *problem(), force=True)
    assert (tmp_path / there).read_bytes() != b"mine"


@contextmanager
def small_files() -> Iterator[None]:
    """The system lets no file grow beyond some bytes: writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["a.gif", "a.apng", "a.webp", "a.mkv", "a.mp4", "a_%d.png"])
def test_what_the_system_refuses_is_said_and_leaves_nothing_behind(
    tmp_path: Path, name: str
) -> None:
    clip = indices(4, 250, 100, 120)
    with small_files(), pytest.raises(OutputError, match=r"cannot be written \(file too large\)"):
        written(tmp_path / name, clip, [palette(250)] * 4, [FRAME] * 4)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_reader_that_goes_away_is_said(size: int) -> None:
    code = (
        "import numpy as np\n"
        "from fractions import Fraction\n"
        "from quantgpu.errors import OutputError\n"
        "from quantgpu.video.sinks.open import open_sink\n"
        "import sys\n"
        "try:\n"
        "    with open_sink('-', width=320, height=240) as sink:\n"
        "        for _ in range(100):\n"
        "            sink.write(np.zeros((240, 320), np.uint8), np.zeros((1, 3), np.uint8), "
        "Fraction(1, 25))\n"
        "except OutputError as error: print(error, file=sys.stderr)\n"
        "import os; os.dup2(os.open(os.devnull, os.O_WRONLY), 1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        assert process.stdout.read(size).startswith(b"YUV4MPEG2")
        process.stdout.close()
        said = process.stderr.read().decode()
    assert said == "standard output: cannot be written (broken pipe)\n"
    assert process.returncode == 0


def test_y4m_goes_through_standard_output(tmp_path: Path) -> None:
    code = (
        "import numpy as np\n"
        "from fractions import Fraction\n"
        "from quantgpu.video.sinks.open import open_sink\n"
        "with open_sink('-', width=5, height=3, rate=Fraction(10)) as sink:\n"
        "    for level in (0, 90, 250):\n"
        "        sink.write(np.zeros((3, 5), np.uint8), np.full((1, 3), level, np.uint8), "
        "Fraction(1, 10))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    path = tmp_path / "a.y4m"
    path.write_bytes(done.stdout)
    got = frames_of(path)
    assert [frame.time for frame in got] == [0, Fraction(1, 10), Fraction(2, 10)]
    assert [int(frame.pixels.max()) for frame in got] == [0, 90, 250]


@pytest.mark.parametrize("suffix", [".gif", ".apng", ".webp"])
def test_memory_does_not_grow_with_the_frames(tmp_path: Path, suffix: str) -> None:
    clip = indices(3, 250, 120, 160)

    def peak(frames: int) -> int:
        tracemalloc.start()
        with open_sink(tmp_path / f"{frames}{suffix}", width=160, height=120) as sink:
            for number in range(frames):
                sink.write(clip[number % 3], palette(250), FRAME)
        grown = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        (tmp_path / f"{frames}{suffix}").unlink()
        return grown

    peak(3)
    many = min(peak(60) for _ in range(3))  # threads of other tests may allocate meanwhile
    assert many < peak(6) + 200_000  # the frames take 15 kB each


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.avi", r"no format of animations for the suffix '.avi'; use one of .gif, .apng, .webp"),
        ("a", r"suffix '\(none\)'"),
        ("a_%d_%d.png", "not a pattern of names"),
        ("%d/a.png", "not a pattern of names"),
        ("a_%d.xyz", "no format for the suffix '.xyz'"),
    ],
)
def test_unknown_formats_are_refused_with_the_known_ones(
    tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        sink_format(tmp_path / name)


def test_what_a_format_does_not_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="k = 257 is more than the 256 colors of GIF"):
        written(tmp_path / "a.gif", [np.zeros((2, 2), np.uint16)], [palette(257)], [FRAME])
    with (
        pytest.raises(UsageError, match="20000 x 1 is more than WebP holds"),
        open_sink(tmp_path / "a.webp", width=20_000, height=1),
    ):
        pass
    clear = np.array([[1, 2, 3, 0]], np.uint8)
    with pytest.raises(UsageError, match="said to have none"):
        written(tmp_path / "a.gif", [np.zeros((2, 2), np.uint8)], [clear], [FRAME])
    with pytest.raises(UsageError, match=r"MP4 with lossless H\.264 holds no transparent colors"):
        written(
            *(tmp_path / "a.mp4", [np.zeros((2, 2), np.uint8)], [clear], [FRAME]), transparent=True
        )
    soft = np.array([[1, 2, 3, 90]], np.uint8)
    with pytest.raises(UsageError, match="GIF holds one transparent color of alpha 0"):
        written(
            *(tmp_path / "a.gif", [np.zeros((2, 2), np.uint8)], [soft], [FRAME]), transparent=True
        )
    with pytest.raises(UsageError, match="a frame of 3 x 2 among frames of 2 x 2"):
        written(
            *(tmp_path / "a.gif", [np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8)]),
            [palette(1)] * 2,
            [FRAME] * 2,
        )
    assert list(tmp_path.iterdir()) == []


def test_without_pyav_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(OutputError, match="not installed; pip install av"):
        written(tmp_path / "a.mp4", *problem())
    written(tmp_path / "a.gif", *problem())
    written(tmp_path / "a.apng", *problem())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.apng", "a.gif"]


@pytest.mark.parametrize("name", ["none/a.gif", "none/new/", "none/a_%d.png/x_%d.png"])
def test_a_folder_that_is_not_there_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises((OutputError, UsageError), match=r"no such folder|not a pattern"):
        written(f"{tmp_path}/{name}", *problem())
