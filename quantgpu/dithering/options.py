"""How pixels are mapped to a palette: as it is asked for, and as it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quantgpu.clustering.color_classes import classes_for
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.dithering.base import NO_DITHERING, ColorMap, Dithering
from quantgpu.dithering.methods import DEFAULT, parse_dither
from quantgpu.errors import UsageError, check_choice
from quantgpu.histogram import Histogram
from quantgpu.palette import Palette


@dataclass(frozen=True, kw_only=True)
class DitherOptions:
    """How colors are mixed, as it is asked for.

    Raises:
        UsageError: There is no such method, matrix or strength.
    """

    dither: str | None = None
    """A row of `DITHERS`, ``bayer`` with a size or not; None for what suits the rest."""
    dither_strength: float | None = None
    """0 to 1; None for what suits the method."""

    def __post_init__(self) -> None:
        self.resolve()

    def check_k(self, k: int | None) -> None:
        """Raise a UsageError if one color is to be mixed."""
        if k == 1 and self.dither is not None and self.resolve().method != "none":
            raise UsageError(
                f"dither = {self.dither!r}: k = 1 leaves nothing to mix; use 2 colors or more"
            )

    def resolve(
        self, effort: str = "fast", measured: bool = False, default: str = DEFAULT
    ) -> Dithering:
        """The method that is used, `default` where none is named.

        Nothing is mixed then by the effort ``none``, or if results are `measured` by what a pixel's
        color is off: mixing raises that.
        """
        usual = "none" if effort == "none" or measured else default
        return parse_dither(usual if self.dither is None else self.dither, self.dither_strength)


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """How pixels are mapped to the entries of a palette."""

    dithering: Dithering = NO_DITHERING
    color_space: str = "oklab"
    """A row of `COLOR_SPACES`."""
    lock_grays: bool = False

    def __post_init__(self) -> None:
        check_choice("color_space", self.color_space, COLOR_SPACES)


def color_map_for(
    histogram: Histogram, palette: Palette, labels: Any, options: MapOptions, threads: int = 1
) -> ColorMap:
    """The color map for a method: the palette entry of each color of a histogram.

    Args:
        histogram: Of n colors.
        palette: Of K colors.
        labels: (n,) integers: the entry that serves each color.
        options: How it is mapped.
        threads: At least 1.
    """
    channels = max(histogram.channels, palette.colors.shape[1])
    classes = classes_for(channels, options.lock_grays)
    space = COLOR_SPACES[options.color_space]
    return ColorMap(histogram, palette, labels, space, classes, threads)
