"""Options of the conversion of a clip."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from quantgpu.clustering.options import PaletteOptions
from quantgpu.color.alpha import AlphaOptions
from quantgpu.dithering.base import Dithering
from quantgpu.dithering.options import DitherOptions
from quantgpu.errors import UsageError
from quantgpu.execution.selection import Compute
from quantgpu.video.flicker import MOST_HOLD
from quantgpu.video.frames.base import Frames
from quantgpu.video.frames.open import open_frames

DEFAULT_DITHER = "blue-noise"
"""The method of dithering when none is given."""


@dataclass(frozen=True, kw_only=True)
class FrameOptions:
    """Which frames of a clip are read, and how; see `open_frames` for each option."""

    fps: Fraction | float | None = None
    start: Fraction | float | None = None
    duration: Fraction | float | None = None
    width: int | None = None
    conversion: str = "exact"

    def open(self, source: str | os.PathLike[str], channels: int | None = None) -> Frames:
        """The frames of a source, see `open_frames`."""
        return open_frames(
            source,
            fps=self.fps,
            start=self.start,
            duration=self.duration,
            width=self.width,
            conversion=self.conversion,
            channels=channels,
        )


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """The options of `quantgpu.quantize_video`, but for its files and K.

    Raises:
        UsageError: An option is outside its range.
    """

    palette: Any = "shared"
    """A row of `palettes.PALETTES`, or a palette in any form that `as_palette` takes."""
    first: Fraction | float | None = None
    """Seconds that decide the shared palette; None for all."""
    hold: float = 0
    """Levels of error that a pixel tolerates to keep its entry, 0 to `MOST_HOLD`."""
    clustering: PaletteOptions = field(default_factory=PaletteOptions)
    dither: DitherOptions = field(default_factory=DitherOptions)
    alpha: AlphaOptions = field(default_factory=AlphaOptions)
    frames: FrameOptions = field(default_factory=FrameOptions)
    compute: Compute = field(default_factory=Compute)

    def __post_init__(self) -> None:
        if not isinstance(self.hold, int | float | np.floating) or not 0 <= self.hold <= MOST_HOLD:
            raise UsageError(f"hold = {self.hold!r} is outside 0..{MOST_HOLD} levels")

    @property
    def dithering(self) -> Dithering:
        """The method of dithering, `DEFAULT_DITHER` if none is given."""
        return self.dither.resolve(default=DEFAULT_DITHER)
