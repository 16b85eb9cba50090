"""Map an image to a given palette: no clustering, every pixel gets its nearest color."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quantgpu.clustering.cluster import map_exact_colors, nearest_entries
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.histogram import Histogram
from quantgpu.indexed import Indexed
from quantgpu.options import ApplyOptions
from quantgpu.palette import Palette
from quantgpu.pipeline.convert import ConvertOptions, Shape, convert
from quantgpu.progress import Progress, no_progress


@dataclass(frozen=True)
class FixedPaletteFinder:
    """A `PaletteFinder` that returns a given palette."""

    palette: Palette
    color_space: str
    threads: int

    def __call__(
        self, histogram: Histogram, shape: Shape, progress: Progress
    ) -> tuple[Palette, Any]:
        """The palette, and the entry nearest to each color of a histogram, (n,)."""
        space = COLOR_SPACES[self.color_space]
        nearest = nearest_entries(histogram, self.palette, space, self.threads)
        return self.palette, map_exact_colors(histogram, self.palette.colors, nearest)


def map_to_palette(
    image: Any,
    palette: Palette,
    options: ApplyOptions,
    *,
    keep_on_device: bool = False,
    progress: Progress = no_progress,
) -> Indexed:
    """Map an image to the colors of a palette, see `quantgpu.apply_palette`."""
    finder = FixedPaletteFinder(palette, options.color_space, options.compute.thread_count)
    how = ConvertOptions(mapping=options.mapping, compute=options.compute)
    [picture] = convert(
        image, [finder], "assign", how, keep_on_device=keep_on_device, progress=progress
    )
    return picture
