"""The command `quantgpu compare`: print a line for each metric, and draw the error."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantgpu.cli.app import app
from quantgpu.cli.console import orderly_stop, print_errors, say
from quantgpu.errors import QuantgpuError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COMPARE_EXAMPLES = """Examples:

  quantgpu compare photo.jpg photo-256.png                  a line for each metric

  quantgpu compare photo.jpg photo-256.png --map error.png  also where the error is
"""


@app.command(epilog=COMPARE_EXAMPLES)
@orderly_stop()
def compare(
    image_a: Annotated[
        str, typer.Argument(metavar="A", help="An image; - is standard input.", show_default=False)
    ],
    image_b: Annotated[
        str, typer.Argument(metavar="B", help="Another of the same size.", show_default=False)
    ],
    error_map: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="FILE.png",
            help="Write CIEDE2000 of each pixel as gray: black is equal, each level a tenth, "
            "white more than 25.4.",
            show_default=False,
        ),
    ] = None,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Refuse larger images before they are decoded.")
    ] = 1_000_000_000,
    force: Annotated[bool, typer.Option("--force", help="Replace the map if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how far two images are apart: MSE, PSNR, SSIM, CIEDE2000, colors, pixels changed."""
    from quantgpu import api
    from quantgpu.cli.progress_bar import Bar
    from quantgpu.metrics import comparison

    gc.enable()
    failures: list[QuantgpuError] = []
    with print_errors(failures):
        check_map(error_map, (image_a, image_b), force)
        with Bar("compare", shown=not as_json) as bar:
            bar("read", 0)
            notes: list[str] = []
            a, b = (pixels_of(name, max_pixels, notes) for name in (image_a, image_b))
            if a.shape != b.shape:
                sizes = f"{image_a}: {comparison.size_of(a)}, {image_b}: {comparison.size_of(b)}"
                raise UsageError(f"{sizes}; pictures must have the same size to be compared")
            found = api.compare(a, b, progress=bar)
            if error_map is not None:
                bar("map", 1)
                write_map(comparison.difference_map(a, b), error_map, force)
        for note in notes:
            say(f"quantgpu: warning: {note}", err=True)
        height, width, _ = a.shape
        about = {"a": image_a, "b": image_b, "width": width, "height": height, "map": error_map}
        lines = [json.dumps(about | found.as_json())] if as_json else found.as_lines()
        for line in lines:
            say(line)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def check_map(error_map: str | None, inputs: tuple[str, str], force: bool) -> None:
    """Raise if both inputs are standard input, or the map may not be written as a PNG file."""
    from quantgpu.io.atomic import check_writable
    from quantgpu.io.originals import check_not_read
    from quantgpu.io.streams import STREAM

    if inputs == (STREAM, STREAM):
        raise UsageError("standard input is one image; name a file for the other")
    if error_map is None:
        return
    if Path(error_map).suffix.lower() != ".png":
        raise UsageError(f"{error_map}: maps are PNG files; use a name that ends in .png")
    check_not_read(error_map, inputs)
    check_writable(Path(error_map), force)


def pixels_of(name: str, max_pixels: int, notes: list[str]) -> NDArray[np.uint8]:
    """Read the pixels of a file, (H, W, 3) uint8, and append notes on changes to `notes`."""
    import logging

    import numpy as np

    from quantgpu.io.decode import read_image
    from quantgpu.io.streams import STREAM, read_standard_input

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its warnings are printed
    decoded = read_image(read_standard_input() if name == STREAM else name, max_pixels)
    notes += [f"{name}: {note}" for note in decoded.notes]
    return np.asarray(decoded.image)


def write_map(levels: NDArray[np.uint8], error_map: str, force: bool) -> None:
    """Write (H, W) gray levels as a PNG file, whole or not at all."""
    from PIL import Image

    from quantgpu.io.atomic import atomic_write
    from quantgpu.io.encode import COMPRESS_LEVEL

    with atomic_write(Path(error_map), force) as stream:
        Image.fromarray(levels).save(stream, "PNG", compress_level=COMPRESS_LEVEL)
