"""Classes of colors: a pixel of a class gets a palette color of the same class.

Opaque pixels stay opaque; with the option ``lock_grays``, grays stay gray.
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
    """A property of colors."""

    holds: Callable[[Any], Any]
    """(n, 3 | 4) uint8 colors to (n,) bool."""
    nearest: Callable[[NDArray[np.uint8], ColorSpace], NDArray[np.uint8]]
    """Colors on the host to the nearest colors with the property."""


def make_opaque(colors: NDArray[np.uint8], space: ColorSpace) -> NDArray[np.uint8]:
    """The opaque colors nearest to `colors`: each composited on the space's backdrop."""
    top = grid_points(np.array([[0, 0, 0, 255]], np.uint8), space)
    centers = grid_points(colors, space)
    centers[:, 3] = top[:, 3]
    return space.colors(centers)


def nearest_grays(colors: NDArray[np.uint8], space: ColorSpace) -> NDArray[np.uint8]:
    """The grays nearest to `colors` in a working space, each with the alpha of its color."""
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
"""Name to class. The class ``opaque`` is for colors of four channels."""


def classes_for(channels: int, lock_grays: bool) -> list[str]:
    """The names, of `COLOR_CLASSES`, of the classes for colors of 3 or 4 `channels`."""
    return ["opaque"] * (channels == 4) + ["gray"] * lock_grays


ENFORCE_ROUNDS = 16
"""How often further palette colors may move into a class. Each time only the ones that gain most
move, as each of them lowers the gain of the others."""


def distances_to(points: Points, others: Any) -> Any:
    """(n,) float32: the squared distance of each point to its row of `others`, (n, d)."""
    differences = points.columns[:-1] - others.T
    return (differences * differences).sum(axis=0)


class ColorClasses:
    """The rule which points may be served by which palette colors."""

    def __init__(self, names: Sequence[str], point_colors: Any) -> None:
        """Sort points into classes.

        Args:
            names: Rows of `COLOR_CLASSES`.
            point_colors: (n, channels) uint8.
        """
        xp = array_module(point_colors)
        self.classes = [COLOR_CLASSES[name] for name in names]
        self.codes = self.codes_of(point_colors)
        present = xp.flatnonzero(xp.bincount(self.codes, minlength=1 << len(names)))
        self.members = {
            code: xp.flatnonzero(self.codes == code) for code in to_host(present).tolist() if code
        }

    def codes_of(self, colors: Any) -> Any:
        """(n,) integers: the classes of each color, as bits."""
        xp = array_module(colors)
        codes = xp.zeros(len(colors), xp.int64)
        for bit, color_class in enumerate(self.classes):
            codes |= color_class.holds(colors).astype(xp.int64) << bit
        return codes

    def assign(
        self, points: Points, centers: Any, colors: NDArray[np.uint8], threads: int = 1
    ) -> Any:
        """(n,) integers: the nearest palette color of each point, among those of all its classes.

        Where no palette color is of all classes of a point, the last class is ignored, then the
        one before. Ties go to the first color.

        Args:
            points: The points that this object was made for, with any weights.
            centers: (K, d) float32.
            colors: (K, channels) uint8: the palette colors of these centers.
            threads: At least 1.
        """
        xp = array_module(centers)
        labels = assign(points, centers, threads)
        for code, members in self.members.items():
            allowed = self.allowed(code, colors)
            if 0 < len(allowed) < len(colors):
                entries = xp.asarray(allowed)
                labels[members] = entries[assign(points.take(members), centers[entries], threads)]
        return labels

    def allowed(self, code: int, colors: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Indices of the palette colors that may serve points of the classes in `code`.

        The indices are ascending; see `assign` for classes without a palette color.
        """
        entries = self.codes_of(colors)
        allowed = np.flatnonzero((entries & code) == code)
        for bit in range(len(self.classes) - 1, 0, -1):
            if not len(allowed):
                fewer = code & ((1 << bit) - 1)
                allowed = np.flatnonzero((entries & fewer) == fewer)
        return allowed if len(allowed) else np.arange(len(colors))

    def groups(self, colors: NDArray[np.uint8]) -> list[tuple[Any, NDArray[np.intp]]]:
        """Groups of points, (m,) indices, and the palette colors that may serve each group.

        The palette colors are (s,) ascending indices; every point is in one group.
        """
        xp = array_module(self.codes)
        rest = xp.flatnonzero(self.codes == 0)
        found = [(rest, np.arange(len(colors)))] if len(rest) else []
        return found + [(m, self.allowed(code, colors)) for code, m in self.members.items()]

    def enforce(
        self, points: Points, colors: NDArray[np.uint8], space: ColorSpace, fixed: int, threads: int
    ) -> NDArray[np.uint8]:
        """Move palette colors into classes, so that each class has the colors that serve it best.

        A palette color moves into a class if all of its points are of the class. If no palette
        color is of the class then, the one with most points of the class moves; further ones move
        as long as the error falls. At last, where points are of several classes and no palette
        color is of all of them, the palette color with most of these points moves.

        Args:
            points: The points that this object was made for.
            colors: (K, channels) uint8.
            space: The working space of the points.
            fixed: The first `fixed` colors do not change.
            threads: At least 1.
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
            changed_centers = xp.asarray(grid_points(changed, space))
            if not chosen.any():
                continue
            before = distances_to(points, centers[labels])
            after = distances_to(points, changed_centers[labels])
            loss = weighted_sums(labels, points.masses, after - before, len(colors))
            for _ in range(ENFORCE_ROUNDS):
                among = changed_centers[xp.asarray(np.flatnonzero(chosen))]
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
        """The colors nearest to `colors` that are of the classes in `codes`, (K,) integers."""
        colors = colors.copy()
        for bit, color_class in enumerate(self.classes):
            chosen = (codes >> bit & 1).astype(bool)
            colors[chosen] = color_class.nearest(colors[chosen], space)
        return colors
