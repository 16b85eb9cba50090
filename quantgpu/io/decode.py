"""Decode image files, and Pillow images of any mode, to upright 8-bit pixels."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from quantgpu.color.alpha import AlphaOptions, Color, apply_alpha
from quantgpu.errors import InputError, check_choice
from quantgpu.io.exif import PROCESS_LOCK, orientation_of
from quantgpu.io.icc import ICCS, apply_profile
from quantgpu.io.metadata import Metadata, metadata_of
from quantgpu.threads import default_threads

MAX_PIXELS = 1_000_000_000
"""The most pixels of an image, unless the caller raises the limit."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The value of the EXIF tag `ORIENTATION` to the transposition that turns the image upright."""

SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's gray modes that hold more than 8 bits."""

HIGHEST_GRAY = {"1": 1, "L;2": 3, "L;4": 15}
"""Pillow's names of gray samples of fewer than 8 bits to their highest level."""


FORMATS_READ = (
    *("PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "AVIF", "JPEG2000", "DIB", "ICO", "CUR"),
    *("ICNS", "TGA", "PCX", "DCX", "PSD", "SGI", "DDS", "QOI", "XBM", "XPM", "SUN", "FLI", "MSP"),
    *("PIXAR", "FITS", "BLP", "FTEX", "GBR", "IM", "PCD"),
)
"""Pillow's names of the formats that are read, whatever the suffix: no decoder of them starts
another program, as Pillow does for PostScript."""


@contextlib.contextmanager
def disable_pillow_guard() -> Iterator[None]:
    """Turn off Pillow's guard against huge images inside; `max_pixels` takes its place.

    The guard and the filters of warnings belong to the whole process, hence the lock.
    """
    with PROCESS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def open_image(source: str | os.PathLike[str] | IO[bytes]) -> Image.Image:
    """Open an image of a format of `FORMATS_READ`, of any size."""
    with disable_pillow_guard():
        return Image.open(source, formats=FORMATS_READ)


def load(image: Image.Image) -> None:
    """Decode an opened image, of any size: Pillow checks TIFF files against its guard once more."""
    if image.format == "TIFF" and isinstance(image, ImageFile.ImageFile):
        with disable_pillow_guard():
            image.load_prepare()
    image.load()


class DecodedImage(NamedTuple):
    """The contents of an image file."""

    image: Image.Image
    """The first frame, upright, 8 bits, of mode RGB, or RGBA where some pixel is not opaque."""
    notes: list[str]
    """Changes made by decoding, for people."""
    metadata: Metadata
    """The file's metadata, updated for the upright pixels."""
    effective: frozenset[str]
    """The names of the options, of ``alpha`` and ``icc``, that changed the pixels."""


def read_image(
    source: str | os.PathLike[str] | IO[bytes],
    max_pixels: int = MAX_PIXELS,
    alpha: str = "flatten",
    matte: Color | None = None,
    icc: str = "convert",
    threads: int | None = None,
) -> DecodedImage:
    """Read an image file: its pixels, its metadata, and notes on changes.

    Args:
        source: A path, or a binary stream.
        max_pixels: Larger images are refused before they are decoded.
        alpha: The treatment of transparency, a row of `ALPHAS`: ``keep``; ``binary``, from 128 on
            opaque and else fully transparent; ``flatten``, laid on the matte.
        matte: The color below partly transparent pixels. When not given, `binary` leaves colors as
            they are and `flatten` takes white.
        icc: The treatment of a color profile, a row of `ICCS`: ``convert`` to sRGB; ``keep`` levels
            and profile; ``ignore`` it.
        threads: The most threads; as many as there are processors when not given.

    Raises:
        InputError: The file is missing, unreadable, not an image, damaged or too large.
    """
    with translate_read_errors(source), open_image(source) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise InputError(
                f"{width} x {height} = {width * height:,} pixels are more than "
                f"{max_pixels:,}; raise the limit with --max-pixels {width * height}"
            )
        notes: list[str] = []
        note_reductions(image, notes)
        threads = default_threads() if threads is None else threads
        decoded = upright(image, notes)
        converted, profile = apply_profile(decoded, image.info, icc, notes, threads)
        in_srgb, sideways = converted is not decoded, converted.size != (width, height)
        metadata = metadata_of(image, converted.size, sideways, in_srgb, notes)
        effective, note_count = {"icc"} if in_srgb else set(), len(notes)
        pixels = to_rgb(converted, notes, alpha, matte)
        effective |= {"alpha"} if len(notes) > note_count else set()
        metadata = metadata._replace(profile=profile)
        pixels.info = {}  # a profile left in `info` would be applied a second time
        return DecodedImage(pixels, notes, metadata, frozenset(effective))


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Options of `read_image`, which explains each.

    Raises:
        UsageError: `icc` is no row of `ICCS`.
    """

    alpha: AlphaOptions = AlphaOptions(alpha="flatten")
    icc: str = "convert"
    """A row of `ICCS`."""
    max_pixels: int = MAX_PIXELS
    threads: int | None = None

    def __post_init__(self) -> None:
        check_choice("icc", self.icc, ICCS)

    def read(self, source: str | os.PathLike[str] | IO[bytes]) -> DecodedImage:
        """Read an image file with these options, see `read_image`."""
        alpha, matte = self.alpha.alpha, self.alpha.matte
        return read_image(source, self.max_pixels, alpha, matte, self.icc, self.threads)


@contextlib.contextmanager
def translate_read_errors(source: str | os.PathLike[str] | IO[bytes]) -> Iterator[None]:
    """Turn any error inside into an InputError that begins with the name of `source`."""
    try:
        yield
        return
    except InputError as error:
        reason = str(error)
    except UnidentifiedImageError:
        reason = unreadable_reason(source)
    except (FileNotFoundError, NotADirectoryError):
        reason = "no such file"
    except IsADirectoryError:
        reason = "is a folder; name the images in it"
    except MemoryError:
        reason = "not enough memory to decode it"
    except Exception as error:  # decoders raise what they please on damaged bytes
        if isinstance(error, OSError) and error.strerror:
            reason = f"not readable ({error.strerror.lower()})"
        else:
            reason = f"damaged or truncated image ({error})"
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else "standard input"
    raise InputError(f"{name}: {reason}") from None


UNREADABLE = {
    rb"%!PS|\xc5\xd0\xd3\xc6": "PostScript (EPS), a program, which is never run",
    rb"II[*+]\0|MM\0[*+]": "a TIFF file of samples that are not read, such as floats",
    rb"8BPS": "a Photoshop file of a depth or mode that is not read",
    rb"%PDF": "PDF",
    rb"....ftyp(heic|heix|hevc|heim|heis|mif1|msf1)": "HEIC",
    rb"\xff\x0a|\0\0\0\x0cJXL ": "JPEG XL",
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg": "SVG",
}
"""The first bytes, a regular expression, of kinds of files that are not read, and their names."""

FILM = rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |\0\0\x01[\xb3\xba]|FLV|YUV4MPEG2"
"""The first bytes of videos, a regular expression."""


def unreadable_reason(source: str | os.PathLike[str] | IO[bytes]) -> str:
    """The reason why a file cannot be read as an image, and what to do."""
    begins = beginning_of(source)
    if not begins:
        return "not an image that can be read (it is empty)"
    for mark, name in UNREADABLE.items():
        if re.match(mark, begins, re.DOTALL):
            return f"is {name}; convert it to PNG or TIFF first"
    if re.match(FILM, begins, re.DOTALL):
        return "is a film; use quantgpu video"
    return "not an image that can be read"


def beginning_of(source: str | os.PathLike[str] | IO[bytes]) -> bytes:
    """The first 1,024 bytes of a file."""
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            return file.read(1024)
    source.seek(0)
    return source.read(1024)


def samples_of(image: Image.Image) -> str:
    """Pillow's name for the samples in the file of an opened, not yet decoded image."""
    for tile in getattr(image, "tile", []):
        arguments = tile[3]
        return str(arguments[0] if isinstance(arguments, tuple) else arguments)
    return ""


def note_reductions(image: Image.Image, notes: list[str]) -> None:
    """Append a note for each loss of an opened, not yet decoded image: frames, and bits below 8."""
    if getattr(image, "is_animated", False):
        notes.append(f"first of {getattr(image, 'n_frames', 'several')} frames")
    samples = samples_of(image)
    if image.mode in SIXTEEN_BIT_MODES or (";16" in samples and samples != "BGR;16"):
        notes.append("16 bits per channel reduced to 8")


def transparent_color(image: Image.Image) -> Any:
    """The color that an opened, not yet decoded image declares transparent, at 8 bits like its
    pixels.

    Pillow gives the color at the bit depth of the PNG file; some versions scale a depth of 1.
    """
    samples, key = samples_of(image), image.info.get("transparency")
    highest = HIGHEST_GRAY.get(samples, 255)
    if isinstance(key, int) and key <= highest:
        return key * 255 // highest
    if isinstance(key, tuple) and samples == "RGB;16B":
        return tuple(level >> 8 for level in key)
    return key


def to_pixels(
    image: Image.Image, notes: list[str], alpha: str = "flatten", matte: Color | None = None
) -> Image.Image:
    """A Pillow image of any mode as RGB or RGBA, converted as `read_image` converts a file."""
    converted, _ = apply_profile(
        upright(image, notes), image.info, "convert", notes, default_threads()
    )
    return to_rgb(converted, notes, alpha, matte)


def to_rgb(
    image: Image.Image, notes: list[str], alpha: str = "flatten", matte: Color | None = None
) -> Image.Image:
    """An 8-bit image as RGB, or RGBA if some pixel is not opaque."""
    if image.mode == "LAB":
        raise InputError("pixels of mode LAB; convert the picture to 8-bit RGB first")
    if image.has_transparency_data:
        return apply_alpha(image.convert("RGBA"), alpha, matte, notes)
    return image if image.mode == "RGB" else image.convert("RGB")


def upright(image: Image.Image, notes: list[str]) -> Image.Image:
    """Decode a Pillow image of any mode, turn it upright and reduce it to 8 bits per sample."""
    transparency = transparent_color(image)
    load(image)
    if image.mode in ("F", "La"):
        raise InputError(f"pixels of mode {image.mode}; convert the picture to 8-bit RGB first")
    if transparency != image.info.get("transparency"):
        image = image.copy()
        image.info["transparency"] = transparency
    transposition = UPRIGHT.get(orientation_of(image, notes))
    if transposition is not None:
        image = image.transpose(transposition)
        image.info = {} if transparency is None else {"transparency": transparency}
    if image.mode in SIXTEEN_BIT_MODES:
        levels = np.asarray(image)
        levels = levels >> 8 if image.mode != "I" or levels.max() > 255 else levels
        image = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
        if transparency is not None:
            image.info["transparency"] = transparency >> 8
    return image
