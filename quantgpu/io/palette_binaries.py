"""Binary palette files: Photoshop's, Adobe's swatches, RIFF and PNG.

Readers and writers have the signatures of those in `palette_texts`. A malformed file is an
InputError that begins with the offset of the unexpected byte.
"""

from __future__ import annotations

import io
import math
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantgpu.color.spaces import XYZ_TO_RGB, times
from quantgpu.errors import InputError, UsageError
from quantgpu.io.decode import open_image, to_pixels
from quantgpu.io.encode import to_picture
from quantgpu.io.palette_texts import JASC_HEADER, Color, read_jasc, text_of
from quantgpu.palette import distinct

ACT_ENTRIES = 256
ACT_BYTES = 3 * ACT_ENTRIES
NO_TRANSPARENCY = 0xFFFF

ASE_HEADER = b"ASEF\0\1\0\0"
"""The signature and version 1.0."""

ASE_COLOR = 0x0001
"""The kind of a block that holds a swatch; 0xC001 begins a group and 0xC002 ends one."""

ASE_GLOBAL = 0
"""The kind of a swatch: 0 global, 1 spot, 2 process."""

ASE_VALUES = {b"RGB ": 3, b"CMYK": 4, b"LAB ": 3, b"Gray": 1}
"""The name of a color model to the number of its components."""

RIFF_VERSION = 0x0300

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

SWATCH, COLUMNS = 16, 16
"""Pixels along a side of a drawn swatch, and swatches in a row."""

SWATCH_PIXELS = 1 << 26
"""The most pixels of a picture that is read as swatches."""

LAB_WHITE = 0.96422, 1.0, 0.82521
"""XYZ of the white of Adobe's L*a*b*: D50."""

D50_TO_D65 = (
    (0.9555766, -0.0230393, 0.0631636),
    (-0.0282895, 1.0099416, 0.0210077),
    (0.0122982, -0.0204830, 1.3299098),
)
"""XYZ to XYZ, Bradford (http://www.brucelindbloom.com/Eqn_ChromAdapt.html)."""


class Bytes:
    """A cursor over the bytes of a file, from front to back."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        """`data` begins at the byte `start` of the file."""
        self.data, self.start, self.taken = data, start, 0

    @property
    def offset(self) -> int:
        """The offset of the next byte in the file."""
        return self.start + self.taken

    def take(self, count: int, what: str) -> bytes:
        """Take the next `count` bytes; the InputError of a truncated file says `what` they hold."""
        found = self.data[self.taken : self.taken + count]
        if len(found) < count:
            raise InputError(
                f"byte {self.offset}: expected {what}, {count} bytes, found {len(found)}: "
                "it is truncated"
            )
        self.taken += count
        return found

    def number(self, form: str, what: str) -> int:
        """Take the next integer, of the `struct` format `form`."""
        return int(struct.unpack(form, self.take(struct.calcsize(form), what))[0])

    def expect(self, mark: bytes) -> None:
        """Take the bytes `mark`, or raise an InputError if others follow."""
        found = self.data[self.taken : self.taken + len(mark)]
        if found != mark:
            raise InputError(f"byte {self.offset}: expected {mark!r}, found {found!r}")
        self.taken += len(mark)


def triples(data: bytes) -> list[Color]:
    """The colors of data of three bytes each."""
    return [(data[i], data[i + 1], data[i + 2]) for i in range(0, len(data) - 2, 3)]


def read_act(data: bytes) -> list[Color]:
    """Read a color table of Photoshop: 256 colors, then optionally the number of colors in use.

    https://www.adobe.com/devnet-apps/photoshop/fileformatashtml/#50577411_pgfId-1070626
    """
    if len(data) not in (ACT_BYTES, ACT_BYTES + 4):
        raise InputError(
            f"byte {min(len(data), ACT_BYTES + 4)}: expected {ACT_BYTES} or {ACT_BYTES + 4} bytes, "
            f"found {len(data)}"
        )
    count = ACT_ENTRIES
    if len(data) > ACT_BYTES:
        count = int.from_bytes(data[ACT_BYTES : ACT_BYTES + 2], "big")
        if not 1 <= count <= ACT_ENTRIES:
            raise InputError(f"byte {ACT_BYTES}: expected a number of colors, 1 to 256: {count}")
    return triples(data[: 3 * count])


def write_act(colors: NDArray[np.uint8], name: str) -> bytes:
    """Write a table as Photoshop does: unused entries are black, and none is transparent."""
    tail = struct.pack(">HH", len(colors), NO_TRANSPARENCY)
    return colors.tobytes().ljust(ACT_BYTES, b"\0") + tail


def read_ase(data: bytes) -> list[Color]:
    """Read Adobe swatches; groups and names are left out.

    RGB is taken as sRGB, Gray as equal sRGB levels, and CMYK as ink on white without a profile:
    (1 - C) (1 - K). L*a*b* is relative to D50; colors outside of sRGB are clipped.
    """
    source = Bytes(data)
    source.expect(ASE_HEADER)
    blocks = source.number(">I", "the number of blocks")
    colors: list[Color] = []
    for _ in range(blocks):
        kind = source.number(">H", "a block's kind")
        length = source.number(">I", "a block's length")
        start = source.offset
        block = source.take(length, "a block")
        if kind == ASE_COLOR:
            colors.append(ase_color(Bytes(block, start)))
    return colors


def ase_color(block: Bytes) -> Color:
    """The color of the block of a swatch."""
    letters = block.number(">H", "the length of a swatch's name")
    block.take(2 * letters, "a swatch's name")
    place = block.offset
    model = block.take(4, "a color model")
    if model not in ASE_VALUES:
        raise InputError(f"byte {place}: expected RGB, CMYK, LAB or Gray, found {model!r}")
    place, count = block.offset, ASE_VALUES[model]
    values = struct.unpack(f">{count}f", block.take(4 * count, "a swatch's levels"))
    shares = values[:1] if model == b"LAB " else values
    if not all(math.isfinite(value) for value in values) or not all(
        0 <= share <= 1 for share in shares
    ):
        raise InputError(f"byte {place}: expected levels of 0 to 1, found {list(values)}")
    red, green, blue = (
        round(255 * min(max(level, 0.0), 1.0)) for level in ase_levels(model, *values)
    )
    return red, green, blue


def ase_levels(model: bytes, *values: float) -> tuple[float, ...]:
    """Red, green and blue, 0 to 1, of a swatch in a model of `ASE_VALUES`."""
    if model == b"CMYK":
        return tuple((1 - ink) * (1 - values[3]) for ink in values[:3])
    if model == b"LAB ":
        return lab_to_rgb(100 * values[0], *values[1:])
    return 3 * values if model == b"Gray" else values


def lab_to_rgb(lightness: float, a: float, b: float) -> tuple[float, ...]:
    """sRGB levels of CIE L*a*b* relative to D50, unclipped: 0 to 1 inside the gamut."""
    a, b = (min(max(value, -128.0), 127.0) for value in (a, b))
    y = (lightness + 16) / 116
    roots = y + a / 500, y, y - b / 200
    ratios = [r**3 if r > 6 / 29 else (116 * r - 16) * 27 / 24389 for r in roots]
    xyz = [ratio * white for ratio, white in zip(ratios, LAB_WHITE, strict=True)]
    light = times(XYZ_TO_RGB, times(D50_TO_D65, xyz))
    return tuple(
        12.92 * x if x <= 0.0031308 else 1.055 * min(x, 1.0) ** (1 / 2.4) - 0.055 for x in light
    )


def write_ase(colors: NDArray[np.uint8], name: str) -> bytes:
    """Write global RGB swatches, each named by its hexadecimal digits."""
    blocks = []
    for red, green, blue in colors.tolist():
        title = f"#{red:02X}{green:02X}{blue:02X}\0"
        block = struct.pack(">H", len(title)) + title.encode("utf-16-be") + b"RGB "
        block += struct.pack(">3fH", red / 255, green / 255, blue / 255, ASE_GLOBAL)
        blocks.append(struct.pack(">HI", ASE_COLOR, len(block)) + block)
    return ASE_HEADER + struct.pack(">I", len(blocks)) + b"".join(blocks)


def read_pal(data: bytes) -> list[Color]:
    """Read a palette of Paint Shop Pro (JASC) or of Windows (RIFF), by its first bytes."""
    if data.startswith(b"RIFF"):
        return read_riff(data)
    if text_of(data[:64]).lstrip().startswith(JASC_HEADER):
        return read_jasc(data)
    raise InputError(f"line 1: expected {JASC_HEADER!r} or 'RIFF', found {data[:8]!r}")


def read_riff(data: bytes) -> list[Color]:
    """Read a Windows palette: RIFF chunks, of which ``data`` holds the colors.

    Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0", 1991, p. 2-1.
    """
    source = Bytes(data)
    source.expect(b"RIFF")
    source.number("<I", "the length of the file")
    source.expect(b"PAL ")
    while True:
        name = source.take(4, "a chunk's name")
        length = source.number("<I", "a chunk's length")
        if name == b"data":
            break
        source.take(length + length % 2, "a chunk")
    source.expect(struct.pack("<H", RIFF_VERSION))
    count = source.number("<H", "the number of colors")
    entries = source.take(4 * count, f"{count:,} colors")
    return [(red, green, blue) for red, green, blue, _ in struct.iter_unpack("4B", entries)]


def write_riff(colors: NDArray[np.uint8], name: str) -> bytes:
    """Write a Windows palette of at most 65,535 colors."""
    entries = np.pad(colors, ((0, 0), (0, 1))).tobytes()
    log_palette = struct.pack("<HH", RIFF_VERSION, len(colors)) + entries
    form = b"PAL data" + struct.pack("<I", len(log_palette)) + log_palette
    return b"RIFF" + struct.pack("<I", len(form)) + form


def read_png(data: bytes) -> NDArray[np.uint8]:
    """Read the (K, 4) palette of an indexed picture; of others the distinct colors, row by row."""
    check_chunks(Bytes(data))
    try:
        with open_image(io.BytesIO(data)) as image:
            width, height = image.size
            if width * height > SWATCH_PIXELS:
                raise InputError(f"byte 16: expected swatches, found {width} x {height} pixels")
            image.load()
            if image.mode == "P":
                return palette_of(image)
            pixels = np.asarray(to_pixels(image, [], "keep"))
            return distinct(pixels.reshape(-1, pixels.shape[-1]))
    except InputError:
        raise
    except Exception as error:  # decoders raise various errors on damaged bytes
        raise InputError(f"byte 8: expected a picture that can be decoded: {error}") from None


def palette_of(image: Image.Image) -> NDArray[np.uint8]:
    """The palette of an indexed picture, (K, 4) uint8."""
    colors = np.frombuffer(bytes(image.getpalette("RGB") or []), np.uint8).reshape(-1, 3)
    alphas = np.full((len(colors), 1), 255, np.uint8)
    transparency = image.info.get("transparency", b"")
    if isinstance(transparency, int):
        transparency = b"\xff" * transparency + b"\0"
    known = np.frombuffer(transparency, np.uint8)[: len(alphas)]
    alphas[: len(known), 0] = known
    return np.hstack([colors, alphas])


def check_chunks(source: Bytes) -> None:
    """Raise an InputError unless all chunks of a PNG file are complete, with right checksums."""
    source.expect(PNG_SIGNATURE)
    name = b""
    while name != b"IEND":
        length = source.number(">I", "a chunk's length")
        start = source.offset
        name = source.take(4, "a chunk's name")
        data = source.take(length, "a chunk")
        if source.number(">I", "a checksum") != zlib.crc32(name + data):
            raise InputError(f"byte {start}: expected a chunk with its checksum, found {name!r}")


def write_png(colors: NDArray[np.uint8], name: str) -> bytes:
    """Draw swatches as an indexed PNG picture; more than 256 colors make one of true color."""
    if len(colors) > 256 and len(distinct(colors)) < len(colors):
        raise UsageError("a PNG of more than 256 colors holds each once; write .gpl instead")
    columns = min(COLUMNS, len(colors)) if len(colors) <= 256 else 256
    rows = -(-len(colors) // columns)
    places = np.minimum(np.arange(rows * columns), len(colors) - 1).reshape(rows, columns)
    index = places.repeat(SWATCH, axis=0).repeat(SWATCH, axis=1)
    stream = io.BytesIO()
    picture = to_picture(index.astype(np.uint8 if len(colors) <= 256 else np.intp), colors)
    picture.save(stream, "PNG")
    return stream.getvalue()
