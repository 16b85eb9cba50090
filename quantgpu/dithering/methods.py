"""The table of dithering methods, and the mapper that a method gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from quantgpu.dithering.base import ColorMap, Dithering, Mapper, no_dither
from quantgpu.dithering.diffusion_matrices import DIFFUSION_MATRICES, FULL
from quantgpu.errors import UsageError

DEFAULT = "adaptive"
"""The method where none is named."""


def mapper_for(mapping: ColorMap, dithering: Dithering) -> Mapper:
    """A mapper of pictures, which is prepared once for all of them."""
    method = "none" if len(mapping.palette) == 1 else dithering.method
    return DITHERS[method].prepare(mapping, dithering)


def parse_dither(dither: str, strength: float | None = None) -> Dithering:
    """The method that ``--dither`` and ``--dither-strength`` ask for.

    >>> parse_dither("bayer:4", 0.5)
    Dithering(method='bayer', size=4, strength=32)

    Raises:
        UsageError: There is no such method, matrix or strength.
    """
    found = re.fullmatch(r"([a-z-]+)(?::(\d+))?", str(dither))
    if not found or found[1] not in DITHERS:
        raise UsageError(f"dither = {dither!r} is not one of {', '.join(DITHERS)}")
    size, sizes = None if found[2] is None else int(found[2]), DITHERS[found[1]].sizes
    if size is not None and not sizes:
        sized = ", ".join(name for name, method in DITHERS.items() if method.sizes)
        raise UsageError(f"dither = {dither!r}: only {sized} takes a size, such as {sized}:4")
    if size is not None and size not in sizes:
        rows = f"{', '.join(map(str, sizes[:-1]))} or {sizes[-1]}"
        raise UsageError(f"dither = {dither!r}: the matrix has {rows} rows")
    if strength is None:
        return Dithering(found[1], size)
    if not isinstance(strength, int | float | np.floating) or not 0 <= strength <= 1:
        raise UsageError(f"dither_strength = {strength!r} is outside 0..1")
    return Dithering(found[1], size, int(strength * FULL + 0.5))


def dithering_for(
    dither: str | None, strength: float | None, effort: str, measured: bool = False
) -> Dithering:
    """The method that is used, also where `dither` is not given.

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


class DitherMethod(NamedTuple):
    """A way to mix colors, and what is known of it."""

    prepare: Callable[[ColorMap, Dithering], Mapper]
    """From a color map to what maps pictures."""
    is_pointwise: bool
    """Whether a pixel's entry depends on its color and place alone, not on other pixels."""
    sizes: tuple[int, ...] = ()
    """Rows that its matrix may have."""


DITHERS = {
    "none": DitherMethod(no_dither, is_pointwise=True),
    "bayer": DitherMethod(ordered_dither, is_pointwise=True, sizes=(2, 4, 8, 16)),
    "blue-noise": DitherMethod(ordered_dither, is_pointwise=True),
    **dict.fromkeys(DIFFUSION_MATRICES, DitherMethod(error_diffusion, is_pointwise=False)),
}
"""Name to method; the choices of ``--dither``."""
