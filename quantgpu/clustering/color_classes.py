"""Classes of colors that keep to themselves: a pixel of a class gets a palette entry of that class.

Opaque pixels stay opaque, and grays stay gray, if they are asked to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module, to_host
from quantgpu.clustering.kmeans import assign, weighted_sums
from quantgpu.clustering.points import Points, weighted_points
from quantgpu.color.spaces import ColorSpace, grid_points


class ColorClass(NamedTuple):
    """A property that some colors have."""

    holds: Callable[[Any], Any]
    """(n, 3 | 4) uint8 colors to (n,) bool."""
    nearest: Callable[[NDArray[np.uint8], ColorSpace], NDArray[np.uint8]]
    """Colors on the host to those nearest to them that have the property."""


def make_opaque(colors: NDArray[np.uint8], space: ColorSpace) -> NDArray[np.uint8]:
    """The opaque colors nearest to colors: they look as these do on what lies behind them."""
    top = grid_points(np.array([[0, 0, 0, 255]], np.uint8), space)
    centers = grid_points(colors, space)
    centers[:, 3] = top[:, 3]
    return space.colors(centers)


def nearest_grays(colors: NDArray[np.uint8], space: ColorSpace) -> NDArray[np.uint8]:
    """The grays nearest to colors in a working space, as transparent as they are."""
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    points = weighted_points(space.points(colors[:, :3]), np.ones(len(colors), np.int64))
    grays = colors.copy()
    grays[:, :3] = levels[assign(points, np.ascontiguousarray(space.points(levels).T))]
    return grays


COLOR_CLASSES = {
    "opaque": ColorClass(lambda colors: colors[:, -1] == 255, make_opaque),
    "gray": ColorClass(
        lambda colors: (colors[:, 0] == colors[:, 1]) & (colors[:, 1] == colors[:, 2]),
        nearest_grays,
    ),
}
"""Name to class. Only colors of four channels can be asked whether they are opaque."""


def classes_for(channels: int, lock_grays: bool) -> list[str]:
    """The classes of colors of so many channels, of `COLOR_CLASSES`, that are kept apart."""
    return ["opaque"] * (channels == 4) + ["gray"] * lock_grays


ENFORCE_ROUNDS = 16
"""How often further palette colors may become of a class: those that gain most, and then again, as
each takes from what the others gain."""


def distances_to(points: Points, others: Any) -> Any:
    """(n,) float32: squared distances of points to (n, d) others."""
    differences = points.columns[:-1] - others.T
    return (differences * differences).sum(axis=0)


class ColorClasses:
    """Which points may be served by which palette colors."""

    def __init__(self, names: Sequence[str], point_colors: Any) -> None:
        """`names`: of `COLOR_CLASSES`; `point_colors`: (n, channels) uint8."""
        xp = array_module(point_colors)
        self.classes = [COLOR_CLASSES[name] for name in names]
        self.codes = self.codes_of(point_colors)
        present = xp.flatnonzero(xp.bincount(self.codes, minlength=1 << len(names)))
        self.members = {
            code: xp.flatnonzero(self.codes == code) for code in to_host(present).tolist() if code
        }

    def codes_of(self, colors: Any) -> Any:
        """(n,) integers: a bit for each class that a color is of."""
        xp = array_module(colors)
        codes = xp.zeros(len(colors), xp.int64)
        for bit, color_class in enumerate(self.classes):
            codes |= color_class.holds(colors).astype(xp.int64) << bit
        return codes

    def assign(
        self, points: Points, centers: Any, colors: NDArray[np.uint8], threads: int = 1
    ) -> Any:
        """`kmeans.assign` among the palette colors that are of all the classes that a point is of.

        If there are none, the last of the classes does not matter, and so on.
        """
        xp = array_module(centers)
        labels = assign(points, centers, threads)
        for code, members in self.members.items():
            allowed = self.allowed(code, colors)
            if 0 < len(allowed) < len(colors):
                there = xp.asarray(allowed)
                labels[members] = there[assign(points.take(members), centers[there], threads)]
        return labels

    def allowed(self, code: int, colors: NDArray[np.uint8]) -> NDArray[np.intp]:
        """The palette colors that may serve points of the classes in `code`; see `assign`."""
        entries = self.codes_of(colors)
        allowed = np.flatnonzero((entries & code) == code)
        for bit in range(len(self.classes) - 1, 0, -1):
            if not len(allowed):
                fewer = code & ((1 << bit) - 1)
                allowed = np.flatnonzero((entries & fewer) == fewer)
        return allowed if len(allowed) else np.arange(len(colors))

    def groups(self, colors: NDArray[np.uint8]) -> list[tuple[Any, NDArray[np.intp]]]:
        """Points, (m,) integers, and the palette colors that may serve them, (s,) ascending."""
        xp = array_module(self.codes)
        rest = xp.flatnonzero(self.codes == 0)
        found = [(rest, np.arange(len(colors)))] if len(rest) else []
        return found + [(m, self.allowed(code, colors)) for code, m in self.members.items()]

    def enforce(
        self, points: Points, colors: NDArray[np.uint8], space: ColorSpace, fixed: int, threads: int
    ) -> NDArray[np.uint8]:
        """Palette colors, of which some become of a class; the first `fixed` stay as they are.

        Those all of whose points are of the class; that with most of them if there is none; and
        then others, as long as it lowers the error. At last, for points of several classes, that
        with most of them if there is none of all these.
        """
        xp = array_module(points.weights)
        for bit, color_class in enumerate(self.classes):
            members = xp.flatnonzero(self.codes >> bit & 1)
            inside = points.take(members)
            centers = xp.asarray(grid_points(colors, space))
            labels = assign(points, centers, threads)
            total = to_host(xp.bincount(labels, points.masses, minlength=len(colors)))
            mass = to_host(xp.bincount(labels[members], inside.masses, minlength=len(colors)))
            free = np.arange(len(colors)) >= fixed
            chosen = color_class.holds(colors) | (free & (mass >= total) & (mass > 0))
            if not chosen.any() and free.any() and len(inside):
                chosen[fixed + int(mass[fixed:].argmax())] = True
            changed = color_class.nearest(colors, space)
            there = xp.asarray(grid_points(changed, space))
            if not chosen.any():
                continue
            before = distances_to(points, centers[labels])
            after = distances_to(points, there[labels])
            loss = weighted_sums(labels, points.masses, after - before, len(colors))
            for _ in range(ENFORCE_ROUNDS):
                among = there[xp.asarray(np.flatnonzero(chosen))]
                now = distances_to(inside, among[assign(inside, among, threads)])
                gain = weighted_sums(
                    labels[members], inside.masses, now - before[members], len(colors)
                )
                worth = np.where(free & ~chosen, to_host(gain - loss), 0)
                if not (worth > 0).any():
                    break
                chosen |= (worth > 0) & (2 * worth >= worth.max())
            colors = np.where(chosen[:, None], changed, colors)
        for code, members in self.members.items():
            if fixed == len(colors) or ((self.codes_of(colors) & code) == code).any():
                continue
            inside = points.take(members)
            labels = assign(inside, xp.asarray(grid_points(colors, space)), threads)
            mass = to_host(xp.bincount(labels, inside.masses, minlength=len(colors)))
            codes = np.where(np.arange(len(colors)) == fixed + mass[fixed:].argmax(), code, 0)
            colors = self.project(colors, codes, space)
        return colors

    def project(
        self, colors: NDArray[np.uint8], codes: NDArray[np.int64], space: ColorSpace
    ) -> NDArray[np.uint8]:
        """Colors that are made to be of the classes in their `codes`."""
        colors = colors.copy()
        for bit, color_class in enumerate(self.classes):
            chosen = (codes >> bit & 1).astype(bool)
            colors[chosen] = color_class.nearest(colors[chosen], space)
        return colors
