"""Methods of dithering by name, and what is true of all of them."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import photo, soft_photo

from quantgpu import apply_palette, quantize
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.dithering.base import Dithering, color_lookup
from quantgpu.dithering.diffusion_matrices import FULL
from quantgpu.dithering.methods import DEFAULT, DITHERS, dithering_for, parse_dither
from quantgpu.errors import UsageError
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.pixels import Pixels

MIXING = [name for name in DITHERS if name != "none"]

PALETTE = [(0, 0, 0), (90, 60, 200), (250, 20, 3), (210, 190, 150), (255, 255, 255), (70, 160, 90)]


@pytest.mark.parametrize(
    ("dither", "strength", "expected"),
    [
        ("none", None, Dithering("none")),
        ("burkes", 1, Dithering("burkes", None, FULL)),
        ("adaptive", 0.0, Dithering("adaptive", None, 0)),
        ("bayer:16", None, Dithering("bayer", 16)),
        ("atkinson", 0.26, Dithering("atkinson", None, 17)),
    ],
)
def test_methods_and_strengths_are_understood(
    dither: str, strength: Any, expected: Dithering
) -> None:
    assert parse_dither(dither, strength) == expected


@pytest.mark.parametrize(
    ("dither", "strength", "message"),
    [
        ("floyd", None, r"dither = 'floyd' is not one of none, .*floyd-steinberg.*adaptive"),
        ("", None, "is not one of none"),
        (None, None, "dither = None is not one of none"),
        ("jarvis:4", None, "only bayer takes a size, such as bayer:4"),
        ("bayer:3", None, "dither = 'bayer:3': the matrix has 2, 4, 8 or 16 rows"),
        ("bayer:32", None, "the matrix has 2, 4, 8 or 16 rows"),
        ("bayer:0", None, "the matrix has 2, 4, 8 or 16 rows"),
        ("jarvis", 1.01, r"dither_strength = 1.01 is outside 0..1"),
        ("jarvis", -0.1, r"dither_strength = -0.1 is outside 0..1"),
        ("jarvis", float("nan"), "dither_strength = nan is outside"),
        ("jarvis", "half", "dither_strength = 'half' is outside"),
    ],
)
def test_what_is_no_method_or_strength_is_refused(dither: Any, strength: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_dither(dither, strength)
    if dither is not None:
        with pytest.raises(UsageError, match=message):
            quantize(photo(), 5, dither=dither, dither_strength=strength)


def test_the_textbook_and_one_color_are_not_dithered_unless_told_to() -> None:
    assert dithering_for(None, None, "balanced").method == DEFAULT
    assert dithering_for(None, None, "none").method == "none"
    assert dithering_for("burkes", None, "none").method == "burkes"
    picture = photo()
    assert quantize(picture, 1).counts.tolist() == [len(picture) * len(picture[0])]


@pytest.mark.parametrize("dither", MIXING)
def test_one_color_leaves_nothing_to_mix(dither: str) -> None:
    with pytest.raises(UsageError, match="k = 1 leaves nothing to mix; use 2 colors or more"):
        quantize(photo(), 1, dither=dither)
    assert quantize(photo(), 1, dither="none").palette.colors.shape == (1, 3)


@pytest.mark.parametrize("dither", MIXING)
def test_every_method_changes_pixels_and_keeps_their_mean_nearer(dither: str) -> None:
    picture = photo(96, 96)
    plain = apply_palette(picture, PALETTE, color_space="srgb")
    mixed = apply_palette(picture, PALETTE, color_space="srgb", dither=dither)
    assert (plain.index != mixed.index).mean() > 0.1

    def error_of_means(found: Any) -> float:
        gaps = found.to_array().astype(float) - picture
        blocks = gaps.reshape(12, 8, 12, 8, 3).mean(axis=(1, 3))
        return float((blocks**2).mean())

    assert error_of_means(mixed) < 0.7 * error_of_means(plain)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dither", MIXING)
def test_images_of_palette_colors_come_out_unchanged(dither: str, strength: float) -> None:
    rng = np.random.default_rng(1)
    for colors in (np.array(PALETTE, np.uint8), dark_neighbors()):
        picture = colors[rng.integers(0, len(colors), (17, 31))]
        options: dict[str, Any] = {"dither": dither, "dither_strength": strength}
        for space in COLOR_SPACES if strength == 1 else ["oklab"]:
            given = apply_palette(picture, colors, color_space=space, **options)
            np.testing.assert_array_equal(given.to_array(), picture)
            assert given.squared_error == 0
        found = quantize(picture, len(colors), **options)
        np.testing.assert_array_equal(found.to_array(), picture)


def dark_neighbors() -> NDArray[np.uint8]:
    """Colors of which several lie on one point of some grids."""
    return np.array([(0, 0, b) for b in range(12)] + [(1, 0, b) for b in range(12)], np.uint8)


@pytest.mark.parametrize("dither", MIXING)
def test_strength_0_changes_nothing(dither: str) -> None:
    picture = photo()
    plain = apply_palette(picture, PALETTE)
    mixed = apply_palette(picture, PALETTE, dither=dither, dither_strength=0)
    np.testing.assert_array_equal(mixed.index, plain.index)
    assert mixed.squared_error == plain.squared_error


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (17, 31), (2, 2)])
@pytest.mark.parametrize("dither", MIXING)
def test_reports_tell_what_the_pixels_are(dither: str, size: tuple[int, int]) -> None:
    picture = photo(*size)
    found = apply_palette(picture, PALETTE, dither=dither)
    gaps = found.to_array().astype(np.int64) - picture
    assert found.squared_error == (gaps**2).sum()
    assert found.counts.tolist() == np.bincount(found.index.reshape(-1), minlength=6).tolist()
    assert found.index.shape == size


@pytest.mark.parametrize("dither", MIXING)
def test_threads_do_not_matter(dither: str) -> None:
    picture = photo(200, 900)
    one, three = (quantize(picture, 20, dither=dither, threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one.index, three.index)
    np.testing.assert_array_equal(one.palette.colors, three.palette.colors)
    assert one.squared_error == three.squared_error


@pytest.mark.parametrize("dither", MIXING)
def test_opaque_pixels_stay_opaque_and_clear_ones_clear(dither: str) -> None:
    picture = soft_photo()
    found = quantize(picture, 12, dither=dither).to_array()
    alpha = picture[..., 3]
    assert (found[alpha == 255][:, 3] == 255).all()
    assert (found[alpha == 0][:, 3] == 0).all()
    assert len(np.unique(found[(alpha > 0) & (alpha < 255)][:, 3])) > 2


@pytest.mark.parametrize("dither", MIXING)
def test_grays_stay_gray_if_they_are_to(dither: str) -> None:
    picture = photo()
    picture[20:, 30:] = picture[20:, 30:, :1]
    found = quantize(picture, 12, dither=dither, lock_grays=True).to_array()
    gray = found[20:, 30:]
    assert (gray[..., 0] == gray[..., 1]).all()
    assert (gray[..., 1] == gray[..., 2]).all()


@pytest.mark.parametrize("dither", MIXING)
def test_kept_and_flat_colors_are_not_disturbed(dither: str) -> None:
    picture = photo(80, 90)
    flat = (picture == (250, 20, 3)).all(axis=2)
    found = quantize(picture, 10, dither=dither, snap=0.02).to_array()
    assert flat.mean() > 0.02
    assert (found[flat] == (250, 20, 3)).all()


@pytest.mark.parametrize("dither", MIXING)
def test_many_colors_have_16_bit_indices(dither: str) -> None:
    found = quantize(photo(90, 90), 300, dither=dither, effort="fast")
    assert found.index.dtype == np.uint16
    assert len(found.palette) == 300
    assert len(np.unique(found.index)) > 290


@pytest.mark.parametrize("picture", [photo(), soft_photo()], ids=["opaque", "soft"])
def test_tables_give_each_pixel_the_value_of_its_color(picture: NDArray[np.uint8]) -> None:
    found = count_colors(Pixels(picture))
    flat = np.ascontiguousarray(picture.reshape(-1, picture.shape[2]))
    out = np.empty(len(flat), np.int32)
    color_lookup(found, np.arange(len(found), dtype=np.int32))(flat, out)
    seen = flat.copy()
    seen[..., :3] *= (seen[..., 3:] > 0) if seen.shape[1] == 4 else True
    np.testing.assert_array_equal(found.colors[out], seen)


@pytest.mark.parametrize("dither", [None, *MIXING])
def test_colors_without_a_picture_are_not_mixed(dither: str | None) -> None:
    colors = [tuple(color) for color in photo()[3].tolist()]
    plain = quantize(colors, 5, dither="none")
    found = quantize(colors, 5, dither=dither)
    assert found.palette.hex() == plain.palette.hex()
    assert found.index.tolist() == plain.index.tolist()
    given = apply_palette(colors, PALETTE, dither=dither or "none")
    assert given.index.tolist() == apply_palette(colors, PALETTE).index.tolist()
