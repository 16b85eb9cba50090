"""Histogram files (``.qhist``): colors and counts, to be added up later and elsewhere.

A file is, with all integers little-endian:

- `MAGIC`, the version, and the length of the header, as 16-bit integers;
- the header, JSON in UTF-8: ``colors``, ``pixels``, ``bytes`` (of the columns below), and how the
  pixels were counted: the fields of `Counted` other than the histogram;
- a zlib stream of columns, one integer for each color, in ascending order of keys (see
  `histogram.KEYS`): how many keys were left out before its own; its pixels, less 1; and if there
  are weights, the weight over the pixels, whole, and the rest of that division;
- SHA-256 of all that.

A column is a byte for each integer, 255 standing for those above 254; these follow in order, less
255, as 64-bit integers.

Measured on six photographs of 12 to 24 megapixels with 172,540 to 587,698 colors: 0.21 to 0.61 MB,
with weights 0.48 to 1.52 MB, in 0.1 to 0.2 s. Level 9 takes another 1.5 % off, in four times the
time.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.color.alpha import ALPHAS, Color
from quantgpu.color.packing import CLEAR, KEYS
from quantgpu.errors import InputError, UsageError
from quantgpu.histogram import MOST, Histogram
from quantgpu.io.atomic import atomic_write
from quantgpu.io.decode import translate_read_errors
from quantgpu.io.icc import ICCS

MAGIC = b"\x89qhist\r\n"
"""What files begin with: no text, and changed by whoever takes it for text."""

VERSION = 1

START = struct.Struct("<8sHH")
"""`MAGIC`, version, and bytes of the header."""

SUFFIX = ".qhist"

LEVEL = 6
"""Of deflate."""

MOST_PIXELS = 1 << 45
"""A histogram counts at most so many: their weights are below 2^53 together."""

ESCAPE = 255
"""The byte of a column for integers that take more."""


@dataclass(frozen=True, eq=False)
class Counted:
    """A histogram, and how its pixels were counted, which has to be the same to be added up."""

    histogram: Histogram
    """On the host."""
    perceptual: bool = False
    """Whether its weights are those of `importance`."""
    masked: bool = False
    """Whether its weights are those of masks, too."""
    alpha: str | None = None
    """What became of pixels that were not opaque, a row of `ALPHAS`; None if there were none."""
    matte: Color | None = None
    """What they were laid on, if they were."""
    icc: str = "convert"
    """What became of color profiles, a row of `ICCS`."""

    def __add__(self, other: Counted) -> Counted:
        """The pixels of both.

        Raises:
            UsageError: They were not counted alike, or are too many.
        """
        check_alike(self, other)
        transparent = other if self.alpha is None else self
        return check_most(
            replace(
                self,
                histogram=self.histogram + other.histogram,
                masked=self.masked or other.masked,
                alpha=transparent.alpha,
                matte=transparent.matte,
            )
        )

    def weighed(self, perceptual: bool) -> Counted:
        """This histogram as if it had been counted with or without perceptual weights.

        Raises:
            UsageError: That cannot be told any more.
        """
        if perceptual == self.perceptual:
            return self
        if perceptual:
            raise UsageError(
                "was counted with --no-perceptual; use that here too, or count the images again "
                "with --perceptual"
            )
        if self.masked:
            raise UsageError(
                "was counted with --perceptual and --weights, which cannot be told apart; use "
                "--perceptual here too, or count the images again with --no-perceptual"
            )
        return replace(self, histogram=replace(self.histogram, weights=None), perceptual=False)


def check_alike(one: Counted, other: Counted) -> None:
    """Raise a UsageError unless two histograms may be added."""
    ways = [("perceptual", one.perceptual, other.perceptual), ("icc", one.icc, other.icc)]
    if one.alpha is not None and other.alpha is not None:
        ways += [("alpha", one.alpha, other.alpha), ("matte", one.matte, other.matte)]
    for name, here, there in ways:
        if here != there:
            raise UsageError(
                f"was counted with {as_option(name, there)}, but what it is added to with "
                f"{as_option(name, here)}; count the images again alike"
            )


def as_option(name: str, value: Any) -> str:
    """The command-line option for a way of counting."""
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    if value is None:
        return f"no --{name}"
    return f"--{name} {value if isinstance(value, str) else '#{:02x}{:02x}{:02x}'.format(*value)}"


def check_most(counted: Counted) -> Counted:
    """`counted`, unless it has more than `MOST_PIXELS`."""
    if counted.histogram.pixels > MOST_PIXELS:
        raise UsageError(
            f"{counted.histogram.pixels:,} pixels together are more than {MOST_PIXELS:,}"
        )
    return counted


def write_histogram(path: str | os.PathLike[str], counted: Counted, force: bool = False) -> int:
    """Write a histogram file, complete or not at all; the bytes written.

    The same histogram gives the same bytes with the same release of zlib, and the same histogram
    again with any.

    Raises:
        UsageError: The suffix is not ``.qhist``.
        OutputError: The file exists and `force` is not given, or it cannot be written.
    """
    check_suffix(path)
    data = encode_histogram(counted)
    with atomic_write(Path(path), force) as stream:
        return stream.write(data)


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raise unless a name ends as those of histogram files do."""
    if Path(path).suffix.lower() != SUFFIX:
        raise UsageError(
            f"{os.fspath(path)}: histograms are written as {SUFFIX} files, such as photo{SUFFIX}"
        )


def read_histogram(path: str | os.PathLike[str]) -> Counted:
    """The histogram in a file, and how its pixels were counted.

    Raises:
        InputError: The file cannot be read, is no histogram file, is of a newer version, truncated
            or damaged: the message says what was expected.
    """
    name = os.fspath(path)
    with translate_read_errors(name), open(path, "rb") as file:
        data = file.read(len(MAGIC))
        data += file.read() if data == MAGIC else b""
    try:
        return decode_histogram(data)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def encode_histogram(counted: Counted) -> bytes:
    """The bytes of a histogram file."""
    histogram = counted.histogram
    columns = [np.diff(histogram.keys, prepend=-1) - 1, histogram.counts - 1]
    if counted.perceptual or counted.masked:
        columns += np.divmod(histogram.full_weights, histogram.counts)
    body = b"".join(map(column_bytes, columns))
    said = {
        "alpha": counted.alpha, "bytes": len(body), "colors": len(histogram), "icc": counted.icc,
        "masked": counted.masked, "matte": counted.matte, "perceptual": counted.perceptual,
        "pixels": histogram.pixels,
    }  # fmt: skip
    header = json.dumps(said, separators=(",", ":")).encode()
    whole = START.pack(MAGIC, VERSION, len(header)) + header + zlib.compress(body, LEVEL)
    return whole + hashlib.sha256(whole).digest()


def column_bytes(integers: NDArray[np.int64]) -> bytes:
    """(n,) integers, 0 or more, as a column."""
    short = np.minimum(integers, ESCAPE).astype(np.uint8)
    return short.tobytes() + (integers[integers >= ESCAPE] - ESCAPE).astype("<i8").tobytes()


def decode_histogram(data: bytes) -> Counted:
    """The histogram in the bytes of a histogram file, and how it was counted.

    Raises:
        InputError: They are not those of one, or were changed since it was written.
    """
    said, body = opened(data)
    try:
        found = parsed(said, body)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, zlib.error) as error:
        raise InputError(f"its checksum is right, but not what it says ({error})") from None
    return found


def opened(data: bytes) -> tuple[bytes, bytes]:
    """The header and the zlib stream of a file whose bytes are those that were written."""
    if not data:
        raise InputError(f"expected a histogram file ({SUFFIX}), but it is empty")
    if not data.startswith(MAGIC):
        raise InputError(
            f"expected a histogram file, which begins with {MAGIC!r}, found {data!r}; "
            "`quantgpu count` makes them"
        )
    if len(data) < START.size:
        raise InputError(f"expected {START.size} bytes at least, found {len(data)}: truncated")
    _, version, length = START.unpack_from(data)
    if version != VERSION:
        raise InputError(
            f"expected a histogram file of version {VERSION}, found version {version}; "
            "it takes a newer quantgpu"
        )
    end = len(data) - hashlib.sha256().digest_size
    found = hashlib.sha256(data[: max(end, 0)]).digest()
    if found != data[max(end, 0) :] or end < START.size + length:
        raise InputError(
            "damaged or truncated: expected the checksum at its end to be that of what comes "
            "before; copy it again, or count the images again"
        )
    return data[START.size : START.size + length], data[START.size + length : end]


def parsed(header: bytes, stream: bytes) -> Counted:
    """A header and a zlib stream as a histogram; raises what it pleases on malformed ones."""
    said = json.loads(header)
    way = {name: said[name] for name in ("perceptual", "masked", "alpha", "icc")}
    if said["icc"] not in ICCS or said["alpha"] not in (None, *ALPHAS):
        raise ValueError(f"icc {said['icc']!r}, alpha {said['alpha']!r}")
    if not {type(said["perceptual"]), type(said["masked"])} <= {bool}:
        raise ValueError("expected true or false")
    weighed = said["perceptual"] or said["masked"]
    inflater = zlib.decompressobj()
    body = inflater.decompress(stream, said["bytes"] + 1)
    if len(body) != said["bytes"] or not inflater.eof or inflater.unused_data:
        raise ValueError(f"expected {said['bytes']} bytes of columns")
    columns = columns_of(body, said["colors"], 4 if weighed else 2)
    keys, counts = keys_of(columns[0]), counts_of(columns[1], said["pixels"])
    weights = weights_of(columns[2], columns[3], counts) if weighed else None
    channels = 4 if keys[-1] >= KEYS else 3
    return Counted(Histogram(keys, counts, weights, channels), matte=as_color(said["matte"]), **way)


def as_color(levels: list[int] | None) -> Color | None:
    """Three levels as a color."""
    if levels is None:
        return None
    red, green, blue = bytes(levels)
    return red, green, blue


def columns_of(body: bytes, length: int, count: int) -> list[NDArray[np.int64]]:
    """So many columns of integers, of so many each."""
    columns, at = [], 0
    for _ in range(count):
        short = np.frombuffer(body, np.uint8, length, at)
        is_long = short == ESCAPE
        at += length
        longer = np.frombuffer(body, "<i8", int(is_long.sum()), at)
        if len(longer) and not 0 <= longer.min() <= longer.max() <= MOST_PIXELS:
            raise ValueError("an integer is out of range")
        at += longer.nbytes
        column = short.astype(np.int64)
        column[is_long] += longer
        columns.append(column)
    if at != len(body) or length < 1:
        raise ValueError(f"expected columns of {length} colors")
    return columns


def keys_of(gaps: NDArray[np.int64]) -> NDArray[np.int64]:
    """The keys of colors, ascending, with so many others before each."""
    keys = np.cumsum(gaps + 1) - 1
    if keys.min() < 0 or keys.max() > CLEAR:
        raise ValueError("a color is out of range")
    return keys


def counts_of(rests: NDArray[np.int64], pixels: int) -> NDArray[np.int64]:
    """The counts that are one more than these, of so many pixels."""
    counts = rests + 1
    if counts.sum(dtype=np.float64) > MOST_PIXELS or counts.sum() != pixels:
        raise ValueError(f"expected {pixels} pixels, up to {MOST_PIXELS}")
    return counts


def weights_of(
    means: NDArray[np.int64], rests: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The weights of so many pixels, from their mean and the rest of that division."""
    too_large = (means > MOST) | ((means == MOST) & (rests > 0))
    if (too_large | (means < 1) | (rests >= counts)).any():
        raise ValueError(f"expected weights of 1 to {MOST} for each pixel")
    return means * counts + rests
