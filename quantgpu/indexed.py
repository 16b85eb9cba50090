"""The result: an index map and its palette."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import to_host
from quantgpu.metrics.palette_error import decibels
from quantgpu.palette import Palette

if TYPE_CHECKING:
    from PIL import Image

    from quantgpu.io.metadata import Metadata


@dataclass(frozen=True, eq=False)
class Indexed:
    """An image of K colors."""

    index: Any
    """(H, W), or (N,) for a list of colors: rows of the palette; uint8, uint16 if K > 256."""
    palette: Palette
    """K distinct colors, fewer if the image had fewer."""
    counts: NDArray[np.int64]
    """(K,) pixels of each palette entry."""
    colors_in: int
    """Distinct colors before."""
    squared_error: int
    """Squared differences of 8-bit levels, summed over pixels and channels."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time spent in each stage."""
    device: str = "cpu"
    """Where the work was done: ``cpu`` or ``gpu:N``."""
    notes: list[str] = field(default_factory=list)
    """Why it was not done where it was meant to be."""
    curve: dict[int, float] = field(default_factory=dict)
    """With a `target`: all K that were tried, ascending, and how good each was."""

    @property
    def mse(self) -> float:
        """Mean squared error of a pixel, summed over the three channels, in squared levels.

        M. E. Celebi, "Improving the performance of k-means for color quantization", Image and
        Vision Computing 29(4), 2011, doi:10.1016/j.imavis.2010.10.002.
        """
        return self.squared_error / int(self.counts.sum())

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in decibels over all channels; infinite without error."""
        return decibels(self.squared_error, int(self.counts.sum()))

    def to_array(self) -> NDArray[np.uint8]:
        """The colors of the pixels, (H, W, 3) uint8."""
        pixels: NDArray[np.uint8] = self.palette.colors[to_host(self.index)]
        return pixels

    def to_image(self) -> Image.Image:
        """A Pillow image: mode P, or RGB where there are more than 256 colors."""
        from quantgpu.io.encode import to_picture

        return to_picture(to_host(self.index), self.palette.colors)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        force: bool = False,
        compress_level: int | None = None,
        metadata: Metadata | None = None,
    ) -> int:
        """Write a file in the format that its suffix names; the bytes written.

        The file appears complete or not at all.

        Args:
            path: Ends in .png, .gif, .webp, .tif, .tiff, .bmp or .npz. More than 256 colors are
                written as true color, except in .npz, which holds index map and palette.
            force: Replace a file that exists.
            compress_level: Of PNG and NPZ, 0 (fast) to 9 (small); 2 when not given.
            metadata: What is written beside the pixels, as far as the format holds it: a
                `quantgpu.Metadata`; nothing when not given.

        Raises:
            UsageError: The format is unknown, or cannot hold so many colors or pixels.
            OutputError: The file exists, or cannot be written.
        """
        from quantgpu.io.atomic import atomic_write
        from quantgpu.io.encode import COMPRESS_LEVEL, encode, format_for
        from quantgpu.io.metadata import NO_METADATA

        form = format_for(path)
        with atomic_write(Path(path), force) as stream:
            level = COMPRESS_LEVEL if compress_level is None else compress_level
            said = NO_METADATA if metadata is None else metadata
            return encode(to_host(self.index), self.palette.colors, form, stream, level, said)
