"""`quantgpu apply`: map images to a given palette."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated, Any

import typer

from quantgpu.cli.app import app
from quantgpu.cli.console import fail, orderly_stop, say
from quantgpu.cli.options import described_as, opening_options
from quantgpu.cli.palette import keys_of_dithers
from quantgpu.cli.quantize import quantize
from quantgpu.cli.run import convert_each
from quantgpu.errors import QuantgpuError, UsageError
from quantgpu.version import __version__

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
    from quantgpu.api import apply_palette
    from quantgpu.arrays.device import parse_bytes
    from quantgpu.batch.convert import Work
    from quantgpu.batch.destination import Destination
    from quantgpu.batch.jobs import shared_out
    from quantgpu.color.alpha import alpha_of
    from quantgpu.errors import check_choice
    from quantgpu.io.metadata import METADATA
    from quantgpu.io.palette_files import read_palette
    from quantgpu.io.streams import STREAM
    from quantgpu.options import check_apply_options

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
