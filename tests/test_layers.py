"""Every module imports from lower layers only, lazily and for types too: no circles ever."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import quantgpu
from quantgpu import cluster

PACKAGE = Path(__file__).parent.parent / "quantgpu"

LAYERS = """
errors | progress | threads | version
arrays
kernels
color
palette | histogram
pixels
metrics
clustering
dithering
io
indexed
execution
options
pipeline
batch
video
distributed
api
cluster
demo | stages
doctor
cli
__main__ | __init__
"""
"""From the ground up; what stands on one line does not see each other."""

RANK = {
    n.strip(): i for i, line in enumerate(LAYERS.split("\n")) for n in line.split("|") if n.strip()
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py") if parts else "__init__"


def imported(path: Path) -> set[str]:
    """What a file imports from the package, inside functions and for types, too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        assert not getattr(node, "level", 0), f"{path}: imports are absolute"
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "quantgpu":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name.split(".", 1)[1] for name in names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_lead_down(path: Path) -> None:
    here = room(path.relative_to(PACKAGE).parts)
    for name in imported(path):
        there = name.split(".")[0]
        assert here == there or RANK[there] < RANK[here], f"{here} imports {name}"


def test_every_room_has_a_layer() -> None:
    assert {room(path.relative_to(PACKAGE).parts) for path in FILES} == set(RANK)


def test_no_module_is_in_a_circle() -> None:
    module = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in FILES}
    names = {*module.values()}

    def used(path: Path) -> set[str]:
        found = {name if name in names else name.rpartition(".")[0] for name in imported(path)}
        return (found & names) - {module[path]}

    TopologicalSorter({module[path]: used(path) for path in FILES}).prepare()  # names the circle


def test_no_name_is_defined_twice_in_a_folder() -> None:
    """But for what launches a kernel beside the array code of that name."""
    homes: dict[tuple[Path, str], list[str]] = {}
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            for name in defined(node):
                homes.setdefault((path.parent, name), []).append(path.name)
    assert not {
        f"{folder.relative_to(PACKAGE)}: {name}": files
        for (folder, name), files in homes.items()
        if len({file.replace("_gpu.py", ".py") for file in files}) > 1
    }


def defined(node: ast.stmt) -> set[str]:
    """What a statement defines for the whole module."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.AnnAssign):
        return {node.target.id} if isinstance(node.target, ast.Name) else set()
    targets = node.targets if isinstance(node, ast.Assign) else []
    names = {part.id for target in targets for part in ast.walk(target) if type(part) is ast.Name}
    return names - {"__all__"}


DOORS = {*quantgpu.__all__, *cluster.__all__}
"""Public functions spell their keywords; so do commands."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_functions_take_few_parameters_and_are_short(path: Path) -> None:
    name = path.relative_to(PACKAGE)
    if name.parts[0] == "cli":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name not in DOORS:
            given = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            count = len([part for part in given if part.arg not in ("self", "cls")])
            assert count <= 8, f"{name}: {node.name} takes {count} parameters"
            assert lines_of(node) <= LONGEST.get(node.name, 45), f"{name}: {node.name} is long"


LONGEST = {"diffuse": 55}
"""Lines of code of functions that are one thing each: the wave of error diffusion, whose parts
share all their arrays."""


def lines_of(function: ast.FunctionDef) -> int:
    """Lines of a function without its signature and its docstring."""
    body = function.body
    is_text = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    first = body[1] if is_text and len(body) > 1 else body[0]
    return (function.end_lineno or first.lineno) - first.lineno + 1


def test_the_doors_load_neither_the_command_line_nor_an_extra() -> None:
    code = (
        "import sys, quantgpu.api, quantgpu.batch.convert, quantgpu.video.convert\n"
        "print(*({'typer', 'rich', 'av', 'dask', 'distributed', 'cupy'} & {*sys.modules}))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""
