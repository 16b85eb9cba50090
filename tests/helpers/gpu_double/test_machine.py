"""The machine behind the stand-in: its account of what happened, its memory, its failures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_double import Double, MisuseError, installed

SAMPLES = (Path(__file__).parent / "samples.cu").read_text()


@pytest.fixture
def cupy() -> Iterator[Double]:
    """The stand-in on its usual machine."""
    with installed() as double:
        yield double


def test_transfers_are_counted_by_direction_and_kind_of_memory(cupy: Double) -> None:
    pinned = np.frombuffer(cupy.cuda.alloc_pinned_memory(800), np.float64, 100)
    pinned[:] = 1
    there = cupy.asarray(pinned)
    there.get(out=pinned)
    cupy.asarray(np.ones(7))
    assert cupy.log.moved("up") == cupy.log.uploaded == 856
    assert cupy.log.moved("up", pinned=True) == 800
    assert cupy.log.moved("down", pinned=True) == 800
    assert cupy.log.moved("down", pinned=False) == 0
    assert sum(cupy.log.moved_by("up").values()) == 856
    assert cupy.cuda.runtime.pointerGetAttributes(pinned.ctypes.data).type == 1
    assert cupy.cuda.runtime.pointerGetAttributes(there.data.ptr + 8).type == 2
    assert cupy.cuda.runtime.pointerGetAttributes(np.ones(3).ctypes.data).type == 0


def test_launches_are_counted_with_bytes_and_geometry(cupy: Double) -> None:
    points = cupy.zeros((100, 4), cupy.float32)
    labels = cupy.zeros(100, cupy.int32)
    kernel = cupy.RawModule(code=SAMPLES).get_function("nearest")
    cupy.log.reset()
    kernel((2,), (64,), (points, points[:3], np.int32(100), np.int32(3), labels), shared_mem=48)
    assert (labels + 1).dtype == cupy.int32
    launch, addition = cupy.log.launches
    assert cupy.log.kernels("nearest") == cupy.log.kernels() == [launch]
    assert (launch.grid, launch.block, launch.shared) == ((2, 1, 1), (64, 1, 1), 48)
    assert (launch.bytes_read, launch.bytes_written) == (1600 + 48 + 400, 400)
    assert (addition.name, addition.bytes_read, addition.bytes_written) == ("add", 400, 400)
    assert cupy.log.by_name() == {"nearest": 1, "add": 1}
    assert cupy.log.synchronizations == []


def test_memory_is_counted_as_the_pool_does() -> None:
    with installed(memory=1 << 20) as cupy:
        pool = cupy.get_default_memory_pool()
        a = cupy.empty(1, cupy.uint8)
        b = cupy.zeros(100_000)
        assert pool.used_bytes() == pool.total_bytes() == 512 + 800_256
        assert cupy.cuda.Device().mem_info == ((1 << 20) - 800_768, 1 << 20)
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError, match="800,256 bytes"):
            b + 1
        view = b[10:]
        del b
        assert pool.used_bytes() == 800_768
        del view
        assert (pool.used_bytes(), pool.free_bytes()) == (512, 800_256)
        pool.free_all_blocks()
        assert pool.total_bytes() == 512
        assert cupy.log.peak_bytes == 800_768
        cupy.log.reset()
        assert cupy.log.peak_bytes == 512
        cupy.model.used_by_others = (1 << 20) - 1000
        with pytest.raises(MemoryError):
            cupy.empty(1000, cupy.uint8)
        cupy.model.used_by_others = 0
        pool.set_limit(1024)
        with pytest.raises(MemoryError, match="limit set to: 1,024"):
            cupy.empty(1000, cupy.uint8)
        assert a.nbytes == 1


def test_arrays_in_cycles_make_room() -> None:
    with installed(memory=1 << 20) as cupy:
        holder: list[Any] = [cupy.zeros(100_000)]
        holder.append(holder)
        del holder
        assert cupy.zeros(100_000).size == 100_000


def test_fresh_memory_is_poisoned(cupy: Double) -> None:
    assert np.isnan(cupy.empty(9).get()).all()
    assert (cupy.empty(9, cupy.int32).get() == -1).all()


def test_a_kernel_that_writes_beside_an_array_is_found_out() -> None:
    text = 'extern "C" __global__ void f(int* a, int i) { a[i] = 1; }'
    with installed() as cupy:
        a = cupy.zeros(128, cupy.int32)
        kernel = cupy.RawKernel(text, "f")
        kernel((1,), (1,), (a, np.int32(127)))
        with pytest.raises(MisuseError, match="outside"):
            kernel((1,), (1,), (a, np.int32(128)))
        del a
        assert len(cupy.misuses) == 2
        cupy.misuses.clear()


def test_devices_have_memory_and_arrays_of_their_own() -> None:
    with installed(devices=2, memory=1 << 20) as cupy:
        a = cupy.zeros(100_000)
        with cupy.cuda.Device(1):
            b = cupy.zeros(100_000)
            assert (b.device.id, cupy.cuda.Device().id) == (1, 1)
            with pytest.raises(ValueError, match="different from the current device"):
                a + 1
        assert a.device.id == 0
        assert b.get().sum() == 0
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="invalid device"):
            cupy.cuda.Device(2).use()


KERNEL = 'extern "C" __global__ void f(int* a) { a[threadIdx.x] = 3; }'


def run(cupy: Double) -> Any:
    """What a small kernel writes."""
    a = cupy.zeros(4, cupy.int32)
    cupy.RawModule(code=KERNEL).get_function("f")((1,), (4,), (a,))
    return a.tolist()


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"driver": False}, "CUDARuntimeError", "cudaErrorInsufficientDriver"),
    ({"devices": 0}, "CUDARuntimeError", "cudaErrorNoDevice"),
    ({"nvrtc": False}, "DynamicLibNotFoundError", "nvrtc"),
    ({"refuses_to_compile": True}, "CompileException", "kernel.cu"),
    ({"allocations": 0}, "OutOfMemoryError", "Out of memory allocating 512 bytes"),
]


@pytest.mark.parametrize(("fault", "error", "message"), FAULTS)
def test_machines_that_fail(fault: dict[str, Any], error: str, message: str) -> None:
    with installed(**fault) as cupy:
        with pytest.raises(Exception, match=message) as raised:
            run(cupy)
        assert type(raised.value).__name__ == error
        assert cupy.cuda.is_available() == (set(fault) - {"driver", "devices"} == set(fault))


def test_a_machine_that_computes_nonsense() -> None:
    def falsify(name: str, arrays: list[Any]) -> None:
        arrays[0][2] = 7

    with installed(falsify=falsify) as cupy:
        assert run(cupy) == [3, 3, 7, 3]
        cupy.model.falsify = None
        assert run(cupy) == [3, 3, 3, 3]


def test_a_machine_that_rounds_products_to_ten_bits() -> None:
    with installed(rounds_products=True) as cupy:
        a = cupy.full((2, 2), 4097, cupy.float32)
        assert (a @ a).tolist() == [[2 * 4096.0**2] * 2] * 2
    with installed(cublas=False) as cupy, pytest.raises(ImportError, match="cublas"):
        cupy.ones((2, 2)) @ cupy.ones((2, 2))


def test_properties_of_the_device_are_what_was_asked_for() -> None:
    with installed(compute_capability="70", multiprocessors=80, memory=16 << 30) as cupy:
        device = cupy.cuda.Device()
        assert device.compute_capability == "70"
        assert device.attributes["MultiProcessorCount"] == 80
        properties = cupy.cuda.runtime.getDeviceProperties(0)
        assert (properties["major"], properties["minor"]) == (7, 0)
        assert cupy.cuda.runtime.memGetInfo() == (16 << 30, 16 << 30)


def test_raw_kernels_follow_cupys_rules(cupy: Double) -> None:
    with pytest.raises(TypeError, match="expected tuple, got list"):
        cupy.RawModule(code=KERNEL, options=["-std=c++17"])
    with pytest.raises(TypeError, match="Exactly one"):
        cupy.RawModule()
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="NOT_FOUND"):
        cupy.RawModule(code=KERNEL).get_function("g")
    with pytest.raises(cupy.cuda.compiler.CompileException, match="flaot"):
        cupy.RawModule(code="flaot x;").get_function("f")
    kernel = cupy.RawKernel(KERNEL, "f", ("--std=c++17",))
    a = cupy.zeros(4, cupy.int32)
    with pytest.raises(TypeError, match="expected tuple"):
        kernel([1], (4,), (a,))
    with pytest.raises(TypeError, match="shape"):
        kernel((1,), (4,), (np.zeros(4, np.int32),))
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="INVALID_VALUE"):
        kernel((1,), (4,), (a,), shared_mem=49153)
    kernel.max_dynamic_shared_size_bytes = 101376
    kernel((1,), (4,), (a,), shared_mem=49153)
    assert kernel.attributes["max_dynamic_shared_size_bytes"] == 101376
    with pytest.raises(cupy.cuda.driver.CUDADriverError):
        kernel.max_dynamic_shared_size_bytes = 101377


def test_static_and_dynamic_shared_memory_share_the_limit(cupy: Double) -> None:
    text = """
    extern "C" __global__ void __launch_bounds__(SIZE / 2, 1) f(int* a)
    {
        __shared__ int own[2 * SIZE];
        own[threadIdx.x] = 1;
        a[threadIdx.x] = own[threadIdx.x];
    }
    """
    kernel = cupy.RawKernel(text, "f", ("-DSIZE=64",))
    a = cupy.zeros(4, cupy.int32)
    kernel((1,), (4,), (a,), shared_mem=49152 - 512)
    assert kernel.max_threads_per_block == 32
    assert kernel.attributes["shared_size_bytes"] == 512
    for geometry in ({"block": (4,), "shared_mem": 49152 - 511}, {"block": (33,)}):
        with pytest.raises(cupy.cuda.driver.CUDADriverError, match="INVALID_VALUE"):
            kernel(grid=(1,), args=(a,), **geometry)
    kernel.max_dynamic_shared_size_bytes = 101376 - 512
    kernel((1,), (4,), (a,), shared_mem=101376 - 512)


@pytest.mark.parametrize("mode", ["race", "asan", "thread", "tsan"])
def test_kernels_can_run_in_any_mode(mode: str) -> None:
    with installed(mode=mode) as cupy:
        assert run(cupy) == [3, 3, 3, 3]
