"""Parts of a picture with as much around them as the weights of their pixels depend on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from quantgpu.arrays.device import Device
from quantgpu.arrays.namespace import array_module, device_of, to_host
from quantgpu.arrays.pinned import aligned
from quantgpu.pixels.gpu import GpuPixels
from quantgpu.pixels.perceptual import Weighed, pixel_weights, rows_around
from quantgpu.pixels.pixels import Pixels

ABOVE, BELOW, LEFT, RIGHT = 1, 2, 1, 2
"""Pixels around a block that the weights of its own depend on, see `importance`."""

EDGES = {
    -1: (slice(-ABOVE, None), slice(-LEFT, None)),
    0: (slice(None), slice(None)),
    1: (slice(BELOW), slice(RIGHT)),
}
"""Of a block that lies before (-1), beside (0) or after (1) another: its rows, and its columns,
that are around the other."""


class Halo(NamedTuple):
    """How much of a block is there only for the weights of the pixels beside it."""

    above: int = 0
    below: int = 0
    left: int = 0
    right: int = 0

    def cut_from(self, around: Any) -> Any:
        """(h, w, …) without the halo."""
        height, width = around.shape[:2]
        return around[self.above : height - self.below, self.left : width - self.right]


def edge(block: Any, down: int, right: int) -> NDArray[Any]:
    """What a block, (h, w, …), lends to the one that it lies beside: `EDGES`, on the host."""
    lent: NDArray[Any] = to_host(block[EDGES[down][0], EDGES[right][1]])
    return lent


def assemble(lines: Sequence[Sequence[Any]]) -> tuple[Any, Halo]:
    """A block and the edges around it as one array, where the block is, and how much is around.

    Args:
        lines: From above to below, and from left to right, three times three: the block, (h, w, …),
            in the middle, and what others lend it; None beyond the borders of the picture.
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
    """A block of a picture, in which pixels weigh what they do in the whole."""

    def __init__(self, around: Any, halo: Halo) -> None:
        """`around`: (h, w, 3 | 4) uint8, with the halo, which ends at the borders of the picture;
        on the host or on a GPU."""
        super().__init__(halo.cut_from(around))
        self.around, self.halo = around, halo

    def to_host(self) -> Tile:
        """The same on the host."""
        return Tile(to_host(self.around), self.halo)

    def busy_slabs(self, batch: int, threads: int) -> Iterator[Weighed]:
        """`Pixels.busy_slabs`, of the block's own pixels."""
        left = self.halo.left
        for start, stop in self.row_ranges(batch):
            at = start + self.halo.above
            first, last = rows_around(at, at + stop - start, len(self.around))
            weights = pixel_weights(self.around[first:last], at - first, stop - start)
            inner = weights.reshape(stop - start, -1)[:, left : left + self.width]
            yield (start, stop), self.slab(start, stop), inner.reshape(-1)


class GpuTile(Pixels):
    """A `Tile` on a GPU: it goes up slab by slab, or is there already."""

    def __init__(self, tile: Tile, xp: Any, device: Device) -> None:
        super().__init__(tile.source)
        self.xp, self.halo = xp, tile.halo
        self.around = GpuPixels(Pixels(tile.around), xp, device, keep=False)

    def wait(self) -> None:
        """Wait for all copies."""
        self.around.wait()

    def slabs(self, batch: int = 0) -> Iterator[tuple[tuple[int, int], Any]]:
        """`GpuPixels.slabs`, of the block's own pixels."""
        for rows, colors in self.around.slabs():
            yield from self.interior(rows, colors)

    def busy_slabs(self, batch: int = 0, threads: int = 0) -> Iterator[Weighed]:
        """`GpuPixels.busy_slabs`, of the block's own pixels."""
        for rows, colors, weights in self.around.busy_slabs():
            yield from self.interior(rows, colors, weights)

    def interior(self, rows: tuple[int, int], *columns: Any) -> Iterator[Any]:
        """The block's own part of a slab, (pixels, …), and its rows in the block; if there is any.

        Kernels read words, so it begins at a multiple of 4 bytes.
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
            *(aligned(part).reshape(-1, *part.shape[2:]) for part in parts),
        )
