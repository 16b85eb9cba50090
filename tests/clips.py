"""Small clips that tests share."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from quantgpu.video.frames.base import Frame
from quantgpu.video.frames.open import open_frames


def colors(frames: int, height: int = 17, width: int = 31, channels: int = 3) -> list[Any]:
    """`frames` pictures of random colors, of which about half stay from one to the next."""
    rng = np.random.default_rng(frames)
    clip = [rng.integers(0, 256, (height, width, channels), dtype=np.uint8)]
    for _ in range(frames - 1):
        new = rng.integers(0, 256, clip[0].shape, dtype=np.uint8)
        clip.append(np.where(rng.random((height, width, 1)) < 0.5, new, clip[-1]))
    return clip


def video(
    path: Path,
    pictures: Sequence[NDArray[np.uint8]],
    codec: str = "ffv1",
    pixels: str = "bgr0",
    pts: Sequence[int] | None = None,
    base: Fraction = Fraction(1, 25),
    options: dict[str, str] | None = None,
    **settings: Any,
) -> Path:
    """A video of (H, W, 3 | 4) pictures, with settings of the codec's context."""
    height, width, channels = pictures[0].shape
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=1 / base, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.time_base = base
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24" if channels == 3 else "rgba")
            frame = frame.reformat(format=pixels)
            for name, value in settings.items():
                setattr(frame, name, value)
            frame.pts, frame.time_base = number if pts is None else pts[number], base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def frames_of(source: Any, **options: Any) -> list[Frame]:
    """All frames of a source."""
    with open_frames(source, **options) as frames:
        return list(frames)


def times(frames: Sequence[Frame]) -> list[Fraction]:
    """When frames appear."""
    return [frame.time for frame in frames]


def lengths(frames: Sequence[Frame]) -> list[Fraction]:
    """How long frames are shown."""
    return [frame.duration for frame in frames]
