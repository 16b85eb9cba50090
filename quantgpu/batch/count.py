"""From image files and histogram files to the histogram of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

from quantgpu.arrays.device import Device
from quantgpu.batch.jobs import in_turn
from quantgpu.color.alpha import WHITE
from quantgpu.errors import OnError, report_errors
from quantgpu.execution.fallback import carried, on_device
from quantgpu.execution.selection import choose_device
from quantgpu.histogram import Histogram
from quantgpu.io.decode import read_image
from quantgpu.io.histogram_files import Counted, read_histogram
from quantgpu.io.masks import as_mask
from quantgpu.io.streams import STREAM, naming, read_standard_input
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.gpu import GpuPixels, attended
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Display, Progress, no_display
from quantgpu.threads import default_threads


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


CountImages = Callable[[Sequence[str], Way], Total]
"""From names of image files, and how they are counted, to the colors of all of them."""


def count_images(
    images: Sequence[str],
    way: Way,
    *,
    jobs: int = 1,
    display: Display = no_display,
    on_error: OnError | None = None,
) -> Total:
    """The colors of images together, on this machine; a GPU that is not there is told once.

    Args:
        images: Names of image files.
        way: How they are counted.
        jobs: How many are counted at once.
        display: Shows how far along each is.
        on_error: Called for images that cannot be counted, which are left out then; None raises.
    """
    if images:
        choose_device(way.device, way.memory)
    total: Counted | None = None
    notes: list[str] = []
    failed = []
    with in_turn(partial(count_file, way=way), images, images, jobs, display) as turns:
        for number, turn in enumerate(turns):
            failed.append(number)
            with report_errors(on_error):
                counted, said, of_device = turn()
                total = counted if total is None else total + counted
                notes += [*said, *(note for note in of_device if note not in notes)]
                failed.pop()
    return Total(total, notes, failed)


def count_files(
    images: Sequence[str],
    histograms: Sequence[str],
    way: Way,
    count: CountImages = count_images,
) -> Total:
    """The colors of images and histogram files together, added in this order.

    Args:
        images: Names of image files.
        histograms: Names of histogram files.
        way: How images are counted.
        count: Counts the images: here, or on the workers of a cluster.

    Raises:
        QuantgpuError: A file cannot be read, or was not counted like those before.
    """
    total, notes, failed = count(images, way)
    for name in histograms:
        with naming(name):
            counted = read_histogram(name).weighed(way.perceptual)
            total = counted if total is None else total + counted
    return Total(total, notes, failed)
