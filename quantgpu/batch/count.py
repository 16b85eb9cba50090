"""From image files and histogram files to the histogram of all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from quantgpu.arrays.device import Device, Progress, choose_device, default_threads
from quantgpu.batch.convert import STREAM, naming, read_standard_input
from quantgpu.batch.jobs import in_turn
from quantgpu.cli.console import complaining
from quantgpu.color.alpha import WHITE
from quantgpu.errors import QuantgpuError
from quantgpu.execution.fallback import carried, on_device
from quantgpu.histogram import Histogram, count_colors
from quantgpu.io.decode import read_image
from quantgpu.io.histogram_files import Counted, read_histogram
from quantgpu.io.masks import as_mask
from quantgpu.pixels.gpu import GpuPixels, attended
from quantgpu.pixels.pixels import Pixels

if TYPE_CHECKING:
    from quantgpu.distributed.workers import Crew


class Way(NamedTuple):
    """How files are read and their pixels counted."""

    opening: dict[str, Any]
    """Options of `read_image`."""
    perceptual: bool
    """Whether pixels weigh what `importance` says."""
    mask: Any = None
    """How much each pixel counts, as `as_mask` takes it; None for fully."""
    reason: str = ""
    """Why transparency is not kept as it was asked for; empty if it is."""
    device: str = "cpu"
    """Where pixels are counted, as `choose_device` takes it."""
    memory: int | None = None
    """Bytes of device memory to use; most of what is free when None."""


class Counting(NamedTuple):
    """What an image counts."""

    counted: Counted
    notes: list[str]
    """What was changed on reading it."""
    device_notes: list[str]
    """Why it was not counted where it was meant to be."""


class Total(NamedTuple):
    """What several files count together."""

    counted: Counted | None
    """None if there is no file that could be counted."""
    notes: list[str]
    """What was changed on reading them, and why they were not counted where they were meant to be.
    """
    failed: list[int]
    """Which of the images could not be counted."""


def count_file(name: str, progress: Progress, way: Way) -> Counting:
    """The colors of one image."""
    progress("read", 0)
    decoded = read_image(read_standard_input() if name == STREAM else name, **way.opening)
    image, alpha, matte = decoded.image, way.opening["alpha"], way.opening["matte"]
    notes = [f"{name}: {note}" for note in decoded.notes]
    if way.reason and "alpha" in decoded.effective:
        notes.append(f"{name}: {way.reason}")
    pixels = Pixels(image)
    with naming(name):
        pixels.mask = None if way.mask is None else as_mask(way.mask, pixels.shape)
    histogram, device_notes = count_pixels(pixels, progress, way)
    counted = Counted(histogram, way.perceptual, way.mask is not None, icc=way.opening["icc"])
    if image.mode == "RGBA" or "alpha" in decoded.effective:
        laid_on = {"keep": None, "binary": matte, "flatten": matte or WHITE}
        counted = replace(counted, alpha=alpha, matte=laid_on[alpha])
    return Counting(counted, notes, device_notes)


def count_pixels(pixels: Pixels, progress: Progress, way: Way) -> tuple[Histogram, list[str]]:
    """The colors of pixels, counted on a device, and why it was another than was meant."""
    threads, tell = way.opening["threads"] or default_threads(), carried(progress)

    def on_gpu(xp: ModuleType, device: Device, keep: bool) -> Histogram:
        with attended(GpuPixels(pixels, xp, device, keep=False)) as there:
            return count_colors(there, threads, tell, way.perceptual).to_host()

    def on_cpu() -> Histogram:
        return count_colors(pixels, threads, tell, way.perceptual)

    histogram, _, notes = on_device(way.device, way.memory, on_gpu, on_cpu)
    return histogram, notes


def count_files(
    images: Sequence[str],
    histograms: Sequence[str],
    way: Way,
    jobs: int,
    shown: bool,
    failures: list[QuantgpuError] | None = None,
    crew: Crew | None = None,
) -> Total:
    """The colors of images and histogram files together, added in this order.

    Args:
        images: Names of image files.
        histograms: Names of histogram files.
        way: How images are counted.
        jobs: How many images are counted at once.
        shown: Whether there may be a bar.
        failures: If given, images that cannot be counted are complained of, appended here, and left
            out.
        crew: Workers of a cluster that count images; None for this machine.

    Raises:
        QuantgpuError: A file cannot be read, or was not counted like those before.
    """
    if crew is None:
        total, notes, failed = counted_here(images, way, jobs, shown, failures)
    else:
        total, notes, failed = counted_there(crew, images, way, shown, failures)
    for name in histograms:
        with naming(name):
            counted = read_histogram(name).weighed(way.perceptual)
            total = counted if total is None else total + counted
    return Total(total, notes, failed)


def counted_here(
    images: Sequence[str],
    way: Way,
    jobs: int,
    shown: bool,
    failures: list[QuantgpuError] | None,
) -> Total:
    """The colors of images together, see `count_files`; a GPU that is not there is told once."""
    if images:
        choose_device(way.device, way.memory)
    total: Counted | None = None
    notes: list[str] = []
    failed = []
    with in_turn(partial(count_file, way=way), images, images, jobs, shown) as turns:
        for number, turn in enumerate(turns):
            failed.append(number)
            with contextlib.nullcontext() if failures is None else complaining(failures):
                counted, said, of_device = turn()
                total = counted if total is None else total + counted
                notes += [*said, *(note for note in of_device if note not in notes)]
                failed.pop()
    return Total(total, notes, failed)


def counted_there(
    crew: Crew,
    images: Sequence[str],
    way: Way,
    shown: bool,
    failures: list[QuantgpuError] | None,
) -> Total:
    """The same on the workers of a cluster, all of which are done before one is complained of."""
    from quantgpu.distributed.files import counted

    found = counted(crew, images, way, shown)
    for _, error in found.errors:
        with contextlib.nullcontext() if failures is None else complaining(failures):
            raise error
    return Total(found.counted, found.notes, [number for number, _ in found.errors])
