"""The command `quantgpu quantize`."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from quantgpu.cli.app import app, keys_of
from quantgpu.cli.console import fail, orderly_stop, say
from quantgpu.cli.options import Scheduler, given, opening_options
from quantgpu.cli.run import convert_each
from quantgpu.cli.workers import convert_store, crew_for, in_blocks
from quantgpu.errors import QuantgpuError
from quantgpu.version import __version__

EXAMPLES = """Examples:

  quantgpu quantize photo.jpg                      256 colors, to photo-256.png

  quantgpu quantize photo.jpg -k 16 -o small.gif   16 colors, as GIF

  quantgpu quantize photo.jpg -k 4,16,64           to photo-4.png, photo-16.png, photo-64.png

  quantgpu quantize photo.jpg --target psnr=38     as few colors as that takes

  quantgpu quantize photo.jpg -k 8 --salient       the red flower stays red

  quantgpu quantize *.jpg -k 64 --output-dir out   each to out/NAME-64.png

  quantgpu quantize - -k 8 < in.png > out.png      in a pipe
"""


@app.command(epilog=EXAMPLES)
@orderly_stop()
def quantize(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Images; - is standard input.", show_default=False),
    ],
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
    target: Annotated[
        str | None,
        typer.Option(
            metavar="QUALITY",
            help="Find the smallest K, up to -k, that is as good as this: psnr=38, mse=12, or "
            "de=1.5 (mean CIEDE2000).",
            show_default=False,
        ),
    ] = None,
    min_quality: Annotated[
        str | None,
        typer.Option(
            metavar="QUALITY",
            help="Write nothing that is not as good as this, of the same form.",
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
            help="Where to write one image (.png .gif .webp .tif .bmp .npz), {k} becoming K; - is "
            "standard output. [default: NAME-K.png beside the input]",
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write NAME-K.png into this folder.", show_default=False),
    ] = None,
    effort: Annotated[
        str,
        typer.Option(
            help="Time spent on the palette: none, fast, balanced, best.",
            autocompletion=keys_of("EFFORTS"),
        ),
    ] = "balanced",
    init: Annotated[
        str,
        typer.Option(
            help="First centers: random, kmeans++, maximin, wu. `--init random --effort none "
            "--color-space srgb` is the textbook's method.",
            autocompletion=keys_of("SEEDINGS"),
        ),
    ] = "random",
    seed: Annotated[int, typer.Option(help="Of the random draws.")] = 0,
    color_space: Annotated[
        str,
        typer.Option(
            help="Where distances are measured: srgb, linear, oklab, cielab.",
            autocompletion=keys_of("COLOR_SPACES"),
        ),
    ] = "oklab",
    perceptual: Annotated[
        bool,
        typer.Option(
            "--perceptual/--no-perceptual",
            help="Let pixels in busy and dark areas count for less, and rare colors for more.",
        ),
    ] = True,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A gray picture of the same size: how much each pixel counts, white fully, black "
            "next to nothing.",
            show_default=False,
        ),
    ] = None,
    salient: Annotated[
        bool,
        typer.Option(
            "--salient",
            help="Raise rare and saturated colors, so that few colors keep what stands out.",
        ),
    ] = False,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="COLORS|FILE",
            help="Colors that are in the palette exactly: '#0000ff,#fff', or a palette file.",
            show_default=False,
        ),
    ] = None,
    snap: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Colors that cover at least such a share of the image, such as 0.01, come out "
            "unchanged.",
            show_default=False,
        ),
    ] = None,
    from_palette: Annotated[
        str | None,
        typer.Option(
            metavar="COLORS|FILE",
            help="Choose at most K of these colors, such as the palette file of a machine.",
            show_default=False,
        ),
    ] = None,
    lock_grays: Annotated[
        bool, typer.Option("--lock-grays", help="Pixels that are gray come out gray.")
    ] = False,
    dither: Annotated[
        str | None,
        typer.Option(
            help="How colors are mixed: none, bayer, blue-noise, floyd-steinberg, jarvis, stucki, "
            "burkes, sierra, sierra-lite, atkinson, stevenson-arce, adaptive. bayer:2 to bayer:16 "
            "say how large the pattern is. [default: adaptive; none with one color, --effort "
            "none, --target or --min-quality]",
            autocompletion=keys_of("DITHERS", "dithering.methods"),
            metavar="METHOD",
            show_default=False,
        ),
    ] = None,
    dither_strength: Annotated[
        float | None,
        typer.Option(
            metavar="0...1",
            help="How much is mixed. [default: what suits the method]",
            show_default=False,
        ),
    ] = None,
    alpha: Annotated[
        str,
        typer.Option(
            help="Transparency: keep, binary, flatten. binary makes pixels opaque from an alpha of "
            "128 on, flatten lays them on the matte; so does keep where the output holds no more.",
            autocompletion=keys_of("ALPHAS", "color.alpha"),
        ),
    ] = "keep",
    matte: Annotated[
        str | None,
        typer.Option(
            metavar="COLOR",
            help="What partly transparent pixels are laid on: #rrggbb, #rgb or a CSS name. "
            "[default: white with flatten]",
            show_default=False,
        ),
    ] = None,
    icc: Annotated[
        str,
        typer.Option(
            help="Color profiles: convert, keep, ignore. keep works in the profile's numbers and "
            "writes it again.",
            autocompletion=keys_of("ICCS", "io.icc"),
        ),
    ] = "convert",
    metadata: Annotated[
        str,
        typer.Option(
            help="EXIF, XMP, texts and resolution: keep, strip.",
            autocompletion=keys_of("METADATA", "io.metadata"),
        ),
    ] = "keep",
    threads: Annotated[
        int | None,
        typer.Option(
            help="At most so many. The result does not depend on it. [default: all processors]",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="auto|cpu|gpu|gpu:N",
            help="Where the work is done; auto takes a GPU that works, else the CPU. quantize, "
            "palette and count also take several GPUs: gpu:0,1 or gpu:all. The result does not "
            "depend on it.",
        ),
    ] = "auto",
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="BYTES",
            help="Device memory to use, such as 2GB. [default: most of what is free]",
            show_default=False,
        ),
    ] = None,
    compress_level: Annotated[
        int, typer.Option(min=0, max=9, help="Of PNG and NPZ files: 0 is fast, 9 is small.")
    ] = 2,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Refuse larger images before they are decoded.")
    ] = 1_000_000_000,
    skip_if_larger: Annotated[
        bool,
        typer.Option("--skip-if-larger", help="Write nothing that is larger than the input."),
    ] = False,
    shared_palette: Annotated[
        bool,
        typer.Option("--shared-palette", help="One palette, the best for all inputs together."),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Leave outputs that are there and no older than the input."),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Files at work at once, which share the threads. The result does not depend on "
            "it. [default: one for each thread, up to 4]",
            show_default=False,
        ),
    ] = None,
    scheduler: Scheduler = None,
    force: Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per image.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also print what was decided.")
    ] = False,
) -> None:
    """Write each image with its best K colors."""
    from quantgpu.api import quantize_each
    from quantgpu.arrays.device import parse_bytes
    from quantgpu.batch.convert import quantizing
    from quantgpu.batch.destination import Destination
    from quantgpu.batch.jobs import shared_out
    from quantgpu.batch.shared_palette import check_shared, sharing_of
    from quantgpu.cli.options import parse_ks
    from quantgpu.distributed.gpus import first_of
    from quantgpu.errors import check_choice
    from quantgpu.io.inputs import parse_colors
    from quantgpu.io.masks import read_mask
    from quantgpu.io.metadata import METADATA
    from quantgpu.io.streams import STREAM
    from quantgpu.options import check_goals, check_kept, check_options, check_set, check_weighing

    gc.enable()
    destination = Destination(output, output_dir, force, compress_level, metadata, skip_if_larger)
    options: dict[str, Any] = {
        "effort": effort, "init": init, "seed": seed, "color_space": color_space,
        "dither": dither, "dither_strength": dither_strength, "threads": threads,
        "device": first_of(device),
    }  # fmt: skip
    goals = {"target": target, "min_quality": min_quality}
    stack = contextlib.ExitStack()
    try:
        ks: Sequence[int | None] = [None] if k is None else parse_ks(k)
        check_goals(ks, **goals)
        destination.check(inputs, ks, target)
        options["memory"] = None if memory is None else parse_bytes(memory)
        for each in ks:
            check_options(each, **options)
        options |= {"perceptual": perceptual, "salient": salient, "snap": snap}
        options |= {"lock_grays": lock_grays}
        check_weighing(effort, weights, salient)
        options["keep"] = None if keep is None else parse_colors(keep, "keep")
        for each in ks:
            check_kept(each, options["keep"], snap)
        options["from_palette"] = None
        if from_palette is not None:
            options["from_palette"] = parse_colors(from_palette, "from_palette")
        check_set(options["from_palette"], snap)
        check_shared(shared_palette, **goals)
        at_once, options["threads"] = shared_out(jobs, threads, len(inputs), STREAM in inputs)
        opening = opening_options(max_pixels, alpha, matte, icc, options["threads"])
        check_choice("metadata", metadata, METADATA)
        options["weights"] = None if weights is None else read_mask(weights, max_pixels)
        crew = stack.enter_context(
            crew_for(scheduler, [*inputs, output], device, inputs, in_blocks, quiet, jobs)
        )
        if crew is not None:
            options |= {"threads": threads or crew.threads, "device": crew.device}
            opening["threads"] = options["threads"]
    except QuantgpuError as error:
        fail(error)
    if verbose:
        shown = options | goals | {"keep": keep, "from_palette": from_palette, "weights": weights}
        decided = ", ".join(f"{name} {value}" for name, value in shown.items())
        say(f"quantgpu {__version__}: k {k}, {decided}", err=True)
    work = quantizing(quantize_each, ks, options | goals, opening)
    here = None if crew is None else crew.here
    sharing = sharing_of(ks, options, threads, here) if shared_palette else None
    others = given(weights)
    with stack:
        if crew is not None and in_blocks(inputs):
            how = ks, options | goals, opening
            convert_store(crew, inputs[0], destination, *how, quiet, as_json, verbose)
            return
        convert_each(
            inputs, destination, work, quiet, as_json, others, at_once, resume, sharing, crew
        )
