"""The demo: quantize the built-in picture to 4, 16, 64 and 256 colors, drawn side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from quantgpu.api import quantize
from quantgpu.demo.contact_sheet import contact_sheet
from quantgpu.demo.scene import render_scene
from quantgpu.demo.scenery import FRAME_WIDTH
from quantgpu.io.atomic import atomic_write, check_writable
from quantgpu.progress import Display, no_display

COLORS = 4, 16, 64, 256

PANEL_WIDTH = 640


def run_demo(
    megapixels: float,
    output: Path,
    force: bool,
    report: Callable[[str], None],
    display: Display = no_display,
) -> None:
    """Render the scene at about `megapixels`, quantize it, and write one sheet of all results.

    `report` is called with a line for each result.

    Raises:
        OutputError: `output` exists and `force` is not given, or cannot be written.
    """
    check_writable(output, force)
    height = max(round(math.sqrt(megapixels * 1e6 / FRAME_WIDTH)), 1)
    width = max(round(height * FRAME_WIDTH), 1)
    with display("built-in scene") as progress:
        progress("render", 0)
        scene = render_scene(width, height)
    report(f"built-in scene, {width} x {height}")
    results = []
    for k in COLORS:
        with display(f"K = {k}") as progress:
            picture = quantize(scene, min(k, width * height), progress=progress)
        report(
            f"K = {k:3d}: MSE {picture.mse:8.2f}, PSNR {picture.psnr:5.2f} dB, "
            f"{sum(picture.seconds.values()):.2f} s"
        )
        label = f"K = {k}  MSE {picture.mse:.1f}"
        results.append((label, picture.to_array(), picture.palette.colors))
    with atomic_write(output, force) as stream:
        contact_sheet(scene, results, min(PANEL_WIDTH, width)).save(stream, "PNG")
    report(f"{output}: all of them side by side, with their palettes")
