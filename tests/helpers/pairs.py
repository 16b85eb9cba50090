"""Pairs of pictures of one size that differ in several ways; asymmetric on purpose."""

from __future__ import annotations

import numpy as np
import pytest
from image_files import noise
from numpy.typing import NDArray
from pictures import photo

import quantgpu

Colors = NDArray[np.uint8]


def pair(height: int = 61, width: int = 83) -> tuple[Colors, Colors]:
    """A picture and what is left of it in 16 colors."""
    picture = photo(height, width)
    return picture, quantgpu.quantize(picture, 16, effort="fast", device="cpu").to_array()


def altered(picture: Colors, seed: int = 1) -> Colors:
    """The same picture with grain, of other amounts in each channel; some pixels stay."""
    rng = np.random.default_rng(seed)
    grain = rng.integers(-1, 2, picture.shape) * np.array([9, 4, 1])
    grain[:, ::3] = 0
    grainy: Colors = np.clip(picture + grain, 0, 255).astype(np.uint8)
    return grainy


PAIRS = {
    "quantized": pair(),
    "grain": (photo(), altered(photo())),
    "noise": (noise(40, 31, 3), noise(40, 31, 3, seed=1)),
    "window": (photo(11, 11), altered(photo(11, 11))),
    "gray and black": (np.full((12, 15, 3), 128, np.uint8), np.zeros((12, 15, 3), np.uint8)),
}
both = pytest.mark.parametrize(("a", "b"), PAIRS.values(), ids=PAIRS)
