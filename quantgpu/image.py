"""Files and pixels: everything that Pillow does for the project."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from quantgpu.device import ranges
from quantgpu.errors import InputError, OutputError, UsageError

MAX_PIXELS = 1_000_000_000
"""Pixels that an image may have unless more are asked for."""

BACKGROUND = (255, 255, 255)
"""What transparent pixels are laid on: white."""

ORIENTATION = 0x0112
"""The EXIF tag that says which way is up; 1 is upright."""

SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's gray modes that hold more than 8 bits."""


class Format(NamedTuple):
    """What an output format holds."""

    name: str
    """Pillow's name."""
    colors: int
    """The most palette entries; with more than 256 the file is true color."""
    side: int
    """The greatest width and height, in pixels."""
    options: dict[str, Any]
    """What is passed to Pillow's writer."""


FORMATS = {
    ".png": Format("PNG", 256, 2**31 - 1, {}),
    ".gif": Format("GIF", 256, 65_535, {"optimize": False}),
    ".webp": Format("WEBP", 65_536, 16_383, {"lossless": True, "quality": 0, "method": 0}),
    ".tif": Format("TIFF", 256, 2**31 - 1, {"compression": "tiff_adobe_deflate"}),
    ".tiff": Format("TIFF", 256, 2**31 - 1, {"compression": "tiff_adobe_deflate"}),
    ".bmp": Format("BMP", 256, 2**31 - 1, {}),
}
"""Suffix to output format."""


class Pixels:
    """An image's pixels, handed out as slabs of rows, so that no second copy of all is made."""

    def __init__(self, source: Image.Image | NDArray[np.uint8]) -> None:
        """`source`: a Pillow image in mode RGB, or an (H, W, 3) or (N, 3) uint8 array."""
        if isinstance(source, np.ndarray):
            self.shape = source.shape[:-1]
            self.source = source.reshape(len(source), -1, 3)
        else:
            self.shape = source.size[::-1]
            self.source = source
        self.height, self.width = self.shape if len(self.shape) == 2 else (*self.shape, 1)

    def __len__(self) -> int:
        return self.height * self.width

    def slab(self, start: int, stop: int) -> NDArray[np.uint8]:
        """The colors of the rows ``start … stop``, (pixels, 3) uint8, C-contiguous."""
        if isinstance(self.source, np.ndarray):
            rows = self.source[start:stop]
        else:
            rows = np.asarray(self.source.crop((0, start, self.width, stop)))
        return np.ascontiguousarray(rows).reshape(-1, 3)

    def row_ranges(self, batch: int) -> Iterator[tuple[int, int]]:
        """Intervals of rows with about `batch` pixels each."""
        return ranges(0, self.height, max(batch // self.width, 1))


def as_pixels(image: Any) -> Pixels:
    """`image` as pixels: a Pillow image, a path, an (H, W, 3) uint8 array or (N, 3) colors."""
    if isinstance(image, Image.Image):
        return Pixels(to_rgb(image, [], BACKGROUND))
    if isinstance(image, str | os.PathLike):
        return Pixels(read_image(image)[0])
    if isinstance(image, np.ndarray) and image.dtype != np.uint8:
        raise UsageError(
            f"array of {image.dtype}: quantize takes uint8; convert with "
            "numpy.clip(image, 0, 255).astype(numpy.uint8)"
        )
    try:
        array = np.asarray(image)
    except ValueError as error:
        raise UsageError(f"colors must be triples of integers: {error}") from None
    if array.size == 0:
        raise UsageError("no pixels: the image is empty")
    if array.ndim not in (2, 3) or array.shape[-1] != 3:
        raise UsageError(
            f"array of shape {array.shape}: quantize takes (height, width, 3) or (colors, 3)"
        )
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
        raise UsageError("colors must be integers in 0..255")
    array = array.astype(np.uint8, copy=False)
    return Pixels(array)


@contextlib.contextmanager
def pillow_limits_lifted() -> Iterator[None]:
    """Pillow's own guard against huge images, off: `max_pixels` stands in for it."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def read_image(
    source: str | os.PathLike[str] | IO[bytes],
    max_pixels: int = MAX_PIXELS,
    background: tuple[int, int, int] = BACKGROUND,
) -> tuple[Image.Image, list[str]]:
    """The first frame of an image file, upright, as an RGB image; and notes on what was changed.

    Args:
        source: A path, or a binary stream.
        max_pixels: Larger images are refused before they are decoded.
        background: What transparent pixels are laid on, 0 to 255 each.

    Raises:
        InputError: The file is missing, unreadable, not an image, damaged or too large.
    """
    name = "standard input" if hasattr(source, "read") else os.fspath(source)  # type: ignore[arg-type]
    try:
        with pillow_limits_lifted(), Image.open(source) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise InputError(
                    f"{name}: {width} x {height} = {width * height:,} pixels are more than "
                    f"{max_pixels:,}; raise the limit with --max-pixels {width * height}"
                )
            notes: list[str] = []
            note_reductions(image, notes)
            image.load()
            return to_rgb(image, notes, background), notes
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{name}: not an image that can be read{kind_hint(source)}") from None
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{name}: is a folder; name the images in it") from None
    except PermissionError:
        raise InputError(f"{name}: not readable (permission denied)") from None
    except MemoryError:
        raise InputError(f"{name}: not enough memory to decode it") from None
    except Exception as error:  # decoders raise what they please on damaged bytes
        raise InputError(f"{name}: damaged or truncated image ({error})") from None


def kind_hint(source: Any) -> str:
    """Why a file is no image, where its size says so."""
    if not hasattr(source, "read") and os.path.getsize(source) == 0:
        return " (the file is empty)"
    return ""


def note_reductions(image: Image.Image, notes: list[str]) -> None:
    """Note what of an opened, not yet decoded image is left out: frames, and bits below 8."""
    if getattr(image, "is_animated", False):
        notes.append(f"first of {getattr(image, 'n_frames', 'several')} frames")
    raw_modes = [str(tile[3]) for tile in getattr(image, "tile", [])]
    if image.mode in SIXTEEN_BIT_MODES or any("16" in raw for raw in raw_modes):
        notes.append("16 bits per channel reduced to 8")


def to_rgb(image: Image.Image, notes: list[str], background: tuple[int, int, int]) -> Image.Image:
    """A Pillow image of any mode, upright, 8 bits, laid on `background`, as mode RGB."""
    if image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in SIXTEEN_BIT_MODES:
        levels = np.asarray(image).astype(np.int64)
        image = Image.fromarray(np.clip(levels >> 8, 0, 255).astype(np.uint8))
    if image.mode in ("F", "LAB"):
        raise InputError(f"pixels of mode {image.mode}; convert the picture to 8-bit RGB first")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:  # type: ignore[index]
            notes.append("transparent pixels laid on #{:02x}{:02x}{:02x}".format(*background))
        canvas = Image.new("RGBA", image.size, (*background, 255))
        canvas.alpha_composite(image)
        image = canvas
    return image if image.mode == "RGB" else image.convert("RGB")


def format_for(path: str | os.PathLike[str]) -> Format:
    """The output format that a file name's suffix asks for.

    Raises:
        UsageError: No format has that suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(
            f"{os.fspath(path)}: no format for the suffix {suffix or '(none)'!r}; "
            f"use one of {', '.join(FORMATS)}"
        )
    return FORMATS[suffix]


def encode(
    index: NDArray[Any], palette: NDArray[np.uint8], form: Format, stream: IO[bytes], level: int
) -> None:
    """Write an (H, W) index map with its (K, 3) palette to a stream."""
    options = dict(form.options)
    if form.name == "PNG":
        options["compress_level"] = level
    to_picture(index, palette).save(stream, form.name, **options)


def to_picture(index: NDArray[Any], palette: NDArray[np.uint8]) -> Image.Image:
    """A Pillow image of mode P; of mode RGB for more than 256 colors."""
    index = index.reshape(len(index), -1)
    if len(palette) > 256:
        return Image.fromarray(palette[index])
    picture = Image.fromarray(index)
    picture.putpalette(palette.tobytes())
    return picture


@contextlib.contextmanager
def replacing(path: Path, force: bool) -> Iterator[IO[bytes]]:
    """A stream that becomes the file `path` when all went well, and nothing when it did not.

    Raises:
        OutputError: `path` exists and `force` is not given, or cannot be written.
    """
    temporary: str | None = None
    try:
        refuse_to_overwrite(path, force)
        descriptor, temporary = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=".partial", dir=path.parent
        )
        with open(descriptor, "wb") as stream:
            yield stream
        os.chmod(temporary, 0o666 & ~current_umask())
        refuse_to_overwrite(path, force)
        os.replace(temporary, path)
        temporary = None
    except FileNotFoundError:
        raise OutputError(f"{path.parent}: no such folder; create it first") from None
    except PermissionError:
        raise OutputError(f"{path}: not writable (permission denied)") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OutputError(f"{path}: the disk is full; nothing was written") from None
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def refuse_to_overwrite(path: Path, force: bool) -> None:
    """Raise unless `path` is free, or a file that may be replaced."""
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file, or use --output-dir")
    if path.exists() and not force:
        raise OutputError(f"{path}: exists; use --force to replace it, or -o for another name")


def current_umask() -> int:
    """The process's file mode mask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
