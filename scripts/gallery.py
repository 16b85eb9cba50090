"""The pictures of the gallery (quantgpu/docs/gallery.md), each made by the command lines beside it.

    .venv/bin/python scripts/gallery.py [NAME ...]

Pictures are drawn, the commands run on them as they stand in `SHEETS` and on the page, and what
they wrote is put side by side into scripts/gallery/NAME.png. Results and palettes are shown
pixel by pixel. The same bytes wherever Pillow, FreeType and zlib are the same versions.
"""

from __future__ import annotations

import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from quantgpu.cli import app
from quantgpu.demo.contact_sheet import contact_sheet
from quantgpu.demo.scene import render_window
from quantgpu.io.palette_files import read_palette

GALLERY = Path(__file__).parent / "gallery"

HEIGHT = 160
"""Of each picture in a sheet, in pixels."""

SMOOTH = 4
"""Shapes are drawn so many times larger, and their edges averaged."""

CHECKERS = (255, 204)
"""Levels of the two grays behind what is transparent."""

CHECKER = 8
"""The side of a checker, in pixels."""

RED, BLUE, CREAM = "#e01", "#05a", "#ffd"

BEAD = 0.06
"""The radius of the small ball, in heights of the picture."""

PICO8 = """000000 1d2b53 7e2553 008751 ab5236 5f574f c2c3c7 fff1e8
ff004d ffa300 ffec27 00e436 29adff 83769c ff77a8 ffccaa"""
"""The palette of a fantasy console."""


def photo(height: int) -> Image.Image:
    """The built-in scene."""
    return view(height, 1, 0, 0)


def balloon(height: int) -> Image.Image:
    """The large balloon of the scene before clouds and mountains."""
    return view(height, 2.2, 0.15, 0.08)


def ball(height: int) -> Image.Image:
    """A smooth ball in the grass."""
    return with_ball(height, 0.36, (255.0, 190, 150))


def bead(height: int) -> Image.Image:
    """A small red ball above the grass."""
    return with_ball(height, BEAD, (240.0, 20, 30))


def bead_mask(height: int) -> Image.Image:
    """White where the small ball is, and dark around it."""
    mask = Image.new("L", (SMOOTH * height * 3 // 2, SMOOTH * height), 20)
    width, whole, radius = *mask.size, 1.25 * BEAD * mask.height
    box = [width / 2 - radius, whole / 2 - radius, width / 2 + radius, whole / 2 + radius]
    ImageDraw.Draw(mask).ellipse(box, 255)
    return mask.reduce(SMOOTH)


def with_ball(height: int, radius: float, color: tuple[float, float, float]) -> Image.Image:
    """Grass, and before it a shaded ball of a radius in heights."""
    grass = np.asarray(view(height, 2.4, 0.1, 0.55)).astype(float)
    y, x = (np.mgrid[0:height, 0 : height * 3 // 2] + 0.5) / height
    across, down = (x - 0.75) / radius, (y - 0.5) / radius
    away = across * across + down * down
    toward = np.sqrt(np.maximum(1 - away, 0))
    light = np.clip(0.62 * toward - 0.40 * across - 0.55 * down, 0, 1)
    shaded = (0.25 + 0.75 * light)[..., None] * np.array(color)
    cover = np.clip((1 - np.sqrt(away)) * radius * height, 0, 1)[..., None]
    return Image.fromarray((grass + cover * (shaded - grass)).round().astype(np.uint8))


def view(height: int, zoom: float, left: float, top: float) -> Image.Image:
    """A part of the scene, 3:2: from shares of its width and height on, enlarged."""
    width, whole = height * 3 // 2, round(height * zoom)
    row, column = round(whole * top), round(whole * 3 / 2 * left)
    columns = range(column, column + width)
    rows = range(row, row + height)
    return Image.fromarray(render_window(whole * 3 // 2, whole, rows, columns))


def poster(height: int) -> Image.Image:
    """The scene above a strip of flat colors: a logo with smooth edges, and a gray ramp."""
    picture = photo(height)
    width, top = picture.width, height * 3 // 4
    size = SMOOTH * width, SMOOTH * (height - top)
    strip = Image.new("RGB", size, CREAM)
    draw, unit = ImageDraw.Draw(strip), size[1] / 8
    draw.ellipse([unit, unit, 7 * unit, 7 * unit], RED)
    draw.ellipse([3 * unit, 2 * unit, 8 * unit, 7 * unit], BLUE)
    draw.polygon([(9 * unit, 7 * unit), (12 * unit, unit), (15 * unit, 7 * unit)], RED)
    left, right = round(17 * unit), round(size[0] - unit)
    for x in range(left, right):
        level = 255 * (x - left) // (right - left)
        draw.line([x, unit, x, 7 * unit], (level, level, level))
    picture.paste(strip.reduce(SMOOTH), (0, top))
    return picture


def button(height: int) -> Image.Image:
    """RGBA: a glossy disk with a soft shadow, a hole and smooth edges on nothing."""
    width = height * 3 // 2
    y, x = (np.mgrid[0:height, 0:width].astype(float) + 0.5) / height
    away = np.hypot(x - 0.7, y - 0.45)
    disk = np.clip((0.36 - away) * height, 0, 1) * np.clip((away - 0.12) * height, 0, 1)
    shadow = 0.6 * np.clip(1.25 - np.hypot((x - 0.8) / 0.42, (y - 0.58) / 0.38), 0, 1)
    alpha = disk + shadow * (1 - disk)
    light = 0.55 + 0.45 * np.clip(1 - np.hypot(x - 0.6, y - 0.3) / 0.5, 0, 1)
    share = (disk / np.maximum(alpha, 1e-9))[..., None] * light[..., None]
    color = share * np.array([255.0, 96, 32])
    return Image.fromarray(np.dstack([color, 255 * alpha]).round().astype(np.uint8))


class Sheet(NamedTuple):
    """A picture, and what the gallery does with it."""

    file: str
    """What the commands call the picture."""
    draw: Callable[[int], Image.Image]
    """From a height in pixels to the picture."""
    commands: tuple[str, ...]
    """Command lines in the folder of the picture; each gives one picture or several."""
    mask: Callable[[int], Image.Image] | None = None
    """What is mask.png in that folder, and shown, too."""


SHEETS = {
    "colors": Sheet(
        "photo.png",
        balloon,
        (
            "quantgpu quantize photo.png -k 4,16,64",
            "quantgpu quantize photo.png --target de=2",
            "quantgpu apply photo.png --palette pico8.hex",
            "quantgpu quantize photo.png -k 6 --from-palette pico8.hex",
        ),
    ),
    "spaces": Sheet(
        "photo.png",
        photo,
        tuple(
            f"quantgpu quantize photo.png -k 8 --color-space {space}"
            for space in ("oklab", "cielab", "srgb", "linear")
        ),
    ),
    "dither": Sheet(
        "photo.png",
        balloon,
        tuple(
            f"quantgpu quantize photo.png -k 8 --dither {method}"
            for method in ("adaptive", "none", "blue-noise", "bayer:4", "atkinson")
        ),
    ),
    "perceptual": Sheet(
        "ball.png",
        ball,
        (
            "quantgpu quantize ball.png -k 16 --dither none --perceptual",
            "quantgpu quantize ball.png -k 16 --dither none --no-perceptual",
        ),
    ),
    "kept": Sheet(
        "poster.png",
        poster,
        (
            "quantgpu quantize poster.png -k 12",
            f"quantgpu quantize poster.png -k 12 --keep '{RED},{BLUE}'",
            "quantgpu quantize poster.png -k 12 --snap 0.01",
            "quantgpu quantize poster.png -k 12 --lock-grays",
        ),
    ),
    "weights": Sheet(
        "field.png",
        bead,
        (
            "quantgpu quantize field.png -k 6",
            "quantgpu quantize field.png -k 6 --weights mask.png",
            "quantgpu quantize field.png -k 6 --salient",
        ),
        bead_mask,
    ),
    "alpha": Sheet(
        "button.png",
        button,
        (
            "quantgpu quantize button.png -k 16 --alpha keep",
            "quantgpu quantize button.png -k 16 --alpha binary",
            "quantgpu quantize button.png -k 16 --alpha flatten --matte '#cef'",
        ),
    ),
}
"""Name to what is shown in scripts/gallery/NAME.png."""


def main(names: Sequence[str]) -> None:
    """Write the sheets of these names, or all."""
    for name in names:
        if name not in SHEETS:
            raise SystemExit(f"gallery.py: {name!r} is not one of {', '.join(SHEETS)}")
    GALLERY.mkdir(exist_ok=True)
    for name in names or SHEETS:
        path = GALLERY / f"{name}.png"
        draw_sheet(SHEETS[name], HEIGHT).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size:,} bytes")


def draw_sheet(sheet: Sheet, height: int) -> Image.Image:
    """The picture of a sheet, `height` pixels high, beside what its commands make of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = sheet.draw(height)
        picture.save(folder / sheet.file)
        (folder / "pico8.hex").write_text("\n".join(PICO8.split()))
        results: list[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]] = []
        if sheet.mask:
            mask = sheet.mask(height)
            mask.save(folder / "mask.png")
            results.append(("mask.png", opaque(mask), np.empty((0, 3), np.uint8)))
        results += [
            panel(label(command, file), file)
            for command in sheet.commands
            for file in run(command, folder)
        ]
        return contact_sheet(opaque(picture), results, height * 3 // 2)


def run(command: str, folder: Path) -> list[Path]:
    """Run a command line on files of a folder; what it wrote, by the number of colors."""
    words = shlex.split(command)[1:]
    output = Path(tempfile.mkdtemp(dir=folder))
    arguments = [str(folder / word) if (folder / word).is_file() else word for word in words]
    code = app([*arguments, "--output-dir", str(output), "--quiet"], standalone_mode=False)
    if code:
        raise SystemExit(f"{command}: ended with exit code {code}")
    return sorted(output.iterdir(), key=lambda file: len(read_palette(file)))


def label(command: str, file: Path) -> str:
    """The options of a command, and the colors of its result where they do not tell them."""
    _, verb, _, options = command.split(maxsplit=3)
    told = verb == "apply" or re.match(r"-k \d+\b(?!,)", options)
    return options if told else f"{options}: K = {len(read_palette(file))}"


def panel(text: str, file: Path) -> tuple[str, NDArray[np.uint8], NDArray[np.uint8]]:
    """A label, the pixels of a file, and its palette if that is opaque."""
    palette = read_palette(file)
    with Image.open(file) as image:
        shown = opaque(image)
    return text, shown, palette[:, :3] if palette.shape[1] == 3 else palette[:0, :3]


def opaque(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3): an image over checkers."""
    image = image.convert("RGBA")
    y, x = np.mgrid[0 : image.height, 0 : image.width] // CHECKER
    checkers = np.array(CHECKERS, np.uint8)[(x + y) % 2]
    canvas = Image.fromarray(checkers).convert("RGBA")
    canvas.alpha_composite(image)
    return np.asarray(canvas.convert("RGB"))


if __name__ == "__main__":
    main(sys.argv[1:])
