"""Options that several commands share: their names and help texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from quantgpu.cli.app import keys_of
from quantgpu.errors import UsageError

if TYPE_CHECKING:
    from quantgpu.io.decode import ReadOptions

Inputs = Annotated[
    list[str],
    typer.Argument(metavar="INPUT...", help="Images; - is standard input.", show_default=False),
]

Images = Annotated[
    list[str] | None,
    typer.Argument(metavar="[INPUT]...", help="Images; - is standard input.", show_default=False),
]
"""Inputs of commands that also take histogram files, so that there may be none."""

Histograms = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="Add the colors of this file of `quantgpu count`; can be repeated.",
        show_default=False,
    ),
]

# The palette

Effort = Annotated[
    str,
    typer.Option(
        help="Time spent on the palette: none, fast, balanced, best.",
        autocompletion=keys_of("EFFORTS", "clustering.coarse_to_fine"),
    ),
]

Init = Annotated[
    str,
    typer.Option(
        help="First centers: random, kmeans++, maximin, wu. `--init random --effort none "
        "--color-space srgb` is the textbook's method.",
        autocompletion=keys_of("SEEDINGS", "clustering.seeding"),
    ),
]

Seed = Annotated[int, typer.Option(help="Of the random draws.")]

ColorSpace = Annotated[
    str,
    typer.Option(
        help="Where distances are measured: srgb, linear, oklab, cielab.",
        autocompletion=keys_of("COLOR_SPACES", "color.spaces"),
    ),
]

Perceptual = Annotated[
    bool,
    typer.Option(
        "--perceptual/--no-perceptual",
        help="Let pixels in busy and dark areas count for less, and rare colors for more.",
    ),
]

Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A gray picture of the same size: how much each pixel counts, white fully, black "
        "next to nothing.",
        show_default=False,
    ),
]

Salient = Annotated[
    bool,
    typer.Option(
        "--salient",
        help="Raise rare and saturated colors, so that few colors keep what stands out.",
    ),
]

Keep = Annotated[
    str | None,
    typer.Option(
        metavar="COLORS|FILE",
        help="Colors that are in the palette exactly: '#0000ff,#fff', or a palette file.",
        show_default=False,
    ),
]

Snap = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Colors that cover at least such a share of the image, such as 0.01, come out "
        "unchanged.",
        show_default=False,
    ),
]

FromPalette = Annotated[
    str | None,
    typer.Option(
        metavar="COLORS|FILE",
        help="Choose at most K of these colors, such as the palette file of a machine.",
        show_default=False,
    ),
]

LockGrays = Annotated[
    bool, typer.Option("--lock-grays", help="Pixels that are gray come out gray.")
]

Target = Annotated[
    str | None,
    typer.Option(
        metavar="QUALITY",
        help="Find the smallest K, up to -k, that is as good as this: psnr=38, mse=12, or "
        "de=1.5 (mean CIEDE2000).",
        show_default=False,
    ),
]

MinQuality = Annotated[
    str | None,
    typer.Option(
        metavar="QUALITY",
        help="Write nothing that is not as good as this, of the same form.",
        show_default=False,
    ),
]

# Mapping

Dither = Annotated[
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
]

DitherStrength = Annotated[
    float | None,
    typer.Option(
        metavar="0...1",
        help="How much is mixed. [default: what suits the method]",
        show_default=False,
    ),
]

# Files

Alpha = Annotated[
    str,
    typer.Option(
        help="Transparency: keep, binary, flatten. binary makes pixels opaque from an alpha of "
        "128 on, flatten lays them on the matte; so does keep where the output holds no more.",
        autocompletion=keys_of("ALPHAS", "color.alpha"),
    ),
]

Matte = Annotated[
    str | None,
    typer.Option(
        metavar="COLOR",
        help="What partly transparent pixels are laid on: #rrggbb, #rgb or a CSS name. "
        "[default: white with flatten]",
        show_default=False,
    ),
]

Icc = Annotated[
    str,
    typer.Option(
        help="Color profiles: convert, keep, ignore. keep works in the profile's numbers and "
        "writes it again.",
        autocompletion=keys_of("ICCS", "io.icc"),
    ),
]

Metadata = Annotated[
    str,
    typer.Option(
        help="EXIF, XMP, texts and resolution: keep, strip.",
        autocompletion=keys_of("METADATA", "io.metadata"),
    ),
]

MaxPixels = Annotated[
    int, typer.Option(min=1, help="Refuse larger images before they are decoded.")
]

CompressLevel = Annotated[
    int, typer.Option(min=0, max=9, help="Of PNG and NPZ files: 0 is fast, 9 is small.")
]

OutputDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write NAME-K.png into this folder.", show_default=False),
]

SkipIfLarger = Annotated[
    bool,
    typer.Option("--skip-if-larger", help="Write nothing that is larger than the input."),
]

Resume = Annotated[
    bool,
    typer.Option("--resume", help="Leave outputs that are there and no older than the input."),
]

Force = Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")]

# The machine

Threads = Annotated[
    int | None,
    typer.Option(
        help="At most so many. The result does not depend on it. [default: all processors]",
        show_default=False,
    ),
]

Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|gpu|gpu:N",
        help="Where the work is done; auto takes a GPU that works, else the CPU. quantize, "
        "palette and count also take several GPUs: gpu:0,1 or gpu:all. The result does not "
        "depend on it.",
    ),
]

Memory = Annotated[
    str | None,
    typer.Option(
        metavar="BYTES",
        help="Device memory to use, such as 2GB. [default: most of what is free]",
        show_default=False,
    ),
]

Jobs = Annotated[
    int | None,
    typer.Option(
        help="Files at work at once on this machine, which share the threads. The result does not "
        "depend on it. [default: one for each thread, up to 4]",
        show_default=False,
    ),
]

Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|local[:N]",
        help="Do the work on a Dask cluster: tcp://HOST:PORT, or local:N with N workers on this "
        "machine. The result does not depend on it.",
        show_default=False,
    ),
]

# Output

JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object per image.")]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also print what was decided.")]


class Place(NamedTuple):
    """The scheduler, device and jobs for counting images."""

    scheduler: str | None
    device: str
    memory: int | None
    """Bytes of device memory to use; most of what is free when None."""
    quiet: bool
    jobs: int | None = None
    """Images at work at once; None for one for each thread, up to 4."""

    @property
    def first(self) -> str:
        """The device, or the first of several GPUs."""
        from quantgpu.distributed.gpus import first_of

        return first_of(self.device)


def parse_options(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Parse options that are texts on the command line to the values that the library takes."""
    from quantgpu.arrays.device import parse_bytes
    from quantgpu.distributed.gpus import first_of
    from quantgpu.io.inputs import parse_color, parse_colors

    found = dict(keywords)
    for name, parse in {
        "memory": parse_bytes,
        "matte": lambda text: parse_color(text, "matte"),
        "keep": lambda text: parse_colors(text, "keep"),
        "from_palette": lambda text: parse_colors(text, "from_palette"),
        "device": first_of,
    }.items():
        if found.get(name) is not None:
            found[name] = parse(found[name])
    return found


def read_options(
    alpha: str, matte: str | None, icc: str, max_pixels: int, threads: int | None
) -> ReadOptions:
    """Options for reading image files, from those of the command line.

    Raises:
        UsageError: An option is outside its range.
    """
    from quantgpu.color.alpha import AlphaOptions
    from quantgpu.io.decode import ReadOptions
    from quantgpu.io.inputs import parse_color

    color: Any = None if matte is None else parse_color(matte, "matte")
    transparency = AlphaOptions(alpha=alpha, matte=color)
    return ReadOptions(alpha=transparency, icc=icc, max_pixels=max_pixels, threads=threads)


def describe(keywords: Mapping[str, Any]) -> str:
    """Options as text for people, as given on the command line."""
    return ", ".join(f"{name} {value}" for name, value in keywords.items())


def parse_ks(text: str) -> list[int]:
    """Parse one or several K, separated by commas.

    >>> parse_ks("16"), parse_ks("4,16, 64")
    ([16], [4, 16, 64])

    Raises:
        UsageError: A part is no integer.
    """
    if not re.fullmatch(r"\s*[+-]?[0-9]+\s*(,\s*[+-]?[0-9]+\s*)*", text):
        raise UsageError(f"k = {text!r} is not an integer, nor several, such as 4,16,64")
    return [int(part) for part in text.split(",")]
