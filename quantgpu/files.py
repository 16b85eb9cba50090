"""From input files to output files, one at a time, and what is said about each."""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from quantgpu.decode import read_image, reading
from quantgpu.device import Progress
from quantgpu.errors import InputError, UsageError
from quantgpu.indexed import Indexed
from quantgpu.metadata import HOLDERS, METADATA, left_out
from quantgpu.output import (
    FORMATS,
    Format,
    check_colors,
    check_sides,
    check_target,
    encode,
    format_for,
    replacing,
    writing,
)
from quantgpu.pipeline import DEFAULT_K, quantize
from quantgpu.transparency import HELD, fitted

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
    metadata: str = "keep"
    """What is written beside the pixels, a row of `METADATA`."""

    def of(self, name: str, tag: int | str | None) -> str:
        """The output for the input `name`; NAME-K.png, or with another tag than K."""
        if self.output is not None:
            return self.output
        if name == STREAM and self.folder is None:
            return STREAM
        source = Path("stdin" if name == STREAM else name)
        folder = source.parent if self.folder is None else self.folder
        return str(folder / f"{source.stem}-{DEFAULT_K if tag is None else tag}.png")


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
    device: str
    device_notes: list[str]

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
            f"{as_bytes(self.bytes_out)}, {sum(self.seconds.values()):.2f} s"
            f"{'' if self.device == 'cpu' else ' on ' + self.device} ({stages})"
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


def identity(path: str) -> Any:
    """What tells one file from another, whatever names it goes by."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


class Work(NamedTuple):
    """What is done with every image."""

    convert: Callable[..., Indexed]
    """Called with an image and `progress`."""
    k: int | None
    """The colors of the result; None for what `quantize` takes then."""
    tag: int | str | None
    """What follows NAME in the names of outputs: K if None."""
    opening: dict[str, Any]
    """Options of `read_image`."""
    alpha: str = "keep"
    """What becomes of transparency at most, a row of `ALPHAS`, because of a given palette."""


def quantize_file(
    name: str,
    destination: Destination,
    opening: dict[str, Any],
    options: dict[str, Any],
    progress: Progress,
) -> Report:
    """Read, quantize and write one image; see `convert_file`."""
    return convert_file(name, destination, quantizing(options, opening), progress)


def quantizing(options: dict[str, Any], opening: dict[str, Any]) -> Work:
    """`quantize` with options, of images read with options, as work."""
    return Work(partial(quantize, **options), options["k"], options["k"], opening)


def convert_file(name: str, destination: Destination, work: Work, progress: Progress) -> Report:
    """Read, convert and write one image.

    Raises:
        QuantgpuError: Anything that the user can mend; then nothing was written.
    """
    progress("read", 0)
    started = time.perf_counter()
    source = standard_input() if name == STREAM else name
    with reading(name):
        bytes_in = (
            len(source.getbuffer()) if isinstance(source, io.BytesIO) else os.path.getsize(name)
        )
    output = destination.of(name, work.tag)
    form = check_output(output, work.k, destination.force)
    opening, reasons = opening_for(form, work)
    image, notes, metadata, effective = read_image(source, **opening)
    metadata = METADATA[destination.metadata](metadata)
    notes += [reason for option, reason in reasons.items() if option in effective]
    notes += left_out(form.name, metadata)
    if image.mode == "RGBA" and opening.get("alpha") == "keep" and opening.get("matte"):
        notes.append("--matte has no effect with --alpha keep; use binary or flatten")
    width, height = image.size
    with naming(name):
        check_sides(form, width, height)
    seconds = {"read": time.perf_counter() - started}

    with naming(name):
        result = work.convert(image, progress=progress)
    del image
    if 0 < form.entries < len(result.palette):
        notes.append(
            f"{len(result.palette):,} colors are written as true color, as palettes of {form.name} "
            f"hold {form.entries}; .npz keeps indices"
        )
    seconds |= {stage: t for stage, t in result.seconds.items() if stage != "read"}

    progress("write", 0)
    started = time.perf_counter()
    written = result.index, result.palette.colors, form
    if output == STREAM:
        stream = io.BytesIO()
        bytes_out = encode(*written, stream, destination.compress_level, metadata)
        with writing("standard output"):
            sys.stdout.buffer.write(stream.getbuffer())
            sys.stdout.buffer.flush()
    else:
        with replacing(Path(output), destination.force) as file:
            bytes_out = encode(*written, file, destination.compress_level, metadata)
    seconds["write"] = time.perf_counter() - started
    return Report(
        *(name, output, width, height, result.colors_in, len(result.palette)),
        *(result.mse, result.psnr, bytes_in, bytes_out, seconds, notes),
        *(result.device, result.notes),
    )


def opening_for(form: Format, work: Work) -> tuple[dict[str, Any], dict[str, str]]:
    """Options of `read_image` for a format, and the reasons for which they are others."""
    opening, reasons = dict(work.opening), {}
    if opening.get("icc") == "keep" and "profile" not in HOLDERS[form.name].fields:
        opening["icc"], reasons["icc"] = "convert", f"{form.name} holds no color profile"
    asked = opening.get("alpha", "keep")
    for holder, limit in ((form.name, form.alpha), ("the palette", work.alpha)):
        if fitted(asked, limit) != asked:
            opening["alpha"] = fitted(opening.get("alpha", asked), limit)
            reasons["alpha"] = f"{holder} holds {HELD[limit]}"
    return opening, reasons


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """A UsageError inside begins with the name of the image that it is about."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def standard_input() -> io.BytesIO:
    """All of standard input."""
    if sys.stdin is None:
        raise InputError("standard input: is closed")
    with reading("standard input"):
        return io.BytesIO(sys.stdin.buffer.read())


def check_output(output: str, k: int | None, force: bool) -> Format:
    """The output's format, if it may be written: found out before any work is done."""
    if output == STREAM and (sys.stdout is None or sys.stdout.isatty()):
        raise UsageError("standard output is closed or a terminal; name a file with -o FILE")
    form = FORMATS[".png"] if output == STREAM else format_for(output)
    check_colors(form, 1 if k is None else k)
    if output != STREAM:
        check_target(Path(output), force)
    return form
