"""Dithering on a GPU, which the stand-in plays, gives the bytes that NumPy gives."""

from collections.abc import Iterator
from typing import Any

import gpu_double
import numpy as np
import pytest
from assertions import assert_same
from pictures import photo, soft_photo

from quantgpu import Indexed, apply_palette, quantize
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.dithering.methods import DEFAULT, DITHERS
from quantgpu.pixels import gpu as gpu_module

METHODS = [name for name in DITHERS if name != "none"]

SIZES = [(1, 1), (1, 50), (50, 1), (17, 31), (33, 16), (66, 5)]

COLORS = [(0, 0, 0), (90, 60, 200), (250, 20, 3), (210, 190, 150), (255, 255, 255), (70, 160, 90)]


@pytest.fixture(scope="module")
def gpu() -> Iterator[gpu_double.Double]:
    with gpu_double.installed() as cupy:
        quantize(photo(3, 9), 2, effort="none", device="gpu")
        yield cupy


def assert_same_everywhere(picture: Any, k: int, **options: Any) -> Indexed:
    found = quantize(picture, k, device="gpu", **options)
    assert (found.device, found.notes) == ("gpu:0", [])
    assert_same(found, quantize(picture, k, device="cpu", **options))
    return found


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dither", METHODS)
def test_every_method_gives_the_same_bytes(dither: str, size: tuple[int, int]) -> None:
    picture = photo(*size)
    found, expected = (
        apply_palette(picture, COLORS, dither=dither, device=device) for device in ("gpu", "cpu")
    )
    assert (found.device, found.notes) == ("gpu:0", [])
    assert_same(found, expected)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("dither", [DEFAULT, "stevenson-arce", "blue-noise"])
def test_transparent_pictures_and_locked_grays_give_the_same_bytes(dither: str) -> None:
    for lock_grays in (False, True):
        picture = soft_photo(40, 35)
        assert_same_everywhere(picture, 9, dither=dither, lock_grays=lock_grays, effort="fast")


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("space", COLOR_SPACES)
def test_every_color_space_gives_the_same_bytes(space: str) -> None:
    assert_same_everywhere(photo(), 16, color_space=space, effort="fast")


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("options", [{"perceptual": False}, {"snap": 0.02}, {"salient": True}])
def test_options_of_palettes_give_the_same_bytes(options: dict[str, Any]) -> None:
    assert_same_everywhere(photo(), 7, effort="fast", **options)


@pytest.mark.usefixtures("gpu")
def test_more_than_256_colors_give_the_same_bytes() -> None:
    for dither in (DEFAULT, "bayer:2"):
        assert_same_everywhere(photo(), 300, dither=dither, effort="fast")


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("slab", [1, 9000])
@pytest.mark.parametrize("dither", [DEFAULT, "jarvis", "stevenson-arce", "bayer:16"])
def test_slabs_do_not_matter(dither: str, slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_module, "SLAB", slab)
    assert_same_everywhere(photo(70, 40), 9, dither=dither, effort="fast")


def test_a_picture_on_the_gpu_stays_there(gpu: gpu_double.Double) -> None:
    picture = photo()
    for dither in (DEFAULT, "blue-noise"):
        found = quantize(gpu.asarray(picture), 8, dither=dither, keep_on_device=True, effort="fast")
        assert isinstance(found.index, gpu.ndarray)
        expected = quantize(picture, 8, dither=dither, effort="fast", device="cpu")
        np.testing.assert_array_equal(found.index.get(), expected.index)


@pytest.mark.usefixtures("gpu")
def test_representable_pictures_are_unchanged() -> None:
    colors = np.array(COLORS, np.uint8)
    picture = colors[np.random.default_rng(0).integers(0, 6, (17, 31))]
    for dither in METHODS:
        found = apply_palette(picture, COLORS, dither=dither, dither_strength=1, device="gpu")
        np.testing.assert_array_equal(found.to_array(), picture)
