"""The GPU path without a GPU: CUDA kernels on the CPU, and a strict stand-in for CuPy.

- `installed(memory=8 << 30, …)` puts the stand-in in place of `cupy` and yields it with its `log`.
- `run_kernel(text, name, grid, block, arguments, …)` runs one kernel on NumPy arrays in place.

Kernels: `building` compiles them (`cuda_on_cpu.h`, `block_runner.cpp`), `launch_rules` checks
launches, `cuda_on_cpu` runs them. The stand-in: `cupy_standin` assembles the modules; `machine`,
`memory` and `streams` are the device behind them, `log` its account; `operations` runs the array
functions of `creation`, `shaping`, `reductions` and `ufuncs` on `device_array`.
"""

from gpu_double.building import MODES, CompileError
from gpu_double.cuda_on_cpu import ORDERS, KernelError
from gpu_double.cupy_standin import Double, installed
from gpu_double.direct import run_kernel
from gpu_double.errors import MisuseError
from gpu_double.launch_rules import LaunchError
from gpu_double.log import Log
from gpu_double.machine import Machine, Model

__all__ = [
    "MODES",
    "ORDERS",
    "CompileError",
    "Double",
    "KernelError",
    "LaunchError",
    "Log",
    "Machine",
    "MisuseError",
    "Model",
    "installed",
    "run_kernel",
]
