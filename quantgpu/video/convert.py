"""Clips: frames in, frames of at most K colors out, in memory that does not grow with the clip.

Three things happen at a time: frames are decoded; they are counted and mapped, by a thread of their
own that lets several frames at a time be mapped; and they are written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, nullcontext
from fractions import Fraction
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.device import (
    Device,
    Progress,
    default_threads,
    map_ahead,
    no_progress,
    translated_errors,
    using,
)
from quantgpu.batch.jobs import ahead
from quantgpu.color.alpha import ALPHAS, HELD, Color, fitted
from quantgpu.distributed.frame_ranges import FrameWay, channels_of, with_alpha
from quantgpu.distributed.video import Spread, crew_for_clip, turns_left
from quantgpu.dithering.base import Dithering, parse_dither
from quantgpu.dithering.diffusion import KERNELS
from quantgpu.errors import DeviceError, UsageError
from quantgpu.execution.fallback import carried, on_device
from quantgpu.options import DEFAULT_K, check_choice, check_matte, check_options
from quantgpu.palette import Palette, as_palette, parse_colors
from quantgpu.pixels.gpu import GpuPixels
from quantgpu.pixels.pixels import Pixels
from quantgpu.video.flicker import MOST_HOLD, Stillness, squared_error
from quantgpu.video.frames.open import Frame, Frames, open_frames, seconds
from quantgpu.video.gpu_stream import Flight, flight_for
from quantgpu.video.palettes import PALETTES, Prepared, Result, Turns, Way, given
from quantgpu.video.report import VideoReport
from quantgpu.video.sinks.open import SinkFormat, open_sink, sink_format, size_of

if TYPE_CHECKING:
    from quantgpu.distributed.workers import Crew

DEFAULT_DITHER = "blue-noise"
"""How colors are mixed where nothing is said."""

WAITING = 4
"""Frames that are mapped and wait to be written, at most."""


def quantize_video(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    k: int | None = None,
    *,
    palette: Any = "shared",
    first: Fraction | float | None = None,
    hold: float = 0,
    dither: str | None = None,
    dither_strength: float | None = None,
    effort: str = "balanced",
    seed: int = 0,
    color_space: str = "oklab",
    perceptual: bool = True,
    fps: Fraction | float | None = None,
    start: Fraction | float | None = None,
    duration: Fraction | float | None = None,
    width: int | None = None,
    conversion: str = "exact",
    alpha: str = "keep",
    matte: Color | None = None,
    force: bool = False,
    threads: int | None = None,
    device: str = "auto",
    memory: int | None = None,
    scheduler: str | None = None,
    progress: Progress = no_progress,
) -> VideoReport:
    """Write a clip with K colors.

    The same frames and options give the same colors on every machine and device.

    Args:
        source: What `frames.open_frames` reads: a video, an animation, numbered pictures, or ``-``
            for standard input.
        output: What `sinks.open_sink` writes: its suffix names the format.
        k: Colors of a frame, 1 to 65,536; when not given 256, or 255 where the format then has room
            for an entry that says that a pixel stays as it is.
        palette: ``shared``: one for the clip, which is read twice; ``scene``: one for each scene;
            ``frame``: one for each frame; or whatever `apply_palette` takes.
        first: Of ``shared``: seconds that decide the palette; colors that come later get the
            nearest. Needed where the clip cannot be read twice.
        hold: Levels, 0 to 64: a pixel keeps its entry while that raises its squared error by less
            than this squared, on average over the channels; entries that would change by less from
            frame to frame keep their colors.
        dither: How colors are mixed, as `quantize` takes it; ``blue-noise`` when not given.
        dither_strength: 0 (not at all) to 1; what suits the method when not given.
        effort: As `quantize` takes it.
        seed: As `quantize` takes it.
        color_space: As `quantize` takes it.
        perceptual: As `quantize` takes it.
        fps: Frames per second: frames are dropped or repeated.
        start: Seconds to leave out.
        duration: Seconds to take.
        width: Scale to so many pixels across.
        conversion: How videos become RGB: ``exact``, the same on every machine, or ``fast``.
        alpha: As `quantize` takes it.
        matte: As `quantize` takes it.
        force: Replace what exists.
        threads: At least 1; as many as there are processors when not given.
        device: ``auto`` (a GPU if one works, else the CPU), ``cpu``, ``gpu`` or ``gpu:N``.
        memory: Bytes of device memory to use; most of what is free when not given.
        scheduler: ``tcp://HOST:PORT`` of a Dask cluster, ``local`` or ``local:N``: the workers
            count ranges of frames, and write them if they are numbered pictures and none depends on
            the one before (no `hold`, no error diffusion). Not for ``scene`` and ``frame``.
        progress: Called with the name of a stage and the share of it that is done.

    Returns:
        What was done. If the source is damaged, `VideoReport.damage` says how; the frames before
        the damage were written.

    Raises:
        UsageError: An argument is outside its range, or the format does not hold such frames.
        InputError: The source cannot be read, or has no frames.
        OutputError: The output exists, or cannot be written.
        DeviceError: The GPU that was asked for cannot be used.
        ClusterError: The cluster cannot be used.
    """
    name, form = os.fspath(output), sink_format(output)
    dithering = parse_dither(DEFAULT_DITHER if dither is None else dither, dither_strength)
    check_options(
        k, effort, "random", seed, color_space, dither, dither_strength, threads, device, memory
    )
    check_hold(hold)
    check_choice("alpha", alpha, ALPHAS)
    check_matte(matte)
    limit = seconds(first, "--first", Fraction(1, 1000), None)
    chosen = palette_of(palette, k, limit)
    most = min(DEFAULT_K, form.advised) if k is None else k
    check_colors(name, form, most if chosen is None else len(chosen))
    begun = time.perf_counter()
    opening: dict[str, Any] = {
        "fps": fps, "start": start, "duration": duration, "width": width, "conversion": conversion,
    }  # fmt: skip
    with (
        crew_for_clip(scheduler, os.fspath(source), palette, device) as crew,
        open_frames(source, **opening) as frames,
    ):
        check_way(frames, palette, chosen, limit)
        clip = Clip(
            frames, name, chosen, palette if chosen is None else "file", hold, dithering, limit,
            fitted(alpha, form.alpha), matte, force, Telling(carried(progress), frames.count),
            {"k": most, "color_space": color_space, "perceptual": perceptual and chosen is None,
             "options": {"effort": effort, "seed": seed}},
            default_threads() if threads is None else threads,
        )  # fmt: skip
        if crew is not None:
            clip = clip._replace(spread=spread_of(clip, crew, opening, memory))
        report, used, notes = on_device(
            device if crew is None else crew.here,
            memory,
            partial(converted, clip),
            partial(converted, clip, np, None, True),
        )
    if clip.alpha != alpha and frames.channels == 4:
        report.notes.append(f"{form.name} holds {HELD[form.alpha]}")
    if clip.spread is not None:
        notes = list(dict.fromkeys([*notes, *clip.spread.device_notes]))
    return report._replace(device=used, device_notes=notes, seconds=time.perf_counter() - begun)


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
    spread: Spread | None = None
    """What has its frames counted by workers; None where they are counted here."""


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


def spread_of(clip: Clip, crew: Crew, opening: dict[str, Any], memory: int | None) -> Spread:
    """What has the frames of a clip counted by workers."""
    known = {**opening, "channels": clip.frames.channels}
    perceptual = clip.choices["perceptual"]
    way = FrameWay(known, perceptual, clip.alpha, clip.matte, crew.device, memory)
    return Spread(crew, clip.frames, way, clip.first, clip.telling.progress)


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
    if clip.spread is not None:
        way.elsewhere = partial(clip.spread.counted_for, watched, xp)
    turns = given(way, clip.palette) if clip.palette is not None else PALETTES[clip.way](way)
    several = clip.way in ("scene", "frame")
    still = Stillness(clip.hold, diffuses, several, clip.threads)
    total = Total()
    left = partial(turns_left, turns, clip, keeps=still.keeps, total=total)
    transparent = channels == 4
    with (
        open_sink(
            clip.output, width=frames.width, height=frames.height, rate=frames.rate,
            loop=frames.loop or 0, one_palette=not several, transparent=transparent,
            force=clip.force,
        ) as sink,
        ahead(
            mapped(left(sink=sink), pixels_of, device, clip.threads, flight), WAITING
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
