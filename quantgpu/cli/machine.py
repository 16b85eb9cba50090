"""The commands around the machine: `quantgpu demo` and `quantgpu doctor`."""

from __future__ import annotations

import gc
import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from quantgpu.cli.app import app
from quantgpu.cli.console import fail, orderly_stop, print_errors, say
from quantgpu.errors import DeviceError, QuantgpuError


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


@app.command()
@orderly_stop()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what this machine offers, and compare and measure its GPUs."""
    from quantgpu.cli.progress_bar import Bar
    from quantgpu.doctor import as_lines, differs, examine

    with Bar("doctor", shown=not as_json) as bar:
        found = examine(lambda stage: bar(stage, 0))
    for line in [json.dumps(found)] if as_json else as_lines(found):
        say(line)
    if differs(found):
        fail(DeviceError("a GPU computes other bytes than NumPy; use --device cpu"))
