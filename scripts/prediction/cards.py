"""Graphics cards and CuPy in figures, each with its source."""

from __future__ import annotations

from typing import NamedTuple


class Card(NamedTuple):
    """What a graphics card is said or was measured to do."""

    memory: float
    """Bytes per second of device memory."""
    cache: float
    """Bytes of second-level cache."""
    cache_rate: float
    """Bytes per second from it."""
    processors: int
    """Multiprocessors; each issues 128 lanes of instructions per clock."""
    clock: float
    """Hz, boost."""
    doubles: int
    """float64 operations per clock and multiprocessor."""
    up: float
    """Bytes per second from page-locked memory, copied in one direction at a time."""
    down: float


GB = 1e9
CARDS = {
    "h100": Card(3352 * GB, 50e6, 5500 * GB, 132, 1.98e9, 64, 55.6 * GB, 55.6 * GB),
    "h100pcie": Card(2039 * GB, 50e6, 5500 * GB, 114, 1.755e9, 64, 55.6 * GB, 55.6 * GB),
    "rtx5090": Card(1792 * GB, 96e6, 5000 * GB, 170, 2.41e9, 2, 56.3 * GB, 57.3 * GB),
    "rtx4090": Card(1008 * GB, 72e6, 5000 * GB, 128, 2.52e9, 2, 26.3 * GB, 27.0 * GB),
    "a100": Card(1555 * GB, 40e6, 4500 * GB, 108, 1.41e9, 32, 25.1 * GB, 25.1 * GB),
    "rtx3090": Card(936 * GB, 6e6, 1900 * GB, 82, 1.695e9, 2, 25.1 * GB, 25.1 * GB),
    "t4": Card(320 * GB, 4e6, 1270 * GB, 40, 1.59e9, 2, 12.3 * GB, 13.1 * GB),
}
"""Memory, cache size, multiprocessors, clock and float64 rate: NVIDIA's data sheets and white
papers (H100 Tensor Core GPU Architecture, A100 Tensor Core GPU Architecture, Ada GPU Architecture,
GA102, RTX Blackwell, Tesla T4). The h100 is the SXM card.

Cache rate, bytes per second: Jia et al., "Dissecting the NVidia Turing T4 GPU via
Microbenchmarking", 2019, arXiv:1903.07486 (T4); the rest is of the order that Chips and Cheese
measured (chipsandcheese.com/2022/11/02/microbenchmarking-nvidias-rtx-4090 and /2023/07/02/
nvidias-h100-funny-l2-and-tons-of-bandwidth), the rtx5090 taken as the rtx4090.

Bus, one way, measured: rtx5090 github.com/tinygrad/open-gpu-kernel-modules/issues/29, rtx4090
github.com/NVIDIA/nvbandwidth/issues/15, a100 github.com/NVIDIA/nvbandwidth/issues/42 (and rtx3090
taken as that), h100 the example of NVIDIA's blog on NVbandwidth (55.6 up; down taken as up), t4
github.com/usadellab/Helixer/issues/22 and the 12 of PCIe 3 in github.com/ZaidQureshi/bam/issues/54.
"""

MEMORY_SHARE = 0.9
"""Of the memory's data sheet rate, streaming kernels reach: 921 of 1008 GB/s on an RTX 4090
(github.com/krrishnarraj/clpeak/issues/106), 1727 of 1935 on an A800."""

ISSUE_SHARE = 0.7
"""Of the instruction slots are filled: an assumption, for dependences and loads."""

START = 2.5e-6
"""Seconds from one small kernel's start to the next one's: a kernel of 2.9 us took 3.4 to 3.8 us
(A. Gray, "Getting Started with CUDA Graphs", NVIDIA blog 2019, V100)."""

COPY_START = 1.5e-6
"""Seconds of a copy engine for a copy, beside its bytes: an assumption."""

SYNC = 6e-6
"""Seconds from the end of the work to the host going on: 9.6 us for a kernel of 2.9 us with a
synchronization after each (the same blog)."""

HOST_COPY = 10 * GB
"""Bytes per second that one thread copies to page-locked memory: an assumption."""

LAUNCH, ELEMENTWISE, VIEW = 10.0, 10.0, 1.0
"""Host microseconds of a launch of ours, of a function that launches a kernel, and of one that
launches none. CuPy took 11.4 us for `abs` (github.com/cupy/cupy/pull/3298, 2020), 11.1 us for a
kernel of the user (pull/1714, 2018), 0.9 us to make an array (pull/1542)."""

HOST_US = {
    # 28 us in pull/7265, 30 in pull/1714, with CUB somewhat less
    **dict.fromkeys(("sum", "min", "max", "any", "all", "argmin", "argmax", "mean", "prod"), 25.0),
    # memset on an array from the pool; empty: issues/1340
    **dict.fromkeys(("zeros", "zeros_like"), 6.0),
    **dict.fromkeys(("empty", "empty_like"), 2.0),
    # an array from the pool and one launch
    **dict.fromkeys(("full", "full_like", "ones", "ones_like"), 12.0),
    # CUB, which launches two kernels
    **dict.fromkeys(("cumsum", "cumprod"), 20.0),
    # a copy, an index, a histogram, a scan and a pass for each byte, all in C++ but the first
    **dict.fromkeys(("argsort", "sort"), 60.0),
    # != 0, a scan of three launches, its last element to the host, and a launch (cupy 14,
    # _routines_indexing.pyx); a mask as an index does the same
    **dict.fromkeys(("flatnonzero", "nonzero"), 70.0),
    # two reductions to the host, zeros, and a launch (cupy/_statistics/histogram.py)
    "bincount": 110.0,
    **dict.fromkeys(("concatenate", "stack", "append"), 40.0),
    **dict.fromkeys(("matmul", "__matmul__"), 40.0),
    # a submission takes 5 to 7 us (arXiv:2602.21548, section 5.2); staging and an event beside it
    **dict.fromkeys(("asarray", "array"), 20.0),
    **dict.fromkeys(("get", "asnumpy", "__int__", "__float__", "__bool__", "item"), 15.0),
    "set": 8.0,
    # calls of the CUDA runtime: assumptions
    **{"Stream.__init__": 15.0, "memGetInfo": 25.0, "Stream.record": 3.0, "Event.record": 3.0},
    **{"Stream.wait_event": 2.0, "pointerGetAttributes": 2.0, "alloc_pinned_memory": 3.0},
    "host copy": 0.0,
}
"""Host microseconds of CuPy's functions and methods, where they are not the above."""
