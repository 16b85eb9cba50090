"""Count the colors of image files and histogram files together."""

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
    """Options for reading files and counting their pixels."""

    read: ReadOptions = ReadOptions(alpha=AlphaOptions())
    counting: CountOptions = CountOptions(perceptual=True)
    compute: Compute = Compute(device="cpu")
    reason: str = ""
    """The reason why transparency is not treated as requested; empty if it is."""

    def to_counted(self, histogram: Histogram, transparent: bool) -> Counted:
        """A histogram with the options of its counting; those of alpha only if `transparent`."""
        masked = self.counting.mask is not None
        found = Counted(histogram, self.counting.perceptual, masked, icc=self.read.icc)
        if not transparent:
            return found
        return replace(found, alpha=self.read.alpha.alpha, matte=self.read.alpha.backdrop)


class CountResult(NamedTuple):
    """The colors of an image, and notes on how it was counted."""

    counted: Counted
    notes: list[str]
    """Changes made by reading the image."""
    device_notes: list[str]
    """Notes on a fallback to another device."""


class CountTotal(NamedTuple):
    """The colors of several files together, and the files that failed."""

    counted: Counted | None
    """None if no file could be counted."""
    notes: list[str]
    """Changes made by reading the files, and notes on fallbacks to other devices."""
    failed: list[int]
    """The positions of the images that could not be counted."""


def count_file(name: str, progress: Progress, options: FileCountOptions) -> CountResult:
    """Count the colors of one image."""
    progress("read", 0)
    decoded = options.read.read(read_standard_input() if name == STREAM else name)
    notes = [f"{name}: {note}" for note in decoded.notes]
    if options.reason and "alpha" in decoded.effective:
        notes.append(f"{name}: {options.reason}")
    pixels, mask = Pixels(decoded.image), options.counting.mask
    with prefix_errors(name):
        pixels.mask = None if mask is None else as_mask(mask, pixels.shape)
    histogram, device_notes = count_pixels(pixels, progress, options)
    transparent = decoded.image.mode == "RGBA" or "alpha" in decoded.effective
    return CountResult(options.to_counted(histogram, transparent), notes, device_notes)


def count_pixels(
    pixels: Pixels, progress: Progress, options: FileCountOptions
) -> tuple[Histogram, list[str]]:
    """Count the colors of pixels on a device; return the histogram and notes on a fallback."""
    threads, report = Compute(threads=options.read.threads).thread_count, guard_progress(progress)
    perceptual = options.counting.perceptual

    def on_gpu(xp: ModuleType, device: Device, keep_pixels: bool) -> Histogram:
        with synchronize_on_error(GpuPixels(pixels, xp, device, keep=False)) as device_pixels:
            return count_colors(device_pixels, threads, report, perceptual).to_host()

    def on_cpu() -> Histogram:
        return count_colors(pixels, threads, report, perceptual)

    histogram, _, notes = run_on_device(
        options.compute.device, options.compute.memory, on_gpu, on_cpu
    )
    return histogram, notes


CountImages = Callable[[Sequence[str], FileCountOptions], CountTotal]
"""From names of image files, and options, to the colors of all files together."""


def count_images(
    images: Sequence[str],
    options: FileCountOptions,
    *,
    jobs: int = 1,
    display: Display = no_display,
    on_error: OnError | None = None,
) -> CountTotal:
    """Count the colors of images together, on this machine.

    A missing GPU is reported once.

    Args:
        images: Names of image files.
        options: For reading and counting.
        jobs: The number of images that are counted at once.
        display: Shows the progress of each image.
        on_error: Called with the error of an image, which is then left out; None raises the error.
    """
    if images:
        choose_device(options.compute.device, options.compute.memory)
    total: Counted | None = None
    notes: list[str] = []
    failed = []
    with run_jobs(partial(count_file, options=options), images, images, jobs, display) as results:
        for number, wait in enumerate(results):
            failed.append(number)
            with report_errors(on_error):
                counted, read_notes, device_notes = wait()
                total = counted if total is None else total + counted
                notes += [*read_notes, *(note for note in device_notes if note not in notes)]
                failed.pop()
    return CountTotal(total, notes, failed)


def count_files(
    images: Sequence[str],
    histograms: Sequence[str],
    options: FileCountOptions,
    count: CountImages = count_images,
) -> CountTotal:
    """Count the colors of images and histogram files together, added in this order.

    Args:
        images: Names of image files.
        histograms: Names of histogram files.
        options: For reading and counting images.
        count: Counts the images, on this machine or on the workers of a cluster.

    Raises:
        QuantgpuError: A file cannot be read, or was not counted like those before.
    """
    total, notes, failed = count(images, options)
    for name in histograms:
        with prefix_errors(name):
            counted = read_histogram(name).weighed(options.counting.perceptual)
            total = counted if total is None else total + counted
    return CountTotal(total, notes, failed)
