"""Clips: frames in, frames of at most K colors out, in memory that does not grow with the clip.

Three things happen at a time: frames are decoded; they are counted and mapped, by a thread of their
own that lets several frames at a time be mapped; and they are written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, nullcontext
from fractions import Fraction
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.device import Device, translated_errors, using
from quantgpu.color.alpha import Color
from quantgpu.dithering.base import Dithering
from quantgpu.dithering.diffusion_matrices import KERNELS
from quantgpu.errors import DeviceError, UsageError
from quantgpu.histogram import Histogram
from quantgpu.io.inputs import as_palette, parse_colors
from quantgpu.palette import Palette
from quantgpu.pixels.gpu import GpuPixels
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Progress, no_progress
from quantgpu.threads import ahead, map_ahead
from quantgpu.video.flicker import MOST_HOLD, Stillness, squared_error
from quantgpu.video.frames.base import Frame, Frames, channels_of, with_alpha
from quantgpu.video.gpu_stream import Flight, flight_for
from quantgpu.video.palettes import PALETTES, Prepared, Result, Turns, Way, given
from quantgpu.video.report import VideoReport
from quantgpu.video.sinks.base import SinkFormat
from quantgpu.video.sinks.open import open_sink, size_of
from quantgpu.video.sinks.pictures import Sink

DEFAULT_DITHER = "blue-noise"
"""How colors are mixed where nothing is said."""

WAITING = 4
"""Frames that are mapped and wait to be written, at most."""


class Clip(NamedTuple):
    """A clip and what is to become of it."""

    frames: Frames
    output: str
    palette: Palette | None
    way: str
    """A row of `PALETTES`, or ``file``."""
    hold: float
    dithering: Dithering
    first: Fraction | None
    alpha: str
    matte: Color | None
    force: bool
    telling: Telling
    choices: dict[str, Any]
    """Of a `Way`."""
    threads: int
    count_frames: Callable[[Watched, Any], Histogram] | None = None
    """Counts the frames elsewhere, into arrays of a module; None where they are counted here."""
    write_frames: Callable[[Turns, Clip, Sink, bool, Total], Turns] | None = None
    """Writes the frames elsewhere as far as that can be; gives the turns that are left."""


class Telling:
    """Tells a progress of frames: how many are done, and how many a second."""

    def __init__(self, progress: Progress, count: int | None) -> None:
        self.progress, self.count = progress, count
        self.stage, self.done, self.begun = "", 0, 0.0

    def __call__(self, stage: str) -> None:
        """A stage has done one more frame."""
        if stage != self.stage:
            self.stage, self.done, self.begun = stage, 0, time.perf_counter()
        self.done += 1
        rate = self.done / max(time.perf_counter() - self.begun, 1e-3)
        of = "" if self.count is None else f" of {self.count}"
        share = min(self.done / self.count, 1.0) if self.count else 0.0
        self.progress(f"{stage} {self.done}{of}, {rate:.0f} frames/s", share)


def check_hold(hold: float) -> None:
    """Raise a UsageError unless so many levels can be tolerated."""
    if not isinstance(hold, int | float | np.floating) or not 0 <= hold <= MOST_HOLD:
        raise UsageError(f"hold = {hold!r} is outside 0..{MOST_HOLD} levels")


def check_colors(name: str, form: SinkFormat, k: int) -> None:
    """Raise a UsageError unless a format holds so many colors."""
    if k > form.colors:
        raise UsageError(f"{name}: k = {k} is more than the {form.colors} colors of {form.name}")


def palette_of(palette: Any, k: int | None, first: Fraction | None) -> Palette | None:
    """The palette that was given; None for a row of `PALETTES`."""
    is_name = isinstance(palette, str)
    if first is not None and palette != "shared":
        raise UsageError("--first is for --palette shared: it says what decides that")
    if is_name and palette in PALETTES:
        return None
    if k is not None:
        raise UsageError("-k is for palettes that are made; the one given has its own colors")
    if not is_name:
        return as_palette(palette)
    try:
        return Palette(parse_colors(palette, "palette"))
    except UsageError as error:
        raise UsageError(f"{error}; or use one of {', '.join(PALETTES)}") from None


def check_way(frames: Frames, palette: Any, chosen: Palette | None, first: Fraction | None) -> None:
    """Raise a UsageError if the clip would have to be read twice and cannot be."""
    if frames.rereadable or chosen is not None or palette == "frame" or first is not None:
        return
    raise UsageError(
        f"{frames.name} can be read only once, and --palette {palette} reads a clip twice; let its "
        "beginning decide (--palette shared --first 5, in seconds), or use --palette frame or FILE"
    )


def converted(clip: Clip, xp: ModuleType, device: Device | None, keep: bool) -> VideoReport:
    """Write the clip, whose frames are counted and mapped by an array module.

    Where a GPU fails half-way, the clip begins anew.
    """
    frames, watched = clip.frames, Watched(clip.frames)
    if frames.begun and not frames.rereadable:
        raise DeviceError(
            f"the GPU failed half-way, and {frames.name} can be read only once: use --device cpu"
        )
    channels = channels_of(frames, clip.alpha)
    diffuses, shape = clip.dithering.method in KERNELS, (frames.height, frames.width, channels)
    flight = None if device is None else flight_for(xp, device, shape, diffuses)

    def read() -> Iterator[Frame]:
        for pixels, start, lasts in watched.read():
            yield Frame(with_alpha(pixels, clip.alpha, clip.matte, channels), start, lasts)

    def pixels_of(pixels: NDArray[np.uint8]) -> Pixels:
        if flight is not None:
            return flight.arriving(pixels)
        here = Pixels(pixels)
        return here if device is None else GpuPixels(here, xp, device, keep)

    way = Way(
        read, frames.rereadable, watched.is_damaged, channels=channels, dithering=clip.dithering,
        threads=clip.threads, xp=xp, pixels_of=pixels_of, first=clip.first, tell=clip.telling,
        progress=clip.telling.progress, steady=clip.hold, **clip.choices,
    )  # fmt: skip
    if clip.count_frames is not None:
        way.elsewhere = partial(clip.count_frames, watched, xp)
    turns = given(way, clip.palette) if clip.palette is not None else PALETTES[clip.way](way)
    several = clip.way in ("scene", "frame")
    still = Stillness(clip.hold, diffuses, several, clip.threads)
    total = Total()
    transparent = channels == 4

    def left(sink: Sink) -> Turns:
        return (
            turns
            if clip.write_frames is None
            else clip.write_frames(turns, clip, sink, still.keeps, total)
        )

    with (
        open_sink(
            clip.output, width=frames.width, height=frames.height, rate=frames.rate,
            loop=frames.loop or 0, one_palette=not several, transparent=transparent,
            force=clip.force,
        ) as sink,
        ahead(
            mapped(left(sink), pixels_of, device, clip.threads, flight), WAITING
        ) as results,
    ):  # fmt: skip
        for frame, ready, index, error in results:
            kept = still.follow(frame.pixels, index, ready.palette)
            if error is None or kept is not index:
                error = total.error_of(frame, kept, ready, still.keeps, clip.threads)
            sink.write(kept, ready.palette, frame.duration)
            total.add(1, frame.duration, ready, error)
            clip.telling("write")
    return VideoReport(
        frames.name, clip.output, frames.width, frames.height, total.frames, total.palettes,
        way.colors_in, total.colors, total.error, frames.width * frames.height * total.frames,
        still.flicker, total.seconds, size_of(clip.output, total.frames), 0.0,
        [*frames.notes, *sink.notes], "cpu", [], watched.damage,
    )  # fmt: skip


class Watched:
    """Frames that can be read several times, and what was wrong with them at any of these."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.damage: str | None = None

    def read(self) -> Iterator[Frame]:
        """The frames."""
        yield from self.frames
        self.damage = self.damage or self.frames.broken

    def is_damaged(self) -> bool:
        """Whether decoding them again may give other pixels."""
        return self.damage is not None or any("damaged" in note for note in self.frames.notes)


def mapped(
    turns: Turns,
    pixels_of: Callable[[NDArray[np.uint8]], Pixels],
    device: Device | None,
    threads: int,
    flight: Flight | None,
) -> Generator[Result, None, None]:
    """The frames' entries, on the host: of several frames at a time.

    Of one at a time on a GPU whose memory holds no more.
    """

    def entries(turn: Any) -> Result:
        pixels = pixels_of(turn.frame.pixels)
        index, tally = turn.prepared.mapper(pixels, False, no_progress)
        pixels.wait()
        return turn.frame, turn.prepared, index, None if tally is None else tally.squared_error

    here = nullcontext() if device is None else using(device)
    with closing(turns), here, translated_errors():
        if flight is not None:
            yield from flight.mapped(turns)
        else:
            yield from map_ahead(entries, turns, threads if device is None else 1)


class Total:
    """Sums over the frames that were written."""

    def __init__(self) -> None:
        self.frames = self.palettes = self.colors = self.error = 0
        self.seconds = Fraction(0)
        self.last: Prepared | None = None
        self.palette: NDArray[np.uint8] | None = None

    def error_of(
        self, frame: Frame, index: NDArray[Any], ready: Prepared, keeps: bool, threads: int
    ) -> int:
        """The squared error to add for a frame."""
        if ready.is_counted and not keeps:
            return 0 if ready is self.last else ready.squared_error()
        return squared_error(frame.pixels, index, ready.palette, threads)

    def add(self, frames: int, seconds: Fraction, ready: Prepared, error: int) -> None:
        """Add some frames that are shown for so many seconds."""
        self.frames += frames
        self.seconds += seconds
        self.error += error
        if self.palette is None or not np.array_equal(ready.palette, self.palette):
            self.palettes += 1
            self.palette = ready.palette
        self.last = ready
        self.colors = max(self.colors, len(ready.palette))
