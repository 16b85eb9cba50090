"""A test of the tests: mistakes planted in the kernels are found, each by the modes that can."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import gpu_double
import numpy as np
import pytest
from test_kernels import (
    ROUNDS,
    TOGETHER,
    Kernel,
    all_equal,
    build_ahead,
    check_drop,
    check_histogram,
    check_lloyd,
    check_octree,
    check_place,
    check_rank,
    check_reduce,
    check_remap,
    check_sums,
    check_update,
    device,
    everything,
    one_text,
    problem,
    some_codes,
    some_colors,
    text_of,
)

MODES = {
    "forward": ("fiber", None),
    "reverse": ("fiber", None),
    "random": ("fiber", None),
    "asan": ("asan", "AddressSanitizer"),
    "tsan": ("tsan", "ThreadSanitizer: data race"),
    "race": ("race", "race: block"),
}
"""How kernels are executed, and what is said then about a mistake."""

FOUND = AssertionError, gpu_double.KernelError, TypeError
"""What a mistake leads to: other numbers, or a complaint."""


class Mistake(NamedTuple):
    """A text that takes the place of another in a kernel."""

    kernel: Kernel
    right: str
    wrong: str
    check: Callable[[Any], None]
    found_by: str
    """Modes."""
    missed_by: str = ""
    """Modes that cannot find it."""


SUMS = "reduce", "-DKIND=1"
BARRIER = "__syncthreads();  // "


def sums_of_many_points(gpu: Any) -> None:
    check_lloyd(gpu, problem(1031, 5), 1)


def sums_of_many_centers(gpu: Any) -> None:
    check_lloyd(gpu, problem(600, 1100), 1)


MISTAKES = {
    "no barrier: sums leave before all points are in them": Mistake(
        SUMS, f"{BARRIER}all points are in", "// ", sums_of_many_points,
        "forward reverse random tsan race",
    ),
    "no barrier: a tile is replaced while it is in use": Mistake(
        SUMS, f"{BARRIER}the last tile", "// ", sums_of_many_centers,
        "forward reverse random tsan race",
    ),
    "no barrier: a tile is used before it is there": Mistake(
        SUMS, f"{BARRIER}this tile", "// ", sums_of_many_centers,
        "forward reverse random tsan race",
    ),
    "no barrier: bits are set before they are cleared": Mistake(
        ("drop",), f"{BARRIER}no bit", "// ", lambda gpu: check_drop(gpu, 131, 120),
        "forward tsan race", "reverse",
    ),
    "no barrier: bits are read before they are set": Mistake(
        ("drop",), f"{BARRIER}it is settled", "// ", lambda gpu: check_drop(gpu, 131, 120),
        "reverse tsan race", "forward",
    ),
    "no barrier: sums are cleared late": Mistake(
        ("accumulate",), f"{BARRIER}the sums begin", "// ",
        lambda gpu: check_sums(gpu, problem(47, 33), 2), "race", "forward reverse random",
    ),
    "no barrier: sums leave before all rows are in them": Mistake(
        ("accumulate",), f"{BARRIER}all rows are in", "// ",
        lambda gpu: check_sums(gpu, problem(47, 33), 2), "forward reverse random tsan race",
    ),
    "a return before a barrier": Mistake(
        SUMS, "if (k == 0) return;", "if (blockIdx.x * 512 + threadIdx.x * 4 >= n) return;",
        sums_of_many_points, "forward reverse random",
    ),
    "lanes that do not come to a shuffle": Mistake(
        ("accumulate",), "for (int apart = 16;", "if (lane < k) for (int apart = 16;",
        lambda gpu: check_sums(gpu, problem(47, 17), 2), "forward reverse random",
    ),
    "plain += to shared memory": Mistake(
        SUMS, "atomicAdd(&sums[2 * slot], low);", "sums[2 * slot]; sums[2 * slot] += low;",
        sums_of_many_points, "tsan race", "forward reverse random",
    ),
    "plain += to global memory": Mistake(
        SUMS, "atomicAdd(&out[slot], run[v]);", "out[slot] += run[v];",
        lambda gpu: check_lloyd(gpu, problem(515, 1409), 1), "tsan race", "forward reverse random",
    ),
    "plain += that only blocks can disturb": Mistake(
        ("histogram",), "atomicAdd(&bins[key], run)", "bins[key] += run",
        lambda gpu: check_histogram(gpu, np.repeat(some_colors(24), 4096, axis=0)),
        "race",
    ),
    "every block writes what one should": Mistake(
        ("place",), "if (blockIdx.x == 0 && threadIdx.x == 0)", "if (threadIdx.x == 0)",
        lambda gpu: check_place(gpu, ROUNDS["better"], 130), "race", "forward random tsan",
    ),
    "a loop that clears one word too many": Mistake(
        SUMS, "in_shared && i < 2 * VALUES * k;", "in_shared && i <= 2 * VALUES * k;",
        sums_of_many_points, "forward reverse random asan",
    ),
    "a loop that reads one word too many": Mistake(
        ("remap",  "-DINDEX=unsigned char"), "w < WORDS;", "w <= WORDS;",
        lambda gpu: check_remap(gpu, some_colors(4512), np.uint8), "asan", "forward race",
    ),
    "a run that begins one pixel too late": Mistake(
        ("histogram",), "if (n - g * RUN < RUN)", "if (n - g * RUN < RUN - 1)",
        lambda gpu: check_histogram(gpu, some_colors(4511)), "asan",
    ),
    "a loop that begins one too late": Mistake(
        ("rank",), "for (int j = 0; j < m", "for (int j = 1; j < m",
        lambda gpu: check_rank(gpu, 130), "forward reverse random",
    ),
    "a cell's first level is skipped": Mistake(
        ("octree",), "if (coarsest > level)", "if (coarsest >= level)",
        lambda gpu: check_octree(gpu, some_codes(300), ()), "forward",
    ),
    "a forgotten carry": Mistake(
        SUMS, " + (before + low < before);", ";",
        lambda gpu: check_reduce(gpu, all_equal(3001, 3)), "forward reverse random",
    ),
    "ties go to the last center": Mistake(
        SUMS, "if (distance < least[p])", "if (distance <= least[p])",
        sums_of_many_points, "forward reverse random",
    ),
    "ties go to the last lane": Mistake(
        ("accumulate",), "index < label", "index > label",
        lambda gpu: check_sums(gpu, problem(257, 255), 2), "forward reverse random",
    ),
    "quotients are cut off instead of rounded down": Mistake(
        ("update",), " - (a % b < 0);", ";",
        lambda gpu: check_update(gpu, (1, 1)), "forward reverse random",
    ),
    "a sum that is not cleared": Mistake(
        ("update",), "cluster[0] = 0;", "",
        lambda gpu: check_update(gpu, (1, 1)), "forward reverse random",
    ),
    "a number of another size": Mistake(
        ("remap",  "-DINDEX=unsigned char"), "long long n,", "int n,",
        lambda gpu: check_remap(gpu, some_colors(300), np.uint8), "forward",
    ),
    "an array of another type": Mistake(
        SUMS, "const long long* __restrict__ weights", "const int* __restrict__ weights",
        sums_of_many_points, "forward",
    ),
}  # fmt: skip


def planted(name: str) -> Kernel:
    """The name and definitions of a kernel with a mistake."""
    original, *defines = MISTAKES[name].kernel
    return (f"{original}.{[*MISTAKES].index(name)}", *defines)


@cache
def all_mistakes() -> str:
    """The wrong kernels in one text."""
    texts = {}
    for name, mistake in MISTAKES.items():
        right = text_of(mistake.kernel[0])
        texts[planted(name)] = right.replace(mistake.right, mistake.wrong)
        assert texts[planted(name)] != right
    return one_text(texts)


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    texts = [all_mistakes(), everything()]
    modes = ["asan", "fiber", "tsan", "race"]
    build_ahead([(text, TOGETHER, mode) for mode in modes for text in texts])


def run(name: str, mode: str, wrong: bool) -> None:
    """The check of a mistake, with the kernel that has it or with the right one."""
    mistake = MISTAKES[name]
    replaced = {mistake.kernel: (all_mistakes(), planted(name))} if wrong else None
    order = mode if MODES[mode][0] == "fiber" else "forward"
    with device(MODES[mode][0], order, 1, together=True, replaced=replaced) as gpu:
        mistake.check(gpu)


def pairs(modes_of: Callable[[Mistake], str]) -> pytest.MarkDecorator:
    """Parameters: mistakes and modes."""
    given = [(name, mode) for name, m in MISTAKES.items() for mode in modes_of(m).split()]
    return pytest.mark.parametrize(("name", "mode"), given)


@pairs(lambda mistake: mistake.found_by)
def test_a_mistake_is_found(name: str, mode: str) -> None:
    with pytest.raises(FOUND, match=MODES[mode][1]):
        run(name, mode, wrong=True)


@pairs(lambda mistake: mistake.found_by)
def test_without_the_mistake_nothing_is_found(name: str, mode: str) -> None:
    run(name, mode, wrong=False)


@pairs(lambda mistake: mistake.missed_by)
def test_a_mode_misses_what_it_cannot_see(name: str, mode: str) -> None:
    run(name, mode, wrong=True)


def test_no_mode_finds_everything_and_each_is_needed() -> None:
    finders = {name: set(mistake.found_by.split()) for name, mistake in MISTAKES.items()}
    found = Counter(mode for modes in finders.values() for mode in modes)
    assert set(found) == set(MODES)
    assert max(found.values()) < len(MISTAKES)
    assert {"asan"} in finders.values()
    assert {"race"} in finders.values()
    assert {"tsan", "race"} in finders.values()
    assert any("forward" in modes and "reverse" not in modes for modes in finders.values())
    assert any("reverse" in modes and "forward" not in modes for modes in finders.values())
