"""The README and the manual name what there is, and nothing else; their commands run."""

import glob
import os
import re
import shlex
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from image_files import encoded
from pictures import photo, soft_photo
from typer.testing import CliRunner
from videos import video

import quantgpu
from quantgpu import cli, errors, indexed
from quantgpu.cli.help import TOPICS
from quantgpu.clustering.coarse_to_fine import EFFORTS
from quantgpu.clustering.seeding import SEEDINGS
from quantgpu.color.alpha import ALPHAS
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.dithering.methods import DITHERS
from quantgpu.io.encode import FORMATS
from quantgpu.io.icc import ICCS
from quantgpu.io.metadata import METADATA
from quantgpu.io.palette_files import PALETTE_FILES, write_palette
from quantgpu.metrics.palette_error import QUALITIES
from quantgpu.pipeline.shared_palette import SORTS
from quantgpu.video.frames.pyav import CONVERSIONS
from quantgpu.video.palettes import PALETTES
from quantgpu.video.sinks.open import SINKS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "quantgpu"
DOCS = PACKAGE / "docs"

PATHS = [ROOT / "README.md", *sorted(DOCS.iterdir())]
PAGES = {path.stem: path.read_text() for path in PATHS}
README, TEXT = PAGES["README"], "\n".join(PAGES.values())

MOST_LINES = 200
"""Of the README."""

LONGEST_TITLE = 60
"""Characters of a page's title, which `quantgpu help` puts behind the topic."""


# What there is


def helped(*command: str) -> str:
    """What `--help` prints, unwrapped."""
    arguments = [sys.executable, "-m", "quantgpu", *command, "--help"]
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "PATH": "", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        arguments, capture_output=True, text=True, check=True, env=environment
    ).stdout


COMMANDS = "quantize", "palette", "count", "video", "apply", "compare", "demo", "doctor", "help"


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """What each command says of itself."""
    return {command: helped(command) for command in COMMANDS}


def test_all_commands_are_here() -> None:
    assert {*COMMANDS} == {*commands()}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_described(command: str, helps: dict[str, str]) -> None:
    assert f"quantgpu {command}" in TEXT
    options = set(re.findall(r"--[a-z][a-z-]+", helps[command])) - {"--help"}
    if command != "help":
        assert options
    for option in options:
        assert f"`{option}" in TEXT, option


def test_no_option_is_described_that_is_not_there(helps: dict[str, str]) -> None:
    there = "".join(helps.values()) + helped()
    for option in set(re.findall(r"`(--[a-z][a-z-]+)", TEXT)):
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
        assert f"`{name}`" in TEXT, name


def test_every_exit_code_is_explained() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.QuantgpuError)}
    codes |= {0, errors.SKIPPED, errors.INTERRUPTED}
    explained = re.findall(r"^(\d+) \| ", PAGES["exit-codes"], re.MULTILINE)
    assert {*map(int, explained)} == codes


def test_every_attribute_in_the_examples_exists() -> None:
    for attribute in set(re.findall(r"picture\.(\w+)", TEXT)):
        fields = indexed.Indexed.__dataclass_fields__
        assert attribute in fields or hasattr(indexed.Indexed, attribute), attribute


def test_every_public_name_in_the_text_exists() -> None:
    for name in set(re.findall(r"\bquantgpu\.([A-Za-z]\w*)", TEXT)):
        assert hasattr(quantgpu, name), name


# The pages


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= MOST_LINES


def test_every_folder_is_in_the_readme_and_no_other() -> None:
    folders = {
        f"{path.relative_to(ROOT)}/"
        for path in [*PACKAGE.rglob("*"), ROOT / "tests", ROOT / "scripts"]
        if path.is_dir() and path.name != "__pycache__"
    }
    named = set(re.findall(r"`((?:quantgpu/|tests/|scripts/)[\w/]*)`", README))
    assert {name for name in named if name.startswith("quantgpu")} <= folders
    assert folders <= named
    assert all((ROOT / name).is_dir() for name in named if name.endswith("/"))


def test_every_page_is_a_topic_and_linked_from_the_readme() -> None:
    assert {*TOPICS.values()} == {path.name for path in DOCS.iterdir()}
    for page in TOPICS.values():
        assert f"(quantgpu/docs/{page})" in README, page


def test_every_page_begins_with_a_title_that_fits_into_a_line() -> None:
    for path in DOCS.iterdir():
        first = path.read_text().splitlines()[0]
        assert first.startswith("# "), path
        assert len(first) <= LONGEST_TITLE, path


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        assert (path.parent / name).exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", (path.parent / name).read_text(), re.MULTILINE)
            assert anchor in [title.lower().replace(" ", "-") for title in titles], target


def test_every_script_is_there_and_the_pictures_too() -> None:
    for script in set(re.findall(r"scripts/[\w./]*\w", TEXT)):
        assert (ROOT / script).exists(), script


def test_every_file_that_is_named_is_there() -> None:
    for name in set(re.findall(r"`((?:\w+/)*[a-z_]\w*\.(?:py|cu))`", TEXT)):
        folders = (PACKAGE, ROOT / "tests", ROOT / "scripts")
        assert (ROOT / name).is_file() or any([*folder.rglob(name)] for folder in folders), name


def test_the_reading_order_names_what_a_file_has() -> None:
    items = re.split(r"^\d+\. ", PAGES["reading-order"], flags=re.MULTILINE)[1:]
    assert len(items) == 14
    for item in items:
        file, *names = re.findall(r"`([\w/.]+)`", item.split("\n\n")[0])
        text = (PACKAGE / file).read_text()
        for name in names:
            if not name.endswith((".py", "/")):
                assert re.search(rf"\b{name}\b", text), f"{file}: {name}"


def test_contributing_names_what_is_in_the_code() -> None:
    code = "".join(path.read_text() for base in ("quantgpu", "tests") for path in python_in(base))
    for name in set(re.findall(r"`([A-Za-z]\w*)`", PAGES["CONTRIBUTING"])):
        assert re.search(rf"\b{name}\b", code), name


def python_in(base: str) -> Iterator[Path]:
    """All modules below a folder."""
    return (ROOT / base).rglob("*.py")


# The commands

INPUTS = {
    "README": "photo.jpg photos/1.jpg photos/2.jpg clip.mp4",
    "quantize": "photo.jpg face.png in.png",
    "gallery": "photo.png pico8.hex ball.png poster.png field.png mask.png button.png",
    "palettes": "photo.jpg other.jpg pico8.hex",
    "many-files": "photos/1.jpg photos/2.jpg frames/1.png frames/2.png",
    "video": "clip.mp4 frames/1.png frames/2.png",
    "histogram-files": "monday/1.jpg monday/2.jpg tuesday/1.jpg new.jpg",
    "python": "photo.jpg shared.gpl",
}
"""Page to what a reader has in a folder before the first command."""

PARSED = {
    "--scheduler": "starts workers, or needs some: tests/distributed",
    "--device gpu": "needs a GPU: tests/gpu",
    "quantgpu doctor": "takes its time to measure: tests/execution",
    "ffmpeg": "is another program: tests/cli/test_video.py",
    "import dask": "needs a store and a clip: tests/distributed",
}
"""Part of a command that is not run, but parsed, and why."""

ADDED = {"gallery": ["--force"]}
"""Page to what it tells the reader to add."""

SKIPPED = {"--skip-if-larger"}
"""Options with which a command may write nothing (exit code 8)."""

SIZE = 16, 24
"""Of the pictures."""


def commands() -> dict[str, Any]:
    """Name to command."""
    found: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    return found


def make(name: str) -> None:
    """A file of a name that readers have."""
    path, seed = Path(name), zlib.crc32(name.encode())
    path.parent.mkdir(exist_ok=True)
    colors = photo(*SIZE, seed=seed)
    if path.suffix == ".mp4":
        frames = [photo(*SIZE, seed=seed + number) for number in range(3)]
        video(path, frames, codec="mpeg4", pixels="yuv420p")
    elif path.suffix in PALETTE_FILES and path.suffix != ".png":
        write_palette(path, colors[0, :16])
    elif path.stem in ("face", "mask"):
        path.write_bytes(encoded(colors[..., 0], "PNG"))
    elif path.stem == "button":
        path.write_bytes(encoded(soft_photo(*SIZE), "PNG"))
    else:
        path.write_bytes(encoded(colors, "JPEG" if path.suffix == ".jpg" else "PNG"))


def examples(page: str) -> list[tuple[str, str]]:
    """Kind and text of each example on a page: a line of a shell, or a block of Python."""
    found = []
    for kind, block in re.findall(r"^```(\w+)\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE):
        if kind == "python":
            found.append((kind, block))
        else:
            joined = re.sub(r"(\\|(?<=\|))\n\s+", " ", block)
            lines = [re.sub(r"\s+# .*", "", line) for line in joined.splitlines()]
            found += [(kind, line) for line in lines if re.search("quantgpu |mkdir ", line)]
    return found


def words_of(line: str) -> list[str]:
    """The arguments of a command as a shell gives them: patterns become names, unless quoted."""
    lexer = shlex.shlex(line, posix=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    words = []
    for word in lexer:
        names = sorted(glob.glob(word)) if "*" in word else []
        words += names or [word.strip("'")]
    return words


def run(line: str, page: str) -> int:
    """The exit code of a command line."""
    if re.search("[<|]|^mkdir ", line):
        environment = {**os.environ, "PATH": f"{Path.cwd() / 'bin'}:{os.environ['PATH']}"}
        return subprocess.run(["sh", "-c", line], env=environment, check=False).returncode
    arguments = [*words_of(line)[1:], *ADDED.get(page, [])]
    result = CliRunner().invoke(cli.app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert not result.exit_code or SKIPPED & {*arguments}, f"{line}\n{result.output}"
    return 0 if result.exit_code == errors.SKIPPED else result.exit_code


def parse(line: str) -> None:
    """Raise unless a command exists and takes its arguments."""
    name, *arguments = words_of(line[line.index("quantgpu ") :])[1:]
    commands()[name].make_context(name, arguments)


def is_run(text: str) -> bool:
    """Whether an example is run, and not only parsed."""
    return not any(part in text for part in PARSED)


@pytest.fixture
def make_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What puts a page's inputs, and a command to call, into an empty working directory."""
    monkeypatch.chdir(tmp_path)
    Path("bin").mkdir()
    shim = Path("bin/quantgpu")
    module = f'PYTHONPATH={shlex.quote(str(ROOT))} exec {sys.executable} -m quantgpu "$@"'
    shim.write_text(f"#!/bin/sh\n{module}\n")
    shim.chmod(0o755)

    def made(page: str) -> None:
        for name in INPUTS.get(page, "").split():
            make(name)

    return made


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)])
def test_the_commands_of_a_page_run_one_after_the_other(
    page: str, make_inputs: Callable[[str], None]
) -> None:
    make_inputs(page)
    for kind, text in examples(page):
        if kind == "python":
            code = compile(text, f"{page}.md", "exec")
            if is_run(text):
                exec(code, {})
        elif is_run(text):
            assert run(text, page) == 0, text
        else:
            parse(text)


def test_every_reason_not_to_run_a_command_is_needed() -> None:
    told = [text for page in PAGES for _, text in examples(page)]
    for part in PARSED:
        assert any(part in text for text in told), part


def test_results_are_called_what_the_comments_say(make_inputs: Callable[[str], None]) -> None:
    make_inputs("README")
    for _, line in [example for example in examples("README") if example[0] == "sh"]:
        run(line, "README")
    made = {str(path) for path in Path().rglob("*") if path.is_file()}
    told = {"photo-256.png", "small.gif", "photo-eight.png", "photos/1-256.png", "clip.gif"}
    assert told <= made
    assert np.all([Path(name).stat().st_size for name in told])
