"""The README names what there is, and nothing else."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from quantgpu import errors, indexed
from quantgpu.clustering.coarse_to_fine import EFFORTS
from quantgpu.clustering.seeding import SEEDINGS
from quantgpu.color.alpha import ALPHAS
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.dithering.methods import DITHERS
from quantgpu.io.encode import FORMATS
from quantgpu.io.icc import ICCS
from quantgpu.io.metadata import METADATA
from quantgpu.io.palette_files import PALETTE_FILES
from quantgpu.metrics.palette_error import QUALITIES
from quantgpu.pipeline.shared_palette import SORTS
from quantgpu.video.frames.pyav import CONVERSIONS
from quantgpu.video.palettes import PALETTES
from quantgpu.video.sinks.open import SINKS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def helped(*command: str) -> str:
    """What `--help` prints, unwrapped."""
    arguments = [sys.executable, "-m", "quantgpu", *command, "--help"]
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "PATH": ""}
    return subprocess.run(
        arguments, capture_output=True, text=True, check=True, env=environment
    ).stdout


COMMANDS = "quantize", "palette", "count", "video", "apply", "compare", "demo", "doctor"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_described(command: str) -> None:
    assert f"quantgpu {command}" in README or f"scripts/{command}" in README
    options = set(re.findall(r"--[a-z][a-z-]+", helped(command))) - {"--help"}
    assert options
    for option in options:
        assert f"`{option}" in README, option


def test_no_option_is_described_that_is_not_there() -> None:
    there = "".join(map(helped, COMMANDS)) + helped()
    for option in set(re.findall(r"`(--[a-z][a-z-]+)", README)):
        assert option in there, option


@pytest.mark.parametrize(
    "table",
    [
        *(EFFORTS, SEEDINGS, COLOR_SPACES, DITHERS, ALPHAS, ICCS, METADATA, FORMATS),
        *(PALETTE_FILES, QUALITIES, SORTS, PALETTES, SINKS, CONVERSIONS),
    ],
)
def test_every_row_of_a_table_is_named(table: dict[str, object]) -> None:
    for name in table:
        assert f"`{name}`" in README, name


def test_every_exit_code_is_explained() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.QuantgpuError)}
    for code in codes | {0, errors.SKIPPED, errors.INTERRUPTED}:
        assert re.search(rf"^\| {code} \|", README, re.MULTILINE), code


def test_every_module_is_in_the_reading_order() -> None:
    package = ROOT / "quantgpu"
    modules = {str(path.relative_to(package)) for path in package.rglob("[!_]*.py")}
    modules = {name for name in modules if not name.startswith("kernels")}
    reading_order = README[README.index("## Reading order") :]
    named = set(re.findall(r"`([\w/]+\.py)`", reading_order)) - {"scripts/blue_noise.py"}
    assert named == modules


def test_every_attribute_in_the_examples_exists() -> None:
    for attribute in set(re.findall(r"picture\.(\w+)", README)):
        fields = indexed.Indexed.__dataclass_fields__
        assert attribute in fields or hasattr(indexed.Indexed, attribute), attribute


def test_every_script_is_there_and_the_picture_too() -> None:
    for script in set(re.findall(r"scripts/[\w.]+", README)):
        assert (ROOT / script).exists(), script
