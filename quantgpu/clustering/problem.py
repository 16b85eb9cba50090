"""A clustering that is to be done: its points, and what is not free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module
from quantgpu.clustering.color_classes import ColorClasses
from quantgpu.clustering.kmeans import assign
from quantgpu.clustering.points import Points
from quantgpu.color.spaces import ColorSpace, grid_points


@dataclass(frozen=True)
class Problem:
    """The colors of a histogram as points, for K colors of a palette to serve."""

    points: Points
    """(n, d), in Morton order; their weights are those of the error."""
    colors: Any
    """(n, channels) uint8: the color of each point."""
    k: int
    space: ColorSpace
    kept: NDArray[np.uint8]
    """(m, channels): colors of the palette that stay as they are, m <= K."""
    classes: ColorClasses | None = None
    """Which points may be served by which colors; None for all by all."""
    threads: int = 1

    @property
    def fixed(self) -> Any:
        """(m, d) float32: the centers of the colors that stay, where the points are."""
        return array_module(self.points.weights).asarray(grid_points(self.kept, self.space))

    def assign(self, points: Points, colors: NDArray[np.uint8], centers: Any = None) -> Any:
        """(n,) integers: the palette entry that serves each point; ties go to the first.

        Args:
            points: Those of the problem, with any weights.
            colors: (K, channels) uint8.
            centers: Theirs, (K, d) float32, if they are known.
        """
        if centers is None:
            xp = array_module(points.weights)
            centers = xp.asarray(grid_points(colors, self.space))
        if self.classes is None:
            return assign(points, centers, self.threads)
        return self.classes.assign(points, centers, colors, self.threads)
