"""Clips: frames in, frames of at most K colors out, in memory that does not grow with the clip.

Three stages run at once: decoding, then counting and mapping in a thread that maps several frames
at a time, then writing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
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
from quantgpu.video.frames.base import Frame, Frames, channels_of, parse_seconds, with_alpha
from quantgpu.video.gpu_stream import GpuFrameStream, gpu_stream_for
from quantgpu.video.options import VideoOptions
from quantgpu.video.palettes import (
    PALETTES,
    ClipContext,
    FrameStream,
    Prepared,
    PreparedFrame,
    Result,
    fixed_palette,
)
from quantgpu.video.report import VideoReport
from quantgpu.video.sinks.base import SinkFormat
from quantgpu.video.sinks.open import open_sink, sink_format, size_of
from quantgpu.video.sinks.pictures import Sink

MOST_WAITING = 4
"""Most frames that are mapped and wait to be written."""


class ClipWorkers(Protocol):
    """Workers that count the frames of a clip, and write numbered pictures."""

    device_notes: list[str]
    """Why workers counted or mapped on other devices than the requested ones."""

    @property
    def device(self) -> str:
        """The device of this machine's share of the work."""

    def histogram_for(self, watch: DamageWatch, xp: Any) -> Histogram:
        """The colors that decide the palette, in arrays of the module `xp`."""

    def write_on_workers(
        self, stream: FrameStream, clip: ClipJob, sink: Sink, may_hold: bool, total: WrittenTotal
    ) -> FrameStream:
        """Let the workers write what they can; the frames that are left to this machine."""


class ClipJob(NamedTuple):
    """A clip, and how it is converted."""

    frames: Frames
    output: str
    k: int
    palette: Palette | None
    """The given palette; None to compute one."""
    options: VideoOptions
    """The options, with `alpha` limited to what the output format holds."""
    first: Fraction | None
    """Seconds that decide the shared palette; None for all."""
    force: bool
    frame_progress: FrameProgress
    workers: ClipWorkers | None = None
    """Workers of a cluster; None to do all work on this machine."""

    @property
    def perceptual(self) -> bool:
        """Whether pixels are counted with perceptual weights."""
        return self.palette is None and self.options.clustering.weighs_pixels


class FrameProgress:
    """Counts the frames that are done, and reports their number and rate to `progress`."""

    def __init__(self, progress: Progress, count: int | None) -> None:
        self.progress, self.count = progress, count
        self.stage, self.done, self.begun = "", 0, 0.0
        self.stopped = Event()
        """Set when no more frames are wanted."""

    def __call__(self, stage: str) -> None:
        """Report one more frame of a stage.

        Raises:
            Stopped: No more frames are wanted.
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
        source: A source of `open_frames`.
        output: An output of `open_sink`.
        k: Most colors of a frame; None for the number that suits the format.
        options: All other options.
        force: Whether to replace an existing output.
        progress: Called with a stage's name and the share of the stage that is done, 0..1.
        distribute: From the clip to workers that count its frames; None for this machine alone.

    Raises:
        QuantgpuError: For the same reasons as `quantgpu.quantize_video`.
    """
    form = sink_format(output)
    if k is not None:
        check_number("k", k, 1, MOST_COLORS)
    options.dither.check_k(k)
    limit = parse_seconds(options.first, "--first", Fraction(1, 1000), None)
    given_palette = palette_of(options.palette, k, limit)
    check_without_effect(options, given_palette)
    most_colors = min(DEFAULT_K, form.advised) if k is None else k
    options.clustering.check_room(most_colors)
    check_colors(output, form, most_colors if given_palette is None else len(given_palette))
    begun = time.perf_counter()
    alpha, compute = options.alpha, options.compute
    clip_options = replace(options, alpha=replace(alpha, alpha=limited(alpha.alpha, form.alpha)))
    with options.frames.open(source) as frames:
        check_rereadable(frames, options.palette, given_palette, limit)
        frame_progress = FrameProgress(guard_progress(progress), frames.count)
        clip = ClipJob(
            frames, output, most_colors, given_palette, clip_options, limit, force, frame_progress
        )
        if distribute is not None:
            clip = clip._replace(workers=distribute(clip))
        report, used, notes = run_on_device(
            compute.device if clip.workers is None else clip.workers.device,
            compute.memory,
            partial(write_clip, clip),
            partial(write_clip, clip, np, None, True),
        )
    if clip_options != options and frames.channels == 4:
        report.notes.append(f"{form.name} holds {ALPHA_LIMITS[form.alpha]}")
    if clip.workers is not None:
        notes = list(dict.fromkeys([*notes, *clip.workers.device_notes]))
    return report._replace(device=used, device_notes=notes, seconds=time.perf_counter() - begun)


def check_without_effect(options: VideoOptions, given_palette: Palette | None) -> None:
    """Raise a UsageError for clustering options beside a given palette."""
    if given_palette is None:
        return
    requested, usual = options.clustering, PaletteOptions()
    for name in ("keep", "snap", "from_palette", "salient", "init"):
        if getattr(requested, name) != getattr(usual, name):
            option = name.replace("_", "-")
            raise UsageError(f"--{option} is for palettes that are made; leave it or --palette out")


def check_colors(name: str, form: SinkFormat, k: int) -> None:
    """Raise a UsageError unless a format holds k colors."""
    if k > form.colors:
        raise UsageError(f"{name}: k = {k} is more than the {form.colors} colors of {form.name}")


def palette_of(palette: Any, k: int | None, first: Fraction | None) -> Palette | None:
    """The given palette, in any form of `as_palette`; None if `palette` names a row of `PALETTES`.

    Raises:
        UsageError: The options contradict each other, or the palette cannot be read.
    """
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


def check_rereadable(
    frames: Frames, palette: Any, given_palette: Palette | None, first: Fraction | None
) -> None:
    """Raise a UsageError if the palette takes two readings of a clip that can be read only once."""
    if frames.rereadable or given_palette is not None or palette == "frame" or first is not None:
        return
    raise UsageError(
        f"{frames.name} can be read only once, and --palette {palette} reads a clip twice; let its "
        "beginning decide (--palette shared --first 5, in seconds), or use --palette frame or FILE"
    )


def write_clip(
    clip: ClipJob, xp: ModuleType, device: Device | None, keep_pixels: bool
) -> VideoReport:
    """Count, map and write the frames of a clip with an array module.

    A failed GPU makes `run_on_device` call this function again, from the first frame on.

    Args:
        clip: The clip.
        xp: NumPy or CuPy.
        device: A GPU; None to work on the host.
        keep_pixels: Whether the pixels of a frame stay on the GPU between counting and mapping.

    Raises:
        DeviceError: The GPU failed, and the clip can be read only once.
    """
    frames, watch, options = clip.frames, DamageWatch(clip.frames), clip.options
    if frames.begun and not frames.rereadable:
        raise DeviceError(
            f"the GPU failed half-way, and {frames.name} can be read only once: use --device cpu"
        )
    threads, stopped = options.compute.thread_count, Event()
    clip.frame_progress.stopped = stopped
    channels = channels_of(frames, options.alpha.alpha)
    diffuses = not DITHERS[options.dithering.method].is_pointwise
    shape = frames.height, frames.width, channels
    gpu_stream = None if device is None else gpu_stream_for(xp, device, shape, diffuses)
    pixels_of = partial(
        frame_pixels, xp=xp, device=device, gpu_stream=gpu_stream, keep_pixels=keep_pixels
    )
    context = context_for(clip, watch, channels, xp, pixels_of)
    palette, name = clip.palette, options.palette
    stream = PALETTES[name](context) if palette is None else fixed_palette(context, palette)
    several_palettes = palette is None and name in ("scene", "frame")
    flicker = FlickerFilter(options.hold, diffuses, several_palettes, threads)
    total = WrittenTotal()
    with (
        open_sink(
            clip.output, width=frames.width, height=frames.height, rate=frames.rate,
            loop=frames.loop or 0, one_palette=not several_palettes, transparent=channels == 4,
            force=clip.force, originals=originals_of(clip),
        ) as sink,
        prefetch(
            map_frames(
                remaining_frames(clip, stream, sink, flicker, total),
                pixels_of, device, threads, gpu_stream,
            ),
            MOST_WAITING,
            stopped,
        ) as results,
    ):  # fmt: skip
        write_frames(clip, results, sink, flicker, total)
    return VideoReport(
        frames.name, clip.output, frames.width, frames.height, total.frames, total.palettes,
        context.colors_in, total.colors, total.error, frames.width * frames.height * total.frames,
        flicker.flicker, total.seconds, size_of(clip.output, total.frames), 0.0,
        [*frames.notes, *sink.notes], "cpu", [], watch.damage,
    )  # fmt: skip


def originals_of(clip: ClipJob) -> frozenset[Any]:
    """The identities of the files of a clip and of its palette, see `file_ids`."""
    palette = clip.options.palette
    given = [os.fspath(palette)] if isinstance(palette, str | os.PathLike) else []
    return file_ids([*(clip.frames.files or [clip.frames.name]), *given])


def write_frames(
    clip: ClipJob,
    results: Iterable[Result],
    sink: Sink,
    flicker: FlickerFilter,
    total: WrittenTotal,
) -> None:
    """Hold still pixels, write the frames, and add them to `total`."""
    for frame, ready, index, error in results:
        held = flicker.apply(frame.pixels, index, ready.palette)
        if error is None or held is not index:
            error = total.error_of(frame, held, ready, flicker.is_active, flicker.threads)
        sink.write(held, ready.palette, frame.duration)
        total.add(1, frame.duration, ready, error)
        clip.frame_progress("write")


def frame_pixels(
    pixels: NDArray[np.uint8],
    *,
    xp: ModuleType,
    device: Device | None,
    gpu_stream: GpuFrameStream | None,
    keep_pixels: bool,
) -> Pixels:
    """The pixels of a frame on the host; on the GPU `device`, if there is one."""
    if gpu_stream is not None:
        return gpu_stream.upload(pixels)
    host_pixels = Pixels(pixels)
    return host_pixels if device is None else GpuPixels(host_pixels, xp, device, keep_pixels)


def remaining_frames(
    clip: ClipJob, stream: FrameStream, sink: Sink, flicker: FlickerFilter, total: WrittenTotal
) -> FrameStream:
    """The frames that are left to this machine, when workers have written what they can."""
    if clip.workers is None:
        return stream
    return clip.workers.write_on_workers(stream, clip, sink, flicker.is_active, total)


def context_for(
    clip: ClipJob,
    watch: DamageWatch,
    channels: int,
    xp: ModuleType,
    pixels_of: Callable[[NDArray[np.uint8]], Pixels],
) -> ClipContext:
    """The clip as the palette strategies of `PALETTES` take it."""
    options = clip.options

    def read() -> Iterator[Frame]:
        for pixels, start, lasts in watch.read():
            yield Frame(with_alpha(pixels, options.alpha, channels), start, lasts)

    context = ClipContext(
        read, clip.frames.rereadable, watch.is_damaged, k=clip.k, channels=channels,
        perceptual=clip.perceptual, options=options.clustering, dithering=options.dithering,
        threads=options.compute.thread_count, xp=xp, pixels_of=pixels_of, steady=options.hold,
        first=clip.first, report=clip.frame_progress, progress=clip.frame_progress.progress,
    )  # fmt: skip
    if clip.workers is not None:
        context.count_elsewhere = partial(clip.workers.histogram_for, watch, xp)
    return context


class DamageWatch:
    """Frames that can be read several times, and the damage that any reading found."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.damage: str | None = None

    def read(self) -> Iterator[Frame]:
        """The frames; notes after the last why the clip ended early."""
        yield from self.frames
        self.damage = self.damage or self.frames.broken

    def is_damaged(self) -> bool:
        """Whether decoding the frames again may give other pixels."""
        return self.damage is not None or any("damaged" in note for note in self.frames.notes)


def map_frames(
    stream: FrameStream,
    pixels_of: Callable[[NDArray[np.uint8]], Pixels],
    device: Device | None,
    threads: int,
    gpu_stream: GpuFrameStream | None,
) -> Generator[Result, None, None]:
    """Map frames to palette entries, on the host, several frames at a time.

    A GPU without memory for a `GpuFrameStream` maps one frame at a time.
    """

    def entries(prepared_frame: PreparedFrame) -> Result:
        frame, ready = prepared_frame
        pixels = pixels_of(frame.pixels)
        index, tally = ready.mapper(pixels, False, no_progress)
        pixels.wait()
        return frame, ready, index, None if tally is None else tally.squared_error

    gpu_contexts = ExitStack()
    with closing(stream), gpu_contexts:
        if device is not None:  # on the host, no error is an error of a GPU
            gpu_contexts.enter_context(device_context(device))
            gpu_contexts.enter_context(translate_gpu_errors())
        if gpu_stream is not None:
            yield from gpu_stream.map_frames(stream)
        else:
            yield from imap_threads(entries, stream, threads if device is None else 1)


class WrittenTotal:
    """Sums over the frames that were written."""

    def __init__(self) -> None:
        self.frames = self.palettes = self.colors = self.error = 0
        self.seconds = Fraction(0)
        self.last: Prepared | None = None
        self.palette: NDArray[np.uint8] | None = None

    def error_of(
        self, frame: Frame, index: NDArray[Any], ready: Prepared, may_hold: bool, threads: int
    ) -> int:
        """The squared error that a frame adds to the sum.

        A histogram of just the frames of one palette gives the error of all of them at their first.
        """
        if ready.is_counted and not may_hold:
            return 0 if ready is self.last else ready.squared_error()
        return squared_error(frame.pixels, index, ready.palette, threads)

    def add(self, frames: int, seconds: Fraction, ready: Prepared, error: int) -> None:
        """Add a number of frames, shown for `seconds` together, with their squared error."""
        self.frames += frames
        self.seconds += seconds
        self.error += error
        if self.palette is None or not np.array_equal(ready.palette, self.palette):
            self.palettes += 1
            self.palette = ready.palette
        self.last = ready
        self.colors = max(self.colors, len(ready.palette))
