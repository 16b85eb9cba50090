"""Masks: gray pictures that say how much each pixel counts, 255 fully and 0 next to nothing."""

from __future__ import annotations

import os
from typing import IO, Any

import numpy as np
from PIL import Image

from quantgpu.arrays.device import device_array
from quantgpu.arrays.namespace import to_host
from quantgpu.errors import InputError, UsageError
from quantgpu.io.decode import MAX_PIXELS, open_image, translate_read_errors, upright
from quantgpu.io.inputs import all_levels
from quantgpu.pixels.pixels import Pixels


def as_mask(weights: Any, shape: tuple[int, ...]) -> Pixels:
    """The weight of each pixel of a picture of `shape`, 0 to 255, as pixels of one channel.

    Args:
        weights: A gray picture of the same size: a path, a Pillow image, or an array of `shape`,
            uint8, or bool where a pixel counts fully or not at all. Color pictures become gray;
            alpha does not matter.
        shape: (H, W), or (N,) for a list of colors.

    Raises:
        UsageError: `weights` is none of these, or of another size.
        InputError: The file at a path cannot be read as an image.
    """
    if isinstance(weights, str | os.PathLike):
        weights = read_mask(weights)
    if isinstance(weights, Image.Image):
        with translate_read_errors("the Pillow image"):
            levels = Pixels(to_gray(weights))
    else:
        levels = Pixels(as_levels(weights)[..., None])
    if levels.shape != shape:
        raise UsageError(
            f"weights for {size_text(levels.shape)}, but the image has {size_text(shape)}; "
            "give one weight for each pixel of the upright image"
        )
    return levels


def size_text(shape: tuple[int, ...]) -> str:
    """The size of a picture, or of a list of colors, for people.

    >>> size_text((20, 30)), size_text((5,))
    ('30 x 20 pixels', '5 colors')
    """
    return f"{shape[0]:,} colors" if len(shape) == 1 else f"{shape[1]} x {shape[0]} pixels"


def read_mask(
    source: str | os.PathLike[str] | IO[bytes], max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """An image file as an upright gray Pillow image of mode L.

    Raises:
        InputError: The file is missing, unreadable, not an image, damaged, or has more than
            `max_pixels`.
    """
    with translate_read_errors(source), open_image(source) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise InputError(f"{width * height:,} pixels are more than {max_pixels:,}")
        return to_gray(image)


def to_gray(image: Image.Image) -> Image.Image:
    """A Pillow image of any mode, upright, as gray of mode L (ITU-R BT.601)."""
    image = upright(image, [])
    if image.mode == "L":
        return image
    return image.convert("L") if image.mode == "1" else image.convert("RGB").convert("L")


def as_levels(weights: Any) -> Any:
    """An array of weights as uint8 on the host; 0 and 255 for bool."""
    array = weights if isinstance(weights, np.ndarray) else device_array(weights)
    array = np.asarray(weights) if array is None else to_host(array)
    if array.ndim not in (1, 2) or array.size == 0:
        raise UsageError(f"weights of shape {array.shape}: they are (H, W), one for each pixel")
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if not all_levels(array):
        raise UsageError(f"weights of {array.dtype}: they are integers in 0..255, or bool")
    return array.astype(np.uint8, copy=False)
