"""Kinds of colors that keep to themselves: a pixel of a kind gets a palette entry of that kind.

Opaque pixels stay opaque, and grays stay gray, if they are asked to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.colorspace import ColorSpace
from quantgpu.device import array_module, to_host
from quantgpu.kmeans import Points, assign, weighted_points


class Kind(NamedTuple):
    """A property that some colors have."""

    holds: Callable[[Any], Any]
    """(n, 3 | 4) uint8 colors to (n,) bool."""
    nearest: Callable[[NDArray[np.uint8], ColorSpace], NDArray[np.uint8]]
    """Colors on the host to colors like them that have the property."""


def made_opaque(colors: NDArray[np.uint8], space: ColorSpace) -> NDArray[np.uint8]:
    """The same colors with nothing behind them to be seen."""
    opaque = colors.copy()
    opaque[:, 3] = 255
    return opaque


def nearest_grays(colors: NDArray[np.uint8], space: ColorSpace) -> NDArray[np.uint8]:
    """The grays nearest to colors in a working space, as transparent as they are."""
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    points = weighted_points(space.points(colors[:, :3]), np.ones(len(colors), np.int64))
    grays = colors.copy()
    grays[:, :3] = levels[assign(points, np.ascontiguousarray(space.points(levels).T))]
    return grays


KINDS = {
    "opaque": Kind(lambda colors: colors[:, -1] == 255, made_opaque),
    "gray": Kind(
        lambda colors: (colors[:, 0] == colors[:, 1]) & (colors[:, 1] == colors[:, 2]),
        nearest_grays,
    ),
}
"""Name to kind. Only colors of four channels can be asked whether they are opaque."""


class Kinds:
    """Which points may be served by which palette colors."""

    def __init__(self, names: Sequence[str], point_colors: Any) -> None:
        """`names`: of `KINDS`; `point_colors`: (n, channels) uint8."""
        xp = array_module(point_colors)
        self.kinds = [KINDS[name] for name in names]
        self.codes = self.codes_of(point_colors)
        present = xp.flatnonzero(xp.bincount(self.codes, minlength=1 << len(names)))
        self.members = {
            code: xp.flatnonzero(self.codes == code) for code in to_host(present).tolist() if code
        }

    def codes_of(self, colors: Any) -> Any:
        """(n,) integers: a bit for each kind that a color is of."""
        xp = array_module(colors)
        codes = xp.zeros(len(colors), xp.int64)
        for bit, kind in enumerate(self.kinds):
            codes |= kind.holds(colors).astype(xp.int64) << bit
        return codes

    def assign(
        self, points: Points, centers: Any, colors: NDArray[np.uint8], threads: int = 1
    ) -> Any:
        """`kmeans.assign` among the palette colors that are of all the kinds that a point is of.

        If there are none, the kinds do not matter.
        """
        xp = array_module(centers)
        labels = assign(points, centers, threads)
        entries = self.codes_of(colors)
        for code, members in self.members.items():
            allowed = np.flatnonzero((entries & code) == code)
            if 0 < len(allowed) < len(colors):
                some = Points(points.columns.take(members, axis=1), points.weights[members])
                there = xp.asarray(allowed)
                labels[members] = there[assign(some, centers[there], threads)]
        return labels

    def imposed(
        self, points: Points, labels: Any, colors: NDArray[np.uint8], space: ColorSpace, fixed: int
    ) -> NDArray[np.uint8]:
        """Palette colors, of which those become of a kind half of whose points, by weight, are.

        If none would be, that with most of it is. The first `fixed` colors stay as they are.
        """
        xp = array_module(labels)
        colors = colors.copy()
        total = to_host(xp.bincount(labels, points.masses, minlength=len(colors)))
        for bit, kind in enumerate(self.kinds):
            inside = points.masses * (self.codes >> bit & 1)
            mass = to_host(xp.bincount(labels, inside, minlength=len(colors)))
            chosen = (2 * mass >= total) & (mass > 0)
            chosen[:fixed] = False
            if fixed < len(colors) and not (chosen.any() or kind.holds(colors[:fixed]).any()):
                most = fixed + int(mass[fixed:].argmax())
                chosen[most] = mass[most] > 0
            colors[chosen] = kind.nearest(colors[chosen], space)
        return colors

    def kept(
        self, colors: NDArray[np.uint8], codes: NDArray[np.int64], space: ColorSpace
    ) -> NDArray[np.uint8]:
        """Colors that are made to be of the kinds in their `codes`."""
        colors = colors.copy()
        for bit, kind in enumerate(self.kinds):
            chosen = (codes >> bit & 1).astype(bool)
            colors[chosen] = kind.nearest(colors[chosen], space)
        return colors
