"""Ways to treat transparent pixels: one table, from the name of a way to its function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantgpu.arrays.namespace import array_module
from quantgpu.errors import UsageError, check_choice, check_number

Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255 each."""

WHITE = (255, 255, 255)

VISIBLE = 128
"""With ``binary``, pixels of this alpha and above stay."""


def keep(image: Image.Image, matte: Color | None) -> tuple[Image.Image, str]:
    """The image as it is."""
    return image, ""


def binary(image: Image.Image, matte: Color | None) -> tuple[Image.Image, str]:
    """Every pixel opaque or fully transparent; partly transparent ones are laid on a `matte`."""
    alphas = image.getchannel("A")
    if not any(alphas.histogram()[1:255]):
        return image, ""
    image = image.copy() if matte is None else laid_on(image, matte)
    image.putalpha(alphas.point([255 * (alpha >= VISIBLE) for alpha in range(256)]))
    return image, f"partly transparent pixels become opaque{on(matte)} or fully transparent"


def flatten(image: Image.Image, matte: Color | None) -> tuple[Image.Image, str]:
    """Every pixel laid on the `matte`, white if None."""
    matte = WHITE if matte is None else matte
    return laid_on(image, matte), f"transparent pixels laid{on(matte)}"


ALPHAS: dict[str, Callable[[Image.Image, Color | None], tuple[Image.Image, str]]] = {
    "keep": keep,
    "binary": binary,
    "flatten": flatten,
}
"""Name to (RGBA image, matte) → (RGBA image, what was changed); the first keeps most."""


@dataclass(frozen=True, kw_only=True)
class AlphaOptions:
    """How transparent pixels are treated.

    Raises:
        UsageError: There is no such way, or the matte is no color.
    """

    alpha: str = "keep"
    """A row of `ALPHAS`."""
    matte: Color | None = None
    """What partly transparent pixels are laid on; ``flatten`` takes white for None."""

    def __post_init__(self) -> None:
        check_choice("alpha", self.alpha, ALPHAS)
        check_matte(self.matte)

    @property
    def backdrop(self) -> Color | None:
        """The color that partly transparent pixels are laid on; None where none are."""
        if self.alpha == "keep":
            return None
        return self.matte or (WHITE if self.alpha == "flatten" else None)


ALPHA_LIMITS = {
    "keep": "all transparent colors",
    "binary": "fully transparent colors only",
    "flatten": "no transparent colors",
}
"""A way of `ALPHAS` to what is held by that which can hold no more."""


def limited(alpha: str, limit: str) -> str:
    """That of two ways of `ALPHAS` which keeps less."""
    return max(alpha, limit, key=list(ALPHAS).index)


def alpha_of(colors: NDArray[np.uint8]) -> str:
    """The way of `ALPHAS` that keeps no more than a palette, (K, 3) or (K, 4), can show."""
    alphas = colors[:, 3:].ravel()
    if (alphas == 255).all():
        return "flatten"
    return "keep" if ((alphas > 0) & (alphas < 255)).any() else "binary"


def apply_alpha(
    image: Image.Image, alpha: str, matte: Color | None, notes: list[str]
) -> Image.Image:
    """An RGBA image after a way of `ALPHAS`; in mode RGB where every pixel is opaque then."""
    if is_opaque(image):
        return image.convert("RGB")
    image, note = ALPHAS[alpha](image, matte)
    if note:
        notes.append(note)
    return image.convert("RGB") if is_opaque(image) else image


def is_opaque(image: Image.Image) -> bool:
    """Whether no pixel of an RGBA image is transparent at all."""
    return image.getchannel("A").getextrema()[0] == 255


def laid_on(image: Image.Image, matte: Color) -> Image.Image:
    """An RGBA image over a background, opaque."""
    canvas = Image.new("RGBA", image.size, (*matte, 255))
    canvas.alpha_composite(image)
    return canvas


def visible(colors: Any, alpha: str, matte: Color | None) -> Any:
    """Treat transparency as `apply_alpha` does, for (…, 4) uint8 colors in arrays of any module."""
    xp = array_module(colors)
    opacity = colors[..., 3:]
    if int(opacity.min()) == 255:
        return colors[..., :3]
    if alpha != "keep" and not (alpha == "binary" and matte is None):
        under = xp.asarray(np.array(WHITE if matte is None else matte, np.uint32))
        share = opacity.astype(xp.uint32)
        laid = (2 * (colors[..., :3] * share + under * (255 - share)) + 255) // 510
        colors = xp.concatenate([laid.astype(xp.uint8), opacity], axis=-1)
    if alpha == "flatten" or (alpha == "binary" and int(opacity.min()) >= VISIBLE):
        return colors[..., :3]
    if alpha == "binary":
        seen = xp.where(opacity >= VISIBLE, 255, 0).astype(xp.uint8)
        return xp.concatenate([colors[..., :3], seen], axis=-1)
    return colors


def on(matte: Color | None) -> str:
    """The words for a matte."""
    return "" if matte is None else " on #{:02x}{:02x}{:02x}".format(*matte)


def check_matte(matte: Any) -> None:
    """Raise unless a matte is None or red, green and blue."""
    if matte is None:
        return
    if isinstance(matte, str) or len(matte) != 3:
        raise UsageError(f"matte = {matte!r} is not red, green and blue, such as (255, 255, 255)")
    for level in matte:
        check_number("matte", level, 0, 255)
