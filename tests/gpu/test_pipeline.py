"""The whole pipeline on a GPU, which the stand-in plays, gives the bytes that NumPy gives."""

from collections.abc import Iterator
from itertools import cycle, product
from typing import Any

import gpu_double
import numpy as np
import pytest
from assertions import assert_same
from numpy.typing import NDArray
from pictures import photo, soft_photo
from PIL import Image

from quantgpu import Indexed, api
from quantgpu.arrays import pinned
from quantgpu.clustering.coarse_to_fine import EFFORTS
from quantgpu.clustering.seeding import SEEDINGS
from quantgpu.color.alpha import ALPHAS
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.demo.scene import render_scene
from quantgpu.errors import DeviceError, QualityError, UsageError
from quantgpu.pixels import counting
from quantgpu.pixels import gpu as gpu_module

SCENE = render_scene(151, 100)
PART = np.ascontiguousarray(SCENE[20:87, 13:110])

SMALL_TRAFFIC = 400_000
"""Bytes of centers, palettes, tables and first centers beside the pixels of a small picture."""


def quantize(picture: Any, k: int | None = None, **options: Any) -> Indexed:
    """Without dithering, which `test_gpu_dithering` is about."""
    return api.quantize(picture, k, **{"dither": "none", **options})


def quantize_each(picture: Any, ks: list[int], **options: Any) -> list[Indexed]:
    """The same for several K."""
    return api.quantize_each(picture, ks, **{"dither": "none", **options})


@pytest.fixture
def gpu() -> Iterator[gpu_double.Double]:
    with gpu_double.installed() as cupy:
        quantize(SCENE[:3], 2, effort="none", device="gpu")
        cupy.log.reset()
        yield cupy


def assert_same_everywhere(picture: Any, k: int, **options: Any) -> Indexed:
    found = quantize(picture, k, device="gpu", **options)
    assert found.device == "gpu:0"
    assert found.notes == []
    assert_same(found, quantize(picture, k, device="cpu", **options))
    return found


@pytest.mark.matrix
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("init", SEEDINGS)
@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("k", [5, 64])
def test_every_effort_and_seeding_gives_the_same_bytes(k: int, effort: str, init: str) -> None:
    assert_same_everywhere(PART, k, effort=effort, init=init, seed=k)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("k", "effort"),
    [*product([1, 255, 256, 257], ["none", "fast", "balanced"]), (1025, "none"), (1025, "fast")],
)
def test_every_k_gives_the_same_bytes(k: int, effort: str) -> None:
    assert_same_everywhere(PART, k, effort=effort)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("effort", ["none", "balanced"])
@pytest.mark.parametrize("color_space", COLOR_SPACES)
def test_every_color_space_gives_the_same_bytes(color_space: str, effort: str) -> None:
    for k in (6, 256):
        assert_same_everywhere(PART, k, color_space=color_space, effort=effort)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("color_space", "perceptual"), [*zip(COLOR_SPACES, cycle([False, True])), ("oklab", True)]
)
def test_transparent_pixels_give_the_same_bytes(color_space: str, perceptual: bool) -> None:
    thorough = "best" if color_space == "oklab" else "fast"
    for k, effort in ((1, "none"), (17, thorough), (50, "balanced"), (300, "fast")):
        found = assert_same_everywhere(
            soft_photo(), k, color_space=color_space, effort=effort, perceptual=perceptual
        )
        assert found.palette.colors.shape == (k, 4)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("alpha", ALPHAS)
def test_transparent_pixels_in_arrays_on_the_gpu_give_the_same_bytes(gpu: Any, alpha: str) -> None:
    picture = soft_photo(33, 50)
    for matte in (None, (9, 130, 255)):
        found = quantize(gpu.asarray(picture), 9, alpha=alpha, matte=matte)
        assert found.device == "gpu:0"
        assert_same(found, quantize(picture, 9, device="cpu", alpha=alpha, matte=matte))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("picture", [PART, soft_photo()], ids=["opaque", "transparent"])
@pytest.mark.parametrize("effort", ["none", "balanced", "best"])
def test_kept_colors_and_locked_grays_give_the_same_bytes(
    picture: NDArray[np.uint8], effort: str
) -> None:
    keep = [(0, 0, 255, 255), (3, 2, 1, 255), (250, 20, 3, 9), (3, 2, 1, 255)]
    for k in (4, 40):
        options: dict[str, Any] = {"effort": effort, "lock_grays": True, "snap": 0.01}
        found = assert_same_everywhere(picture, k, keep=keep, color_space="oklab", **options)
        assert {"#0000ff", "#030201", "#fa140309"} < set(found.palette.hex())
    assert_same_everywhere(picture, 3, keep=keep, **options)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("slab", "budget"), [(1, None), (7000, 90 << 20), (1 << 20, None)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (40, 1), (33, 50), (100, 70)])
def test_perceptual_weights_give_the_same_bytes(
    shape: tuple[int, int], budget: int | None, slab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_module, "SLAB", slab)
    k = min(12, shape[0] * shape[1])
    assert_same_everywhere(photo(*shape), k, effort="fast", perceptual=True, memory=budget)


@pytest.mark.matrix
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("slab", "budget"), [(1, None), (7000, 90 << 20), (1 << 20, None)])
@pytest.mark.parametrize("perceptual", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (40, 1), (33, 50), (100, 70)])
def test_masks_give_the_same_bytes(
    shape: tuple[int, int],
    perceptual: bool,
    budget: int | None,
    slab: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu_module, "SLAB", slab)
    mask = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    k = min(12, shape[0] * shape[1])
    for picture in (photo(*shape), soft_photo(*shape)):
        assert_same_everywhere(
            picture, k, effort="fast", perceptual=perceptual, weights=mask, memory=budget
        )


@pytest.mark.parametrize("there", [False, True])
def test_pictures_and_masks_on_the_gpu_give_the_same_bytes(
    gpu: gpu_double.Double, there: bool
) -> None:
    mask = np.random.default_rng(1).integers(0, 256, SCENE.shape[:2]).astype(np.uint8)
    expected = quantize(SCENE, 9, weights=mask, device="cpu")
    weights = gpu.asarray(mask) if there else mask
    assert_same(quantize(gpu.asarray(SCENE), 9, weights=weights), expected)
    assert_same(quantize(gpu.asarray(SCENE), 9, weights=weights, device="cpu"), expected)
    assert_same(quantize([*map(tuple, SCENE[5])], 9, weights=weights[5]), quantize(
        SCENE[5], 9, weights=mask[5], device="cpu"))  # fmt: skip


@pytest.mark.parametrize("budget", [440 << 20, 200 << 20])
def test_device_memory_stays_under_the_budget_with_a_mask(
    gpu: gpu_double.Double, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_module, "SLAB", 8 << 20)
    picture = np.tile(SCENE, (26, 30, 1))
    mask = np.tile(SCENE[..., 0], (26, 30))
    found = quantize(picture, 16, weights=mask, perceptual=True, device="gpu", memory=budget)
    assert_same(found, quantize(picture, 16, weights=mask, perceptual=True, device="cpu"))
    assert gpu.log.peak_bytes <= budget
    kept = picture.nbytes + gpu_module.FIXED <= budget
    assert gpu.log.moved("up") // picture.nbytes == (1 if kept else 2)
    assert gpu.log.moved("up") % picture.nbytes >= mask.nbytes


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("color_space", "effort"),
    [*((space, "fast") for space in COLOR_SPACES), ("oklab", "balanced"), ("srgb", "best")],
)
def test_salient_colors_give_the_same_bytes(color_space: str, effort: str) -> None:
    mask = np.random.default_rng(1).integers(0, 256, PART.shape[:2]).astype(np.uint8)
    options: dict[str, Any] = {"salient": True, "color_space": color_space, "effort": effort}
    assert_same_everywhere(PART, 4, **options)
    assert_same_everywhere(PART, 40, weights=mask, perceptual=True, **options)
    keep = [(0, 0, 255), (1, 2, 3)]
    assert_same_everywhere(soft_photo(), 9, keep=keep, lock_grays=True, **options)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("options", [{}, {"perceptual": True, "color_space": "oklab"}])
@pytest.mark.parametrize("target", ["psnr=30", "mse=90", "de=3.5", "mse=0"])
def test_every_target_finds_the_same_k_and_bytes(target: str, options: dict[str, Any]) -> None:
    picture = PART[:9, :9] if target == "mse=0" else PART
    found = assert_same_everywhere(picture, 256, target=target, effort="fast", **options)
    here = quantize(picture, target=target, effort="fast", device="cpu", **options)
    assert found.curve == here.curve
    assert len(found.curve) > 1


@pytest.mark.parametrize("device", ["auto", "gpu"])
def test_a_target_out_of_reach_is_no_failure_of_the_gpu(
    gpu: gpu_double.Double, device: str
) -> None:
    with pytest.raises(QualityError, match="psnr=60 is not reached with 9 colors"):
        quantize(SCENE, 9, target="psnr=60", effort="fast", device=device)
    with pytest.raises(QualityError, match="min_quality psnr=60 is not reached with 9 colors"):
        quantize(SCENE, 9, min_quality="psnr=60", effort="fast", device=device)
    assert gpu.log.moved("down") < SMALL_TRAFFIC


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("slab", [7000, 1 << 20])
@pytest.mark.parametrize("budget", [None, 90 << 20])
def test_each_of_several_k_gives_the_same_bytes(
    budget: int | None, slab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_module, "SLAB", slab)
    ks = [64, 300, 2, 9]
    options: dict[str, Any] = {"effort": "fast", "memory": budget}
    found = quantize_each(SCENE, ks, device="gpu", **options)
    for k, one in zip(ks, found, strict=True):
        assert one.device == "gpu:0"
        assert_same(one, quantize(SCENE, k, device="cpu", effort="fast"))


def test_several_results_can_stay_on_the_gpu(gpu: gpu_double.Double) -> None:
    picture = np.tile(SCENE, (8, 8, 1))
    there = on_gpu(gpu, picture)
    found = quantize_each(there, [5, 32, 300], keep_on_device=True, effort="fast")
    assert gpu.log.moved("up") + gpu.log.moved("down") < 3 * SMALL_TRAFFIC
    for k, one in zip([5, 32, 300], found, strict=True):
        assert isinstance(one.index, gpu.ndarray)
        expected = quantize(picture, k, device="cpu", effort="fast")
        np.testing.assert_array_equal(one.index.get(), expected.index)


def test_several_k_and_targets_take_the_pixels_up_once(gpu: gpu_double.Double) -> None:
    picture = np.tile(SCENE, (12, 9, 1))
    pixels = picture.shape[0] * picture.shape[1]
    quantize_each(picture, [4, 16, 64], device="gpu")
    assert 3 * pixels <= gpu.log.moved("up") <= 3 * pixels + 3 * SMALL_TRAFFIC
    assert 3 * pixels <= gpu.log.moved("down") <= 3 * pixels + 3 * SMALL_TRAFFIC
    gpu.log.reset()
    found = quantize(picture, target="psnr=30", device="gpu")
    assert len(found.curve) > 2
    assert gpu.log.moved("up") <= 3 * pixels + len(found.curve) * SMALL_TRAFFIC
    assert pixels <= gpu.log.moved("down") <= pixels + len(found.curve) * SMALL_TRAFFIC


@pytest.mark.parametrize("allocations", [3, 40, 100, 150, 250])
def test_memory_that_runs_out_at_any_of_several_k_costs_nothing_but_time(
    gpu: gpu_double.Double, allocations: int
) -> None:
    gpu.model.allocations = allocations
    found = quantize_each(SCENE, [16, 5, 40], device="gpu", effort="fast")
    for k, one in zip([16, 5, 40], found, strict=True):
        assert one.device == "cpu"
        assert one.notes == ["gpu:0 ran out of memory; went on with the CPU"]
        assert_same(one, quantize(SCENE, k, device="cpu", effort="fast"))
    assert list(found[0].seconds) == ["read", "open", "count", "cluster", "remap"]


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("order", ["reverse", "random"])
def test_no_schedule_of_threads_changes_a_byte(gpu: gpu_double.Double, order: str) -> None:
    gpu.model.schedule = type(gpu.model.schedule)("fiber", order, 5)
    assert_same_everywhere(SCENE, 37)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (17, 31), (33, 16), (100, 3)])
@pytest.mark.parametrize("slab", [1, 700, 1 << 20])
def test_slabs_of_awkward_sizes_change_nothing(
    shape: tuple[int, int], slab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_module, "SLAB", slab)
    picture = photo(*shape)
    assert_same_everywhere(picture, min(9, shape[0] * shape[1]))
    assert_same_everywhere(Image.fromarray(picture), 1)


@pytest.mark.usefixtures("gpu")
def test_colors_without_a_picture_and_few_colors_are_taken_too() -> None:
    triples = [(1, 2, 3), (250, 0, 9), (1, 2, 3), (0, 0, 0)]
    assert assert_same_everywhere(triples, 2).index.shape == (4,)
    assert assert_same_everywhere(triples, 4).squared_error == 0


@pytest.mark.usefixtures("gpu")
def test_noise_of_many_colors_gives_the_same_bytes() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (150, 201, 3)).astype(np.uint8)
    assert_same_everywhere(picture, 40)


@pytest.mark.usefixtures("gpu")
def test_more_pixels_than_bins_hold_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_module, "SLAB", 151 * 3 * 16)
    monkeypatch.setattr(counting, "FLUSH", 5000)
    assert_same_everywhere(SCENE, 12)


def test_each_pixel_crosses_the_bus_once_each_way(gpu: gpu_double.Double) -> None:
    picture = np.tile(SCENE, (12, 9, 1))
    pixels = picture.shape[0] * picture.shape[1]
    quantize(picture, 64, device="gpu")
    assert 3 * pixels <= gpu.log.moved("up") <= 3 * pixels + SMALL_TRAFFIC
    assert pixels <= gpu.log.moved("down") <= pixels + SMALL_TRAFFIC
    assert gpu.log.moved("up", pinned=False) + gpu.log.moved("down", pinned=False) < SMALL_TRAFFIC


@pytest.mark.parametrize(
    ("effort", "most_launches", "most_waits"),
    [("fast", 280, 17), ("balanced", 480, 19), ("best", 1800, 43)],
)
def test_launches_and_waits_are_few(
    gpu: gpu_double.Double, effort: str, most_launches: int, most_waits: int
) -> None:
    quantize(SCENE, 256, effort=effort, device="gpu")
    waits = [f"{wait.why} at {wait.where}" for wait in gpu.log.synchronizations]
    assert len(waits) <= most_waits, waits
    assert len(gpu.log.launches) <= most_launches


def test_a_large_picture_needs_a_wait_for_each_staged_slab_only(gpu: gpu_double.Double) -> None:
    quantize(SCENE, 16, device="gpu")
    few = len(gpu.log.synchronizations)
    gpu.log.reset()
    picture = np.tile(SCENE, (40, 20, 1))
    quantize(picture, 16, device="gpu")
    slabs = -(-picture.nbytes // gpu_module.SLAB)
    assert slabs > 1
    assert len(gpu.log.synchronizations) <= few + slabs


def test_page_locked_pixels_go_up_without_a_copy_or_a_wait(gpu: gpu_double.Double) -> None:
    picture = pinned.pinned_empty(gpu.cupy, (1600, 1510, 3), np.uint8)
    picture[...] = np.tile(SCENE, (16, 10, 1))
    quantize(picture, 16, device="gpu")
    staged = [wait for wait in gpu.log.synchronizations if "Event" in wait.why]
    assert not staged
    assert gpu.log.moved("up", pinned=True) >= picture.nbytes


@pytest.mark.parametrize("budget", [440 << 20, 405 << 20, 160 << 20])
def test_device_memory_stays_under_the_budget(
    gpu: gpu_double.Double, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_module, "SLAB", 8 << 20)
    picture = np.tile(SCENE, (26, 30, 1))
    found = quantize(picture, 16, device="gpu", memory=budget)
    assert_same(found, quantize(picture, 16, device="cpu"))
    assert gpu.log.peak_bytes <= budget
    kept = picture.nbytes + gpu_module.FIXED <= budget
    assert gpu.log.moved("up") >= picture.nbytes * (1 if kept else 2)


def test_many_colors_take_the_memory_of_the_pixels(gpu: gpu_double.Double) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1000, 900, 3)).astype(np.uint8)
    for budget, times in ((gpu_module.FIXED + picture.nbytes, 1), (4 * picture.nbytes, 2)):
        transfer_fixed = gpu_module.FIXED if times == 1 else 0
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(gpu_module, "FIXED", transfer_fixed)
            gpu.log.reset()
            quantize(picture, 3, effort="none", device="gpu", memory=budget)
        assert gpu.log.moved("up") // picture.nbytes == times


def test_colors_that_take_more_than_the_budget_are_told(gpu: gpu_double.Double) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    found = quantize(picture, 5, effort="fast", device="gpu", memory=20 << 20)
    assert found.device == "gpu:0"
    [note] = found.notes
    assert note.startswith(f"{found.colors_in:,} colors take ")
    assert_same(found, quantize(picture, 5, effort="fast", device="cpu"))


class BrokenError(RuntimeError):
    """What a library lets out in the middle."""


@pytest.mark.parametrize(
    "error",
    [BrokenError("no"), OSError(28, "No space left on device"), TypeError("no get(blocking=)")],
)
def test_any_failure_mid_way_ends_on_the_cpu(
    gpu: gpu_double.Double, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: gpu_module.GpuPixels, *arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(gpu_module.GpuPixels, "map", fail)
    found = quantize(SCENE, 9)
    assert found.device == "cpu"
    assert len(found.notes) == 1
    assert found.notes[0].startswith("gpu:0 failed; went on with the CPU: ")
    assert_same(found, quantize(SCENE, 9, device="cpu"))
    with pytest.raises(DeviceError):
        quantize(SCENE, 9, device="gpu")


def test_memory_that_cuda_misses_is_memory_too(
    gpu: gpu_double.Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: gpu_module.GpuPixels, *arguments: Any, **options: Any) -> None:
        raise gpu.cuda.runtime.CUDARuntimeError(2)

    monkeypatch.setattr(gpu_module.GpuPixels, "map", fail)
    found = quantize(SCENE, 9, device="gpu")
    assert found.notes == ["gpu:0 ran out of memory; went on with the CPU"]


@pytest.mark.matrix
@pytest.mark.parametrize("stage", ["count", "cluster", "remap"])
@pytest.mark.parametrize("error", [ImportError("mine"), OSError("mine"), KeyboardInterrupt()])
@pytest.mark.parametrize("sticky", [False, True])
def test_what_the_caller_raises_reaches_the_caller(
    gpu: gpu_double.Double,
    stage: str,
    error: BaseException,
    sticky: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def progress(at: str, share: float) -> None:
        if at == stage:
            raise error

    def fail(self: gpu_module.GpuPixels) -> None:
        wait(self)
        raise gpu.cuda.runtime.CUDARuntimeError(700)

    wait = gpu_module.GpuPixels.wait
    if sticky:
        monkeypatch.setattr(gpu_module.GpuPixels, "wait", fail)
    with pytest.raises(type(error)) as raised:
        quantize(SCENE, 9, progress=progress)
    assert raised.value is error


def test_a_budget_is_no_more_than_is_free(gpu: gpu_double.Double) -> None:
    gpu.model.used_by_others = gpu.model.memory - (300 << 20)
    picture = np.tile(SCENE, (26, 30, 1))
    found = quantize(picture, 16, device="gpu", memory=100 << 30)
    assert (found.device, found.notes) == ("gpu:0", [])


def on_gpu(gpu: gpu_double.Double, picture: NDArray[np.uint8]) -> Any:
    array = gpu.asarray(picture)
    gpu.log.reset()
    return array


def test_an_array_on_the_gpu_is_taken_there_and_the_result_can_stay(gpu: gpu_double.Double) -> None:
    picture = np.tile(SCENE, (8, 8, 1))
    there = on_gpu(gpu, picture)
    found = quantize(there, 32, keep_on_device=True)
    assert gpu.log.moved("up") + gpu.log.moved("down") < SMALL_TRAFFIC
    assert isinstance(found.index, gpu.ndarray)
    expected = quantize(picture, 32, device="cpu")
    np.testing.assert_array_equal(found.index.get(), expected.index)
    np.testing.assert_array_equal(found.to_array(), expected.to_array())
    assert_same(quantize(there, 32, device="cpu"), expected)
    np.testing.assert_array_equal(there.get(), picture)


class Tensor:
    """An array of another library on a GPU, known by its interface alone."""

    def __init__(self, array: Any, *names: str) -> None:
        self.array, self.names = array, names

    def __getattr__(self, name: str) -> Any:
        if name not in self.names:
            raise AttributeError(name)
        return getattr(self.array, name)


@pytest.mark.parametrize(
    "names", [("__cuda_array_interface__",), ("__dlpack__", "__dlpack_device__")]
)
def test_arrays_of_other_libraries_are_taken_without_a_copy(
    gpu: gpu_double.Double, names: tuple[str, ...]
) -> None:
    there = on_gpu(gpu, np.tile(SCENE, (4, 4, 1)))
    found = quantize(Tensor(there, *names), 8)
    assert found.device == "gpu:0"
    assert gpu.log.moved("up") < SMALL_TRAFFIC
    assert_same(found, quantize(there.get(), 8, device="cpu"))


@pytest.mark.parametrize("view", [np.s_[::2], np.s_[:, 1:], np.s_[3:, ::-1], np.s_[1:2]])
def test_parts_of_an_array_on_the_gpu_are_taken_too(gpu: gpu_double.Double, view: Any) -> None:
    there = on_gpu(gpu, SCENE)[view]
    assert_same(quantize(there, 8), quantize(SCENE[view], 8, device="cpu"))


def test_a_read_only_picture_is_left_alone(gpu: gpu_double.Double) -> None:
    picture = SCENE.copy()
    picture.flags.writeable = False
    assert_same_everywhere(picture, 8)


@pytest.mark.parametrize(
    ("dtype", "conversion"),
    [("float32", "(image.clip(0, 1) * 255 + 0.5).astype('uint8')"), ("uint16", "image >> 8")],
)
def test_arrays_of_other_numbers_are_refused_with_the_conversion(
    gpu: gpu_double.Double, dtype: str, conversion: str
) -> None:
    for array in (SCENE.astype(dtype), gpu.asarray(SCENE.astype(dtype))):
        with pytest.raises(UsageError) as raised:
            quantize(array, 4)
        assert f"array of {dtype}" in str(raised.value)
        assert conversion in str(raised.value)


def test_an_array_on_another_gpu_is_refused() -> None:
    with gpu_double.installed(devices=2) as gpu:
        with gpu.cuda.Device(1):
            there = gpu.asarray(SCENE)
        with pytest.raises(UsageError, match=r"on gpu:1, but device = 'gpu:0'"):
            quantize(there, 4, device="gpu:0")
        assert quantize(there, 4).device == "gpu:1"
        assert quantize(SCENE, 4, device="gpu:1").device == "gpu:1"
        with pytest.raises(DeviceError, match="no gpu:2; this machine has 2"):
            quantize(SCENE, 4, device="gpu:2")


@pytest.mark.parametrize("allocations", [0, 1, 2, 3, 10, 40, 100, 150])
def test_memory_that_runs_out_mid_way_costs_nothing_but_time(
    gpu: gpu_double.Double, allocations: int
) -> None:
    gpu.model.allocations = allocations
    found = quantize(SCENE, 16, device="gpu")
    assert found.device == "cpu"
    assert found.notes == ["gpu:0 ran out of memory; went on with the CPU"]
    assert_same(found, quantize(SCENE, 16, device="cpu"))


def test_smaller_slabs_help_where_memory_shrinks(
    gpu: gpu_double.Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = np.tile(SCENE, (60, 40, 1))
    upload = gpu_module.GpuPixels.upload

    def shrinking(self: gpu_module.GpuPixels, intervals: Any) -> Any:
        gpu.model.used_by_others = gpu.model.memory - gpu.log.bytes_in_use - picture.nbytes // 2
        return upload(self, intervals)

    monkeypatch.setattr(gpu_module.GpuPixels, "upload", shrinking)
    monkeypatch.setattr(gpu_module, "FIXED", 1 << 20)
    found = quantize(picture, 16, device="gpu")
    assert found.notes == ["gpu:0 ran out of memory; went on with smaller slabs"]
    assert found.device == "gpu:0"
    assert_same(found, quantize(picture, 16, device="cpu"))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("picture", [PART, soft_photo()], ids=["opaque", "transparent"])
def test_colors_chosen_from_a_set_give_the_same_bytes(picture: NDArray[np.uint8]) -> None:
    among = np.random.default_rng(0).integers(0, 256, (300, 3)).astype(np.uint8)
    for k, effort in ((3, "none"), (20, "balanced")):
        assert_same_everywhere(picture, k, from_palette=among, keep=[(1, 2, 3)], effort=effort)
