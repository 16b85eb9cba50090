"""The command `quantgpu quantize`."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from quantgpu.cli import options as o
from quantgpu.cli.app import app
from quantgpu.cli.console import Output, fail, orderly_stop, say
from quantgpu.cli.run import Batch, convert_each
from quantgpu.cli.workers import (
    convert_store,
    is_converted_blockwise,
    refuse_for_blocks,
    workers_for,
)
from quantgpu.errors import QuantgpuError, UsageError
from quantgpu.version import __version__

QUANTIZE_EXAMPLES = """Examples:

  quantgpu quantize photo.jpg                      256 colors, to photo-256.png

  quantgpu quantize photo.jpg -k 16 -o small.gif   16 colors, as GIF

  quantgpu quantize photo.jpg -k 4,16,64           to photo-4.png, photo-16.png, photo-64.png

  quantgpu quantize photo.jpg --target psnr=38     as few colors as that takes

  quantgpu quantize photo.jpg -k 8 --salient       the red flower stays red

  quantgpu quantize *.jpg -k 64 --output-dir out   each to out/NAME-64.png

  quantgpu quantize - -k 8 < in.png > out.png      in a pipe
"""


@app.command(epilog=QUANTIZE_EXAMPLES)
@orderly_stop()
def quantize(
    inputs: o.Inputs,
    k: Annotated[
        str | None,
        typer.Option(
            "-k",
            "--colors",
            metavar="K",
            help="Colors, 1 to 65536; or several, such as 4,16,64. [default: 256]",
            show_default=False,
        ),
    ] = None,
    target: o.Target = None,
    min_quality: o.MinQuality = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            show_default=False,
            help="Where to write one image (.png .gif .webp .tif .bmp .npz), {k} becoming K; - is "
            "standard output. [default: NAME-K.png beside the input]",
        ),
    ] = None,
    output_dir: o.OutputDir = None,
    effort: o.Effort = "balanced",
    init: o.Init = "random",
    seed: o.Seed = 0,
    color_space: o.ColorSpace = "oklab",
    perceptual: o.Perceptual = True,
    weights: o.Weights = None,
    salient: o.Salient = False,
    keep: o.Keep = None,
    snap: o.Snap = None,
    from_palette: o.FromPalette = None,
    lock_grays: o.LockGrays = False,
    dither: o.Dither = None,
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
    skip_if_larger: o.SkipIfLarger = False,
    shared_palette: Annotated[
        bool,
        typer.Option("--shared-palette", help="One palette, the best for all inputs together."),
    ] = False,
    resume: o.Resume = False,
    jobs: o.Jobs = None,
    scheduler: o.Scheduler = None,
    force: o.Force = False,
    as_json: o.JsonLines = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Write each image with its best K colors."""
    keywords = locals()
    from quantgpu.batch.convert import quantize_job
    from quantgpu.batch.destination import Destination
    from quantgpu.batch.jobs import share_threads
    from quantgpu.io.masks import read_mask
    from quantgpu.io.streams import STREAM
    from quantgpu.options import QuantizeOptions, check_ks, from_keywords, select_keywords

    gc.enable()
    shown = Output(quiet, as_json, verbose)
    given = select_keywords(keywords, QuantizeOptions)
    stack = contextlib.ExitStack()
    try:
        destination = Destination(
            output, output_dir, force, compress_level, metadata, skip_if_larger
        )
        ks: Sequence[int | None] = [None] if k is None else o.parse_ks(k)
        options = from_keywords(QuantizeOptions, o.parse_options(given))
        ks = check_ks(ks, options)
        destination.check(inputs, ks, target)
        options.palette.check_weighing(weights)
        check_shared_palette(shared_palette, target=target, min_quality=min_quality)
        jobs_at_once, of_each = share_threads(jobs, threads, len(inputs), STREAM in inputs)
        read = o.read_options(alpha, matte, icc, max_pixels, of_each)
        mask = None if weights is None else read_mask(weights, max_pixels)
        workers = stack.enter_context(
            workers_for(
                scheduler, [*inputs, output], device, inputs, is_converted_blockwise, quiet, jobs
            )
        )
        compute = options.compute
        each = replace(compute, threads=of_each)
        if workers is not None:
            each = replace(compute, threads=threads or workers.threads, device=workers.device)
            read = replace(read, threads=each.threads)
    except QuantgpuError as error:
        fail(error)
    if verbose:
        say(
            f"quantgpu {__version__}: k {k}, weights {weights}, {o.describe(given)}",
            err=True,
        )
    options = replace(options, compute=each)
    work = quantize_job(ks, options, read, mask)
    others = [name for name in (weights, keep, from_palette) if name]
    with stack:
        if workers is not None and is_converted_blockwise(inputs):
            refuse_for_blocks(weights=weights, resume=resume, shared_palette=shared_palette)
            convert_store(workers, inputs[0], destination, ks, options, read, shown, others)
            return
        sharing = None
        if shared_palette:
            from quantgpu.batch.shared_palette import SharedPaletteOptions

            if workers is not None:
                compute = replace(compute, device=workers.local_device)
            sharing = SharedPaletteOptions(ks=ks, options=options, compute=compute, weights=mask)
        batch = Batch(jobs_at_once, resume, sharing, workers)
        convert_each(inputs, destination, work, shown, batch, others)


def check_shared_palette(shared: bool, **goals: str | None) -> None:
    """Raise a UsageError for goals of single images, such as ``target``, with a shared palette."""
    for name, value in goals.items():
        if shared and value is not None:
            option = name.replace("_", "-")
            raise UsageError(f"--{option} is about single images; use it without --shared-palette")
