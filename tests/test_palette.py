"""Palettes and their order."""

import numpy as np

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
