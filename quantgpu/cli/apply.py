"""`quantgpu apply`: map images to a given palette."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from quantgpu.cli import options as o
from quantgpu.cli.app import app, keys_of
from quantgpu.cli.console import Output, fail, orderly_stop, say
from quantgpu.cli.run import Batch, convert_each
from quantgpu.errors import QuantgpuError, UsageError
from quantgpu.version import __version__

APPLY_EXAMPLES = """Examples:

  quantgpu apply photo.jpg --palette pico8.hex          to photo-pico8.png

  quantgpu apply *.jpg --palette shared.gpl --output-dir out
"""


@app.command(epilog=APPLY_EXAMPLES)
@orderly_stop()
def apply(
    inputs: o.Inputs,
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
    color_space: o.ColorSpace = "oklab",
    dither: Annotated[
        str,
        typer.Option(
            help="How colors are mixed: none, or a method of quantize.",
            autocompletion=keys_of("DITHERS", "dithering.methods"),
            metavar="METHOD",
        ),
    ] = "none",
    dither_strength: o.DitherStrength = None,
    alpha: o.Alpha = "keep",
    matte: o.Matte = None,
    icc: o.Icc = "convert",
    metadata: o.Metadata = "keep",
    threads: o.Threads = None,
    device: o.Device = "auto",
    memory: o.Memory = None,
    compress_level: o.CompressLevel = 2,
    max_pixels: o.MaxPixels = 1_000_000_000,
    resume: o.Resume = False,
    jobs: o.Jobs = None,
    force: o.Force = False,
    as_json: o.JsonLines = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Write each image in the colors of a palette file."""
    keywords = locals()
    from quantgpu.arrays.device import check_device
    from quantgpu.batch.convert import ConversionJob
    from quantgpu.batch.destination import Destination
    from quantgpu.batch.jobs import share_threads
    from quantgpu.color.alpha import alpha_of
    from quantgpu.io.palette_files import read_palette
    from quantgpu.io.streams import STREAM
    from quantgpu.options import ApplyOptions, from_keywords, select_keywords
    from quantgpu.palette import Palette
    from quantgpu.pipeline.apply import map_to_palette

    gc.enable()
    if output is not None and (len(inputs) > 1 or output_dir is not None):
        fail(UsageError("-o names one file; use --output-dir alone for several inputs"))
    given = select_keywords(keywords, ApplyOptions)
    try:
        check_device(device)
        options = from_keywords(ApplyOptions, o.parse_options(given))
        at_once, of_each = share_threads(jobs, threads, len(inputs), STREAM in inputs)
        options = replace(options, compute=replace(options.compute, threads=of_each))
        read = o.read_options(alpha, matte, icc, max_pixels, of_each)
        destination = Destination(output, output_dir, force, compress_level, metadata)
        colors = read_palette(palette)
    except QuantgpuError as error:
        fail(error)
    if verbose:
        say(f"quantgpu {__version__}: {len(colors):,} colors, {o.describe(given)}", err=True)
    target = Palette(colors)
    work = ConversionJob(
        lambda image, progress: [map_to_palette(image, target, options, progress=progress)],
        len(colors), [Path(palette).stem], read, alpha=alpha_of(colors),
    )  # fmt: skip
    shown = Output(quiet, as_json, verbose)
    convert_each(inputs, destination, work, shown, Batch(at_once, resume), others=[palette])
