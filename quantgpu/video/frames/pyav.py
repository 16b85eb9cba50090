"""Frames from videos, through PyAV (FFmpeg's libraries)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.errors import InputError, QuantgpuError, UsageError
from quantgpu.io.streams import STREAM, standard_input_stream
from quantgpu.threads import default_threads, imap_threads
from quantgpu.video.frames.base import DEFAULT_RATE, Frame, Frames, timed
from quantgpu.video.frames.hdr import CURVES, NAMES, to_srgb

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

BICUBIC, FULL_CHROMA, ACCURATE, BIT_EXACT = 4, 0x2000 | 0x4000, 0x40000, 0x80000
"""Flags of libswscale (swscale.h), of which PyAV before version 18 names but the first."""

CONVERSIONS = {"exact": BICUBIC | FULL_CHROMA | ACCURATE | BIT_EXACT, "fast": BICUBIC}
"""How YUV becomes RGB: name to flags. ``exact`` rounds, interpolates the color and
is the same on every processor; ``fast``, what ffmpeg does when not told otherwise, truncates (one
level darker on average) and repeats the color of each 2 x 2 pixels. 720p: 9.5 and 0.9 ms a frame;
mean squared difference of the two on bigbuckbunny: 7.8."""

BT2020 = 9
"""The code of BT.2020's primaries (ITU-T H.273, table 2)."""

ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Codecs whose transparency FFmpeg's own decoders leave out to decoders that read it."""

LENGTH_TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
"""How Matroska files tell the length of a stream."""

MISSED_FRAMES, MISSED_SECONDS = 3, Fraction(1, 2)
"""A stream that ends both so many frames and so long before its length is taken as cut off."""

CONVERTERS = 4
"""Threads that make RGB of decoded frames, at most."""

WORTH_SEEKING = Fraction(2)
"""Seconds to leave out that are decoded rather than skipped."""

FARTHER_BACK = 0, 1, 4, 16
"""Seconds before the wanted one to seek to, one after the other: MPEG transport streams, and others
where frames are not stored in the order of their times, lead to the key frame behind."""

WITHOUT_TIMES = "avi", "mpeg"
"""Formats that do not say when a frame is shown if others are stored in between: what is decoded
from a key frame on then has other times than if it is decoded from the beginning on."""

MISSING = "is read and written with PyAV, which is not installed; pip install av"


def load_av(name: str, kind: type[QuantgpuError]) -> Any:
    """The module `av`, or an error of a kind that says how to install it."""
    try:
        import av
    except ImportError:
        raise kind(f"{name}: video {MISSING}") from None
    return av


@contextlib.contextmanager
def translate_ffmpeg_errors(name: str) -> Iterator[None]:
    """Whatever FFmpeg complains of inside becomes an InputError that begins with `name`."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{name}: damaged or not a video ({reason})") from None


class FrameLayout(NamedTuple):
    """How a stream's frames are made upright RGB."""

    width: int
    """Of the frames as they are stored."""
    height: int
    turn: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
    sideways: bool
    """Whether turning makes width and height change places."""
    format: str
    """FFmpeg's name of the pixels to convert to."""
    transfer: int
    """A row of `hdr.CURVES`, or 0."""
    flags: int
    """Of libswscale."""


class Opened(NamedTuple):
    """A video that is being read."""

    container: InputContainer
    stream: VideoStream
    decoded: Iterator[VideoFrame]


def open_video(name: str, conversion: str = "exact") -> Frames:
    """The frames of a video file, or of standard input for `STREAM`.

    Raises:
        UsageError: `conversion` is not a row of `CONVERSIONS`.
        InputError: PyAV is absent; there is no video in it, or not one frame.
    """
    if conversion not in CONVERSIONS:
        raise UsageError(f"conversion {conversion!r}: use one of {', '.join(CONVERSIONS)}")
    load_av(name, InputError)
    called = "standard input" if name == STREAM else name
    video = start(name, called)
    with translate_ffmpeg_errors(called):
        first = next(video.decoded, None)
    if first is None:
        raise InputError(f"{called}: no frame could be read (the video is empty or damaged)")
    notes: list[str] = []
    look = layout_of(first, CONVERSIONS[conversion], notes)
    note_oddities(video, first, notes)
    rate = video_rate(video.stream)
    length = None if name == STREAM else length_of(video.stream, rate)
    left = [video._replace(decoded=chain([first], video.decoded))]
    if name != STREAM:
        left.clear()
        video.container.close()

    origin = time_of(first, Fraction(0))

    def read(since: Fraction) -> Iterator[Frame]:
        if name == STREAM and not left:
            raise UsageError("standard input can be read only once; name a file")
        video = left.pop() if left else start(name, called, origin + since)
        time = Fraction(0)
        with video.container:
            decoded = frames_since(video.decoded, origin, since, 1 / rate)
            for frame in timed(pictures(decoded, look, called, notes), lambda: 1 / rate):
                yield frame
                time = frame.time
        missed = Fraction(0) if length is None else length - time - 1 / rate
        if missed > max(MISSED_FRAMES / rate, MISSED_SECONDS):
            raise InputError(
                f"{called}: ends after {float(time + 1 / rate):.2f} of {float(length or 0):.2f} s"
            )

    width, height = (look.width, look.height)[:: -1 if look.sideways else 1]
    count = None if length is None else max(round(length * rate), 1)
    channels = 4 if look.format == "rgba" else 3
    close, rereadable = video.container.close, name != STREAM
    return Frames(
        *(called, width, height, channels, count, rate, None, notes, read, close, rereadable)
    )


def start(name: str, called: str, since: Fraction | None = None) -> Opened:
    """Open a video and begin to decode its first stream of pictures, at a key frame before `since`.

    Where seeking leads behind that, or would change times, it begins at the beginning.
    """
    video = at_beginning(name, called)
    if since is None or since < WORTH_SEEKING or lacks_times(video.container, video.stream):
        return video
    for back in FARTHER_BACK:
        first = seek(video, since - back, called)
        if first is not None and time_of(first, since + 1) <= since:
            return video._replace(decoded=chain([first], video.decoded))
        video.container.close()
        video = at_beginning(name, called)
    return video


def lacks_times(container: InputContainer, stream: VideoStream) -> bool:
    """Whether frames are stored in another order than they are shown, and their times are not."""
    return container.format.name in WITHOUT_TIMES and bool(stream.codec_context.has_b_frames)


def seek(video: Opened, moment: Fraction, called: str) -> VideoFrame | None:
    """The first frame after seeking to a key frame at some seconds or before; None if it fails."""
    with contextlib.suppress(InputError), translate_ffmpeg_errors(called):
        base = video.stream.time_base or Fraction(1, 1)
        video.container.seek(int(moment / base), stream=video.stream)
        return next(video.decoded, None)
    return None


def at_beginning(name: str, called: str) -> Opened:
    """Open a video and begin to decode its first stream of pictures."""
    import av

    with translate_ffmpeg_errors(called):
        container = av.open(standard_input_stream() if name == STREAM else name, "r")
        streams = [s for s in container.streams.video if "attached_pic" not in str(s.disposition)]
        if not streams:
            container.close()
            raise InputError(f"{called}: no video in it")
        stream = streams[0]
        stream.thread_type = "AUTO"
        return Opened(container, stream, decoding(container, stream))


def time_of(frame: VideoFrame, otherwise: Fraction) -> Fraction:
    """When a frame is shown, in seconds of its file's clock."""
    if frame.pts is None or frame.time_base is None:
        return otherwise
    return frame.pts * frame.time_base


def frames_since(
    decoded: Iterator[VideoFrame], origin: Fraction, since: Fraction, step: Fraction
) -> Iterator[tuple[VideoFrame, Fraction]]:
    """Frames from the one on that is shown at `since`, and their times since `origin`.

    Those without a time are shown `step` after the one before.
    """
    held, time = None, -step
    for frame in decoded:
        time = time_of(frame, time + step + origin) - origin
        if time > since:
            if held is not None:
                yield held
            held = None
            yield frame, time
        else:
            held = frame, time
    if held is not None:
        yield held


def decoding(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames as they are stored, decoded with a decoder that reads transparency if there is any.

    Those of AVI files, whose packets have but numbers, are shown in the order in which they come.
    """
    import av

    decoder: Any = stream.codec_context
    special = ALPHA_DECODERS.get(decoder.name)
    if special and stream.metadata.get("alpha_mode") == "1":
        with contextlib.suppress(av.codec.codec.UnknownCodecError):
            decoder = av.CodecContext.create(special, "r")
            decoder.extradata = stream.codec_context.extradata
    counted = container.format.name == "avi" and lacks_times(container, stream)
    for packet in container.demux(stream):
        for frame in decoder.decode(packet):
            if frame.time_base is None:
                frame.time_base = stream.time_base
            if counted:
                frame.pts = frame.dts
            yield frame


def video_rate(stream: VideoStream) -> Fraction:
    """Frames per second, on average."""
    return Fraction(stream.average_rate or stream.guessed_rate or DEFAULT_RATE)


def length_of(stream: VideoStream, rate: Fraction) -> Fraction | None:
    """How many seconds a stream lasts, as its file says, whether or not they are there.

    AVI files say a number of frames, some of which are only the sign that nothing changes; MP4
    files a length; Matroska files leave it to a tag.
    """
    lengths = [stream.frames / rate] if stream.frames else []
    if stream.duration and stream.time_base:
        lengths.append(stream.duration * stream.time_base)
    tag = LENGTH_TAG.fullmatch(stream.metadata.get("DURATION", ""))
    if tag:
        hours, minutes, seconds = map(Fraction, tag.groups())
        lengths.append(3600 * hours + 60 * minutes + seconds)
    return max(lengths, default=None)


def layout_of(frame: VideoFrame, flags: int, notes: list[str]) -> FrameLayout:
    """How frames like this one become upright RGB, and notes on what is lost."""
    turn, sideways, said = turning(frame)
    notes.extend(said)
    transfer = frame.color_trc if frame.color_trc in CURVES else 0
    alpha = any(part.is_alpha for part in frame.format.components)
    bits = max(part.bits for part in frame.format.components)
    if transfer:
        notes.append(
            f"{bits}-bit HDR ({NAMES[transfer]}) reduced to 8-bit sRGB: highlights are squeezed"
        )
    elif bits > 8:
        notes.append(f"{bits} bits per channel reduced to 8")
    kind = "rgb48le" if transfer else "rgba" if alpha else "rgb24"
    return FrameLayout(frame.width, frame.height, turn, sideways, kind, transfer, flags)


def turning(
    frame: VideoFrame,
) -> tuple[Callable[[NDArray[np.uint8]], NDArray[np.uint8]], bool, list[str]]:
    """What makes the pixels of frames like this one upright, whether width and height change
    places, and a note.

    FFmpeg's display matrix says where a stored pixel's x and y lead: rows (a, b, u), (c, d, v) and
    (x, y, w), of which a, b, c and d tell the turn.
    """
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return np.ascontiguousarray, False, []
    a, b, _, c, d = (int(part) for part in np.frombuffer(data, "<i4")[:5])
    sideways = abs(b) > abs(a)
    right, down = (c, b) if sideways else (a, d)

    def turn(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        seen = pixels.swapaxes(0, 1) if sideways else pixels
        return np.ascontiguousarray(seen[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])

    plain = not sideways and right >= 0 and down >= 0
    return turn, sideways, [] if plain else ["turned upright"]


def note_oddities(video: Opened, frame: VideoFrame, notes: list[str]) -> None:
    """Note what of a video is not heeded."""
    stream = video.stream
    if stream.metadata.get("alpha_mode") == "1" and len(frame.format.components) < 4:
        notes.append(f"the transparency of {stream.codec_context.name} is not read")
    ratio = stream.sample_aspect_ratio
    if ratio and ratio != 1:
        notes.append(f"pixels of {ratio.numerator}:{ratio.denominator} are taken as square")
    if frame.interlaced_frame:
        notes.append("interlaced: fields are not separated")
    if frame.color_primaries == BT2020 and frame.color_trc not in CURVES:
        notes.append("colors of BT.2020 are taken as those of sRGB")


def pictures(
    decoded: Iterator[tuple[VideoFrame, Fraction]], look: FrameLayout, called: str, notes: list[str]
) -> Iterator[tuple[NDArray[np.uint8], Fraction]]:
    """The pixels of frames, made by several threads, and their times.

    Raises:
        InputError: The video is damaged.
    """
    from av.video.reformatter import VideoReformatter

    free: SimpleQueue[VideoReformatter] = SimpleQueue()

    def picture(item: tuple[VideoFrame, Fraction]) -> tuple[NDArray[np.uint8], Fraction]:
        frame, time = item
        if (frame.width, frame.height) != (look.width, look.height):
            note(f"some frames scaled to {look.width} x {look.height}", notes)
        if frame.is_corrupt:
            note("some frames are damaged", notes)
        try:
            reformatter = free.get_nowait()
        except Empty:
            reformatter = VideoReformatter()
        seen = reformatter.reformat(
            frame, look.width, look.height, look.format, interpolation=look.flags
        )
        free.put(reformatter)
        pixels: Any = seen.to_ndarray()
        pixels = to_srgb(pixels, look.transfer) if look.transfer else pixels
        return look.turn(pixels), time

    failures: list[InputError] = []
    whole = stop_at_damage(decoded, called, failures)
    yield from imap_threads(picture, whole, min(default_threads(), CONVERTERS))
    if failures:
        raise failures[0]


def stop_at_damage(
    decoded: Iterator[tuple[VideoFrame, Fraction]], called: str, failures: list[InputError]
) -> Iterator[tuple[VideoFrame, Fraction]]:
    """What is decoded before an error, which is kept for when all that has been made use of."""
    try:
        with translate_ffmpeg_errors(called):
            yield from decoded
    except InputError as error:
        failures.append(error)


def note(text: str, notes: list[str]) -> None:
    """Say something once."""
    if text not in notes:
        notes.append(text)
