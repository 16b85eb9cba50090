"""From CUDA C++ to a library or program of this machine: g++ and a cache of what it made.

`cuda_on_cpu.h` gives g++ the words of CUDA. The modes see different mistakes:

- fiber: the threads of a block take turns, forward, reverse or in random order. Fast.
- race: fibers, every access checked against all others, also of blocks that never meet.
- asan: fibers under AddressSanitizer and UBSan; every array in an allocation of exactly its size.
- thread: every CUDA thread is a thread of the system.
- tsan: threads of the system under ThreadSanitizer.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = sorted([*HERE.glob("*.h"), *HERE.glob("*.cpp")])

BOUNDS = r"(?:__launch_bounds__\s*\(([^)]*)\)\s*)?"
KERNEL = re.compile(rf"__global__\s+{BOUNDS}void\s+{BOUNDS}(\w+)\s*\(")
ALIGNED = r"(?:(?:__align__|alignas)\s*\(\s*\d+\s*\)\s*)?"
DYNAMIC_SHARED = re.compile(
    rf"extern\s+__shared__\s+{ALIGNED}([\w:]+(?:\s+[\w:]+)*?)\s+{ALIGNED}(\w+)\s*\[\s*\]\s*;"
)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)

THREADS = ["-DCUDA_ON_CPU_THREADS", "-pthread"]


@dataclass(frozen=True)
class Mode:
    """How kernels are compiled and where they run."""

    flags: Sequence[str]
    """For the kernels."""
    runner_flags: Sequence[str]
    """For what runs them."""
    parts: Sequence[str] = ("block_runner.cpp",)
    program: bool = False
    """Whether a launch gets a process of its own: a sanitizer must be there from its start, and
    threads that wait for each other forever can be ended with it."""


PROGRAM = "block_runner.cpp", "runner.cpp"
MODES = {
    # -O3 is slower than -O2: 80 against 64 ms for 100 million distances, 4 points in registers.
    "fiber": Mode(["-O2"], ["-O2"]),
    "race": Mode(
        ["-O1", "-g", "-fsanitize=thread", "--param=tsan-distinguish-volatile=1"],
        ["-O2", "-DCUDA_ON_CPU_RACE"],
        ("block_runner.cpp", "race_check.cpp"),  # the latter in place of the sanitizer's library
    ),
    "asan": Mode(
        [
            "-O1",
            "-g",
            "-fsanitize=address,undefined,float-cast-overflow",
            "-fno-sanitize-recover=all",
            "-fsanitize-sections=cushared",
        ],
        ["-O1", "-fsanitize=address"],
        PROGRAM,
        program=True,
    ),
    "thread": Mode(["-O2", *THREADS], ["-O2", *THREADS], PROGRAM, program=True),
    "tsan": Mode(
        ["-O1", "-g", "-fsanitize=thread", *THREADS],
        ["-O1", "-fsanitize=thread", *THREADS],
        PROGRAM,
        program=True,
    ),
}

CONTRACTION = re.compile(r"--?fmad=(true|false)")
IGNORED = re.compile(
    r"--?std=c\+\+\d\d|--?restrict|-lineinfo|--generate-line-info|--?maxrregcount=\d+"
    r"|--extra-device-vectorization"
)
PASSED_ON = re.compile(r"-[DU]\w+(=.*)?")

KEPT = 14 * 24 * 3600
"""Seconds that a built kernel is kept after its last use."""

OLDEST = 750
"""The least __CUDA_ARCH__."""


COMMON = [
    "-std=c++20",
    "-fPIC",
    "-fvisibility=hidden",
    "-U_FORTIFY_SOURCE",  # it objects to longjmp between stacks
]


class CompileError(RuntimeError):
    """g++ refused the kernels, or NVRTC would refuse an option."""


def without_comments(code: str) -> str:
    """The code with comments blanked out; lines keep their numbers."""
    return COMMENT.sub(lambda match: "\n" * match.group().count("\n") or " ", code)


def kernels_in(code: str) -> dict[str, str]:
    """The kernels of a text and what each says about the most threads of a block."""
    found = KERNEL.findall(without_comments(code))
    return {name: (before or after or "1024").split(",")[0] for before, after, name in found}


def translate(code: str) -> str:
    """The text for g++: dynamic shared memory becomes a pointer, kernels are exported."""
    text = without_comments(code)
    text = DYNAMIC_SHARED.sub(r"\1* \2 = (\1*)::cuda_on_cpu::dynamic_shared_memory();", text)
    exports = (f"CUDA_ON_CPU_EXPORT({name}, ({most}))\n" for name, most in kernels_in(code).items())
    return f'#line 1 "kernel.cu"\n{text}\n{"".join(exports)}'


def flags_for(options: Sequence[str], mode: str, architecture: str) -> list[str]:
    """The options of g++ for NVRTC's `options`."""
    known = (IGNORED, CONTRACTION, PASSED_ON)
    for option in options:
        if not any(pattern.fullmatch(option) for pattern in known):
            raise CompileError(f"nvrtc: error: invalid value for option {option!r}")
    contracts = not any(re.fullmatch("--?fmad=false", option) for option in options)
    return [
        *COMMON,
        "-march=native",
        f"-ffp-contract={'fast' if contracts else 'off'}",
        "-ftrivial-auto-var-init=pattern",  # locals that nobody set are NaN and huge
        "-Wall",
        "-Wno-unknown-pragmas",
        "-Wno-unused",
        f"-D__CUDA_ARCH__={architecture}0",
        "-include",
        str(HERE / "cuda_on_cpu.h"),
        *MODES[mode].flags,
        *(option for option in options if PASSED_ON.fullmatch(option)),
    ]


@functools.cache
def compiler() -> tuple[str, str]:
    """The path of g++, and all that its code depends on: its version and this processor."""
    path = shutil.which("g++")
    if path is None:
        raise RuntimeError(
            "these tests run CUDA kernels on the CPU and need g++ 12 or newer; "
            "on Debian and Ubuntu: apt install g++"
        )
    return path, run([path, "-v"]).stderr + run(
        [path, "-march=native", "-Q", "--help=target"]
    ).stdout


def run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


def compile_or_fail(command: Sequence[str | Path]) -> None:
    """Run g++, whose complaint is the error's text."""
    done = run(command)
    if done.returncode:
        raise CompileError(f"g++ failed:\n{done.stderr}")


def cache_folder() -> Path:
    """Where built kernels are kept between runs, for this user alone."""
    folder = Path(tempfile.gettempdir()) / f"gpu_double-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise RuntimeError(f"{folder} belongs to somebody else")
    return folder


def forget_unused() -> None:
    """Remove what no test has used for long."""
    for path in cache_folder().iterdir():
        with contextlib.suppress(OSError):  # somebody else may have removed it
            if path.is_file() and time.time() - path.stat().st_mtime > KEPT:
                path.unlink()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let no other process and no other thread be in such a block with the same path."""
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cached(parts: Sequence[str], name: str, make: Callable[[Path], None]) -> Path:
    """The file that `make` makes of these parts, made unless it is known.

    It appears complete or not at all, and who needs it meanwhile waits for who makes it.
    """
    sources = (source.read_text() for source in SOURCES)
    key = hashlib.sha256("\0".join([compiler()[1], *parts, *sources]).encode()).hexdigest()[:32]
    result = cache_folder() / f"{key}-{name}"
    with locked(cache_folder() / f"{key}.lock"):
        if result.exists():
            os.utime(result)
        else:
            forget_unused()
            with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
                unfinished = Path(folder) / name
                make(unfinished)
                os.replace(unfinished, result)
    return result


@functools.cache
def build_part(part: str, mode: str) -> Path:
    """The object file of one of our own sources, which every kernel of a mode is linked with."""
    flags = [*COMMON, *MODES[mode].runner_flags, f"-D__CUDA_ARCH__={OLDEST}"]

    def make(result: Path) -> None:
        compile_or_fail([compiler()[0], *flags, "-c", HERE / part, "-o", result])

    return cached(flags, f"{mode}-{Path(part).stem}.o", make)


@functools.cache
def build(code: str, options: tuple[str, ...], mode: str, architecture: str = "86") -> Path:
    """The library or program of the kernels."""
    text = translate(code)
    flags = flags_for(options, mode, architecture)
    objects = [build_part(part, mode) for part in MODES[mode].parts]
    link = ["-rdynamic"] if MODES[mode].program else ["-shared", "-Wl,-Bsymbolic", "-Wl,-z,defs"]
    if mode != "race":
        link += [flag for flag in MODES[mode].flags if flag.startswith(("-fsanitize=", "-pthread"))]

    def make(result: Path) -> None:
        gxx, _ = compiler()
        source, compiled = result.parent / "kernel.cpp", result.parent / "kernel.o"
        source.write_text(text)
        compile_or_fail([gxx, *flags, "-c", source, "-o", compiled])
        compile_or_fail([gxx, *link, compiled, *objects, "-o", result, "-ldl"])

    return cached([text, *flags, *link, *map(str, objects)], mode, make)
