"""The interface of a source of frames: frames with their times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.color.alpha import AlphaOptions, visible
from quantgpu.errors import InputError, UsageError


def channels_of(frames: Frames, alpha: str) -> int:
    """The channels of frames, 3 or 4, after transparency is treated by a row of `ALPHAS`."""
    return 4 if frames.channels == 4 and alpha != "flatten" else 3


def with_alpha(pixels: Any, options: AlphaOptions, channels: int) -> Any:
    """Treat the transparency of pixels, (H, W, 3 | 4) uint8.

    Returns:
        (H, W, channels) uint8, C-contiguous.
    """
    if pixels.shape[2] == 3:
        return pixels
    blended = visible(pixels, options.alpha, options.matte)
    if blended.shape[2] < channels:
        opaque = np.full((*blended.shape[:2], 1), 255, np.uint8)
        blended = np.concatenate([blended, opaque], axis=2)
    return np.ascontiguousarray(blended)


DEFAULT_RATE = Fraction(25)
"""Frames per second of pictures without a given rate, as in ffmpeg."""


class Frame(NamedTuple):
    """A picture with its time and duration."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB or (H, W, 4) RGBA with straight alpha, C-contiguous."""
    time: Fraction
    """Seconds from the start of the clip to the appearance of the picture."""
    duration: Fraction
    """Seconds for which the picture is shown, above 0."""


@dataclass
class Frames:
    """The frames of a source in the order of their times: an iterable context manager."""

    name: str
    """The source, as messages call it."""
    width: int
    """Columns of every frame."""
    height: int
    """Rows of every frame."""
    channels: int
    """Channels of every frame: 4 if any pixel of any frame may be not opaque, else 3."""
    count: int | None
    """The number of frames, near enough for a progress bar; None if unknown."""
    rate: Fraction | None
    """Frames per second; None if durations vary or the rate is unknown."""
    loop: int | None
    """How often the animation is shown, 0 for without end; None for a source without a count."""
    notes: list[str]
    """Changes on reading, for people; grows while frames are read."""
    read: Callable[[Fraction], Iterator[Frame]]
    """From a time in seconds to the frames from the one shown at that time on; earlier frames may
    come before."""
    close: Callable[[], None] = lambda: None
    rereadable: bool = True
    """Whether the frames can be iterated over more than once."""
    files: tuple[str, ...] = ()
    """The files of a source of several pictures; empty for a single file."""
    broken: str | None = field(default=None, init=False)
    """Why the latest iteration ended before the end of the source; None if it did not."""
    begun: bool = field(default=False, init=False)
    """Whether reading has begun."""

    def __enter__(self) -> Frames:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        """The frames; a damaged source ends early, with the reason in `broken`.

        Raises:
            InputError: The source has no frame.
        """
        self.broken, self.begun, delivered = None, True, False
        try:
            for frame in self.read(Fraction(0)):
                yield frame
                delivered = True
        except InputError as error:
            if not delivered:
                raise
            self.broken = str(error)
            return
        if not delivered:
            raise InputError(f"{self.name}: no frames in the time that was asked for")


MOST_SECONDS = 10_000_000
"""Most seconds of an option: some 115 days."""

MOST_DENOMINATOR = 1_000_000
"""The greatest denominator of seconds, and of frames per second."""


def parse_seconds(
    value: Fraction | float | None, option: str, least: Fraction, most: int | None
) -> Fraction | None:
    """An option's number as a fraction, exact in decimal: 29.97 is 2997/100, not 30000/1001.

    `most` is `MOST_SECONDS` when it is None. Denominators are at most a million, as files hold no
    greater ones: 29.97002997 is 30000/1001.

    Raises:
        UsageError: The number is not finite, or outside `least`..`most`.
    """
    if value is None:
        return None
    if isinstance(value, Fraction) or np.isfinite(value):
        exact = Fraction(str(value)) if isinstance(value, float) else Fraction(value)
        if least <= exact <= (MOST_SECONDS if most is None else most):
            return max(exact.limit_denominator(MOST_DENOMINATOR), least)
    if most is None and isinstance(value, int | float | Fraction) and not value > MOST_SECONDS:
        raise UsageError(f"{option} {value} is below {float(least):g}")
    raise UsageError(
        f"{option} {value} is outside {float(least):g}..{MOST_SECONDS if most is None else most}"
    )


def with_times(
    pictures: Iterator[tuple[NDArray[np.uint8], Fraction]], last: Callable[[], Fraction]
) -> Iterator[Frame]:
    """Frames of pictures and times: each lasts until the next, the last for `last()` seconds.

    If a picture's time is not after that of the picture before, the latter lasts as long as its
    own predecessor.
    """
    held: tuple[NDArray[np.uint8], Fraction] | None = None
    step, failure = Fraction(0), None
    try:
        for pixels, time in pictures:
            if held is not None and time <= held[1]:
                time = held[1] + (step or last())
            if held is not None:
                step = time - held[1]
                yield Frame(*held, step)
            held = pixels, time
    except InputError as error:
        failure = error
    if held is not None:
        yield Frame(*held, last())
    if failure is not None:
        raise failure
