"""From a histogram to a palette, and to the entry of each color."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.cells import morton_codes, order_of
from quantgpu.colorspace import COLOR_SPACES, grid_centers
from quantgpu.device import Progress, array_module, no_progress, to_host
from quantgpu.efforts import EFFORTS, find_centers
from quantgpu.histogram import CLEAR, Histogram, pack
from quantgpu.importance import evened
from quantgpu.kinds import Kinds
from quantgpu.kmeans import bounded, weighted_points
from quantgpu.palette import Palette, distinct, in_order, is_transparent, of_channels
from quantgpu.seeding import SEEDINGS
from quantgpu.settle import settle


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
    threads: int = 1,
    progress: Progress = no_progress,
) -> tuple[Palette, Any]:
    """The palette of a histogram, and the index, (n,) integers, of each of its colors in it.

    The options are those of `quantize`; `keep` are colors, (m, 3 | 4) uint8.
    """
    xp = array_module(histogram.keys)
    plan, seeding, space = EFFORTS[effort], SEEDINGS[init], COLOR_SPACES[color_space]
    generator = np.random.default_rng(seed)
    if keep is not None and is_transparent(keep):
        histogram = replace(histogram, channels=4)
    kept = kept_colors(histogram, keep, snap, k)
    if len(histogram) + len(kept) <= 2 * k:
        colors = in_order(distinct(np.concatenate([kept, to_host(histogram.colors)])))
        if len(colors) <= k:
            return Palette(colors), own_entries(histogram, colors, None)

    order = order_of(codes := morton_codes(histogram.colors))
    point_colors = histogram.colors.T.take(order, axis=1).T
    plain = plan is None or histogram.weights is None
    weights = histogram.counts
    if not plain:
        weights = evened(histogram.colors, histogram.counts, histogram.weights)
    weights = weights[order]
    points = weighted_points(space.points(point_colors), bounded(weights, int(weights.sum())))
    fixed = xp.asarray(grid_centers(kept, space))
    centers = find_centers(
        points, codes[order], k, plan, seeding, generator, threads, progress, fixed
    )
    steps = plan.settling if plan else 0
    names = ["opaque"] * (histogram.channels == 4) + ["gray"] * lock_grays
    kinds = Kinds(names, point_colors) if names else None
    colors, labels = settle(points, point_colors, centers, k, space, steps, threads, kept, kinds)
    progress("cluster", 1)
    in_key_order = xp.empty_like(labels)
    in_key_order[order] = labels
    return Palette(colors), own_entries(histogram, colors, in_key_order)


def kept_colors(
    histogram: Histogram, keep: NDArray[np.uint8] | None, snap: float | None, k: int
) -> NDArray[np.uint8]:
    """(m, channels) uint8: at most K colors that are in the palette whatever the others are.

    Those that were given, what cannot be seen, and flat colors with at least such a share of the
    pixels, most frequent first.
    """
    kept = [np.empty((0, histogram.channels), np.uint8)]
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
