"""Error diffusion on pictures: what colors and places ask for, and rows in bands.

The method ``adaptive`` passes on less where less is needed. A color that its palette entry meets to
`VISIBLE` grid steps or better needs little; busy areas hide the noise that dithering makes, and
show the lack of it as lost texture; smooth areas need half of it. Clean gradients need nearly all,
however near the entry is.

Measured on eight small photographs, K = 16, 64, 256, butteraugli's 3-norm and SSIMULACRA as shares
of those of pngquant 2.17 and its dither: not dithered 0.899/0.528, 0.710/0.508, 0.702/0.557; a
strength of 3/4 everywhere 0.812/0.822, 0.636/0.742, 0.639/0.756; 9/10 in busy and 1/2 in smooth
areas 0.714/0.782, 0.574/0.691, 0.592/0.703 (from here on with `dither_aware`); less where the color
is met 0.715/0.777, 0.581/0.663, 0.603/0.666; and all in clean gradients 0.722/0.827, 0.581/0.704,
0.600/0.711. A sky, a sunset and a gray ramp, blurred by 3 pixels, are then off by 1.3, 2.4 and 0.6
levels with K = 16 (pngquant 2.6, 3.5 and 1.2), and by 0.44, 0.76 and 0.16 with K = 64 (0.76, 0.80
and 0.22), where they were by 1.1, 1.2 and 0.23 if gradients count no more than the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module, on_host, to_host
from quantgpu.clustering.color_classes import ColorClasses
from quantgpu.clustering.kmeans import two_nearest
from quantgpu.clustering.points import weighted_points
from quantgpu.color.packing import pack, unpack
from quantgpu.color.spaces import ColorSpace, grid_points
from quantgpu.dithering import lookup_gpu
from quantgpu.dithering.base import (
    ColorMap,
    Dithering,
    color_lookup,
    index_dtype,
)
from quantgpu.dithering.diffusion import diffuse
from quantgpu.dithering.diffusion_matrices import DIFFUSION_MATRICES, FULL, DiffusionMatrix
from quantgpu.dithering.nearest_grid import ColorGrid, cells_around, nearest_entries
from quantgpu.metrics.palette_error import composited
from quantgpu.palette import of_channels
from quantgpu.progress import Progress

STRENGTHS = {"adaptive": FULL, "atkinson": FULL}
"""What of the error is passed on if nothing else is said; by all others 3/4, as their errors run
away where colors lie outside of what the palette can mix."""

USUAL = 48

VISIBLE = 0.0168
"""The distance from its entry, as a share of that from black to white, at which the color of a
pixel asks for all of the strength; half-way there it asks for half."""

BUSY, SMOOTH, CLEAN = 58, 32, 61
"""The strengths, of `FULL`, in busy areas, in smooth ones, and where nothing differs."""

HALF, GRADIENT = 1000, 250
"""The `local_contrast` half-way from smooth to busy, and the most of areas that are clean
gradients."""

FARTHEST = 4095
"""Grid steps that errors may move a pixel along an axis, at most."""


class Colors:
    """The colors of a histogram and their palette entries in a working space."""

    def __init__(self, mapping: ColorMap) -> None:
        histogram, palette, labels, space, *_ = mapping
        xp = array_module(labels)
        channels = max(histogram.channels, palette.colors.shape[1])
        self.colors = unpack(histogram.keys, channels)
        self.entries = of_channels(palette.colors, channels)
        self.labels = labels
        self.points = space.points(self.colors).astype(xp.int32)
        self.centers = grid_points(self.entries, space).astype(np.int32)
        self.is_silent = (xp.asarray(self.entries)[labels] == self.colors).all(axis=1)
        if channels == 4:
            self.is_silent |= self.colors[:, 3] == 0

    @property
    def served_by(self) -> Any:
        """(d, n) int32: the centers of the entries."""
        return array_module(self.labels).asarray(self.centers.T).take(self.labels, axis=1)

    def distances(self) -> Any:
        """(n,) float64: how far colors are from their entries."""
        xp = array_module(self.labels)
        gaps = (self.points - self.served_by).astype(xp.int64)
        return xp.sqrt((gaps * gaps).sum(axis=0).astype(float))


def strength_of(colors: Colors, dithering: Dithering) -> Any:
    """(n,) uint8: the strength for each color, 0 to `FULL`, where nothing else matters."""
    xp = array_module(colors.labels)
    strength = dithering.strength
    if strength is None:
        strength = STRENGTHS.get(dithering.method, USUAL)
    return xp.where(colors.is_silent, 0, strength).astype(xp.uint8)


def needed_strength(colors: Colors, strength: Any, space: ColorSpace) -> Any:
    """(n,) uint8: the strength for each color, less where its entry is near."""
    xp = array_module(colors.labels)
    black, white = grid_points(np.array([[0] * 3, [255] * 3], np.uint8), space)
    visible = VISIBLE * float(np.sqrt(((white - black).astype(float) ** 2).sum()))
    shares = xp.minimum(xp.floor(FULL * colors.distances() / visible), FULL)
    return ((strength * shares.astype(xp.int32) + FULL // 2) // FULL).astype(xp.uint8)


def reach_of(centers: NDArray[np.int32]) -> int:
    """How far errors may move a pixel: as far as the loneliest palette color is from the next."""
    points = weighted_points(centers.T.astype(np.float32), np.ones(len(centers), np.int64))
    _, gaps = two_nearest(points, centers.astype(np.float32))
    return min(math.isqrt(int(gaps.max())) + 1, FARTHEST)


def scheme_for(colors: Colors, classes: Sequence[str]) -> ColorGrid:
    """Points, centers and cells; apart for colors that keep to palette colors of their kind."""
    xp = array_module(colors.labels)
    points = xp.where(colors.is_silent, colors.served_by, colors.points)
    reach = reach_of(colors.centers)
    groups = ColorClasses(classes, colors.colors).groups(colors.entries) if classes else None
    cells, first = cells_around(points, colors.centers, reach, groups)
    centers = np.ascontiguousarray(colors.centers.T)
    return ColorGrid(points, xp.asarray(centers), cells.on(xp), reach, first)


def exact_entries_of(colors: Colors, scheme: ColorGrid) -> Any:
    """(n,) int32: the entries of colors that another entry on the same point would get, else -1.

    None if there are no such colors.
    """
    xp = array_module(colors.labels)
    silent = xp.flatnonzero(colors.is_silent)
    first = None if scheme.first is None else to_host(scheme.first[silent])
    found = nearest_entries(
        to_host(scheme.points.take(silent, axis=1)),
        scheme.cells.on(np),
        to_host(scheme.centers),
        first,
    )
    own = to_host(colors.labels[silent])
    if np.array_equal(found, own):
        return None
    forced = xp.full(len(colors.labels), -1, xp.int32)
    forced[silent] = xp.asarray(own.astype(np.int32))
    return forced


class DiffusionPlan(NamedTuple):
    """The tables by which pictures of known colors are diffused."""

    kernel: DiffusionMatrix
    scheme: ColorGrid
    rank_of: Callable[[Any, Any], None]
    """Puts the number of each pixel's color where it is told to, see `color_lookup`."""
    strength: Any
    """(n,) uint8: that of each color, 0 to `FULL`."""
    wanted: Any
    """(n,) uint8: the same, less where its entry is near; None if neither that matters nor areas.
    """
    forced: Any
    """See `exact_entries_of`."""
    seen: tuple[Any, Any]
    """(3 | 6, n) int32 and (3 | 6, K) int32: what errors are measured on."""
    dtype: Any
    """Of indices."""
    keys: Any
    """(K,) uint32: the palette's colors as `color.packing.pack` has them, if all is opaque and K
    is at most 256, for a GPU; else None."""

    @property
    def k(self) -> int:
        """Palette colors."""
        return int(self.seen[1].shape[1])

    @property
    def sides(self) -> int:
        """How often errors are counted: on black and on white where not all is opaque."""
        return len(self.seen[0]) // 3

    @property
    def is_adaptive(self) -> bool:
        """Whether areas matter."""
        return self.wanted is not None


def diffusion_plan(mapping: ColorMap, dithering: Dithering, colors: Colors) -> DiffusionPlan:
    """The plan for pictures of known colors."""
    xp = array_module(colors.labels)
    scheme = scheme_for(colors, mapping.classes)
    strength, wanted = strength_of(colors, dithering), None
    if dithering.method == "adaptive":
        wanted = needed_strength(colors, strength, mapping.space)
    return DiffusionPlan(
        DIFFUSION_MATRICES[dithering.method],
        scheme,
        color_lookup(mapping.histogram, xp.arange(len(colors.labels), dtype=xp.int32)),
        strength,
        wanted,
        exact_entries_of(colors, scheme),
        (composited(colors.colors).T, xp.asarray(composited(colors.entries).T)),
        index_dtype(len(colors.entries)),
        keys_for(colors),
    )


def keys_for(colors: Colors) -> Any:
    """See `DiffusionPlan.keys`."""
    k, channels = colors.entries.shape
    if on_host(colors.labels) or channels == 4 or k > lookup_gpu.MOST_ENTRIES:
        return None
    keys = pack(np.ascontiguousarray(colors.entries)).astype(np.uint32)
    return array_module(colors.labels).asarray(keys)


def prepare_pixels(plan: DiffusionPlan, colors: Any, busy: Any) -> tuple[Any, Any]:
    """Color and strength, (m,) int32 and uint8, of m pixels with such a `local_contrast`."""
    ranks = array_module(colors).empty(len(colors), "int32")
    plan.rank_of(colors, ranks)
    strength = plan.strength.take(ranks)
    if plan.wanted is None:
        return ranks, strength
    return ranks, local_strength(strength, plan.wanted.take(ranks), busy)


def entries_of(
    plan: DiffusionPlan, ranks: Any, strength: Any, above: Any, progress: Progress
) -> tuple[Any, Any]:
    """The palette entries, (h * W,), of the rows below some errors, and the errors below them."""
    width = above.shape[2]
    index, below = diffuse(
        ranks.reshape(-1, width), strength.reshape(-1, width), plan.kernel, plan.scheme, above,
        plan.dtype, progress,
    )  # fmt: skip
    return restore_exact(plan, ranks, index.reshape(-1)), below


def restore_exact(plan: DiffusionPlan, ranks: Any, index: Any) -> Any:
    """The palette entries, (m,), of pixels with these colors, of which some have their own."""
    if plan.forced is None:
        return index
    own = plan.forced.take(ranks)
    return array_module(own).where(own < 0, index, own.astype(plan.dtype))


def error_of(plan: DiffusionPlan, ranks: Any, index: Any) -> Any:
    """The squared error, () int64, of pixels of these colors, `DiffusionPlan.sides` times."""
    before, after = plan.seen
    gaps = before.take(ranks, axis=1)
    gaps -= after.take(index, axis=1)
    gaps *= gaps
    return gaps.sum(dtype=array_module(index).int64)


def local_strength(strength: Any, wanted: Any, busy: Any) -> Any:
    """(m,) uint8: strengths where pixels have such a `local_contrast`, (m,) uint16.

    In clean gradients all of it counts; elsewhere what is `wanted`, both (m,) uint8.
    """
    xp = array_module(busy)
    active = busy.astype(xp.int32)
    level = (BUSY - (BUSY - SMOOTH) * HALF // (HALF + active)) * wanted
    clean = xp.maximum(CLEAN - CLEAN * active // GRADIENT, 0) * strength
    return ((xp.maximum(level, clean) + FULL // 2) // FULL).astype(xp.uint8)
