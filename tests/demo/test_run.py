"""The demo writes one sheet with every K."""

from pathlib import Path

import numpy as np
import pytest
from assertions import is_inside
from PIL import Image

from quantgpu.api import quantize
from quantgpu.demo.run import COLORS, run_demo
from quantgpu.demo.scene import render_scene
from quantgpu.errors import OutputError


def test_the_sheet_shows_the_scene_at_every_k(tmp_path: Path) -> None:
    lines: list[str] = []
    output = tmp_path / "sheet.png"
    run_demo(0.02, output, False, lines.append)
    sheet = np.asarray(Image.open(output).convert("RGB"))
    scene = render_scene(172, 115)
    for panel in (scene, *(quantize(scene, k).to_array() for k in COLORS)):
        assert is_inside(panel, sheet)
    assert len(lines) == 2 + len(COLORS)
    for k, line in zip(COLORS, lines[1:], strict=False):
        assert f"K = {k:3d}: MSE" in line


def test_a_sheet_that_exists_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "sheet.png"
    output.write_text("mine")
    with pytest.raises(OutputError, match="exists; use --force"):
        run_demo(0.01, output, False, print)
    assert output.read_text() == "mine"


def test_one_pixel_is_enough(tmp_path: Path) -> None:
    run_demo(1e-6, tmp_path / "sheet.png", False, lambda line: None)
    assert (tmp_path / "sheet.png").exists()
