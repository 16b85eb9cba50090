"""Clips: frames in, frames of at most K colors out, in memory that does not grow with the clip.

Three things happen at a time: frames are decoded; they are counted and mapped, by a thread of their
own that lets several frames at a time be mapped; and they are written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from fractions import Fraction
from functools import partial
from threading import Event
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.device import Device, device_context, translate_gpu_errors
from quantgpu.clustering.options import DEFAULT_K, PaletteOptions
from quantgpu.color.alpha import ALPHA_LIMITS, limited
from quantgpu.dithering.methods import DITHERS
from quantgpu.errors import DeviceError, UsageError, check_number
from quantgpu.execution.fallback import guard_progress, run_on_device
from quantgpu.histogram import Histogram
from quantgpu.io.inputs import as_palette, parse_colors
from quantgpu.io.originals import file_ids
from quantgpu.palette import MOST_COLORS, Palette
from quantgpu.pixels.gpu import GpuPixels
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Progress, no_progress
from quantgpu.threads import Stopped, imap_threads, prefetch
from quantgpu.video.flicker import FlickerFilter, squared_error
from quantgpu.video.frames.base import Frame, Frames, channels_of, seconds, with_alpha
from quantgpu.video.gpu_stream import GpuFrameStream, gpu_stream_for
from quantgpu.video.options import VideoOptions
from quantgpu.video.palettes import (
    PALETTES,
    ClipContext,
    FrameStream,
    Prepared,
    Result,
    fixed_palette,
)
from quantgpu.video.report import VideoReport
from quantgpu.video.sinks.base import SinkFormat
from quantgpu.video.sinks.open import open_sink, sink_format, size_of
from quantgpu.video.sinks.pictures import Sink

WAITING = 4
"""Frames that are mapped and wait to be written, at most."""


class ClipWorkers(Protocol):
    """What counts the frames of a clip elsewhere, and writes them as far as that can be."""

    device_notes: list[str]
    """Why workers did not count or map where they were meant to."""

    @property
    def device(self) -> str:
        """Where the rest is done, which is done here."""

    def counted_for(self, watched: DamageWatch, xp: Any) -> Histogram:
        """The colors that decide the palette, in the arrays of a module."""

    def frames_left(
        self, turns: FrameStream, clip: ClipJob, sink: Sink, keeps: bool, total: Total
    ) -> FrameStream:
        """The turns that are left to this machine, when workers have written what they can."""


class ClipJob(NamedTuple):
    """A clip and what is to become of it."""

    frames: Frames
    output: str
    k: int
    palette: Palette | None
    """One that is given; None for one that is made."""
    options: VideoOptions
    """As far as they hold for the format of the output."""
    first: Fraction | None
    force: bool
    telling: FrameProgress
    workers: ClipWorkers | None = None
    """None where all is done here."""

    @property
    def perceptual(self) -> bool:
        """Whether pixels are counted with weights of what the eye sees."""
        return self.palette is None and self.options.clustering.weighs_pixels


class FrameProgress:
    """Tells a progress of frames: how many are done, and how many a second."""

    def __init__(self, progress: Progress, count: int | None) -> None:
        self.progress, self.count = progress, count
        self.stage, self.done, self.begun = "", 0, 0.0
        self.stopped = Event()
        """Set when nobody wants the frames any more."""

    def __call__(self, stage: str) -> None:
        """A stage has done one more frame.

        Raises:
            Stopped: It is the last, as nobody wants more.
        """
        if self.stopped.is_set():
            raise Stopped
        if stage != self.stage:
            self.stage, self.done, self.begun = stage, 0, time.perf_counter()
        self.done += 1
        rate = self.done / max(time.perf_counter() - self.begun, 1e-3)
        of = "" if self.count is None else f" of {self.count}"
        share = min(self.done / self.count, 1.0) if self.count else 0.0
        self.progress(f"{stage} {self.done}{of}, {rate:.0f} frames/s", share)


def convert_clip(
    source: str,
    output: str,
    k: int | None,
    options: VideoOptions,
    *,
    force: bool = False,
    progress: Progress = no_progress,
    distribute: Callable[[ClipJob], ClipWorkers] | None = None,
) -> VideoReport:
    """Write a clip with K colors.

    Args:
        source: What `open_frames` reads.
        output: What `open_sink` writes.
        k: Colors of a frame; None for what suits the format.
        options: All else.
        force: Whether an output that exists is replaced.
        progress: Called with the name of a stage and the share of it that is done.
        distribute: Gives the workers that count frames elsewhere.

    Raises:
        QuantgpuError: What `quantgpu.quantize_video` raises.
    """
    form = sink_format(output)
    if k is not None:
        check_number("k", k, 1, MOST_COLORS)
    options.dither.check_k(k)
    limit = seconds(options.first, "--first", Fraction(1, 1000), None)
    chosen = palette_of(options.palette, k, limit)
    check_without_effect(options, chosen)
    most = min(DEFAULT_K, form.advised) if k is None else k
    options.clustering.check_room(most)
    check_colors(output, form, most if chosen is None else len(chosen))
    begun = time.perf_counter()
    alpha, compute = options.alpha, options.compute
    held = replace(options, alpha=replace(alpha, alpha=limited(alpha.alpha, form.alpha)))
    with options.frames.open(source) as frames:
        check_way(frames, options.palette, chosen, limit)
        telling = FrameProgress(guard_progress(progress), frames.count)
        clip = ClipJob(frames, output, most, chosen, held, limit, force, telling)
        if distribute is not None:
            clip = clip._replace(workers=distribute(clip))
        report, used, notes = run_on_device(
            compute.device if clip.workers is None else clip.workers.device,
            compute.memory,
            partial(converted, clip),
            partial(converted, clip, np, None, True),
        )
    if held != options and frames.channels == 4:
        report.notes.append(f"{form.name} holds {ALPHA_LIMITS[form.alpha]}")
    if clip.workers is not None:
        notes = list(dict.fromkeys([*notes, *clip.workers.device_notes]))
    return report._replace(device=used, device_notes=notes, seconds=time.perf_counter() - begun)


def check_without_effect(options: VideoOptions, chosen: Palette | None) -> None:
    """Raise a UsageError for options of palettes that are made, beside one that is given."""
    if chosen is None:
        return
    given, usual = options.clustering, PaletteOptions()
    for name in ("keep", "snap", "from_palette", "salient", "init"):
        if getattr(given, name) != getattr(usual, name):
            option = name.replace("_", "-")
            raise UsageError(f"--{option} is for palettes that are made; leave it or --palette out")


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


def converted(clip: ClipJob, xp: ModuleType, device: Device | None, keep: bool) -> VideoReport:
    """Write the clip, whose frames are counted and mapped by an array module.

    Where a GPU fails half-way, the clip begins anew.
    """
    frames, watched, options = clip.frames, DamageWatch(clip.frames), clip.options
    if frames.begun and not frames.rereadable:
        raise DeviceError(
            f"the GPU failed half-way, and {frames.name} can be read only once: use --device cpu"
        )
    threads, stopped = options.compute.thread_count, Event()
    clip.telling.stopped = stopped
    channels = channels_of(frames, options.alpha.alpha)
    diffuses = not DITHERS[options.dithering.method].is_pointwise
    shape = frames.height, frames.width, channels
    flight = None if device is None else gpu_stream_for(xp, device, shape, diffuses)

    def pixels_of(pixels: NDArray[np.uint8]) -> Pixels:
        if flight is not None:
            return flight.arriving(pixels)
        here = Pixels(pixels)
        return here if device is None else GpuPixels(here, xp, device, keep)

    way = way_for(clip, watched, channels, xp, pixels_of)
    palette, name = clip.palette, options.palette
    turns = PALETTES[name](way) if palette is None else fixed_palette(way, palette)
    several = palette is None and name in ("scene", "frame")
    flicker, total = FlickerFilter(options.hold, diffuses, several, threads), Total()

    def left(sink: Sink) -> FrameStream:
        if clip.workers is None:
            return turns
        return clip.workers.frames_left(turns, clip, sink, flicker.is_active, total)

    with (
        open_sink(
            clip.output, width=frames.width, height=frames.height, rate=frames.rate,
            loop=frames.loop or 0, one_palette=not several, transparent=channels == 4,
            force=clip.force, originals=originals_of(clip),
        ) as sink,
        prefetch(
            mapped(left(sink), pixels_of, device, threads, flight), WAITING, stopped
        ) as results,
    ):  # fmt: skip
        for frame, ready, index, error in results:
            kept = flicker.apply(frame.pixels, index, ready.palette)
            if error is None or kept is not index:
                error = total.error_of(frame, kept, ready, flicker.is_active, threads)
            sink.write(kept, ready.palette, frame.duration)
            total.add(1, frame.duration, ready, error)
            clip.telling("write")
    return VideoReport(
        frames.name, clip.output, frames.width, frames.height, total.frames, total.palettes,
        way.colors_in, total.colors, total.error, frames.width * frames.height * total.frames,
        flicker.flicker, total.seconds, size_of(clip.output, total.frames), 0.0,
        [*frames.notes, *sink.notes], "cpu", [], watched.damage,
    )  # fmt: skip


def originals_of(clip: ClipJob) -> frozenset[Any]:
    """The identities of all files that a clip is made of."""
    palette = clip.options.palette
    given = [os.fspath(palette)] if isinstance(palette, str | os.PathLike) else []
    return file_ids([*(clip.frames.files or [clip.frames.name]), *given])


def way_for(
    clip: ClipJob,
    watched: DamageWatch,
    channels: int,
    xp: ModuleType,
    pixels_of: Callable[[NDArray[np.uint8]], Pixels],
) -> ClipContext:
    """What finds the palettes of a clip has to know."""
    options = clip.options

    def read() -> Iterator[Frame]:
        for pixels, start, lasts in watched.read():
            yield Frame(with_alpha(pixels, options.alpha, channels), start, lasts)

    way = ClipContext(
        read, clip.frames.rereadable, watched.is_damaged, k=clip.k, channels=channels,
        perceptual=clip.perceptual, options=options.clustering, dithering=options.dithering,
        threads=options.compute.thread_count, xp=xp, pixels_of=pixels_of, steady=options.hold,
        first=clip.first, tell=clip.telling, progress=clip.telling.progress,
    )  # fmt: skip
    if clip.workers is not None:
        way.elsewhere = partial(clip.workers.counted_for, watched, xp)
    return way


class DamageWatch:
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
    turns: FrameStream,
    pixels_of: Callable[[NDArray[np.uint8]], Pixels],
    device: Device | None,
    threads: int,
    flight: GpuFrameStream | None,
) -> Generator[Result, None, None]:
    """The frames' entries, on the host: of several frames at a time.

    Of one at a time on a GPU whose memory holds no more.
    """

    def entries(turn: Any) -> Result:
        pixels = pixels_of(turn.frame.pixels)
        index, tally = turn.prepared.mapper(pixels, False, no_progress)
        pixels.wait()
        return turn.frame, turn.prepared, index, None if tally is None else tally.squared_error

    on_gpu = ExitStack()
    with closing(turns), on_gpu:
        if device is not None:  # what goes wrong on the CPU is no error of a GPU
            on_gpu.enter_context(device_context(device))
            on_gpu.enter_context(translate_gpu_errors())
        if flight is not None:
            yield from flight.mapped(turns)
        else:
            yield from imap_threads(entries, turns, threads if device is None else 1)


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
