"""XMP data is read and made true however it is spelled."""

from __future__ import annotations

import time
from typing import Any

import pytest

from quantgpu.io.xmp import orientation_in, updated_xmp, xmp_of

SPELLINGS = (
    'tiff:Orientation="{}"',
    "tiff:Orientation = '{}'",
    "<tiff:Orientation> {} </tiff:Orientation>",
)


@pytest.mark.parametrize("text", SPELLINGS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_found_and_becomes_upright(text: str, orientation: int) -> None:
    data = text.format(orientation).encode()
    assert orientation_in(data) == orientation
    assert updated_xmp(data) == text.format(1).encode()


@pytest.mark.parametrize(
    "text", ["", "tiff:Orientation", 'tiff:Orientation="9"', 'Orientation="6"']
)
def test_no_orientation_is_upright(text: str) -> None:
    assert orientation_in(text.encode()) == 1
    assert updated_xmp(text.encode()) == text.encode()


def test_thumbnails_are_removed() -> None:
    thumbnails = "<xmp:Thumbnails><rdf:Alt>\n<rdf:li>/9j/4AAQ</rdf:li></rdf:Alt></xmp:Thumbnails>"
    assert updated_xmp(f"<a>{thumbnails}<b/></a>".encode()) == b"<a><b/></a>"


@pytest.mark.parametrize("key", ["xmp", "XML:com.adobe.xmp"])
@pytest.mark.parametrize("data", ["<x>ü</x>", "<x>ü</x>".encode(), "<x>ü</x>\0\0".encode()])
def test_data_is_found_wherever_pillow_puts_it(key: str, data: Any) -> None:
    assert xmp_of({key: data}) == "<x>ü</x>".encode()


@pytest.mark.parametrize(
    "data", [b"\xff\xfe<\0r\0", "<tiff:Orientation>6".encode("utf-16"), b"\xfc", b"a\0b", None]
)
def test_data_that_is_not_utf_8_is_none(data: Any) -> None:
    assert xmp_of({"xmp": data}) == b""


def test_xmp_data_of_many_thumbnails_takes_linear_time() -> None:
    data = b"<xmp:Thumbnails>" * 100_000
    started = time.process_time()
    assert updated_xmp(data) == data
    assert updated_xmp(data + b"</xmp:Thumbnails>") == b""
    assert time.process_time() - started < 5  # it took minutes
