"""Two routes, stage by stage."""

import json
from typing import Any

import gpu_double
import numpy as np
import pytest
from image_files import encoded
from numpy.typing import NDArray
from pictures import photo, soft_photo
from typer.testing import CliRunner

from quantgpu import cli
from quantgpu.arrays.device import Device, has_driver
from quantgpu.clustering import kmeans_gpu
from quantgpu.clustering.options import PaletteOptions
from quantgpu.dithering.base import Dithering
from quantgpu.dithering.methods import parse_dither
from quantgpu.errors import DeviceError
from quantgpu.pixels import counting_gpu
from quantgpu.pixels.counting import count_colors
from quantgpu.stages import Comparison, compare_stages, first_difference

GPU = Device(0, 1 << 30)


def compared(
    picture: NDArray[np.uint8] | None = None,
    k: int = 9,
    dither: str = "adaptive",
    **options: Any,
) -> Comparison:
    with gpu_double.installed():
        return compare_stages(
            photo() if picture is None else picture,
            k,
            PaletteOptions(**{"effort": "fast"} | options),
            parse_dither(dither),
            GPU,
        )


@pytest.mark.parametrize(
    ("picture", "options"),
    [
        (photo(), {}),
        (photo(), {"effort": "balanced", "color_space": "cielab"}),
        (photo(), {"dither": "blue-noise", "perceptual": False}),
        (soft_photo(), {"dither": "none"}),
    ],
)
def test_routes_that_agree_have_no_difference(
    picture: NDArray[np.uint8], options: dict[str, Any]
) -> None:
    stages, difference = compared(picture, **options)
    assert difference is None
    assert stages[:2] == ["count", "points"]
    assert stages[-2:] == ["palette", "map"]
    assert any(stage.startswith("level ") for stage in stages)


def test_the_first_array_that_differs_is_named_with_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = kmeans_gpu.lloyd_gpu

    def off_by_one(*arguments: Any, **options: Any) -> Any:
        centers = real(*arguments, **options)
        centers[3, 1] += 1
        return centers

    monkeypatch.setattr("quantgpu.clustering.kmeans_gpu.lloyd_gpu", off_by_one)
    stages, difference = compared(effort="balanced", dither="none")
    assert difference is not None
    assert stages[-1] == difference.stage
    assert difference.stage.startswith("level ")
    assert (difference.array, difference.place) == ("centers", (3, 1))
    assert float(difference.found) == float(difference.expected) + 1
    assert f"stage {difference.stage}: centers[3, 1] is " in difference.as_line()


def test_a_wrong_count_is_found_before_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    real = counting_gpu.add_to_bins

    def twice(bins: Any, colors: Any, *weights: Any) -> None:
        real(bins, colors, *weights)
        real(bins, colors[:1], *(each[:1] for each in weights))

    monkeypatch.setattr(counting_gpu, "add_to_bins", twice)
    stages, difference = compared(perceptual=False)
    assert stages == ["count"]
    assert difference is not None
    assert (difference.stage, difference.array) == ("count", "counts")


def test_arrays_of_other_shapes_differ() -> None:
    assert first_difference(np.zeros(3), np.zeros(3)) is None
    assert first_difference(np.zeros(3), np.zeros((3, 1))) == (None, "(3,)", "(3, 1)")
    assert first_difference(np.array([[1, 2], [3, 4]]), np.array([[1, 2], [0, 0]])) == (
        *((1, 0), "3", "0"),
    )


def test_a_gpu_that_fails_is_told() -> None:
    with gpu_double.installed(), pytest.raises(DeviceError):
        compare_stages(photo(), 5, PaletteOptions(), Dithering("none"), Device(7, 1 << 30))


def doctor(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["doctor", *arguments])


def test_doctor_says_that_all_stages_agree_on_a_picture(tmp_path: Any) -> None:
    picture = tmp_path / "photo.png"
    picture.write_bytes(encoded(photo(), "PNG"))
    how = ("--stages", "--image", str(picture), "-k", "7", "--effort", "fast", "--dither", "none")
    with gpu_double.installed():
        ran = doctor(*how)
        assert ran.exit_code == 0, ran.output
        assert f"{picture}, 83 x 61, K = 7, fast, oklab, none\n" in ran.stdout
        assert "gpu:0: the arrays of all stages are those of NumPy (count, points, " in ran.stdout
        found = json.loads(doctor(*how, "--json").stdout)
    assert [device["difference"] for device in found["devices"]] == [None]


def test_doctor_ends_with_the_code_of_a_gpu_where_stages_differ(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "photo.png"
    picture.write_bytes(encoded(photo(), "PNG"))
    monkeypatch.setattr("quantgpu.stages.count_colors", counted_with_a_fault)
    with gpu_double.installed():
        ran = doctor("--stages", "--image", str(picture), "-k", "7")
    assert ran.exit_code == 6
    assert "gpu:0: DIFFERENT: stage count: counts[0] is " in ran.stdout


def counted_with_a_fault(pixels: Any, *arguments: Any, **options: Any) -> Any:
    found = count_colors(pixels, *arguments, **options)
    if pixels.xp is not np:
        found.counts[0] += 1
    return found


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--image", "a.png"], 2, "--image is for --stages"),
        (["-k", "9"], 2, "-k is for --stages"),
        (["--stages", "--dither", "much"], 2, "dither = 'much' is not one of"),
        (["--stages", "--image", "none.png"], 3, "none.png: no such file"),
        (["--stages", "-k", "999999"], 2, "k = 999999 is greater than the number of pixels"),
    ],
)
def test_what_cannot_be_compared_is_said(arguments: list[str], code: int, said: str) -> None:
    ran = doctor(*arguments)
    assert (ran.exit_code, said in ran.stderr) == (code, True), ran.output


@pytest.mark.skipif(has_driver(), reason="this machine has an NVIDIA driver")
def test_without_a_gpu_there_is_nothing_to_compare() -> None:
    ran = doctor("--stages")
    assert ran.exit_code == 6
    assert "no NVIDIA driver" in ran.stderr
