"""The gallery's examples: their pictures show what the commands beside them do."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from assertions import is_inside
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import gallery

from quantgpu import apply_palette, quantize, quantize_each

ROOT = Path(__file__).parents[2]

TINY = 24

EXAMPLE = r"```sh\n([^`]+)```\n\n!\[[^\]]+\]\(\.\./\.\./scripts/gallery/(\w+)\.png\)"


def test_the_gallery_shows_every_picture_below_its_commands_and_no_other() -> None:
    page = (ROOT / "quantgpu/docs/gallery.md").read_text()
    shown = {
        name: tuple(re.split(r"\s+# ", line)[0] for line in commands.splitlines())
        for commands, name in re.findall(EXAMPLE, page)
    }
    assert shown == {name: sheet.commands for name, sheet in gallery.SHEETS.items()}
    assert len(re.findall("scripts/gallery/", page)) == len(shown)
    assert {path.name for path in gallery.GALLERY.iterdir()} == {f"{name}.png" for name in shown}


def test_the_same_pixels_every_time() -> None:
    assert np.array_equal(sheet("colors"), sheet("colors"))


def sheet(name: str) -> NDArray[np.uint8]:
    return np.asarray(gallery.draw_sheet(gallery.SHEETS[name], TINY))


def test_panels_are_what_the_library_makes_with_the_options_in_their_labels() -> None:
    photo = gallery.photo(TINY)
    shown = sheet("spaces")
    assert is_inside(np.asarray(photo), shown)
    for space in ("oklab", "cielab", "srgb", "linear"):
        assert is_inside(quantize(photo, 8, color_space=space).to_array(), shown)


def test_several_results_of_one_command_are_all_shown() -> None:
    balloon = gallery.balloon(TINY)
    colors = [tuple(bytes.fromhex(color)) for color in gallery.PICO8.split()]
    expected = [*quantize_each(balloon, [4, 16, 64]), quantize(balloon, target="de=2")]
    shown = sheet("colors")
    for picture in (*expected, apply_palette(balloon, colors)):
        assert is_inside(picture.to_array(), shown)


def test_importance_and_kept_colors_show() -> None:
    ball, poster = gallery.ball(TINY), gallery.poster(TINY)
    for perceptual in (True, False):
        expected = quantize(ball, 16, perceptual=perceptual, dither="none")
        assert is_inside(expected.to_array(), sheet("perceptual"))
    kept = [(0xEE, 0, 0x11), (0, 0x55, 0xAA)]
    shown = sheet("kept")
    for options in ({}, {"keep": kept}, {"snap": 0.01}, {"lock_grays": True}):
        assert is_inside(quantize(poster, 12, **options).to_array(), shown)


def test_masks_are_shown_and_weigh() -> None:
    field, mask = gallery.bead(TINY), gallery.bead_mask(TINY)
    shown = sheet("weights")
    assert is_inside(np.asarray(mask.convert("RGB")), shown)
    for options in ({}, {"weights": mask}, {"salient": True}):
        assert is_inside(quantize(field, 6, **options).to_array(), shown)


def test_what_is_transparent_lies_on_checkers() -> None:
    button = gallery.button(TINY)
    assert button.getchannel("A").getextrema() == (0, 255)
    shown = sheet("alpha")
    for alpha in ("keep", "binary"):
        pixels = quantize(button, 16, alpha=alpha).to_array()
        assert is_inside(gallery.opaque(Image.fromarray(pixels)), shown)
    matte = (0xCC, 0xEE, 0xFF)
    flat = quantize(button, 16, alpha="flatten", matte=matte)
    assert is_inside(flat.to_array(), shown)


def test_a_command_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"nothing\.png: ended with exit code 3"):
        gallery.run("quantgpu quantize nothing.png", tmp_path)


@pytest.mark.parametrize(
    ("command", "label"),
    [
        ("quantgpu quantize a.png -k 2 --snap 0.01", "-k 2 --snap 0.01"),
        ("quantgpu quantize a.png -k 2,3", "-k 2,3: K = 2"),
        ("quantgpu quantize a.png --target de=2", "--target de=2: K = 2"),
        ("quantgpu apply a.png --palette b.hex", "--palette b.hex"),
    ],
)
def test_labels_tell_options_and_colors(command: str, label: str, tmp_path: Path) -> None:
    file = tmp_path / "a-2.png"
    quantize(np.array([[[1, 2, 3], [200, 100, 50]]], np.uint8), 2).save(file)
    assert gallery.label(command, file) == label


def test_unknown_names_are_refused_with_the_list() -> None:
    with pytest.raises(SystemExit, match="'color' is not one of colors, spaces"):
        gallery.main(["color"])
