"""From a histogram to a palette, and to the entry of each color."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module, to_host
from quantgpu.clustering.alpha_search import (
    FEW_COLORS_LIMIT,
    has_soft_edges,
    search_opaque_count,
    split_by_opacity,
)
from quantgpu.clustering.coarse_to_fine import EFFORTS, CenterSearch, find_centers, update_centers
from quantgpu.clustering.color_classes import ColorClasses, classes_for
from quantgpu.clustering.color_weights import boost_rare_colors, damp_common_colors
from quantgpu.clustering.dither_aware import dither_aware_centers, smoothness
from quantgpu.clustering.k_medoids import MOST_POINTS, POINTS_PER_COLOR, k_medoids
from quantgpu.clustering.kmeans import assign, lloyd
from quantgpu.clustering.octree import leaves, octree, running_sums
from quantgpu.clustering.options import PaletteOptions
from quantgpu.clustering.points import Points, cap_weights, weighted_points
from quantgpu.clustering.problem import Problem
from quantgpu.clustering.rounding import round_to_palette
from quantgpu.clustering.seeding import SEEDINGS
from quantgpu.color.morton import morton_codes, order_of
from quantgpu.color.packing import CLEAR, pack, unpack
from quantgpu.color.spaces import COLOR_SPACES, ColorSpace, grid_points
from quantgpu.histogram import Histogram
from quantgpu.palette import Palette, distinct, in_order, is_transparent, of_channels
from quantgpu.progress import Observer, Progress, no_observer, no_progress


def cluster(
    histogram: Histogram,
    k: int,
    options: PaletteOptions,
    *,
    dithered: bool = False,
    start: NDArray[np.uint8] | None = None,
    threads: int = 1,
    progress: Progress = no_progress,
    observe: Observer = no_observer,
) -> tuple[Palette, Any]:
    """The palette of a histogram, and the palette index, (n,) integers, of each of its n colors.

    Args:
        histogram: On the host or on a GPU; the work is done on the same device.
        k: The palette has at most `k` colors.
        options: How the palette is chosen.
        dithered: Whether pixels will be dithered.
        start: (m, channels) uint8: a similar palette, whose colors replace the first centers that
            `options.init` would draw.
        threads: At least 1.
        progress: Called with the stage ``cluster``.
        observe: Called with the arrays of each step.
    """
    histogram = with_alpha_of(options, histogram)
    kept = fixed_colors(histogram, options, k)
    if options.from_palette is None and (palette := exact_palette(histogram, kept, k)) is not None:
        return palette, map_exact_colors(histogram, palette.colors, None)
    codes = morton_codes(histogram.colors)
    order = order_of(codes)
    codes = codes[order]
    problem, sought = problem_of(histogram, k, options, kept, order, threads)
    rng = np.random.default_rng(options.seed)
    how = CenterSearch(EFFORTS[options.effort], SEEDINGS[options.init], rng, threads)
    arrays = {"codes": codes, "order": order, "columns": sought.columns, "weights": sought.weights}
    observe("points", arrays)
    centers = search_centers(problem, sought, codes, how, start, progress, observe)
    observe("centers", {"centers": centers})
    if options.salient:
        centers = lloyd(problem.points, centers, 1, threads, len(kept))
    if options.from_palette is not None:
        among = of_channels(options.from_palette.colors, histogram.channels)
        colors, labels = choose_from_set(problem, sought, codes, centers, among)
    else:
        effort = how.effort
        mixes = dithered and effort is not None and len(sought) > len(centers)
        if mixes:
            weights, smooth = (v[order] for v in smoothness(histogram, options.weighs_pixels))
            centers = dither_aware_centers(
                problem.points, codes, weights, smooth, centers, len(kept), threads
            )
            observe("dither-aware centers", {"centers": centers})
        steps = 0 if mixes or options.salient or effort is None else effort.settling
        colors, labels = round_to_palette(problem, centers, steps, replace_unused=not mixes)
    observe("palette", {"colors": colors, "labels": labels})
    progress("cluster", 1)
    return Palette(colors), map_exact_colors(histogram, colors, unsort(labels, order))


def with_alpha_of(options: PaletteOptions, histogram: Histogram) -> Histogram:
    """The histogram, with four channels if a color that the options name is not opaque."""
    named = [colors.colors for colors in (options.keep, options.from_palette) if colors is not None]
    return replace(histogram, channels=4) if any(map(is_transparent, named)) else histogram


def unsort(values: Any, order: Any) -> Any:
    """(n,): `values` of colors in Morton order, put back in the order of their keys.

    `order`, (n,) integers, is the permutation that sorted the colors.
    """
    in_key_order = array_module(values).empty_like(values)
    in_key_order[order] = values
    return in_key_order


def exact_palette(histogram: Histogram, kept: NDArray[np.uint8], k: int) -> Palette | None:
    """The palette of all `kept` colors and all colors of a histogram; None if they exceed K."""
    if len(histogram) + len(kept) > 2 * k:
        return None
    colors = in_order(distinct(np.concatenate([kept, to_host(histogram.colors)])))
    return Palette(colors) if len(colors) <= k else None


def problem_of(
    histogram: Histogram,
    k: int,
    options: PaletteOptions,
    kept: NDArray[np.uint8],
    order: Any,
    threads: int,
) -> tuple[Problem, Points]:
    """The clustering problem of a histogram, and its points with the weights of the search.

    Args:
        histogram: Of n colors.
        k: The palette has at most `k` colors.
        options: How the palette is chosen.
        kept: (m, channels) uint8: colors that the palette must contain.
        order: (n,) integers: the permutation that sorts the colors in Morton order.
        threads: At least 1.
    """
    space, colors = COLOR_SPACES[options.color_space], histogram.colors
    plain = options.effort == "none" or histogram.weights is None
    weights = even = histogram.counts if plain else histogram.weights
    if options.salient or (options.perceptual and not plain):
        even = damp_common_colors(colors, histogram.counts, weights)
    point_colors = colors.T.take(order, axis=1).T
    points = weighted_points(space.points(point_colors), cap_weights(even)[order])
    del even  # frees 8 bytes for each color before the color classes are built
    names = classes_for(histogram.channels, options.lock_grays)
    classes = ColorClasses(names, point_colors) if names else None
    problem = Problem(points, point_colors, k, space, kept, classes, threads)
    if not options.salient:
        return problem, points
    above = boost_rare_colors(colors, histogram.counts, cap_weights(weights), k)
    return problem, replace(points, weights=cap_weights(above)[order])


def search_centers(
    problem: Problem,
    sought: Points,
    codes: Any,
    how: CenterSearch,
    start: NDArray[np.uint8] | None,
    progress: Progress,
    observe: Observer,
) -> Any:
    """At most K centers, (m, d) float32, for the weighted points `sought`.

    Args:
        problem: The clustering problem.
        sought: The n points of the problem, with the weights of the search.
        codes: (n,) integers: the Morton codes of the points.
        how: How much to search.
        start: A palette to start from, see `cluster`; ignored if colors are kept, or if the palette
            has fewer colors than centers are needed.
        progress: Called with the stage ``cluster``.
        observe: Called with the arrays of each level.
    """
    xp = array_module(codes)
    found, kept = min(problem.k, len(sought)), problem.kept
    channels = problem.colors.shape[1]
    if start is None or len(start) < found or len(kept):
        centers = find_centers(sought, codes, found, problem.fixed[:found], how, progress, observe)
    else:
        near = grid_points(of_channels(start[:found], channels), problem.space)
        centers = update_centers(sought, codes, xp.asarray(near), how.threads)
    few = len(kept) < found <= FEW_COLORS_LIMIT and channels == 4
    if not (few and problem.classes and how.effort and has_soft_edges(problem.colors)):
        return centers
    space, level = problem.space, how.effort.levels[0]
    rounded = np.concatenate([kept, space.colors(to_host(centers)[len(kept) :])])
    enforced = problem.classes.enforce(sought, rounded, space, len(kept), how.threads)
    split = split_by_opacity(
        sought, codes, problem.colors[:, 3] == 255, max(level.leaves * found, level.least)
    )
    first = grid_points(enforced, space)
    return xp.asarray(search_opaque_count(split, first, level, how.seeding, how.rng, len(kept)))


def choose_from_set(
    problem: Problem, sought: Points, codes: Any, centers: Any, among: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], Any]:
    """At most K colors of the set `among`, with all kept colors, and each point's nearest of them.

    Colors that are nearest to no point are left out, unless they are kept.

    Args:
        problem: The clustering problem.
        sought: The n points of the problem, with the weights of the search.
        codes: (n,) integers: the Morton codes of the points.
        centers: (m, d) float32: centers of a free clustering of the points.
        among: (M, channels) uint8.
    """
    xp = array_module(codes)
    kept, space, k = problem.kept, problem.space, problem.k
    candidates = distinct(np.concatenate([kept, among]))
    most = max(MOST_POINTS, POINTS_PER_COLOR * k)
    coarse = sought
    if len(sought) > most:
        sums = running_sums(sought)
        coarse = leaves(octree(codes, sums, most), sums, most)
    free = to_host(centers)
    places = k_medoids(coarse.to_host(), grid_points(candidates, space), free, k, len(kept))
    colors = in_order(candidates[places])
    labels = problem.assign(sought, colors)
    used = to_host(xp.bincount(labels, minlength=len(colors))) > 0
    used |= np.isin(pack(colors), pack(kept))
    return colors[used], xp.asarray(np.cumsum(used) - 1)[labels]


def fixed_colors(histogram: Histogram, options: PaletteOptions, k: int) -> NDArray[np.uint8]:
    """(m, channels) uint8: at most K colors that the palette must contain.

    They are the colors of `options.keep`, the invisible color if it occurs, and the colors with at
    least the share `options.snap` of the pixels, most frequent first.
    """
    kept: list[NDArray[np.uint8]] = [np.empty((0, histogram.channels), np.uint8)]
    if options.keep is not None:
        kept = [of_channels(options.keep.colors, histogram.channels)]
    if histogram.channels == 4 and k > 1 and int(histogram.keys[-1]) == CLEAR:
        kept.append(np.zeros((1, 4), np.uint8))
    if options.snap is not None:
        xp = array_module(histogram.keys)
        least = math.ceil(
            Fraction(str(options.snap)) * histogram.pixels
        )  # 0.07 of 100 is 7, as written
        flat = xp.flatnonzero(histogram.counts >= least)
        common = flat[xp.argsort(-histogram.counts[flat], kind="stable")]
        kept.append(to_host(histogram.colors.T.take(common, axis=1).T))
    return distinct(np.concatenate(kept))[:k]


def map_exact_colors(histogram: Histogram, colors: NDArray[np.uint8], labels: Any) -> Any:
    """(n,): the `labels`, in which colors of the palette are mapped to themselves.

    In a working space such a color may share its grid point with another palette color. Without
    labels, all colors must be in the palette.
    """
    xp = array_module(histogram.keys)
    entries, rows = np.unique(pack(np.ascontiguousarray(colors)), return_index=True)
    place = xp.searchsorted(histogram.keys, xp.asarray(entries))
    place = xp.minimum(place, len(histogram) - 1)
    occurs = to_host(histogram.keys[place]) == entries
    exact = xp.asarray(to_host(place)[occurs])
    labels = xp.empty(len(histogram), xp.int64) if labels is None else labels
    labels[exact] = xp.asarray(rows[occurs]).astype(labels.dtype)
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
    labels = assign(points, xp.asarray(grid_points(entries, space)), threads)
    return unsort(labels, order)
