"""The stand-in offers nothing that the real CuPy lacks; that can be imported without a GPU."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

from gpu_double import Double, installed

DESCRIBE = """
import importlib, inspect, json, sys

def parameters(value):
    try:
        return list(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return (value.__doc__ or "").partition(chr(10))[0]

def look_up(path):
    value = importlib.import_module("cupy")
    for name in path.split(".")[1:]:
        value = getattr(value, name)
    return value

found = {}
for path in json.load(sys.stdin):
    try:
        value = look_up(path)
    except AttributeError:
        continue
    found[path] = parameters(value) if callable(value) else None
devices = [name for name in vars(look_up("cupy.cuda.runtime")) if name.startswith("cudaDevAttr")]
json.dump({"found": found, "attributes": devices}, sys.stdout)
"""

INSTANCE_ATTRIBUTES = {"cupy.cuda.Stream.ptr"}
"""What CuPy sets in `__init__`, so that the class does not show it."""

REFUSING = {"cupy.cuda.PinnedMemoryPointer.__len__", "cupy.cuda.PinnedMemoryPointer.__getitem__"}
"""What the stand-in has only to refuse it."""

CLASSES = (
    "ndarray",
    "ufunc",
    "RawModule",
    "RawKernel",
    "cuda.Device",
    "cuda.Event",
    "cuda.Stream",
    "cuda.MemoryPointer",
    "cuda.MemoryPool",
    "cuda.PinnedMemoryPool",
    "cuda.PinnedMemoryPointer",
    "cuda.runtime.PointerAttributes",
)


class Plain:
    """A class with nothing but what all classes have, some of them once they were pickled."""

    x: int = 0
    __slotnames__: tuple[str, ...] = ()


def public(names: Any) -> Iterator[str]:
    """Names that do not begin with an underscore."""
    return (name for name in names if not name.startswith("_"))


def offered(cupy: Double) -> dict[str, Any]:
    """Everything that the stand-in offers, by its path."""

    def members(module: ModuleType) -> Iterator[tuple[str, Any]]:
        for name in public(vars(module)):
            value = getattr(module, name)
            yield f"{module.__name__}.{name}", value
            if isinstance(value, ModuleType) and value.__name__.startswith("cupy"):
                yield from members(value)

    result = dict(members(cupy.cupy))
    for path in CLASSES:
        cls = result[f"cupy.{path}"]
        for name in public(dir(cls)):
            result[f"cupy.{path}.{name}"] = inspect.getattr_static(cls, name)
        operators = (n for n in dir(cls) if n.startswith("__") and n not in dir(Plain))
        for name in operators:
            result[f"cupy.{path}.{name}"] = None
    return result


@pytest.fixture(scope="module")
def real() -> dict[str, Any]:
    """What the installed CuPy says about the same paths."""
    if find_spec("cupy") is None:
        pytest.skip("CuPy is not installed")
    with installed() as cupy:
        paths = list(offered(cupy))
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE], input=json.dumps(paths), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_every_name_exists(real: dict[str, Any]) -> None:
    with installed() as cupy:
        missing = set(offered(cupy)) - set(real["found"])
    assert missing == INSTANCE_ATTRIBUTES | REFUSING


def test_device_attributes_exist(real: dict[str, Any]) -> None:
    with installed() as cupy:
        names = {f"cudaDevAttr{name}" for name in cupy.cuda.Device().attributes}
    assert names <= set(real["attributes"])


def parameters_of(described: list[str] | str) -> list[str] | None:
    """Parameter names from a signature, or from the first line of a docstring; None if unknown."""
    if isinstance(described, list):
        return described
    match = re.search(r"\((.*)\)", described)
    if match is None:
        return None
    parts = [part.split("=")[0].split(":")[0].split() for part in match.group(1).split(",")]
    return [part[-1].lstrip("\\*") for part in parts if part]


def test_parameters_have_the_same_names_in_the_same_order(real: dict[str, Any]) -> None:
    compared, different = 0, {}
    with installed() as cupy:
        for path, value in offered(cupy).items():
            theirs = parameters_of(real["found"].get(path) or "")
            if not callable(value) or not theirs or "args" in theirs:
                continue
            ours = [name for name in parameters(value) if name != "self"]
            compared += 1
            if [name for name in theirs if name in ours] != ours:
                different[path] = ours, theirs
    assert different == {}
    assert compared > 150


def parameters(value: Any) -> list[str]:
    """Names of parameters; none for what takes any."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return []
    return [name for name, p in signature.parameters.items() if p.kind not in kinds]


WITHOUT_DRIVER = """
cupy.is_available()
cupy.cuda.is_available()
cupy.cuda.runtime.getDeviceCount()
cupy.cuda.runtime.driverGetVersion()
cupy.cuda.runtime.runtimeGetVersion()
cupy.cuda.runtime.getDevice()
cupy.cuda.runtime.memGetInfo()
cupy.cuda.runtime.getDeviceProperties(0)
cupy.cuda.runtime.pointerGetAttributes(0)
cupy.cuda.Device()
cupy.cuda.Device(0)
cupy.cuda.Device(0).attributes
cupy.cuda.Device(0).compute_capability
cupy.cuda.Device(0).mem_info
cupy.cuda.Device(0).synchronize()
cupy.cuda.Stream.null
cupy.cuda.get_current_stream()
cupy.cuda.Event()
cupy.cuda.alloc_pinned_memory(10)
cupy.get_default_memory_pool().used_bytes()
cupy.get_default_memory_pool().free_all_blocks()
cupy.get_default_pinned_memory_pool().free_all_blocks()
cupy.empty(3)
cupy.zeros(0)
cupy.asarray([1, 2])
cupy.asnumpy([1, 2])
cupy.get_array_module(3).__name__
cupy.float32(3)
cupy.RawModule(code="x").options
cupy.RawModule(code="x", options=["a"])
cupy.RawModule(code="x").get_function("f")
cupy.RawKernel("x", "f").name
cupy.RawKernel("x", "f")((1,), (1,), ())
""".strip().splitlines()

OUTCOMES = """
import json, sys, warnings

def outcome(expression):
    try:
        return repr(eval(expression))
    except Exception as error:
        return f"{type(error).__name__}: {error}"

import cupy
json.dump([outcome(line) for line in json.load(sys.stdin)], sys.stdout)
"""


def test_a_machine_without_a_driver_fails_in_the_same_places() -> None:
    if find_spec("cupy") is None:
        pytest.skip("CuPy is not installed")
    done = subprocess.run(
        [sys.executable, "-c", OUTCOMES],
        input=json.dumps(WITHOUT_DRIVER),
        capture_output=True,
        text=True,
    )
    theirs = dict(zip(WITHOUT_DRIVER, json.loads(done.stdout), strict=True))
    if theirs["cupy.cuda.runtime.driverGetVersion()"] != "0":
        pytest.skip("this machine has a driver")
    with installed(driver=False) as cupy:
        ours = {line: outcome(line, cupy) for line in WITHOUT_DRIVER}
    del theirs["cupy.cuda.runtime.runtimeGetVersion()"]
    del ours["cupy.cuda.runtime.runtimeGetVersion()"]
    assert ours == theirs


def outcome(expression: str, cupy: Double) -> str:
    """The value or the error of an expression."""
    try:
        return repr(eval(expression, {"cupy": cupy.cupy}))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
