"""What options may be, told before any work is done."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.device import check_device
from quantgpu.clustering.coarse_to_fine import EFFORTS
from quantgpu.clustering.seeding import SEEDINGS
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.dithering.base import DEFAULT, parse_dither
from quantgpu.errors import UsageError
from quantgpu.palette import MOST_COLORS, as_palette, distinct

DEFAULT_K = 256

MOST_THREADS = 1024

LEAST_MEMORY, MOST_MEMORY = 1 << 20, 1 << 50
"""Bytes of device memory that may be asked for."""


def check_options(
    k: int | None,
    effort: str,
    init: str,
    seed: int,
    color_space: str,
    dither: str | None,
    dither_strength: float | None,
    threads: int | None,
    device: str,
    memory: int | None,
) -> None:
    """Raise a UsageError for what is wrong with options of `quantize`, whatever the image."""
    if k is not None:
        check_number("k", k, 1, MOST_COLORS)
    check_resources(threads, device, memory)
    check_number("seed", seed, 0, 2**64 - 1)
    check_choice("effort", effort, EFFORTS)
    check_choice("init", init, SEEDINGS)
    check_choice("color_space", color_space, COLOR_SPACES)
    check_dither(k, dither, dither_strength)


def check_resources(threads: int | None, device: str, memory: int | None) -> None:
    """Raise a UsageError for what is wrong with options that results do not depend on."""
    if threads is not None:
        check_number("threads", threads, 1, MOST_THREADS)
    check_device(device)
    if memory is not None:
        check_number("memory", memory, LEAST_MEMORY, MOST_MEMORY)


def check_dither(k: int | None, dither: str | None, strength: float | None) -> None:
    """Raise a UsageError for what is wrong with how to dither."""
    found = parse_dither(DEFAULT if dither is None else dither, strength)
    if k == 1 and dither is not None and found.method != "none":
        raise UsageError(f"dither = {dither!r}: k = 1 leaves nothing to mix; use 2 colors or more")


def check_kept(k: int | None, keep: Any, snap: float | None) -> NDArray[np.uint8] | None:
    """The colors to keep, (m, 3 | 4), without repetitions; or a UsageError."""
    if snap is not None and not (isinstance(snap, int | float | np.floating) and 0 < snap <= 1):
        raise UsageError(
            f"snap = {snap!r} is not a share above 0, up to 1; 0.01 is one hundredth of the image"
        )
    if keep is None:
        return None
    kept = distinct(as_palette(keep).colors)
    most = DEFAULT_K if k is None else k
    if len(kept) > most:
        raise UsageError(f"{len(kept)} colors to keep are more than k = {most}")
    return kept


def check_set(from_palette: Any, snap: float | None) -> NDArray[np.uint8] | None:
    """The colors to choose from, (M, 3 | 4), without repetitions; or a UsageError."""
    if from_palette is None:
        return None
    if snap is not None:
        raise UsageError("snap takes colors of the image, and from_palette none; give one of them")
    return distinct(as_palette(from_palette).colors)


def check_matte(matte: Any) -> None:
    """Raise unless a matte is None or red, green and blue."""
    if matte is None:
        return
    if isinstance(matte, str) or len(matte) != 3:
        raise UsageError(f"matte = {matte!r} is not red, green and blue, such as (255, 255, 255)")
    for level in matte:
        check_number("matte", level, 0, 255)


def check_weighing(effort: str, weights: Any, salient: bool) -> None:
    """Raise a UsageError for weights where they would have no effect."""
    if effort == "none" and (weights is not None or salient):
        name = "salient" if weights is None else "weights"
        raise UsageError(f"effort = 'none' counts all pixels alike; with {name} use 'fast'")


def check_number(name: str, value: int, low: int, high: int) -> None:
    """Raise unless `value` is an integer in ``low … high``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{name} = {value!r} is not an integer") from None
    if not low <= number <= high:
        raise UsageError(f"{name} = {number} is outside {low}..{high}")


def check_choice(name: str, key: str, table: Mapping[str, object]) -> None:
    """Raise unless a table has a row named `key`."""
    if key not in list(table):
        raise UsageError(f"{name} = {key!r} is not one of {', '.join(table)}")


def k_for(k: int | None, pixels: int, kept: int = 0) -> int:
    """K, or its default, for so many pixels; colors that are kept need not be among theirs."""
    if k is not None and k > pixels:
        raise UsageError(f"k = {k} is greater than the number of pixels, {pixels}")
    return min(DEFAULT_K, pixels + kept) if k is None else k
