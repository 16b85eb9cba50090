"""Convert one input file to its output files, and report on each."""

from __future__ import annotations

import io
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from PIL import Image

from quantgpu.batch.destination import Destination, check_output
from quantgpu.batch.report import Report
from quantgpu.clustering.options import DEFAULT_K
from quantgpu.clustering.target import parse_target
from quantgpu.color.alpha import ALPHA_LIMITS, limited
from quantgpu.indexed import Indexed
from quantgpu.io.atomic import atomic_write, translate_write_errors
from quantgpu.io.decode import ReadOptions, translate_read_errors
from quantgpu.io.encode import Format, check_sides, encode
from quantgpu.io.metadata import METADATA, METADATA_SUPPORT, Metadata, note_lost_metadata
from quantgpu.io.streams import STREAM, prefix_errors, read_standard_input
from quantgpu.options import QuantizeOptions
from quantgpu.pipeline.quantize import quantize_with
from quantgpu.progress import Progress


class ConversionJob(NamedTuple):
    """The conversion of every image of a batch."""

    convert: Callable[..., list[Indexed]]
    """Called with an image and `progress`."""
    k: int
    """The most colors of a result that are requested by number."""
    tags: Sequence[int | str]
    """For each result, the tag that follows NAME in the name of its output, such as K."""
    read: ReadOptions
    """Options for reading images."""
    alpha: str = "keep"
    """The transparency that a given palette holds, a row of `ALPHAS`."""
    target: str | None = None
    """The target that the smallest K has to meet, such as ``psnr=38``; None without one."""


def quantize_job(
    ks: Sequence[int | None], options: QuantizeOptions, read: ReadOptions, weights: Any = None
) -> ConversionJob:
    """The job that quantizes every image of a batch to each K."""
    tags: list[int | str] = [DEFAULT_K if k is None else k for k in ks]
    target = options.goals.parsed_target
    if target is not None:
        tags = [str(target).replace("=", "")]
    most = max(1 if k is None else k for k in ks)
    convert = partial(quantize_with, ks=ks, options=options, weights=weights)
    return ConversionJob(convert, most, tags, read, target=None if target is None else str(target))


def convert_file(
    name: str,
    destination: Destination,
    work: ConversionJob,
    progress: Progress,
    kept: Sequence[str] = (),
) -> Iterator[Report]:
    """Read, convert and write one image, and report on each result once it is written.

    Outputs that are `kept` are neither checked nor written.

    Raises:
        QuantgpuError: An error that the user can mend; results without a report are not written.
    """
    progress("read", 0)
    outputs = [destination.of(name, tag) for tag in work.tags]
    wanted = [output for output in outputs if output not in kept]
    source = read_source(name, wanted, destination, work)
    seconds = {"read": source.seconds}
    with prefix_errors(name):
        results = work.convert(source.take_image(), progress=progress)
    for number, output in enumerate(outputs):
        result = results.pop(0)
        seconds |= {stage: t for stage, t in result.seconds.items() if stage != "read"}
        if output in kept:
            continue
        progress("write", number / len(outputs))
        started = time.perf_counter()
        encoded = partial(
            encode, result.index, result.palette.colors, source.form,
            level=destination.compress_level, metadata=source.metadata,
        )  # fmt: skip
        with prefix_errors(name):
            bytes_out, skipped = write_output(encoded, output, destination, source.bytes, progress)
        seconds["write"] = time.perf_counter() - started
        yield Report(
            *(name, output, *source.size, result.colors_in, len(result.palette)),
            *(result.mse, result.psnr, source.bytes, bytes_out, seconds),
            source.notes + note_true_color(source.form, len(result.palette)),
            *(result.device, result.notes, skipped, work.target),
            curve_of(work.target, result.curve),
        )
        seconds = {}


@dataclass
class Source:
    """An image that was read, and facts about its file."""

    image: Image.Image | None
    size: tuple[int, int]
    """Width and height."""
    bytes: int
    """The size of the file."""
    form: Format
    """The format of the outputs."""
    metadata: Metadata
    """Metadata that the outputs get."""
    notes: list[str]
    """Changes made by reading, for people."""
    seconds: float
    """The duration of reading."""

    def take_image(self) -> Image.Image:
        """Return the image and drop this object's reference, so that its memory can be freed."""
        image, self.image = self.image, None
        assert image is not None
        return image


def read_source(
    name: str, outputs: Sequence[str], destination: Destination, work: ConversionJob
) -> Source:
    """Read an image, after checking that its outputs may be written.

    Raises:
        QuantgpuError: An output may not be written, or the image cannot be read or held.
    """
    started = time.perf_counter()
    source = read_standard_input() if name == STREAM else name
    with translate_read_errors(name):
        size = len(source.getbuffer()) if isinstance(source, io.BytesIO) else os.path.getsize(name)
    form, *_ = [check_output(output, work.k, destination.force) for output in outputs]
    options, reasons = read_options_for(form, work)
    image, notes, metadata, effective = options.read(source)
    metadata = METADATA[destination.metadata](metadata)
    notes += [reason for option, reason in reasons.items() if option in effective]
    notes += note_lost_metadata(form.name, metadata)
    if image.mode == "RGBA" and options.alpha.alpha == "keep" and options.alpha.matte:
        notes.append("--matte has no effect with --alpha keep; use binary or flatten")
    with prefix_errors(name):
        check_sides(form, *image.size)
    return Source(image, image.size, size, form, metadata, notes, time.perf_counter() - started)


def note_true_color(form: Format, colors: int) -> list[str]:
    """A list of one note if a format's palettes hold fewer than `colors` entries, else of none."""
    if not 0 < form.entries < colors:
        return []
    return [
        f"{colors:,} colors are written as true color, as palettes of {form.name} hold "
        f"{form.entries}; .npz keeps indices"
    ]


def curve_of(target: str | None, curve: dict[int, float]) -> list[dict[str, Any]]:
    """`Indexed.curve` as rows for JSON; None stands for infinite decibels."""
    if target is None:
        return []
    name = parse_target(target).name
    return [{"k": k, name: None if math.isinf(v) else v} for k, v in curve.items()]


def write_output(
    encoded: Callable[[IO[bytes]], int],
    output: str,
    destination: Destination,
    bytes_in: int,
    progress: Progress,
) -> tuple[int, bool]:
    """Encode and write an output; return its bytes, and whether it was skipped as larger.

    `encoded` writes the file to a stream and returns its size. Nothing is written if `progress`
    raises after encoding.
    """
    if output != STREAM and not destination.skip_if_larger:
        with atomic_write(Path(output), destination.force) as file:
            bytes_out = encoded(file)
            progress("write", 1)
            return bytes_out, False
    stream = io.BytesIO()
    bytes_out = encoded(stream)
    progress("write", 1)
    if destination.skip_if_larger and bytes_out > bytes_in:
        return bytes_out, True
    if output == STREAM:
        with translate_write_errors("standard output"):
            sys.stdout.buffer.write(stream.getbuffer())
            sys.stdout.buffer.flush()
    else:
        with atomic_write(Path(output), destination.force) as file:
            file.write(stream.getbuffer())
    return bytes_out, False


def read_options_for(form: Format, work: ConversionJob) -> tuple[ReadOptions, dict[str, str]]:
    """The options for reading images for a format, and the reason for each that was changed."""
    found, reasons = work.read, {}
    if found.icc == "keep" and "profile" not in METADATA_SUPPORT[form.name].fields:
        found, reasons["icc"] = replace(found, icc="convert"), f"{form.name} holds no color profile"
    requested = found.alpha.alpha
    for holder, limit in ((form.name, form.alpha), ("the palette", work.alpha)):
        if limited(requested, limit) != requested:
            alpha = replace(found.alpha, alpha=limited(found.alpha.alpha, limit))
            found = replace(found, alpha=alpha)
            reasons["alpha"] = f"{holder} holds {ALPHA_LIMITS[limit]}"
    return found, reasons
