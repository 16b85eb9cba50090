"""The command `quantgpu video`."""

from __future__ import annotations

import gc
import json
from typing import TYPE_CHECKING, Annotated

import typer

from quantgpu.cli import options as o
from quantgpu.cli.app import app, keys_of
from quantgpu.cli.console import Output, orderly_stop, print_errors, say
from quantgpu.cli.progress_bar import Bar
from quantgpu.errors import DamagedError, QuantgpuError
from quantgpu.version import __version__

if TYPE_CHECKING:
    from quantgpu.video.report import VideoReport

Source = Annotated[
    str,
    typer.Argument(
        metavar="IN",
        help="A video, an animation, a folder or pattern of pictures (frame_%05d.png), or - for a "
        "video on standard input.",
        show_default=False,
    ),
]

ClipOutput = Annotated[
    str,
    typer.Argument(
        metavar="OUT",
        help=".gif .apng .webp .mp4 .mkv .y4m, a pattern of pictures (out_%05d.png), a folder "
        "(with / at the end), or - for y4m on standard output.",
        show_default=False,
    ),
]

Colors = Annotated[
    int | None,
    typer.Option(
        "-k",
        "--colors",
        metavar="K",
        help="Colors of a frame. [default: 256, but 255 for .gif and .apng, which then have one to "
        "say that a pixel stays as it is]",
        show_default=False,
    ),
]

VIDEO_EXAMPLES = """Examples:

  quantgpu video clip.mp4 clip.gif                          one palette for all frames

  quantgpu video clip.mp4 clip.gif --hold 6 --width 480     smaller: noise is not followed

  quantgpu video clip.mp4 clip.webp --palette scene         a palette for each scene

  quantgpu video 'frames/*.png' out/ --fps 30               numbered pictures

  ffmpeg -i clip.mov -f yuv4mpegpipe - | quantgpu video - clip.gif --first 2     in a pipe
"""


@app.command(epilog=VIDEO_EXAMPLES)
@orderly_stop()
def video(
    source: Source,
    output: ClipOutput,
    k: Colors = None,
    palette: Annotated[
        str,
        typer.Option(
            metavar="shared|scene|frame|COLORS|FILE",
            help="One palette for the clip, one for each scene or each frame, or a given one.",
            autocompletion=keys_of("PALETTES", "video.palettes"),
        ),
    ] = "shared",
    first: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Let so much of the beginning decide the shared palette: for what can be read "
            "only once.",
            show_default=False,
        ),
    ] = None,
    hold: Annotated[
        float,
        typer.Option(
            metavar="LEVELS",
            help="Let pixels keep their palette color while that costs less than so many levels of "
            "error; 6 makes files much smaller.",
        ),
    ] = 0,
    fps: Annotated[
        float | None,
        typer.Option(help="Frames per second: drop or repeat frames.", show_default=False),
    ] = None,
    start: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Leave out the beginning.", show_default=False),
    ] = None,
    duration: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Take so much.", show_default=False)
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", help="Scale to this width.", show_default=False),
    ] = None,
    conversion: Annotated[
        str,
        typer.Option(
            help="From YUV to RGB: exact, the same on every machine; fast, as ffmpeg does it.",
            autocompletion=keys_of("CONVERSIONS", "video.frames.pyav"),
        ),
    ] = "exact",
    dither: Annotated[
        str | None,
        typer.Option(
            help="How colors are mixed, as `quantgpu quantize` has it. none, bayer and blue-noise "
            "leave alone what does not move. [default: blue-noise]",
            autocompletion=keys_of("DITHERS", "dithering.methods"),
            metavar="METHOD",
            show_default=False,
        ),
    ] = None,
    dither_strength: o.DitherStrength = None,
    effort: o.Effort = "balanced",
    init: o.Init = "random",
    seed: o.Seed = 0,
    color_space: o.ColorSpace = "oklab",
    perceptual: o.Perceptual = True,
    salient: o.Salient = False,
    keep: o.Keep = None,
    snap: o.Snap = None,
    from_palette: o.FromPalette = None,
    lock_grays: o.LockGrays = False,
    alpha: o.Alpha = "keep",
    matte: o.Matte = None,
    threads: o.Threads = None,
    device: o.Device = "auto",
    memory: o.Memory = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|local[:N]",
            help="Let a Dask cluster count the frames, and write them if they are numbered "
            "pictures: tcp://HOST:PORT, or local:N with N workers on this machine. The result "
            "does not depend on it.",
            show_default=False,
        ),
    ] = None,
    force: o.Force = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Write a clip with the best K colors for it."""
    keywords = locals()
    from quantgpu.api import quantize_video
    from quantgpu.options import select_keywords
    from quantgpu.video.options import VideoOptions

    gc.enable()
    shown = Output(quiet, as_json, verbose)
    given = select_keywords(keywords, VideoOptions) | {"scheduler": scheduler}
    failures: list[QuantgpuError] = []
    with print_errors(failures):
        options = o.parse_options(given) | {"device": device}
        if verbose:
            say(f"quantgpu {__version__}: k {k}, {o.describe(given)}", err=True)
        with Bar(source, shown=not (quiet or as_json), left=True) as bar:
            report = quantize_video(source, output, k, force=force, progress=bar, **options)
        print_clip_report(report, shown)
        if report.damage is not None:
            raise DamagedError(f"{report.damage}; the frames before that were written")
    if failures:
        raise typer.Exit(failures[0].exit_code)


def print_clip_report(report: VideoReport, shown: Output) -> None:
    """Print the report on a clip, as a line or as JSON, and its warnings."""
    from quantgpu.io.streams import STREAM

    shown.warn(report.notes + report.device_notes)
    if shown.prints_results:
        line = json.dumps(report.as_json()) if shown.as_json else report.as_line()
        say(line, err=report.output == STREAM)
