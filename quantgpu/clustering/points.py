"""Weighted points on a color space's integer grid, and the matrix product of distances."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from quantgpu.arrays.namespace import array_module, to_host

WEIGHT_LIMIT = 1 << 31
"""The sum of weights stays below this: sums of weight times two coordinates (2^11 each) are then
exact in float64."""


@dataclass(frozen=True, eq=False)
class Points:
    """Weighted points on the integer grid of a working space."""

    columns: Any
    """(d + 1, n) float32: integer coordinates, and a last row of ones."""
    weights: Any
    """(n,) int64, at least 1; their sum is below `WEIGHT_LIMIT`."""

    def __len__(self) -> int:
        return len(self.weights)

    @cached_property
    def masses(self) -> Any:
        """(n,) float64: the weights in the type that `bincount` takes."""
        return self.weights.astype(float)

    @cached_property
    def moments(self) -> list[Any]:
        """For each of d axes, (n,) float64: weight times coordinate."""
        return [self.masses * column for column in self.columns[:-1]]

    @cached_property
    def bounds(self) -> tuple[Any, Any]:
        """The least and greatest coordinates, (d,) float32 each."""
        return self.columns[:-1].min(axis=1), self.columns[:-1].max(axis=1)

    def boxes(self, size: int) -> tuple[Any, Any]:
        """The least and greatest coordinates of runs of `size` points, (d, boxes) float32 each."""
        starts = np.arange(0, len(self), size)
        low = np.minimum.reduceat(self.columns[:-1], starts, axis=1)
        return low, np.maximum.reduceat(self.columns[:-1], starts, axis=1)

    def take(self, chosen: Any) -> Points:
        """The points at the indices `chosen`, (m,) integers."""
        return Points(self.columns.take(chosen, axis=1), self.weights[chosen])

    def to_host(self) -> Points:
        """The points in NumPy arrays."""
        return Points(to_host(self.columns), to_host(self.weights))


def cap_weights(weights: Any) -> Any:
    """Halve `weights`, (n,) int64, until their sum is below `WEIGHT_LIMIT`; 1 is the least."""
    shift = max(0, int(weights.sum()).bit_length() - WEIGHT_LIMIT.bit_length() + 2)
    return array_module(weights).maximum(weights >> shift, 1) if shift else weights


def weighted_points(coordinates: Any, weights: Any) -> Points:
    """Points with (d, n) integer `coordinates` and (n,) integer `weights`."""
    xp = array_module(coordinates)
    axes, count = coordinates.shape
    columns = xp.ones((axes + 1, count), xp.float32)
    columns[:-1] = coordinates
    return Points(columns, weights)


def distance_matrix(centers: Any) -> Any:
    """(d + 1, K) float32: the matrix M with [x, 1] M = |x - s|^2 - |x|^2 for every center s."""
    xp = array_module(centers)
    matrix = xp.empty((centers.shape[1] + 1, len(centers)), xp.float32)
    matrix[:-1] = -2 * centers.T
    matrix[-1] = (centers * centers).sum(axis=1)
    return matrix
