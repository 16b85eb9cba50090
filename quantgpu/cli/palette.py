"""The commands around palettes: `quantgpu palette` and `quantgpu apply`."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantgpu.cli.app import app
from quantgpu.cli.console import complaining, orderly_stop, say
from quantgpu.cli.count import count_inputs
from quantgpu.cli.options import Histograms, Images, Place, Scheduler, described_as, opening_options
from quantgpu.cli.quantize import quantize
from quantgpu.errors import QuantgpuError, UsageError

if TYPE_CHECKING:
    from quantgpu.batch.count import Total
    from quantgpu.pipeline.shared_palette import SharedPalette


def keys_of_dithers(incomplete: str) -> list[str]:
    """The completions of `--dither`."""
    from quantgpu.dithering.methods import DITHERS

    return [key for key in DITHERS if key.startswith(incomplete)]


def keys_of_sorts(incomplete: str) -> list[str]:
    """The completions of `--sort`."""
    from quantgpu.pipeline.shared_palette import SORTS

    return [key for key in SORTS if key.startswith(incomplete)]


PALETTE_EXAMPLES = """Examples:

  quantgpu palette photo.jpg -k 8                       8 colors, printed

  quantgpu palette *.jpg -k 64 -o shared.gpl            one palette for all, for GIMP
"""


@app.command(epilog=PALETTE_EXAMPLES)
@orderly_stop()
@described_as(quantize)
def palette(
    images: Images = None,
    histogram: Histograms = None,
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
        typer.Option(help="By what: lightness, hue, count.", autocompletion=keys_of_sorts),
    ] = "lightness",
    effort: str = "balanced",
    init: str = "random",
    seed: int = 0,
    color_space: str = "oklab",
    perceptual: bool = True,
    weights: str | None = None,
    salient: bool = False,
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
    """Print the best K colors of one or several images together; no picture is written."""
    from quantgpu.distributed.gpus import first_of

    inputs, histograms = images or [], histogram or []
    options: dict[str, Any] = {
        "effort": effort, "init": init, "seed": seed, "color_space": color_space,
        "threads": threads, "device": first_of(device),
    }  # fmt: skip
    gc.enable()
    failures: list[QuantgpuError] = []
    with complaining(failures):
        check_palette_options(k, output, sort, memory, force, [*inputs, *histograms], options)
        opening = opening_options(max_pixels, alpha, matte, icc, threads)
        options |= {"perceptual": perceptual, "salient": salient}
        mask = checked_mask(weights, effort, salient, output, max_pixels)
        shown = not (quiet or as_json)
        place = Place(scheduler, device, options["memory"], quiet)
        total, options["device"] = count_inputs(
            inputs,
            histograms,
            opening,
            perceptual and not salient,
            mask,
            jobs,
            shown,
            place,
            holder_of(output),
        )
        print_palette(inputs, histograms, total, k, output, sort, force, as_json, quiet, options)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def check_palette_options(
    k: int | None,
    output: str | None,
    sort: str,
    memory: str | None,
    force: bool,
    inputs: list[str],
    options: dict[str, Any],
) -> None:
    """Raise for what is wrong before anything was read; the memory goes into the options."""
    from quantgpu.arrays.device import parse_bytes
    from quantgpu.batch.destination import identity
    from quantgpu.errors import check_choice
    from quantgpu.io.atomic import check_target
    from quantgpu.io.palette_files import check_entries
    from quantgpu.options import DEFAULT_K, check_options
    from quantgpu.pipeline.shared_palette import SORTS

    options["memory"] = None if memory is None else parse_bytes(memory)
    check_options(k, dither=None, dither_strength=None, **options)
    check_choice("sort", sort, SORTS)
    if output is None:
        return
    check_entries(output, DEFAULT_K if k is None else k)
    if identity(output) in map(identity, inputs):
        raise UsageError(f"{output} is an input; originals are never replaced")
    check_target(Path(output), force)


def checked_mask(
    weights: str | None, effort: str, salient: bool, output: str | None, max_pixels: int
) -> Any:
    """The weights of pixels as a Pillow image, or None; raises for what is wrong with them."""
    from quantgpu.batch.destination import identity
    from quantgpu.io.masks import read_mask
    from quantgpu.options import check_weighing

    check_weighing(effort, weights, salient)
    if weights is None:
        return None
    if output is not None and identity(output) == identity(weights):
        raise UsageError(f"{output} is an input; originals are never replaced")
    return read_mask(weights, max_pixels)


def holder_of(output: str | None) -> tuple[str, str]:
    """What a palette file can hold of transparency, a row of `ALPHAS`, and what to call it."""
    from quantgpu.io.palette_files import palette_format

    if output is None:
        return "keep", ""
    return palette_format(output).alpha, Path(output).suffix


def print_palette(
    inputs: list[str],
    histograms: list[str],
    total: Total,
    k: int | None,
    output: str | None,
    sort: str,
    force: bool,
    as_json: bool,
    quiet: bool,
    options: dict[str, Any],
) -> None:
    """Cluster, write if asked to, and print."""
    from quantgpu.cli.progress_bar import Bar
    from quantgpu.io.palette_files import write_palette
    from quantgpu.pipeline.shared_palette import shared_palette

    assert total.counted is not None
    with Bar("palette", shown=not (quiet or as_json)) as bar:
        found = shared_palette(total.counted.histogram, k, progress=bar, **options).sorted_by(sort)
    if output is not None:
        write_palette(output, found.palette, force)
    more = [f"the palette: {note}" for note in found.notes if note not in total.notes]
    for warning in [] if quiet else total.notes + more:
        say(f"quantgpu: warning: {warning}", err=True)
    if as_json:
        say(json.dumps({**found.as_json(inputs), "histograms": histograms}))
    elif not quiet:
        show(lines_of(found, takes_colors()))


def takes_colors() -> bool:
    """Whether standard output is a terminal whose user has nothing against colors.

    https://no-color.org
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout is not None and sys.stdout.isatty() and not plain


def show(lines: list[str]) -> None:
    """Print lines that may hold a terminal's codes."""
    from quantgpu.io.atomic import writing

    with writing("standard output"):
        typer.echo("\n".join(lines))


def lines_of(found: SharedPalette, swatches: bool) -> list[str]:
    """A line for each color: a swatch in it, its digits, pixels and share."""
    pixels = int(found.counts.sum())
    width = len(f"{found.counts.max():,}")
    return [
        f"{swatch(color) if swatches else ''}{digits}  {count:{width},}  {count / pixels:7.3%}"
        for color, digits, count in zip(
            found.palette.colors.tolist(), found.palette.hex(), found.counts.tolist(), strict=True
        )
    ]


def swatch(color: Sequence[int]) -> str:
    """Four cells in a color, for terminals (ISO 8613-6, SGR 48;2)."""
    red, green, blue, *_ = color
    return f"\x1b[48;2;{red};{green};{blue}m    \x1b[0m  "
