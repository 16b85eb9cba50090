"""Make quantgpu/dithering/blue_noise.npy: the threshold matrix of blue-noise dithering.

    .venv/bin/python scripts/blue_noise.py

Void-and-cluster on a torus. Pixels are lit one after another, each in the largest void that the
lit ones leave; its rank is how many were lit before it. So the pixels of the lowest n ranks are
spread evenly for every n, and without a pattern. The file is the same bytes on every machine: the
filter is a table of integers, so sums are exact in any order, ties go to the first pixel in reading
order, and the first pattern is hashed with integers.

R. Ulichney, "The void-and-cluster method for dither array generation", Proc. SPIE 1913, 1993,
https://doi.org/10.1117/12.152707.
"""

from __future__ import annotations

from decimal import Context, Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from quantgpu.demo.noise import hash_places
from quantgpu.dithering.threshold_matrices import BLUE_NOISE, BLUE_NOISE_SIZE

SIGMA = Decimal("1.5")
"""Of the Gaussian that tells voids from clusters, in pixels: Ulichney's choice.

The power left below half the frequency of the dots, white noise being 1, mean of ranks from a
quarter to three quarters: 0.066 for 1.2, 0.070 for 1.5, 0.080 for 1.7, 0.101 for 1.9, 0.178 for
2.2; of the lowest sixteenth: 0.144, 0.100, 0.106, 0.104, 0.088. The highest peak of a spectrum,
which would be a pattern, is 17.0, 11.2, 12.2, 11.1, 10.2 at the four levels that were looked at.
"""

SCALE = 1 << 48
"""The filter's largest value. All of it adds up to 14 times as much, which int64 holds."""

FIRST = 10
"""One in so many pixels is lit in the first pattern; below a half, any share will do."""

SEED = 0
"""Of the first pattern."""

Energy = NDArray[np.int64]
Lit = NDArray[np.bool_]


def main() -> None:
    """Write the matrix."""
    np.save(BLUE_NOISE, void_and_cluster(BLUE_NOISE_SIZE).astype("<u2"))
    print(f"{BLUE_NOISE}: {BLUE_NOISE.stat().st_size:,} bytes")


def void_and_cluster(size: int) -> NDArray[np.int64]:
    """(size, size) ranks: each of 0..size * size - 1 once, `size` at least 4.

    The paper's third phase, from half of the pixels on, looks for the tightest cluster of dark
    pixels instead. On a torus, what lit and dark pixels add is the same sum everywhere, so that is
    the largest void of the lit ones again.
    """
    table = gaussian(size)
    lit, energy = spread(first_pattern(size), table)
    ranks = np.zeros((size, size), np.int64)
    remaining, left = lit.copy(), energy.copy()
    for rank in reversed(range(int(lit.sum()))):
        place = tightest_cluster(remaining, left)
        switch(remaining, left, place, table)
        ranks.flat[place] = rank
    for rank in range(int(lit.sum()), size * size):
        place = largest_void(lit, energy)
        switch(lit, energy, place, table)
        ranks.flat[place] = rank
    return ranks


def gaussian(size: int) -> Energy:
    """(2 size, 2 size): what a pixel adds around it, twice in a row along both axes.

    The window of `size` x `size` from (size - y, size - x) on is what pixel (y, x) adds to each.
    Decimal's exponential is rounded correctly everywhere, unlike that of C.
    """
    away = [min(step % size, -step % size) for step in range(2 * size)]
    with localcontext(Context(prec=40)):
        value = {
            squared: int((SCALE * (-squared / (2 * SIGMA * SIGMA)).exp()).to_integral_value())
            for squared in {y * y + x * x for y in away for x in away}
        }
    return np.array([[value[y * y + x * x] for x in away] for y in away], np.int64)


def first_pattern(size: int) -> Lit:
    """(size, size): a tenth of the pixels, at least one, at random."""
    place = np.arange(size)
    order = np.argsort(hash_places(place, place[:, None], SEED), axis=None, kind="stable")
    lit = np.zeros(size * size, bool)
    lit[order[: max(1, size * size // FIRST)]] = True
    return lit.reshape(size, size)


def spread(lit: Lit, table: Energy) -> tuple[Lit, Energy]:
    """The pattern, evened out, and its energy: clusters move to voids until one goes back."""
    energy = np.zeros(lit.shape, np.int64)
    for place in np.flatnonzero(lit).tolist():
        energy += window(table, place)
    while True:
        cluster = tightest_cluster(lit, energy)
        switch(lit, energy, cluster, table)
        void = largest_void(lit, energy)
        switch(lit, energy, void, table)
        if void == cluster:
            return lit, energy


def tightest_cluster(lit: Lit, energy: Energy) -> int:
    """The lit pixel with the most energy."""
    return int(np.argmax(np.where(lit, energy, -1)))


def largest_void(lit: Lit, energy: Energy) -> int:
    """The dark pixel with the least energy."""
    return int(np.argmin(np.where(lit, np.iinfo(np.int64).max, energy)))


def switch(lit: Lit, energy: Energy, place: int, table: Energy) -> None:
    """Light a dark pixel, or darken a lit one."""
    if lit.flat[place]:
        energy -= window(table, place)
    else:
        energy += window(table, place)
    lit.flat[place] = not lit.flat[place]


def window(table: Energy, place: int) -> Energy:
    """(size, size): what a pixel adds to each."""
    size = len(table) // 2
    y, x = divmod(place, size)
    return table[size - y : 2 * size - y, size - x : 2 * size - x]


if __name__ == "__main__":
    main()
