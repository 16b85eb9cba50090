"""Palette files: as other programs write them, what comes back, and what is said when they lie."""

import io
import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from image_files import chunk, encoded, png
from numpy.typing import NDArray
from PIL import Image

from quantgpu.errors import InputError, OutputError, UsageError
from quantgpu.io.palette_binaries import write_riff
from quantgpu.io.palette_files import PALETTE_FILES, read_palette, write_palette

palettes = arrays(np.uint8, st.tuples(st.integers(1, 256), st.just(3)))
THREE = np.array([[255, 128, 0], [1, 2, 3], [255, 128, 0]], np.uint8)
REPEATED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


def read(folder: Path, suffix: str, content: str | bytes) -> list[tuple[int, ...]]:
    path = folder / f"p{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    colors = read_palette(path)
    assert colors.dtype == np.uint8
    assert colors.shape == (len(colors), 3)
    return [tuple(color) for color in colors.tolist()]


def written(folder: Path, suffix: str, colors: NDArray[np.uint8]) -> bytes:
    path = folder / f"p{suffix}"
    write_palette(path, colors, force=True)
    return path.read_bytes()


def many(count: int) -> NDArray[np.uint8]:
    """`count` distinct colors."""
    numbers = np.arange(count)
    return np.stack([numbers % 256, numbers // 256 % 256, 7 * (numbers // 65536)], 1).astype("u1")


# There and back


@pytest.mark.parametrize("suffix", PALETTE_FILES)
@REPEATED
@given(palette=palettes)
def test_a_palette_comes_back_in_its_order_with_its_duplicates(
    tmp_path: Path, suffix: str, palette: NDArray[np.uint8]
) -> None:
    written(tmp_path, suffix, palette)
    np.testing.assert_array_equal(read_palette(tmp_path / f"p{suffix}"), palette)


@pytest.mark.parametrize("suffix", [s for s, form in PALETTE_FILES.items() if form.most > 256])
@pytest.mark.parametrize("count", [257, 1000, 65_536])
def test_large_palettes_come_back(tmp_path: Path, suffix: str, count: int) -> None:
    written(tmp_path, suffix, many(count))
    np.testing.assert_array_equal(read_palette(tmp_path / f"p{suffix}"), many(count))


@REPEATED
@given(palette=palettes)
def test_riff_palettes_come_back(tmp_path: Path, palette: NDArray[np.uint8]) -> None:
    found = read(tmp_path, ".pal", write_riff(palette, ""))
    np.testing.assert_array_equal(found, palette)


def test_suffixes_are_the_same_in_capitals(tmp_path: Path) -> None:
    assert written(tmp_path, ".GPL", THREE) == written(tmp_path, ".gpl", THREE)
    assert read_palette(tmp_path / "p.GPL").tolist() == THREE.tolist()


@pytest.mark.parametrize("count", [2, 256, 300])
def test_transparent_colors_come_back_from_png(tmp_path: Path, count: int) -> None:
    colors = np.column_stack([many(count), np.arange(count) % 255 + 1]).astype(np.uint8)
    written(tmp_path, ".png", colors)
    np.testing.assert_array_equal(read_palette(tmp_path / "p.png"), colors)


@pytest.mark.parametrize("suffix", PALETTE_FILES)
def test_opaque_alpha_is_left_out(tmp_path: Path, suffix: str) -> None:
    opaque = np.column_stack([THREE, [255] * 3]).astype(np.uint8)
    assert written(tmp_path, suffix, opaque) == written(tmp_path, suffix, THREE)
    assert read_palette(tmp_path / f"p{suffix}").shape == (3, 3)


@pytest.mark.parametrize("suffix", [s for s in PALETTE_FILES if s != ".png"])
def test_transparent_colors_are_refused_where_they_cannot_be(tmp_path: Path, suffix: str) -> None:
    clear = np.column_stack([THREE, [255, 0, 255]]).astype(np.uint8)
    with pytest.raises(UsageError, match=r"hold no transparent colors; use --alpha flatten"):
        written(tmp_path, suffix, clear)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("transparency", [1, b"\xff\0", b"\xff\0\xff\xff\xff\xff"])
def test_transparent_entries_of_an_indexed_picture_count(
    tmp_path: Path, transparency: int | bytes
) -> None:
    picture = Image.new("P", (5, 3))
    picture.putpalette(THREE.tobytes())
    picture.save(tmp_path / "p.png", transparency=transparency)
    expected = [[255, 128, 0, 255], [1, 2, 3, 0], [255, 128, 0, 255]]
    assert read_palette(tmp_path / "p.png").tolist() == expected


# What is written, byte by byte

PAINT_NET = """; paint.net Palette File
; Lines that start with a semicolon are comments
; Colors are written as 8-digit hexadecimal numbers: aarrggbb
FFFF8000
FF010203
FFFF8000
"""

WRITTEN = {
    ".gpl": b"GIMP Palette\nName: p\nColumns: 16\n#\n"
    b"255 128   0\tUntitled\n  1   2   3\tUntitled\n255 128   0\tUntitled\n",
    ".act": bytes([255, 128, 0, 1, 2, 3, 255, 128, 0]) + bytes(759) + b"\0\3\xff\xff",
    ".pal": b"JASC-PAL\r\n0100\r\n3\r\n255 128 0\r\n1 2 3\r\n255 128 0\r\n",
    ".hex": b"ff8000\n010203\nff8000\n",
    ".txt": PAINT_NET.replace("\n", "\r\n").encode(),
    ".json": b'[\n  "#ff8000",\n  "#010203",\n  "#ff8000"\n]\n',
    ".css": b":root {\n  --color-0: #ff8000;\n  --color-1: #010203;\n  --color-2: #ff8000;\n}\n",
}


@pytest.mark.parametrize("suffix", WRITTEN)
def test_files_are_what_the_programs_themselves_write(tmp_path: Path, suffix: str) -> None:
    assert written(tmp_path, suffix, THREE) == WRITTEN[suffix]


def test_adobe_swatches_are_global_and_rgb(tmp_path: Path) -> None:
    name = "#FF8000\0".encode("utf-16-be")
    block = b"\0\x08" + name + b"RGB " + struct.pack(">fff", 1, 128 / 255, 0) + b"\0\0"
    expected = b"ASEF\0\1\0\0\0\0\0\1\0\1" + struct.pack(">I", len(block)) + block
    assert written(tmp_path, ".ase", THREE[:1]) == expected


def test_riff_is_what_windows_writes() -> None:
    expected = b"RIFF\x18\0\0\0PAL data\x0c\0\0\0\0\3\2\0\xff\x80\0\0\1\2\3\0"
    assert write_riff(THREE[:2], "") == expected


def test_a_png_shows_swatches_and_has_exactly_the_palette(tmp_path: Path) -> None:
    data = written(tmp_path, ".png", many(20))
    at = data.index(b"PLTE")
    assert data[at - 4 : at + 64] == struct.pack(">I", 60) + b"PLTE" + many(20).tobytes()
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.mode, picture.size) == ("P", (16 * 16, 2 * 16))
        pixels = np.asarray(picture)
    np.testing.assert_array_equal(pixels[8::16, 8::16].ravel()[:20], range(20))


def test_nothing_is_replaced_without_force(tmp_path: Path) -> None:
    path = tmp_path / "p.gpl"
    path.write_text("precious")
    with pytest.raises(OutputError, match="exists; use --force"):
        write_palette(path, THREE)
    assert path.read_text() == "precious"
    write_palette(path, THREE, force=True)
    assert len(read_palette(path)) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.gpl"]


def test_line_breaks_in_a_name_do_not_break_the_file(tmp_path: Path) -> None:
    write_palette(tmp_path / "a\nb.gpl", THREE)
    assert (tmp_path / "a\nb.gpl").read_bytes().startswith(b"GIMP Palette\nName: a b\nColumns")


# Files as other programs write them

RED_BLUE = [(255, 0, 0), (0, 16, 255)]

FOREIGN: dict[str, tuple[str, str | bytes]] = {
    "GIMP 2": (".gpl", "GIMP Palette\nName: Bold\nColumns: 2\n#\n255   0   0\tRed\n  0  16 255\n"),
    "old GIMP": (".gpl", "GIMP Palette\r\n# a comment\r\n255 0 0 Red: it is\r\n\r\n0 16 255\r\n"),
    "Aseprite": (
        ".gpl",
        "GIMP Palette\nChannels: RGBA\n#\n255 0 0 255 Untitled\n0 16 255 255 Untitled\n",
    ),
    "Latin-1 names": (".gpl", b"GIMP Palette\nName: \xe9t\xe9\n255 0 0 \xe9\n0 16 255 \xff\n"),
    "Paint Shop Pro": (".pal", "JASC-PAL\r\n0100\r\n2\r\n255 0 0\r\n0 16 255\r\n"),
    "JASC with alpha": (".pal", "JASC-PAL\n0100\n2\n255 0 0 255\n0 16 255 255"),
    "RIFF with other chunks": (
        ".pal",
        b"RIFF\x24\0\0\0PAL offl\3\0\0\0abc\0data\x0c\0\0\0\0\3\2\0\xff\0\0\4\0\x10\xff\0",
    ),
    "Lospec": (".hex", "ff0000\r\n0010ff\r\n"),
    "hex of every kind": (".hex", "\ufeff; a comment\n#F00\n\n// another\n# third\n0010FFff\n"),
    "Paint.NET": (".txt", "\ufeff; paint.net Palette File\r\nFFFF0000\r\nff0010FF\r\n"),
    "Paint.NET by hand": (".txt", ";\n#FF0000\nF00F\n".replace("F00F", "FF0010FF")),
    "Notepad": (".txt", ";\r\nFFFF0000\r\nFF0010FF".encode("utf-16")),
    "JSON strings": (".json", '["#F00", "0010ffFF"]'),
    "JSON object": (".json", '\ufeff{"name": "x", "colors": ["#ff0000", "#0010FF"]}'),
    "JSON triples": (".json", "[[255, 0, 0], [0, 16, 255, 255]]"),
    "CSS": (
        ".css",
        ":root{/* --old: #123456;\n */--red:#F00;\r\n  --blue : rgb(0, 16, 255)}\n"
        "a:hover{color:var(--red)} .block--big:hover{left:0}",
    ),
    "CSS with alpha": (".css", "* { --a: rgba(255,0,0,1); --b: #0010ffff }"),
    "ACT without a tail": (".act", bytes([255, 0, 0, 0, 16, 255]) + bytes(762)),
    "ACT with a transparent color": (
        ".act",
        bytes([255, 0, 0, 0, 16, 255]) + bytes(762) + b"\0\2\0\1",
    ),
}


@pytest.mark.parametrize("program", FOREIGN)
def test_files_of_other_programs_are_read(tmp_path: Path, program: str) -> None:
    suffix, content = FOREIGN[program]
    colors = read(tmp_path, suffix, content)
    assert colors[:2] == RED_BLUE
    assert len(colors) == (256 if program == "ACT without a tail" else 2)


def swatch(model: bytes, *values: float, name: str = "x") -> bytes:
    title = (name + "\0").encode("utf-16-be")
    block = struct.pack(">H", len(title) // 2) + title + model
    block += struct.pack(f">{len(values)}f", *values) + b"\0\2"
    return b"\0\1" + struct.pack(">I", len(block)) + block


def ase(*blocks: bytes, count: int | None = None) -> bytes:
    number = len(blocks) if count is None else count
    return b"ASEF\0\1\0\0" + struct.pack(">I", number) + b"".join(blocks)


GROUP = b"\xc0\1\0\0\0\6\0\2\0g\0\0"
GROUP_END = b"\xc0\2\0\0\0\0"


def test_swatches_in_groups_and_in_every_model_are_read(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        ".ase",
        ase(
            GROUP,
            swatch(b"RGB ", 1, 0.5, 0),
            swatch(b"Gray", 0.2),
            GROUP_END,
            swatch(b"CMYK", 0, 0.5, 1, 0.2, name="ink é"),
            swatch(b"CMYK", 0, 0, 0, 1),
            swatch(b"LAB ", 1, 0, 0),
            swatch(b"LAB ", 0, 0, 0),
        ),
    )
    black, white = (0, 0, 0), (255, 255, 255)
    assert found == [(255, 128, 0), (51, 51, 51), (204, 102, 0), black, white, black]


@pytest.mark.parametrize(
    ("lab", "expected"),
    [
        ((0.5389, 0, 0), (128, 128, 128)),
        ((0.542917, 80.8125, 69.8851), (255, 0, 0)),
        ((0.878181, -79.2873, 80.9902), (0, 255, 0)),
        ((0.295676, 68.2986, -112.0294), (0, 0, 255)),
    ],
)
def test_lab_swatches_are_relative_to_d50(
    tmp_path: Path, lab: tuple[float, ...], expected: tuple[int, ...]
) -> None:
    (found,) = read(tmp_path, ".ase", ase(swatch(b"LAB ", *lab)))
    assert np.abs(np.array(found) - expected).max() <= 1, found


def test_an_indexed_png_gives_its_own_palette_unused_entries_and_all(tmp_path: Path) -> None:
    palette = bytes([9, 9, 9, 255, 0, 0, 9, 9, 9, 0, 16, 255, 7, 7, 7])
    data = png([b"\x01\x03"], 2, 1, chunk(b"PLTE", palette), color_type=3)
    assert np.array(read(tmp_path, ".png", data), np.uint8).tobytes() == palette


def test_a_true_color_png_gives_its_colors_in_reading_order(tmp_path: Path) -> None:
    rows = np.array([[RED_BLUE[1], RED_BLUE[0]], [(5, 5, 5), RED_BLUE[1]]], np.uint8)
    assert read(tmp_path, ".png", encoded(rows, "PNG")) == [*RED_BLUE[::-1], (5, 5, 5)]


def test_a_gray_png_gives_its_grays(tmp_path: Path) -> None:
    assert read(tmp_path, ".png", encoded(np.array([[9, 3, 9]], np.uint8), "PNG")) == [
        (9, 9, 9),
        (3, 3, 3),
    ]


# Malformed files: where, and what was expected

PNG = encoded(THREE[None], "PNG")
BROKEN: list[tuple[str, str | bytes, str]] = [
    (".gpl", "RIFF", r"line 1: expected 'GIMP Palette', found 'RIFF'; it begins like a \.pal"),
    (".gpl", "\n\n", "line 1: expected 'GIMP Palette', found nothing"),
    (".gpl", "GIMP Palette\n\n1 2\n", "line 3: expected levels of red, .* found '1 2'"),
    (".gpl", "GIMP Palette\r1 2 256\r", "line 2: expected levels .* 0 to 255, found '1 2 256'"),
    (".gpl", "GIMP Palette\n-1 2 3", "line 2: expected levels"),
    (".gpl", "GIMP Palette\n1 2 3\nName: late", "line 3: expected levels"),
    (".gpl", "GIMP Palette\nChannels: RGBA\n1 2 3 128", "line 3: expected levels"),
    (".gpl", "GIMP Palette\nName: empty\n#\n", "byte 27: expected 1 to 65,536 colors, found 0"),
    (".act", b"\0" * 700, "byte 700: expected 768 or 772 bytes, found 700"),
    (".act", b"\0" * 770, "byte 770: expected 768 or 772 bytes, found 770"),
    (".act", b"\0" * 9000, "byte 772: expected 768 or 772 bytes, found 9000"),
    (".act", bytes(772), "byte 768: expected a number of colors, 1 to 256: 0"),
    (".act", bytes(768) + b"\1\1\0\0", "byte 768: expected a number of colors, 1 to 256: 257"),
    (".ase", PNG, r"byte 0: expected b'ASEF.*rename it"),
    (".ase", b"ASEF\0\2\0\0", "byte 0: expected b'ASEF"),
    (".ase", b"ASEF\0\1\0\0\0", "byte 8: expected the number of blocks, 4 bytes, found 1"),
    (".ase", ase(), "byte 12: expected 1 to 65,536 colors, found 0"),
    (".ase", ase(GROUP, GROUP_END), "expected 1 to 65,536 colors, found 0"),
    (".ase", ase(swatch(b"Gray", 1), count=2), "byte 34: expected a block's kind, 2 bytes"),
    (".ase", ase(swatch(b"HSB ", 1, 1, 1)), "byte 24: expected RGB, CMYK, .* found b'HSB '"),
    (".ase", ase(swatch(b"RGB ", 1, 1.5, 1)), r"byte 28: expected levels of 0 to 1, found \[1.0"),
    (".ase", ase(swatch(b"RGB ", 1, float("nan"), 1)), "byte 28: expected levels of 0 to 1"),
    (".ase", ase(swatch(b"LAB ", 1, float("inf"), 1)), "byte 28: expected levels of 0 to 1"),
    (".ase", ase(b"\0\1\0\0\0\4\0\7ab"), "byte 20: expected a swatch's name, 14 bytes, found 2"),
    (".pal", "GIMP Palette\n", r"line 1: expected 'JASC-PAL' or 'RIFF', found b'GIMP Pal'.*\.gpl"),
    (".pal", "JASC-PAL", "line 2: expected '0100', found nothing"),
    (".pal", "JASC-PAL\n0200\n1\n1 2 3", "line 2: expected '0100', found '0200'"),
    (".pal", "JASC-PAL\n0100", "line 3: expected the number of colors, found nothing"),
    (".pal", "JASC-PAL\n0100\nall\n", "line 3: expected the number of colors, found 'all'"),
    (".pal", "JASC-PAL\n0100\n3\n1 2 3\n", "line 4: expected 3 colors, as line 3 says, found 1"),
    (".pal", "JASC-PAL\n0100\n1\n1 2 3\n4 5 6", "line 5: expected 1 colors, .* found 2"),
    (".pal", "JASC-PAL\n0100\n1\n1 2 x", "line 4: expected levels"),
    (".pal", "JASC-PAL\n0100\n0\n", "expected 1 to 65,536 colors, found 0"),
    (".pal", b"RIFF", "byte 4: expected the length of the file, 4 bytes, found 0"),
    (".pal", b"RIFF\0\0\0\0WAVE", "byte 8: expected b'PAL ', found b'WAVE'"),
    (".pal", b"RIFF\0\0\0\0PAL list\xff\0\0\0", "byte 20: expected a chunk, 256 bytes, found 0"),
    (".pal", b"RIFF\0\0\0\0PAL ", "byte 12: expected a chunk's name"),
    (".pal", write_riff(THREE, "")[:-1], "byte 24: expected 3 colors, 12 bytes, found 11"),
    (".pal", write_riff(THREE[:0], ""), "expected 1 to 65,536 colors, found 0"),
    (".hex", "ff8000\n\nff80\nff80000\n", "line 3: expected a color as RRGGBB, found 'ff80'"),
    (".hex", "red", "line 1: expected a color as RRGGBB, found 'red'"),
    (".hex", "ff800080", "line 1: expected a color as RRGGBB"),
    (".hex", PNG, r"line 1: expected .* it begins like a \.png file: rename it"),
    (".hex", ";\n", "byte 2: expected 1 to 65,536 colors, found 0"),
    (".hex", "\n".join(["ff8000"] * 70_000), "expected 1 to 65,536 colors, found 70,000"),
    (".txt", "; c\n80FF8000\n", "line 2: expected a color as AARRGGBB, AA being FF, found '80FF"),
    (".txt", "Dear diary,", "line 1: expected a color as AARRGGBB"),
    (".json", "[\n'#fff']", "line 2: expected JSON"),
    (".json", "[" * 100_000, "line 1: expected JSON that can be read"),
    (".json", "[[" + "9" * 5000 + ",0,0]]", "expected JSON that can be read|entry 1: expected"),
    (".json", "3", 'line 1: expected a list of colors, or an object with "colors".* found .3.'),
    (".json", '{"colours": []}', 'line 1: expected a list of colors, or an object with "colors"'),
    (".json", '["#fff", "white"]', r'entry 2: expected "#rrggbb" or \[red, .* found \'"white"\''),
    (".json", "[[1, 2, 256]]", "entry 1: expected"),
    (".json", "[[1, 2, true]]", "entry 1: expected"),
    (".json", "[[1, 2]]", "entry 1: expected"),
    (".json", "[]", "byte 2: expected 1 to 65,536 colors, found 0"),
    (".css", "a { color: red }", "line 1: expected custom properties such as --color-0: #rrggbb"),
    (".css", ":root {\n --a: #fff;\n --b: 3px;\n}", "line 3: expected #rrggbb or .* '--b: 3px'"),
    (".css", "/*\n\n*/ * { --a: rgb(0, 0, 999) }", "line 3: expected #rrggbb or rgb"),
    (".css", "* { --a: #ff800080 }", "line 1: expected #rrggbb"),
    (".png", "GIMP Palette\n1 2 3", r"byte 0: expected b'.*PNG.*it begins like a \.gpl file"),
    (".png", PNG[:-20], "expected .* found .*: it is truncated"),
    (".png", PNG.replace(b"IDAT", b"IDAX"), "byte 37: expected a chunk with its checksum"),
    (".png", png([b"\1"], 3, 1), "byte 8: expected a picture that can be decoded"),
    (".png", png([b""], 30_000, 30_000), "byte 16: expected swatches, found 30000 x 30000 pixels"),
    (".png", encoded(many(70_000)[None], "PNG"), "expected 1 to 65,536 colors, found 70,000"),
]


@pytest.mark.parametrize(("suffix", "content", "message"), BROKEN, ids=lambda x: str(x)[:20])
def test_malformed_files_are_refused_with_the_place_and_what_was_expected(
    tmp_path: Path, suffix: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(InputError) as raised:
        read(tmp_path, suffix, content)
    said = str(raised.value)
    assert said.startswith(f"{tmp_path / 'p'}{suffix}: ")
    assert re.search(message, said), said
    assert re.search(r"(line|byte|entry) \d+: expected", said), said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("suffix", PALETTE_FILES)
def test_empty_files_say_so(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InputError, match=r"byte 0: expected a .* palette, found nothing"):
        read(tmp_path, suffix, b"")


@pytest.mark.parametrize("suffix", PALETTE_FILES)
def test_enormous_files_are_not_read_to_their_end(tmp_path: Path, suffix: str) -> None:
    with (tmp_path / f"p{suffix}").open("wb") as stream:
        stream.truncate(1 << 33)
    with pytest.raises(InputError, match="expected the end of a palette"):
        read_palette(tmp_path / f"p{suffix}")


def test_missing_files_and_folders_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.gpl: no such file"):
        read_palette(tmp_path / "none.gpl")
    (tmp_path / "f.gpl").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        read_palette(tmp_path / "f.gpl")


@pytest.mark.parametrize("name", ["p.xyz", "p", "p.jpg"])
def test_unknown_suffixes_name_the_known_ones(tmp_path: Path, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: read_palette(tmp_path / name),
        lambda: write_palette(tmp_path / name, THREE),
    ]
    for call in calls:
        with pytest.raises(UsageError) as raised:
            call()
        for suffix in PALETTE_FILES:
            assert suffix in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("suffix", "count"), [(".act", 257), (".gpl", 65_537), (".gpl", 0), (".png", 0), (".act", 0)]
)
def test_palettes_that_a_format_does_not_hold_are_refused(
    tmp_path: Path, suffix: str, count: int
) -> None:
    with pytest.raises(UsageError, match=f"{count:,} colors are outside 1.."):
        write_palette(tmp_path / f"p{suffix}", many(count))
    assert list(tmp_path.iterdir()) == []


def test_a_large_png_with_duplicates_is_refused_as_it_would_lose_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds each once"):
        write_palette(tmp_path / "p.png", np.zeros((257, 3), np.uint8))


def mutated(data: bytes, places: list[tuple[int, int]], end: int) -> bytes:
    changed = bytearray(data)
    for place, value in places:
        changed[place % len(changed)] = value
    return bytes(changed[: max(end % (len(changed) + 1), 1)])


def refreshed(data: bytes) -> bytes:
    """A PNG with the checksums that its chunks ought to have."""
    out, at = data[:8], 8
    while at + 12 <= len(data):
        length = min(int.from_bytes(data[at : at + 4], "big"), len(data) - at - 12)
        body = data[at + 4 : at + 8 + length]
        out += struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return out


@pytest.mark.parametrize("suffix", [*PALETTE_FILES, "RIFF"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    noise=st.binary(min_size=1, max_size=60),
    places=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=4),
    end=st.integers(0, 2000),
)
@example(noise=b"\0", places=[], end=0)
def test_damaged_bytes_raise_nothing_but_an_input_error(
    tmp_path: Path, suffix: str, noise: bytes, places: list[tuple[int, int]], end: int
) -> None:
    whole = (
        write_riff(THREE, "") if suffix == "RIFF" else PALETTE_FILES[suffix].write(THREE, "name")
    )
    suffix = ".pal" if suffix == "RIFF" else suffix
    damaged = mutated(whole, places, end)
    for content in (noise, whole + noise, damaged, refreshed(damaged)):
        try:
            colors = read(tmp_path, suffix, content or b"x")
        except InputError:
            continue
        assert 1 <= len(colors) <= 65_536


def test_json_that_is_written_is_json(tmp_path: Path) -> None:
    assert json.loads(written(tmp_path, ".json", THREE)) == ["#ff8000", "#010203", "#ff8000"]


def test_a_file_with_the_suffix_that_it_should_have_is_not_to_be_renamed(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        read(tmp_path, ".gpl", "GIMP Palette\n1 2\n")
    assert "rename" not in str(raised.value)


def test_a_png_of_few_colors_is_as_wide_as_they_are(tmp_path: Path) -> None:
    with Image.open(io.BytesIO(written(tmp_path, ".png", THREE))) as picture:
        assert picture.size == (3 * 16, 16)
