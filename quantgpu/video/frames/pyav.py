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
from quantgpu.video.frames.base import DEFAULT_RATE, Frame, Frames, with_times
from quantgpu.video.frames.hdr import CURVE_NAMES, CURVES, to_srgb

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

BICUBIC, FULL_CHROMA, ACCURATE, BIT_EXACT = 4, 0x2000 | 0x4000, 0x40000, 0x80000
"""Flags of libswscale (swscale.h); PyAV before version 18 names only the first."""

CONVERSIONS = {"exact": BICUBIC | FULL_CHROMA | ACCURATE | BIT_EXACT, "fast": BICUBIC}
"""Conversions from YUV to RGB: name to flags. ``exact`` rounds, interpolates the color and is equal
on every processor; ``fast``, ffmpeg's default, truncates (one level darker on average) and repeats
the color of each 2 x 2 pixels. 720p: 9.5 and 0.9 ms a frame; mean squared difference of the two on
bigbuckbunny: 7.8."""

BT2020 = 9
"""The code of BT.2020's primaries (ITU-T H.273, table 2)."""

ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Codec to a decoder that reads transparency, which FFmpeg's own decoder of the codec omits."""

LENGTH_TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
"""The length of a stream in a tag of Matroska files."""

MISSED_FRAMES, MISSED_SECONDS = 3, Fraction(1, 2)
"""A stream that ends more than both before its length is taken as cut off."""

CONVERTERS = 4
"""Most threads that convert decoded frames to RGB."""

WORTH_SEEKING = Fraction(2)
"""Fewest seconds that are left out by seeking; fewer are decoded and dropped."""

FARTHER_BACK = 0, 1, 4, 16
"""Seconds before the wanted frame to seek to, one attempt after the other: MPEG transport streams,
and others with frames stored out of the order of their times, lead to the key frame behind."""

WITHOUT_TIMES = "avi", "mpeg"
"""Formats without times of frames that are stored out of order: decoding from a key frame on gives
other times than decoding from the beginning on."""

MISSING = "is read and written with PyAV, which is not installed; pip install av"


def load_av(name: str, kind: type[QuantgpuError]) -> Any:
    """Import `av`, or raise an error of the type `kind` that says how to install PyAV."""
    try:
        import av
    except ImportError:
        raise kind(f"{name}: video {MISSING}") from None
    return av


@contextlib.contextmanager
def translate_ffmpeg_errors(name: str) -> Iterator[None]:
    """Translate FFmpeg's errors inside the context to an InputError that begins with `name`."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{name}: damaged or not a video ({reason})") from None


class FrameLayout(NamedTuple):
    """How to convert a stream's frames to upright RGB."""

    width: int
    """Columns of the frames as they are stored."""
    height: int
    """Rows of the frames as they are stored."""
    turn: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
    """Turns pixels upright."""
    sideways: bool
    """Whether `turn` swaps width and height."""
    format: str
    """FFmpeg's name of the pixel format to convert to."""
    transfer: int
    """A code of `hdr.CURVES`; 0 for 8-bit sRGB."""
    flags: int
    """Flags of libswscale."""


class OpenVideo(NamedTuple):
    """An open video, from which frames are decoded."""

    container: InputContainer
    stream: VideoStream
    decoded: Iterator[VideoFrame]


def open_video(name: str, conversion: str = "exact") -> Frames:
    """The frames of a video file, or of standard input for `STREAM`.

    Raises:
        UsageError: `conversion` is not a row of `CONVERSIONS`.
        InputError: PyAV is absent; the file has no video, or no frame.
    """
    if conversion not in CONVERSIONS:
        raise UsageError(f"conversion {conversion!r}: use one of {', '.join(CONVERSIONS)}")
    load_av(name, InputError)
    called = "standard input" if name == STREAM else name
    video = start_decoding(name, called)
    with translate_ffmpeg_errors(called):
        first = next(video.decoded, None)
    if first is None:
        raise InputError(f"{called}: no frame could be read (the video is empty or damaged)")
    notes: list[str] = []
    layout = layout_of(first, CONVERSIONS[conversion], notes)
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
        video = left.pop() if left else start_decoding(name, called, origin + since)
        time = Fraction(0)
        with video.container:
            decoded = frames_since(video.decoded, origin, since, 1 / rate)
            for frame in with_times(
                convert_frames(decoded, layout, called, notes), lambda: 1 / rate
            ):
                yield frame
                time = frame.time
        check_end(called, time + 1 / rate, length, rate)

    width, height = (layout.width, layout.height)[:: -1 if layout.sideways else 1]
    count = None if length is None else max(round(length * rate), 1)
    channels = 4 if layout.format == "rgba" else 3
    close, rereadable = video.container.close, name != STREAM
    return Frames(
        *(called, width, height, channels, count, rate, None, notes, read, close, rereadable)
    )


def check_end(called: str, end: Fraction, length: Fraction | None, rate: Fraction) -> None:
    """Raise an InputError if a stream ends too early, at `end` of `length`, in seconds."""
    missed = Fraction(0) if length is None else length - end
    if missed > max(MISSED_FRAMES / rate, MISSED_SECONDS):
        raise InputError(f"{called}: ends after {float(end):.2f} of {float(length or 0):.2f} s")


def start_decoding(name: str, called: str, since: Fraction | None = None) -> OpenVideo:
    """Open a video and begin to decode its first stream of pictures, at a key frame before `since`.

    If seeking leads behind `since`, or would change times, decoding begins at the beginning.
    """
    video = open_at_beginning(name, called)
    if since is None or since < WORTH_SEEKING or lacks_times(video.container, video.stream):
        return video
    for back in FARTHER_BACK:
        first = seek(video, since - back, called)
        if first is not None and time_of(first, since + 1) <= since:
            return video._replace(decoded=chain([first], video.decoded))
        video.container.close()
        video = open_at_beginning(name, called)
    return video


def lacks_times(container: InputContainer, stream: VideoStream) -> bool:
    """Whether a stream has frames stored out of the order of display, without their times."""
    return container.format.name in WITHOUT_TIMES and bool(stream.codec_context.has_b_frames)


def seek(video: OpenVideo, moment: Fraction, called: str) -> VideoFrame | None:
    """Seek to a key frame at or before `moment`, in seconds; its frame, or None on failure."""
    with contextlib.suppress(InputError), translate_ffmpeg_errors(called):
        base = video.stream.time_base or Fraction(1, 1)
        video.container.seek(int(moment / base), stream=video.stream)
        return next(video.decoded, None)
    return None


def open_at_beginning(name: str, called: str) -> OpenVideo:
    """Open a video and begin to decode its first stream of pictures at the beginning."""
    import av

    with translate_ffmpeg_errors(called):
        container = av.open(standard_input_stream() if name == STREAM else name, "r")
        streams = [s for s in container.streams.video if "attached_pic" not in str(s.disposition)]
        if not streams:
            container.close()
            raise InputError(f"{called}: no video in it")
        stream = streams[0]
        stream.thread_type = "AUTO"
        return OpenVideo(container, stream, decode(container, stream))


def time_of(frame: VideoFrame, otherwise: Fraction) -> Fraction:
    """The time of a frame in seconds of its file's clock; `otherwise` if it has none."""
    if frame.pts is None or frame.time_base is None:
        return otherwise
    return frame.pts * frame.time_base


def frames_since(
    decoded: Iterator[VideoFrame], origin: Fraction, since: Fraction, step: Fraction
) -> Iterator[tuple[VideoFrame, Fraction]]:
    """The frames from the one shown at `since` on, with their times since `origin`.

    A frame without a time is shown `step` after the one before.
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


def decode(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decode the frames of a stream, with their transparency if there is any.

    The frames of AVI files, whose packets have numbers but no times, are shown in stored order.
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
    """The average frames per second of a stream."""
    return Fraction(stream.average_rate or stream.guessed_rate or DEFAULT_RATE)


def length_of(stream: VideoStream, rate: Fraction) -> Fraction | None:
    """The seconds of a stream according to its file, which may be cut off; None if not stated.

    AVI files have a number of frames, which counts frames without a change; MP4 files have a
    length; Matroska files have a tag.
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
    """How to convert frames like the given one to upright RGB; losses are added to `notes`."""
    turn, sideways, turn_notes = upright_turn(frame)
    notes.extend(turn_notes)
    transfer = frame.color_trc if frame.color_trc in CURVES else 0
    alpha = any(part.is_alpha for part in frame.format.components)
    bits = max(part.bits for part in frame.format.components)
    if transfer:
        notes.append(
            f"{bits}-bit HDR ({CURVE_NAMES[transfer]}) reduced to 8-bit sRGB: "
            "highlights are squeezed"
        )
    elif bits > 8:
        notes.append(f"{bits} bits per channel reduced to 8")
    kind = "rgb48le" if transfer else "rgba" if alpha else "rgb24"
    return FrameLayout(frame.width, frame.height, turn, sideways, kind, transfer, flags)


def upright_turn(
    frame: VideoFrame,
) -> tuple[Callable[[NDArray[np.uint8]], NDArray[np.uint8]], bool, list[str]]:
    """A function that turns frames upright, whether width and height are swapped, and notes.

    FFmpeg's display matrix has the rows (a, b, u), (c, d, v) and (x, y, w). A stored pixel's x
    leads along (a, b) and its y along (c, d).
    """
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return np.ascontiguousarray, False, []
    a, b, _, c, d = (int(part) for part in np.frombuffer(data, "<i4")[:5])
    sideways = abs(b) > abs(a)
    right, down = (c, b) if sideways else (a, d)

    def turn(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        view = pixels.swapaxes(0, 1) if sideways else pixels
        return np.ascontiguousarray(view[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])

    plain = not sideways and right >= 0 and down >= 0
    return turn, sideways, [] if plain else ["turned upright"]


def note_oddities(video: OpenVideo, frame: VideoFrame, notes: list[str]) -> None:
    """Note the properties of a video that the conversion ignores."""
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


def convert_frames(
    decoded: Iterator[tuple[VideoFrame, Fraction]],
    layout: FrameLayout,
    called: str,
    notes: list[str],
) -> Iterator[tuple[NDArray[np.uint8], Fraction]]:
    """Convert decoded frames in several threads.

    Yields:
        Upright pixels, (height, width, 3 | 4) uint8, and their time.

    Raises:
        InputError: The video is damaged; raised after the last good frame.
    """
    from av.video.reformatter import VideoReformatter

    free: SimpleQueue[VideoReformatter] = SimpleQueue()

    def picture(item: tuple[VideoFrame, Fraction]) -> tuple[NDArray[np.uint8], Fraction]:
        frame, time = item
        if (frame.width, frame.height) != (layout.width, layout.height):
            note_once(f"some frames scaled to {layout.width} x {layout.height}", notes)
        if frame.is_corrupt:
            note_once("some frames are damaged", notes)
        try:
            reformatter = free.get_nowait()
        except Empty:
            reformatter = VideoReformatter()
        converted = reformatter.reformat(
            frame, layout.width, layout.height, layout.format, interpolation=layout.flags
        )
        free.put(reformatter)
        pixels: Any = converted.to_ndarray()
        pixels = to_srgb(pixels, layout.transfer) if layout.transfer else pixels
        return layout.turn(pixels), time

    failures: list[InputError] = []
    whole = stop_at_damage(decoded, called, failures)
    yield from imap_threads(picture, whole, min(default_threads(), CONVERTERS))
    if failures:
        raise failures[0]


def stop_at_damage(
    decoded: Iterator[tuple[VideoFrame, Fraction]], called: str, failures: list[InputError]
) -> Iterator[tuple[VideoFrame, Fraction]]:
    """Yield decoded frames; store an error in `failures`, to be raised after the last frame."""
    try:
        with translate_ffmpeg_errors(called):
            yield from decoded
    except InputError as error:
        failures.append(error)


def note_once(text: str, notes: list[str]) -> None:
    """Add a note unless `notes` has it."""
    if text not in notes:
        notes.append(text)
