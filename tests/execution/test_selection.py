"""Which device does the work, and what is said when it is not the one that was hoped for."""

import builtins
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gpu_double
import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import photo
from typer.testing import CliRunner

from quantgpu import DeviceError, cli, quantize
from quantgpu.arrays import device
from quantgpu.arrays.device import has_driver, parse_bytes
from quantgpu.demo.scene import render_scene
from quantgpu.doctor import as_lines, examine
from quantgpu.errors import UsageError
from quantgpu.execution import selection
from quantgpu.execution.selection import choose_device

ROOT = Path(__file__).parents[2]

REASONS: list[tuple[dict[str, Any], str]] = [
    ({"driver": False}, "no NVIDIA driver, or one too old for this CuPy: update the driver"),
    ({"devices": 0}, "the NVIDIA driver finds no GPU"),
    ({"compute_capability": "70"}, "gpu:0 has compute capability 7.0; 7.5 is the least"),
    ({"nvrtc": False}, "NVRTC is missing or broken"),
    ({"cublas": False}, "cuBLAS is missing or broken"),
    ({"refuses_to_compile": True}, "kernel reduce cannot be compiled for compute capability 86"),
    ({"rounds_products": True}, "gpu:0 rounds products to TensorFloat-32; unset CUPY_TF32"),
    ({"allocations": 1}, "no device memory left"),
    ({"used_by_others": 8 << 30}, "no device memory left"),
]
"""What is wrong with a machine to what is said about it."""


@pytest.mark.parametrize(("fault", "reason"), REASONS)
def test_every_fault_is_named_and_auto_goes_on_with_the_cpu(
    fault: dict[str, Any], reason: str
) -> None:
    picture = photo(9, 14)
    with gpu_double.installed(**fault):
        with pytest.raises(DeviceError) as raised:
            quantize(picture, 5, device="gpu")
        found = quantize(picture, 5)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value).strip() or "compiled" in reason
    assert found.device == "cpu"
    assert len(found.notes) == 1
    assert found.notes[0].startswith("no GPU is used: ")
    assert reason in found.notes[0]


@pytest.mark.parametrize("kernel", ["reduce", "accumulate"])
def test_a_device_that_computes_something_else_is_refused(kernel: str) -> None:
    def falsify(name: str, arrays: list[Any]) -> None:
        if name == kernel:
            arrays[-1][-1] += np.uint64(1)

    with gpu_double.installed(falsify=falsify):
        with pytest.raises(DeviceError, match="gpu:0 computes wrong sums"):
            quantize(photo(9, 14), 5, device="gpu")
        assert quantize(photo(9, 14), 5).device == "cpu"


@pytest.mark.parametrize(("option", "device_used"), [("auto", "cpu"), ("gpu", None)])
def test_a_kernel_that_fails_to_compile_later_costs_auto_nothing(
    option: str, device_used: str | None
) -> None:
    picture = photo(9, 14)
    with gpu_double.installed() as gpu:
        choose_device("gpu")
        gpu.model.refuses_to_compile = True
        if device_used is None:
            with pytest.raises(DeviceError, match="kernel weigh cannot be compiled"):
                quantize(picture, 5, device=option)
            return
        found = quantize(picture, 5, device=option)
    assert found.device == device_used
    assert found.notes[0].startswith("gpu:0 failed; went on with the CPU: kernel weigh cannot")
    np.testing.assert_array_equal(found.index, quantize(picture, 5, device="cpu").index)


def test_a_machine_without_cupy_is_an_ordinary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (device, selection):
        monkeypatch.setattr(module, "is_installed", lambda: False)
    assert choose_device("auto") == (device.CPU, "")
    with pytest.raises(
        DeviceError, match=r"CuPy is not installed: pip install 'cupy-cuda13x\[ctk\]"
    ):
        choose_device("gpu")


@pytest.mark.parametrize("version", ["13.6.0", "9.0", None])
def test_an_old_or_empty_cupy_is_refused_by_name(
    version: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gpu_double.installed() as gpu:
        if version is None:
            monkeypatch.delattr(gpu.cupy, "__version__")
        else:
            monkeypatch.setattr(gpu.cupy, "__version__", version)
        with pytest.raises(DeviceError, match=r"CuPy .* is too old; 14.0 is the least: pip"):
            choose_device("gpu")
        assert quantize(photo(3, 4), 2).device == "cpu"


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), RuntimeError("no"), OSError(28)])
def test_what_the_system_raises_while_a_gpu_is_opened_is_a_reason(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    with gpu_double.installed() as gpu:
        monkeypatch.setattr(gpu.cupy, "RawModule", fail)
        with pytest.raises(DeviceError, match=type(error).__name__):
            choose_device("gpu")
        assert quantize(photo(3, 4), 2).device == "cpu"


def few_pictures() -> list[tuple[str, NDArray[np.uint8], int, str, str]]:
    """Small ones, as the stand-in takes its time."""
    picture = render_scene(75, 50)
    return [("scene", picture, 2, "fast", "blue-noise"), ("scene", picture, 300, "none", "none")]


def test_doctor_with_little_memory_says_what_it_could_not_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("quantgpu.doctor.comparison_cases", few_pictures)
    with gpu_double.installed(used_by_others=(8 << 30) - (60 << 20)):
        found = examine()
    [gpu] = found["devices"]
    assert gpu["reason"] is None
    assert "no device memory left" in gpu["unmeasured"]
    lines = as_lines(found)
    assert any(line.startswith("not measured  no device memory left") for line in lines)
    assert any("not compared  gpu:0 ran out of memory" in line for line in lines)
    assert not any(line.startswith("DIFFERENT") for line in lines)


def test_doctor_without_nvrtc_still_tells_the_versions_and_the_devices() -> None:
    with gpu_double.installed(nvrtc=False):
        found = examine()
    assert found["versions"]["CUDA driver"] == "13.0"
    assert "NVRTC is missing" in found["versions"]["NVRTC"]
    assert found["devices"][0]["name"] == "Stand-in"


def test_a_broken_cupy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def broken(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "cupy":
            raise RuntimeError("CuPy is not correctly installed.\nSecond line")
        return real(name, *arguments, **options)

    monkeypatch.setattr(device, "is_installed", lambda: True)
    monkeypatch.setattr(device, "has_driver", lambda: True)
    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(DeviceError) as raised:
        choose_device("gpu")
    assert str(raised.value).startswith(
        "CuPy cannot be imported (RuntimeError: CuPy is not correctly installed.); reinstall it"
    )


def test_the_cpu_is_never_asked_about_gpus() -> None:
    with gpu_double.installed(driver=False):
        assert choose_device("cpu") == (device.CPU, "")


@pytest.mark.parametrize("option", ["", "GPU", "gpu:", "gpu:x", "gpu:-1", "cuda", "cpu:0", 3, None])
def test_other_names_are_refused(option: Any) -> None:
    with pytest.raises(UsageError, match="is not one of auto, cpu, gpu, gpu:N"):
        quantize(photo(3, 3), 2, device=option)


@pytest.mark.parametrize("text", ["", "much", "-1GB", "1 TB x", "GB", "1e9", "1,5GB"])
def test_memory_that_is_no_number_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a number of bytes"):
        parse_bytes(text)


def test_the_command_says_why_no_gpu_is_used_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.fromarray(photo(5, 7)).save(name)
    with gpu_double.installed(devices=0):
        ran = CliRunner().invoke(cli.app, ["quantize", "a.png", "b.png", "-k", "3", "--json"])
        refused = CliRunner().invoke(cli.app, ["quantize", "a.png", "--device", "gpu", "--force"])
    line = "quantgpu: warning: no GPU is used: the NVIDIA driver finds no GPU\n"
    assert ran.exit_code == 0
    assert ran.stderr == line
    assert [json.loads(row)["device"] for row in ran.stdout.splitlines()] == ["cpu", "cpu"]
    assert refused.exit_code == DeviceError.exit_code
    assert refused.stderr == "quantgpu: error: the NVIDIA driver finds no GPU\n"


def test_the_command_uses_a_gpu_and_says_so(tmp_path: Path) -> None:
    from PIL import Image

    source = tmp_path / "a.png"
    Image.fromarray(photo(50, 70)).save(source)
    written = {}
    with gpu_double.installed():
        for where in ("gpu:0", "cpu"):
            options = ["-k", "9", "--device", where, "--memory", "2GB", "--force"]
            ran = CliRunner().invoke(cli.app, ["quantize", str(source), *options])
            assert ran.exit_code == 0
            assert (" s on gpu:0 (" in ran.stdout) == (where == "gpu:0")
            written[where] = (tmp_path / "a-9.png").read_bytes()
    assert written["gpu:0"] == written["cpu"]


def test_doctor_compares_and_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantgpu.doctor.MEASURED_WIDTH", 400)
    monkeypatch.setattr("quantgpu.doctor.MEASURED_HEIGHT", 300)
    monkeypatch.setattr("quantgpu.doctor.STEP_POINTS", 5000)
    monkeypatch.setattr("quantgpu.doctor.comparison_cases", few_pictures)
    with gpu_double.installed(devices=2):
        found = examine()
        ran = CliRunner().invoke(cli.app, ["doctor", "--json"])
    assert found["reason"] is None
    assert [device["number"] for device in found["devices"]] == [0, 1]
    for gpu in found["devices"]:
        assert all(case["equal"] for case in gpu["comparisons"])
        assert all(rate > 0 for rate in gpu["throughput"].values())
    assert "same bytes    2 of 2 palettes and index maps are those of NumPy" in as_lines(found)
    assert json.loads(ran.stdout)["versions"]["CUDA runtime"]


def test_doctor_tells_a_gpu_that_computes_other_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantgpu.doctor.MEASURED_WIDTH", 40)
    monkeypatch.setattr("quantgpu.doctor.MEASURED_HEIGHT", 30)
    monkeypatch.setattr("quantgpu.doctor.STEP_POINTS", 500)
    monkeypatch.setattr("quantgpu.doctor.CASES", ((5, "none", "none"),))

    def falsify(name: str, arrays: list[Any]) -> None:
        if name == "remap" and len(arrays[-1]) > 1200:
            arrays[-1][-1] ^= 1

    with gpu_double.installed(falsify=falsify):
        ran = CliRunner().invoke(cli.app, ["doctor"])
    assert ran.exit_code == DeviceError.exit_code
    assert "DIFFERENT     noise, K = 5, none, none" in ran.stdout
    assert "use --device cpu" in ran.stderr


@pytest.mark.parametrize(("fault", "reason"), REASONS)
def test_doctor_names_every_fault(fault: dict[str, Any], reason: str) -> None:
    with gpu_double.installed(**fault):
        found = examine()
    assert reason in found["reason"]
    assert any(line.startswith("no GPU can be used: ") for line in as_lines(found))


@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
def test_the_real_cupy_without_a_driver_leads_to_the_cpu(tmp_path: Path) -> None:
    code = (
        "import cupy, numpy, quantgpu\n"
        "picture = numpy.arange(60, dtype=numpy.uint8).reshape(4, 5, 3)\n"
        "found = quantgpu.quantize(picture, 3)\n"
        "print(found.device, found.notes)\n"
        "try:\n"
        "    quantgpu.quantize(picture, 3, device='gpu')\n"
        "except quantgpu.DeviceError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    went_on, refused = done.stdout.splitlines()
    assert went_on.startswith("cpu [")
    assert "no GPU is used: no NVIDIA driver, or one too old for this CuPy" in went_on
    assert refused.startswith("no NVIDIA driver, or one too old for this CuPy")


@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
def test_the_real_cupy_is_not_even_imported_without_a_driver() -> None:
    code = (
        "import sys, quantgpu\n"
        "found = quantgpu.quantize([(0, 0, 0), (9, 9, 9)], 1)\n"
        "print('cupy' in sys.modules, found.notes)\n"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)
    assert said.startswith("False ['no GPU is used: no NVIDIA driver (the CUDA driver library")


def test_only_the_seam_and_the_kernels_name_cupy() -> None:
    for path in (ROOT / "quantgpu").rglob("*.py"):
        if path.parent.name not in ("arrays", "kernels"):
            assert "import cupy" not in path.read_text(), path
            assert 'modules["cupy"]' not in path.read_text(), path
