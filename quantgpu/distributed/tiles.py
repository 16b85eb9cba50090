"""Blocks of a picture with a halo: the pixels around a block that its weights depend on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from quantgpu.arrays.device import Device
from quantgpu.arrays.namespace import array_module, device_of, to_host
from quantgpu.arrays.pinned import align
from quantgpu.pixels.gpu import GpuPixels
from quantgpu.pixels.perceptual import Weighed, pixel_weights, rows_around
from quantgpu.pixels.pixels import Pixels

ABOVE, BELOW, LEFT, RIGHT = 1, 2, 1, 2
"""Pixels around a block that its weights depend on, see `pixels.perceptual`."""

EDGES = {
    -1: (slice(-ABOVE, None), slice(-LEFT, None)),
    0: (slice(None), slice(None)),
    1: (slice(BELOW), slice(RIGHT)),
}
"""Position of a neighbor before (-1), beside (0) or after (1) a block to the rows, and columns, of
the neighbor that belong to the block's halo."""


class Halo(NamedTuple):
    """Rows and columns around a block that serve only the weights of its pixels."""

    above: int = 0
    below: int = 0
    left: int = 0
    right: int = 0

    def trim(self, around: Any) -> Any:
        """Cut the halo off an array, (h, w, …)."""
        height, width = around.shape[:2]
        return around[self.above : height - self.below, self.left : width - self.right]


def edge(block: Any, down: int, right: int) -> NDArray[Any]:
    """The edge of a block, (h, w, …), that belongs to a neighbor's halo, on the host.

    Args:
        block: The block.
        down: The block's position relative to the neighbor: -1 above, 0 beside, 1 below.
        right: -1 left of the neighbor, 0 in its columns, 1 right of it.
    """
    part: NDArray[Any] = to_host(block[EDGES[down][0], EDGES[right][1]])
    return part


def assemble(lines: Sequence[Sequence[Any]]) -> tuple[Any, Halo]:
    """Join a block and the edges around it to one array, on the block's device.

    Args:
        lines: 3 x 3 parts, from above to below and from left to right: the block, (h, w, …), in the
            middle, and the `edge` of each neighbor; None beyond the borders of the picture.

    Returns:
        The array, and the size of the halo.
    """
    block = lines[1][1]
    xp = array_module(block)
    halo = Halo(
        ABOVE * (lines[0][1] is not None), BELOW * (lines[2][1] is not None),
        LEFT * (lines[1][0] is not None), RIGHT * (lines[1][2] is not None),
    )  # fmt: skip
    if halo == Halo():
        return block, halo
    with device_of(block):
        rows = [[xp.asarray(part) for part in line if part is not None] for line in lines]
        return xp.concatenate([xp.concatenate(row, axis=1) for row in rows if row], axis=0), halo


class Tile(Pixels):
    """A block of a picture, whose pixels have their weights in the whole picture."""

    def __init__(self, around: Any, halo: Halo) -> None:
        """`around`: (h, w, 3 | 4) uint8, the block with its halo, on the host or on a GPU."""
        super().__init__(halo.trim(around))
        self.around, self.halo = around, halo

    def to_host(self) -> Tile:
        """The block on the host."""
        return Tile(to_host(self.around), self.halo)

    def perceptual_slabs(self, batch: int, threads: int) -> Iterator[Weighed]:
        """`Pixels.perceptual_slabs` of the block without its halo."""
        left = self.halo.left
        for start, stop in self.row_ranges(batch):
            first_row = start + self.halo.above
            first, last = rows_around(first_row, first_row + stop - start, len(self.around))
            weights = pixel_weights(self.around[first:last], first_row - first, stop - start)
            inner = weights.reshape(stop - start, -1)[:, left : left + self.width]
            yield (start, stop), self.slab(start, stop), inner.reshape(-1)


class GpuTile(Pixels):
    """A `Tile` whose slabs are on a GPU: uploaded one by one if the block is on the host."""

    def __init__(self, tile: Tile, xp: Any, device: Device) -> None:
        super().__init__(tile.source)
        self.xp, self.halo = xp, tile.halo
        self.around = GpuPixels(Pixels(tile.around), xp, device, keep=False)

    def wait(self) -> None:
        """Wait for all copies."""
        self.around.wait()

    def slabs(self, batch: int = 0) -> Iterator[tuple[tuple[int, int], Any]]:
        """`GpuPixels.slabs` of the block without its halo."""
        for rows, colors in self.around.slabs():
            yield from self.interior(rows, colors)

    def perceptual_slabs(self, batch: int = 0, threads: int = 0) -> Iterator[Weighed]:
        """`GpuPixels.perceptual_slabs` of the block without its halo."""
        for rows, colors, weights in self.around.perceptual_slabs():
            yield from self.interior(rows, colors, weights)

    def interior(self, rows: tuple[int, int], *columns: Any) -> Iterator[Any]:
        """Yield the slab without the halo: its rows in the block, and each column, (pixels, …).

        Nothing is yielded for a slab of the halo alone. Kernels read words, so the columns begin at
        multiples of 4 bytes.
        """
        halo, (start, stop) = self.halo, rows
        first, last = max(start, halo.above), min(stop, self.around.height - halo.below)
        if first >= last:
            return
        inner = slice(first - start, last - start), slice(halo.left, halo.left + self.width)
        shape = (stop - start, self.around.width)
        parts = [column.reshape(*shape, *column.shape[1:])[inner] for column in columns]
        yield (
            (first - halo.above, last - halo.above),
            *(align(part).reshape(-1, *part.shape[2:]) for part in parts),
        )
