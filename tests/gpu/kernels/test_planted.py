"""A test of the tests: mistakes planted in the kernels are found, each by the modes that can."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import gpu_double
import numpy as np
import pytest
from kernel_device import (
    TOGETHER,
    VARIANTS,
    Kernel,
    build_ahead,
    device,
    diffusion,
    everything,
    one_text,
    text_of,
)
from kernel_problems import all_equal, far_out, problem, some_codes, some_colors
from test_cells import check_octree
from test_clusters import check_lloyd, check_reduce, check_sums, check_update
from test_diffuse import check_frames, check_slabs
from test_pixels import (
    check_histogram,
    check_ordered,
    check_remap,
    check_tally,
    check_temper,
)
from test_sanitized import WITH_AXES, along
from test_search import ROUNDS, check_drop, check_lines, check_place, check_rank

MODES = {
    "forward": ("fiber", None),
    "reverse": ("fiber", None),
    "random": ("fiber", None),
    "beside": ("fiber", None),
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


SUMS = "reduce", "-DKIND=1", "-DAXES=3"
SUMS_OF_FOUR = "reduce", "-DKIND=1", "-DAXES=4"
BARRIER = "__syncthreads();  // "
ORDERED = "ordered", "-DCOUNTED=1"
TALLY = "tally", "-DCOUNTED=1"
DIFFUSE = diffusion("adaptive")
DIFFUSE_FAR = diffusion("stevenson-arce", 4, 2)
FENCE = "__threadfence();  // errors are "


def sums_of_many_points(gpu: Any) -> None:
    check_lloyd(gpu, problem(1031, 5), 1)


def sums_of_many_centers(gpu: Any) -> None:
    check_lloyd(gpu, problem(600, 1100), 1)


def errors_of_many_bands(gpu: Any) -> None:
    check_frames(gpu, "adaptive", (2, 70, 50))


def pictures(gpu: Any) -> None:
    check_ordered(gpu, (70, 67), 2)


def mapped(gpu: Any) -> None:
    check_tally(gpu, some_colors(4503))


def without_axes() -> list[Kernel]:
    """Kernels that are compiled for a number of axes, without it."""
    return [kernel[:-1] for kernel in VARIANTS if kernel[-1] == "-DAXES=4"]


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
        ("drop", "-DAXES=3"), f"{BARRIER}no bit", "// ",
        lambda gpu: check_drop(gpu, 131, 120), "forward tsan race", "reverse",
    ),
    "no barrier: bits are read before they are set": Mistake(
        ("drop", "-DAXES=3"), f"{BARRIER}it is settled", "// ",
        lambda gpu: check_drop(gpu, 131, 120), "reverse tsan race", "forward",
    ),
    "no barrier: sums are cleared late": Mistake(
        ("accumulate", "-DAXES=3"), f"{BARRIER}the sums begin", "// ",
        lambda gpu: check_sums(gpu, problem(47, 33), 2), "race", "forward reverse random",
    ),
    "no barrier: sums leave before all rows are in them": Mistake(
        ("accumulate", "-DAXES=3"), f"{BARRIER}all rows are in", "// ",
        lambda gpu: check_sums(gpu, problem(47, 33), 2), "forward reverse random tsan race",
    ),
    "a return before a barrier": Mistake(
        SUMS, "if (k == 0) return;", "if (blockIdx.x * 512 + threadIdx.x * 4 >= n) return;",
        sums_of_many_points, "forward reverse random",
    ),
    "lanes that do not come to a shuffle": Mistake(
        ("accumulate", "-DAXES=3"), "for (int apart = 16;", "if (lane < k) for (int apart = 16;",
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
        ("place", "-DAXES=3"), "if (blockIdx.x == 0 && threadIdx.x == 0)", "if (threadIdx.x == 0)",
        lambda gpu: check_place(gpu, ROUNDS["better"], 130), "race", "forward random tsan",
    ),
    "a loop that clears one word too many": Mistake(
        SUMS, "in_shared && i < 2 * VALUES * k;", "in_shared && i <= 2 * VALUES * k;",
        sums_of_many_points, "forward reverse random asan",
    ),
    "a loop that reads one word too many": Mistake(
        ("remap", "-DINDEX=unsigned char"), "w < WORDS;", "w <= WORDS;",
        lambda gpu: check_remap(gpu, some_colors(4512), np.uint8), "asan", "forward race",
    ),
    "a run that begins one pixel too late": Mistake(
        ("histogram",), "if (n - g * RUN < RUN)", "if (n - g * RUN < RUN - 1)",
        lambda gpu: check_histogram(gpu, some_colors(4511)), "asan",
    ),
    "a loop that begins one too late": Mistake(
        ("rank", "-DAXES=3"), "for (int j = 0; j < m", "for (int j = 1; j < m",
        lambda gpu: check_rank(gpu, 130), "forward reverse random",
    ),
    "a cell's first level is skipped": Mistake(
        ("octree", "-DAXES=3"), "if (coarsest > level)", "if (coarsest >= level)",
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
        ("accumulate", "-DAXES=3"), "index < label", "index > label",
        lambda gpu: check_sums(gpu, problem(257, 255), 2), "forward reverse random",
    ),
    "quotients are cut off instead of rounded down": Mistake(
        ("update", "-DAXES=3"), " - (a % b < 0);", ";",
        lambda gpu: check_update(gpu, (1, 1)), "forward reverse random",
    ),
    "a sum that is not cleared": Mistake(
        ("update", "-DAXES=3"), "cluster[0] = 0;", "",
        lambda gpu: check_update(gpu, (1, 1)), "forward reverse random",
    ),
    "a number of another size": Mistake(
        ("remap", "-DINDEX=unsigned char"), "long long n,", "int n,",
        lambda gpu: check_remap(gpu, some_colors(300), np.uint8), "forward",
    ),
    "an array of another type": Mistake(
        SUMS, "const long long* __restrict__ weights", "const int* __restrict__ weights",
        sums_of_many_points, "forward",
    ),
    "a fixed center moves": Mistake(
        ("update", "-DAXES=3"), "if (c >= fixed) *center", "*center",
        lambda gpu: check_update(gpu, (1, 1), fixed=9), "forward reverse random",
    ),
    "a fixed center is brought to the bounds of the points": Mistake(
        ("update", "-DAXES=4"), "if (c >= fixed) *center", "if (c < fixed) grid = *center; *center",
        lambda gpu: check_lloyd(gpu, far_out(400, 40, 4), 2, 1), "forward reverse random",
    ),
    "one center too many is fixed": Mistake(
        ("update", "-DAXES=3"), "c >= fixed", "c > fixed",
        lambda gpu: check_update(gpu, (1, 1), fixed=9), "forward reverse random",
    ),
    "a fixed center is split": Mistake(
        ("place", "-DAXES=3"), "c < fixed\n", "false\n",
        lambda gpu: check_place(gpu, ROUNDS["better"], 17, fixed=5), "forward reverse random",
    ),
    "a fixed center is dropped as the cheapest": Mistake(
        ("drop", "-DAXES=3"), "c < fixed || stays[", "stays[",
        lambda gpu: check_drop(gpu, 33, 31, fixed=31), "forward reverse random",
    ),
    "a fixed center is dropped where too few others may go": Mistake(
        ("drop", "-DAXES=3"), "c < fixed || goes[", "goes[",
        lambda gpu: check_drop(gpu, 300, 7, fixed=5), "forward reverse random",
    ),
    "the fourth axis has no share in the distance": Mistake(
        SUMS_OF_FOUR, "a < AXES; ++a) distance", "a < 3; ++a) distance",
        lambda gpu: check_reduce(gpu, problem(257, 17, axes=4)), "forward",
    ),
    "the fourth axis has no share in the norm": Mistake(
        SUMS_OF_FOUR, "norm += s * s;", "if (a < 3) norm += s * s;",
        lambda gpu: check_reduce(gpu, problem(257, 17, axes=4)), "forward",
    ),
    "a tile of more centers than it has room for": Mistake(
        SUMS_OF_FOUR, "start += TILE", "start += 256",
        lambda gpu: check_reduce(gpu, problem(257, 376, axes=4)), "forward",
    ),
    "the fourth axis has no moments": Mistake(
        ("reduce", "-DKIND=2", "-DAXES=4"), "i < AXES; ++i)", "i < 3; ++i)",
        lambda gpu: check_reduce(gpu, problem(257, 17, axes=4)), "forward",
    ),
    "the fourth axis does not part neighbors": Mistake(
        ("rank", "-DAXES=4"), "a < AXES", "a < 3",
        lambda gpu: check_rank(gpu, 257, 4), "forward",
    ),
    "clusters of four axes are split along three": Mistake(
        ("spread", "-DAXES=4"), "d < LINES", "d < 13",
        lambda gpu: check_lines(gpu, 4), "forward",
    ),
    "a line that is there twice": Mistake(
        ("spread", "-DAXES=4"), "{1, -1, -1, -1}}", "{1, -1, -1, 1}}",
        lambda gpu: check_lines(gpu, 4), "forward",
    ),
    "a level of three bits where there are four axes": Mistake(
        ("octree", "-DAXES=4"), "const int shift = AXES *", "const int shift = 3 *",
        lambda gpu: check_octree(gpu, some_codes(300, 4), (), axes=4), "forward",
    ),
    "a parent of three bits more where there are four axes": Mistake(
        ("octree", "-DAXES=4"), "(shift + AXES)", "(shift + 3)",
        lambda gpu: check_octree(gpu, some_codes(300, 4), (), axes=4), "forward",
    ),
    "a band does not wait for the errors above it": Mistake(
        DIFFUSE, "if (band > 0 && ahead", "if (false && ahead", errors_of_many_bands,
        "beside race", "forward reverse random",
    ),
    "a band waits for fewer columns than it reads": Mistake(
        DIFFUSE, "min(ahead + SPAN, width)", "min(ahead, width)", errors_of_many_bands,
        "beside", "forward reverse random race",
    ),
    "no fence: errors may come after their count": Mistake(
        DIFFUSE, f"{FENCE}there", "// ", errors_of_many_bands,
        "race", "forward reverse random beside",
    ),
    "no fence: errors may be read before their count": Mistake(
        DIFFUSE, f"{FENCE}read", "// ", errors_of_many_bands,
        "race", "forward reverse random beside",
    ),
    "no meeting: errors of another lane are counted": Mistake(
        DIFFUSE, "__syncwarp();  // all lanes", "// ", errors_of_many_bands,
        "race", "forward reverse random beside",
    ),
    "the last columns are not counted": Mistake(
        DIFFUSE, " || done == width", "", errors_of_many_bands, "forward reverse random beside",
    ),
    "a band that waits for one that comes later": Mistake(
        DIFFUSE, "lane == 0 ? atomicAdd(&progress[0], 1) : 0", "(int)blockIdx.x",
        errors_of_many_bands, "reverse random", "forward beside",
    ),
    "errors of another frame are waited for": Mistake(
        DIFFUSE, "published - 1", "progress + band", errors_of_many_bands,
        "race", "forward reverse random",
    ),
    "errors below few rows are not kept": Mistake(
        DIFFUSE, "lane >= rows - DEPTH", "lane >= ROWS - DEPTH",
        lambda gpu: check_slabs(gpu, "adaptive", [3, 2]), "forward",
    ),
    "the first lane gets its own errors": Mistake(
        DIFFUSE, "if (lane == 0) near", "if (false) near", errors_of_many_bands, "forward",
    ),
    "shares are cut off instead of rounded down": Mistake(
        DIFFUSE, " - (a % b < 0);", ";", errors_of_many_bands, "forward",
    ),
    "no barrier: the palette is used before it is there": Mistake(
        ORDERED, f"{BARRIER}the palette", "// ", pictures, "forward reverse random tsan race",
    ),
    "no barrier: counts leave before all pixels are in them": Mistake(
        ORDERED, f"{BARRIER}all pixels", "// ", pictures, "race", "forward reverse random",
    ),
    "plain += to counts": Mistake(
        ORDERED, "atomicAdd(&pixels_of[entry], 1);", "pixels_of[entry] += 1;", pictures,
        "tsan race", "forward reverse random",
    ),
    "no barrier: colors are compared before the palette is there": Mistake(
        TALLY, f"{BARRIER}the palette", "// ", mapped, "forward reverse random tsan race",
    ),
    "no barrier: entries leave before all pixels are in them": Mistake(
        TALLY, f"{BARRIER}all pixels", "// ", mapped, "race", "forward reverse random",
    ),
    "plain += to entries": Mistake(
        TALLY, "atomicAdd(&pixels_of[entry], 1);", "pixels_of[entry] += 1;", mapped,
        "tsan race", "forward reverse random",
    ),
    "the last of four pixels is read where there are three": Mistake(
        TALLY, "count == 4", "count >= 3", mapped, "asan",
    ),
    "the row above does not count": Mistake(
        ("weigh", "-DTEMPERED=1"), "y >= -has_before", "y >= 0",
        lambda gpu: check_temper(gpu, 40, 50), "forward",
    ),
    "clean gradients get what busy areas get": Mistake(
        ("weigh", "-DTEMPERED=1"), "max(level, clean)", "level",
        lambda gpu: check_temper(gpu, 40, 50), "forward",
    ),
    "every picture's errors are those of the first": Mistake(
        ORDERED, "errors[blockIdx.y]", "errors[0]", pictures, "forward",
    ),
    "the matrix begins anew in every row of a slab": Mistake(
        ORDERED, "++y;", ";", pictures, "forward",
    ),
    "the matrix begins at the left of every part": Mistake(
        ORDERED, "(column + x)", "(column * 0 + x)", pictures, "forward",
    ),
    "ties go to the last palette color": Mistake(
        DIFFUSE_FAR, "distance < least", "distance <= least",
        lambda gpu: check_frames(gpu, "stevenson-arce", (1, 70, 70), 4, 300), "forward",
    ),
    "colors with cells of their own share those of the others": Mistake(
        DIFFUSE_FAR, "codes + begin + place", "codes + place",
        lambda gpu: check_frames(gpu, "stevenson-arce", (1, 9, 9), 4, 300, parted=True), "forward",
    ),
    **{
        f"{' '.join(kernel)} is compiled for three": Mistake(
            (*kernel, "-DAXES=4"), "#ifndef AXES\n#define AXES 3\n#endif",
            "#undef AXES\n#define AXES 3", along(WITH_AXES[kernel[0]], 4), "forward",
        )
        for kernel in without_axes()
    },
}  # fmt: skip


def planted(name: str) -> Kernel:
    """The name and definitions of a kernel with a mistake."""
    original, *defines = MISTAKES[name].kernel
    return (f"{original}.{[*MISTAKES].index(name)}", *defines)


@cache
def mistakes_for(build: str) -> str:
    """The wrong kernels in one text, for a way of building: those that a mode built so runs."""
    modes = {mode for mode, (built, _) in MODES.items() if built == build}
    texts = {}
    for name, mistake in MISTAKES.items():
        if modes & {*mistake.found_by.split(), *mistake.missed_by.split()}:
            right = text_of(mistake.kernel[0])
            texts[planted(name)] = right.replace(mistake.right, mistake.wrong)
            assert texts[planted(name)] != right
    return one_text(texts)


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    builds = ["asan", "fiber", "tsan", "race"]
    texts = [(text, build) for build in builds for text in (mistakes_for(build), everything())]
    build_ahead([(text, TOGETHER, build) for text, build in texts])


def run(name: str, mode: str, wrong: bool) -> None:
    """The check of a mistake, with the kernel that has it or with the right one."""
    mistake, build = MISTAKES[name], MODES[mode][0]
    replaced = {mistake.kernel: (mistakes_for(build), planted(name))} if wrong else None
    order = mode if build == "fiber" else "forward"
    with device(build, order, 1, together=True, replaced=replaced) as gpu:
        mistake.check(gpu)


def pairs(modes_of: Callable[[Mistake], str]) -> pytest.MarkDecorator:
    """Parameters: mistakes and modes."""
    given = [(name, mode) for name, m in MISTAKES.items() for mode in modes_of(m).split()]
    return pytest.mark.parametrize(("name", "mode"), given)


@pairs(lambda mistake: mistake.found_by)
def test_a_mistake_is_found(name: str, mode: str) -> None:
    with pytest.raises(FOUND, match=MODES[mode][1]):
        run(name, mode, wrong=True)


RIGHT = {
    (mistake.kernel, mistake.check, mode): (name, mode)
    for name, mistake in MISTAKES.items()
    for mode in mistake.found_by.split()
}
"""One mistake for each check and mode: without their mistakes, kernels are all the same."""


@pytest.mark.parametrize(("name", "mode"), RIGHT.values())
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
