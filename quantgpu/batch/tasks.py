"""Many images: which outputs are to be made, and what the images share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.device import Progress
from quantgpu.batch.convert import (
    STREAM,
    Destination,
    Report,
    Work,
    check_output,
    convert_file,
    identity,
    opening_for,
)
from quantgpu.batch.count import Way, count_files
from quantgpu.cli.progress_bar import Bar
from quantgpu.dithering.base import dithering_for
from quantgpu.errors import OutputError, QuantgpuError, UsageError
from quantgpu.histogram import Histogram
from quantgpu.io.decode import open_image
from quantgpu.options import check_kept, check_set
from quantgpu.pipeline.shared_palette import SharedPalette, remapped, shared_palette

if TYPE_CHECKING:
    from quantgpu.distributed.workers import Crew


@dataclass
class Task:
    """One image, and what is made of it."""

    name: str
    outputs: list[str]
    kept: list[str] = field(default_factory=list)
    """Outputs that are there already."""
    error: QuantgpuError | None = None
    """Why nothing can be made of it."""
    reports: list[Report] = field(default_factory=list)
    """What was made, as soon as it is written."""

    @property
    def is_open(self) -> bool:
        """Whether there is anything to be made."""
        return self.error is None and len(self.kept) < len(self.outputs)


def planned(
    inputs: Sequence[str],
    others: Sequence[str],
    destination: Destination,
    work: Work,
    resume: bool,
) -> list[Task]:
    """A task for each input; its error is set if an output is a file that is read or made already.

    With `resume`, outputs that are complete are kept.
    """
    taken = {
        identity(name): "is an input; originals are never replaced" for name in [*inputs, *others]
    }
    tasks = []
    for name in inputs:
        task = Task(name, [destination.of(name, tag) for tag in work.tags])
        places = [identity(output) for output in task.outputs if output != STREAM]
        for output, place in zip(task.outputs, places, strict=False):
            if place in taken:
                task.error = UsageError(f"{name}: {output} {taken[place]}")
        if task.error is None:
            taken |= dict.fromkeys(places, f"is made from {name} already; rename one of them")
            if resume:
                keep_complete(task, destination.force)
        tasks.append(task)
    return tasks


def keep_complete(task: Task, force: bool) -> None:
    """Keep outputs that are there: they are complete, as files are moved into place as a whole.

    One that is older than its input is made again if it may be replaced, else it is the task's
    error.
    """
    for output in task.outputs:
        with contextlib.suppress(OSError):  # what cannot be read is found out when it is its turn
            if os.stat(output).st_mtime_ns >= os.stat(task.name).st_mtime_ns:
                task.kept.append(output)
            elif not force:
                task.error = OutputError(
                    f"{output}: is older than {task.name}; use --force to make it again"
                )


def convert_task(task: Task, progress: Progress, destination: Destination, work: Work) -> None:
    """Make what is to be made of an image, and report on it in the task."""
    if task.error is not None:
        raise task.error
    if task.is_open:
        made = convert_file(task.name, destination, work, progress, task.kept)
        task.reports.extend(made)


class Sharing(NamedTuple):
    """How one palette, or one for each K, is made for all images."""

    ks: Sequence[int | None]
    clustering: dict[str, Any]
    """Options of `shared_palette`."""
    remapping: dict[str, Any]
    """Options of `remapped`."""
    mask: Any
    """How much each pixel counts, as `as_mask` takes it; None for fully."""
    jobs: int
    """Images that are counted at once."""


def check_shared(shared: bool, target: str | None, min_quality: str | None) -> None:
    """Raise a UsageError for what cannot be asked of a shared palette."""
    for name, value in (("--target", target), ("--min-quality", min_quality)):
        if shared and value is not None:
            raise UsageError(f"{name} is about single images; use it without --shared-palette")


def sharing_of(
    ks: Sequence[int | None],
    options: dict[str, Any],
    jobs: int,
    threads: int | None,
    here: str | None = None,
) -> Sharing:
    """Options of `quantize` for a shared palette.

    `threads` are those of all jobs together; `here` is the device that finds the palette, if it is
    another than counts and remaps the images.
    """
    clustering = {name: value for name, value in options.items() if name not in ALONE}
    clustering["threads"] = threads
    clustering["device"] = here or options["device"]
    clustering["from_palette"] = check_set(options["from_palette"], options["snap"])
    dithering = dithering_for(options["dither"], options["dither_strength"], options["effort"])
    clustering["dithered"] = dithering.method != "none"
    remapping = {name: options[name] for name in REMAPPING} | {"dithering": dithering}
    return Sharing(ks, clustering, remapping, options["weights"], jobs)


REMAPPING = "color_space", "lock_grays", "threads", "device", "memory"
"""The options of `quantize` that `remapped` takes."""

ALONE = "dither", "dither_strength", "weights"
"""The options of `quantize` that `shared_palette` does not take."""


def with_shared_palettes(
    work: Work,
    tasks: list[Task],
    sharing: Sharing,
    force: bool,
    shown: bool,
    failures: list[QuantgpuError],
    crew: Crew | None = None,
) -> tuple[Work, list[Task]]:
    """Count all images and find their palettes; the work that remaps to them, and what is left.

    Images that cannot be read are complained of, and left out. Nothing is done if everything is
    there, in one palette.
    """
    sound = [task for task in tasks if task.error is None]
    if not any(task.is_open for task in sound) and have_one_palette(sound):
        return work, tasks
    form = check_output(sound[0].outputs[0], work.k, force=True)
    busy = sharing.clustering["perceptual"] and not sharing.clustering["salient"]
    way = Way(
        opening_for(form, work)[0], busy, sharing.mask,
        device=sharing.remapping["device"], memory=sharing.remapping["memory"],
    )  # fmt: skip
    names = [task.name for task in sound]
    total = count_files(names, [], way, sharing.jobs, shown, failures, crew)
    lost = {id(sound[number]) for number in total.failed}
    left = [task for task in tasks if id(task) not in lost]
    if total.counted is None:
        return work, left
    histogram = total.counted.histogram
    with Bar("palette", shown) as bar:
        palettes = [found_palette(histogram, k, sharing.clustering, bar) for k in sharing.ks]
    for task in left:
        check_palettes(task, palettes, force)
    convert = partial(remapped, histogram=histogram, palettes=palettes, **sharing.remapping)
    return work._replace(convert=convert), left


def found_palette(
    histogram: Histogram, k: int | None, options: dict[str, Any], progress: Progress
) -> SharedPalette:
    """The shared palette of K colors."""
    kept = check_kept(k, options["keep"], options["snap"])
    return shared_palette(histogram, k, **{**options, "keep": kept}, progress=progress)


def check_palettes(task: Task, palettes: Sequence[SharedPalette], force: bool) -> None:
    """Keep only outputs with the palette that is shared now.

    Others are made again if they may be replaced, else they are the task's error.
    """
    for output, shared in zip(task.outputs, palettes, strict=True):
        if output in task.kept and not shows(output, shared.palette.colors):
            task.kept.remove(output)
            if not force:
                task.error = OutputError(
                    f"{output}: has not the palette that these images share; use --force to make "
                    "it again"
                )


def have_one_palette(tasks: Sequence[Task]) -> bool:
    """Whether the first outputs of all tasks have the same palette, and so the second ones."""
    columns = zip(*(task.outputs for task in tasks), strict=True)
    return all(len({palette_in(output) for output in column}) == 1 for column in columns)


def shows(output: str, colors: NDArray[np.uint8]) -> bool:
    """Whether a picture has this palette, (K, 3 | 4); what is written as true color is not asked.

    Alpha does not matter.
    """
    levels = colors[:, :3].tobytes()
    return len(colors) > PALETTE_ROOM or palette_in(output)[: len(levels)] == levels


def palette_in(output: str) -> bytes:
    """The palette of a picture, (K, 3) levels; empty if it has none."""
    try:
        with open_image(output) as image:
            return bytes(image.getpalette() or []) if image.mode == "P" else b""
    except (OSError, ValueError, SyntaxError):  # what Pillow raises for files that are no pictures
        return b""


PALETTE_ROOM = 256
"""Entries of a picture's palette."""
