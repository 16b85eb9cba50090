"""Palettes and their order."""

from pathlib import Path

import numpy as np
import pytest
from PIL.ImageColor import colormap, getrgb

from quantgpu.errors import UsageError
from quantgpu.io.inputs import parse_color, parse_colors
from quantgpu.palette import Palette, distinct, in_order


def test_the_order_is_dark_to_light_and_does_not_depend_on_the_order_given() -> None:
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (300, 3)).astype(np.uint8)
    ordered = in_order(colors)
    luminance = ordered.astype(int) @ [2126, 7152, 722]
    assert (np.diff(luminance) >= 0).all()
    np.testing.assert_array_equal(in_order(rng.permutation(colors)), ordered)


def test_equally_light_colors_are_ordered_by_green() -> None:
    same = np.array([[0, 10, 0], [17, 0, 49]], np.uint8)
    assert (same.astype(int) @ [2126, 7152, 722]).tolist() == [71520, 71520]
    assert in_order(same).tolist() == [[17, 0, 49], [0, 10, 0]]
    assert in_order(same[::-1]).tolist() == [[17, 0, 49], [0, 10, 0]]


def test_distinct_keeps_the_first_of_each() -> None:
    colors = np.array([[3, 2, 1], [0, 0, 0], [3, 2, 1], [1, 2, 3], [0, 0, 0]], np.uint8)
    assert distinct(colors).tolist() == [[3, 2, 1], [0, 0, 0], [1, 2, 3]]


def test_a_palette_tells_its_colors_in_hex() -> None:
    palette = Palette(np.array([[0, 10, 255], [255, 255, 255]], np.uint8))
    assert len(palette) == 2
    assert palette.hex() == ["#000aff", "#ffffff"]


@pytest.mark.parametrize(
    ("text", "color"),
    [
        ("#fa0", (255, 170, 0)), ("fa0", (255, 170, 0)), ("#12ABef", (18, 171, 239)),
        ("12ABef", (18, 171, 239)), (" Gray ", (128, 128, 128)), ("RED", (255, 0, 0)),
    ],
)  # fmt: skip
def test_colors_are_parsed_as_people_write_them(text: str, color: tuple[int, ...]) -> None:
    assert parse_color(text) == color
    assert parse_color(text, alpha=True) == (*color, 255)


@pytest.mark.parametrize("name", colormap)
def test_every_name_of_css_is_a_color(name: str) -> None:
    assert parse_color(name) == getrgb(name)


@pytest.mark.parametrize("text", ["", "#", "#ff", "#ffff", "#fffff", "#ggg", "rgb(1,2,3)", "1,2,3"])
def test_what_is_no_color_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_color(text, "matte")
    assert str(caught.value) == (
        f"matte = {text!r} is no color; use #rgb, #rrggbb or a CSS name such as white"
    )
    with pytest.raises(UsageError, match="use #rgb, #rrggbb, #rrggbbaa or a CSS name"):
        parse_color(text, alpha=True)


def test_alpha_is_parsed_only_where_it_makes_sense() -> None:
    assert parse_color("#12345678", alpha=True) == (18, 52, 86, 120)
    with pytest.raises(UsageError, match="color = '#12345678' is no color"):
        parse_color("#12345678")


def test_colors_with_commas_or_a_palette_file_are_parsed(tmp_path: Path) -> None:
    assert parse_colors("#00f,Red,11223344", "keep").tolist() == [
        [0, 0, 255, 255],
        [255, 0, 0, 255],
        [17, 34, 51, 68],
    ]
    path = tmp_path / "brand.hex"
    path.write_text("0000fe\nfefe01\n")
    assert parse_colors(str(path), "keep").tolist() == [[0, 0, 254, 255], [254, 254, 1, 255]]


@pytest.mark.parametrize("text", ["", "#12", "#ff0000,", "brand.hex", "#ff0000;#00ff00"])
def test_what_is_neither_a_color_nor_a_file_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no color; use #rgb.*or name a palette file"):
        parse_colors(text, "keep")
