"""pngquant's result for an array, on machines that have it."""

from __future__ import annotations

import io
import shutil
import subprocess

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def has_pngquant() -> bool:
    """Whether it can be run."""
    return shutil.which("pngquant") is not None


def pngquant(picture: NDArray[np.uint8], k: int, *options: str) -> NDArray[np.uint8]:
    """(H, W, 3): a picture (H, W, 3) in `k` colors, dithered its way unless told otherwise."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    command = ["pngquant", *options, str(k), "-"]
    result = subprocess.run(command, input=stream.getvalue(), stdout=subprocess.PIPE, check=True)
    with Image.open(io.BytesIO(result.stdout)) as image:
        return np.asarray(image.convert("RGB"))
