"""Small clips that tests share."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from pictures import photo
from PIL import Image

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


def moving(frames: int = 6, height: int = 37, width: int = 53) -> list[NDArray[np.uint8]]:
    """A still picture over which a patch of another moves."""
    still, other = photo(height, width), photo(height, width, seed=1)[:, ::-1]
    clip = []
    for number in range(frames):
        picture = still.copy()
        left = 5 * number
        picture[9:25, left : left + 14] = other[9:25, left : left + 14]
        clip.append(picture)
    return clip


def animation(path: Path, pictures: list[NDArray[np.uint8]]) -> Path:
    """Pictures as an animated PNG."""
    first, *others = map(Image.fromarray, pictures)
    first.save(path, save_all=True, append_images=others, duration=40)
    return path


def damaged(path: Path) -> Path:
    """A video of 20 frames, of which the tenth and all behind it cannot be decoded."""
    video(path, [np.roll(p, n, axis=0) for n, p in enumerate(4 * moving(5))], "png", "rgb24")
    data = bytearray(path.read_bytes())
    marks = [at for at in range(len(data)) if data[at : at + 4] == b"IHDR"]
    data[marks[10] : marks[10] + 12] = bytes(12)
    path.write_bytes(data)
    return path


OPEN = {"x264-params": "open-gop=1:keyint=30:min-keyint=9:bframes=3:b-pyramid=normal:scenecut=0"}
"""Key frames that frames shown before them, but stored behind them, go by."""
