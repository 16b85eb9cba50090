"""A clustering problem: its points, and the constraints on the palette."""

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
    """The colors of a histogram as points, to be served by K palette colors."""

    points: Points
    """n points in Morton order, with the weights of the error."""
    colors: Any
    """(n, channels) uint8: the color of each point."""
    k: int
    space: ColorSpace
    kept: NDArray[np.uint8]
    """(m, channels) uint8: colors that the palette must contain, m <= K."""
    classes: ColorClasses | None = None
    """Which points may be served by which colors; None if all may be served by all."""
    threads: int = 1

    @property
    def fixed(self) -> Any:
        """(m, d) float32: the kept colors as centers, on the device of the points."""
        return array_module(self.points.weights).asarray(grid_points(self.kept, self.space))

    def assign(self, points: Points, colors: NDArray[np.uint8], centers: Any = None) -> Any:
        """(n,) integers: the palette entry that serves each point; ties go to the first.

        Args:
            points: The points of the problem, with any weights.
            colors: (K, channels) uint8.
            centers: (K, d) float32: the colors as centers; None to compute them.
        """
        if centers is None:
            xp = array_module(points.weights)
            centers = xp.asarray(grid_points(colors, self.space))
        if self.classes is None:
            return assign(points, centers, self.threads)
        return self.classes.assign(points, centers, colors, self.threads)
