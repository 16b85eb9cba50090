"""XMP data: the orientation of a picture, and XMP data for the upright result."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

XMP_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)([1-8])")
"""The orientation, 1 to 8 as in EXIF, as an attribute or an element."""

THUMBNAILS = b"<xmp:Thumbnails>", b"</xmp:Thumbnails>"
"""The tags around thumbnails in XMP data."""


def xmp_of(info: Mapping[Any, Any]) -> bytes:
    """The XMP data that Pillow found in a file; empty if the file has none, or none in UTF-8."""
    data = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    data = data.encode() if isinstance(data, str) else bytes(data).rstrip(b"\0")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return b""
    return b"" if "\0" in text else data


def orientation_in(data: bytes) -> int:
    """The orientation in XMP data, 1 to 8; 1 if the data has none.

    >>> orientation_in(b"<tiff:Orientation>6</tiff:Orientation>")
    6
    """
    found = XMP_ORIENTATION.search(data)
    return int(found[2]) if found else 1


def updated_xmp(data: bytes) -> bytes:
    """XMP data of an upright picture, without thumbnails.

    >>> updated_xmp(b'<rdf:Description tiff:Orientation="6"/>')
    b'<rdf:Description tiff:Orientation="1"/>'
    """
    return XMP_ORIENTATION.sub(rb"\g<1>1", remove_thumbnails(data))


def remove_thumbnails(data: bytes) -> bytes:
    """XMP data without thumbnails, in linear time for any data.

    >>> remove_thumbnails(b"a<xmp:Thumbnails>b</xmp:Thumbnails>c<xmp:Thumbnails>d")
    b'ac<xmp:Thumbnails>d'
    """
    opening, closing = THUMBNAILS
    kept, start = [], 0
    while (first := data.find(opening, start)) >= 0:
        last = data.find(closing, first)
        if last < 0:
            break
        kept.append(data[start:first])
        start = last + len(closing)
    return b"".join([*kept, data[start:]])
