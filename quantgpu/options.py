"""All options of a quantization as one value, made from the flat keywords of callers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

from quantgpu.clustering.options import DEFAULT_K, PaletteOptions
from quantgpu.clustering.target import Goals
from quantgpu.color.alpha import AlphaOptions
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.dithering.options import DitherOptions, MapOptions
from quantgpu.errors import UsageError, check_choice, check_number
from quantgpu.execution.selection import Compute
from quantgpu.io.inputs import as_palette
from quantgpu.palette import MOST_COLORS, Palette, distinct

Options = TypeVar("Options")


@dataclass(frozen=True, kw_only=True)
class QuantizeOptions:
    """All options of `quantgpu.quantize` but the image, its weights and K."""

    palette: PaletteOptions = field(default_factory=PaletteOptions)
    dither: DitherOptions = field(default_factory=DitherOptions)
    alpha: AlphaOptions = field(default_factory=AlphaOptions)
    goals: Goals = field(default_factory=Goals)
    compute: Compute = field(default_factory=Compute)

    def mapping(self, k: int | None = None) -> MapOptions:
        """The options for mapping pixels to a palette of K colors; one color is never dithered."""
        dither = DitherOptions(dither="none") if k == 1 else self.dither
        return MapOptions(
            dithering=dither.resolve(self.palette.effort, self.goals.measures_quality),
            color_space=self.palette.color_space,
            lock_grays=self.palette.lock_grays,
        )


@dataclass(frozen=True, kw_only=True)
class ApplyOptions:
    """All options of `quantgpu.apply_palette` but the image and the palette."""

    color_space: str = "oklab"
    dither: DitherOptions = field(default_factory=DitherOptions)
    compute: Compute = field(default_factory=Compute)

    def __post_init__(self) -> None:
        check_choice("color_space", self.color_space, COLOR_SPACES)

    @property
    def mapping(self) -> MapOptions:
        """The options for mapping pixels; not dithered by default."""
        return MapOptions(
            dithering=self.dither.resolve(default="none"), color_space=self.color_space
        )


def distinct_palette(colors: Any) -> Palette | None:
    """Colors in any form that `as_palette` takes, without repetitions; None stays None."""
    return None if colors is None else Palette(distinct(as_palette(colors).colors))


CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "keep": distinct_palette,
    "from_palette": distinct_palette,
}
"""The name of a keyword to the function from all forms of callers to that of the options."""


def from_keywords(kind: type[Options], keywords: Mapping[str, Any]) -> Options:
    """Build options of a class from flat keywords; each fills the field of its name, in any part.

    >>> from_keywords(QuantizeOptions, {"effort": "fast", "device": "cpu"}).palette.effort
    'fast'

    Raises:
        TypeError: A keyword names no field, as for any function.
        UsageError: An option is outside its range.
    """
    left = dict(keywords)
    options = take_options(kind, left)
    if left:
        raise TypeError(f"unexpected keyword argument {next(iter(left))!r}")
    return options


def take_options(kind: type[Options], keywords: dict[str, Any]) -> Options:
    """Build options of a class, and remove their keywords from `keywords`."""
    own = {}
    for name, part in option_parts(kind).items():
        if part is not None:
            own[name] = take_options(part, keywords)
        elif name in keywords:
            value = keywords.pop(name)
            own[name] = CONVERTERS[name](value) if name in CONVERTERS else value
    return kind(**own)


def option_parts(kind: type[Any]) -> dict[str, type[Any] | None]:
    """The fields of an options class, each with its own options class, or None for plain values."""
    makes = {entry.name: entry.default_factory for entry in fields(kind)}
    return {name: make if is_dataclass(make) else None for name, make in makes.items()}


def keyword_names(kind: type[Any]) -> list[str]:
    """The names of the flat keywords of an options class."""
    return [
        name
        for own, part in option_parts(kind).items()
        for name in ([own] if part is None else keyword_names(part))
    ]


def select_keywords(keywords: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Select the keywords of an options class, leaving out all others."""
    return {name: keywords[name] for name in keyword_names(kind) if name in keywords}


def check_ks(ks: Sequence[int | None], options: QuantizeOptions) -> list[int | None]:
    """Check the numbers of colors against the options, and return them as integers or None.

    Raises:
        UsageError: A K is outside its range, repeated, or contradicts an option.
    """
    if not ks:
        raise UsageError("no k is given; ks is a list such as [16, 256]")
    for k in ks:
        if k is not None:
            check_number("k", k, 1, MOST_COLORS)
        options.dither.check_k(k)
        options.palette.check_room(k)
        if list(ks).count(k) > 1:
            raise UsageError(f"k = {k} is given twice")
    target = options.goals.target
    if target is not None and len(ks) > 1:
        raise UsageError(
            f"target = {target!r} finds one K by itself; give one k, the most there may be, or none"
        )
    return [None if k is None else operator.index(k) for k in ks]


def k_for(k: int | None, pixels: int, kept: int = 0) -> int:
    """K, or its default for an image of `pixels` and for `kept` colors besides those of the image.

    Raises:
        UsageError: K is greater than the number of pixels.
    """
    if k is not None and k > pixels:
        raise UsageError(f"k = {k} is greater than the number of pixels, {pixels}")
    return min(DEFAULT_K, pixels + kept) if k is None else k


def refuse_others(options: Any, honored: Sequence[str], reason: str) -> None:
    """Raise a UsageError if an option that is not `honored` differs from its default.

    >>> refuse_others(AlphaOptions(alpha="keep"), ["matte"], "is not for this")
    """
    for entry in fields(options):
        usual = entry.default if entry.default_factory is MISSING else entry.default_factory()
        if entry.name not in honored and getattr(options, entry.name) != usual:
            raise UsageError(f"--{entry.name.replace('_', '-')} {reason}")
