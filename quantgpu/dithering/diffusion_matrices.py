"""The table of error diffusion matrices, as their papers print them."""

from __future__ import annotations

from typing import NamedTuple

FULL = 64
"""The strength that passes all of an error on."""


class DiffusionMatrix(NamedTuple):
    """How an error is shared out among the neighbors that come later."""

    shares: tuple[tuple[int, ...], ...]
    """Rows of weights; the pixel itself is a 0 in the first, and the middle of all rows."""
    divisor: int
    """What the weights are divided by; more than their sum where some of the error is dropped."""

    @property
    def taps(self) -> list[tuple[int, int, int]]:
        """Columns to the right, rows below, weight of each neighbor that gets a share."""
        middle = len(self.shares[0]) // 2
        return [
            (column - middle, row, weight)
            for row, weights in enumerate(self.shares)
            for column, weight in enumerate(weights)
            if weight
        ]

    @property
    def lag(self) -> int:
        """Columns by which a row must lag behind the row above it."""
        return max(-((dx - 1) // dy) for dx, dy, _ in self.taps if dy)

    @property
    def depth(self) -> int:
        """Rows below that get a share."""
        return len(self.shares) - 1


DIFFUSION_MATRICES = {
    "floyd-steinberg": DiffusionMatrix(((0, 0, 7), (3, 5, 1)), 16),
    "jarvis": DiffusionMatrix(((0, 0, 0, 7, 5), (3, 5, 7, 5, 3), (1, 3, 5, 3, 1)), 48),
    "stucki": DiffusionMatrix(((0, 0, 0, 8, 4), (2, 4, 8, 4, 2), (1, 2, 4, 2, 1)), 42),
    "burkes": DiffusionMatrix(((0, 0, 0, 8, 4), (2, 4, 8, 4, 2)), 32),
    "sierra": DiffusionMatrix(((0, 0, 0, 5, 3), (2, 4, 5, 4, 2), (0, 2, 3, 2, 0)), 32),
    "sierra-lite": DiffusionMatrix(((0, 0, 2), (1, 1, 0)), 4),
    "atkinson": DiffusionMatrix(((0, 0, 0, 1, 1), (0, 1, 1, 1, 0), (0, 0, 1, 0, 0)), 8),
    "stevenson-arce": DiffusionMatrix(
        (
            (0, 0, 0, 0, 0, 32, 0),
            (12, 0, 26, 0, 30, 0, 16),
            (0, 12, 0, 26, 0, 12, 0),
            (5, 0, 12, 0, 12, 0, 5),
        ),
        200,
    ),
    "adaptive": DiffusionMatrix(((0, 0, 0, 8, 3), (0, 5, 8, 5, 3)), 32),
}
"""Name to kernel. Sources, in order: Floyd and Steinberg, 1976; J. F. Jarvis, C. N. Judice and
W. H. Ninke, 1976, doi:10.1016/S0146-664X(76)80003-2; P. Stucki, IBM Research Report RZ1060, 1981;
D. Burkes, "Presentation of the Burkes error filter", 1988; F. Sierra, 1989 and 1990; B. Atkinson,
of MacPaint, who drops a quarter of the error; R. L. Stevenson and G. R. Arce, 1985,
doi:10.1364/JOSAA.2.001009, made for hexagonal grids. The last is Burkes' without the share two
columns to the left, so that rows lag by two columns instead of three."""
