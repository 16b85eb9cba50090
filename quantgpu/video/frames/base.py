"""What a source of frames gives: frames with their times."""

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
    """The channels of frames after a way of `ALPHAS`."""
    return 4 if frames.channels == 4 and alpha != "flatten" else 3


def with_alpha(pixels: Any, options: AlphaOptions, channels: int) -> Any:
    """Pixels, (H, W, 3 | 4), after what becomes of transparency, with so many channels."""
    if pixels.shape[2] == 3:
        return pixels
    found = visible(pixels, options.alpha, options.matte)
    if found.shape[2] < channels:
        opaque = np.full((*found.shape[:2], 1), 255, np.uint8)
        found = np.concatenate([found, opaque], axis=2)
    return np.ascontiguousarray(found)


DEFAULT_RATE = Fraction(25)
"""Frames per second of pictures that say none, as ffmpeg takes them."""


class Frame(NamedTuple):
    """A picture and when it is shown."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB or (H, W, 4) RGBA with straight alpha, C-contiguous."""
    time: Fraction
    """When it appears, in seconds from the start."""
    duration: Fraction
    """For how many seconds it is shown, above 0."""


@dataclass
class Frames:
    """Frames in the order of their times, as a context manager that can be iterated over."""

    name: str
    """What messages call the source."""
    width: int
    height: int
    channels: int
    """Of every frame: 4 if some pixel of some frame may be not opaque, else 3."""
    count: int | None
    """How many frames there are, if it is known; near enough for a progress bar."""
    rate: Fraction | None
    """Frames per second; None if they vary or it is not known."""
    loop: int | None
    """How often an animation is shown, 0 for without end; None for what says nothing of it."""
    notes: list[str]
    """What was changed; grows as frames are read."""
    read: Callable[[Fraction], Iterator[Frame]]
    """All frames from the one on that is shown at so many seconds; earlier ones may come, too."""
    close: Callable[[], None] = lambda: None
    rereadable: bool = True
    """Whether the frames can be iterated over more than once."""
    files: tuple[str, ...] = ()
    """What is read, if these are several files; else it is the source."""
    broken: str | None = field(default=None, init=False)
    """Why the latest iteration ended before the end of the source; None if it did not."""
    begun: bool = field(default=False, init=False)
    """Whether a frame was asked for."""

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
        """The frames; where the source is damaged they end early, and `broken` tells why.

        Raises:
            InputError: There is not one frame.
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
"""Seconds that an option may name: some 115 days."""

MOST_DENOMINATOR = 1_000_000
"""Of numbers of seconds, and of frames a second."""


def seconds(
    value: Fraction | float | None, option: str, least: Fraction, most: int | None
) -> Fraction | None:
    """An option's number as a fraction; 29.97 is the number of that name, not 30000/1001.

    `most` is `MOST_SECONDS` when it is None. Denominators are at most a million, as files hold no
    others: 29.97002997 is 30000/1001.
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


def timed(
    pictures: Iterator[tuple[NDArray[np.uint8], Fraction]], last: Callable[[], Fraction]
) -> Iterator[Frame]:
    """Frames of pictures with their times: each lasts until the next, the last as `last` says.

    A picture that comes no later than the one before it follows it by
    as much as that followed its own.
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
