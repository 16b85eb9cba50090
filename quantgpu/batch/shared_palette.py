"""One palette for many files: found from all of them, or read, then used for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.batch.convert import ConversionJob, reading_for
from quantgpu.batch.count import CountImages, FileCountOptions
from quantgpu.batch.destination import check_output
from quantgpu.batch.tasks import Task
from quantgpu.dithering.options import MapOptions
from quantgpu.errors import OutputError
from quantgpu.execution.selection import Compute
from quantgpu.histogram import Histogram
from quantgpu.io.decode import open_image
from quantgpu.options import QuantizeOptions
from quantgpu.pipeline.shared_palette import SharedPalette, remapped, shared_palette
from quantgpu.pixels.counting import CountOptions
from quantgpu.progress import Display, Progress


@dataclass(frozen=True, kw_only=True)
class SharedPaletteOptions:
    """How one palette, or one for each K, is made for all images."""

    ks: Sequence[int | None]
    options: QuantizeOptions
    """Those of `quantize`; its compute is that of each image."""
    compute: Compute
    """Where the palette is found."""
    weights: Any = None
    """How much each pixel counts, as `as_mask` takes it; None for fully."""

    @property
    def mapping(self) -> MapOptions:
        """How images are mapped to the palette."""
        return self.options.mapping()

    def found(self, histogram: Histogram, k: int | None, progress: Progress) -> SharedPalette:
        """The palette of K colors."""
        dithered = self.mapping.dithering.method != "none"
        palette, compute = self.options.palette, self.compute
        return shared_palette(histogram, k, palette, compute, dithered=dithered, progress=progress)


def with_shared_palettes(
    work: ConversionJob,
    tasks: list[Task],
    sharing: SharedPaletteOptions,
    force: bool,
    count: CountImages,
    display: Display,
) -> tuple[ConversionJob, list[Task]]:
    """Count all images and find their palettes; the work that remaps to them, and what is left.

    Images that `count` leaves out are left out. Nothing is done if everything is there, in one
    palette.
    """
    sound = [task for task in tasks if task.error is None]
    if not any(task.is_open for task in sound) and have_one_palette(sound):
        return work, tasks
    form = check_output(sound[0].outputs[0], work.k, force=True)
    options = sharing.options
    way = FileCountOptions(
        read=reading_for(form, work)[0],
        counting=CountOptions(perceptual=options.palette.weighs_pixels, mask=sharing.weights),
        compute=options.compute,
    )
    names = [task.name for task in sound]
    total = count(names, way)
    lost = {id(sound[number]) for number in total.failed}
    left = [task for task in tasks if id(task) not in lost]
    if total.counted is None:
        return work, left
    histogram = total.counted.histogram
    with display("palette") as progress:
        palettes = [sharing.found(histogram, k, progress) for k in sharing.ks]
    for task in left:
        check_palettes(task, palettes, force)
    convert = partial(
        remapped, histogram=histogram, palettes=palettes, mapping=sharing.mapping,
        compute=options.compute,
    )  # fmt: skip
    return work._replace(convert=convert), left


def check_palettes(task: Task, palettes: Sequence[SharedPalette], force: bool) -> None:
    """Keep only outputs with the palette that is shared now.

    Others are made again if they may be replaced, else they are the task's error.
    """
    for output, shared in zip(task.outputs, palettes, strict=True):
        if output in task.kept and not has_palette(output, shared.palette.colors):
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


def has_palette(output: str, colors: NDArray[np.uint8]) -> bool:
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
