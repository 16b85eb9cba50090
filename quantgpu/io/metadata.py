"""Metadata of files, updated for the result, which is upright, in other colors, and without the
thumbnail of the original.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from quantgpu.io.exif import DAMAGED, exif_of, note_damage, updated_exif
from quantgpu.io.xmp import updated_xmp, xmp_of

PROCESSING = re.compile(r"XML:com\.adobe\.xmp|Raw profile type .*", re.IGNORECASE)
"""Keywords of PNG texts that hold XMP or raw profiles instead of text."""

XMP = 700
"""The TIFF tag of XMP data."""

MOST_DPI = 1e6


class Metadata(NamedTuple):
    """The metadata of a picture."""

    exif: bytes = b""
    """As in a TIFF file, from the byte order on."""
    xmp: bytes = b""
    """An XML packet, in UTF-8."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch, across and down."""
    texts: tuple[tuple[str, str], ...] = ()
    """Keywords and texts of a PNG file, and the comment of others."""
    profile: bytes = b""
    """The color profile of the levels; none for sRGB."""


NO_METADATA = Metadata()

METADATA: dict[str, Callable[[Metadata], Metadata]] = {
    "keep": lambda metadata: metadata,
    "strip": lambda metadata: Metadata(profile=metadata.profile),
}
"""Name to a function from a file's metadata to the metadata that is written; the choices of
``--metadata``."""


def metadata_of(
    image: Image.Image, size: tuple[int, int], sideways: bool, in_srgb: bool, notes: list[str]
) -> Metadata:
    """The metadata of a decoded image's file, updated for the result.

    Args:
        image: As Pillow opened it.
        size: Width and height of the result.
        sideways: Whether turning the image upright exchanged its width and height.
        in_srgb: Whether the colors were converted to sRGB.
        notes: A note is appended if damaged metadata is left out.
    """
    info = image.info
    exif = b""
    try:
        if DAMAGED not in notes:
            exif = updated_exif(exif_of(image), size, sideways, in_srgb)
    except ValueError:
        note_damage(notes)
    dpi = dpi_of(info)
    return Metadata(
        exif=exif,
        xmp=updated_xmp(xmp_of(info)),
        dpi=dpi[::-1] if dpi and sideways else dpi,
        texts=texts_of(image),
    )


def dpi_of(info: Mapping[Any, Any]) -> tuple[float, float] | None:
    """Pixels per inch, across and down; None if the file has none, or values that cannot be.

    Pillow reports 1 for some files that have none.
    """
    try:
        across, down = map(float, info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if all(1 < x <= MOST_DPI for x in (across, down)) else None


def texts_of(image: Image.Image) -> tuple[tuple[str, str], ...]:
    """(keyword, text) pairs of a PNG file; of other files the comment."""
    if image.format == "PNG":
        texts = [(str(key), text) for key, text in image.info.items() if isinstance(text, str)]
        return tuple(pair for pair in texts if not PROCESSING.fullmatch(pair[0]))
    comment = image.info.get("comment")
    return (("Comment", comment.decode(errors="replace")),) if isinstance(comment, bytes) else ()


# To files


def png_options(metadata: Metadata) -> dict[str, Any]:
    """The options of Pillow's PNG writer for the metadata."""
    chunks = PngInfo()
    for keyword, text in metadata.texts:
        chunks.add_text(keyword, text)
    if metadata.xmp:
        chunks.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode())
    options = {"pnginfo": chunks, "exif": metadata.exif, "dpi": metadata.dpi}
    return options | {"icc_profile": metadata.profile}


def webp_options(metadata: Metadata) -> dict[str, Any]:
    """The options of Pillow's WebP writer for the metadata."""
    options = {"exif": metadata.exif, "xmp": metadata.xmp}
    return options | {"icc_profile": metadata.profile}


def tiff_options(metadata: Metadata) -> dict[str, Any]:
    """The options of Pillow's TIFF writer for all metadata but EXIF, see `tiff_exif.with_exif`."""
    tags = {XMP: metadata.xmp} if metadata.xmp else {}
    return {"tiffinfo": tags, "dpi": metadata.dpi, "icc_profile": metadata.profile}


def gif_options(metadata: Metadata) -> dict[str, Any]:
    """The options of Pillow's GIF writer for the metadata."""
    comments = [text for keyword, text in metadata.texts if keyword == "Comment"]
    return {"comment": comments[0].encode()} if comments else {}


def bmp_options(metadata: Metadata) -> dict[str, Any]:
    """The options of Pillow's BMP writer for the metadata."""
    return {"dpi": metadata.dpi}


class MetadataSupport(NamedTuple):
    """The metadata that a file format holds."""

    fields: tuple[str, ...]
    """The fields of `Metadata` that the format holds."""
    options: Callable[[Metadata], dict[str, Any]]
    """From metadata to the options of Pillow's writer."""


METADATA_SUPPORT = {
    "PNG": MetadataSupport(("exif", "xmp", "dpi", "texts", "profile"), png_options),
    "WEBP": MetadataSupport(("exif", "xmp", "profile"), webp_options),
    "TIFF": MetadataSupport(("exif", "xmp", "dpi", "profile"), tiff_options),
    "GIF": MetadataSupport((), gif_options),
    "BMP": MetadataSupport(("dpi",), bmp_options),
    "NPZ": MetadataSupport((), lambda metadata: {}),
}
"""The name of a format to the metadata that it holds."""


def saving_options(name: str, metadata: Metadata) -> dict[str, Any]:
    """The keyword arguments of `Image.save` that write the metadata in the format `name`."""
    return {key: value for key, value in METADATA_SUPPORT[name].options(metadata).items() if value}


def note_lost_metadata(name: str, metadata: Metadata) -> list[str]:
    """A list of one note if the format `name` cannot hold the EXIF or XMP data, else of none."""
    missing = {field for field in metadata._fields if getattr(metadata, field)}
    lost = [
        word.upper()
        for word in ("exif", "xmp")
        if word in missing - {*METADATA_SUPPORT[name].fields}
    ]
    return [f"{name} holds no {' or '.join(lost)} data"] if lost else []
