"""Ordered dithering for any palette: a pixel's place and its color say which entry it gets.

A color is mixed of its own palette entry and another one. The other one and its share minimize how
far the mixture is from the color, squared, plus `NOISE` of the variance that mixing brings:
``|x - (a + t (b - a))|^2 + NOISE t (1 - t) |b - a|^2``. Colors that have an entry of their own are
thus left alone, and distant entries are mixed only where there is none between. A threshold matrix
then says, without looking at neighbors, which pixels get which of the two.

Each number is rounded once in each step, so that all devices find the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module, on_host
from quantgpu.color.morton import morton_codes
from quantgpu.color.spaces import FAR
from quantgpu.dithering.diffusion_matrices import FULL
from quantgpu.threads import chunks, parallel_chunks

NOISE = np.float32(0.25)
"""What variance counts beside the error of the mean: with more, less is mixed. Blue noise, eight
photographs, K = 16, 64, 256, butteraugli's 3-norm and SSIMULACRA as shares of those of pngquant
2.17 and its dither, and how far gradients (sky, sunset, gray) in 16 colors are off after a blur, by
``scripts/banding.py``: 1/8 0.770/1.015, 0.649/0.931, 0.712/0.971 and 2.29, 3.13, 0.48; 1/4
0.763/0.914, 0.631/0.827, 0.681/0.867 and 2.63, 3.58, 0.89; 3/8 0.769/0.829, 0.629/0.748,
0.664/0.793 and 3.13, 4.08, 1.34. Not dithered 0.899/0.528, 0.710/0.508, 0.702/0.557 and 4.00, 5.13,
2.75. With all of the variance nothing would be mixed."""

CANDIDATES = 24
"""Entries that each is mixed with, the nearest ones. Butteraugli at K = 256, seconds for 600,000
colors: 8 0.732, 0.08; 16 0.709, 0.10; 24 0.701, 0.12; 32 0.700, 0.15."""

SHARES = 1 << 16
"""Shares are integers out of so many."""

COLORS = 1 << 12, 1 << 18
"""Colors that are looked at at a time on the host, and on a GPU."""

BLOCK, SAMPLE = 64, 4
"""Neighboring palette colors whose nearest others are looked for together, and how many times as
many as are wanted are looked at to see how far away these can be. Seconds for K = 256, 4096 and
65,536 in one thread: 0.001, 0.05 and 1.7; all distances would take 0.2 s for 4096."""


class Mixtures(NamedTuple):
    """The two palette entries that each color is mixed of, and their shares."""

    low: Any
    """(n,) uint16: an entry of the palette."""
    high: Any
    """(n,) uint16: an entry after it, or the same one where nothing is mixed."""
    share: Any
    """(n,) uint16: the share of the latter, of `SHARES`; 0 where nothing is mixed."""


class Table(NamedTuple):
    """For each palette entry, those that it can be mixed with: `CANDIDATES`, or all others."""

    others: Any
    """(rows, m) uint16: entries, from near to far."""
    slopes: Any
    """(d, rows, m) float32: they lead from the differences of a color to the best share."""
    spans: Any
    """(rows, m) float32: squared distances, less their noise; 0 for those that are no use."""


def mixtures(
    points: Any,
    centers: NDArray[np.float32],
    labels: Any,
    exact: Any,
    strength: int = FULL,
    threads: int = 1,
    groups: Sequence[tuple[Any, NDArray[np.intp]]] | None = None,
) -> Mixtures:
    """Find the mixture of each color.

    Args:
        points: (d, n) integers: colors on the grid of a working space.
        centers: (K, d), on the host: those of the palette.
        labels: (n,) integers: the nearest entry of each color.
        exact: (n,) bool: colors that are not to be mixed.
        strength: 0 to `FULL`: scales the share of the entry that is not the nearest.
        threads: That the host uses.
        groups: Colors, (m,) integers, and the entries that they may be mixed of, (s,) ascending;
            each color is in one. None if all may be mixed of all.
    """
    xp = array_module(points)
    table, first_row = tables(centers, labels, groups)
    there = Table(*(xp.asarray(field) for field in table))
    anchors = xp.asarray(np.ascontiguousarray(centers.T))
    count = len(labels)
    found = Mixtures(*(xp.empty(count, xp.uint16) for _ in range(3)))
    scale = np.float32(strength * (SHARES // FULL))

    def mix(interval: tuple[int, int]) -> None:
        for start, stop in chunks(*interval, COLORS[not on_host(points)]):
            part = slice(start, stop)
            near = labels[part]
            rows = near if first_row is None else first_row[part] + near
            away = points[:, part] - anchors.take(near, axis=1)
            other, amount = best_shares(away, there, rows)
            share = xp.floor(amount * scale + np.float32(0.5)).astype(xp.int32)
            share = xp.where(exact[part], 0, share)
            other = xp.where(share > 0, other, near)
            found.low[part] = xp.minimum(near, other)
            found.high[part] = xp.maximum(near, other)
            found.share[part] = xp.where(other < near, SHARES - share, share)

    parallel_chunks(mix, count, threads if on_host(points) else 1)
    return found


def best_shares(away: Any, table: Table, rows: Any) -> tuple[Any, Any]:
    """The best other entry, (n,), and its share, (n,) float32 of 0 to 1/2, for some colors.

    Args:
        away: (d, n) float32: from the nearest entries to colors.
        table: Of `tables`.
        rows: (n,): the row of each color.
    """
    xp = array_module(away)
    wanted = table.slopes[0].take(rows, axis=0)
    wanted *= away[0][:, None]
    for axis, slopes in zip(away[1:], table.slopes[1:], strict=True):
        along = slopes.take(rows, axis=0)
        along *= axis[:, None]
        wanted += along
    wanted -= NOISE / (2 - 2 * NOISE)
    xp.maximum(wanted, np.float32(0), out=wanted)
    shares = xp.minimum(wanted, np.float32(0.5))
    wanted += wanted
    wanted -= shares
    wanted *= shares
    wanted *= table.spans.take(rows, axis=0)
    best = wanted.argmax(axis=1)[:, None]
    other = xp.take_along_axis(table.others.take(rows, axis=0), best, axis=1)[:, 0]
    return other, xp.take_along_axis(shares, best, axis=1)[:, 0]


def tables(
    centers: NDArray[np.float32],
    labels: Any,
    groups: Sequence[tuple[Any, NDArray[np.intp]]] | None,
) -> tuple[Table, Any]:
    """A table, and, (n,), the row of palette color 0 for each color; None if there is one for all.

    See `mixtures`. Each group has its own rows.
    """
    if groups is None:
        return table_among(centers, np.arange(len(centers))), None
    rows = array_module(labels).zeros(len(labels), labels.dtype)
    for turn, (members, _) in enumerate(groups):
        rows[members] = turn * len(centers)
    parts = [table_among(centers, allowed) for _, allowed in groups]
    most = max(part.others.shape[1] for part in parts)
    joined = (
        np.concatenate([pad_last_axis(field, most) for field in fields], axis=-2)
        for fields in zip(*parts, strict=True)
    )
    return Table(*joined), rows


def pad_last_axis(field: NDArray[Any], width: int) -> NDArray[Any]:
    """Rows, the last axis, filled up with zeros."""
    missing = width - field.shape[-1]
    return np.pad(field, [(0, 0)] * (field.ndim - 1) + [(0, missing)])


def table_among(centers: NDArray[np.float32], allowed: NDArray[np.intp]) -> Table:
    """Rows for all of the centers, (K, d), whose others are `allowed`."""
    others = nearest_others(centers, allowed)
    steps = centers[others].transpose(2, 0, 1) - centers.T[:, :, None]
    spans = (1 - NOISE) * (steps * steps).sum(axis=0)
    slopes = np.where(spans > 0, steps / np.maximum(spans, np.float32(1e-9)), np.float32(0))
    return Table(others.astype(np.uint16), slopes, spans)


def nearest_others(centers: NDArray[np.float32], among: NDArray[np.intp]) -> NDArray[np.intp]:
    """(K, m): the `CANDIDATES` nearest of some centers to each, from near to far.

    Those at a distance of 0 are among them. Ties go to the first.
    """
    kept = min(CANDIDATES + 1, len(among))
    coarse = ((centers.astype(np.int32) + FAR + 1) >> 4).astype(np.uint8)
    order = np.argsort(morton_codes(coarse), kind="stable")
    targets = np.ascontiguousarray(centers[among].T)
    found = np.empty((len(centers), kept), np.intp)
    for start, stop in chunks(0, len(centers), BLOCK):
        block = order[start:stop]
        sources = centers[block]
        near = around(sources, targets, kept)
        keys = squared_distances(sources, targets.take(near, axis=1)) * SHARES + near
        keys.partition(kept - 1, axis=1)
        found[block] = np.sort(keys[:, :kept], axis=1).astype(np.int64) % SHARES
    return among[found]


def around(
    sources: NDArray[np.float32], targets: NDArray[np.float32], kept: int
) -> NDArray[np.intp]:
    """Which of (d, M) targets, ascending, can be among the `kept` nearest to one of (k, d) sources.

    They are no farther from the box around the sources than all of them have as many targets.
    """
    away = np.zeros(targets.shape[1], np.float32)
    for axis, low, high in zip(targets, sources.min(axis=0), sources.max(axis=0), strict=True):
        gap = axis - np.clip(axis, low, high)
        away += gap * gap
    some = min(SAMPLE * kept, len(away))
    close = np.flatnonzero(away <= np.partition(away, some - 1)[some - 1])
    distances = squared_distances(sources, targets.take(close, axis=1))
    distances.partition(kept - 1, axis=1)
    return np.flatnonzero(away <= distances[:, kept - 1].max())


def squared_distances(
    sources: NDArray[np.float32], targets: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(k, m): those of (k, d) and (d, m) integers, exact."""
    here, there = sources.astype(np.float64), targets.astype(np.float64)
    norms = (here * here).sum(axis=1)[:, None] + (there * there).sum(axis=0)
    found: NDArray[np.float64] = norms - 2 * (here @ there)
    return found
