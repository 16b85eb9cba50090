"""From input files to output files, one at a time, and what is said about each."""

from __future__ import annotations

import io
import math
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from quantgpu.efforts import Progress
from quantgpu.errors import OutputError, UsageError
from quantgpu.image import FORMATS, Format, encode, format_for, read_image, refuse_to_overwrite, replacing
from quantgpu.pipeline import DEFAULT_K, quantize

STREAM = "-"
"""Standard input or standard output."""


class Destination(NamedTuple):
    """Where results go, and how."""

    output: str | None
    """A file, `STREAM`, or None for NAME-K.png."""
    folder: Path | None
    """Where NAME-K.png is written; None for beside the input."""
    force: bool
    compress_level: int

    def of(self, name: str, k: int | None) -> str:
        """The output for the input `name`."""
        if self.output is not None:
            return self.output
        if name == STREAM and self.folder is None:
            return STREAM
        source = Path("stdin" if name == STREAM else name)
        folder = source.parent if self.folder is None else self.folder
        return str(folder / f"{source.stem}-{DEFAULT_K if k is None else k}.png")


class Report(NamedTuple):
    """What was done to one image."""

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

    def as_json(self) -> dict[str, Any]:
        """The fields; `psnr` is None where there is no error at all."""
        fields = self._asdict()
        fields["psnr"] = None if math.isinf(self.psnr) else self.psnr
        return fields

    def as_line(self) -> str:
        """One line for people."""
        stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in self.seconds.items())
        quality = "lossless" if self.mse == 0 else f"MSE {self.mse:.2f}, PSNR {self.psnr:.2f} dB"
        return (
            f"{self.output}: {self.width} x {self.height}, {self.colors_in:,} colors -> "
            f"{self.colors_out:,}, {quality}, {as_bytes(self.bytes_in)} -> "
            f"{as_bytes(self.bytes_out)}, {sum(self.seconds.values()):.2f} s ({stages})"
        )


def as_bytes(count: int) -> str:
    """A number of bytes with three digits.

    >>> as_bytes(999), as_bytes(31_384_431)
    ('999 B', '31.4 MB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def quantize_file(
    name: str,
    destination: Destination,
    max_pixels: int,
    options: dict[str, Any],
    progress: Progress,
) -> Report:
    """Read, quantize and write one image.

    Raises:
        QuantgpuError: Anything that the user can mend; then nothing was written.
    """
    output = destination.of(name, options["k"])
    form = check_output(name, output, options["k"], destination.force)
    seconds: dict[str, float] = {}

    progress("read", 0)
    started = time.perf_counter()
    source = io.BytesIO(sys.stdin.buffer.read()) if name == STREAM else name
    image, notes = read_image(source, max_pixels)
    bytes_in = source.getbuffer().nbytes if isinstance(source, io.BytesIO) else os.path.getsize(name)
    width, height = image.size
    if max(width, height) > form.side:
        raise UsageError(
            f"{output}: {width} x {height} is more than {form.name} holds "
            f"({form.side} pixels a side); write a .png instead"
        )
    seconds["read"] = time.perf_counter() - started

    result = quantize(image, progress=progress, **options)
    del image
    seconds |= {stage: t for stage, t in result.seconds.items() if stage != "read"}

    progress("write", 0)
    started = time.perf_counter()
    if output == STREAM:
        stream = io.BytesIO()
        encode(result.index, result.palette.colors, form, stream, destination.compress_level)
        bytes_out = sys.stdout.buffer.write(stream.getbuffer())
        sys.stdout.buffer.flush()
    else:
        with replacing(Path(output), destination.force) as file:
            encode(result.index, result.palette.colors, form, file, destination.compress_level)
            bytes_out = file.tell()
    seconds["write"] = time.perf_counter() - started
    return Report(
        *(name, output, width, height, result.colors_in, len(result.palette)),
        *(result.mse, result.psnr, bytes_in, bytes_out, seconds, notes),
    )


def check_output(name: str, output: str, k: int | None, force: bool) -> Format:
    """The output's format, if it may be written: found out before any work is done."""
    if output == STREAM:
        if sys.stdout.isatty():
            raise UsageError("standard output is a terminal; name a file with -o FILE")
        return FORMATS[".png"]
    form = format_for(output)
    if k is not None and k > form.colors:
        holders = [suffix for suffix, other in FORMATS.items() if other.colors >= k]
        hint = f"; write {' or '.join(holders)} instead" if holders else ""
        raise UsageError(f"k = {k} is more than the {form.colors} colors of {form.name}{hint}")
    path = Path(output)
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent}: no such folder; create it first")
    if name != STREAM and path.exists() and os.path.exists(name) and path.samefile(name):
        raise UsageError(f"{output}: is the input itself; the original is never replaced")
    refuse_to_overwrite(path, force)
    return form
