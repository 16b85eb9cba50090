"""From Pillow images, paths and arrays to pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantgpu.arrays.namespace import to_host
from quantgpu.histogram import MOST
from quantgpu.pixels.perceptual import Weighed, pixel_weights, rows_around, scaled
from quantgpu.threads import chunks, imap_threads


class Pixels:
    """An image's pixels, handed out as slabs of rows, so that no second copy of all is made."""

    xp: Any = np
    """The array module of the slabs."""

    mask: Pixels | None = None
    """Of the same shape with one channel: how much each pixel counts, 255 fully."""

    place: tuple[int, int] = (0, 0)
    """The row and column of the first pixel, in the picture that these are a part of."""

    def __init__(self, source: Any) -> None:
        """`source`: a Pillow image in mode RGB or RGBA, or an (H, W, 3 | 4) or (N, 3 | 4) uint8
        array. Four channels are for pictures of which some pixel is not opaque, one for masks."""
        if isinstance(source, Image.Image):
            self.shape = source.size[::-1]
            self.channels = len(source.getbands())
            self.source: Any = source
        else:
            self.shape, self.channels = source.shape[:-1], source.shape[-1]
            self.source = source.reshape(len(source), -1, self.channels)
        self.height: int
        self.width: int
        self.height, self.width = self.shape if len(self.shape) == 2 else (*self.shape, 1)

    def __len__(self) -> int:
        return self.height * self.width

    def slab(self, start: int, stop: int) -> NDArray[np.uint8]:
        """The colors of the rows ``start … stop``, (pixels, channels) uint8, C-contiguous."""
        if isinstance(self.source, Image.Image):
            rows = np.asarray(self.source.crop((0, start, self.width, stop)))
        else:
            rows = self.source[start:stop]
        return np.ascontiguousarray(rows).reshape(-1, self.channels)

    @property
    def gpu(self) -> int | None:
        """The number of the GPU that the pixels are on; None for the host."""
        is_array = not isinstance(self.source, Image.Image | np.ndarray)
        return int(self.source.device.id) if is_array else None

    def to_host(self) -> Pixels:
        """These pixels on the host."""
        if self.gpu is None:
            return self
        here = Pixels(to_host(self.source).reshape(*self.shape, self.channels))
        here.mask, here.place = self.mask, self.place
        return here

    def make_room(self, colors: int) -> list[str]:
        """Called when so many distinct colors were counted; notes on what that means."""
        return []

    def wait(self) -> None:
        """Called before a map of the pixels is used; it is complete on the host."""

    def slabs(self, batch: int) -> Iterator[tuple[tuple[int, int], Any]]:
        """Intervals of rows with about `batch` pixels each; their colors, (pixels, channels)."""
        for rows in self.row_ranges(batch):
            yield rows, self.slab(*rows)

    def weighted_slabs(
        self, batch: int = 0, threads: int = 1, perceptual: bool = True
    ) -> Iterator[Weighed]:
        """`slabs` with the weights of the pixels: `pixel_weights` if `perceptual`, masked."""
        if perceptual:
            weighed = self.perceptual_slabs(batch, threads)
        else:
            weighed = ((rows, colors, MOST) for rows, colors in self.slabs(batch))
        if self.mask is None:
            yield from weighed
            return
        for (rows, colors, weights), (_, levels) in zip(
            weighed, self.mask.slabs(batch), strict=True
        ):
            yield rows, colors, scaled(weights, levels.reshape(-1))

    def perceptual_slabs(self, batch: int, threads: int) -> Iterator[Weighed]:
        """`slabs` with their `pixel_weights`, found a few slabs ahead by several threads."""

        def weighed(rows: tuple[int, int]) -> Weighed:
            start, stop = rows
            first, last = rows_around(start, stop, self.height)
            around = self.slab(first, last)
            around = around.reshape(last - first, self.width, self.channels)
            weights = pixel_weights(around, start - first, stop - start)
            inner = around[start - first : stop - first]
            return rows, inner.reshape(-1, self.channels), weights

        yield from imap_threads(weighed, self.row_ranges(batch), threads)

    def row_ranges(
        self, batch: int, rows: tuple[int, int] | None = None
    ) -> Iterator[tuple[int, int]]:
        """Intervals of rows, of all or of an interval, with about `batch` pixels each."""
        first, last = rows or (0, self.height)
        return chunks(first, last, max(batch // self.width, 1))
