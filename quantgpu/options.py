"""What options may be, told before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.device import check_device
from quantgpu.clustering.coarse_to_fine import EFFORTS
from quantgpu.clustering.seeding import SEEDINGS
from quantgpu.clustering.target import Target, parse_target
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.dithering.methods import DEFAULT, parse_dither
from quantgpu.errors import UsageError, check_choice, check_number
from quantgpu.execution.selection import LEAST_MEMORY, MOST_MEMORY, check_resources
from quantgpu.io.inputs import as_palette
from quantgpu.palette import MOST_COLORS, distinct
from quantgpu.threads import MOST_THREADS

DEFAULT_K = 256


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


def check_weighing(effort: str, weights: Any, salient: bool) -> None:
    """Raise a UsageError for weights where they would have no effect."""
    if effort == "none" and (weights is not None or salient):
        name = "salient" if weights is None else "weights"
        raise UsageError(f"effort = 'none' counts all pixels alike; with {name} use 'fast'")


def k_for(k: int | None, pixels: int, kept: int = 0) -> int:
    """K, or its default, for so many pixels; colors that are kept need not be among theirs."""
    if k is not None and k > pixels:
        raise UsageError(f"k = {k} is greater than the number of pixels, {pixels}")
    return min(DEFAULT_K, pixels + kept) if k is None else k


def check_apply_options(
    color_space: str,
    dither: str,
    dither_strength: float | None,
    threads: int | None,
    device: str,
    memory: int | None,
) -> None:
    """Raise a UsageError for what is wrong with options of `apply_palette`, whatever the image."""
    check_choice("color_space", color_space, COLOR_SPACES)
    parse_dither(dither, dither_strength)
    check_device(device)
    if threads is not None:
        check_number("threads", threads, 1, MOST_THREADS)
    if memory is not None:
        check_number("memory", memory, LEAST_MEMORY, MOST_MEMORY)


def check_goals(
    ks: Sequence[int | None], target: str | None, min_quality: str | None
) -> tuple[Target | None, Target | None]:
    """What is to be reached, and what at least; or a UsageError."""
    if not ks:
        raise UsageError("no k is given; ks is a list such as [16, 256]")
    for k in ks:
        if ks.count(k) > 1:
            raise UsageError(f"k = {k} is given twice")
    if target is not None and len(ks) > 1:
        raise UsageError(
            f"target = {target!r} finds one K by itself; give one k, the most there may be, or none"
        )
    return (
        None if target is None else parse_target(target),
        None if min_quality is None else parse_target(min_quality, "min_quality"),
    )
