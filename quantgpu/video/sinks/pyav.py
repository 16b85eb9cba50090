"""Videos, written frame by frame through PyAV (FFmpeg's libraries)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.errors import OutputError
from quantgpu.video.frames.base import DEFAULT_RATE
from quantgpu.video.frames.pyav import CONVERSIONS, load_av
from quantgpu.video.sinks.base import Begin, colors_of

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

    from quantgpu.video.sinks.base import ClipInfo, Write

TICKS = 10_000
"""Least ticks per second of a format with variable durations."""


class Encoding(NamedTuple):
    """A format as FFmpeg's libraries write it, by FFmpeg's names."""

    name: str
    """The format, as messages call it."""
    container: str
    codec: str
    opaque: str
    """The pixel format of opaque frames."""
    transparent: str
    """The pixel format of frames with transparency."""
    options: dict[str, str]
    """Options of the codec."""


FFV1_OPTIONS = {"level": "3", "slicecrc": "1", "coder": "range_tab", "context": "1"}
"""Options of the codec. 24 frames of 1280 x 720 take 20.1 MB with range coding, 26.5 MB without, in
the same time."""

FFV1 = Encoding("Matroska with FFV1", "matroska", "ffv1", "bgr0", "bgra", FFV1_OPTIONS)
H264 = Encoding(
    *("MP4 with lossless H.264", "mp4", "libx264rgb", "rgb24", "rgb24"),
    {"qp": "0", "preset": "veryfast"},
)
Y4M = Encoding("YUV4MPEG2", "yuv4mpegpipe", "wrapped_avframe", "yuv444p", "yuv444p", {})


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
            frame = frame.reformat(format=self.stream.pix_fmt, interpolation=CONVERSIONS["exact"])
        frame.time_base = self.base
        frame.pts, frame.duration = ticks[0], ticks[1] - ticks[0]
        self.container.mux(self.stream.encode(frame))

    def span(self, duration: Fraction) -> tuple[int, int]:
        """The first and last tick of the next frame; their rounding errors do not add up."""
        first = round(self.time / self.base)
        self.time += duration
        return first, max(round(self.time / self.base), first + 1)


@contextlib.contextmanager
def encoder(
    stream: IO[bytes], clip: ClipInfo, encoding: Encoding, base: Fraction
) -> Iterator[Encoder]:
    """Begin a file in a stream, and end the file unless an error leaves the context.

    Args:
        stream: The output.
        clip: Size and rate of the frames.
        encoding: The format.
        base: Seconds of a tick.

    Raises:
        OutputError: PyAV is absent, or lacks the codec, or refuses the frames.
    """
    av = load_av(encoding.name, OutputError)
    recorder = FailureRecorder(stream)
    try:
        container = av.open(recorder, "w", format=encoding.container)
        try:
            track = container.add_stream(
                encoding.codec, rate=clip.rate or DEFAULT_RATE, options=dict(encoding.options)
            )
            track.width, track.height = clip.width, clip.height
            track.pix_fmt = encoding.transparent if clip.transparent else encoding.opaque
            track.codec_context.time_base = track.time_base = base
            track.thread_type = "AUTO"
            file = Encoder(container, track, base)
            yield file
            if file.time:
                container.mux(track.encode(None))
            container.close()
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is the one to report
                container.close()
            raise
    except (av.codec.codec.UnknownCodecError, av.FFmpegError) as error:
        if recorder.failure is not None:
            raise recorder.failure from None
        raise OutputError(f"{encoding.name} cannot be written ({error})") from None


class FailureRecorder:
    """A stream that records the first OSError of `write`, which PyAV may hide."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, data: bytes) -> int:
        """Write to the stream; an OSError is recorded and raised."""
        try:
            return self.stream.write(data)
        except OSError as error:
            self.failure = self.failure or error
            raise


@contextlib.contextmanager
def video(stream: IO[bytes], clip: ClipInfo, encoding: Encoding) -> Iterator[Write]:
    """Begin a file whose frames have their own durations."""
    rate = clip.rate or DEFAULT_RATE
    ticks = rate.numerator * math.ceil(TICKS / rate.numerator)
    with encoder(stream, clip, encoding, Fraction(1, ticks)) as file:

        def write(index: NDArray[Any], palette: NDArray[np.uint8], duration: Fraction) -> None:
            file.add(colors_of(palette, clip.transparent)[index], file.span(duration))

        yield write


@contextlib.contextmanager
def y4m(stream: IO[bytes], clip: ClipInfo) -> Iterator[Write]:
    """Begin a YUV4MPEG2 file: all frames last equally long, so longer ones are repeated."""
    base = 1 / (clip.rate or DEFAULT_RATE)
    with encoder(stream, clip, Y4M, base) as file:

        def write(index: NDArray[Any], palette: NDArray[np.uint8], duration: Fraction) -> None:
            first, last = file.span(duration)
            for tick in range(first, last):
                file.add(palette[:, :3][index], (tick, tick + 1))

        yield write


mkv: Begin = partial(video, encoding=FFV1)
mp4: Begin = partial(video, encoding=H264)
