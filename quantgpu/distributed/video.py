"""Clips on a cluster: workers count ranges of frames, and write them where they are pictures."""

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
    Part,
    Reader,
    colors_of,
    count_range,
    end_of,
    joined,
    mark_of,
    ranges_of,
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
from quantgpu.pipeline.shared_palette import moved
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

AT_ONCE = 4
"""Ranges for each task that the workers do at a time, so that none waits long for the last."""

LEAST = 25
"""Frames of a range, if the clip has as many: some are decoded again to find its first."""


class Written(NamedTuple):
    """What a range of pictures adds up to."""

    squared_error: int | None
    """None where each color has its own entry: the histogram tells."""
    notes: list[str]
    device_notes: Sequence[str]


@dataclass
class DistributedClip:
    """A clip whose frames are counted by the workers of a cluster."""

    crew: Workers
    frames: Frames
    way: FrameCountOptions
    first: Fraction | None
    """Seconds that are counted; None for all."""
    progress: Progress
    mapping: MapOptions
    places: Sequence[FrameRange] = ()
    ends: Sequence[Part] = ()
    """What the ranges counted, without the colors."""
    total: Part | None = None
    device_notes: list[str] = field(default_factory=list)
    """Why workers did not count or map where they were meant to; some of them several times."""

    @property
    def device(self) -> str:
        """Where the rest is done, which is done here."""
        return self.crew.here

    @property
    def name(self) -> str:
        """The clip, as it was given."""
        return self.frames.name

    @property
    def source(self) -> str:
        """The clip, wherever a worker runs."""
        return os.path.abspath(self.name)

    @property
    def names(self) -> dict[str, str]:
        """What workers call the clip and its pictures, to what these were given as."""
        relative = {} if os.path.isabs(self.name) else {os.path.join(os.getcwd(), ""): ""}
        return {self.source: self.name, **relative}

    def counted(self) -> CompressedHistogram:
        """The colors that decide the palette, counted when this is first called."""
        if self.total is None:
            with self.renaming():
                self.count()
            assert self.total is not None
            self.note(self.total.notes)
            self.device_notes += self.total.device_notes
        assert self.total is not None
        return colors_of(self.total, self.name)

    def histogram_for(self, watch: DamageWatch, xp: Any) -> Histogram:
        """The same in the arrays of a module; damage is noted by who watches the frames."""
        found = self.counted()
        watch.damage = watch.damage or self.damage
        return moved(found, xp)

    def count(self) -> None:
        """Have all ranges counted, and added as a tree."""
        submit = self.crew.submit
        most = AT_ONCE * sum(self.crew.client.nthreads().values())
        if self.frames.count is not None:
            most = max(min(most, self.frames.count // LEAST), 1)
        self.places = ranges_of(self.source, self.frames, most, self.first)
        parts: list[Any] = []
        ends: list[Any] = []
        for place in self.places:
            part = submit(count_there, place, self.way)
            if parts:
                part = submit(joined, part, ends[-1], place, self.way)
            parts.append(part)
            ends.append(submit(end_of, part))
        del part
        total = self.crew.summed(sum_of_ranges, parts)
        self.follow(ends, "count on the cluster")
        self.ends = [result_of(end, self.name) for end in ends]
        self.total = result_of(total, self.name)

    def follow(self, futures: Sequence[Any], stage: str) -> None:
        """Tell how many tasks are done until all are, or one has failed, whose error is raised."""
        import distributed

        loop = self.crew.client.loop
        for done, future in enumerate(distributed.as_completed(futures, loop=loop), 1):
            if future.status != "finished":
                result_of(future, self.name)
            self.progress(stage, done / len(futures))

    @contextlib.contextmanager
    def renaming(self) -> Iterator[None]:
        """Errors inside name the clip as it was given."""
        try:
            yield
        except QuantgpuError as error:
            raise with_given_names(error, self.names) from None

    @property
    def damage(self) -> str | None:
        """Why the clip ended early; None if it did not."""
        damage = self.total.damage if self.total else None
        return damage and replace_names(damage, self.names)

    def note(self, notes: Sequence[str]) -> None:
        """Note what was changed on reading, as if it had been read here."""
        said = [replace_names(note, self.names) for note in notes]
        self.frames.notes.extend(note for note in said if note not in self.frames.notes)

    def write(self, ready: Prepared, sink: NumberedPictures) -> tuple[Part, int]:
        """Have all pictures written; what was counted of them, and the squared error."""
        assert self.total is not None
        recipe = self.recipe(ready)
        match_permissions(sink.temporary)
        for number in range(1, self.total.frames + 1):
            sink.check(number)
        submit = self.crew.submit
        carried = submit(identity_task, recipe)
        firsts = accumulate((end.frames for end in self.ends), initial=1)
        names = os.path.join(sink.temporary, sink.names)
        futures = [
            submit(write_range, place, end, self.way, first, carried, names, sink.folder)
            for place, end, first in zip(self.places, self.ends, firsts, strict=False)
            if end.frames
        ]
        with self.renaming(), cancel_on_error(self.crew, futures):
            self.follow(futures, "write on the cluster")
            done: list[Written] = [result_of(future, self.name) for future in futures]
        self.note([note for written in done for note in written.notes])
        self.device_notes += [note for written in done for note in written.device_notes]
        sink.clip.written = self.total.frames
        errors = [each.squared_error for each in done if each.squared_error is not None]
        return self.total, sum(errors) if errors else ready.squared_error()

    def recipe(self, ready: Prepared) -> BlockMapper:
        """What maps the frames, as it travels."""
        histogram, labels = self.counted(), to_host(ready.mapping.labels)
        channels = channels_of(self.frames, self.way.alpha.alpha)
        return BlockMapper(histogram.keys, labels, ready.palette, self.mapping, channels)

    def write_on_workers(
        self, stream: FrameStream, clip: ClipJob, sink: Sink, may_hold: bool, total: WrittenTotal
    ) -> FrameStream:
        """The turns that are left to this machine, when workers have written what they can.

        Args:
            turns: All.
            clip: Of which they are.
            sink: Where they go.
            keeps: Whether a frame may depend on the one before.
            total: What was written, to which that is added.
        """
        first = next(stream)  # which comes when all is counted
        ready = first.prepared
        if sink.numbered is None or may_hold or not ready.is_counted:
            return resume_stream(first, stream)
        stream.close()
        check_palette(ready.palette, sink_format(clip.output), sink.numbered.clip)
        done, error = self.write(ready, sink.numbered)
        total.add(done.frames, done.length, ready, error)
        return resume_stream(None, stream)


def count_there(place: FrameRange, way: FrameCountOptions) -> Part:
    """The colors of the frames in a range, counted on a worker, which has to have PyAV for videos.

    Raises:
        ClusterError: It has not.
    """
    try:
        found = count_range(place, way)
        return found._replace(device_notes=name_notes(found.device_notes))
    except DeviceError as error:
        raise DeviceError(*name_notes([str(error)])) from None
    except InputError as error:
        if MISSING in str(error):
            raise ClusterError(f"{error}, on the worker {worker_name()}") from None
        raise


def match_permissions(folder: str) -> None:
    """Let those write into a temporary folder who may write into the one that it is in."""
    os.chmod(folder, stat.S_IMODE(os.stat(os.path.dirname(folder)).st_mode))


def write_range(
    place: FrameRange,
    end: Part,
    way: FrameCountOptions,
    first: int,
    recipe: BlockMapper,
    names: str,
    called: str,
) -> Written:
    """Write the frames of a range as pictures, on a worker; again if need be, with the same bytes.

    Args:
        place: Where the range is.
        end: What was counted of it, `end_of`.
        way: How it was counted.
        first: The number of its first picture.
        recipe: What maps it.
        names: The pattern of the pictures' names.
        called: What messages call the folder.

    Raises:
        ChangedError: Other frames were counted.
        OutputError: A picture cannot be written.
    """
    with way.open(place.source) as frames:
        channels, errors = channels_of(frames, way.alpha.alpha), []
        reader, notes = Reader(frames, place), list[str]()
        number = first - 1
        for number, frame in enumerate(reader.read(end.sought), first):
            pixels = Pixels(with_alpha(frame.pixels, way.alpha, channels))
            done = run_block(map_pixels, pixels, recipe, way.compute)
            if done.result.tally is not None:
                errors.append(done.result.tally.squared_error)
            notes += [note for note in done.notes if note not in notes]
            with name_worker_on_error(), translate_write_errors(called):
                write_picture(names % number, done.result.index, recipe.colors)
        if (number + 1 - first, mark_of(reader.last)) != (end.frames, end.last):
            raise ChangedError(f"{place.source}: has changed since its colors were counted")
        return Written(sum(errors) if errors else None, [*frames.notes], notes)


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
    """`convert_clip` with the workers of a scheduler.

    Raises:
        UsageError: The clip comes through standard input; its palettes depend on each other.
        ClusterError: The workers cannot do it.
        DeviceError: A worker has not the GPU that is asked for.
    """
    check_names([source])
    if isinstance(options.palette, str) and options.palette in ("scene", "frame"):
        raise UsageError(
            f"--palette {options.palette} finds each palette from the one before, which is not for "
            "several workers; leave out --scheduler, or use --palette shared or FILE"
        )
    with connect_workers(scheduler, device=options.compute.device) as crew:
        distribute = partial(distribute_clip, crew)
        return convert_clip(
            source, output, k, options, force=force, progress=progress, distribute=distribute
        )


def distribute_clip(crew: Workers, clip: ClipJob) -> DistributedClip:
    """What has the frames of a clip counted by workers."""
    options = clip.options
    way = FrameCountOptions(
        frames=options.frames,
        channels=clip.frames.channels,
        perceptual=clip.perceptual,
        alpha=options.alpha,
        compute=Compute(device=crew.device, memory=options.compute.memory),
    )
    mapping = MapOptions(
        dithering=options.dithering,
        color_space=options.clustering.color_space,
        lock_grays=options.clustering.lock_grays,
    )
    return DistributedClip(
        crew, clip.frames, way, clip.first, clip.frame_progress.progress, mapping
    )


def resume_stream(first: PreparedFrame | None, stream: FrameStream) -> FrameStream:
    """Turns of which the first was taken already; none without it."""
    if first is not None:
        yield first
        yield from stream
