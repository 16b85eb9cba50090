"""Functions that take options as values, called with flat keywords."""

from typing import Any

from quantgpu.clustering import cluster as clustering
from quantgpu.clustering.options import PaletteOptions
from quantgpu.dithering.options import MapOptions
from quantgpu.execution.selection import Compute
from quantgpu.histogram import Histogram
from quantgpu.indexed import Indexed
from quantgpu.options import from_keywords, keyword_names
from quantgpu.palette import Palette
from quantgpu.pipeline import shared_palette as sharing


def split(keywords: dict[str, Any], kind: type[Any], **usual: Any) -> tuple[Any, dict[str, Any]]:
    """Options of a kind, and the keywords that are none of theirs."""
    names = keyword_names(kind)
    own = {name: value for name, value in keywords.items() if name in names}
    return from_keywords(kind, usual | own), {n: v for n, v in keywords.items() if n not in names}


def cluster(histogram: Histogram, k: int, **keywords: Any) -> tuple[Palette, Any]:
    options, rest = split(keywords, PaletteOptions, perceptual=False)
    return clustering.cluster(histogram, k, options, **rest)


def shared_palette(
    histogram: Histogram, k: int | None = None, **keywords: Any
) -> sharing.SharedPalette:
    options, rest = split(keywords, PaletteOptions, perceptual=False)
    compute, rest = split(rest, Compute)
    return sharing.shared_palette(histogram, k, options, compute, **rest)


def remapped(image: Any, histogram: Histogram, palettes: Any, **keywords: Any) -> list[Indexed]:
    mapping, rest = split(keywords, MapOptions)
    compute, rest = split(rest, Compute)
    return sharing.remap_to_shared(image, histogram, palettes, mapping, compute, **rest)
