"""Videos keep the times of their frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from quantgpu.errors import OutputError
from quantgpu.video.sinks.base import ClipInfo, colors_of
from quantgpu.video.sinks.open import open_sink
from quantgpu.video.sinks.pyav import Encoding, video

COLORS = np.array([[250, 0, 0], [0, 240, 0], [0, 0, 230]], np.uint8)


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(25), Fraction(30000, 1001)])
def test_times_at_a_rate_are_exact_in_mp4(tmp_path: Path, rate: Fraction) -> None:
    path = tmp_path / "a.mp4"
    with open_sink(path, width=16, height=16, rate=rate) as sink:
        for number in range(40):
            sink.write(np.full((16, 16), number % 3, np.uint8), COLORS, 1 / rate)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert stream.average_rate == rate
        assert stream.profile == "High 4:4:4 Predictive"
        assert stream.duration is not None
        assert stream.duration * (stream.time_base or 0) == 40 / rate
    times = [(frame.pts or 0) * (frame.time_base or 0) for frame in frames]
    assert times == [number / rate for number in range(40)]


def test_matroska_is_ffv1_in_rgb(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with open_sink(path, width=5, height=3) as sink:
        sink.write(np.zeros((3, 5), np.uint8), COLORS, Fraction(1, 25))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("ffv1", "bgr0")


def test_a_codec_that_is_not_there_is_said(tmp_path: Path) -> None:
    how = Encoding("MP4 with lossless H.264", "mp4", "no_such_codec", "rgb24", "rgb24", {})
    with (
        open(tmp_path / "a.mp4", "wb") as stream,
        pytest.raises(OutputError, match=r"cannot be written .*no_such_codec"),
        video(stream, ClipInfo(4, 4), how),
    ):
        pass


def test_palettes_get_or_lose_alpha() -> None:
    assert colors_of(COLORS, True).tolist() == [[*color, 255] for color in COLORS.tolist()]
    clear = np.hstack([COLORS, np.zeros((3, 1), np.uint8)])
    assert colors_of(clear, True) is clear
    np.testing.assert_array_equal(colors_of(clear, False), COLORS)
