"""Every kernel compiles for every architecture and stays within its registers and shared memory.

NVRTC needs neither GPU nor driver. It runs in processes of its own (this file, as a program),
because other tests put a stand-in in CuPy's place.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from kernel_device import diffusion

from quantgpu.clustering import kmeans_gpu, octree_gpu, split_merge_gpu
from quantgpu.clustering.kmeans import relaxations
from quantgpu.clustering.octree import running_sums
from quantgpu.clustering.points import weighted_points
from quantgpu.dithering import diffusion_gpu, error_diffusion_gpu, lookup_gpu, ordered_gpu
from quantgpu.dithering.diffusion import no_errors
from quantgpu.dithering.diffusion_matrices import DIFFUSION_MATRICES
from quantgpu.dithering.nearest_grid import ColorGrid, NearestGrid
from quantgpu.kernels import launch as launch_module
from quantgpu.palette import MOST_COLORS
from quantgpu.pixels import counting_gpu

FOLDER = Path(launch_module.__file__).parent
ARCHITECTURES = ["75", "80", "86", "89", "90", "100", "120"]

ADDED_BY_CUPY = "-ftz=true", "--device-as-default-execution-space", "--ptxas-options=-v"
"""What CuPy adds to the options of a RawModule (cupy/cuda/compiler.py), and what makes the
assembler report."""

SHARED = 48 << 10
"""Bytes of shared memory that a block gets without asking for more."""


class Budget(NamedTuple):
    """What a kernel may use; a change that needs more has to say so here."""

    registers: int
    """64 leave room for 1024 threads on a multiprocessor, all that sm_75 can hold."""
    threads: int = 256
    shared: int = 0
    """Bytes of static shared memory: exactly."""
    dynamic: int = 0
    """Bytes of dynamic shared memory, at most."""


MANY = Budget(64, threads=128, shared=4096, dynamic=launch_module.SHARED_BYTES)

BUDGETS = {
    ("accumulate", "-DAXES=3"): Budget(56, dynamic=launch_module.SHARED_BYTES),
    ("accumulate", "-DAXES=4"): Budget(56, dynamic=launch_module.SHARED_BYTES),
    ("drop", "-DAXES=3"): Budget(40, threads=128, dynamic=32 << 10),
    ("drop", "-DAXES=4"): Budget(40, threads=128, dynamic=32 << 10),
    ("histogram",): Budget(40),
    ("histogram", "-DWEIGHTED=1"): Budget(48),
    ("octree", "-DAXES=3"): Budget(48),
    ("octree", "-DAXES=4"): Budget(56),
    ("place", "-DAXES=3"): Budget(64, threads=128),
    ("place", "-DAXES=4"): Budget(72, threads=128),
    ("rank", "-DAXES=3"): Budget(48, threads=128),
    ("rank", "-DAXES=4"): Budget(48, threads=128),
    ("reduce", "-DKIND=0", "-DAXES=3"): MANY._replace(dynamic=0),
    ("reduce", "-DKIND=0", "-DAXES=4"): MANY._replace(shared=4080, dynamic=0),
    ("reduce", "-DKIND=1", "-DAXES=3"): MANY,
    ("reduce", "-DKIND=1", "-DAXES=4"): MANY._replace(shared=4080),
    ("reduce", "-DKIND=2", "-DAXES=3"): MANY,
    ("reduce", "-DKIND=2", "-DAXES=4"): MANY._replace(shared=4080, registers=80),
    ("reduce", "-DKIND=3", "-DAXES=3"): MANY,
    ("reduce", "-DKIND=3", "-DAXES=4"): MANY._replace(shared=4080),
    ("ordered",): Budget(72, shared=1024),
    ("ordered", "-DCOUNTED=1"): Budget(80, shared=2048),
    ("remap", "-DINDEX=unsigned char"): Budget(40),
    ("remap", "-DINDEX=unsigned short"): Budget(40),
    ("spread", "-DAXES=3"): Budget(72, threads=128),
    ("spread", "-DAXES=4"): Budget(88, threads=128),
    ("update", "-DAXES=3"): Budget(48),
    ("update", "-DAXES=4"): Budget(48),
    ("tally",): Budget(40, shared=1024),
    ("tally", "-DCOUNTED=1"): Budget(40, shared=2048),
    ("weigh",): Budget(56),
    ("weigh", "-DTEMPERED=1"): Budget(56),
    **{
        diffusion(name, axes, 2 if axes == 4 else 1): Budget(registers, threads=32)
        for (name, axes), registers in {
            ("adaptive", 3): 80,
            ("adaptive", 4): 96,
            ("stevenson-arce", 3): 152,
            ("stevenson-arce", 4): 192,
        }.items()
    },
}
"""Name and definitions of every kernel that Python launches."""

LOCAL_MEMORY = re.compile(r"\.local\b")
ATOMIC = re.compile(r"^\s*(?:@!?%p\d+\s+)?((?:atom|red)\.\S+)", re.MULTILINE)
IN_SHARED_HARDWARE = re.compile(r"\.shared\.(?:add|min|max|inc|dec|exch|and|or|xor)\.[usb]32$")
IN_GLOBAL_HARDWARE = re.compile(
    r"\.global\.(?:add|min|max|inc|dec|exch|and|or|xor)\.[usb](?:32|64)$"
)
ROUNDED_ONCE = re.compile(r"\b(?:add|sub|mul|div|sqrt)\.rn\.f64\b")
LOOSE = re.compile(r"\b(?:fma|mad)\S*\.f64\b|\b(?:add|sub|mul)\.f64\b|\S+\.approx\S*")
"""Fused, or without a rounding of its own, so that the assembler may fuse it, or inexact."""


class Launch(NamedTuple):
    """What Python asks a device for."""

    kernel: tuple[str, ...]
    code: str
    options: tuple[str, ...]
    threads: int
    shared: int


def recording_cupy(made: set[Launch]) -> dict[str, ModuleType]:
    """Modules in CuPy's place that note launches; arrays are NumPy's."""

    class RawModule:
        def __init__(self, *, code: str, options: tuple[str, ...]) -> None:
            self.code, self.options = code, options

        def get_function(self, name: str) -> Callable[..., None]:
            def launch(grid: Any, block: Any, arguments: Any, shared_mem: int = 0) -> None:
                kernel = (name, *(option for option in self.options if option.startswith("-D")))
                made.add(Launch(kernel, self.code, self.options, block[0], shared_mem))

            return launch

    cupy, cuda = ModuleType("cupy"), ModuleType("cupy.cuda")
    device = SimpleNamespace(id=0, attributes={"MultiProcessorCount": 46})
    vars(cupy).update(RawModule=RawModule, cuda=cuda, ndarray=type(None))
    vars(cuda).update(Device=lambda number=0: device)
    return {"cupy": cupy, "cupy.cuda": cuda, "cupy.cuda.compiler": ModuleType("compiler")}


def diffuse_nothing(name: str, axes: int, dtype: Any) -> None:
    """Launch `diffuse` for a row of `DIFFUSION_MATRICES`."""
    none, kernel = np.zeros(0, np.int32), DIFFUSION_MATRICES[name]
    cells = NearestGrid(none, 0, (1,) * axes, none, np.zeros(1, np.int32), none)
    scheme = ColorGrid(np.zeros((axes, 5), np.int32), np.zeros((axes, 9), np.int32), cells, 5)
    rows = np.zeros((3, 5), np.int32)
    diffusion_gpu.diffuse(rows, rows, kernel, scheme, no_errors(kernel, axes, 5), dtype)


def launches(k: int) -> set[Launch]:
    """What all wrappers together launch for K centers; nothing runs."""
    made: set[Launch] = set()
    colors = np.zeros((5, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        for name, module in recording_cupy(made).items():
            patch.setitem(sys.modules, name, module)
        for axes, code in ((3, np.int32), (4, np.int64)):
            points = weighted_points(np.zeros((axes, 5), np.float32), np.ones(5, np.int64))
            centers = np.zeros((k, axes), "f4")
            kmeans_gpu.assign_gpu(points, centers)
            kmeans_gpu.nearest_sums_gpu(points, centers)
            kmeans_gpu.batched_sums(points, centers)
            split_merge_gpu.search_gpu(
                points, centers, k, 1, relaxations(2), 0.8, 0, lambda share: None
            )
            sums = running_sums(points)
            octree_gpu.octree_cells(np.arange(5, dtype=code), sums.table, len(sums.moments), 1.0)
        for name in ("adaptive", "stevenson-arce"):
            diffuse_nothing(name, 3, np.uint8)
            diffuse_nothing(name, 4, np.uint16)
        counting_gpu.add_to_bins(None, colors)
        counting_gpu.add_to_bins(None, colors, np.ones(5, np.uint8))
        counting_gpu.weigh(colors, colors[:0], colors[:0], 5, None)
        error_diffusion_gpu.temper(colors, colors[:0], colors[:0], 5, None, None, None, None)
        for dtype in (np.uint8, np.uint16):
            lookup_gpu.remap(np.zeros(1, dtype), colors, None)
        entries, index = np.zeros(min(k, 256), np.uint32), np.zeros((1, 5), np.uint8)
        for counts in (None, np.zeros(len(entries), np.uint64)):
            tables = np.zeros(1, np.uint32), np.zeros((2, 2), np.uint32), entries
            ordered_gpu.launch_ordered(colors[None], tables, (1, 5), (0, 0), index, None, counts)
            lookup_gpu.tally(colors, index, entries, None, counts)
    return made


def compiled_by_python() -> dict[tuple[str, ...], tuple[str, tuple[str, ...]]]:
    """The text and options that `quantgpu.kernels` gives to CuPy, by kernel."""
    return {made.kernel: (made.code, made.options) for made in launches(17)}


class Compiled(NamedTuple):
    """What NVRTC makes of a text for an architecture."""

    log: str
    ptx: str
    cubin: int
    """Its bytes; 0 if it does not compile."""

    def number(self, pattern: str) -> int:
        """The number that a pattern finds in the report; 0 if it is not there."""
        found = re.search(pattern, self.log)
        return int(found[1]) if found else 0


Job = tuple[str, tuple[str, ...], str]
"""Text, options, architecture."""


def compile_apart(jobs: list[Job]) -> list[Compiled]:
    """NVRTC's results, by two other processes."""

    def run(part: list[Job]) -> list[Compiled]:
        command = [sys.executable, "-W", "ignore", __file__]
        path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            command, input=json.dumps(part), capture_output=True, text=True, env=path
        )
        assert done.returncode == 0, f"{done.stderr}\npip install cupy-cuda13x nvidia-cuda-nvrtc"
        return [Compiled(*result) for result in json.loads(done.stdout)]

    with ThreadPoolExecutor(2) as pool:
        even, odd = pool.map(run, (jobs[::2], jobs[1::2]))
    results = [*even, *odd]
    results[::2], results[1::2] = even, odd
    return results


def compile_here() -> None:
    """Compile the jobs on standard input with the NVRTC that CuPy finds."""
    from cupy.cuda import nvrtc

    results = []
    for code, options, architecture in json.load(sys.stdin):
        program = nvrtc.createProgram(code, "kernel.cu", (), ())
        try:
            nvrtc.compileProgram(program, (*options, *ADDED_BY_CUPY, f"-arch=sm_{architecture}"))
            ptx, cubin = nvrtc.getPTX(program), nvrtc.getCUBIN(program)
            assert cubin.startswith(b"\x7fELF")
        except nvrtc.NVRTCError:
            ptx, cubin = "", b""
        log = nvrtc.getProgramLog(program)
        results.append((log, ptx if isinstance(ptx, str) else ptx.decode(), len(cubin)))
        nvrtc.destroyProgram(program)
    json.dump(results, sys.stdout)


Row = tuple[tuple[str, ...], str]

ROWS = [*product(BUDGETS, ARCHITECTURES)]
"""Each kernel for each architecture."""

SAMPLE = {
    row
    for number, kernel in enumerate(BUDGETS)
    for row in product([kernel], [ARCHITECTURES[0], ARCHITECTURES[1 + number % 6]])
}
"""Each kernel for the oldest architecture and for another: each of them has kernels."""


@pytest.fixture(scope="module")
def everything(pytestconfig: pytest.Config) -> dict[Row, Compiled]:
    """Each kernel in BUDGETS for each architecture; without --all, those of the sample."""
    given = compiled_by_python()
    rows = [row for row in ROWS if row in SAMPLE or pytestconfig.getoption("--all")]
    jobs = [(*given[kernel], architecture) for kernel, architecture in rows]
    return dict(zip(rows, compile_apart(jobs), strict=True))


OTHER_ROWS = [name for name in DIFFUSION_MATRICES if name not in ("adaptive", "stevenson-arce")]


def test_every_row_of_diffusion_compiles_for_the_oldest_and_the_newest_without_spills() -> None:
    text = (FOLDER / "diffuse.cu").read_text()
    rows = [diffusion(name, axes, 4)[1:] for name in OTHER_ROWS for axes in (3, 4)]
    jobs = [
        (text, ("--std=c++17", *row), architecture)
        for row in rows
        for architecture in (ARCHITECTURES[0], ARCHITECTURES[-1])
    ]
    for compiled in compile_apart(jobs):
        assert compiled.cubin, compiled.log
        assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in compiled.log
        assert not LOCAL_MEMORY.search(compiled.ptx)
        assert 0 < compiled.number(r"Used (\d+) registers") <= 136


every_kernel = pytest.mark.parametrize(
    ("kernel", "architecture"),
    [pytest.param(*row, marks=[pytest.mark.rest] if row not in SAMPLE else []) for row in ROWS],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)


def test_every_architecture_has_kernels_in_the_sample_and_every_kernel_two_architectures() -> None:
    assert {architecture for _, architecture in SAMPLE} == {*ARCHITECTURES}
    assert all(sum(kernel == row[0] for row in SAMPLE) == 2 for kernel in BUDGETS)


def test_every_file_is_launched_and_every_kernel_launched_has_a_budget() -> None:
    launched = set(compiled_by_python())
    assert {kernel[0] for kernel in launched} == {path.stem for path in FOLDER.glob("*.cu")}
    assert launched == set(BUDGETS)


@every_kernel
def test_a_kernel_compiles_within_its_budget(
    kernel: tuple[str, ...], architecture: str, everything: dict[Row, Compiled]
) -> None:
    compiled, budget = everything[kernel, architecture], BUDGETS[kernel]
    assert compiled.cubin, compiled.log
    assert f"'{kernel[0]}' for 'sm_{architecture}'" in compiled.log
    assert f".target sm_{architecture}" in compiled.ptx
    assert 0 < compiled.number(r"Used (\d+) registers") <= budget.registers
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in compiled.log
    assert not LOCAL_MEMORY.search(compiled.ptx)
    assert compiled.number(r"(\d+) bytes smem") == budget.shared


@every_kernel
def test_no_atomic_is_a_loop(
    kernel: tuple[str, ...], architecture: str, everything: dict[Row, Compiled]
) -> None:
    """64-bit and floating-point atomics on shared memory, and compare-and-swap on any."""
    for atomic in ATOMIC.findall(everything[kernel, architecture].ptx):
        assert IN_SHARED_HARDWARE.search(atomic) or IN_GLOBAL_HARDWARE.search(atomic)


@every_kernel
def test_float64_that_decides_something_is_rounded_after_every_operation(
    kernel: tuple[str, ...], architecture: str, everything: dict[Row, Compiled]
) -> None:
    ptx = everything[kernel, architecture].ptx
    assert bool(ROUNDED_ONCE.search(ptx)) == (kernel[0] in launch_module.EXACT)
    assert not LOOSE.search(ptx)


def test_without_the_option_operations_could_be_fused() -> None:
    given = [compiled_by_python()[name, "-DAXES=3"] for name in sorted(launch_module.EXACT)]
    jobs = [(code, tuple(o for o in options if "fmad" not in o), "90") for code, options in given]
    assert all(LOOSE.search(compiled.ptx) for compiled in compile_apart(jobs))


def test_a_loop_for_an_atomic_and_local_memory_are_recognized() -> None:
    code = """
    extern "C" __global__ void bad(double* out, const int* which, unsigned long long* any) {
        __shared__ double sum;
        __shared__ unsigned long long wide;
        double many[64];
        for (int i = 0; i < 64; ++i) many[i] = out[which[i]];
        sum = 0; wide = 0;
        __syncthreads();
        atomicAdd(which[0] ? &wide : any, 1ull);
        atomicAdd(&sum, many[which[threadIdx.x]]);
        __syncthreads();
        *out = sum + (double)wide;
    }"""
    for compiled in compile_apart([(code, (), architecture) for architecture in ("75", "120")]):
        assert compiled.cubin, compiled.log
        assert LOCAL_MEMORY.search(compiled.ptx)
        found = ATOMIC.findall(compiled.ptx)
        assert len(found) >= 2
        assert not any(IN_SHARED_HARDWARE.search(x) or IN_GLOBAL_HARDWARE.search(x) for x in found)


@pytest.mark.parametrize("k", [1, 2, 17, 256, 563, 564, 1408, 1409, 5632, 5633, MOST_COLORS])
def test_shared_memory_is_within_budget_for_any_number_of_centers(k: int) -> None:
    for made in launches(k):
        budget = BUDGETS[made.kernel]
        assert made.threads == budget.threads
        assert made.shared <= budget.dynamic
        assert budget.shared + budget.dynamic <= SHARED


def test_as_many_centers_as_fit_are_summed_in_shared_memory() -> None:
    def shared(kernel: tuple[str, ...], k: int) -> int:
        return max(made.shared for made in launches(k) if made.kernel == kernel)

    for number, values in {(1, 3): 4, (2, 3): 10, (1, 4): 5, (2, 4): 15}.items():
        kernel = "reduce", f"-DKIND={number[0]}", f"-DAXES={number[1]}"
        most = launch_module.SHARED_BYTES // (8 * values)
        assert shared(kernel, 256) >= 256 * 8 * values
        assert shared(kernel, most) >= most * 8 * values
        assert shared(kernel, most + 1) < (most + 1) * 8 * values


def test_an_error_in_a_kernel_is_reported_with_its_line() -> None:
    code, options = compiled_by_python()["reduce", "-DKIND=1", "-DAXES=3"]
    wrong = code.replace("float distance =", "flaot distance =")
    assert wrong != code
    line = 1 + wrong[: wrong.index("flaot")].count("\n")
    [compiled, right] = compile_apart([(wrong, options, "80"), (code, options, "80")])
    assert not compiled.cubin
    assert f'kernel.cu({line}): error: identifier "flaot" is undefined' in compiled.log
    assert right.cubin


if __name__ == "__main__":
    compile_here()
