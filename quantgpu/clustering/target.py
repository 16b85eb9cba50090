"""The search for the smallest K that meets a target, such as ``--target psnr=38``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext
from typing import Any, NamedTuple

from quantgpu.errors import QualityError, UsageError
from quantgpu.histogram import Histogram
from quantgpu.metrics.palette_error import DIGITS, QUALITIES, Quality
from quantgpu.palette import MOST_COLORS, Palette
from quantgpu.progress import Progress

START = 64
"""The K that is tried first."""

PLAUSIBLE_FACTORS = Decimal("0.4"), Decimal("2.7")
"""An error falls between two K with 0.4 to 2.7 times the usual power of K; other powers are noise.
"""

PATIENCE = 5
"""After this many K in a row on one side of the target, the middle of the remaining K is tried.

On six pictures, targets that take K = 2 to 256 were found with 3.8 to 5.3 trials in the mean and 12
at most; K up to 1024 with 3.8 to 5.6, and 12 at most."""


class Target(NamedTuple):
    """A required quality."""

    name: str
    """A row of `QUALITIES`."""
    limit: float
    """The least sufficient value, or the greatest where less is better."""

    def __str__(self) -> str:
        return f"{self.name}={self.limit:.15g}"

    @property
    def quality(self) -> Quality:
        """The measure that the target names."""
        return QUALITIES[self.name]

    def is_met(self, value: float) -> bool:
        """Whether a value of the measure is good enough."""
        return value >= self.limit if self.quality.rises else value <= self.limit

    def format_value(self, value: float | None) -> str:
        """A value of the measure as text; None is infinite."""
        lossless = value is None or value in (0, math.inf)
        return "lossless" if lossless else self.quality.template.format(value)


def parse_target(text: str, option: str = "target") -> Target:
    """Parse a target such as ``psnr=38``.

    >>> parse_target("psnr=38"), str(parse_target("DE = 1.50"))
    (Target(name='psnr', limit=38.0), 'de=1.5')

    Raises:
        UsageError: The text is no target; the message begins with the name of the `option`.
    """
    found = re.fullmatch(r"\s*([a-z]+)\s*=\s*(\d+\.?\d*|\.\d+)\s*", str(text).lower(), re.ASCII)
    limit = float(found[2]) if found else math.inf
    if not found or found[1] not in QUALITIES or math.isinf(limit):
        raise UsageError(f"{option} = {text!r} is not of the form psnr=38, mse=12 or de=1.5")
    return Target(found[1], limit)


@dataclass(frozen=True, kw_only=True)
class Goals:
    """The required quality of a result.

    Raises:
        UsageError: A text does not have the form ``psnr=38``.
    """

    target: str | None = None
    """The target for which the smallest K is searched."""
    min_quality: str | None = None
    """The quality that a result must have at least."""

    def __post_init__(self) -> None:
        self.parsed_target, self.parsed_min_quality  # noqa: B018

    @property
    def parsed_target(self) -> Target | None:
        """The target for which the smallest K is searched."""
        return None if self.target is None else parse_target(self.target)

    @property
    def parsed_min_quality(self) -> Target | None:
        """The quality that a result must have at least."""
        return None if self.min_quality is None else parse_target(self.min_quality, "min_quality")

    @property
    def measures_quality(self) -> bool:
        """Whether results are measured by the errors of single pixels."""
        return self.target is not None or self.min_quality is not None


def smallest_k(
    target: Target, least: int, most: int, value_of: Callable[[int], float]
) -> tuple[int, dict[int, float]]:
    """A K that meets the target while K - 1 does not, and the values of all K that were tried.

    If more colors were always better, this K would be the smallest. They nearly always are, but the
    search has its luck: a smaller K may just meet the target.

    Args:
        target: The required quality.
        least: The smallest allowed K, at least 1.
        most: The greatest allowed K.
        value_of: From K to the quality of its result; called once for each K that is tried.

    Raises:
        QualityError: No K that was tried, including `most`, meets the target.
    """
    values: dict[int, float] = {}
    low, high, streak = least - 1, most + 1, 0
    while high - low > 1:
        k = (low + high) // 2 if abs(streak) >= PATIENCE else predicted_k(target, values, most)
        k = min(max(k, low + 1), high - 1)
        values[k] = value_of(k)
        if target.is_met(values[k]):
            high, streak = k, min(streak, 0) - 1
        else:
            low, streak = k, max(streak, 0) + 1
    if high > most:
        raise QualityError(f"{target} is not reached with {most} colors{advice(target, values)}")
    return high, dict(sorted(values.items()))


def predicted_k(target: Target, values: dict[int, float], most: int) -> int:
    """The K at which a line through the two values nearest to the target reaches the target.

    The line is drawn in logarithms. With fewer than two values, or if its slope is implausible, it
    has the usual slope.
    """
    quality = target.quality
    with localcontext(DIGITS):
        wanted = quality.log_error(Decimal(target.limit))
        errors = {k: quality.log_error(Decimal(value)) for k, value in values.items()}
        known = sorted(
            (abs(error - wanted), k, error) for k, error in errors.items() if error.is_finite()
        )
        if not known:
            return START
        _, k, error = known[0]
        power = quality.power
        for _, other, others in known[1:2]:
            found = (others - error) / (Decimal(k).ln() - Decimal(other).ln())
            if PLAUSIBLE_FACTORS[0] <= found / power <= PLAUSIBLE_FACTORS[1]:
                power = found
        exact = (Decimal(k).ln() + (error - wanted) / power).exp()
        return int(min(exact, Decimal(most)).to_integral_value(ROUND_CEILING))


def advice(target: Target, values: dict[int, float]) -> str:
    """The end of an error message: the best of the values, and what to change."""
    best = sorted(values, key=values.__getitem__, reverse=target.quality.rises)[0]
    raised = f"raise -k, up to {MOST_COLORS}, or " if max(values) < MOST_COLORS else ""
    return f": the best is {target.format_value(values[best])} at K = {best}; {raised}ask for less"


PaletteLabels = tuple[Palette, Any]
"""A palette, and the index of each color of a histogram in it."""


def smallest_palette(
    target: Target,
    least: int,
    most: int,
    palette_at: Callable[[int, Progress], PaletteLabels],
    histogram: Histogram,
    threads: int,
    progress: Progress,
) -> tuple[PaletteLabels, dict[int, float]]:
    """The palette of the smallest K that meets a target, and the values of all K that were tried.

    Args:
        target: The required quality.
        least: The smallest allowed K, at least 1.
        most: The greatest allowed K.
        palette_at: From K and a progress to the palette of K colors, and the index of each color.
        histogram: The colors that the palettes are measured for.
        threads: At least 1.
        progress: Called with the stage ``cluster``.

    Raises:
        QualityError: See `smallest_k`.
    """
    measure = target.quality.measure(histogram, threads)
    met: list[PaletteLabels] = []
    tried = 0

    def value_of(k: int) -> float:
        nonlocal tried
        done, tried = tried, tried + 1

        def report(stage: str, share: float) -> None:  # the number of trials is not known before
            progress(stage, 1 - (1 - share / 2) / 2**done)

        found = palette_at(k, report)
        value = measure(*found)
        if target.is_met(value):
            met[:] = [found]
        return value

    _, values = smallest_k(target, least, most, value_of)
    progress("cluster", 1)
    return met[0], values


def check_quality(
    needed: Target, histogram: Histogram, palette: Palette, labels: Any, threads: int
) -> None:
    """Raise a QualityError unless a palette has the `needed` quality."""
    value = needed.quality.measure(histogram, threads)(palette, labels)
    if not needed.is_met(value):
        raise QualityError(
            f"min_quality {needed} is not reached with {len(palette)} colors: it is "
            f"{needed.format_value(value)}; raise -k or ask for less"
        )
