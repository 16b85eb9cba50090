"""The report on a converted file: one line, or JSON."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from quantgpu.clustering.target import parse_target


class Report(NamedTuple):
    """The result of converting one image to one output."""

    input: str
    output: str
    width: int
    height: int
    colors_in: int
    colors_out: int
    mse: float
    psnr: float
    bytes_in: int
    bytes_out: int
    seconds: dict[str, float]
    notes: list[str]
    device: str
    device_notes: list[str]
    skipped: bool
    """Whether the output was not written, as it is larger than the input."""
    target: str | None
    """The target that the smallest K had to meet, such as ``psnr=38``; None without one."""
    curve: list[dict[str, Any]]
    """For each K that was tried for the target, ascending, K and its quality."""

    def as_json(self) -> dict[str, Any]:
        """The fields as values for JSON; `psnr` is None for a lossless result."""
        fields = self._asdict()
        fields["psnr"] = None if math.isinf(self.psnr) else self.psnr
        return fields

    def as_line(self) -> str:
        """The report as one line for people."""
        if self.skipped:
            return (
                f"{self.output}: not written, as it would be larger than {self.input}: "
                f"{as_bytes(self.bytes_out)} instead of {as_bytes(self.bytes_in)}"
            )
        stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in self.seconds.items())
        quality = f"MSE {self.mse:.2f}, PSNR {self.psnr:.2f} dB"
        if self.mse == 0:  # nearly clear colors may look alike
            quality = "lossless" if self.colors_out >= self.colors_in else "no error to be seen"
        return (
            f"{self.output}: {self.width} x {self.height}, {self.colors_in:,} colors -> "
            f"{self.colors_out:,}, {quality}{self.as_search()}, {as_bytes(self.bytes_in)} -> "
            f"{as_bytes(self.bytes_out)}, {sum(self.seconds.values()):.2f} s"
            f"{'' if self.device == 'cpu' else ' on ' + self.device} ({stages})"
        )

    def as_search(self) -> str:
        """The search for the smallest K, for people; empty without a target."""
        if self.target is None:
            return ""
        target = parse_target(self.target)
        tried = (f"{each['k']:,}: {target.format_value(each[target.name])}" for each in self.curve)
        return f", smallest K for {target} ({', '.join(tried)})"


def as_bytes(count: int) -> str:
    """A number of bytes with three digits.

    >>> as_bytes(999), as_bytes(31_384_431)
    ('999 B', '31.4 MB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"
