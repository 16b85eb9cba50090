"""Work on a GPU that fails is done again with less memory, then on the CPU."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import ModuleType

import gpu_double
import pytest

from quantgpu.arrays.device import Device
from quantgpu.errors import DeviceError, DeviceMemoryError
from quantgpu.execution.fallback import BUDGET_DIVISOR, guard_progress, run_on_device


@pytest.fixture(autouse=True)
def gpu() -> Iterator[gpu_double.Double]:
    with gpu_double.installed() as cupy:
        yield cupy


class Attempts:
    """Work that fails with these errors, one after the other, before it goes well."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.budgets: list[int] = []
        self.keeps: list[bool] = []

    def __call__(self, xp: ModuleType, device: Device, keep: bool) -> str:
        assert xp.__name__ == "cupy"
        self.budgets.append(device.memory)
        self.keeps.append(keep)
        if self.errors:
            raise self.errors.pop(0)
        return "there"


def here() -> str:
    return "here"


MEMORY = DeviceMemoryError("no memory")
BROKEN = DeviceError("broken\nin two")
BUDGET = 64 << 20


def test_a_gpu_has_one_work_at_a_time_and_the_cpu_several() -> None:
    at_once, most = [0], [0]
    together = Barrier(2)

    def there(xp: ModuleType, device: Device, keep: bool) -> str:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        time.sleep(0.02)
        at_once[0] -= 1
        return "there"

    def meet() -> str:
        together.wait(20)
        return "here"

    with ThreadPoolExecutor(4) as pool:
        on_gpu = [pool.submit(run_on_device, "gpu", BUDGET, there, here) for _ in range(4)]
        assert {future.result()[0] for future in on_gpu} == {"there"}
        on_cpu = [pool.submit(run_on_device, "cpu", None, there, meet) for _ in range(2)]
        assert {future.result()[0] for future in on_cpu} == {"here"}
    assert most == [1]


@pytest.mark.parametrize("option", ["auto", "gpu"])
def test_a_gpu_that_works_is_asked_once(option: str) -> None:
    work = Attempts()
    assert run_on_device(option, BUDGET, work, here) == ("there", "gpu:0", [])
    assert (work.budgets, work.keeps) == ([BUDGET], [True])


def test_the_cpu_is_not_compared_with_anything() -> None:
    work = Attempts()
    assert run_on_device("cpu", None, work, here) == ("here", "cpu", [])
    assert work.budgets == []


@pytest.mark.parametrize("option", ["auto", "gpu"])
def test_memory_that_runs_out_is_tried_again_with_a_part_of_it(option: str) -> None:
    work = Attempts(MEMORY)
    found = run_on_device(option, BUDGET, work, here)
    assert found == ("there", "gpu:0", ["gpu:0 ran out of memory; went on with smaller slabs"])
    assert (work.budgets, work.keeps) == ([BUDGET, BUDGET // BUDGET_DIVISOR], [True, False])


@pytest.mark.parametrize("option", ["auto", "gpu"])
def test_memory_that_runs_out_twice_leaves_the_cpu(option: str) -> None:
    found = run_on_device(option, BUDGET, Attempts(MEMORY, MEMORY), here)
    assert found == ("here", "cpu", ["gpu:0 ran out of memory; went on with the CPU"])


@pytest.mark.parametrize("errors", [[BROKEN], [MEMORY, BROKEN]])
def test_a_gpu_that_fails_leaves_the_cpu_unless_it_was_named(errors: list[Exception]) -> None:
    found = run_on_device("auto", None, Attempts(*errors), here)
    assert found == ("here", "cpu", ["gpu:0 failed; went on with the CPU: broken"])
    with pytest.raises(DeviceError, match="broken"):
        run_on_device("gpu", None, Attempts(*errors), here)


@pytest.mark.parametrize("option", ["auto", "gpu", "cpu"])
@pytest.mark.parametrize("error", [OSError("mine"), DeviceError("mine"), KeyboardInterrupt()])
def test_what_the_caller_raises_is_no_failure_of_the_gpu(option: str, error: BaseException) -> None:
    def progress(stage: str, share: float) -> None:
        raise error

    def there(xp: ModuleType, device: Device, keep: bool) -> None:
        guard_progress(progress)("count", 0.5)

    with pytest.raises(type(error)) as raised:
        run_on_device(option, None, there, lambda: guard_progress(progress)("count", 0.5))
    assert raised.value is error


def test_a_machine_without_a_gpu_says_why_where_cupy_is_installed(gpu: gpu_double.Double) -> None:
    gpu.model.devices = 0
    found, device, (note,) = run_on_device("auto", None, Attempts(), here)
    assert (found, device) == ("here", "cpu")
    assert note.startswith("no GPU is used: ")
