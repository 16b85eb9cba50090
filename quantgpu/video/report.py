"""The report on a converted clip."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

from quantgpu.batch.report import as_bytes
from quantgpu.metrics.palette_error import decibels


class VideoReport(NamedTuple):
    """Sizes, quality and time of a converted clip."""

    input: str
    output: str
    width: int
    height: int
    frames: int
    palettes: int
    """The number of runs of frames with one palette."""
    colors_in: int
    """The most distinct colors that were counted for one palette."""
    colors_out: int
    """Colors of the largest palette."""
    squared_error: int
    """Squared differences of 8-bit levels, summed over pixels and channels."""
    pixels: int
    """Pixels of all frames."""
    flicker: float
    """Mean change, in levels, of a channel of a pixel that did not change in the source."""
    length: Fraction
    """Seconds for which the clip is shown."""
    bytes_out: int | None
    """Bytes of the output; None for standard output."""
    seconds: float
    """Seconds that the conversion took."""
    notes: list[str]
    """Changes on reading and writing, such as scaling, for people."""
    device: str
    """The device of the work, ``cpu`` or ``gpu:N``."""
    device_notes: list[str]
    """Why the work was done on another device than the requested one."""
    damage: str | None
    """Why the clip ended early; None if it did not."""

    @property
    def mse(self) -> float:
        """Mean squared error of a pixel, summed over the three channels, in squared levels."""
        return self.squared_error / self.pixels

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in decibels; infinite without error."""
        return decibels(self.squared_error, self.pixels)

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON takes them; `psnr` is None for a lossless clip."""
        fields = self._asdict()
        del fields["squared_error"], fields["pixels"]
        psnr = None if math.isinf(self.psnr) else self.psnr
        rate = self.frames / self.seconds if self.seconds else None
        return fields | {
            "length": float(self.length), "mse": self.mse, "psnr": psnr, "frames_per_second": rate,
        }  # fmt: skip

    def as_line(self) -> str:
        """The report in one line, for people."""
        palettes = f" in {self.palettes:,} palettes" if self.palettes > 1 else ""
        quality = (
            f"MSE {self.mse:.2f}, PSNR {self.psnr:.2f} dB" if self.squared_error else "lossless"
        )
        size = "" if self.bytes_out is None else f", {as_bytes(self.bytes_out)}"
        return (
            f"{self.output}: {count_of(self.frames, 'frame')} of {self.width} x {self.height}, "
            f"{self.colors_in:,} colors -> {self.colors_out:,}{palettes}, {quality}, "
            f"flicker {self.flicker:.2f}{size}, {self.seconds:.2f} s"
            f"{'' if self.device == 'cpu' else ' on ' + self.device} "
            f"({self.frames / max(self.seconds, 1e-3):.1f} frames/s)"
        )


def count_of(number: int, what: str) -> str:
    """A number and a noun, in the plural unless the number is 1.

    >>> count_of(1, "frame"), count_of(1200, "frame")
    ('1 frame', '1,200 frames')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"
