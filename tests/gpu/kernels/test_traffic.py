"""How many bytes kernels read and write, counted where they do it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_double import run_kernel
from kernel_device import diffusion
from numpy.typing import NDArray
from pictures import photo, random_centers, random_points
from test_diffuse import COLORS, some_rows, some_scheme

from quantgpu.clustering.kmeans_gpu import LABELS, REDUCE_THREADS, SUMS, sums_per_cluster
from quantgpu.clustering.points import Points
from quantgpu.dithering import diffusion_gpu
from quantgpu.dithering.diffusion_matrices import DIFFUSION_MATRICES
from quantgpu.kernels import launch

FOLDER = Path(launch.__file__).parent

COUNTED = """
static unsigned long long* counted;
template <class T> struct Counted {
    T* at;
    template <class Index> T& operator[](Index i) const { *counted += sizeof(T); return at[i]; }
    operator T*() const { return at; }
};
"""
"""A pointer that adds up the bytes that pass through it."""


def instrumented(name: str, parameters: list[str], *changes: tuple[str, str]) -> str:
    """The text of a kernel that counts what it reads and writes through some of its parameters.

    It takes one parameter more, the counter, as its last.
    """
    text = (FOLDER / f"{name}.cu").read_text()
    head, body = re.split(
        r"(?<=\))\s*\{\n", text[(start := text.index('extern "C"')) :], maxsplit=1
    )
    signature = head.removesuffix(")") + ", unsigned long long* counter)"
    rebound = "counted = counter;\n"
    for parameter in parameters:
        found = re.search(rf"((?:const )?[\w ]+)\* __restrict__ {parameter}\b", signature)
        assert found, parameter
        signature = signature.replace(found[0], f"{found[1]}* raw_{parameter}")
        rebound += f"const Counted<{found[1].strip()}> {parameter}{{raw_{parameter}}};\n"
    for old, new in changes:
        assert old in body
        body = body.replace(old, new)
    return f"{text[:start]}{COUNTED}{signature} {{\n{rebound}{body}"


def traffic_of_reduce(
    points: Points, centers: NDArray[np.float32], kind: int, parameters: list[str]
) -> tuple[int, NDArray[Any]]:
    """Bytes that go through some of its parameters, and what it makes."""
    k, axes = centers.shape
    n, sums, counter = len(points), sums_per_cluster(kind, axes), np.zeros(1, np.uint64)
    out = np.zeros((k, sums), np.uint64) if sums else np.zeros(n, np.int32)
    numbers = np.array([k], np.int32), np.int32(n), np.int32(sums > 0)
    run_kernel(
        instrumented("reduce", parameters), "reduce", (3,), (REDUCE_THREADS,),
        (points.columns, points.weights, centers, *numbers, out, counter), 8 * sums * k,
        options=(f"-DKIND={kind}", f"-DAXES={axes}"),
    )  # fmt: skip
    return int(counter[0]), out


@pytest.mark.parametrize("count", [1, 4095, 4096])
@pytest.mark.parametrize("k", [1, 17, 256, 300])
@pytest.mark.parametrize(("axes", "nbytes"), [(3, 20), (4, 24)])
def test_a_lloyd_step_reads_every_point_once(axes: int, nbytes: int, k: int, count: int) -> None:
    """4 bytes for each coordinate and 8 for its weight."""
    points, centers = random_points(count, axes=axes), random_centers(k, axes=axes)
    found, sums = traffic_of_reduce(points, centers, SUMS, ["columns", "weights"])
    assert found == nbytes * count
    assert int(sums[:, 0].sum()) == int(points.weights.sum())


@pytest.mark.parametrize(("axes", "nbytes"), [(3, 16), (4, 20)])
def test_assignment_reads_every_coordinate_once_and_writes_four_bytes_for_each_point(
    axes: int, nbytes: int
) -> None:
    points, centers = random_points(4096, axes=axes), random_centers(40, axes=axes)
    found, labels = traffic_of_reduce(points, centers, LABELS, ["columns", "weights", "out"])
    assert found == nbytes * 4096
    assert len(np.unique(labels)) == 40


WORDS = (
    "const unsigned* const words = (const unsigned*)pixels;",
    "const Counted<const unsigned> words{(const unsigned*)raw_pixels};",
)


def test_counting_reads_each_pixel_once() -> None:
    colors, counter = photo(64, 100).reshape(-1, 3), np.zeros(1, np.uint64)
    bins = np.zeros(1 << 24, np.uint32)
    text = instrumented("histogram", ["pixels"], WORDS)
    run_kernel(text, "histogram", (3,), (256,), (colors, np.int64(6400), bins, counter), 0)
    assert int(bins.sum()) == 6400
    assert int(counter[0]) == 3 * 6400


def test_counting_a_flat_area_touches_its_bin_once_for_sixteen_pixels() -> None:
    counter, bins = np.zeros(1, np.uint64), np.zeros(1 << 24, np.uint32)
    text = instrumented("histogram", ["bins"], ("atomicAdd(&bins[", "atomicAdd(&bins[0 + "))
    colors = np.full((1600, 3), 77, np.uint8)
    run_kernel(text, "histogram", (2,), (256,), (colors, np.int64(1600), bins, counter), 0)
    assert int(counter[0]) == 4 * 1600 // 16


def test_mapping_reads_each_pixel_once_and_its_entry_once() -> None:
    colors, counter = photo(64, 100).reshape(-1, 3), np.zeros(1, np.uint64)
    table = np.random.default_rng(0).integers(0, 256, 1 << 24).astype(np.uint8)
    index = np.zeros(6400, np.uint8)
    text = instrumented("remap", ["pixels", "table"], WORDS)
    run_kernel(text, "remap", (3,), (256,), (colors, table, np.int64(6400), index, counter), 0)
    keys = colors.astype(int) @ [1, 256, 65536]
    np.testing.assert_array_equal(index, table[keys])
    assert int(counter[0]) == (3 + 1) * 6400


def test_diffusion_reads_each_color_and_strength_once_and_writes_each_index_once() -> None:
    kernel, scheme = DIFFUSION_MATRICES["adaptive"], some_scheme(3, 40)
    colors, strength, _ = some_rows(kernel, 3, (2, 70, 50))
    errors, counter = np.zeros((2, 4, 1, 3, 50), np.int32), np.zeros(1, np.uint64)
    codes, entries = diffusion_gpu.chained(scheme.cells)
    cells = scheme.cells
    tables = scheme.points, None, scheme.centers, cells.origin, codes, entries
    numbers = COLORS, 40, cells.shift, *cells.sides[1:], 1, scheme.reach, *colors.shape
    index = np.full(colors.shape, 255, np.uint8)
    run_kernel(
        instrumented("diffuse", ["colors", "strength", "index"]), "diffuse", (6,), (32,),
        (
            *(colors, strength, *tables, *map(np.int32, numbers), errors),
            *(np.zeros(7, np.int32), index, counter),
        ),
        options=diffusion("adaptive")[1:],
    )  # fmt: skip
    assert index.max() < 40
    assert int(counter[0]) == (4 + 1 + 1) * colors.size
