"""The command `quantgpu palette`."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantgpu.cli import options as o
from quantgpu.cli.app import app, keys_of
from quantgpu.cli.console import Output, orderly_stop, print_errors, say
from quantgpu.cli.count import count_inputs
from quantgpu.errors import QuantgpuError

if TYPE_CHECKING:
    from quantgpu.batch.count import CountTotal
    from quantgpu.clustering.options import PaletteOptions
    from quantgpu.execution.selection import Compute
    from quantgpu.histogram import Histogram
    from quantgpu.pipeline.shared_palette import SharedPalette
    from quantgpu.progress import Progress

PALETTE_EXAMPLES = """Examples:

  quantgpu palette photo.jpg -k 8                       8 colors, printed

  quantgpu palette *.jpg -k 64 -o shared.gpl            one palette for all, for GIMP
"""


@app.command(epilog=PALETTE_EXAMPLES)
@orderly_stop()
def palette(
    images: o.Images = None,
    histogram: o.Histograms = None,
    k: Annotated[
        int | None,
        typer.Option(
            "-k",
            "--colors",
            metavar="K",
            help="Colors, 1 to 65536. [default: 256]",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            show_default=False,
            help="Write the palette too (.gpl .act .ase .pal .hex .txt .json .css .png).",
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            help="By what: lightness, hue, count.",
            autocompletion=keys_of("SORTS", "pipeline.shared_palette"),
        ),
    ] = "lightness",
    effort: o.Effort = "balanced",
    init: o.Init = "random",
    seed: o.Seed = 0,
    color_space: o.ColorSpace = "oklab",
    perceptual: o.Perceptual = True,
    weights: o.Weights = None,
    salient: o.Salient = False,
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
    """Print the best K colors of one or several images together; no picture is written."""
    keywords = locals()
    from quantgpu.clustering.options import PaletteOptions
    from quantgpu.execution.selection import Compute
    from quantgpu.options import from_keywords, select_keywords
    from quantgpu.pixels.counting import CountOptions

    gc.enable()
    inputs, histograms, shown = images or [], histogram or [], Output(quiet, as_json)
    failures: list[QuantgpuError] = []
    with print_errors(failures):
        given = o.parse_options(keywords)
        compute = from_keywords(Compute, select_keywords(given, Compute))
        options = from_keywords(PaletteOptions, select_keywords(given, PaletteOptions))
        check_palette_output(k, output, sort, force, [*inputs, *histograms, weights])
        read = o.read_options(alpha, matte, icc, max_pixels, threads)
        mask = read_checked_mask(weights, options, max_pixels)
        counting = CountOptions(perceptual=options.weighs_pixels, mask=mask)
        place = o.Place(scheduler, device, compute.memory, quiet, jobs)
        total, local_device = count_inputs(
            inputs, histograms, read, counting, place, shown, holder_of(output)
        )
        assert total.counted is not None
        with shown.display("palette") as progress:
            found = shared_palette_of(
                total.counted.histogram, k, options, replace(compute, device=local_device), progress
            ).sort_by(sort)
        print_palette(inputs, histograms, total, found, output, force, shown)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def shared_palette_of(
    histogram: Histogram,
    k: int | None,
    options: PaletteOptions,
    compute: Compute,
    progress: Progress,
) -> SharedPalette:
    """Find the palette of a histogram; the clustering is imported after counting."""
    from quantgpu.pipeline.shared_palette import shared_palette

    return shared_palette(histogram, k, options, compute, progress=progress)


def check_palette_output(
    k: int | None, output: str | None, sort: str, force: bool, inputs: list[str | None]
) -> None:
    """Check K, the order and the output before any input is read.

    Raises:
        QuantgpuError: An option is outside its range, or the output may not be written.
    """
    from quantgpu.clustering.options import DEFAULT_K
    from quantgpu.errors import check_choice, check_number
    from quantgpu.io.atomic import check_writable
    from quantgpu.io.originals import check_not_read
    from quantgpu.io.palette_files import check_entries
    from quantgpu.palette import MOST_COLORS
    from quantgpu.pipeline.shared_palette import SORTS

    if k is not None:
        check_number("k", k, 1, MOST_COLORS)
    check_choice("sort", sort, SORTS)
    if output is None:
        return
    check_entries(output, DEFAULT_K if k is None else k)
    check_not_read(output, inputs)
    check_writable(Path(output), force)


def read_checked_mask(weights: str | None, options: PaletteOptions, max_pixels: int) -> Any:
    """Read the weights of pixels as a Pillow image, or None.

    Raises:
        QuantgpuError: The options take no weights, or the file cannot be read.
    """
    from quantgpu.io.masks import read_mask

    options.check_weighing(weights)
    if weights is None:
        return None
    return read_mask(weights, max_pixels)


def holder_of(output: str | None) -> tuple[str, str]:
    """The transparency that a palette file holds, a row of `ALPHAS`, and its suffix."""
    from quantgpu.io.palette_files import palette_format

    if output is None:
        return "keep", ""
    return palette_format(output).alpha, Path(output).suffix


def print_palette(
    inputs: list[str],
    histograms: list[str],
    total: CountTotal,
    found: SharedPalette,
    output: str | None,
    force: bool,
    shown: Output,
) -> None:
    """Write a palette if `output` names a file, and print the palette."""
    from quantgpu.io.palette_files import write_palette

    if output is not None:
        write_palette(output, found.palette, force)
    more = [f"the palette: {note}" for note in found.notes if note not in total.notes]
    shown.warn(total.notes + more)
    if shown.as_json:
        say(json.dumps({**found.as_json(inputs), "histograms": histograms}))
    elif not shown.quiet:
        print_lines(palette_lines(found, takes_colors()))


def takes_colors() -> bool:
    """Whether standard output is a terminal, and the environment does not disable colors.

    https://no-color.org
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout is not None and sys.stdout.isatty() and not plain


def print_lines(lines: list[str]) -> None:
    """Print lines that may hold escape codes of terminals."""
    from quantgpu.io.atomic import translate_write_errors

    with translate_write_errors("standard output"):
        typer.echo("\n".join(lines))


def palette_lines(found: SharedPalette, swatches: bool) -> list[str]:
    """A line for each color: a swatch if `swatches`, hexadecimal digits, pixels and share."""
    pixels = int(found.counts.sum())
    width = len(f"{found.counts.max():,}")
    return [
        f"{swatch(color) if swatches else ''}{digits}  {count:{width},}  {count / pixels:7.3%}"
        for color, digits, count in zip(
            found.palette.colors.tolist(), found.palette.hex(), found.counts.tolist(), strict=True
        )
    ]


def swatch(color: Sequence[int]) -> str:
    """Four cells of a color, for terminals (ISO 8613-6, SGR 48;2)."""
    red, green, blue, *_ = color
    return f"\x1b[48;2;{red};{green};{blue}m    \x1b[0m  "
