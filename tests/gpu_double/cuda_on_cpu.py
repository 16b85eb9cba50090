"""CUDA C++ compiled by g++: `.cu` text in, launches on NumPy arrays out.

`cuda_on_cpu.h` gives g++ the words of CUDA. Kernels are ``extern "C" __global__ void NAME(...)``.
Four modes see different mistakes:

- fiber: the threads of a block take turns, forward, reverse or in random order. Fast.
- thread: every CUDA thread is a thread of the system.
- asan: fibers under AddressSanitizer and UBSan; every array in an allocation of exactly its size.
- tsan: threads under ThreadSanitizer.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
HEADER = HERE / "cuda_on_cpu.h"
RUNNER = HERE / "runner.inc"

KERNEL = re.compile(
    r"__global__\s+void\s+(?:__launch_bounds__\s*\(([^)]*)\)\s*)?(\w+)\s*\(", re.MULTILINE
)
DYNAMIC_SHARED = re.compile(r"extern\s+__shared__\s+([\w:]+(?:\s+[\w:]+)*?)\s+(\w+)\s*\[\s*\]\s*;")

ORDERS = {"forward": 0, "reverse": 1, "random": 2}
MODES = {
    "fiber": ["-O3"],
    "thread": ["-O3", "-DCUDA_ON_CPU_THREADS", "-pthread"],
    "asan": [
        "-O1",
        "-g",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-fsanitize-sections=cushared",
    ],
    "tsan": ["-O1", "-g", "-fsanitize=thread", "-DCUDA_ON_CPU_THREADS", "-pthread"],
}
SANITIZERS = ("asan", "tsan")

STANDARD = re.compile(r"--?std=c\+\+\d\d")
CONTRACTION = re.compile(r"--?fmad=(true|false)")
IGNORED = re.compile(
    r"--?std=c\+\+\d\d|--?fmad=(true|false)|--restrict|-restrict|-lineinfo|--generate-line-info"
    r"|--maxrregcount=\d+|-maxrregcount=\d+|--extra-device-vectorization"
)
PASSED_ON = re.compile(r"-[DU]\w+(=.*)?")

TIMEOUT = 300
"""Seconds that one launch under a sanitizer may take."""


class CompileError(RuntimeError):
    """g++ refused the kernels."""


class KernelError(RuntimeError):
    """A kernel did something that it must not do on a GPU either."""


@dataclass(frozen=True)
class Source:
    """CUDA C++ in the form that g++ takes, and what it offers."""

    text: str
    bounds: dict[str, int]
    """The most threads of a block, by kernel."""


def translate(code: str) -> Source:
    """The text for g++: dynamic shared memory is a pointer, kernels are exported."""
    shared = DYNAMIC_SHARED.sub(r"\1* \2 = (\1*)::cuda_on_cpu::dyn_smem();", code)
    bounds = {}
    for match in KERNEL.finditer(shared):
        most, name = match.groups()
        bounds[name] = int(most.split(",")[0]) if most else 1024
    exports = "".join(f"CUDA_ON_CPU_EXPORT({name})\n" for name in bounds)
    return Source(f'#line 1 "kernel.cu"\n{shared}\n{exports}', bounds)


def flags_for(options: Sequence[str], mode: str, architecture: str) -> list[str]:
    """The options of g++ for NVRTC's `options`; those that NVRTC would refuse are an error."""
    unknown = [o for o in options if not (IGNORED.fullmatch(o) or PASSED_ON.fullmatch(o))]
    if unknown:
        raise CompileError(f"nvrtc: error: unrecognized option {unknown[0]}")
    contraction = "off" if any(re.fullmatch("--?fmad=false", o) for o in options) else "fast"
    return [
        "-std=c++20",
        "-xc++",
        "-U_FORTIFY_SOURCE",
        f"-D__CUDA_ARCH__={architecture}0",
        "-include",
        str(HEADER),
        "-march=native",
        f"-ffp-contract={contraction}",
        "-Wall",
        "-Wno-unknown-pragmas",
        "-Wno-unused",
        *MODES[mode],
        *(o for o in options if PASSED_ON.fullmatch(o)),
    ]


@functools.cache
def compiler() -> tuple[str, str]:
    """The path of g++ and its version."""
    path = shutil.which("g++")
    if path is None:
        raise RuntimeError(
            "the tests run CUDA kernels on the CPU and need g++ 12 or newer: "
            "install it (Debian, Ubuntu: apt install g++)"
        )
    version = subprocess.run([path, "-v"], capture_output=True, text=True, check=True).stderr
    return path, version


def cache_folder() -> Path:
    """Where built kernels are kept between runs, for this user alone."""
    folder = Path(tempfile.gettempdir()) / f"gpu_double-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def build(code: str, options: Sequence[str], mode: str, architecture: str = "86") -> Path:
    """The library (for a sanitizer: the program) of the kernels, compiled unless it is known.

    It appears complete or not at all, so any number of processes may build at once.
    """
    gxx, version = compiler()
    program = mode in SANITIZERS
    text = translate(code).text + (f'\n#include "{RUNNER}"\n' if program else "")
    flags = flags_for(options, mode, architecture)
    parts = [version, text, *flags, HEADER.read_text(), RUNNER.read_text()]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    built = cache_folder() / f"{key}.{mode}"
    if not built.exists():
        link = ["-ldl", "-rdynamic"] if program else ["-fPIC", "-shared", "-fvisibility=hidden"]
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            source, result = Path(folder) / "kernel.cpp", Path(folder) / "built"
            source.write_text(text)
            command = [gxx, *flags, *link, str(source), "-o", str(result)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise CompileError(f"g++ failed:\n{done.stderr}")
            os.replace(result, built)
    return built


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


Argument = NDArray[Any] | bytes
"""Memory, C-contiguous, that the kernel may change, or the bytes of a value."""


@dataclass(frozen=True)
class Module:
    """Kernels compiled from one text."""

    code: str
    options: tuple[str, ...] = ()
    architecture: str = "86"

    @functools.cached_property
    def bounds(self) -> dict[str, int]:
        """The most threads of a block, by kernel."""
        return translate(self.code).bounds

    def library(self, mode: str) -> ctypes.CDLL:
        """The kernels, loaded into this process."""
        return load(build(self.code, self.options, mode, self.architecture))

    @functools.cached_property
    def signatures(self) -> dict[str, list[str]]:
        """The parameters of each kernel, like ``pv16c`` (const, 16-byte elements) or ``i4``."""
        library = self.library("fiber")
        texts = {}
        for name in self.bounds:
            describe = getattr(library, f"cuda_on_cpu_sig_{name}")
            describe.restype = ctypes.c_char_p
            texts[name] = describe().decode().split()
        return texts

    def launch(
        self, name: str, geometry: Geometry, arguments: Sequence[Argument], schedule: Schedule
    ) -> None:
        """Run a kernel to its end; arrays change in place."""
        run = launch_in_child if schedule.mode in SANITIZERS else launch_here
        run(self, name, geometry, arguments, schedule)


@functools.cache
def load(path: Path) -> ctypes.CDLL:
    """A library, loaded once."""
    return ctypes.CDLL(str(path))


def launch_here(
    module: Module,
    name: str,
    geometry: Geometry,
    arguments: Sequence[Argument],
    schedule: Schedule,
) -> None:
    """Run in this process."""
    cells = [
        np.frombuffer(
            a if isinstance(a, bytes) else np.uint64(a.ctypes.data).tobytes(), np.uint8
        ).copy()
        for a in arguments
    ]
    pointers = (ctypes.c_void_p * max(1, len(cells)))(*(cell.ctypes.data for cell in cells))
    message = ctypes.create_string_buffer(2000)
    code = getattr(module.library(schedule.mode), f"cuda_on_cpu_launch_{name}")(
        pointers,
        (ctypes.c_uint * 3)(*geometry.grid),
        (ctypes.c_uint * 3)(*geometry.block),
        ctypes.c_size_t(geometry.shared),
        ORDERS[schedule.order],
        ctypes.c_uint64(schedule.seed),
        message,
        ctypes.c_size_t(len(message)),
    )
    if code:
        raise KernelError(f"{name}: {message.value.decode()}")


def launch_in_child(
    module: Module,
    name: str,
    geometry: Geometry,
    arguments: Sequence[Argument],
    schedule: Schedule,
) -> None:
    """Run in a process of its own under a sanitizer; arrays travel through files."""
    program = build(module.code, module.options, schedule.mode, module.architecture)
    with tempfile.TemporaryDirectory() as folder:
        numbers = [*geometry.grid, *geometry.block, geometry.shared, ORDERS[schedule.order]]
        lines = [" ".join(map(str, [name, *numbers, schedule.seed, len(arguments)]))]
        owners: dict[tuple[int, int], int] = {}
        for position, argument in enumerate(arguments):
            if isinstance(argument, bytes):
                lines.append("s " + argument.hex())
                continue
            key = argument.ctypes.data, argument.nbytes
            owner = owners.setdefault(key, position)
            if owner == position:
                argument.tofile(f"{folder}/{position}.bin")
            lines.append(f"a {owner} {argument.nbytes}")
        Path(folder, "job").write_text("\n".join(lines) + "\n")
        run_sanitized(program, folder, f"{name} ({schedule.mode})")
        for position in owners.values():
            changed = arguments[position]
            assert not isinstance(changed, bytes)
            if changed.flags.writeable:
                changed.reshape(-1)[:] = np.fromfile(f"{folder}/{position}.bin", changed.dtype)


def run_sanitized(program: Path, folder: str, what: str) -> None:
    """Run the program over the folder; what a sanitizer reports is the error's text."""
    environment = {
        **os.environ,
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "TSAN_OPTIONS": "exitcode=66",
    }
    command = ["setarch", "-R", str(program), folder]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise KernelError(f"{what}: no end after {TIMEOUT} s; a barrier never filled") from None
    if done.returncode:
        raise KernelError(f"{what}, exit {done.returncode}:\n{done.stderr[:6000]}")
