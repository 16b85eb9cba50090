"""The calls of CuPy that a run makes, written down in order on the stand-in."""

from __future__ import annotations

import gc
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from prediction.cards import ELEMENTWISE, HOST_COPY, HOST_US, LAUNCH, VIEW
from prediction.needs import KERNELS, Facts, Need, array_need

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "quantgpu"


class Work(NamedTuple):
    """A launch."""

    name: str
    own: bool
    """Whether the kernel is ours."""
    stream: int
    need: Need


class Copy(NamedTuple):
    """Bytes across the bus."""

    direction: str
    stream: int
    nbytes: int


class Mark(NamedTuple):
    """An event is recorded in a stream."""

    event: int
    stream: int


class Order(NamedTuple):
    """A stream goes on after an event."""

    event: int
    stream: int


class Wait(NamedTuple):
    """The host goes on after an event, or after everything in a stream."""

    event: int | None
    stream: int = 0


Deed = Work | Copy | Mark | Order | Wait


class Call(NamedTuple):
    """A call of CuPy, or of another function that is watched, from the package."""

    name: str
    where: str
    """``file:line``."""
    stage: str
    python: float
    """Seconds of the package's own Python and NumPy since the last call."""
    deeds: list[Deed]
    host_bytes: int = 0
    """Copied from host memory to host memory."""

    @property
    def cupy(self) -> float:
        """Seconds of the host inside the call, without copying and waiting."""
        works = [deed for deed in self.deeds if isinstance(deed, Work)]
        default = LAUNCH if any(w.own for w in works) else ELEMENTWISE if works else VIEW
        return HOST_US.get(self.name, default) * 1e-6

    @property
    def copying(self) -> float:
        """Seconds of copying from host memory to host memory."""
        return self.host_bytes / HOST_COPY


STAGES = {
    "upload": "upload",
    "occurring": "compact",
    "count_colors": "count",
    "running_sums": "octree",
    "octree": "octree",
    "leaves": "octree",
    "find_centers": "search",
    "settle": "settle",
    "map": "remap",
    "no_dither": "remap",
    "diffused": "remap",
    "cluster": "points",
    "work": "report",
}
"""Function to the stage of what it, or what it calls, does."""

EVERY_STAGE = [*dict.fromkeys(STAGES.values()), "download", "other"]

HELPERS = {"kernels/launch.py", "arrays/device.py", "arrays/namespace.py", "threads.py"}
"""Files that are no places of their own: their callers are."""

SILENT = {"__new__", "__len__", "__hash__", "__getattr__", "__repr__", "__iter__", "compile"}
"""Methods that cost next to nothing, or that only the first picture needs."""


class Recorder:
    """Writes down the calls of a run on the stand-in."""

    def __init__(self, double: Any) -> None:
        self.calls: list[Call] = []
        self.entries: list[Any] = []
        self.kept: list[Any] = []
        self.on = False
        self.inside = False
        self.last = 0.0
        self.double = double
        for name in ("launches", "transfers", "synchronizations"):
            setattr(double.log, name, Tape(self.entries))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record a run from its start, without collecting garbage."""
        self.calls = []
        self.double.log.reset()
        gc.collect()
        gc.disable()
        self.on, self.last = True, time.perf_counter()
        try:
            yield
        finally:
            self.on = False
            self.kept.clear()
            gc.enable()

    def watch(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose calls are written down."""

        def call(*args: Any, **options: Any) -> Any:
            if self.inside or not self.on:
                return function(*args, **options)
            python = time.perf_counter() - self.last
            self.inside = True
            self.entries.clear()
            frame = sys._getframe(1)
            try:
                result = function(*args, **options)
                self.note(name, frame, python, args, result)
            finally:
                self.inside = False
                self.last = time.perf_counter()
            return result

        return call

    def ignore(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time, and that of the interpreter calling it, counts for nothing."""

        def call(*args: Any) -> None:
            self.kept.append(args)
            function(*args)
            for block in args:
                if hasattr(block, "raw"):  # what is kept is to take no memory
                    block.raw = np.empty(0, np.uint8)
            if not self.inside:
                self.last = time.perf_counter()

        return call

    def note(
        self, name: str, frame: FrameType, python: float, args: tuple[Any, ...], result: Any
    ) -> None:
        """Write a call down."""
        where, stage = place(frame)
        deeds = [self.deed(entry, name, args) for entry in self.entries]
        if name == "Stream.record":
            self.kept.append(result)
            deeds = [Mark(id(result), args[0].ptr)]
        elif name == "Stream.wait_event":
            deeds = [Order(id(args[1]), args[0].ptr)]
        elif name == "Event.synchronize":
            deeds = [Wait(id(args[0]))]
        if stage == "remap" and any(isinstance(d, Copy | Wait) for d in deeds):
            stage = "download"
        copied = args[-1].nbytes if name == "host copy" else 0
        if name == "RawKernel.__call__":
            name = args[0].name
        self.calls.append(Call(name, where, stage, python, deeds, copied))

    def deed(self, entry: Any, name: str, args: tuple[Any, ...]) -> Deed:
        """What an entry of the log means."""
        kind = type(entry).__name__
        if kind == "Transfer":
            return Copy(entry.direction, entry.stream, entry.nbytes)
        if kind == "Synchronization":
            before = [e.stream for e in self.entries if hasattr(e, "stream")]
            return Wait(None, args[0].ptr if name == "Stream.synchronize" else (before or [0])[-1])
        if entry.kind == "kernel":
            facts, formula = facts_of(args[0], args[3]), KERNELS.get(entry.name)
            need = formula(facts) if formula else Need(entry.bytes_read + entry.bytes_written)
            return Work(entry.name, True, entry.stream, need)
        first = args[0][0] if isinstance(args[0], list | tuple) and args[0] else args[0]
        itemsize = getattr(first, "itemsize", 8)
        need = array_need(entry.name, entry.bytes_read, entry.bytes_written, itemsize)
        return Work(entry.name, False, entry.stream, need)


class Tape(list[Any]):
    """A part of the stand-in's log that also writes to a list of all in order."""

    def __init__(self, entries: list[Any]) -> None:
        super().__init__()
        self.entries = entries

    def append(self, entry: Any) -> None:
        """Note an entry twice."""
        super().append(entry)
        self.entries.append(entry)


def place(frame: FrameType | None) -> tuple[str, str]:
    """``file:line`` in the package of whoever calls from `frame`, and the stage."""
    where, stage = "", "other"
    while frame is not None:
        path, name = Path(frame.f_code.co_filename), frame.f_code.co_name
        if PACKAGE in path.parents:
            file = path.relative_to(PACKAGE).as_posix()
            if not where or where in HELPERS:
                where = file if file in HELPERS else f"{file}:{frame.f_lineno}"
            if name in STAGES:
                stage = STAGES[name]
                break
        frame = frame.f_back
    return where or "outside", stage


def facts_of(kernel: Any, args: tuple[Any, ...]) -> Facts:
    """The arguments of a launch by name."""

    def kept(condition: re.Match[str]) -> str:
        wanted = any(option.startswith(f"-D{condition[1]}=") for option in kernel.options)
        return condition[2] if wanted else ""

    code = re.sub(r"#ifdef (\w+)\n(.*?)#endif\n", kept, kernel.code, flags=re.DOTALL)
    found = re.search(rf"__global__[^{{]*?\b{kernel.name}\(([^)]*)\)", code)
    assert found
    names = [parameter.split()[-1].lstrip("*") for parameter in found[1].split(",")]
    numbers, arrays = {}, {}
    for name, value in zip(names, args, strict=True):
        values = getattr(value, "_values", value)
        if isinstance(values, np.ndarray):
            arrays[name] = values
        if values is not None and values.size == 1 and values.dtype.kind in "iu":
            numbers[name] = int(values.reshape(-1)[0] if values.ndim else values)
    return Facts(numbers, arrays, kernel.options)


@contextmanager
def watched(double: Any) -> Iterator[Recorder]:
    """Write down what is called of the stand-in."""
    from gpu_double import memory

    from quantgpu.pixels.gpu import GpuPixels
    from quantgpu.video.gpu_stream import Slot

    recorder = Recorder(double)
    cupy, cuda = double.cupy, double.cupy.cuda
    with ExitStack() as stack:
        for module in (cupy, cuda, cuda.runtime):
            for name, value in list(vars(module).items()):
                if isinstance(value, FunctionType):
                    stack.enter_context(patch.object(module, name, recorder.watch(name, value)))
        for kind in (cupy.ndarray, cupy.ufunc, cupy.RawKernel, cuda.Stream, cuda.Event):
            short = "" if kind in (cupy.ndarray, cupy.ufunc) else f"{kind.__name__}."
            for name, value in list(vars(kind).items()):
                hidden = name in SILENT or (name[0] == "_" and name[1] != "_")
                if isinstance(value, FunctionType) and not hidden and short + name != "__init__":
                    watching = recorder.watch(short + name, value)
                    stack.enter_context(patch.object(kind, name, watching))
        for name in ("release", "release_pinned"):
            watching = recorder.ignore(getattr(memory, name))
            stack.enter_context(patch.object(memory, name, watching))
        for kind, name in ((GpuPixels, "stage"), (Slot, "fill")):
            watching = recorder.watch("host copy", getattr(kind, name))
            stack.enter_context(patch.object(kind, name, watching))
        yield recorder
