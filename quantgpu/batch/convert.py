"""From input files to output files, one at a time, and what is said about each."""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from quantgpu.arrays.device import Progress
from quantgpu.clustering.target import parse_target
from quantgpu.color.alpha import HELD, fitted
from quantgpu.errors import ChangedError, InputError, QualityError, UsageError
from quantgpu.indexed import Indexed
from quantgpu.io.decode import read_image, reading
from quantgpu.io.encode import (
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
from quantgpu.io.metadata import HOLDERS, METADATA, left_out
from quantgpu.options import DEFAULT_K
from quantgpu.pipeline.convert import quantize_each

STREAM = "-"
"""Standard input or standard output."""

K_HERE = "{k}"
"""What becomes K in the name of an output."""


class Destination(NamedTuple):
    """Where results go, and how."""

    output: str | None
    """A file, `STREAM`, or None for NAME-K.png; `K_HERE` in it becomes K."""
    folder: Path | None
    """Where NAME-K.png is written; None for beside the input."""
    force: bool
    compress_level: int
    metadata: str = "keep"
    """What is written beside the pixels, a row of `METADATA`."""
    skip_if_larger: bool = False
    """Write nothing that takes more bytes than the input."""

    def of(self, name: str, tag: int | str) -> str:
        """The output for the input `name`; NAME-K.png, or with another tag than K."""
        if self.output is not None:
            return self.output.replace(K_HERE, str(tag)) if isinstance(tag, int) else self.output
        if name == STREAM and self.folder is None:
            return STREAM
        source = Path("stdin" if name == STREAM else name)
        folder = source.parent if self.folder is None else self.folder
        return str(folder / f"{source.stem}-{tag}.png")

    def check(self, inputs: Sequence[str], ks: Sequence[int | None], target: str | None) -> None:
        """Raise a UsageError unless there is a name for each of the outputs."""
        if self.output is not None and (len(inputs) > 1 or self.folder is not None):
            raise UsageError("-o names one file; use --output-dir alone for several inputs")
        if self.output is not None and K_HERE in self.output and target is not None:
            raise UsageError(
                f"-o {self.output}: K is found by --target; use a name without {K_HERE}"
            )
        if len(ks) == 1:
            return
        if self.output is not None and K_HERE not in self.output:
            raise UsageError(
                f"-o {self.output} is one name for {len(ks)} results; put {K_HERE} in it, as in "
                f"-o out-{K_HERE}.png, or use --output-dir"
            )
        if STREAM in inputs and self.output is None and self.folder is None:
            raise UsageError(
                f"standard output takes one result, not {len(ks)}; use --output-dir, or "
                f"-o out-{K_HERE}.png"
            )


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
    skipped: bool
    """Whether the output was not written, as it is larger than the input."""
    target: str | None
    """What the smallest K was looked for."""
    curve: list[dict[str, Any]]
    """All K that were tried for the target, ascending, and how good each was."""

    def as_json(self) -> dict[str, Any]:
        """The fields; `psnr` is None where there is no error at all."""
        fields = self._asdict()
        fields["psnr"] = None if math.isinf(self.psnr) else self.psnr
        return fields

    def as_line(self) -> str:
        """One line for people."""
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
        """How the smallest K for the target was found, for people."""
        if self.target is None:
            return ""
        target = parse_target(self.target)
        tried = (f"{each['k']:,}: {target.shown(each[target.name])}" for each in self.curve)
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


def identity(path: str) -> Any:
    """What tells one file from another, whatever names it goes by."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


class Work(NamedTuple):
    """What is done with every image."""

    convert: Callable[..., list[Indexed]]
    """Called with an image and `progress`."""
    k: int
    """The most colors of a result that are asked for by number."""
    tags: Sequence[int | str]
    """For each result, what follows NAME in the name of its output: K, or another."""
    opening: dict[str, Any]
    """Options of `read_image`."""
    alpha: str = "keep"
    """What becomes of transparency at most, a row of `ALPHAS`, because of a given palette."""
    target: str | None = None
    """What the smallest K is looked for."""


def quantizing(ks: Sequence[int | None], options: dict[str, Any], opening: dict[str, Any]) -> Work:
    """`quantize` to each K with options, of images read with options, as work."""
    tags: list[int | str] = [DEFAULT_K if k is None else k for k in ks]
    target = options.get("target")
    if target is not None:
        target = str(parse_target(target))
        tags = [target.replace("=", "")]
    most = max(1 if k is None else k for k in ks)
    return Work(partial(quantize_each, ks=ks, **options), most, tags, opening, target=target)


def convert_file(
    name: str,
    destination: Destination,
    work: Work,
    progress: Progress,
    kept: Sequence[str] = (),
) -> Iterator[Report]:
    """Read, convert and write one image, and report on each result once it is written.

    Outputs that are `kept` are neither looked at nor written.

    Raises:
        QuantgpuError: Anything that the user can mend; what was not reported on is not written.
    """
    progress("read", 0)
    started = time.perf_counter()
    source = read_standard_input() if name == STREAM else name
    with reading(name):
        bytes_in = (
            len(source.getbuffer()) if isinstance(source, io.BytesIO) else os.path.getsize(name)
        )
    outputs = [destination.of(name, tag) for tag in work.tags]
    wanted = [output for output in outputs if output not in kept]
    form, *_ = [check_output(output, work.k, destination.force) for output in wanted]
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
        results = work.convert(image, progress=progress)
    del image
    for turn, output in enumerate(outputs):
        result = results.pop(0)
        seconds |= {stage: t for stage, t in result.seconds.items() if stage != "read"}
        if output in kept:
            continue
        progress("write", turn / len(outputs))
        started = time.perf_counter()
        encoded = partial(
            encode, result.index, result.palette.colors, form, level=destination.compress_level,
            metadata=metadata,
        )  # fmt: skip
        with naming(name):
            bytes_out, skipped = write(encoded, output, destination, bytes_in, progress)
        seconds["write"] = time.perf_counter() - started
        yield Report(
            *(name, output, width, height, result.colors_in, len(result.palette)),
            *(result.mse, result.psnr, bytes_in, bytes_out, seconds),
            notes + true_color(form, len(result.palette)),
            *(result.device, result.notes, skipped, work.target),
            curve_of(work.target, result.curve),
        )
        seconds = {}


def true_color(form: Format, colors: int) -> list[str]:
    """A note, if so many colors are more than the format's palettes hold."""
    if not 0 < form.entries < colors:
        return []
    return [
        f"{colors:,} colors are written as true color, as palettes of {form.name} hold "
        f"{form.entries}; .npz keeps indices"
    ]


def curve_of(target: str | None, curve: dict[int, float]) -> list[dict[str, Any]]:
    """`Indexed.curve` for machines; None stands for infinite decibels."""
    if target is None:
        return []
    name = parse_target(target).name
    return [{"k": k, name: None if math.isinf(v) else v} for k, v in curve.items()]


def write(
    encoded: Callable[[IO[bytes]], int],
    output: str,
    destination: Destination,
    bytes_in: int,
    progress: Progress,
) -> tuple[int, bool]:
    """Write what is `encoded` into a stream; its bytes, and whether it was left out as larger.

    Nothing is written if `progress` raises when it is encoded.
    """
    if output != STREAM and not destination.skip_if_larger:
        with replacing(Path(output), destination.force) as file:
            bytes_out = encoded(file)
            progress("write", 1)
            return bytes_out, False
    stream = io.BytesIO()
    bytes_out = encoded(stream)
    progress("write", 1)
    if destination.skip_if_larger and bytes_out > bytes_in:
        return bytes_out, True
    if output == STREAM:
        with writing("standard output"):
            sys.stdout.buffer.write(stream.getbuffer())
            sys.stdout.buffer.flush()
    else:
        with replacing(Path(output), destination.force) as file:
            file.write(stream.getbuffer())
    return bytes_out, False


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
    """Errors inside that do not name the image that they are about begin with its name."""
    try:
        yield
    except (UsageError, QualityError, ChangedError) as error:
        raise type(error)(f"{name}: {error}") from None


def read_standard_input() -> io.BytesIO:
    """All of standard input."""
    if sys.stdin is None:
        raise InputError("standard input: is closed")
    with reading("standard input"):
        return io.BytesIO(sys.stdin.buffer.read())


def check_output(output: str, k: int, force: bool) -> Format:
    """The output's format, if it may be written: found out before any work is done."""
    if output == STREAM and (sys.stdout is None or sys.stdout.isatty()):
        raise UsageError("standard output is closed or a terminal; name a file with -o FILE")
    form = FORMATS[".png"] if output == STREAM else format_for(output)
    check_colors(form, k)
    if output != STREAM:
        check_target(Path(output), force)
    return form
