"""Kernels on the CPU: each alone, as Python compiles it, or all in one text, on the stand-in."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import gpu_double
import numpy as np
import pytest
from gpu_double.building import build

from quantgpu.clustering.points import Points
from quantgpu.dithering.diffusion_gpu import defines
from quantgpu.dithering.diffusion_matrices import DIFFUSION_MATRICES
from quantgpu.kernels import launch as launch_module

FOLDER = Path(launch_module.__file__).parent

Kernel = tuple[str, ...]
"""A kernel's name and the definitions it is compiled with."""

AXES = 3, 4

SPATIAL = ["accumulate", "drop", "octree", "place", "rank", "spread", "update"]
"""Kernels that are compiled for each number of axes; `reduce` also for what it makes."""


def diffusion(name: str, axes: int = 3, itemsize: int = 1) -> Kernel:
    """The kernel for a row of `diffusion.KERNELS` and palette colors of so many bytes."""
    given = defines(DIFFUSION_MATRICES[name], axes, itemsize)
    return ("diffuse", *(f"-D{name}={value}" for name, value in given.items()))


VARIANTS: list[Kernel] = [
    *((name, f"-DAXES={axes}") for name in SPATIAL for axes in AXES),
    *(("reduce", f"-DKIND={kind}", f"-DAXES={axes}") for kind in range(4) for axes in AXES),
    *(("remap", f"-DINDEX=unsigned {number}") for number in ("char", "short")),
    ("histogram",),
    ("histogram", "-DWEIGHTED=1"),
    ("weigh",),
    ("weigh", "-DTEMPERED=1"),
    ("tally",),
    ("tally", "-DCOUNTED=1"),
    ("ordered",),
    ("ordered", "-DCOUNTED=1"),
    diffusion("adaptive"),
    diffusion("stevenson-arce", 4, 2),
]
"""All but the other rows of a table: of those, the least and the most."""

SCHEDULES = {"forward": 46, "reverse": 1, "random": 3}
"""In which order threads and blocks run, and on how many multiprocessors: with few, each block
takes several parts of the points. Where blocks wait for each other they also run `beside`: at the
same time, in turns drawn at random."""

TOGETHER = "--std=c++17", "--fmad=false"
"""Options for several kernels in one text."""


def text_of(name: str) -> str:
    """The text of ``NAME.cu``."""
    return (FOLDER / f"{name}.cu").read_text()


def options_for(kernel: Kernel) -> tuple[str, ...]:
    """The options that `quantgpu.kernels` passes."""
    name, *defines = kernel
    return ("--std=c++17", *defines, *(["--fmad=false"] if name in launch_module.EXACT else []))


def exported(kernel: Kernel) -> str:
    """The kernel's name in `one_text`."""
    return re.sub(r"\W+", "_", "".join(kernel))


def one_text(texts: dict[Kernel, str]) -> str:
    """All kernels in one text, so that a sanitizer has to be built in only once."""
    parts = []
    for kernel, text in texts.items():
        name, defines = exported(kernel), [option[2:].replace("=", " ") for option in kernel[1:]]
        given = "".join(f"#define {define}\n" for define in defines)
        renamed, count = re.subn(rf"^{kernel[0].split('.')[0]}\(", f"{name}(", text, flags=re.M)
        assert count == 1
        names = {*re.findall(r"#define (\w+)", text), *(define.split()[0] for define in defines)}
        undone = "".join(f"#undef {macro}\n" for macro in sorted(names))
        parts.append(f'{given}namespace in_{name} {{\n#line 1 "{name}"\n{renamed}}}\n{undone}')
        parts.append(f"using in_{name}::{name};\n")
    return "".join(parts)


@lru_cache
def everything() -> str:
    """`one_text` of all kernels."""
    return one_text({kernel: text_of(kernel[0]) for kernel in VARIANTS})


def build_ahead(builds: list[tuple[str, tuple[str, ...], str]]) -> None:
    """Run g++ twice at a time for texts, options and modes that will be needed."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda needed: build(*needed), builds))


@contextmanager
def device(
    mode: str = "fiber",
    order: str = "forward",
    multiprocessors: int = 46,
    together: bool = False,
    replaced: dict[Kernel, tuple[str, Kernel]] | None = None,
) -> Iterator[Any]:
    """The stand-in; kernels come out of `everything` if `together`, or are those of other texts."""

    @lru_cache
    def from_text(cupy: Any, device: int, name: str, defines: tuple[str, ...]) -> Any:
        kernel = (name, *defines)
        text, kernel = (replaced or {}).get(kernel, (everything(), kernel))
        return cupy.RawModule(code=text, options=TOGETHER).get_function(exported(kernel))

    with pytest.MonkeyPatch.context() as patch:
        if together:
            patch.setattr(launch_module, "compiled", from_text)
        with gpu_double.installed(
            mode=mode, order=order, seed=7, multiprocessors=multiprocessors
        ) as double:
            yield double


def launch(
    gpu: Any,
    name: str,
    *arguments: Any,
    axes: int,
    blocks: int = 2,
    threads: int = 128,
    shared: int = 0,
) -> None:
    """Launch a kernel on NumPy arrays, which change in place."""
    there = [gpu.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
    kernel = launch_module.compiled(gpu.cupy, 0, name, (f"-DAXES={axes}",))
    kernel((blocks,), (threads,), tuple(there), shared_mem=shared)
    for array, result in zip(arguments, there, strict=True):
        if isinstance(array, np.ndarray):
            array[...] = result.get()


def uploaded(gpu: Any, points: Points) -> Points:
    """The points on the device."""
    return Points(gpu.asarray(points.columns), gpu.asarray(points.weights))
