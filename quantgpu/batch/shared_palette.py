"""One palette for many files: found from all of them, or read, then used for each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.batch.convert import Work, opening_for
from quantgpu.batch.count import CountImages, Way
from quantgpu.batch.destination import check_output
from quantgpu.batch.tasks import Task
from quantgpu.dithering.methods import dithering_for
from quantgpu.errors import OutputError, UsageError
from quantgpu.histogram import Histogram
from quantgpu.io.decode import open_image
from quantgpu.options import check_kept, check_set
from quantgpu.pipeline.shared_palette import SharedPalette, remapped, shared_palette
from quantgpu.progress import Display, Progress


class Sharing(NamedTuple):
    """How one palette, or one for each K, is made for all images."""

    ks: Sequence[int | None]
    clustering: dict[str, Any]
    """Options of `shared_palette`."""
    remapping: dict[str, Any]
    """Options of `remapped`."""
    mask: Any
    """How much each pixel counts, as `as_mask` takes it; None for fully."""


def check_shared(shared: bool, target: str | None, min_quality: str | None) -> None:
    """Raise a UsageError for what cannot be asked of a shared palette."""
    for name, value in (("--target", target), ("--min-quality", min_quality)):
        if shared and value is not None:
            raise UsageError(f"{name} is about single images; use it without --shared-palette")


def sharing_of(
    ks: Sequence[int | None],
    options: dict[str, Any],
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
    return Sharing(ks, clustering, remapping, options["weights"])


REMAPPING = "color_space", "lock_grays", "threads", "device", "memory"
"""The options of `quantize` that `remapped` takes."""


ALONE = "dither", "dither_strength", "weights"
"""The options of `quantize` that `shared_palette` does not take."""


def with_shared_palettes(
    work: Work,
    tasks: list[Task],
    sharing: Sharing,
    force: bool,
    count: CountImages,
    display: Display,
) -> tuple[Work, list[Task]]:
    """Count all images and find their palettes; the work that remaps to them, and what is left.

    Images that `count` leaves out are left out. Nothing is done if everything is there, in one
    palette.
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
    total = count(names, way)
    lost = {id(sound[number]) for number in total.failed}
    left = [task for task in tasks if id(task) not in lost]
    if total.counted is None:
        return work, left
    histogram = total.counted.histogram
    with display("palette") as progress:
        palettes = [found_palette(histogram, k, sharing.clustering, progress) for k in sharing.ks]
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
