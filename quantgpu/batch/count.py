"""From image files and histogram files to the histogram of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import NamedTuple

from quantgpu.arrays.device import Device
from quantgpu.batch.jobs import run_jobs
from quantgpu.color.alpha import AlphaOptions
from quantgpu.errors import OnError, report_errors
from quantgpu.execution.fallback import guard_progress, run_on_device
from quantgpu.execution.selection import Compute, choose_device
from quantgpu.histogram import Histogram
from quantgpu.io.decode import ReadOptions
from quantgpu.io.histogram_files import Counted, read_histogram
from quantgpu.io.masks import as_mask
from quantgpu.io.streams import STREAM, prefix_errors, read_standard_input
from quantgpu.pixels.counting import CountOptions, count_colors
from quantgpu.pixels.gpu import GpuPixels, synchronize_on_error
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Display, Progress, no_display


@dataclass(frozen=True, kw_only=True)
class FileCountOptions:
    """How files are read and their pixels counted."""

    read: ReadOptions = ReadOptions(alpha=AlphaOptions())
    counting: CountOptions = CountOptions(perceptual=True)
    compute: Compute = Compute(device="cpu")
    reason: str = ""
    """Why transparency is not kept as it was asked for; empty if it is."""

    def counted(self, histogram: Histogram, transparent: bool) -> Counted:
        """A histogram with how it was counted, and what became of transparency if there was any."""
        masked = self.counting.mask is not None
        found = Counted(histogram, self.counting.perceptual, masked, icc=self.read.icc)
        if not transparent:
            return found
        return replace(found, alpha=self.read.alpha.alpha, matte=self.read.alpha.backdrop)


class CountResult(NamedTuple):
    """The colors of an image, and notes on how it was counted."""

    counted: Counted
    notes: list[str]
    """What was changed on reading it."""
    device_notes: list[str]
    """Why it was not counted where it was meant to be."""


class CountTotal(NamedTuple):
    """The colors of several files together, and the files that failed."""

    counted: Counted | None
    """None if there is no file that could be counted."""
    notes: list[str]
    """What was changed on reading them, and why they were not counted where they were meant to be.
    """
    failed: list[int]
    """Which of the images could not be counted."""


def count_file(name: str, progress: Progress, way: FileCountOptions) -> CountResult:
    """The colors of one image."""
    progress("read", 0)
    decoded = way.read.read(read_standard_input() if name == STREAM else name)
    notes = [f"{name}: {note}" for note in decoded.notes]
    if way.reason and "alpha" in decoded.effective:
        notes.append(f"{name}: {way.reason}")
    pixels, mask = Pixels(decoded.image), way.counting.mask
    with prefix_errors(name):
        pixels.mask = None if mask is None else as_mask(mask, pixels.shape)
    histogram, device_notes = count_pixels(pixels, progress, way)
    transparent = decoded.image.mode == "RGBA" or "alpha" in decoded.effective
    return CountResult(way.counted(histogram, transparent), notes, device_notes)


def count_pixels(
    pixels: Pixels, progress: Progress, way: FileCountOptions
) -> tuple[Histogram, list[str]]:
    """The colors of pixels, counted on a device, and why it was another than was meant."""
    threads, tell = Compute(threads=way.read.threads).thread_count, guard_progress(progress)
    perceptual = way.counting.perceptual

    def on_gpu(xp: ModuleType, device: Device, keep: bool) -> Histogram:
        with synchronize_on_error(GpuPixels(pixels, xp, device, keep=False)) as there:
            return count_colors(there, threads, tell, perceptual).to_host()

    def on_cpu() -> Histogram:
        return count_colors(pixels, threads, tell, perceptual)

    histogram, _, notes = run_on_device(way.compute.device, way.compute.memory, on_gpu, on_cpu)
    return histogram, notes


CountImages = Callable[[Sequence[str], FileCountOptions], CountTotal]
"""From names of image files, and how they are counted, to the colors of all of them."""


def count_images(
    images: Sequence[str],
    way: FileCountOptions,
    *,
    jobs: int = 1,
    display: Display = no_display,
    on_error: OnError | None = None,
) -> CountTotal:
    """The colors of images together, on this machine; a GPU that is not there is told once.

    Args:
        images: Names of image files.
        way: How they are counted.
        jobs: How many are counted at once.
        display: Shows how far along each is.
        on_error: Called for images that cannot be counted, which are left out then; None raises.
    """
    if images:
        choose_device(way.compute.device, way.compute.memory)
    total: Counted | None = None
    notes: list[str] = []
    failed = []
    with run_jobs(partial(count_file, way=way), images, images, jobs, display) as turns:
        for number, turn in enumerate(turns):
            failed.append(number)
            with report_errors(on_error):
                counted, said, of_device = turn()
                total = counted if total is None else total + counted
                notes += [*said, *(note for note in of_device if note not in notes)]
                failed.pop()
    return CountTotal(total, notes, failed)


def count_files(
    images: Sequence[str],
    histograms: Sequence[str],
    way: FileCountOptions,
    count: CountImages = count_images,
) -> CountTotal:
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
        with prefix_errors(name):
            counted = read_histogram(name).weighed(way.counting.perceptual)
            total = counted if total is None else total + counted
    return CountTotal(total, notes, failed)
