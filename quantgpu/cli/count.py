"""The command `quantgpu count`, and what commands that count several inputs have in common."""

from __future__ import annotations

import gc
import json
from functools import partial
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
)

import typer

from quantgpu.cli.app import app
from quantgpu.cli.console import complaining, orderly_stop, say
from quantgpu.cli.options import Histograms, Images, Place, Scheduler, described_as, opening_options
from quantgpu.cli.progress_bar import Bar
from quantgpu.cli.quantize import quantize
from quantgpu.cli.workers import counted_in_blocks, crew_for
from quantgpu.errors import QuantgpuError, UsageError

if TYPE_CHECKING:
    from quantgpu.batch.count import CountImages, Total


COUNT_EXAMPLES = """Examples:

  quantgpu count monday/*.jpg -o monday.qhist           the colors of a folder, in one file

  quantgpu palette --histogram monday.qhist --histogram tuesday.qhist -o both.gpl
"""


@app.command(epilog=COUNT_EXAMPLES)
@orderly_stop()
@described_as(quantize)
def count(
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="FILE", help="A .qhist file.", show_default=False),
    ],
    images: Images = None,
    histogram: Histograms = None,
    perceptual: bool = True,
    weights: str | None = None,
    alpha: str = "keep",
    matte: str | None = None,
    icc: str = "convert",
    threads: int | None = None,
    jobs: int | None = None,
    scheduler: Scheduler = None,
    device: str = "auto",
    memory: str | None = None,
    max_pixels: int = 1_000_000_000,
    force: bool = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: bool = False,
) -> None:
    """Write the colors of all inputs together, and how often each occurs, into one small file."""
    from quantgpu.arrays.device import parse_bytes
    from quantgpu.execution.selection import check_resources
    from quantgpu.io.histogram_files import check_suffix, write_histogram
    from quantgpu.io.masks import read_mask

    gc.enable()
    inputs, histograms = images or [], histogram or []
    failures: list[QuantgpuError] = []
    with complaining(failures):
        check_suffix(output)
        place = Place(scheduler, device, None if memory is None else parse_bytes(memory), quiet)
        check_resources(threads, place.first, place.memory)
        others = [] if weights is None else [weights]
        check_written([*inputs, *histograms, *others], output, force)
        opening = opening_options(max_pixels, alpha, matte, icc, threads)
        mask = None if weights is None else read_mask(weights, max_pixels)
        shown = not (quiet or as_json)
        total, _ = count_inputs(inputs, histograms, opening, perceptual, mask, jobs, shown, place)
        assert total.counted is not None
        size = write_histogram(output, total.counted, force)
        for warning in [] if quiet else total.notes:
            say(f"quantgpu: warning: {warning}", err=True)
        if not quiet or as_json:
            tell_of_count(inputs, histograms, output, total, size, as_json)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def check_written(inputs: list[str], output: str, force: bool) -> None:
    """Raise unless an output may be written, which no input ever may."""
    from quantgpu.batch.destination import identity
    from quantgpu.io.atomic import check_target

    if identity(output) in map(identity, inputs):
        raise UsageError(f"{output} is an input; originals are never replaced")
    check_target(Path(output), force)


def count_inputs(
    inputs: list[str],
    histograms: list[str],
    opening: dict[str, Any],
    perceptual: bool,
    mask: Any,
    jobs: int | None,
    shown: bool,
    place: Place,
    holder: tuple[str, str] = ("keep", ""),
) -> tuple[Total, str]:
    """The colors of images and histogram files, as far as their holder shows transparency.

    And the device for what is done with them here.
    """
    import logging

    from quantgpu.batch.count import Way, count_files, count_images
    from quantgpu.batch.jobs import shared_out
    from quantgpu.color.alpha import HELD, fitted
    from quantgpu.io.streams import STREAM

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it adds lines of its own
    if not inputs and not histograms:
        raise UsageError("nothing to count: name images, or histogram files with --histogram")
    limit, name = holder
    alpha, reason = fitted(opening["alpha"], limit), ""
    if alpha != opening["alpha"]:
        reason = f"{name} holds {HELD[limit]}"
    at_once, threads = shared_out(jobs, opening["threads"], len(inputs), STREAM in inputs)
    scheduler, device, memory, quiet = place
    there = here = place.first
    with crew_for(scheduler, inputs, device, inputs, counted_in_blocks, quiet, jobs) as crew:
        if crew is not None:
            threads = opening["threads"] or crew.threads
            there, here = crew.device, crew.here
        opening = {**opening, "alpha": alpha, "threads": threads}
        way = Way(opening, perceptual, mask, reason, there, memory)
        display = partial(Bar, shown=shown)
        counting: CountImages
        if crew is None:
            counting = partial(count_images, jobs=at_once, display=display)
        else:
            from quantgpu.distributed.files import counted_there

            counting = partial(counted_there, crew=crew, display=display)
        total = count_files(inputs, histograms, way, counting)
    assert total.counted is not None
    if (
        total.counted.alpha is not None
        and fitted(total.counted.alpha, limit) != total.counted.alpha
    ):
        raise UsageError(
            f"{name} holds {HELD[limit]}, but the histogram has others; write .png, or count the "
            f"images again with --alpha {limit}"
        )
    return total, here


def tell_of_count(
    inputs: list[str], histograms: list[str], output: str, total: Total, size: int, as_json: bool
) -> None:
    """Print what a histogram file holds, for people or for machines."""
    from quantgpu.batch.report import as_bytes

    assert total.counted is not None
    colors, pixels = len(total.counted.histogram), total.counted.histogram.pixels
    if as_json:
        said = {
            "inputs": inputs, "histograms": histograms, "output": output, "pixels": pixels,
            "colors": colors, "bytes_out": size, "notes": total.notes,
        }  # fmt: skip
        say(json.dumps(said))
        return
    say(f"{output}: {colors:,} colors of {pixels:,} pixels, {as_bytes(size)}")
