"""Every dither method on a sky, a face-like gradient and text, beside pngquant where it is there.

    .venv/bin/python scripts/dither_sheet.py OUTPUT.png [-k 8,16,64] [--methods NAME,…]
                                             [--pictures sky,face,text,caption] [--force]

A row for each picture and K, pixel by pixel: the original, each method, and pngquant's default.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from dither_pictures import PICTURES
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pngquant import has_pngquant, pngquant

from quantgpu import QuantgpuError, quantize
from quantgpu.demo.contact_sheet import BACKGROUND, GAP, TEXT
from quantgpu.dithering.methods import DITHERS
from quantgpu.io.atomic import atomic_write, check_writable

WIDTH, HEIGHT = 192, 128
"""Of a picture, in pixels."""

FONT_SIZE, LABEL_HEIGHT = 14, 20

COLORS = "8,16,64"

Tile = tuple[str, NDArray[np.uint8]]
"""A label and (H, W, 3) pixels."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw and write the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("-k", default=COLORS, help="comma-separated")
    parser.add_argument("--methods", default=",".join(DITHERS), help="comma-separated")
    parser.add_argument("--pictures", default=",".join(PICTURES), help="comma-separated")
    parser.add_argument("--force", action="store_true", help="overwrite")
    options = parser.parse_args(arguments)
    try:
        check_writable(options.output, options.force)
        methods = chosen("--methods", options.methods, DITHERS)
        names = chosen("--pictures", options.pictures, PICTURES)
        pictures = {name: PICTURES[name](WIDTH, HEIGHT) for name in names}
        sheet = dither_sheet(pictures, [int(k) for k in options.k.split(",")], methods)
        with atomic_write(options.output, options.force) as stream:
            sheet.save(stream, "PNG", optimize=True)
    except (QuantgpuError, ValueError) as error:
        parser.error(str(error))
    print(f"{options.output}: {options.output.stat().st_size:,} bytes")


def chosen(option: str, names: str, table: Mapping[str, object]) -> list[str]:
    """Comma-separated names; a ValueError if one is not in the table."""
    for name in names.split(","):
        if name not in table:
            raise ValueError(f"{option}: {name!r} is not one of {', '.join(table)}")
    return names.split(",")


def dither_sheet(
    pictures: Mapping[str, NDArray[np.uint8]], ks: Iterable[int], methods: Sequence[str]
) -> Image.Image:
    """Rows of tiles for pictures (H, W, 3) of one size: what each method makes of them."""
    wanted = product(pictures.items(), ks)
    return grid([row(name, picture, k, methods) for (name, picture), k in wanted])


def row(name: str, picture: NDArray[np.uint8], k: int, methods: Sequence[str]) -> list[Tile]:
    """The original, what each method makes of it, and what pngquant does."""
    tiles = [(f"{name}, K = {k}", picture)]
    tiles += [(method, quantize(picture, k, dither=method).to_array()) for method in methods]
    if has_pngquant():
        tiles.append(("pngquant", pngquant(picture, k)))
    return tiles


def grid(rows: Sequence[Sequence[Tile]]) -> Image.Image:
    """Tiles of one size under their labels."""
    height, width = rows[0][0][1].shape[:2]
    across, down = width + GAP, LABEL_HEIGHT + height + GAP
    size = across * len(rows[0]) + GAP, down * len(rows) + GAP
    sheet = Image.new("RGB", size, BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=FONT_SIZE)
    for number, tiles in enumerate(rows):
        top = GAP + number * down
        for column, (label, pixels) in enumerate(tiles):
            left = GAP + column * across
            draw.text((left, top), label, fill=TEXT, font=font)
            sheet.paste(Image.fromarray(pixels), (left, top + LABEL_HEIGHT))
    return sheet


if __name__ == "__main__":
    main()
