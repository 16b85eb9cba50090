"""Clips on a cluster: workers count ranges of frames, and write them if they are pictures."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

from quantgpu.arrays.namespace import to_host
from quantgpu.distributed.blocks import BlockMapper, CompressedHistogram, map_pixels
from quantgpu.distributed.files import (
    cancel_on_error,
    check_names,
    name_worker_on_error,
    replace_names,
    result_of,
    with_given_names,
)
from quantgpu.distributed.frame_ranges import (
    FrameCountOptions,
    FrameRange,
    RangeCount,
    RangeReader,
    colors_of,
    count_range,
    mark_of,
    range_end,
    ranges_of,
    recount_if_astray,
    sum_of_ranges,
)
from quantgpu.distributed.stored_image import identity_task
from quantgpu.distributed.workers import (
    Workers,
    connect_workers,
    name_notes,
    run_block,
    worker_name,
)
from quantgpu.dithering.options import MapOptions
from quantgpu.errors import (
    ChangedError,
    ClusterError,
    DeviceError,
    InputError,
    QuantgpuError,
    UsageError,
)
from quantgpu.execution.selection import Compute
from quantgpu.histogram import Histogram
from quantgpu.io.atomic import translate_write_errors
from quantgpu.pipeline.shared_palette import to_device
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Progress
from quantgpu.video.convert import ClipJob, DamageWatch, WrittenTotal, convert_clip
from quantgpu.video.frames.base import Frames, channels_of, with_alpha
from quantgpu.video.frames.pyav import MISSING
from quantgpu.video.options import VideoOptions
from quantgpu.video.palettes import FrameStream, Prepared, PreparedFrame
from quantgpu.video.report import VideoReport
from quantgpu.video.sinks.open import check_palette, sink_format
from quantgpu.video.sinks.pictures import NumberedPictures, Sink, write_picture

RANGES_PER_TASK = 4
"""Ranges for each simultaneous task of the workers, so that no worker waits long for the last."""

LEAST_FRAMES = 25
"""Fewest frames of a range, as frames before a range are decoded again to find its first."""


class WrittenRange(NamedTuple):
    """The squared error and the notes of a range of written pictures."""

    squared_error: int | None
    """None if each color has its own entry, so that the error follows from the histogram."""
    notes: list[str]
    """Changes on reading, for people."""
    device_notes: Sequence[str]
    """Why another device than the requested one mapped the frames."""


@dataclass
class DistributedClip:
    """A clip whose frames the workers of a cluster count, and write as numbered pictures."""

    workers: Workers
    frames: Frames
    count_options: FrameCountOptions
    first: Fraction | None
    """Seconds to count; None for all."""
    progress: Progress
    mapping: MapOptions
    ranges: Sequence[FrameRange] = ()
    ends: Sequence[RangeCount] = ()
    """The counts of the ranges, without histograms."""
    total: RangeCount | None = None
    """The sum of all ranges; None before counting."""
    device_notes: list[str] = field(default_factory=list)
    """Why workers used other devices than the requested ones; notes may repeat."""

    @property
    def device(self) -> str:
        """The device of this machine's share of the work."""
        return self.workers.local_device

    @property
    def name(self) -> str:
        """The clip's name, as the user gave it."""
        return self.frames.name

    @property
    def source(self) -> str:
        """The clip's absolute path, for workers in other folders."""
        return os.path.abspath(self.name)

    @property
    def names(self) -> dict[str, str]:
        """From absolute paths of the clip and its pictures to the names that the user gave."""
        relative = {} if os.path.isabs(self.name) else {os.path.join(os.getcwd(), ""): ""}
        return {self.source: self.name, **relative}

    def histogram(self) -> CompressedHistogram:
        """The colors that decide the palette, counted at the first call."""
        if self.total is None:
            with self.rename_in_errors():
                self.count()
            assert self.total is not None
            self.add_notes(self.total.notes)
            self.device_notes += self.total.device_notes
        assert self.total is not None
        return colors_of(self.total, self.name)

    def histogram_for(self, watch: DamageWatch, xp: Any) -> Histogram:
        """The colors that decide the palette, in arrays of `xp`; damage is noted in `watch`."""
        found = self.histogram()
        watch.damage = watch.damage or self.damage
        return to_device(found, xp)

    def count(self) -> None:
        """Count all ranges on the workers, and add the counts as a tree."""
        submit = self.workers.submit
        most = RANGES_PER_TASK * sum(self.workers.client.nthreads().values())
        if self.frames.count is not None:
            most = max(min(most, self.frames.count // LEAST_FRAMES), 1)
        self.ranges = ranges_of(self.source, self.frames, most, self.first)
        parts: list[Any] = []
        ends: list[Any] = []
        for frame_range in self.ranges:
            part = submit(count_range_on_worker, frame_range, self.count_options)
            if parts:
                part = submit(recount_if_astray, part, ends[-1], frame_range, self.count_options)
            parts.append(part)
            ends.append(submit(range_end, part))
        del part
        total = self.workers.tree_sum(sum_of_ranges, parts)
        self.track_tasks(ends, "count on the cluster")
        self.ends = [result_of(end, self.name) for end in ends]
        self.total = result_of(total, self.name)

    def track_tasks(self, futures: Sequence[Any], stage: str) -> None:
        """Report the share of finished tasks until all are done; raise the first error."""
        import distributed

        loop = self.workers.client.loop
        for done, future in enumerate(distributed.as_completed(futures, loop=loop), 1):
            if future.status != "finished":
                result_of(future, self.name)
            self.progress(stage, done / len(futures))

    @contextlib.contextmanager
    def rename_in_errors(self) -> Iterator[None]:
        """Make errors inside the context name the clip as the user gave it."""
        try:
            yield
        except QuantgpuError as error:
            raise with_given_names(error, self.names) from None

    @property
    def damage(self) -> str | None:
        """Why the clip ended early; None for an undamaged clip."""
        damage = self.total.damage if self.total else None
        return damage and replace_names(damage, self.names)

    def add_notes(self, notes: Sequence[str]) -> None:
        """Add the workers' notes on reading to those of the frames, with the user's names."""
        renamed = [replace_names(note, self.names) for note in notes]
        self.frames.notes.extend(note for note in renamed if note not in self.frames.notes)

    def write(self, ready: Prepared, sink: NumberedPictures) -> tuple[RangeCount, int]:
        """Write all pictures on the workers; the count of all frames, and the squared error."""
        assert self.total is not None
        block_mapper = self.block_mapper(ready)
        match_permissions(sink.temporary)
        for number in range(1, self.total.frames + 1):
            sink.check(number)
        submit = self.workers.submit
        submitted_mapper = submit(identity_task, block_mapper)
        firsts = accumulate((end.frames for end in self.ends), initial=1)
        names = os.path.join(sink.temporary, sink.names)
        futures = [
            submit(
                write_range,
                frame_range,
                end,
                self.count_options,
                first,
                submitted_mapper,
                names,
                sink.folder,
            )
            for frame_range, end, first in zip(self.ranges, self.ends, firsts, strict=False)
            if end.frames
        ]
        with self.rename_in_errors(), cancel_on_error(self.workers, futures):
            self.track_tasks(futures, "write on the cluster")
            done: list[WrittenRange] = [result_of(future, self.name) for future in futures]
        self.add_notes([note for written in done for note in written.notes])
        self.device_notes += [note for written in done for note in written.device_notes]
        sink.clip.written = self.total.frames
        errors = [each.squared_error for each in done if each.squared_error is not None]
        return self.total, sum(errors) if errors else ready.squared_error()

    def block_mapper(self, ready: Prepared) -> BlockMapper:
        """The mapper of the frames, to be sent to the workers."""
        histogram, labels = self.histogram(), to_host(ready.mapping.labels)
        channels = channels_of(self.frames, self.count_options.alpha.alpha)
        return BlockMapper(histogram.keys, labels, ready.palette, self.mapping, channels)

    def write_on_workers(
        self, stream: FrameStream, clip: ClipJob, sink: Sink, may_hold: bool, total: WrittenTotal
    ) -> FrameStream:
        """Let the workers write all frames if they can; the frames that are left to this machine.

        Args:
            stream: All frames.
            clip: The clip of the frames.
            sink: The output.
            may_hold: Whether a frame may depend on the one before.
            total: The sums over written frames, to which the workers' frames are added.
        """
        first = next(stream)  # comes after all frames are counted
        ready = first.prepared
        if sink.numbered is None or may_hold or not ready.is_counted:
            return resume_stream(first, stream)
        stream.close()
        check_palette(ready.palette, sink_format(clip.output), sink.numbered.clip)
        done, error = self.write(ready, sink.numbered)
        total.add(done.frames, done.length, ready, error)
        return resume_stream(None, stream)


def count_range_on_worker(frame_range: FrameRange, options: FrameCountOptions) -> RangeCount:
    """Count the colors of the frames in a range, on a worker.

    Raises:
        ClusterError: The clip is a video, and the worker lacks PyAV.
    """
    try:
        found = count_range(frame_range, options)
        return found._replace(device_notes=name_notes(found.device_notes))
    except DeviceError as error:
        raise DeviceError(*name_notes([str(error)])) from None
    except InputError as error:
        if MISSING in str(error):
            raise ClusterError(f"{error}, on the worker {worker_name()}") from None
        raise


def match_permissions(folder: str) -> None:
    """Give a temporary folder the permissions of the folder around it, for the workers' users."""
    os.chmod(folder, stat.S_IMODE(os.stat(os.path.dirname(folder)).st_mode))


def write_range(
    frame_range: FrameRange,
    end: RangeCount,
    options: FrameCountOptions,
    first: int,
    block_mapper: BlockMapper,
    names: str,
    called: str,
) -> WrittenRange:
    """Write the frames of a range as pictures, on a worker; a repeated task writes equal bytes.

    Args:
        frame_range: The range.
        end: The count of the range, `range_end`.
        options: How to read and count frames.
        first: The number of the range's first picture.
        block_mapper: The mapper of the frames.
        names: The pattern of the pictures' names.
        called: The folder, as messages call it.

    Raises:
        ChangedError: The frames are not those that were counted.
        OutputError: A picture cannot be written.
    """
    with options.open(frame_range.source) as frames:
        channels, errors = channels_of(frames, options.alpha.alpha), []
        reader, notes = RangeReader(frames, frame_range), list[str]()
        number = first - 1
        for number, frame in enumerate(reader.read(end.sought), first):
            pixels = Pixels(with_alpha(frame.pixels, options.alpha, channels))
            block_result = run_block(map_pixels, pixels, block_mapper, options.compute)
            if block_result.result.tally is not None:
                errors.append(block_result.result.tally.squared_error)
            notes += [note for note in block_result.notes if note not in notes]
            with name_worker_on_error(), translate_write_errors(called):
                write_picture(names % number, block_result.result.index, block_mapper.colors)
        if (number + 1 - first, mark_of(reader.last)) != (end.frames, end.last):
            raise ChangedError(f"{frame_range.source}: has changed since its colors were counted")
        return WrittenRange(sum(errors) if errors else None, [*frames.notes], notes)


def convert_clip_on(
    scheduler: str,
    source: str,
    output: str,
    k: int | None,
    options: VideoOptions,
    *,
    force: bool,
    progress: Progress,
) -> VideoReport:
    """Convert a clip with the workers of a scheduler, as `convert_clip` does on this machine.

    Raises:
        UsageError: The clip comes through standard input, or its palettes depend on each other.
        ClusterError: The workers cannot be reached, or cannot do the work.
        DeviceError: A worker lacks the requested GPU.
    """
    check_names([source])
    if isinstance(options.palette, str) and options.palette in ("scene", "frame"):
        raise UsageError(
            f"--palette {options.palette} finds each palette from the one before, which is not for "
            "several workers; leave out --scheduler, or use --palette shared or FILE"
        )
    with connect_workers(scheduler, device=options.compute.device) as workers:
        distribute = partial(distribute_clip, workers)
        return convert_clip(
            source, output, k, options, force=force, progress=progress, distribute=distribute
        )


def distribute_clip(workers: Workers, clip: ClipJob) -> DistributedClip:
    """A clip to be counted by workers."""
    options = clip.options
    count_options = FrameCountOptions(
        frames=options.frames,
        channels=clip.frames.channels,
        perceptual=clip.perceptual,
        alpha=options.alpha,
        compute=Compute(device=workers.device, memory=options.compute.memory),
    )
    mapping = MapOptions(
        dithering=options.dithering,
        color_space=options.clustering.color_space,
        lock_grays=options.clustering.lock_grays,
    )
    return DistributedClip(
        workers, clip.frames, count_options, clip.first, clip.frame_progress.progress, mapping
    )


def resume_stream(first: PreparedFrame | None, stream: FrameStream) -> FrameStream:
    """A stream whose first frame was already taken, from this frame on; empty without one."""
    if first is not None:
        yield first
        yield from stream
