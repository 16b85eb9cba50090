"""How good a palette is for a histogram: squared error, PSNR, mean CIEDE2000."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context, Decimal
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module, to_host
from quantgpu.color.packing import unpack
from quantgpu.histogram import Histogram
from quantgpu.metrics.ciede2000 import delta_e, lab
from quantgpu.palette import Palette, of_channels
from quantgpu.threads import chunks, imap_threads

DIGITS = Context(prec=28, traps=[])
"""Decimal arithmetic, whose logarithms are the same on every machine."""

STEPS = 1_000_000
"""A color's CIEDE2000 is rounded to so many parts before it is added: sums are exact then."""

CHUNK = 1 << 14
"""Colors compared at a time."""

Measure = Callable[[Palette, Any], float]
"""From a palette and the index of each color in it to how good it is."""


def squared_error(histogram: Histogram, palette: Palette, labels: Any) -> Any:
    """() int64: squared differences of 8-bit levels between a histogram and its palette, summed.

    Where not all is opaque, the mean of what is seen on black and on white.
    """
    xp = array_module(labels)
    channels = max(palette.colors.shape[1], histogram.channels)
    entries = xp.asarray(np.ascontiguousarray(composited(of_channels(palette.colors, channels)).T))
    difference = entries.take(labels, axis=1)
    difference -= composited(unpack(histogram.keys, channels)).T
    difference *= difference
    total = (difference.sum(axis=0) * histogram.counts).sum()
    return total if channels == 3 else total // 2


def composited(colors: Any) -> Any:
    """(n, 3) int32 levels of opaque colors; (n, 6) of others, laid on black and on white."""
    xp = array_module(colors)
    levels = colors.astype(xp.int32)
    if colors.shape[1] == 3:
        return levels
    alpha = levels[:, 3:]
    on_black = (2 * levels[:, :3] * alpha + 255) // 510
    on_white = (2 * (levels[:, :3] * alpha + 255 * (255 - alpha)) + 255) // 510
    return xp.concatenate([on_black, on_white], axis=1)


def decibels(error: int, pixels: int) -> float:
    """Peak signal-to-noise ratio over three channels of so many pixels; infinite without error.

    Args:
        error: Squared differences of 8-bit levels, summed over pixels and channels.
        pixels: At least 1.
    """
    if error == 0:
        return math.inf
    ratio = DIGITS.divide(Decimal(3 * 255**2 * pixels), Decimal(error))
    return float(DIGITS.multiply(DIGITS.log10(ratio), Decimal(10)))


def psnr_of(histogram: Histogram, threads: int = 1) -> Measure:
    """Measures the peak signal-to-noise ratio, in decibels, as `Indexed.psnr`."""
    pixels = histogram.pixels
    return lambda palette, labels: decibels(int(squared_error(histogram, palette, labels)), pixels)


def mse_of(histogram: Histogram, threads: int = 1) -> Measure:
    """Measures the mean squared error, in squared levels, as `Indexed.mse`."""
    pixels = histogram.pixels
    return lambda palette, labels: int(squared_error(histogram, palette, labels)) / pixels


def de_of(histogram: Histogram, threads: int = 1) -> Measure:
    """Measures the mean CIEDE2000 of the pixels, on the host, from the distinct colors.

    Of what is not opaque, the mean of what is seen on black and on white.
    """
    pixels = histogram.pixels
    counts = to_host(histogram.counts)
    before = composited_lab(to_host(histogram.colors))

    def measure(palette: Palette, labels: Any) -> float:
        index, after = to_host(labels), composited_lab(palette.colors)
        pairs = zip if len(before) == len(after) else product
        views = list(pairs(before, after))

        def total(interval: tuple[int, int]) -> int:
            part = slice(*interval)
            entries = index[part]
            differences = [delta_e(a[:, part], b.take(entries, axis=1)) for a, b in views]
            return sum(int(np.rint(d * STEPS).astype(np.int64) @ counts[part]) for d in differences)

        sums = imap_threads(total, chunks(0, len(counts), CHUNK), threads)
        return sum(sums) / (STEPS * pixels * len(views))

    return measure


def composited_lab(colors: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """CIE L*a*b*, (3, n), of (n, 3) colors; of (n, 4) on black and on white."""
    return [
        lab(view) for view in np.split(composited(colors).astype(np.uint8), colors.shape[1] - 2, 1)
    ]


class Quality(NamedTuple):
    """A figure of how good a palette is, and how two of it compare."""

    measure: Callable[[Histogram, int], Measure]
    """From a histogram and a number of threads to what measures its palettes."""
    template: str
    """The format in which people read it."""
    rises: bool
    """Whether more is better."""
    power: Decimal
    """The error falls about as K to minus this power: photographs, K from 16 to 256."""
    log_error: Callable[[Decimal], Decimal]
    """The natural logarithm of the error that a value stands for, but for a constant."""


def log_of_decibels(value: Decimal) -> Decimal:
    """The natural logarithm of a squared error whose ratio to something is `value` decibels."""
    return DIGITS.divide(DIGITS.multiply(value, DIGITS.ln(Decimal(10))), Decimal(-10))


QUALITIES = {
    "psnr": Quality(psnr_of, "{:.3f} dB", True, Decimal("0.75"), log_of_decibels),
    "mse": Quality(mse_of, "MSE {:.3f}", False, Decimal("0.75"), DIGITS.ln),
    "de": Quality(de_of, "CIEDE2000 {:.3f}", False, Decimal("0.4"), DIGITS.ln),
}
"""Name to quality; what ``--target`` and ``--min-quality`` take before the equals sign."""
