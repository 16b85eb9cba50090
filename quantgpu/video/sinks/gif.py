"""Animated GIF files, written frame by frame in constant memory.

Pillow writes headers, color tables and compressed pixels; here is decided what a frame consists of:
the smallest rectangle with all that changed, and in it one entry of the palette for pixels that
stay as they are. Measured on bigbuckbunny (1280 x 720, 255 colors, no dithering), the first 40
frames: all pixels 19.1 MB; that entry for every pixel that stays 14.4 MB; only for runs of at least
2, 3, 4 or 6 such pixels 14.5, 14.5, 14.5, 14.6 MB; not where the same color began with a pixel that
changed 14.6 MB. So it is used for all; with error diffusion, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

from quantgpu.io.encode import alphas_of
from quantgpu.video.sinks.base import bounds

if TYPE_CHECKING:
    from quantgpu.video.sinks.base import ClipInfo, Write

KEEP, CLEAR = 1, 2
"""What becomes of a frame before the next: it stays, or its rectangle becomes transparent."""

HUNDREDTHS = 100
"""Times are told in hundredths of a second."""

SHORTEST = 2
"""Browsers show frames of fewer hundredths of a second for ten."""

LONGEST = 65_535
"""Hundredths of a second that a frame can be shown."""

LONG = "frames of more than 655.35 s are shown for that long, as GIF holds no more"

ENTRIES = 256
"""Of a color table."""


class Gif:
    """A GIF file that grows by frames."""

    def __init__(self, stream: IO[bytes], clip: ClipInfo) -> None:
        self.stream = stream
        self.clip = clip
        self.time = Fraction(0)
        """Seconds until the end of the latest frame."""
        self.told = 0
        """The same as the file has it, in hundredths."""
        self.table: NDArray[np.uint8] | None = None
        """The palette that the file begins with."""
        self.palette: NDArray[np.uint8] | None = None
        """The palette of the latest frame."""
        self.shown: NDArray[Any] | None = None
        """The indices of the latest frame."""

    def write(self, index: NDArray[Any], palette: NDArray[np.uint8], duration: Fraction) -> None:
        """Add a frame; see `sinks.Write`."""
        if self.table is None:
            self.table = palette.copy()
            self.begin(index)
        (left, top, right, bottom), pixels, entry = self.difference(index, palette)
        options: dict[str, Any] = {} if entry is None else {"transparency": entry}
        options["disposal"] = CLEAR if self.clip.transparent else KEEP
        options["include_color_table"] = not same(palette, self.table)
        options["duration"] = self.hundredths(duration) * 10
        image = with_table(np.ascontiguousarray(pixels[top:bottom, left:right]), palette)
        parts = GifImagePlugin.getdata(image, (left, top), **options)
        self.stream.writelines(parts)
        parts.clear()  # Pillow holds the list in a cycle, which would keep many frames in memory
        self.shown, self.palette = index.copy(), palette.copy()

    def begin(self, index: NDArray[Any]) -> None:
        """Write what comes before the frames."""
        info: dict[str, Any] = {"optimize": False, "duration": 1}
        if self.clip.loop != 1:
            info["loop"] = max(self.clip.loop - 1, 0)
        assert self.table is not None
        parts, _ = GifImagePlugin.getheader(with_table(index, self.table), info=info)
        self.stream.writelines(parts)

    def difference(
        self, index: NDArray[Any], palette: NDArray[np.uint8]
    ) -> tuple[tuple[int, int, int, int], NDArray[Any], int | None]:
        """What of a frame is drawn: a rectangle, indices, and the entry of what is not drawn."""
        height, width = index.shape
        if self.clip.transparent:
            clear = len(alphas_of(palette)) - 1
            return (*bounds(index != clear),), index, clear if clear >= 0 else None
        if self.shown is None or self.palette is None:
            return (0, 0, width, height), index, None
        if same(palette, self.palette):
            changed = index != self.shown
        else:
            changed = packed(palette)[index] != packed(self.palette)[self.shown]
        if len(palette) == ENTRIES:
            return bounds(changed), index, None
        return bounds(changed), np.where(changed, index, len(palette)), len(palette)

    def hundredths(self, duration: Fraction) -> int:
        """How long a frame is shown, such that rounding errors do not add up."""
        self.time += duration
        delay = max(round(self.time * HUNDREDTHS) - self.told, 1)
        self.told += delay
        if delay < SHORTEST and not self.clip.notes:
            self.clip.notes.append(
                "frames of less than 0.02 s, which most programs show for 0.1 s; use --fps 50"
            )
        if delay > LONGEST and LONG not in self.clip.notes:
            self.clip.notes.append(LONG)
        return min(delay, LONGEST)


def same(palette: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two palettes are the same."""
    return palette is other or np.array_equal(palette, other)


def packed(palette: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """One number for each color."""
    red, green, blue = palette[:, :3].T.astype(np.uint32)
    numbers: NDArray[np.uint32] = red << 16 | green << 8 | blue
    return numbers


def with_table(index: NDArray[Any], palette: NDArray[np.uint8]) -> Image.Image:
    """A Pillow image of mode P with a palette that has one more entry, if it can."""
    image = Image.fromarray(index.astype(np.uint8, copy=False))
    image.putpalette((palette[:, :3].tobytes() + b"\0\0\0")[: 3 * ENTRIES])
    return image


@contextlib.contextmanager
def gif(stream: IO[bytes], clip: ClipInfo) -> Iterator[Write]:
    """Begin a GIF file."""
    file = Gif(stream, clip)
    yield file.write
    stream.write(b";")
