"""The commands around the machine: `quantgpu demo` and `quantgpu doctor`."""

from __future__ import annotations

import gc
import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from quantgpu.cli.app import app
from quantgpu.cli.console import Output, orderly_stop, print_errors, say
from quantgpu.errors import DeviceError, QuantgpuError, UsageError


@app.command()
@orderly_stop()
def demo(
    megapixels: Annotated[
        float, typer.Option(min=0.0001, max=1000, help="The size of the picture.")
    ] = 6,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="A PNG file.")
    ] = Path("quantgpu-demo.png"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Quantize a built-in picture to 4, 16, 64 and 256 colors, drawn side by side."""
    from quantgpu.cli.progress_bar import Bar
    from quantgpu.demo.run import run_demo

    gc.enable()
    failures: list[QuantgpuError] = []
    with print_errors(failures):
        run_demo(megapixels, output, force, say, partial(Bar, shown=True))
    if failures:
        raise typer.Exit(failures[0].exit_code)


DOCTOR_EXAMPLES = """Examples:

  quantgpu doctor                                    versions, GPUs, and what they do

  quantgpu doctor --stages --image photo.png -k 16   where a GPU goes another way than NumPy
"""


@app.command(epilog=DOCTOR_EXAMPLES)
@orderly_stop()
def doctor(
    stages: Annotated[
        bool,
        typer.Option(
            "--stages",
            help="Run a picture by NumPy and on each GPU, stage by stage, and name the first array "
            "that differs.",
        ),
    ] = False,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Of --stages: a picture. [default: a built-in one]",
            show_default=False,
        ),
    ] = None,
    k: Annotated[
        int, typer.Option("-k", "--colors", metavar="K", help="Of --stages: colors.", min=1)
    ] = 256,
    effort: Annotated[str, typer.Option(help="Of --stages: as quantize has it.")] = "balanced",
    color_space: Annotated[str, typer.Option(help="Of --stages: as quantize has it.")] = "oklab",
    dither: Annotated[str, typer.Option(help="Of --stages: as quantize has it.")] = "adaptive",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what this machine offers, and compare and measure its GPUs."""
    keywords = locals()
    from quantgpu.doctor import as_lines, examine, examine_stages, has_difference, stage_lines

    shown = Output(as_json=as_json)
    failures: list[QuantgpuError] = []
    with print_errors(failures):
        if stages:
            options = {name: keywords[name] for name in ("k", "effort", "color_space", "dither")}
            with shown.display("doctor") as progress:
                found = examine_stages(image, progress, **options)
            lines = stage_lines(found)
        else:
            refuse_stage_options(
                image=image, k=k, effort=effort, color_space=color_space, dither=dither
            )
            with shown.display("doctor") as progress:
                found = examine(lambda stage: progress(stage, 0))
            lines = as_lines(found)
        for line in [json.dumps(found)] if as_json else lines:
            say(line)
        if has_difference(found):
            raise DeviceError("a GPU computes other bytes than NumPy; use --device cpu")
    if failures:
        raise typer.Exit(failures[0].exit_code)


def refuse_stage_options(**options: object) -> None:
    """Raise a UsageError for options of `--stages` that are not at their defaults."""
    usual = {
        "image": None, "k": 256, "effort": "balanced", "color_space": "oklab", "dither": "adaptive",
    }  # fmt: skip
    for name, value in options.items():
        if value != usual[name]:
            option = "-k" if name == "k" else f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} is for --stages")
