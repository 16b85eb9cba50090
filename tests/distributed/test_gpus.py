"""Several GPUs of one machine: which are meant, what is refused, and a process for each."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import dask
import distributed  # noqa: F401  (its settings, before one is changed)
import gpu_double
import gpu_worker
import pytest
from image_files import encoded
from pictures import photo
from typer.testing import CliRunner

import quantgpu
from quantgpu import DeviceError, UsageError, cli
from quantgpu.distributed import workers as crew
from quantgpu.distributed.gpus import first_of, is_several, numbers_of, visible_devices

NAMES = [f"{letter}.png" for letter in "abcd"]

IN_HASTE = ["-k", "5", "--effort", "fast", "--dither", "none"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory with pictures."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(NAMES):
        Path(name).write_bytes(encoded(photo(17, 31, number), "PNG"))


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, arguments)


@pytest.mark.parametrize("device", ["gpu:0,1", "gpu:3,0,12", "gpu:all"])
def test_several_gpus_are_told_from_one(device: str) -> None:
    assert is_several(device)
    assert not is_several(first_of(device))


@pytest.mark.parametrize(
    "device", ["auto", "cpu", "gpu", "gpu:0", "gpu:0,", "gpu:,1", "gpu:0-1", "gpu:0, 1", "gpu:ALL"]
)
def test_what_is_not_several_gpus_is_left_to_others(device: str) -> None:
    assert not is_several(device)
    assert first_of(device) == device


def test_gpus_are_those_that_are_named_in_that_order() -> None:
    with gpu_double.installed(devices=3):
        assert numbers_of("gpu:2,0") == [2, 0]
        assert numbers_of("gpu:all") == [0, 1, 2]
    with gpu_double.installed():
        assert numbers_of("gpu:all") == [0]


@pytest.mark.parametrize(
    ("device", "model", "kind", "message"),
    [
        ("gpu:1,0,1", {"devices": 2}, UsageError, "'gpu:1,0,1' names gpu:1 twice; name each once"),
        (
            "gpu:0,2", {"devices": 2}, DeviceError,
            "'gpu:0,2': there is no gpu:2; this machine has 2 CUDA dev.*use --device gpu:all",
        ),
        ("gpu:all", {"devices": 0}, DeviceError, "'gpu:all': the NVIDIA driver finds no GPU; or"),
        ("gpu:0,1", {"driver": False}, DeviceError, "'gpu:0,1': no NVIDIA driver, .*--device cpu"),
    ],
)  # fmt: skip
def test_gpus_that_are_not_there_are_told_with_what_to_type(
    device: str, model: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with gpu_double.installed(**model):
        with pytest.raises(kind, match=message):
            numbers_of(device)
        for command in (["quantize"], ["palette"], ["count", "-o", "x.qhist"]):
            ran = run(*command, *NAMES, "--device", device)
            assert (ran.exit_code, ran.stdout) == (kind.exit_code, "")  # type: ignore[attr-defined]
            assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("device", ["gpu:0,1", "gpu:all"])
def test_several_gpus_are_refused_where_one_does_all(device: str) -> None:
    said = f"device = '{device}': several GPUs are for the commands quantize, palette and count"
    with pytest.raises(UsageError, match=said):
        quantgpu.quantize(photo(3, 3), 2, device=device)
    ran = run("apply", "a.png", "--palette", "none.gpl", "--device", device)
    assert ran.exit_code == 2
    assert said in ran.stderr


def test_with_a_scheduler_each_worker_has_its_own() -> None:
    for command in (["quantize"], ["palette"], ["count", "-o", "x.qhist"]):
        ran = run(*command, "a.png", "--device", "gpu:0,1", "--scheduler", "local:1")
        assert ran.exit_code == 2
        assert "with --scheduler each worker has its own: use --device gpu, or auto" in ran.stderr


def test_without_dask_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with gpu_double.installed(devices=2):
        ran = run("quantize", *NAMES, "--device", "gpu:all")
    assert ran.exit_code == 2
    assert "--device gpu:all takes Dask" in ran.stderr
    assert "pip install 'quantgpu[cluster]'" in ran.stderr


def test_workers_have_no_standard_input() -> None:
    with gpu_double.installed(devices=2):
        ran = run("quantize", "-", "a.png", "--output-dir", ".", "--device", "gpu:0,1")
    assert ran.exit_code == 2
    assert "--device gpu:0,1: workers have no standard input and output" in ran.stderr


def test_one_picture_is_done_by_the_first_gpu_and_the_others_are_told() -> None:
    with gpu_double.installed(devices=3):
        ran = run("quantize", "a.png", *IN_HASTE, "--device", "gpu:1,0", "--json")
        assert json.loads(ran.stdout)["device"] == "gpu:1"
        assert ran.stderr == (
            "quantgpu: warning: nothing to do for gpu:0: a GPU does a picture alone\n"
        )
        quiet = run("count", "a.png", "-o", "a.qhist", "--device", "gpu:all", "--quiet")
    assert (quiet.exit_code, quiet.stderr) == (0, "")
    assert Path("a.qhist").exists()


def test_processes_are_shown_the_gpus_that_this_one_sees() -> None:
    assert visible_devices([1, 0], {}) == ["1", "0"]
    outer = {"CUDA_VISIBLE_DEVICES": "3, GPU-1f,MIG-2"}
    assert visible_devices([0, 2], outer) == ["3", "MIG-2"]


def test_each_gpu_has_a_process_that_sees_it_alone_and_the_bytes_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = run("quantize", *NAMES, *IN_HASTE, "--device", "cpu")
    assert plain.exit_code == 0
    expected = {path: path.read_bytes() for path in Path().glob("*-5.png")}
    seen: dict[str, str | None] = {}
    asked = crew.check_workers_ready

    def spying(client: Any, *arguments: Any) -> Any:
        found = asked(client, *arguments)
        assert (found.device, found.local_device) == ("gpu", "gpu:2")
        names = client.run(lambda dask_worker: dask_worker.name)
        seen.update({names[at]: visible for at, visible in client.run(gpu_worker.shown).items()})
        return found

    monkeypatch.setattr(crew, "check_workers_ready", spying)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7,9")
    options = [*IN_HASTE, "--device", "gpu:2,0", "--force", "--json"]
    with (
        gpu_double.installed(devices=3),
        dask.config.set({"distributed.worker.preload": ["gpu_worker"]}),
    ):
        ran = run("quantize", *NAMES, *options)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert seen == {"gpu:2": "9", "gpu:0": "5"}
    assert {json.loads(line)["device"] for line in ran.stdout.splitlines()} == {"gpu:0", "gpu:2"}
    assert len(expected) == len(NAMES)
    assert {path: path.read_bytes() for path in Path().glob("*-5.png")} == expected
