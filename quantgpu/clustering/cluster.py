"""From a histogram to a palette, and to the entry of each color."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module, to_host
from quantgpu.clustering.alpha_search import MOST_COLORS, find_apart, has_soft_edges, sides
from quantgpu.clustering.coarse_to_fine import EFFORTS, find_centers, followed
from quantgpu.clustering.color_classes import Kinds
from quantgpu.clustering.color_weights import evened, raised
from quantgpu.clustering.dither_aware import anticipate, smoothness
from quantgpu.clustering.k_medoids import MOST_POINTS, POINTS_PER_COLOR, choose
from quantgpu.clustering.kmeans import assign, lloyd
from quantgpu.clustering.octree import leaves, octree, running_sums
from quantgpu.clustering.points import Points, bounded, weighted_points
from quantgpu.clustering.rounding import settle
from quantgpu.clustering.seeding import SEEDINGS
from quantgpu.color.morton import morton_codes, order_of
from quantgpu.color.packing import CLEAR, pack, unpack
from quantgpu.color.spaces import COLOR_SPACES, ColorSpace, grid_centers
from quantgpu.histogram import Histogram
from quantgpu.palette import Palette, distinct, in_order, is_transparent, of_channels
from quantgpu.progress import Progress, no_progress


def cluster(
    histogram: Histogram,
    k: int,
    *,
    effort: str = "balanced",
    init: str = "random",
    seed: int = 0,
    color_space: str = "oklab",
    keep: NDArray[np.uint8] | None = None,
    snap: float | None = None,
    lock_grays: bool = False,
    from_palette: NDArray[np.uint8] | None = None,
    perceptual: bool = False,
    salient: bool = False,
    dithered: bool = False,
    start: NDArray[np.uint8] | None = None,
    threads: int = 1,
    progress: Progress = no_progress,
) -> tuple[Palette, Any]:
    """The palette of a histogram, and the index, (n,) integers, of each of its colors in it.

    The options are those of `quantize`; `keep` and `from_palette` are colors, (m, 3 | 4) uint8.
    `dithered` says that errors will be passed on. `start` is a palette, (m, channels), that is
    near, and whose colors are taken for the first centers instead of drawing any.
    """
    xp = array_module(histogram.keys)
    plan, seeding, space = EFFORTS[effort], SEEDINGS[init], COLOR_SPACES[color_space]
    generator = np.random.default_rng(seed)
    if any(colors is not None and is_transparent(colors) for colors in (keep, from_palette)):
        histogram = replace(histogram, channels=4)
    kept = kept_colors(histogram, keep, snap, k)
    if from_palette is None and len(histogram) + len(kept) <= 2 * k:
        colors = in_order(distinct(np.concatenate([kept, to_host(histogram.colors)])))
        if len(colors) <= k:
            return Palette(colors), own_entries(histogram, colors, None)

    codes = morton_codes(histogram.colors)
    order = order_of(codes)
    codes = codes[order]
    point_colors = histogram.colors.T.take(order, axis=1).T
    plain = plan is None or histogram.weights is None
    weights = even = histogram.counts if plain else histogram.weights
    if salient or (perceptual and not plain):
        even = evened(histogram.colors, histogram.counts, weights)
    points = weighted_points(space.points(point_colors), bounded(even)[order])
    del even  # 8 bytes for each color, which are wanted below
    fixed = xp.asarray(grid_centers(kept, space))
    sought = points
    if salient:
        above = raised(histogram.colors, histogram.counts, bounded(weights), k)
        sought = replace(points, weights=bounded(above)[order])
    found = min(k, len(points))
    if start is None or len(start) < found or len(kept):
        centers = find_centers(
            sought, codes, found, plan, seeding, generator, threads, progress, fixed[:found]
        )
    else:
        near = xp.asarray(grid_centers(of_channels(start[:found], histogram.channels), space))
        centers = followed(sought, codes, near, threads)
    names = kinds_of(histogram.channels, lock_grays)
    kinds = Kinds(names, point_colors) if names else None
    few = len(kept) < found <= MOST_COLORS and histogram.channels == 4
    if few and kinds and plan and has_soft_edges(point_colors):
        rounded = np.concatenate([kept, space.colors(to_host(centers)[len(kept) :])])
        first = grid_centers(kinds.imposed(sought, rounded, space, len(kept), threads), space)
        level, opaque = plan.levels[0], point_colors[:, 3] == 255
        both = sides(sought, codes, opaque, max(level.leaves * found, level.least))
        centers = xp.asarray(find_apart(both, first, level, seeding, generator, len(kept)))
    steps = plan.settling if plan else 0
    if salient:
        centers, steps = lloyd(points, centers, 1, threads, len(kept)), 0
    spread = dithered and plan is not None and from_palette is None and len(points) > len(centers)
    if spread:
        weighed, smooth = (
            values[order] for values in smoothness(histogram, perceptual and not salient)
        )
        centers = anticipate(points, codes, weighed, smooth, centers, len(kept), threads)
        steps = 0
    if from_palette is None:
        settled = settle(
            points, point_colors, centers, k, space, steps, threads, kept, kinds, not spread
        )
    else:
        among = of_channels(from_palette, histogram.channels)
        settled = chosen(sought, codes, centers, k, space, threads, kept, kinds, among)
    colors, labels = settled
    progress("cluster", 1)
    in_key_order = xp.empty_like(labels)
    in_key_order[order] = labels
    return Palette(colors), own_entries(histogram, colors, in_key_order)


def kinds_of(channels: int, lock_grays: bool) -> list[str]:
    """The kinds of colors of so many channels, of `KINDS`, that are kept apart."""
    return ["opaque"] * (channels == 4) + ["gray"] * lock_grays


def chosen(
    points: Points,
    codes: Any,
    centers: Any,
    k: int,
    space: ColorSpace,
    threads: int,
    kept: NDArray[np.uint8],
    kinds: Kinds | None,
    among: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], Any]:
    """What `settle` gives, but of at most K colors `among` (M, channels); and those that are kept.

    Colors that nothing is nearest to are left out.
    """
    xp = array_module(codes)
    candidates = distinct(np.concatenate([kept, among]))
    most = max(MOST_POINTS, POINTS_PER_COLOR * k)
    coarse = points
    if len(points) > most:
        sums = running_sums(points)
        coarse = leaves(octree(codes, sums, most), sums, most)
    free = to_host(centers)
    places = choose(coarse.to_host(), grid_centers(candidates, space), free, k, len(kept))
    colors = in_order(candidates[places])
    served_by = xp.asarray(grid_centers(colors, space))
    if kinds is None:
        labels = assign(points, served_by, threads)
    else:
        labels = kinds.assign(points, served_by, colors, threads)
    used = to_host(xp.bincount(labels, minlength=len(colors))) > 0
    used |= np.isin(pack(colors), pack(kept))
    return colors[used], xp.asarray(np.cumsum(used) - 1)[labels]


def kept_colors(
    histogram: Histogram, keep: NDArray[np.uint8] | None, snap: float | None, k: int
) -> NDArray[np.uint8]:
    """(m, channels) uint8: at most K colors that are in the palette whatever the others are.

    Those that were given, what cannot be seen, and flat colors with at least such a share of the
    pixels, most frequent first.
    """
    kept: list[NDArray[np.uint8]] = [np.empty((0, histogram.channels), np.uint8)]
    if keep is not None:
        kept = [of_channels(keep, histogram.channels)]
    if histogram.channels == 4 and k > 1 and int(histogram.keys[-1]) == CLEAR:
        kept.append(np.zeros((1, 4), np.uint8))
    if snap is not None:
        xp = array_module(histogram.keys)
        least = math.ceil(Fraction(str(snap)) * histogram.pixels)  # 0.07 of 100 is 7, as written
        flat = xp.flatnonzero(histogram.counts >= least)
        common = flat[xp.argsort(-histogram.counts[flat], kind="stable")]
        kept.append(to_host(histogram.colors.T.take(common, axis=1).T))
    return distinct(np.concatenate(kept))[:k]


def own_entries(histogram: Histogram, colors: NDArray[np.uint8], labels: Any) -> Any:
    """(n,): the labels, but colors that are in the palette are mapped to themselves.

    In a working space they may be on the same point of the grid as others. Without labels all
    colors are in the palette.
    """
    xp = array_module(histogram.keys)
    entries, rows = np.unique(pack(np.ascontiguousarray(colors)), return_index=True)
    place = xp.searchsorted(histogram.keys, xp.asarray(entries))
    place = xp.minimum(place, len(histogram) - 1)
    is_there = to_host(histogram.keys[place]) == entries
    chosen = xp.asarray(to_host(place)[is_there])
    labels = xp.empty(len(histogram), xp.int64) if labels is None else labels
    labels[chosen] = xp.asarray(rows[is_there]).astype(labels.dtype)
    return labels


def nearest_entries(
    histogram: Histogram, palette: Palette, space: ColorSpace, threads: int = 1
) -> Any:
    """The index, (n,) integers, of the palette entry nearest to each color; ties to the first.

    Colors are compared in Morton order, in which neighbors have few entries to choose from.
    """
    xp = array_module(histogram.keys)
    order = order_of(morton_codes(histogram.colors))
    channels = max(histogram.channels, palette.colors.shape[1])
    colors = unpack(histogram.keys[order], channels)
    entries = of_channels(palette.colors, channels)
    points = weighted_points(space.points(colors), xp.ones(len(order), xp.int64))
    labels = assign(points, xp.asarray(grid_centers(entries, space)), threads)
    in_key_order = xp.empty_like(labels)
    in_key_order[order] = labels
    return in_key_order
