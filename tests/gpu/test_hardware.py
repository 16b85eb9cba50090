"""The same bytes from a real GPU, wherever there is one."""

from pathlib import Path

import dask.array
import numpy as np
import pytest
from pictures import photo, random_centers, random_points, soft_photo
from PIL import Image
from typer.testing import CliRunner
from videos import video

from quantgpu import DeviceError, cli, cluster, doctor, quantize, quantize_each, quantize_video
from quantgpu.arrays.device import Device, device_context, free_memory, gpu_count
from quantgpu.arrays.namespace import array_module
from quantgpu.clustering.coarse_to_fine import EFFORTS
from quantgpu.clustering.kmeans import assign, cluster_sums
from quantgpu.clustering.kmeans_gpu import batched_sums, nearest_sums_gpu
from quantgpu.clustering.points import Points
from quantgpu.clustering.seeding import SEEDINGS
from quantgpu.clustering.split_merge import search
from quantgpu.demo.scene import render_scene
from quantgpu.execution.selection import choose_device

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpu() -> Device:
    try:
        return choose_device("gpu")[0]
    except DeviceError as error:
        pytest.skip(f"no GPU can be used: {error}")


@pytest.mark.parametrize("init", SEEDINGS)
@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("k", [2, 17, 256, 1500])
def test_the_bytes_are_those_of_numpy(gpu: Device, k: int, effort: str, init: str) -> None:
    picture = render_scene(601, 400)
    found, expected = (
        quantize(picture, k, effort=effort, init=init, device=where) for where in (str(gpu), "cpu")
    )
    assert found.device == str(gpu)
    np.testing.assert_array_equal(found.palette.colors, expected.palette.colors)
    np.testing.assert_array_equal(found.index, expected.index)
    assert found.squared_error == expected.squared_error


@pytest.mark.parametrize("target", ["psnr=32", "mse=60", "de=2.5"])
def test_targets_are_reached_with_the_same_k_and_bytes(gpu: Device, target: str) -> None:
    picture = render_scene(601, 400)
    found, expected = (quantize(picture, target=target, device=at) for at in (str(gpu), "cpu"))
    assert found.curve == expected.curve
    np.testing.assert_array_equal(found.index, expected.index)


def test_several_k_from_one_count_are_those_of_numpy(gpu: Device) -> None:
    picture = np.tile(photo(500, 700), (3, 4, 1))
    pairs = (quantize_each(picture, [9, 256, 300], device=at) for at in (str(gpu), "cpu"))
    for found, expected in zip(*pairs, strict=True):
        np.testing.assert_array_equal(found.palette.colors, expected.palette.colors)
        np.testing.assert_array_equal(found.index, expected.index)


@pytest.mark.parametrize("count", [1, 255, 100_003])
@pytest.mark.parametrize("k", [1, 17, 256, 2000])
@pytest.mark.parametrize("axes", [3, 4])
def test_both_routes_give_the_sums_of_numpy(gpu: Device, axes: int, k: int, count: int) -> None:
    points = random_points(count, heaviest=1 << 20, axes=axes)
    centers = random_centers(k, axes=axes)
    expected = cluster_sums(points, assign(points, centers), k)
    with device_context(gpu) as xp:
        there = Points(xp.asarray(points.columns), xp.asarray(points.weights))
        for route in (nearest_sums_gpu, batched_sums):
            for found, right in zip(route(there, xp.asarray(centers)), expected, strict=True):
                np.testing.assert_array_equal(found.get(), right)


@pytest.mark.parametrize("fixed", [0, 5, 255])
@pytest.mark.parametrize("axes", [3, 4])
def test_searches_around_fixed_centers_find_what_numpy_finds(
    gpu: Device, axes: int, fixed: int
) -> None:
    points, centers = random_points(5003, axes=axes), random_centers(256, axes=axes)
    with device_context(gpu) as xp:
        there = Points(xp.asarray(points.columns), xp.asarray(points.weights))
        found = search(there, xp.asarray(centers), 40, 9, fixed=fixed).get()
    np.testing.assert_array_equal(found, search(points, centers, 40, 9, fixed=fixed))


def test_a_large_picture_in_little_memory_is_the_same(gpu: Device) -> None:
    picture = np.tile(photo(500, 700), (12, 12, 1))
    found = quantize(picture, 64, device=str(gpu), memory=500 << 20)
    np.testing.assert_array_equal(found.index, quantize(picture, 64, device="cpu").index)


def test_the_result_can_stay_on_the_gpu(gpu: Device) -> None:
    with device_context(gpu) as xp:
        there = xp.asarray(photo())
        found = quantize(there, 9, keep_on_device=True)
        assert array_module(found.index) is xp
        np.testing.assert_array_equal(found.index.get(), quantize(photo(), 9, device="cpu").index)


def test_throughput_is_measured(gpu: Device, capsys: pytest.CaptureFixture[str]) -> None:
    with device_context(gpu) as xp:
        measured = doctor.measure_throughput(Device(gpu.gpu, free_memory(gpu.gpu or 0)), xp)
    with capsys.disabled():
        for name, value in measured.items():
            print(f"{gpu}: {name.replace('_', ' ')}: {value:,.2f}")
    assert min(measured.values()) > 0


@pytest.mark.parametrize("dither", ["none", "bayer", "blue-noise"])
def test_blocks_of_a_picture_stay_there_and_have_the_same_bytes(gpu: Device, dither: str) -> None:
    picture = soft_photo(500, 700)
    expected = quantize(picture, 64, dither=dither, device="cpu")
    here = dask.array.from_array(picture, chunks=(200, 256, 4))
    with device_context(gpu) as xp:
        meta = xp.empty((0, 0, 0), xp.uint8)
        there = here.map_blocks(xp.asarray, meta=meta, dtype=np.uint8)
        found = cluster.quantize(there, 64, dither=dither)
        index = found.index.compute(scheduler="threads")
        assert array_module(index) is xp
        np.testing.assert_array_equal(index.get(), expected.index)


@pytest.mark.parametrize("dither", ["none", "blue-noise", "adaptive"])
def test_clips_have_the_same_bytes(gpu: Device, dither: str, tmp_path: Path) -> None:
    source = video(tmp_path / "in.mkv", [photo(700, 1100, seed) for seed in range(40)])
    for where in ("cpu", str(gpu)):
        report = quantize_video(source, tmp_path / f"{where}.gif", 64, dither=dither, device=where)
        assert (report.device, report.device_notes) == (where, [])
    first, second = tmp_path.glob("*.gif")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.usefixtures("gpu")
def test_a_process_for_each_gpu_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"{number}.png" for number in range(2 * gpu_count() + 1)]
    for number, name in enumerate(names):
        Image.fromarray(photo(300, 400, number)).save(name)
    made = []
    for device in ("cpu", "gpu:all"):
        options = ["--device", device, "--output-dir", ".", "--force", "--shared-palette"]
        assert CliRunner().invoke(cli.app, ["quantize", *names, *options]).exit_code == 0
        made.append([Path(f"{name[:-4]}-256.png").read_bytes() for name in names])
    assert made[0] == made[1]
