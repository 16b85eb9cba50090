"""The command `quantgpu count`, and functions of all commands that count several inputs."""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantgpu.cli import options as o
from quantgpu.cli.app import app
from quantgpu.cli.console import Output, orderly_stop, print_errors, say
from quantgpu.cli.options import Place
from quantgpu.cli.run import counter_for
from quantgpu.cli.workers import is_counted_blockwise, workers_for
from quantgpu.errors import QuantgpuError, UsageError

if TYPE_CHECKING:
    from quantgpu.batch.count import CountTotal
    from quantgpu.io.decode import ReadOptions
    from quantgpu.pixels.counting import CountOptions


COUNT_EXAMPLES = """Examples:

  quantgpu count monday/*.jpg -o monday.qhist           the colors of a folder, in one file

  quantgpu palette --histogram monday.qhist --histogram tuesday.qhist -o both.gpl
"""


@app.command(epilog=COUNT_EXAMPLES)
@orderly_stop()
def count(
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="FILE", help="A .qhist file.", show_default=False),
    ],
    images: o.Images = None,
    histogram: o.Histograms = None,
    perceptual: o.Perceptual = True,
    weights: o.Weights = None,
    alpha: o.Alpha = "keep",
    matte: o.Matte = None,
    icc: o.Icc = "convert",
    threads: o.Threads = None,
    jobs: o.Jobs = None,
    scheduler: o.Scheduler = None,
    device: o.Device = "auto",
    memory: o.Memory = None,
    max_pixels: o.MaxPixels = 1_000_000_000,
    force: o.Force = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Write the colors of all inputs together, and how often each occurs, into one small file."""
    from quantgpu.arrays.device import parse_bytes
    from quantgpu.execution.selection import Compute
    from quantgpu.io.histogram_files import check_suffix, write_histogram
    from quantgpu.io.masks import read_mask
    from quantgpu.pixels.counting import CountOptions

    gc.enable()
    inputs, histograms, shown = images or [], histogram or [], Output(quiet, as_json)
    failures: list[QuantgpuError] = []
    with print_errors(failures):
        check_suffix(output)
        budget = None if memory is None else parse_bytes(memory)
        place = o.Place(scheduler, device, budget, quiet, jobs)
        Compute(threads=threads, device=place.first, memory=budget)
        check_written([*inputs, *histograms, *([weights] if weights else [])], output, force)
        read = o.read_options(alpha, matte, icc, max_pixels, threads)
        mask = None if weights is None else read_mask(weights, max_pixels)
        counting = CountOptions(perceptual=perceptual, mask=mask)
        total, _ = count_inputs(inputs, histograms, read, counting, place, shown)
        assert total.counted is not None
        size = write_histogram(output, total.counted, force)
        shown.warn(total.notes)
        if shown.prints_results:
            print_count(inputs, histograms, output, total, size, as_json)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def check_written(inputs: list[str], output: str, force: bool) -> None:
    """Raise unless the output may be written; inputs never may."""
    from quantgpu.io.atomic import check_writable
    from quantgpu.io.originals import check_not_read

    check_not_read(output, inputs)
    check_writable(Path(output), force)


def count_inputs(
    inputs: list[str],
    histograms: list[str],
    read: ReadOptions,
    counting: CountOptions,
    place: Place,
    shown: Output,
    holder: tuple[str, str] = ("keep", ""),
) -> tuple[CountTotal, str]:
    """Count images and histogram files; return the total, and the device for work on this machine.

    `holder` is the row of `ALPHAS` that the output holds, and the name of its format: transparency
    is reduced to that row.
    """
    import logging

    from quantgpu.batch.count import FileCountOptions, count_files
    from quantgpu.batch.jobs import share_threads
    from quantgpu.color.alpha import ALPHA_LIMITS, limited
    from quantgpu.execution.selection import Compute
    from quantgpu.io.streams import STREAM

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its warnings are printed
    if not inputs and not histograms:
        raise UsageError("nothing to count: name images, or histogram files with --histogram")
    limit, name = holder
    requested = read.alpha.alpha
    alpha = replace(read.alpha, alpha=limited(requested, limit))
    reason = f"{name} holds {ALPHA_LIMITS[limit]}" if alpha.alpha != requested else ""
    at_once, threads = share_threads(place.jobs, read.threads, len(inputs), STREAM in inputs)
    counting_device = local_device = place.first
    with workers_for(
        place.scheduler, inputs, place.device, inputs, is_counted_blockwise, shown.quiet, place.jobs
    ) as workers:
        if workers is not None:
            threads = read.threads or workers.threads
            counting_device, local_device = workers.device, workers.local_device
        options = FileCountOptions(
            read=replace(read, alpha=alpha, threads=threads),
            counting=counting,
            compute=Compute(device=counting_device, memory=place.memory),
            reason=reason,
        )
        count = counter_for(workers, at_once, display=shown.display)
        total = count_files(inputs, histograms, options, count)
    assert total.counted is not None
    check_holder(total.counted.alpha, limit, name)
    return total, local_device


def check_holder(alpha: str | None, limit: str, name: str) -> None:
    """Raise a UsageError unless a file of the format `name` holds the transparency `alpha`."""
    from quantgpu.color.alpha import ALPHA_LIMITS, limited

    if alpha is not None and limited(alpha, limit) != alpha:
        raise UsageError(
            f"{name} holds {ALPHA_LIMITS[limit]}, but the histogram has others; write .png, or "
            f"count the images again with --alpha {limit}"
        )


def print_count(
    inputs: list[str],
    histograms: list[str],
    output: str,
    total: CountTotal,
    size: int,
    as_json: bool,
) -> None:
    """Print the contents of a written histogram file, as a line or as JSON."""
    from quantgpu.batch.report import as_bytes

    assert total.counted is not None
    colors, pixels = len(total.counted.histogram), total.counted.histogram.pixels
    if as_json:
        fields = {
            "inputs": inputs, "histograms": histograms, "output": output, "pixels": pixels,
            "colors": colors, "bytes_out": size, "notes": total.notes,
        }  # fmt: skip
        say(json.dumps(fields))
        return
    say(f"{output}: {colors:,} colors of {pixels:,} pixels, {as_bytes(size)}")
