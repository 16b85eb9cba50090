"""Every module imports from lower layers only, lazily and for types too: no circles ever."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

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
