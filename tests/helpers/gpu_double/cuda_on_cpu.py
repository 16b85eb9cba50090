"""Launches of CUDA kernels on NumPy arrays."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_double.building import MODES, build, kernels_in, run

ORDERS = {"forward": 0, "reverse": 1, "random": 2, "beside": 3}

TIMEOUT = 120
"""Seconds that a launch in a process of its own may take."""

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
    "TSAN_OPTIONS": "exitcode=66",
}


ONE_LAUNCH = threading.Lock()
"""The fibers of a library serve one launch at a time."""


class KernelError(RuntimeError):
    """A kernel did something that it must not do on a GPU either."""


@dataclass(frozen=True)
class Geometry:
    """What a launch says beside the arguments."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int = 0
    """Bytes of dynamic shared memory."""


@dataclass(frozen=True)
class Schedule:
    """How a launch is executed."""

    mode: str = "fiber"
    order: str = "forward"
    seed: int = 1

    def __post_init__(self) -> None:
        if self.mode not in MODES or self.order not in ORDERS:
            raise ValueError(f"{self}: modes are {[*MODES]}, orders are {[*ORDERS]}")


Argument = NDArray[Any] | bytes
"""Memory, C-contiguous, that the kernel may change, or the bytes of a value."""


@dataclass(frozen=True)
class Module:
    """Kernels compiled from one text."""

    code: str
    options: tuple[str, ...] = ()
    architecture: str = "86"

    @functools.cached_property
    def kernels(self) -> frozenset[str]:
        """Their names."""
        return frozenset(kernels_in(self.code))

    @functools.cached_property
    def bounds(self) -> dict[str, int]:
        """The most threads of a block, by kernel."""
        library = load(self.built("fiber"))
        return {name: getattr(library, f"cuda_on_cpu_bound_{name}")() for name in self.kernels}

    @functools.cached_property
    def static_shared(self) -> int:
        """Bytes of shared memory that a kernel declares; known if it is the only one."""
        if len(self.kernels) > 1:
            return 0
        measure = load(self.built("fiber")).cuda_on_cpu_static_shared
        measure.restype = ctypes.c_size_t
        return int(measure())

    def built(self, mode: str) -> Path:
        """The library or program of the kernels."""
        return build(self.code, self.options, mode, self.architecture)

    @functools.cached_property
    def signatures(self) -> dict[str, list[str]]:
        """The parameters of each kernel, like ``pv16c`` (const, 16-byte elements) or ``i4``."""
        library = load(self.built("fiber"))
        texts = {}
        for name in self.kernels:
            describe = getattr(library, f"cuda_on_cpu_signature_{name}")
            describe.restype = ctypes.c_char_p
            texts[name] = describe().decode().split()
        return texts

    def launch(
        self, name: str, geometry: Geometry, arguments: Sequence[Argument], schedule: Schedule
    ) -> None:
        """Run a kernel to its end; arrays change in place."""
        start = launch_in_child if MODES[schedule.mode].program else launch_here
        start(self.built(schedule.mode), name, geometry, arguments, schedule)


@functools.cache
def load(path: Path) -> ctypes.CDLL:
    """A library, loaded once."""
    return ctypes.CDLL(str(path))


def launch_here(
    path: Path,
    name: str,
    geometry: Geometry,
    arguments: Sequence[Argument],
    schedule: Schedule,
) -> None:
    """Run in this process."""
    library = load(path)
    cells = [
        ctypes.create_string_buffer(
            a if isinstance(a, bytes) else np.uint64(a.ctypes.data).tobytes()
        )
        for a in arguments
    ]
    message = ctypes.create_string_buffer(2000)
    with ONE_LAUNCH:
        if schedule.mode == "race":
            watch(library, arguments)
        failed = getattr(library, f"cuda_on_cpu_launch_{name}")(
            (ctypes.c_void_p * max(1, len(cells)))(*map(ctypes.addressof, cells)),
            (ctypes.c_uint * 3)(*geometry.grid),
            (ctypes.c_uint * 3)(*geometry.block),
            ctypes.c_size_t(geometry.shared),
            ORDERS[schedule.order],
            ctypes.c_uint64(schedule.seed),
            message,
            ctypes.c_size_t(len(message)),
        )
    if failed:
        raise KernelError(f"{name}: {with_lines(message.value.decode(), path)}")


def watch(library: ctypes.CDLL, arguments: Sequence[Argument]) -> None:
    """Check the accesses to these arrays, and forget those of earlier launches."""
    library.cuda_on_cpu_forget()
    for argument in arguments:
        if not isinstance(argument, bytes):
            memory = ctypes.c_void_p(argument.ctypes.data)
            library.cuda_on_cpu_watch(memory, ctypes.c_size_t(argument.nbytes))


def with_lines(message: str, path: Path) -> str:
    """The message with places in the library (``@hex@``) as lines of the text."""

    def line(match: re.Match[str]) -> str:
        place = hex(int(match.group(1), 16) - 1)
        frames = run(["addr2line", "-i", "-e", path, place]).stdout
        found = re.search(r"kernel\.cu:\d+", frames)
        return found.group() if found else match.group()

    return re.sub("@([0-9a-f]+)@", line, message)


def launch_in_child(
    path: Path,
    name: str,
    geometry: Geometry,
    arguments: Sequence[Argument],
    schedule: Schedule,
) -> None:
    """Run in a process of its own; arrays travel through files."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = [*geometry.grid, *geometry.block, geometry.shared, ORDERS[schedule.order]]
        lines = [" ".join(map(str, [name, *numbers, schedule.seed, len(arguments)]))]
        owners: dict[tuple[int, int], int] = {}
        for position, argument in enumerate(arguments):
            if isinstance(argument, bytes):
                lines.append("s " + argument.hex())
                continue
            check_overlap(argument, arguments)
            owner = owners.setdefault((argument.ctypes.data, argument.nbytes), position)
            if owner == position:
                argument.tofile(f"{folder}/{position}.bin")
            lines.append(f"a {owner} {argument.nbytes}")
        Path(folder, "job").write_text("\n".join(lines) + "\n")
        run_sanitized(path, folder, f"{name} ({schedule.mode})")
        for position in owners.values():
            read_back(arguments[position], f"{folder}/{position}.bin")


def check_overlap(array: NDArray[Any], arguments: Sequence[Argument]) -> None:
    """Arrays that overlap would become separate ones on the way."""
    for other in arguments:
        if isinstance(other, bytes) or other.ctypes.data == array.ctypes.data:
            continue
        if np.may_share_memory(array, other):
            raise ValueError("arrays that overlap cannot travel to a process of its own")


def read_back(array: Argument, path: str) -> None:
    """Fill the array with what the kernel made of it."""
    assert not isinstance(array, bytes)
    if array.flags.writeable:
        array.reshape(-1)[:] = np.fromfile(path, array.dtype)


def run_sanitized(program: Path, folder: str, what: str) -> None:
    """Run the program over the folder; what a sanitizer reports is the error's text.

    ThreadSanitizer wants addresses that are not randomized.
    """
    command = ["setarch", "-R", str(program), folder]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | SANITIZERS, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise KernelError(f"{what}: no end after {TIMEOUT} s; a barrier never filled") from None
    if done.returncode:
        raise KernelError(f"{what}, exit {done.returncode}:\n{done.stderr[:6000]}")
