"""Videos and animated WebP, written frame by frame through PyAV (FFmpeg's libraries)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.errors import OutputError
from quantgpu.frames import DEFAULT_RATE
from quantgpu.frames_video import load_av

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

    from quantgpu.sinks import Clip, Write

TICKS = 10_000
"""At least so many ticks a second are told apart where a format allows."""

CLEAR = np.zeros(4, np.uint8)
"""A color that shows what is behind it."""


class Encoding(NamedTuple):
    """How FFmpeg's libraries write a format."""

    name: str
    container: str
    codec: str
    opaque: str
    """Pixels of opaque frames, as FFmpeg calls them."""
    transparent: str
    """Pixels of others."""
    options: dict[str, str]
    """Of the codec."""
    ticks: int | None = None
    """Ticks of a second, if they are fixed."""


FFV1_OPTIONS = {"level": "3", "slicecrc": "1", "coder": "range_tab", "context": "1"}
"""24 frames of 1280 x 720 take 20.1 MB with range coding, 26.5 MB without, in the same time."""

WEBP_OPTIONS = {"lossless": "1", "compression_level": "1"}
"""24 frames: level 0 6.9 MB in 4.0 s, 1 5.9 MB in 4.8 s, 3 5.6 MB in 5.6 s."""

FFV1 = Encoding("Matroska with FFV1", "matroska", "ffv1", "bgr0", "bgra", FFV1_OPTIONS)
H264 = Encoding(
    *("MP4 with lossless H.264", "mp4", "libx264rgb", "rgb24", "rgb24"),
    {"qp": "0", "preset": "veryfast"},
)
Y4M = Encoding("YUV4MPEG2", "yuv4mpegpipe", "wrapped_avframe", "yuv444p", "yuv444p", {})
WEBP = Encoding("WebP", "webp", "libwebp", "bgra", "bgra", WEBP_OPTIONS, 1000)
WEBP_WHOLE = WEBP._replace(codec="libwebp_anim")
"""Keeps all compressed frames in memory to the end, but can make pixels transparent again."""


class Encoder:
    """A file that grows by frames."""

    def __init__(self, container: OutputContainer, stream: VideoStream, base: Fraction) -> None:
        self.container = container
        self.stream = stream
        self.base = base
        """Seconds of a tick."""
        self.time = Fraction(0)
        """Seconds until the end of the latest frame."""

    def add(self, colors: NDArray[np.uint8], ticks: tuple[int, int]) -> None:
        """Add (H, W, 3 | 4) RGB or RGBA pixels that are shown from one tick to another."""
        import av

        kind = "rgb24" if colors.shape[2] == 3 else "rgba"
        frame = av.VideoFrame.from_ndarray(colors, format=kind)
        if self.stream.pix_fmt != kind:
            frame = frame.reformat(format=self.stream.pix_fmt, interpolation=exact())
        frame.time_base = self.base
        frame.pts, frame.duration = ticks[0], ticks[1] - ticks[0]
        self.container.mux(self.stream.encode(frame))

    def span(self, duration: Fraction) -> tuple[int, int]:
        """The ticks of the next frame, such that rounding errors do not add up."""
        first = round(self.time / self.base)
        self.time += duration
        return first, max(round(self.time / self.base), first + 1)


def exact() -> int:
    """The flags of libswscale with which it rounds, the same on every processor."""
    from av.video.reformatter import Interpolation as Flag

    return int(Flag.BICUBIC | Flag.ACCURATE_RND | Flag.BITEXACT | Flag.FULL_CHR_H_INT)


@contextlib.contextmanager
def encoder(stream: IO[bytes], clip: Clip, how: Encoding, base: Fraction) -> Iterator[Encoder]:
    """Begin a file in a stream, and end it when all went well.

    Raises:
        OutputError: PyAV is absent, or lacks the codec, or refuses the frames.
    """
    av = load_av(how.name, OutputError)
    # The GIL is released in FFmpeg, so threads of the codec cost the other stages nothing.
    options = {"loop": str(clip.loop)} if how.container == "webp" else {}
    try:
        container = av.open(stream, "w", format=how.container, container_options=options)
        try:
            rate = clip.rate or DEFAULT_RATE
            track = container.add_stream(how.codec, rate=rate, options=dict(how.options))
            track.width, track.height = clip.width, clip.height
            track.pix_fmt = how.transparent if clip.transparent else how.opaque
            track.codec_context.time_base = track.time_base = base
            track.thread_type = "AUTO"
            file = Encoder(container, track, base)
            yield file
            if file.time:
                container.mux(track.encode(None))
        finally:
            container.close()
    except (av.codec.codec.UnknownCodecError, av.FFmpegError) as error:
        if isinstance(error, OSError) and error.errno and error.errno > 0:
            raise  # what the system says, such as of a full disk
        raise OutputError(f"{how.name} cannot be written ({error})") from None


def colors_of(palette: NDArray[np.uint8], transparent: bool) -> NDArray[np.uint8]:
    """A palette with alpha, or without."""
    if not transparent:
        return palette[:, :3]
    if palette.shape[1] == 4:
        return palette
    return np.column_stack([palette, np.full(len(palette), 255, np.uint8)])


@contextlib.contextmanager
def video(stream: IO[bytes], clip: Clip, how: Encoding) -> Iterator[Write]:
    """Begin a file in which frames have times of their own."""
    rate = clip.rate or DEFAULT_RATE
    ticks = how.ticks or rate.numerator * math.ceil(TICKS / rate.numerator)
    with encoder(stream, clip, how, Fraction(1, ticks)) as file:

        def write(index: NDArray[Any], palette: NDArray[np.uint8], duration: Fraction) -> None:
            file.add(colors_of(palette, clip.transparent)[index], file.span(duration))

        yield write


@contextlib.contextmanager
def y4m(stream: IO[bytes], clip: Clip) -> Iterator[Write]:
    """Begin a file in which all frames last equally long: those that last longer are repeated."""
    base = 1 / (clip.rate or DEFAULT_RATE)
    with encoder(stream, clip, Y4M, base) as file:

        def write(index: NDArray[Any], palette: NDArray[np.uint8], duration: Fraction) -> None:
            first, last = file.span(duration)
            for tick in range(first, last):
                file.add(palette[:, :3][index], (tick, tick + 1))

        yield write


@contextlib.contextmanager
def webp(stream: IO[bytes], clip: Clip) -> Iterator[Write]:
    """Begin an animated WebP file; pixels of opaque clips that stay are transparent in it."""
    if clip.transparent:
        with video(stream, clip, WEBP_WHOLE) as write:
            yield write
        return
    shown: NDArray[np.uint8] | None = None
    with encoder(stream, clip, WEBP, Fraction(1, 1000)) as file:

        def write_changes(
            index: NDArray[Any], palette: NDArray[np.uint8], duration: Fraction
        ) -> None:
            nonlocal shown
            colors = colors_of(palette, True)[index]
            stays = None if shown is None else packed_pixels(colors) == packed_pixels(shown)
            drawn = colors.copy()
            if stays is not None:
                drawn[stays] = CLEAR
            file.add(drawn, file.span(duration))
            shown = colors

        yield write_changes


def packed_pixels(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """(H, W): one number for each of (H, W, 4) colors."""
    return colors.view(np.uint32)[..., 0]


Begin = Callable[["IO[bytes]", "Clip"], contextlib.AbstractContextManager["Write"]]

mkv: Begin = partial(video, how=FFV1)
mp4: Begin = partial(video, how=H264)
