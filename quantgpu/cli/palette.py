"""The commands around palettes: `quantgpu palette` and `quantgpu apply`."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantgpu import __version__
from quantgpu.cli.app import app
from quantgpu.cli.console import complaining, convert_each, fail, orderly_stop, say
from quantgpu.cli.count import Histograms, Images, Place, count_inputs, described_as
from quantgpu.cli.quantize import opening_options, quantize
from quantgpu.cli.workers import Scheduler
from quantgpu.errors import QuantgpuError, UsageError

if TYPE_CHECKING:
    from quantgpu.batch.count import Total


def keys_of_dithers(incomplete: str) -> list[str]:
    """The completions of `--dither`."""
    from quantgpu.dithering.base import DITHERS

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
    from quantgpu.batch.convert import identity
    from quantgpu.io.encode import check_target
    from quantgpu.io.palette_files import check_entries
    from quantgpu.options import DEFAULT_K, check_choice, check_options
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
    from quantgpu.batch.convert import identity
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
        show(found.as_lines(takes_colors()))


def takes_colors() -> bool:
    """Whether standard output is a terminal whose user has nothing against colors.

    https://no-color.org
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout is not None and sys.stdout.isatty() and not plain


def show(lines: list[str]) -> None:
    """Print lines that may hold a terminal's codes."""
    from quantgpu.io.encode import writing

    with writing("standard output"):
        typer.echo("\n".join(lines))


APPLY_EXAMPLES = """Examples:

  quantgpu apply photo.jpg --palette pico8.hex          to photo-pico8.png

  quantgpu apply *.jpg --palette shared.gpl --output-dir out
"""


@app.command(epilog=APPLY_EXAMPLES)
@orderly_stop()
@described_as(quantize)
def apply(
    inputs: list[str],
    palette: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="The palette (.gpl .act .ase .pal .hex .txt .json .css .png); its order is kept.",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            show_default=False,
            help="Where to write one image (.png .gif .webp .tif .bmp .npz); - is standard output. "
            "[default: NAME-PALETTE.png beside the input]",
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write NAME-PALETTE.png into this folder.", show_default=False
        ),
    ] = None,
    color_space: str = "oklab",
    dither: Annotated[
        str,
        typer.Option(
            help="How colors are mixed: none, or a method of quantize.",
            autocompletion=keys_of_dithers,
            metavar="METHOD",
        ),
    ] = "none",
    dither_strength: float | None = None,
    alpha: str = "keep",
    matte: str | None = None,
    icc: str = "convert",
    metadata: str = "keep",
    threads: int | None = None,
    device: str = "auto",
    memory: str | None = None,
    compress_level: int = 2,
    max_pixels: int = 1_000_000_000,
    resume: bool = False,
    jobs: int | None = None,
    force: bool = False,
    as_json: bool = False,
    quiet: bool = False,
    verbose: bool = False,
) -> None:
    """Write each image in the colors of a palette file."""
    from quantgpu.api import apply_palette, check_apply_options
    from quantgpu.arrays.device import parse_bytes
    from quantgpu.batch.convert import STREAM, Destination, Work
    from quantgpu.batch.jobs import shared_out
    from quantgpu.color.alpha import alpha_of
    from quantgpu.io.metadata import METADATA
    from quantgpu.io.palette_files import read_palette
    from quantgpu.options import check_choice

    gc.enable()
    if output is not None and (len(inputs) > 1 or output_dir is not None):
        fail(UsageError("-o names one file; use --output-dir alone for several inputs"))
    options: dict[str, Any] = {
        "color_space": color_space, "dither": dither, "dither_strength": dither_strength,
        "threads": threads, "device": device,
    }  # fmt: skip
    try:
        options["memory"] = None if memory is None else parse_bytes(memory)
        check_apply_options(**options)
        jobs, options["threads"] = shared_out(jobs, threads, len(inputs), STREAM in inputs)
        opening = opening_options(max_pixels, alpha, matte, icc, options["threads"])
        check_choice("metadata", metadata, METADATA)
        colors = read_palette(palette)
    except QuantgpuError as error:
        fail(error)
    if verbose:
        decided = ", ".join(f"{name} {value}" for name, value in options.items())
        say(f"quantgpu {__version__}: {len(colors):,} colors, {decided}", err=True)
    work = Work(
        lambda image, progress: [apply_palette(image, colors, progress=progress, **options)],
        len(colors), [Path(palette).stem], opening, alpha=alpha_of(colors),
    )  # fmt: skip
    destination = Destination(output, output_dir, force, compress_level, metadata)
    convert_each(inputs, destination, work, quiet, as_json, [palette], jobs, resume)
