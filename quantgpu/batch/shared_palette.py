"""One palette for many files: count all files, find the palette, and convert each file with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.batch.convert import ConversionJob, read_options_for
from quantgpu.batch.count import CountImages, FileCountOptions
from quantgpu.batch.destination import check_output
from quantgpu.batch.tasks import Task
from quantgpu.dithering.options import MapOptions
from quantgpu.errors import OutputError
from quantgpu.execution.selection import Compute
from quantgpu.histogram import Histogram
from quantgpu.io.decode import open_image
from quantgpu.options import QuantizeOptions
from quantgpu.pipeline.shared_palette import SharedPalette, remap_to_shared, shared_palette
from quantgpu.pixels.counting import CountOptions
from quantgpu.progress import Display, Progress


@dataclass(frozen=True, kw_only=True)
class SharedPaletteOptions:
    """Options of the palettes, one for each K, that all images share."""

    ks: Sequence[int | None]
    options: QuantizeOptions
    """The options of `quantize`; `options.compute` is for each image."""
    compute: Compute
    """The device and threads for finding the palettes."""
    weights: Any = None
    """The weight of each pixel, as `as_mask` takes it; None for all in full."""

    @property
    def mapping(self) -> MapOptions:
        """The options for mapping images to a palette."""
        return self.options.mapping()

    def find_palette(
        self, histogram: Histogram, k: int | None, progress: Progress
    ) -> SharedPalette:
        """Find the palette of K colors of a histogram."""
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
    """Count all images and find their palettes; return the job that maps to them, and its tasks.

    Images that `count` leaves out are left out. Nothing is done if all outputs exist and share
    their palettes.
    """
    sound = [task for task in tasks if task.error is None]
    if not any(task.is_open for task in sound) and have_one_palette(sound):
        return work, tasks
    form = check_output(sound[0].outputs[0], work.k, force=True)
    options = sharing.options
    count_options = FileCountOptions(
        read=read_options_for(form, work)[0],
        counting=CountOptions(perceptual=options.palette.weighs_pixels, mask=sharing.weights),
        compute=options.compute,
    )
    names = [task.name for task in sound]
    total = count(names, count_options)
    lost = {id(sound[number]) for number in total.failed}
    left = [task for task in tasks if id(task) not in lost]
    if total.counted is None:
        return work, left
    histogram = total.counted.histogram
    with display("palette") as progress:
        palettes = [sharing.find_palette(histogram, k, progress) for k in sharing.ks]
    for task in left:
        check_palettes(task, palettes, force)
    convert = partial(
        remap_to_shared, histogram=histogram, palettes=palettes, mapping=sharing.mapping,
        compute=options.compute,
    )  # fmt: skip
    return work._replace(convert=convert), left


def check_palettes(task: Task, palettes: Sequence[SharedPalette], force: bool) -> None:
    """Keep only outputs that have the shared palette.

    With `force`, other outputs are made again; without, they are the task's error.
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
    """Whether all tasks' first outputs have one palette, all second ones another, and so on."""
    columns = zip(*(task.outputs for task in tasks), strict=True)
    return all(len({palette_in(output) for output in column}) == 1 for column in columns)


def has_palette(output: str, colors: NDArray[np.uint8]) -> bool:
    """Whether a picture has the palette `colors`, (K, 3 | 4), alpha aside.

    True for palettes of more than 256 colors, whose pictures are of true color.
    """
    levels = colors[:, :3].tobytes()
    return len(colors) > PALETTE_ROOM or palette_in(output)[: len(levels)] == levels


def palette_in(output: str) -> bytes:
    """The palette of a picture as bytes of (K, 3) levels; empty if the picture has none."""
    try:
        with open_image(output) as image:
            return bytes(image.getpalette() or []) if image.mode == "P" else b""
    except (OSError, ValueError, SyntaxError):  # raised by Pillow for files that are no pictures
        return b""


PALETTE_ROOM = 256
"""The most entries of a picture's palette."""
