"""Histogram files: what is read is what was written, and nothing else is taken for it."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import encoded
from numpy.typing import NDArray
from pictures import photo, soft_photo

from quantgpu.color.packing import CLEAR, KEYS
from quantgpu.errors import InputError, OutputError, UsageError
from quantgpu.histogram import Histogram
from quantgpu.io.histogram_files import (
    MAGIC,
    MOST_PIXELS,
    Counted,
    decode_histogram,
    encode_histogram,
    read_histogram,
    write_histogram,
)
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.pixels import Pixels


def counted(picture: NDArray[np.uint8], perceptual: bool = False, **how: Any) -> Counted:
    return Counted(count_colors(Pixels(picture), 1, perceptual=perceptual), perceptual, **how)


def small(**how: Any) -> Counted:
    """Three colors, one of them clear, with counts of one, two and many digits."""
    keys = np.array([7, 500, CLEAR])
    return Counted(Histogram(keys, np.array([1, 256, 70_000]), channels=4), alpha="keep", **how)


def weighed(**how: Any) -> Counted:
    few = small()
    return replace(
        few, histogram=replace(few.histogram, weights=np.array([1, 700, 17_850_000])),
        perceptual=True, **how,
    )  # fmt: skip


def fields(found: Counted) -> tuple[Any, ...]:
    return found.perceptual, found.masked, found.alpha, found.matte, found.icc


def assert_same(found: Counted, expected: Counted) -> None:
    np.testing.assert_array_equal(found.histogram.keys, expected.histogram.keys)
    np.testing.assert_array_equal(found.histogram.counts, expected.histogram.counts)
    for each in (found, expected):
        assert each.histogram.keys.dtype == each.histogram.counts.dtype == np.int64
    if expected.histogram.weights is None:
        assert found.histogram.weights is None
    else:
        np.testing.assert_array_equal(found.histogram.weights, expected.histogram.weights)
    assert found.histogram.channels == expected.histogram.channels
    assert fields(found) == fields(expected)


# Files


@given(st.data())
def test_what_is_read_is_what_was_written(data: st.DataObject) -> None:
    keys = sorted(data.draw(st.sets(st.integers(0, CLEAR), min_size=1, max_size=30)))
    rows = [
        (n, data.draw(st.integers(n, 255 * n)))
        for n in (data.draw(st.integers(1, 2**36)) for _ in keys)
    ]
    counts, weights = np.array(rows).T
    has_weights = data.draw(st.booleans())
    histogram = Histogram(
        np.array(keys), counts, weights if has_weights else None, 4 if keys[-1] >= KEYS else 3
    )
    matte = data.draw(st.none() | st.tuples(*[st.integers(0, 255)] * 3))
    given_ = Counted(
        histogram, has_weights, alpha=data.draw(st.sampled_from([None, "binary"])), matte=matte
    )
    assert_same(decode_histogram(encode_histogram(given_)), given_)


@pytest.mark.parametrize("perceptual", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (17, 31)])
def test_photographs_with_and_without_weights_come_back(
    perceptual: bool, shape: tuple[int, int], tmp_path: Path
) -> None:
    for picture in (photo(*shape), soft_photo(*shape)):
        one = counted(picture, perceptual)
        path = tmp_path / f"{picture.shape[2]}.QHIST"
        assert write_histogram(path, one) == path.stat().st_size
        assert_same(read_histogram(path), one)


def naive_decode(data: bytes) -> tuple[dict[str, Any], list[list[int]]]:
    """The header and the columns, by the description of the format."""
    assert data[:8] == b"\x89qhist\r\n"
    version, length = struct.unpack("<HH", data[8:12])
    assert version == 1
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]
    header = json.loads(data[12 : 12 + length])
    rest = zlib.decompress(data[12 + length : -32])
    assert len(rest) == header["bytes"]
    columns = []
    while rest:
        column = list(rest[: header["colors"]])
        rest = rest[header["colors"] :]
        for row, value in enumerate(column):
            if value == 255:
                column[row] += int.from_bytes(rest[:8], "little")
                rest = rest[8:]
        columns.append(column)
    return header, columns


def test_the_format_is_as_described() -> None:
    header, columns = naive_decode(encode_histogram(weighed(matte=(1, 2, 3))))
    assert header == {
        "alpha": "keep", "bytes": len(b"".join([bytes(12), bytes(8 * 5)])), "colors": 3,
        "icc": "convert", "masked": False, "matte": [1, 2, 3], "perceptual": True,
        "pixels": 70_257,
    }  # fmt: skip
    assert columns == [[7, 492, CLEAR - 501], [0, 255, 69_999], [1, 2, 255], [0, 188, 0]]


def test_the_same_histogram_gives_the_same_bytes() -> None:
    assert encode_histogram(weighed()) == encode_histogram(weighed())
    one = encode_histogram(counted(photo(), True))
    assert one == encode_histogram(decode_histogram(one))


@pytest.mark.parametrize("cut", [1, 30, 60])
@pytest.mark.parametrize("make", [photo, soft_photo])
def test_parts_of_a_picture_add_up_to_the_bytes_of_the_whole(cut: int, make: Any) -> None:
    picture = make()
    parts = [counted(picture[:cut]), counted(picture[cut:])]
    there = [decode_histogram(encode_histogram(part)) for part in parts]
    for added in (there[0] + there[1], there[1] + there[0]):
        assert encode_histogram(added) == encode_histogram(counted(picture))


def test_a_large_photograph_takes_few_bytes_for_each_color() -> None:
    one = counted(photo(300, 400), True)
    assert len(encode_histogram(one)) < 3.5 * len(one.histogram)


# Damage


@pytest.mark.parametrize("given_", [small(), weighed()], ids=["counts", "weights"])
def test_any_byte_that_is_changed_is_noticed(given_: Counted) -> None:
    data = encode_histogram(given_)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        with pytest.raises(InputError, match="expected"):
            decode_histogram(bytes(changed))


def test_any_end_that_is_missing_is_noticed() -> None:
    data = encode_histogram(weighed())
    for length in range(len(data)):
        with pytest.raises(InputError, match="expected"):
            decode_histogram(data[:length])
    with pytest.raises(InputError, match="expected"):
        decode_histogram(data + b"\0")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"expected a histogram file \(\.qhist\), but it is empty"),
        (
            encoded(photo(), "PNG"),
            r"expected a .* begins with b'\\x89qhist.*found b'\\x89PNG.*count",
        ),
        (MAGIC[:5], "expected a histogram file, which begins with"),
        (MAGIC + b"\1", "expected 12 bytes at least, found 9: truncated"),
        (MAGIC + bytes([2, 0, 9, 9]), "expected a .* version 1, found version 2; it takes a newer"),
        (MAGIC + bytes([1, 0, 0, 0]), "damaged or truncated: expected the checksum"),
    ],
)
def test_what_is_no_histogram_file_is_refused_by_name(
    data: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "given.qhist"
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"^{path}: {message}"):
        read_histogram(path)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.qhist: no such file"):
        read_histogram(tmp_path / "none.qhist")
    with pytest.raises(InputError, match="is a folder"):
        read_histogram(tmp_path)


def column(*values: int) -> bytes:
    """A column, by the description of the format."""
    longer = b"".join(struct.pack("<q", value - 255) for value in values if value >= 255)
    return bytes(min(value, 255) for value in values) + longer


HEADER = {
    "alpha": None, "colors": 2, "icc": "convert", "masked": False, "matte": None,
    "perceptual": True, "pixels": 12,
}  # fmt: skip
COLUMNS = (column(4, 300), column(1, 9), column(2, 255), column(1, 0))


def file_of(header: dict[str, Any] | bytes, columns: bytes) -> bytes:
    """A file with a right checksum, whatever it says."""
    if isinstance(header, dict):
        header = json.dumps({"bytes": len(columns), **header}).encode()
    whole = struct.pack("<8sHH", MAGIC, 1, len(header)) + header + zlib.compress(columns)
    return whole + hashlib.sha256(whole).digest()


def test_a_file_by_another_writer_is_read() -> None:
    found = decode_histogram(file_of(HEADER, b"".join(COLUMNS))).histogram
    assert found.keys.tolist() == [4, 305]
    assert found.counts.tolist() == [2, 10]
    assert found.weights.tolist() == [5, 2550]


@pytest.mark.parametrize(
    "header",
    [
        *({"colors": 0}, {"colors": 1}, {"colors": 3}, {"colors": -1}, {"colors": "2"}),
        *({"colors": 10**15}, {"pixels": 11}, {"bytes": 22}, {"bytes": 1000}, {"bytes": -1}),
        *({"perceptual": False}, {"perceptual": "yes"}, {"icc": "magic"}, {"alpha": "soft"}),
        *({"matte": [1, 2]}, {"matte": [1, 2, 256]}, {"matte": "red"}),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="its checksum is right, but not what it says"):
        decode_histogram(file_of({**HEADER, **header}, b"".join(COLUMNS)))


@pytest.mark.parametrize("header", [b"", b"{", b"[]", b"3", b"\xff", b"{}", b"[" * 65_000])
def test_a_header_that_is_none_is_refused(header: bytes) -> None:
    with pytest.raises(InputError, match="its checksum is right"):
        decode_histogram(file_of(header, b"".join(COLUMNS)))


@pytest.mark.parametrize(
    ("number", "values", "pixels"),
    [
        (0, column(4, CLEAR), 12),
        (0, column(4, 2**62), 12),
        (0, b"\1\xff" + struct.pack("<q", -9), 12),
        (1, column(1, MOST_PIXELS), MOST_PIXELS + 3),
        (2, column(0, 255), 12),
        (2, column(2, 256), 12),
        (2, column(2, 2**44), 12),
        (3, column(2, 0), 12),
        (3, column(1, 1), 12),
    ],
)
def test_columns_that_are_no_histograms_are_refused(
    number: int, values: bytes, pixels: int
) -> None:
    columns = [*COLUMNS[:number], values, *COLUMNS[number + 1 :]]
    with pytest.raises(InputError, match="its checksum is right"):
        decode_histogram(file_of({**HEADER, "pixels": pixels}, b"".join(columns)))


def test_a_stream_with_something_behind_it_is_refused() -> None:
    whole = file_of(HEADER, b"".join(COLUMNS))[:-32] + b"more"
    with pytest.raises(InputError, match="its checksum is right"):
        decode_histogram(whole + hashlib.sha256(whole).digest())


# Adding


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ({"perceptual": True}, {}, "was counted with --no-perceptual, but .* with --perceptual"),
        ({}, {"icc": "keep"}, "was counted with --icc keep, but .* with --icc convert; count"),
        ({"alpha": "keep"}, {"alpha": "flatten"}, "with --alpha flatten, but .* --alpha keep"),
        (
            {"alpha": "binary", "matte": (1, 2, 255)},
            {"alpha": "binary"},
            "with no --matte, but .* with --matte #0102ff",
        ),
    ],
)
def test_what_was_counted_differently_is_not_added(
    one: dict[str, Any], other: dict[str, Any], message: str
) -> None:
    histogram = counted(photo(3, 4)).histogram
    with pytest.raises(UsageError, match=message):
        Counted(histogram, **one) + Counted(histogram, **other)


def test_opaque_pictures_go_with_any_way_of_transparency() -> None:
    flat, soft = Counted(counted(photo()).histogram), small(matte=(1, 2, 3))
    for added in (flat + soft, soft + flat):
        assert (added.alpha, added.matte, added.histogram.channels) == ("keep", (1, 2, 3), 4)


def test_a_mask_on_one_of_two_is_a_mask_on_both() -> None:
    plain, masked = counted(photo()), replace(weighed(), perceptual=False, masked=True)
    added = masked + plain
    assert added.masked
    assert added.histogram.weights.sum() == (
        masked.histogram.weights.sum() + 255 * plain.histogram.pixels
    )


def test_too_many_pixels_are_refused() -> None:
    most = Counted(Histogram(np.array([5]), np.array([MOST_PIXELS])))
    assert decode_histogram(encode_histogram(most)).histogram.pixels == MOST_PIXELS
    with pytest.raises(UsageError, match="pixels together are more than 35,184,372,088,832"):
        most + most


def test_perceptual_weights_can_be_left_out_but_not_made_up() -> None:
    assert weighed().weighed(True).histogram.weights is not None
    without = weighed().weighed(False)
    assert_same(without, small())
    with pytest.raises(UsageError, match="was counted with --no-perceptual; use that here too"):
        small().weighed(True)
    with pytest.raises(UsageError, match="with --perceptual and --weights"):
        weighed(masked=True).weighed(False)


# Writing


def test_nothing_is_overwritten_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "one.qhist"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists; use --force"):
        write_histogram(path, small())
    assert path.read_text() == "mine"
    write_histogram(path, small(), force=True)
    assert_same(read_histogram(path), small())


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"one\.png: histograms are written as \.qhist files"):
        write_histogram(tmp_path / "one.png", small())
    assert not list(tmp_path.iterdir())
