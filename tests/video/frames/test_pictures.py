"""Animations and numbered pictures as frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import encoded, exif
from PIL import Image
from videos import colors, frames_of, lengths, times

from quantgpu.errors import InputError
from quantgpu.video.frames.open import open_frames
from quantgpu.video.frames.pictures import natural_key


def animation(path: Path, pictures: list[Any], durations: list[int], **options: Any) -> Path:
    """An animated file that Pillow writes; durations in milliseconds."""
    first, *others = [Image.fromarray(picture) for picture in pictures]
    more: Any = {"lossless": True, "exact": True} if path.suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=others, duration=durations, **options, **more)
    return path


def saved(folder: Path, names: list[str], pictures: list[Any]) -> Path:
    """Pictures in a folder."""
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(folder / name)
    return folder


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize("channels", [3, 4])
def test_animations_give_pixels_times_and_loop(tmp_path: Path, suffix: str, channels: int) -> None:
    pictures = colors(5, channels=channels)
    for picture in pictures:
        picture[..., 3:] |= 1  # WebP drops the colors of pixels that are not seen
    path = animation(tmp_path / f"a{suffix}", pictures, [40, 80, 40, 100, 20], loop=3)
    with open_frames(path) as frames:
        assert (frames.width, frames.height, frames.channels) == (31, 17, channels)
        assert (frames.count, frames.rate, frames.loop) == (5, None, 3)
        for _ in range(2):
            got = list(frames)
            assert lengths(got) == [Fraction(ms, 1000) for ms in (40, 80, 40, 100, 20)]
            assert times(got) == [Fraction(ms, 1000) for ms in (0, 40, 120, 160, 260)]
            for frame, picture in zip(got, pictures, strict=True):
                np.testing.assert_array_equal(frame.pixels, picture)
                assert frame.pixels.flags.c_contiguous


@pytest.mark.parametrize(("loop", "plays"), [(None, 1), (0, 0), (2, 3)])
def test_a_gif_says_how_often_it_is_shown_again(
    tmp_path: Path, loop: int | None, plays: int
) -> None:
    said = {} if loop is None else {"loop": loop}
    pictures = [np.full((2, 3, 3), level, np.uint8) for level in (0, 255)]
    path = animation(tmp_path / "a.gif", pictures, [40, 40], **said)
    with open_frames(path) as frames:
        assert (frames.loop, frames.rate) == (plays, Fraction(25))
        assert [frame.pixels[0, 0].tolist() for frame in frames] == [[0] * 3, [255] * 3]


def test_gif_frames_for_no_time_are_shown_as_browsers_do(tmp_path: Path) -> None:
    pictures = [np.full((2, 3, 3), level, np.uint8) for level in (0, 255)]
    path = animation(tmp_path / "a.gif", pictures, [0, 40], loop=0)
    with open_frames(path) as frames:
        assert lengths(list(frames)) == [Fraction(1, 10), Fraction(1, 25)]
        assert frames.notes == ["frames that are shown for no time are shown for 0.1 s"]


def test_a_gif_that_clears_pixels_has_four_channels(tmp_path: Path) -> None:
    pictures = [np.zeros((4, 5, 4), np.uint8) for _ in range(3)]
    for number, picture in enumerate(pictures):
        picture[number, :, 0] = 250
        picture[number, :, 3] = 255
    path = animation(tmp_path / "a.gif", pictures, [40] * 3, disposal=2)
    with open_frames(path) as frames:
        assert frames.channels == 4
        for frame, picture in zip(frames, pictures, strict=True):
            np.testing.assert_array_equal(frame.pixels[..., 3], picture[..., 3])


def test_the_picture_for_programs_without_animation_is_left_out(tmp_path: Path) -> None:
    pictures = colors(3)
    path = animation(tmp_path / "a.png", pictures, [40] * 3, default_image=True)
    with open_frames(path) as frames:
        assert [(f.pixels == p).all() for f, p in zip(frames, pictures[1:], strict=True)]


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_an_animation_that_is_cut_off_gives_the_frames_before(tmp_path: Path, suffix: str) -> None:
    path = animation(tmp_path / f"a{suffix}", colors(8, 40, 60), [40] * 8)
    data = path.read_bytes()
    whole = frames_of(path)
    path.write_bytes(data[: len(data) * 6 // 10])
    with open_frames(path) as frames:
        got = list(frames)
        assert 1 <= len(got) < 8
        assert frames.broken is not None
        assert "a" + suffix in frames.broken
        assert frames.count is None
    for frame, other in zip(got[:-1], whole, strict=False):
        np.testing.assert_array_equal(frame.pixels, other.pixels)


def test_a_webp_animation_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = animation(tmp_path / "a.webp", colors(3), [40] * 3)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"a\.webp: damaged or truncated image"):
        open_frames(path)


def test_a_still_picture_is_one_frame(tmp_path: Path) -> None:
    saved(tmp_path, ["a.png"], colors(1))
    with open_frames(tmp_path / "a.png") as frames:
        assert (frames.count, frames.rate) == (1, Fraction(25))
        assert frames.loop is None
        np.testing.assert_array_equal(next(iter(frames)).pixels, colors(1)[0])


@pytest.mark.parametrize("source", ["", "f%d.png", "f*.png"])
def test_numbered_pictures_come_in_natural_order(tmp_path: Path, source: str) -> None:
    pictures = colors(3)
    saved(tmp_path, ["f10.png", "f2.png", "f1.png"], pictures)
    (tmp_path / "notes.txt").write_text("not a picture")
    got = frames_of(tmp_path / source, fps=10)
    assert times(got) == [0, Fraction(1, 10), Fraction(2, 10)]
    for frame, picture in zip(got, pictures[::-1], strict=True):
        np.testing.assert_array_equal(frame.pixels, picture)


def test_a_pattern_with_digits_takes_no_shorter_numbers(tmp_path: Path) -> None:
    saved(tmp_path, ["f_00001.png", "f_2.png", "f_123456.png", "g_00003.png"], colors(4))
    got = frames_of(tmp_path / "f_%05d.png")
    assert len(got) == 2
    np.testing.assert_array_equal(got[0].pixels, colors(4)[0])
    np.testing.assert_array_equal(got[1].pixels, colors(4)[2])


@given(st.lists(st.integers(0, 10**12)), st.sampled_from(["f{}.png", "{}", "a-{}-b"]))
def test_natural_order_is_that_of_the_numbers(numbers: list[int], name: str) -> None:
    names = sorted(map(name.format, numbers), key=natural_key)
    assert names == [name.format(number) for number in sorted(numbers)]


def test_one_transparent_picture_gives_all_four_channels(tmp_path: Path) -> None:
    saved(tmp_path, ["1.png", "2.png"], [colors(1)[0], colors(1, channels=4)[0]])
    first, second = frames_of(tmp_path)
    np.testing.assert_array_equal(first.pixels[..., :3], colors(1)[0])
    assert (first.pixels[..., 3] == 255).all()
    np.testing.assert_array_equal(second.pixels, colors(1, channels=4)[0])


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    tall = np.ascontiguousarray(colors(1)[0].transpose(1, 0, 2))
    saved(tmp_path, ["1.png"], [tall])
    (tmp_path / "2.png").write_bytes(encoded(colors(1)[0], "PNG", exif=exif(6)))
    assert [frame.pixels.shape for frame in frames_of(tmp_path)] == [(31, 17, 3)] * 2


def test_pictures_of_different_sizes_are_refused_by_name(tmp_path: Path) -> None:
    saved(tmp_path, ["1.png", "2.png"], [colors(1)[0], colors(1, 5, 6)[0]])
    with pytest.raises(InputError, match=r"2\.png: 6 x 5 pixels, but .*1\.png has 31 x 17"):
        open_frames(tmp_path)


def test_a_damaged_picture_ends_the_frames(tmp_path: Path) -> None:
    saved(tmp_path, ["1.png", "2.png", "3.png"], colors(3))
    data = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").write_bytes(data[: len(data) // 2])
    with open_frames(tmp_path) as frames:
        assert len(list(frames)) == 1
        assert frames.broken is not None
        assert "2.png: damaged or truncated image" in frames.broken


def test_notes_on_pictures_are_said_once(tmp_path: Path) -> None:
    deep = np.full((2, 3), 1000, np.uint16)
    saved(tmp_path, ["1.png", "2.png"], [deep, deep])
    with open_frames(tmp_path) as frames:
        list(frames)
        assert frames.notes == ["16 bits per channel reduced to 8"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "no pictures in this folder"),
        ("f_%05d.png", "no file has such a name, with a number in place of"),
        ("f_*.png", "no file has such a name"),
        ("%d_%d.png", "not a pattern of names"),
        ("f_%s.png", "not a pattern of names"),
        ("none/%d.png", "no such folder"),
    ],
)
def test_no_pictures_are_an_error(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_frames(tmp_path / source)
