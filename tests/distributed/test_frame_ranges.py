"""Ranges of frames count together what the clip counts, wherever they begin."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask
import gpu_double
import numpy as np
import pytest
from pictures import soft_photo
from PIL import Image
from videos import OPEN, animation, colors, damaged, frames_of, moving, video

from quantgpu import DeviceError, InputError, UsageError, cluster
from quantgpu.color.alpha import AlphaOptions
from quantgpu.distributed import frame_ranges
from quantgpu.distributed.blocks import add_histograms, count_block
from quantgpu.distributed.frame_ranges import (
    REREAD_NOTE,
    FrameCountOptions,
    FrameRange,
    RangeCount,
    check_range,
    colors_of,
    colors_of_undamaged,
    count_range,
    follows,
    range_end,
    ranges_of,
    recount_if_astray,
    sum_of_ranges,
)
from quantgpu.distributed.tiles import Halo
from quantgpu.execution.selection import Compute
from quantgpu.histogram import Histogram
from quantgpu.io.histogram_files import Counted, encode_histogram
from quantgpu.video.frames.open import open_frames
from quantgpu.video.options import FrameOptions

PLAIN = FrameCountOptions()


def shifted(frames: int) -> list[Any]:
    """A picture that moves, so that frames go by the ones before."""
    return [np.roll(moving(1)[0], 3 * number, axis=1) for number in range(frames)]


def many_frames(folder: Path) -> dict[str, str]:
    """Clips of all kinds."""
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, picture in enumerate(shifted(7)):
        Image.fromarray(picture).save(pictures / f"{number}.png")
    soft = [np.roll(soft_photo(), 7 * number, axis=1) for number in range(5)]
    long = shifted(110)
    return {
        "open.mp4": str(video(folder / "a.mp4", long, "libx264", "yuv444p", options=OPEN)),
        "stream.ts": str(video(folder / "a.ts", long, "libx264", "yuv444p", options=OPEN)),
        "old.avi": str(video(folder / "a.avi", long, "mpeg4", "yuv420p", options={"bf": "2"})),
        "pictures": str(pictures),
        "pattern": f"{pictures}/%d.png",
        "a.gif": str(animation(folder / "a.gif", moving(6))),
        "soft.png": str(animation(folder / "soft.png", soft)),
    }


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return many_frames(tmp_path_factory.mktemp("clips"))


def in_turn(places: list[FrameRange], way: FrameCountOptions = PLAIN) -> list[RangeCount]:
    """What ranges after each other count."""
    parts: list[RangeCount] = []
    for place in places:
        part = count_range(place, way)
        parts.append(recount_if_astray(part, range_end(parts[-1]), place, way) if parts else part)
    return parts


def between(source: str, moments: list[Any]) -> list[FrameRange]:
    """A clip, cut at some moments."""
    return [FrameRange(source, *each) for each in pairwise([0, *moments, None])]


def bytes_of(histogram: Any) -> bytes:
    assert isinstance(histogram, Histogram)
    return encode_histogram(Counted(histogram, histogram.weights is not None))


def in_all(pictures: list[Any], perceptual: bool = True) -> bytes:
    """What pictures count, one by one."""
    return bytes_of(add_histograms([count_block(p, Halo(), perceptual).result for p in pictures]))


def by_hand(source: str, way: FrameCountOptions) -> bytes:
    """What all frames count, one by one."""
    with way.open(source) as frames:
        return in_all([frame.pixels for frame in frames], way.perceptual)


SOURCES = "open.mp4", "stream.ts", "old.avi", "pictures", "pattern", "a.gif", "soft.png"


@pytest.mark.parametrize("name", SOURCES)
def test_ranges_add_up_to_the_clip_byte_for_byte(sources: dict[str, str], name: str) -> None:
    source = sources[name]
    for moments in ([0.04, 0.13], [2.2, Fraction(62, 25), 50]):
        parts = in_turn(between(source, moments))
        whole = sum_of_ranges(parts)
        assert bytes_of(whole.histogram) == by_hand(source, PLAIN)
        with open_frames(source) as frames:
            shown = list(frames)
        assert whole.frames == len(shown)
        assert whole.length == sum(frame.duration for frame in shown)
        assert (whole.damage, [part.sought for part in parts]) == (None, [True] * len(parts))


@pytest.mark.parametrize(
    "opening",
    [{"fps": 10}, {"fps": 60}, {"start": 0.5, "duration": 3}, {"width": 20, "fps": Fraction(7, 3)}],
)
def test_ranges_of_what_is_cut_scaled_or_at_another_rate_add_up_too(
    sources: dict[str, str], opening: dict[str, Any]
) -> None:
    way = FrameCountOptions(frames=FrameOptions(**opening), perceptual=False)
    parts = in_turn(between(sources["open.mp4"], [0.01, 2.5999, 2.6]), way)
    assert bytes_of(sum_of_ranges(parts).histogram) == by_hand(sources["open.mp4"], way)


@pytest.mark.parametrize("alpha", ["keep", "binary", "flatten"])
def test_transparency_is_that_of_the_clip(sources: dict[str, str], alpha: str) -> None:
    way = FrameCountOptions(alpha=AlphaOptions(alpha=alpha, matte=(9, 200, 30)))
    whole = count_range(FrameRange(sources["soft.png"]), way)
    parts = in_turn(between(sources["soft.png"], [0.04, 0.1]), way)
    assert bytes_of(sum_of_ranges(parts).histogram) == bytes_of(whole.histogram)
    with open_frames(sources["soft.png"], channels=4) as frames:
        assert frames.channels == 4
    assert colors_of(whole, "").channels == 4 - (alpha == "flatten")


def test_a_gpu_counts_the_same_and_a_cpu_in_its_place_is_told(sources: dict[str, str]) -> None:
    for name in ("a.gif", "soft.png"):
        part = FrameRange(sources[name], 0.03)
        here = count_range(part, PLAIN)
        with gpu_double.installed() as gpu:
            there = count_range(part, replace(PLAIN, compute=Compute(device="gpu")))
            assert len(gpu.log.launches) >= there.frames > 1
        assert bytes_of(there.histogram) == bytes_of(here.histogram)
        assert there._replace(histogram=None) == here._replace(histogram=None)
    with gpu_double.installed(driver=False):
        fallen = count_range(part, replace(PLAIN, compute=Compute(device="auto")))
        with pytest.raises(DeviceError, match="no NVIDIA driver"):
            count_range(part, replace(PLAIN, compute=Compute(device="gpu")))
    assert bytes_of(fallen.histogram) == bytes_of(here.histogram)
    [note] = sum_of_ranges([fallen, fallen]).device_notes
    assert note.startswith("no GPU is used: no NVIDIA driver")


def test_where_seeking_leads_to_other_pixels_ranges_are_read_from_the_beginning(
    sources: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does where times are not stored; here by pixels that are too bright."""

    def astray(*arguments: Any, **options: Any) -> Any:
        frames = open_frames(*arguments, **options)
        read = frames.read
        frames.read = lambda since: (f._replace(pixels=f.pixels | (since > 0)) for f in read(since))
        return frames

    monkeypatch.setattr("quantgpu.video.options.open_frames", astray)
    parts = in_turn(between(sources["a.gif"], [0.1, 0.18]))
    assert [part.sought for part in parts] == [True, False, False]
    assert parts[1].notes == [f"{sources['a.gif']}: {REREAD_NOTE}"]
    assert bytes_of(sum_of_ranges(parts).histogram) == by_hand(sources["a.gif"], PLAIN)


def test_a_clip_is_cut_into_ranges_of_as_many_frames(sources: dict[str, str]) -> None:
    places = cluster.frame_ranges(sources["open.mp4"], 4)
    assert [place.start for place in places] == [
        0,
        Fraction(27, 25),
        Fraction(55, 25),
        Fraction(82, 25),
    ]
    assert [part.frames for part in in_turn(places)] == [27, 28, 27, 28]
    assert len(cluster.frame_ranges(sources["pictures"], 99)) == 7
    with open_frames(sources["open.mp4"]) as frames:
        frames.count = None
        assert ranges_of("x", frames, 3, None) == [FrameRange("x", 0, None)]
        frames.count = 50
        assert ranges_of("x", frames, 2, Fraction(1)) == [
            FrameRange("x", 0, Fraction(12, 25)), FrameRange("x", Fraction(12, 25), 1),
        ]  # fmt: skip


def test_damage_ends_the_clip_in_the_range_where_it_is(tmp_path: Path) -> None:
    source = str(damaged(tmp_path / "in.avi"))
    parts = in_turn(between(source, [0.12, 0.36, 0.52, 0.7]))
    assert [part.frames for part in parts] == [3, 6, 1, 0, 0]
    assert [part.damage is None for part in parts] == [True, True, False, False, False]
    assert sum_of_ranges(parts).damage == parts[2].damage
    assert "in.avi: damaged" in str(parts[2].damage)
    with pytest.raises(InputError, match=r"in\.avi: damaged"):
        colors_of_undamaged(sum_of_ranges(parts))
    assert bytes_of(colors_of(sum_of_ranges(parts), "")) == by_hand(source, PLAIN)


def test_a_clip_that_is_cut_off_ends_where_reading_it_ends(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mkv", colors(100, 32, 32), "mpeg4", "yuv420p")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with open_frames(path) as frames:
        whole = list(frames)
        parts = in_turn(between(str(path), [1, 2.5, 3.5]))
        assert sum(part.frames for part in parts) == len(whole)
        assert sum_of_ranges(parts).damage == frames.broken is not None


def test_over_dask_ranges_and_files_add_up(sources: dict[str, str], tmp_path: Path) -> None:
    Image.fromarray(moving(1)[0]).save(tmp_path / "still.png")
    places = cluster.frame_ranges(sources["a.gif"], 3)
    found, palette = dask.compute(
        cluster.histogram([tmp_path / "still.png", *places]),
        cluster.palette(places, 7, device="cpu"), scheduler="threads",
    )  # fmt: skip
    whole = [moving(1)[0], *(frame.pixels for frame in frames_of(sources["a.gif"]))]
    assert bytes_of(found) == in_all(whole)
    assert len(palette.palette) == 7


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (FrameRange("-"), "standard input has no ranges"),
        (FrameRange("a.mp4", -1), "start = -1 is below 0"),
        (FrameRange("a.mp4", 2, 2), "stop = 2 is not after start = 2"),
        (FrameRange("a.mp4", 0, float("nan")), "stop = nan is below 0"),
    ],
)
def test_what_is_no_range_is_refused_before_any_work(place: FrameRange, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_range(place)
    with pytest.raises(UsageError, match=message):
        cluster.histogram([place])


def test_what_cannot_be_done_with_ranges_is_said(sources: dict[str, str]) -> None:
    place = FrameRange(sources["a.gif"], 40, 50)
    with pytest.raises(InputError, match="no frames in the time that was asked for"):
        cluster.histogram([place]).compute(scheduler="sync")
    with pytest.raises(UsageError, match="ranges of frames are counted here, not remapped"):
        cluster.quantize([place], 5)
    with pytest.raises(UsageError, match="count = 0 is below 1"):
        frame_ranges.frame_ranges(sources["a.gif"], 0)
    assert follows(FrameRange("a", 2), FrameRange("a", 0, 2.0))
    assert not follows(FrameRange("b", 2), FrameRange("a", 0, 2))
    assert not follows(FrameRange("a", 2), FrameRange("a", 0, 3))
