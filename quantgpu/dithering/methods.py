"""The table of dithering methods, and the mapper that a method gives."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from quantgpu.dithering.base import ColorMap, Dithering, Mapper, no_dither
from quantgpu.dithering.diffusion_matrices import DIFFUSION_MATRICES, FULL
from quantgpu.errors import UsageError

DEFAULT = "adaptive"
"""The method where none is named."""


def mapper_for(mapping: ColorMap, dithering: Dithering) -> Mapper:
    """What maps pictures; the method is prepared once for all of them."""
    method = "none" if len(mapping.palette) == 1 else dithering.method
    return DITHERS[method](mapping, dithering)


def parse_dither(dither: str, strength: float | None = None) -> Dithering:
    """What ``--dither`` and ``--dither-strength`` ask for.

    >>> parse_dither("bayer:4", 0.5)
    Dithering(method='bayer', size=4, strength=32)

    Raises:
        UsageError: There is no such method, matrix or strength.
    """
    found = re.fullmatch(r"([a-z-]+)(?::(\d+))?", str(dither))
    if not found or found[1] not in DITHERS:
        raise UsageError(f"dither = {dither!r} is not one of {', '.join(DITHERS)}")
    size = None if found[2] is None else int(found[2])
    if size is not None and found[1] != "bayer":
        raise UsageError(f"dither = {dither!r}: only bayer takes a size, such as bayer:4")
    if size not in (None, 2, 4, 8, 16):
        raise UsageError(f"dither = {dither!r}: the matrix has 2, 4, 8 or 16 rows")
    if strength is None:
        return Dithering(found[1], size)
    if not isinstance(strength, int | float | np.floating) or not 0 <= strength <= 1:
        raise UsageError(f"dither_strength = {strength!r} is outside 0..1")
    return Dithering(found[1], size, int(strength * FULL + 0.5))


def dithering_for(
    dither: str | None, strength: float | None, effort: str, measured: bool = False
) -> Dithering:
    """What is done where `dither` may not be given.

    Nothing is mixed then by the effort ``none``, or if results are `measured` by what a pixel's
    color is off: mixing raises that.
    """
    usual = "none" if effort == "none" or measured else DEFAULT
    return parse_dither(usual if dither is None else dither, strength)


def error_diffusion(mapping: ColorMap, dithering: Dithering) -> Mapper:
    """Errors are passed on to neighbors, see `diffusion`."""
    from quantgpu.dithering.error_diffusion import diffused

    return diffused(mapping, dithering)


def ordered_dither(mapping: ColorMap, dithering: Dithering) -> Mapper:
    """Each color is mixed of two palette colors, by place, see `ordered`."""
    from quantgpu.dithering import ordered, ordered_gpu

    if ordered_gpu.serves(mapping):
        return ordered_gpu.ordered(mapping, dithering)
    return ordered.ordered(mapping, dithering)


DITHERS: dict[str, Callable[[ColorMap, Dithering], Mapper]] = {
    "none": no_dither,
    "bayer": ordered_dither,
    "blue-noise": ordered_dither,
    **dict.fromkeys(DIFFUSION_MATRICES, error_diffusion),
}
"""Name to method; the choices of ``--dither``."""
