"""Animated GIF files, written frame by frame in constant memory.

Pillow writes headers, color tables and compressed pixels. This module decides the contents of a
frame: the smallest rectangle around all changed pixels, with one transparent palette entry for
unchanged pixels in the rectangle. Measured on bigbuckbunny (1280 x 720, 255 colors, no dithering),
the first 40 frames: all pixels 19.1 MB; the transparent entry for every unchanged pixel 14.4 MB;
only for runs of at least 2, 3, 4 or 6 unchanged pixels 14.5, 14.5, 14.5, 14.6 MB; not after a
changed pixel of the same color 14.6 MB. So every unchanged pixel gets the transparent entry, with
error diffusion, too.
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

DISPOSE_KEEP, DISPOSE_CLEAR = 1, 2
"""Codes for a frame before the next: it stays, or its rectangle becomes transparent."""

HUNDREDTHS = 100
"""Units of time in a second."""

SHORTEST_DELAY = 2
"""Browsers show frames of fewer hundredths of a second for ten."""

LONGEST_HUNDREDTHS = 65_535
"""Most hundredths of a second of a frame."""

LONG_FRAMES = "frames of more than 655.35 s are shown for that long, as GIF holds no more"

TABLE_ENTRIES = 256
"""Most entries of a color table."""


class Gif:
    """A GIF file that grows by frames."""

    def __init__(self, stream: IO[bytes], clip: ClipInfo) -> None:
        self.stream = stream
        self.clip = clip
        self.time = Fraction(0)
        """Seconds until the end of the latest frame."""
        self.delays = 0
        """The sum of all written delays, in hundredths of a second."""
        self.table: NDArray[np.uint8] | None = None
        """The global color table: the palette of the first frame."""
        self.palette: NDArray[np.uint8] | None = None
        """The palette of the latest frame."""
        self.shown: NDArray[Any] | None = None
        """The indices of the latest frame."""

    def write(self, index: NDArray[Any], palette: NDArray[np.uint8], duration: Fraction) -> None:
        """Add a frame; see `base.Write`."""
        if self.table is None:
            self.table = palette.copy()
            self.begin(index)
        (left, top, right, bottom), pixels, entry = self.difference(index, palette)
        options: dict[str, Any] = {} if entry is None else {"transparency": entry}
        options["disposal"] = DISPOSE_CLEAR if self.clip.transparent else DISPOSE_KEEP
        options["include_color_table"] = not is_same_palette(palette, self.table)
        options["duration"] = self.hundredths(duration) * 10
        image = with_table(np.ascontiguousarray(pixels[top:bottom, left:right]), palette)
        parts = GifImagePlugin.getdata(image, (left, top), **options)
        self.stream.writelines(parts)
        parts.clear()  # Pillow holds the list in a cycle, which would keep many frames in memory
        self.shown, self.palette = index.copy(), palette.copy()

    def begin(self, index: NDArray[Any]) -> None:
        """Write the header with the global color table. `index`: that of the first frame."""
        info: dict[str, Any] = {"optimize": False, "duration": 1}
        if self.clip.loop != 1:
            info["loop"] = max(self.clip.loop - 1, 0)
        assert self.table is not None
        parts, _ = GifImagePlugin.getheader(with_table(index, self.table), info=info)
        self.stream.writelines(parts)

    def difference(
        self, index: NDArray[Any], palette: NDArray[np.uint8]
    ) -> tuple[tuple[int, int, int, int], NDArray[Any], int | None]:
        """The changed rectangle, the frame's indices, and the transparent entry, None without one.

        The rectangle is (left, top, right, bottom).
        """
        height, width = index.shape
        if self.clip.transparent:
            clear = len(alphas_of(palette)) - 1
            return (*bounds(index != clear),), index, clear if clear >= 0 else None
        if self.shown is None or self.palette is None:
            return (0, 0, width, height), index, None
        if is_same_palette(palette, self.palette):
            changed = index != self.shown
        else:
            changed = pack_colors(palette)[index] != pack_colors(self.palette)[self.shown]
        if len(palette) == TABLE_ENTRIES:
            return bounds(changed), index, None
        return bounds(changed), np.where(changed, index, len(palette)), len(palette)

    def hundredths(self, duration: Fraction) -> int:
        """The delay of the next frame, rounded so that rounding errors do not add up."""
        self.time += duration
        delay = max(round(self.time * HUNDREDTHS) - self.delays, 1)
        self.delays += delay
        if delay < SHORTEST_DELAY and not self.clip.notes:
            self.clip.notes.append(
                "frames of less than 0.02 s, which most programs show for 0.1 s; use --fps 50"
            )
        if delay > LONGEST_HUNDREDTHS and LONG_FRAMES not in self.clip.notes:
            self.clip.notes.append(LONG_FRAMES)
        return min(delay, LONGEST_HUNDREDTHS)


def is_same_palette(palette: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two palettes are equal."""
    return palette is other or np.array_equal(palette, other)


def pack_colors(palette: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Pack the colors of a palette, (K, 3 | 4), into one number each, (K,), without alpha."""
    red, green, blue = palette[:, :3].T.astype(np.uint32)
    numbers: NDArray[np.uint32] = red << 16 | green << 8 | blue
    return numbers


def with_table(index: NDArray[Any], palette: NDArray[np.uint8]) -> Image.Image:
    """A Pillow image of mode P, with one more entry than the palette if there is room."""
    image = Image.fromarray(index.astype(np.uint8, copy=False))
    image.putpalette((palette[:, :3].tobytes() + b"\0\0\0")[: 3 * TABLE_ENTRIES])
    return image


@contextlib.contextmanager
def gif(stream: IO[bytes], clip: ClipInfo) -> Iterator[Write]:
    """Begin a GIF file."""
    file = Gif(stream, clip)
    yield file.write
    stream.write(b";")
