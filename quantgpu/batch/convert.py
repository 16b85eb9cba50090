"""From input files to output files, one at a time, and what is said about each."""

from __future__ import annotations

import io
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from quantgpu.batch.destination import Destination, check_output
from quantgpu.batch.report import Report
from quantgpu.clustering.target import parse_target
from quantgpu.color.alpha import HELD, fitted
from quantgpu.indexed import Indexed
from quantgpu.io.atomic import replacing, writing
from quantgpu.io.decode import read_image, reading
from quantgpu.io.encode import Format, check_sides, encode
from quantgpu.io.metadata import HOLDERS, METADATA, left_out
from quantgpu.io.streams import STREAM, naming, read_standard_input
from quantgpu.options import DEFAULT_K
from quantgpu.progress import Progress


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


def quantizing(
    quantize_each: Callable[..., list[Indexed]],
    ks: Sequence[int | None],
    options: dict[str, Any],
    opening: dict[str, Any],
) -> Work:
    """`quantize_each` to each K with options, of images read with options, as work."""
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
