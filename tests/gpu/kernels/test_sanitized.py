"""Small problems for every kernel under sanitizers, and nothing to do."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from kernel_device import (
    AXES,
    FOLDER,
    TOGETHER,
    VARIANTS,
    build_ahead,
    device,
    everything,
    exported,
    launch,
)
from kernel_problems import problem, some_codes, some_colors
from test_cells import check_octree
from test_clusters import check_reduce, check_sums, check_update
from test_diffuse import check_frames
from test_pixels import (
    check_histogram,
    check_ordered,
    check_remap,
    check_tally,
    check_temper,
    check_weigh,
    check_weighted,
)
from test_search import (
    ROUNDS,
    check_drop,
    check_place,
    check_rank,
    check_search,
    check_spread,
)

from quantgpu.clustering.kmeans import RELAXATION


def check_nothing(gpu: Any, axes: int) -> None:
    """Kernels that no wrapper launches for nothing do no harm when there is nothing."""
    none, zero, full = np.zeros(0), np.zeros(1, np.int32), np.full(4 * axes, 77.0)
    columns, weights = none.astype("f4"), none.astype("i8")
    table = np.full((3, 1 + axes), 77, np.uint64)
    numbers = [np.int32(number) for number in (0, 0, 0, 3, 1)]
    launch(
        gpu, "accumulate", columns, columns, weights, *numbers, table,
        axes=axes, threads=256, shared=24 * (1 + axes),
    )  # fmt: skip
    codes, cells = none.astype("i4" if axes == 3 else "i8"), none.astype("i4")
    launch(
        gpu, "octree", codes, none.astype("i1"), cells, np.zeros((2 + axes, 1), "i8"), np.int32(0),
        np.int32(1), cells, cells, none, none, cells, axes=axes,
    )  # fmt: skip
    signed, singles = table.view(np.int64), full.astype(np.float32)
    line, error = full.copy(), table[0, :1].copy()
    launch(gpu, "spread", signed, singles, zero, full, line, error, axes=axes)
    low, high = singles[:axes].copy(), singles[:axes].copy()
    numbers = [np.int32(number) for number in (2, 1, 1)]
    launch(gpu, "update", signed, zero, low, high, *numbers, singles, axes=axes)
    assert (table == 77).all()
    assert (full == 77).all()
    assert (singles == 77).all()


@pytest.mark.parametrize("axes", AXES)
def test_nothing_to_do_does_no_harm(gpu: Any, axes: int) -> None:
    check_nothing(gpu, axes)
    check_rank(gpu, 0, axes)
    check_drop(gpu, 0, 3, axes=axes)


WITH_AXES: dict[str, Callable[[Any, int], None]] = {
    "reduce": lambda gpu, axes: check_reduce(gpu, problem(1031, 5, axes=axes)),
    "reduce to global memory": lambda gpu, axes: check_reduce(gpu, problem(515, 1409, axes=axes)),
    "accumulate": lambda gpu, axes: check_sums(gpu, problem(47, 33, axes=axes), 2),
    "accumulate in global memory": lambda gpu, axes: check_sums(
        gpu, problem(17, 1409, axes=axes), 1
    ),
    "update": lambda gpu, axes: check_update(gpu, RELAXATION, 140, axes, fixed=9),
    "spread": lambda gpu, axes: check_spread(gpu, problem(257, 130, heaviest=9, axes=axes)),
    "place": lambda gpu, axes: check_place(gpu, ROUNDS["better"], 130, axes, fixed=2),
    "place again": lambda gpu, axes: check_place(gpu, ROUNDS["worse"], 130, axes),
    "rank": lambda gpu, axes: check_rank(gpu, 130, axes),
    "drop": lambda gpu, axes: check_drop(gpu, 131, 60, axes=axes, fixed=40),
    "octree": lambda gpu, axes: check_octree(gpu, some_codes(300, axes), (), axes=axes),
    "nothing": check_nothing,
}


def along(check: Callable[[Any, int], None], axes: int) -> Callable[[Any], None]:
    """The check for a number of axes."""
    return lambda gpu: check(gpu, axes)


SMALL: dict[str, Callable[[Any], None]] = {
    **{
        f"{name} of {axes} axes": along(check, axes)
        for name, check in WITH_AXES.items()
        for axes in AXES
    },
    "histogram": lambda gpu: check_histogram(gpu, some_colors(4500)),
    "histogram with weights": lambda gpu: check_weighted(gpu, some_colors(4500)),
    "weigh": lambda gpu: check_weigh(gpu, 40, 50),
    "weigh, tempered": lambda gpu: check_temper(gpu, 40, 50),
    "tally": lambda gpu: check_tally(gpu, some_colors(4503)),
    "ordered": lambda gpu: check_ordered(gpu, (70, 67), 2),
    "remap to 8 bits": lambda gpu: check_remap(gpu, some_colors(4500), np.uint8),
    "diffuse": lambda gpu: check_frames(gpu, "adaptive", (2, 34, 18)),
    "diffuse with four axes": lambda gpu: check_frames(
        gpu, "stevenson-arce", (1, 33, 17), 4, 300, parted=True
    ),
    "remap to 16 bits": lambda gpu: check_remap(gpu, some_colors(4500), np.uint16),
}
"""Checks that launch every kernel, on more than one block."""


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    modes = ["asan", "fiber", "tsan", "race"]
    build_ahead([(everything(), TOGETHER, mode) for mode in modes])


SANITIZED = [
    *product(SMALL, ["asan", "race"]),
    *((name, "tsan") for name in SMALL if not name.endswith(f" {AXES[0]} axes")),
]
"""ThreadSanitizer takes seconds for each; barriers are the same for any axes, so one has to do."""


@pytest.mark.parametrize(("name", "mode"), SANITIZED)
def test_sanitizers_find_nothing(name: str, mode: str) -> None:
    with device(mode, multiprocessors=1, together=True) as gpu:
        SMALL[name](gpu)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("mode", ["asan", "race"])
def test_sanitizers_find_nothing_in_a_search(mode: str, axes: int) -> None:
    """ThreadSanitizer is left out: it takes half a second for each of the 25 launches."""
    with device(mode, multiprocessors=1, together=True) as gpu:
        check_search(gpu, problem(150, 5, heaviest=9, axes=axes), 2, 1, fixed=axes - 3)


def test_sanitizers_see_every_kernel_and_more_than_one_block_of_it() -> None:
    blocks: dict[str, int] = {}
    with device(multiprocessors=1, together=True) as gpu:
        for check in SMALL.values():
            check(gpu)
        for made in gpu.log.kernels():
            assert made.grid is not None
            blocks[made.name] = max(blocks.get(made.name, 0), made.grid[0])
    alone = {exported(kernel) for kernel in VARIANTS if kernel[0] == "drop"}
    assert set(blocks) == {exported(kernel) for kernel in VARIANTS}
    assert {name for name, most in blocks.items() if most == 1} == alone
    assert {kernel[0] for kernel in VARIANTS} == {path.stem for path in FOLDER.glob("*.cu")}
