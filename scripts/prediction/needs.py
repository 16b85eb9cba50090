"""What launches ask of a card: a formula for each kernel, and for CuPy's functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prediction.cards import ISSUE_SHARE, MEMORY_SHARE, START, Card
from quantgpu.clustering.kmeans_gpu import GAPS, sums_per_cluster


class Need(NamedTuple):
    """What a launch asks of a card."""

    nbytes: float = 0
    """Read and written once, one after the other."""
    gathers: float = 0
    """Reads of 32 bytes anywhere in `span`."""
    atomics: float = 0
    """Reads and writes of 32 bytes anywhere in `span`."""
    span: float = 0
    """Bytes; what of it the cache does not hold comes from memory."""
    instructions: float = 0
    """Times the threads that execute them."""
    doubles: float = 0
    """float64 operations."""
    blocks: float = math.inf
    """Fewer than there are multiprocessors leave some of these idle; 0 find nothing to do."""
    cycles: float = 0
    """Clocks of a chain of dependent operations in one thread."""
    multiply_adds: float = 0
    """Counted; their time is in `instructions`."""
    launches: int = 1

    def seconds(self, card: Card) -> float:
        """The time on a card, once the launch has begun."""
        missed = max(0.0, 1 - card.cache / self.span) if self.span else 0.0
        sectors = 32 * self.gathers + 64 * self.atomics
        lanes = 128 * min(card.processors, self.blocks or 1) * card.clock
        work = max(
            (self.nbytes + missed * sectors) / (MEMORY_SHARE * card.memory),
            (self.nbytes + sectors) / card.cache_rate,
            self.instructions / (ISSUE_SHARE * lanes),
            self.doubles / (lanes / 128 * card.doubles),
        )
        return self.launches * START + work + self.cycles / card.clock


class Facts(NamedTuple):
    """The arguments of a launch by the names that its parameters have in the kernel's text."""

    numbers: dict[str, int]
    """Integers, also those in arrays of one element."""
    arrays: dict[str, NDArray[Any]]
    options: tuple[str, ...]

    def defined(self, name: str) -> int:
        """The number that a macro is defined as."""
        return next(int(o.split("=")[1]) for o in self.options if o.startswith(f"-D{name}="))


SERIAL_LOAD = 250
"""Clocks of a load from the second-level cache (Jia et al.: 188 to 260)."""

NEAR_LOAD = 35
"""Clocks of a load from the first-level cache (the same: 32 on a T4; Hopper is said to need
a few more)."""

SHUFFLE = 25
"""Clocks until a lane has what another showed (Jia et al.: 22 to 39)."""

FENCE = 500
"""Clocks of `__threadfence()`: an assumption, two round trips to the second-level cache."""

ALONE = 2
"""Clocks of an instruction of a warp that has its scheduler for itself: one that needs the last
one's result waits 4 or 5, and three or four axes are worked on side by side. An assumption."""


def histogram_need(f: Facts) -> Need:
    """3 bytes per pixel, an atomic for each run of equal pixels among 16; 12 instructions each."""
    keys = keys_of(f.arrays["pixels"])
    changed = keys[1:] != keys[:-1]
    changed[15::16] = True
    runs, n = 1 + int(np.count_nonzero(changed)), len(keys)
    return Need(3 * n, 0, runs, sectors(keys, 4), 12 * n, blocks=n / 4096)


def weigh_need(f: Facts) -> Need:
    """3 bytes read and 1 written per pixel; 27 lightnesses of about 8 instructions, by hand. If
    tempered, a color and its two strengths beside that."""
    n = len(f.arrays["found"])
    if "ranks" not in f.arrays:
        return Need(4 * n, instructions=216 * n, blocks=n / 256)
    span = 2 * len(f.arrays["full"])
    return Need(8 * n, 2 * n, 0, span, 240 * n, blocks=n / 256)


def tally_need(f: Facts) -> Need:
    """3 bytes and an index per pixel; 60 instructions each, counted in the PTX. A block adds the
    counters that it has in shared memory up."""
    n, k = f.numbers["n"], f.numbers["k"]
    counters = min(n / 1024, 1000) * k if "counts" in f.arrays else 0
    return Need(4 * n, 0, counters, 8 * k, 60 * n, blocks=n / 1024)


def remap_need(f: Facts) -> Need:
    """3 bytes and an index per pixel, gathered from the table; 10 instructions each."""
    keys, size = keys_of(f.arrays["pixels"]), f.arrays["table"].itemsize
    n = len(keys)
    return Need((3 + size) * n, n, 0, sectors(keys, size), 10 * n, blocks=n / 4096)


def ordered_need(f: Facts) -> Need:
    """3 bytes and an index per pixel, gathered from a table of words; 65 instructions each, counted
    in the PTX. Of counters in shared memory, a block adds those in use up."""
    keys = keys_of(f.arrays["pixels"].reshape(-1, 3))
    n, k = len(keys), f.numbers["k"]
    counters = min(n / 4096, 1000) * k if "counts" in f.arrays else 0
    return Need(4 * n, n, counters, sectors(keys, 4), 65 * n, blocks=n / 4096)


PAIR = {3: (109 / 16, 73 / 8), 4: (73 / 8, 89 / 8)}
"""Number of axes to the instructions of `reduce` for a point and a center, counted in the PTX for
16 or 8 of them at a time: a multiply-add for each axis, a comparison, two selections, and a share
of a load and of the loop; and with the second nearest."""


def reduce_need(f: Facts) -> Need:
    """n points of 20 or 24 bytes by k centers: `PAIR` for each, and 20 instructions for each sum of
    a point. A block ends in an atomic for each sum of a center.
    """
    n, k = f.numbers["n"], f.numbers["count"]
    kind, axes = f.defined("KIND"), f.defined("AXES")
    sums = sums_per_cluster(kind, axes)
    blocks = n / 512
    return Need(
        nbytes=4 * (axes + (2 if sums else 1)) * n + 4 * axes * k + 8 * sums * k,
        atomics=min(blocks, 1000) * sums * min(k, 512),
        instructions=n * (k * PAIR[axes][kind == GAPS] + 20 * sums) if k else 0,
        blocks=blocks,
        multiply_adds=axes * n * k,
    )


def octree_need(f: Facts) -> Need:
    """Cells of a level: two searches (half of whose loads are near), 12 loads, 30 float64; with a
    fourth axis 14 and 38."""
    n, level, more = f.numbers["n"], f.numbers["level"], f.defined("AXES") - 3
    cells = int(np.count_nonzero(f.arrays["begins"] >= 9 - level))
    steps = math.log2(max(n, 2))
    return Need(
        nbytes=(5 + 4 * more) * n + 32 * cells,
        gathers=cells * (steps + 12 + 2 * more),
        atomics=cells,
        span=sum(array.nbytes for array in f.arrays.values()),
        instructions=cells * (2 * steps * 8 + 60),
        doubles=(30 + 8 * more) * cells,
        blocks=n / 256,
        cycles=2 * steps * SERIAL_LOAD,
    )


def spread_need(f: Facts) -> Need:
    """13 or 40 lines of 30 float64 operations for each cluster."""
    k, axes = f.numbers["count"], f.defined("AXES")
    lines = {3: 13, 4: 40}[axes]
    doubles = (30 * lines + 10) * k
    return Need((100 * axes - 100) * k, doubles=doubles, blocks=k / 128, cycles=230 * lines + 10)


def place_need(f: Facts) -> Need:
    """Each cluster is compared with all, in float64, twice."""
    k, each = f.numbers["k"], 16 + 48 * f.defined("AXES")
    return Need(each * k, doubles=2 * k * k, blocks=k / 128, cycles=20 * k, instructions=8 * k * k)


def rank_need(f: Facts) -> Need:
    """Each center is compared with all: a distance and two 64-bit comparisons."""
    m, axes = f.numbers["count"], f.defined("AXES")
    each = 14 + 2 * axes
    return Need(
        (16 + 4 * axes) * m, instructions=each * m * m, blocks=m / 128, cycles=each * m,
        multiply_adds=axes * m * m,
    )  # fmt: skip


def drop_need(f: Facts) -> Need:
    """One thread walks through the cheapest: two dependent loads for each, twice what goes, and the
    fixed ones."""
    m, k, fixed = f.numbers["count"], f.numbers["k"], f.numbers["fixed"]
    steps = 2 * max(m - k, 0) + (fixed if m > k else 0)
    each = 20 + 4 * f.defined("AXES")
    return Need(each * m, blocks=1, cycles=steps * 150 + 2000)


def update_need(f: Facts) -> Need:
    """A 64-bit division for each axis, one after the other."""
    k, axes = f.numbers["count"], f.defined("AXES")
    return Need((8 + 16 * axes) * k, blocks=k / 128, cycles=500 * axes)


def accumulate_need(f: Facts) -> Need:
    """A row of distances read once; 4 instructions each."""
    size = f.arrays["distances"].size
    rows = size / max(f.numbers["k"], 1)
    return Need(
        4 * size + (8 + 4 * f.defined("AXES")) * rows, instructions=4 * size, blocks=rows / 8
    )


OPEN, CANDIDATES = 0.73, 4.3
"""Share of the pixels whose cell has several candidates, and how many the slowest of 32 lanes
compares: 0.73, 4.3 in the built-in scene, K = 256; 0.64 and 4.0 in a photograph."""

ROWS, SPAN = 32, 16
"""As in ``diffuse.cu``."""


def diffuse_need(f: Facts) -> Need:
    """A wave of `wave_steps` steps, each a chain of dependent operations, counted in the PTX.

    130 instructions and, for each axis, 35, a multiply-add for each share and two moves for each
    error that is kept; two loads one after the other that the second-level cache answers (the code
    of the cell and its first candidate); for each candidate a near load and 25 instructions; a
    shuffle, and a near load of the center found. Every `SPAN` steps two fences and a read of the
    count.
    """
    frames, height, width = (f.numbers[name] for name in ("frames", "height", "width"))
    axes, depth, columns = (f.defined(name) for name in ("AXES", "DEPTH", "COLUMNS"))
    bands, steps = -(-height // ROWS), wave_steps(f)
    shares = next(o for o in f.options if o.startswith("-DSHARES=")).split("=")[1].split(",")
    taps = sum(share != "0" for share in shares)
    instructions = 130 + axes * (35 + taps + 2 * (depth + 1) * columns)
    chain: float = ALONE * instructions + SHUFFLE + 2 * SERIAL_LOAD + NEAR_LOAD
    chain += CANDIDATES * (NEAR_LOAD + ALONE * 25) + (2 * FENCE + SERIAL_LOAD) / SPAN
    pixels = frames * height * width
    lanes = ROWS * frames * bands * (width + f.defined("LAG") * (ROWS - 1))
    tables = "points", "codes", "entries"
    return Need(
        nbytes=(5 + f.arrays["index"].itemsize) * pixels + 8 * axes * depth * bands * width,
        gathers=(axes + 1 + OPEN) * pixels,
        span=sum(f.arrays[name].nbytes for name in tables),
        instructions=lanes * (instructions + CANDIDATES * 25),
        blocks=frames * bands,
        cycles=steps * chain,
    )


def wave_steps(f: Facts) -> int:
    """Steps from the first pixel to the last: a band of rows begins when the last row of the band
    above is `SPAN` columns and some ahead."""
    bands = -(-f.numbers["height"] // ROWS)
    band = f.defined("LAG") * (ROWS - 1) + f.defined("LEAD") + 2
    return f.numbers["width"] + bands * band + (bands - 1) * SPAN


KERNELS: dict[str, Callable[[Facts], Need]] = {
    "histogram": histogram_need,
    "remap": remap_need,
    "ordered": ordered_need,
    "tally": tally_need,
    "weigh": weigh_need,
    "reduce": reduce_need,
    "octree": octree_need,
    "spread": spread_need,
    "place": place_need,
    "rank": rank_need,
    "drop": drop_need,
    "update": update_need,
    "accumulate": accumulate_need,
    "diffuse": diffuse_need,
}
"""Kernel to what a launch of it needs; others need their arguments once."""


def array_need(name: str, read: int, written: int, itemsize: int) -> Need:
    """What an array function needs: its operands once, except where it does more."""
    if name in ("argsort", "sort"):
        count = written // 8 if name == "argsort" else written // itemsize
        passes = 2 * itemsize * (itemsize + 8)
        return Need(count * (3 * itemsize + 8 + passes), launches=itemsize + 4)
    if name in ("flatnonzero", "nonzero"):
        return Need(read + 3 * read // itemsize + written, launches=5)
    if name == "bincount":
        return Need(3 * read + written, launches=6)
    several = {"cumsum": 2, "concatenate": 2, "stack": 3, "append": 3, "sum": 2, "min": 2, "max": 2}
    return Need(read + written, launches=several.get(name, 1))


def keys_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The packed colors of (n, 3) pixels."""
    keys = np.zeros(len(pixels), np.uint32)
    for channel in (2, 1, 0):
        keys <<= np.uint32(8)
        keys |= pixels[:, channel]
    return keys


def sectors(keys: NDArray[np.uint32], itemsize: int) -> int:
    """Bytes of the 32-byte sectors that hold the entries of `keys` in a table."""
    share = 32 // itemsize
    touched = np.zeros((1 << 24) // share, bool)
    touched[keys // share] = True
    return 32 * int(np.count_nonzero(touched))
