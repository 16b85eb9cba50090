"""Videos as frames: colors, times, turns, transparency, and what is broken."""

from __future__ import annotations

import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from videos import OPEN, colors, frames_of, lengths, times, video

from quantgpu.errors import InputError, UsageError
from quantgpu.video.frames.open import open_frames

LEVELS = np.arange(64, dtype=np.uint8) * np.uint8(4)

GRADIENT = np.stack(np.broadcast_arrays(LEVELS[:, None], LEVELS[None], np.uint8(90)), axis=-1)
"""(64, 64, 3) smooth colors, which survive that color is stored at half the size."""


def test_rgb_video_gives_its_pixels_and_times(tmp_path: Path) -> None:
    pictures = colors(6)
    with open_frames(video(tmp_path / "a.mkv", pictures)) as frames:
        assert (frames.width, frames.height, frames.channels) == (31, 17, 3)
        assert (frames.count, frames.rate) == (6, Fraction(25))
        assert frames.loop is None
        assert not frames.notes
        assert frames.rereadable
        for _ in range(2):
            got = list(frames)
            assert times(got) == [Fraction(number, 25) for number in range(6)]
            assert lengths(got) == [Fraction(1, 25)] * 6
            for frame, picture in zip(got, pictures, strict=True):
                np.testing.assert_array_equal(frame.pixels, picture)
                assert frame.pixels.flags.c_contiguous
            assert frames.broken is None


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (17, 31)])
def test_awkward_sizes_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    pictures = colors(2, *size)
    got = frames_of(video(tmp_path / "a.avi", pictures, "png", "rgb24"))
    for frame, picture in zip(got, pictures, strict=True):
        np.testing.assert_array_equal(frame.pixels, picture)


def test_frames_of_varying_rate_keep_their_times(tmp_path: Path) -> None:
    pts = [0, 40, 50, 200]
    path = video(tmp_path / "a.mkv", colors(4), pts=pts, base=Fraction(1, 1000))
    got = frames_of(path)
    assert times(got) == [Fraction(ms, 1000) for ms in pts]
    assert lengths(got)[:3] == [Fraction(ms, 1000) for ms in (40, 10, 150)]


def yuv(pixels: Any, matrix: tuple[float, float], full: bool) -> Any:
    """The planes of RGB pixels by the definition of YUV (ITU-T H.273, section 8.3), at full size.

    `matrix`: the shares of red and blue in brightness.
    """
    red, green, blue = np.moveaxis(pixels.astype(float), -1, 0)
    kr, kb = matrix
    y = kr * red + (1 - kr - kb) * green + kb * blue
    u, v = (blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)
    scale, offset, color = (1, 0, 1) if full else (219 / 255, 16, 224 / 255)
    planes = offset + scale * y, 128 + color * u, 128 + color * v
    return np.stack([np.rint(plane).clip(0, 255) for plane in planes]).astype(np.uint8)


BT601, BT709 = (0.299, 0.114), (0.2126, 0.0722)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("code", "matrix"), [(1, BT709), (6, BT601), (2, BT601)])
@pytest.mark.parametrize("conversion", ["exact", "fast"])
def test_matrix_and_range_are_those_of_the_stream(
    tmp_path: Path, code: int, matrix: tuple[float, float], full: bool, conversion: str
) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = code, 1 + full
        frame = av.VideoFrame.from_ndarray(yuv(GRADIENT, matrix, full), "yuv444p")
        frame.colorspace, frame.color_range = code, 1 + full
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    [got] = frames_of(path, conversion=conversion)
    error = got.pixels.astype(int) - GRADIENT
    assert abs(error).max() <= (2 if conversion == "exact" else 5)
    assert abs(error.mean()) < (0.2 if conversion == "exact" else 2)


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_turned_video_is_upright(tmp_path: Path, quarter: int, mirrored: bool) -> None:
    path = tmp_path / "a.mp4"
    picture = GRADIENT[:32]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 32, "rgb24"
        stream.set_display_rotation(90 * quarter, hflip=mirrored)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    expected = np.rot90(picture, quarter)  # as ffmpeg shows it
    expected = expected[:, ::-1] if mirrored else expected
    with open_frames(path) as frames:
        assert (frames.height, frames.width) == expected.shape[:2]
        np.testing.assert_array_equal(next(iter(frames)).pixels, expected)
        assert (frames.notes == ["turned upright"]) == (quarter > 0 or mirrored)


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [("a.mkv", "ffv1", "bgra"), ("a.mov", "png", "rgba"), ("a.mov", "qtrle", "argb")],
)
def test_transparent_video_has_four_channels(
    tmp_path: Path, name: str, codec: str, pixels: str
) -> None:
    pictures = colors(3, channels=4)
    got = frames_of(video(tmp_path / name, pictures, codec, pixels))
    for frame, picture in zip(got, pictures, strict=True):
        np.testing.assert_array_equal(frame.pixels, picture)


def test_transparency_of_vp9_is_read(tmp_path: Path) -> None:
    picture = np.dstack(
        [GRADIENT, np.where(np.arange(64) < 32, 0, 255).astype(np.uint8)[None].repeat(64, 0)]
    )
    path = video(
        tmp_path / "a.webm", [picture] * 3, "libvpx-vp9", "yuva420p", options={"crf": "1", "b": "0"}
    )
    with open_frames(path) as frames:
        assert frames.channels == 4
        got = list(frames)
        assert len(got) == 3
        assert (abs(got[0].pixels[..., 3].astype(int) - picture[..., 3]) < 20).mean() > 0.9


@pytest.mark.parametrize(
    ("transfer", "white", "note"),
    [
        (1, 1.0, "10 bits per channel reduced to 8"),
        (16, 0.58, "10-bit HDR (PQ) reduced to 8-bit sRGB: highlights are squeezed"),
        (18, 0.75, "10-bit HDR (HLG) reduced to 8-bit sRGB: highlights are squeezed"),
    ],
)
def test_ten_bits_become_eight_by_a_stated_rule(
    tmp_path: Path, transfer: int, white: float, note: str
) -> None:
    path = tmp_path / "a.mkv"
    signals = np.zeros((3, 4, 6), np.uint16)
    signals[:] = round(white * 1023)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 6, 4, "gbrp10le"
        stream.codec_context.color_trc = transfer
        stream.codec_context.color_primaries = 9 if transfer > 1 else 1
        frame = av.VideoFrame(6, 4, "gbrp10le")
        for plane in frame.planes:
            rows = np.zeros((4, plane.line_size // 2), "<u2")
            rows[:, :6] = signals[0]
            plane.update(rows.tobytes())
        frame.color_trc, frame.color_primaries = transfer, 9 if transfer > 1 else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_frames(path) as frames:
        assert frames.notes == [note]
        pixels = next(iter(frames)).pixels
        assert pixels.shape == (4, 6, 3)
        assert pixels.dtype == np.uint8
        assert np.ptp(pixels) <= 1
        assert 238 <= pixels.min() <= (255 if transfer == 1 else 242)


@pytest.mark.parametrize("container", ["mkv", "mp4", "avi"])
def test_a_video_that_is_cut_off_gives_the_frames_before(tmp_path: Path, container: str) -> None:
    path = tmp_path / f"a.{container}"
    pictures = colors(50, 32, 32)
    video(path, pictures, "mpeg4", "yuv420p")
    if container == "mp4":  # else the table of its frames is at the end
        with (
            av.open(str(path)) as old,
            av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": "faststart"}) as new,
        ):
            stream = new.add_stream_from_template(old.streams.video[0])
            for packet in old.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    new.mux(packet)
        path = tmp_path / "b.mp4"
    whole = frames_of(path)
    assert len(whole) == 50
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with open_frames(path) as frames:
        got = list(frames)
        assert 15 < len(got) < 40
        assert frames.broken is not None
        assert "of 2.00 s" in frames.broken
    for frame, other in zip(got[:-1], whole, strict=False):
        np.testing.assert_array_equal(frame.pixels, other.pixels)
    with open_frames(path, duration=0.2) as frames:
        assert len(list(frames)) == 5
        assert frames.broken is None


def test_damage_in_the_middle_ends_the_frames(tmp_path: Path) -> None:
    path = video(tmp_path / "a.avi", colors(20), "png", "rgb24")
    data = bytearray(path.read_bytes())
    marks = [at for at in range(len(data)) if data[at : at + 4] == b"IHDR"]
    data[marks[10] : marks[10] + 12] = bytes(12)
    path.write_bytes(data)
    with open_frames(path) as frames:
        assert len(list(frames)) == 10
        assert frames.broken is not None
        assert "a.avi: damaged or not a video" in frames.broken


def test_noise_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(InputError, match=r"a\.mp4: damaged or not a video"):
        open_frames(path)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(InputError, match=r"a\.mkv: no video in it"):
        open_frames(path)


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.y4m"
    path.write_bytes(b"YUV4MPEG2 W4 H4 F25:1 C420jpeg\n")
    with pytest.raises(InputError, match=r"a\.y4m: (no frame|damaged)"):
        open_frames(path)


@pytest.mark.parametrize(("kind", "size"), [("420jpeg", 6), ("422", 8), ("444", 12), ("mono", 4)])
def test_y4m_comes_through_standard_input_once(kind: str, size: int) -> None:
    planes = b"".join(
        b"FRAME\n" + 4 * bytes([16 + 73 * n]) + (size - 4) * bytes([128]) for n in range(3)
    )
    code = (
        "from quantgpu.video.frames.open import open_frames\n"
        "with open_frames('-') as frames:\n"
        "    assert not frames.rereadable and frames.count is None, frames\n"
        "    got = [(str(f.time), f.pixels[0, 0].tolist()) for f in frames]\n"
        "    print(frames.width, frames.height, frames.rate, got)\n"
        "    try: list(frames)\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )
    header = f"YUV4MPEG2 W2 H2 F30000:1001 Ip A1:1 C{kind}\n".encode()
    done = subprocess.run(
        [sys.executable, "-c", code], input=header + planes, capture_output=True, check=True
    )
    said = done.stdout.decode().splitlines()
    levels = (16, 89, 162) if kind == "mono" else (0, 85, 170)  # as ffmpeg takes gray: full range
    grays = [[level] * 3 for level in levels]
    moments = "0", "1001/30000", "1001/15000"
    assert said[0] == f"2 2 30000/1001 {list(zip(moments, grays, strict=True))}"
    assert said[1] == "UsageError standard input can be read only once; name a file"


def test_without_pyav_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = video(tmp_path / "a.mkv", colors(1))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="not installed; pip install av"):
        open_frames(path)


def test_closed_standard_input_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input: is closed"):
        open_frames("-")


def test_standard_input_that_is_no_video_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hello" * 100)))
    with pytest.raises((InputError, UsageError), match="standard input: damaged or not a video"):
        open_frames("-")


@pytest.mark.parametrize("start", [0, Fraction(1, 3), Fraction(5), Fraction(703, 100)])
@pytest.mark.parametrize("container", ["mkv", "mp4", "avi"])
def test_a_late_start_shows_what_decoding_all_shows(
    tmp_path: Path, container: str, start: Fraction
) -> None:
    path = video(tmp_path / f"a.{container}", colors(200, 16, 16), "mpeg4", "yuv420p")
    whole, part = frames_of(path), frames_of(path, start=start)
    expected = [frame for frame in whole if frame.time + frame.duration > start]
    assert times(part) == [max(frame.time - start, Fraction(0)) for frame in expected]
    for frame, other in zip(part, expected, strict=True):
        np.testing.assert_array_equal(frame.pixels, other.pixels)


@pytest.mark.parametrize("container", ["mkv", "mp4", "ts", "avi", "h264"])
def test_frames_that_are_not_stored_in_their_order_are_shown_in_it(
    tmp_path: Path, container: str
) -> None:
    """AVI files and bare streams do not say when; others lead to the key frame behind."""
    levels = np.arange(0, 240, 2, dtype=np.uint8)
    pictures = [np.full((32, 32, 3), level, np.uint8) for level in levels]
    path = video(tmp_path / f"a.{container}", pictures, "libx264", "yuv420p", options=OPEN)
    whole = frames_of(path)
    assert times(whole) == [Fraction(number, 25) for number in range(120)]
    seen = np.array([int(frame.pixels[9, 9, 1]) for frame in whole])
    assert (abs(seen - levels) <= 4).all()
    for start in (Fraction(57, 25), Fraction(62, 25)):
        part = frames_of(path, start=start)
        assert times(part) == [Fraction(number, 25) for number in range(len(part))]
        expected = whole[int(25 * start) :]
        for frame, other in zip(part, expected, strict=True):
            np.testing.assert_array_equal(frame.pixels, other.pixels)
