"""Options of the palette."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from quantgpu.clustering.coarse_to_fine import EFFORTS
from quantgpu.clustering.seeding import SEEDINGS
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.errors import UsageError, check_choice, check_number
from quantgpu.palette import Palette

DEFAULT_K = 256
"""The default number of palette colors."""


@dataclass(frozen=True, kw_only=True)
class PaletteOptions:
    """How the palette is chosen; `quantgpu.quantize` describes each option.

    Raises:
        UsageError: An option is outside its range, or has no effect beside another option.
    """

    effort: str = "balanced"
    """A row of `EFFORTS`."""
    init: str = "random"
    """A row of `SEEDINGS`."""
    seed: int = 0
    color_space: str = "oklab"
    """A row of `COLOR_SPACES`."""
    perceptual: bool = True
    salient: bool = False
    keep: Palette | None = None
    """Without repetitions."""
    snap: float | None = None
    """A share of the pixels, above 0, at most 1."""
    lock_grays: bool = False
    from_palette: Palette | None = None
    """Without repetitions."""

    def __post_init__(self) -> None:
        check_number("seed", self.seed, 0, 2**64 - 1)
        check_choice("effort", self.effort, EFFORTS)
        check_choice("init", self.init, SEEDINGS)
        check_choice("color_space", self.color_space, COLOR_SPACES)
        snap = self.snap
        if snap is not None and not (isinstance(snap, int | float | np.floating) and 0 < snap <= 1):
            raise UsageError(
                f"snap = {snap!r} is not a share above 0, up to 1; 0.01 is one hundredth of the "
                "image"
            )
        if self.from_palette is not None and snap is not None:
            raise UsageError(
                "snap takes colors of the image, and from_palette none; give one of them"
            )
        self.check_weighing()

    @property
    def weighs_pixels(self) -> bool:
        """Whether pixels are counted with perceptual weights."""
        return self.perceptual and not self.salient

    @property
    def kept_count(self) -> int:
        """The number of colors to keep."""
        return 0 if self.keep is None else len(self.keep)

    def check_weighing(self, weights: Any = None) -> None:
        """Raise a UsageError for weights where they would have no effect."""
        if self.effort == "none" and (weights is not None or self.salient):
            name = "salient" if weights is None else "weights"
            raise UsageError(f"effort = 'none' counts all pixels alike; with {name} use 'fast'")

    def check_room(self, k: int | None) -> None:
        """Raise a UsageError if K, or its default, is too small for the colors to keep."""
        most = DEFAULT_K if k is None else k
        if self.kept_count > most:
            raise UsageError(f"{self.kept_count} colors to keep are more than k = {most}")
