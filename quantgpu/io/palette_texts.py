"""Palette files of text: lists of hexadecimal or decimal levels, in formats of other programs.

A reader takes a file's bytes and returns (red, green, blue) triples in the file's order; a writer
takes (K, 3) uint8 colors and the palette's name. Readers accept a byte order mark, any line ends,
blank lines and the format's comments; alpha is accepted only if opaque. A malformed line is an
InputError that begins with its number.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.errors import InputError
from quantgpu.palette import Palette

Color = tuple[int, int, int]

GIMP_HEADER = "GIMP Palette"
JASC_HEADER = "JASC-PAL"
JASC_VERSION = "0100"

PAINT_NET_HEADER = """; paint.net Palette File
; Lines that start with a semicolon are comments
; Colors are written as 8-digit hexadecimal numbers: aarrggbb
"""
"""Paint.NET itself shows the first 96 colors of a file
(https://www.getpaint.net/doc/latest/WorkingWithPalettes.html)."""

CUSTOM_PROPERTY = re.compile(r"(?<![\w-])--[\w-]+\s*:([^;{}]*)")
"""``--name: value`` in a style sheet."""

UTF_16 = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE


class Line(NamedTuple):
    """A line of text."""

    number: int
    """From 1."""
    text: str
    """Without blanks around it."""


def malformed_error(place: str, expected: str, found: str) -> InputError:
    """The error for malformed text: its place, what was expected, and what was found."""
    shown = repr(found if len(found) <= 40 else found[:39] + "…") if found else "nothing"
    return InputError(f"{place}: expected {expected}, found {shown}")


def text_of(data: bytes) -> str:
    """The text of a file, UTF-8 or UTF-16; invalid bytes, as in names of colors, become U+FFFD."""
    if data.startswith(UTF_16):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def lines_of(data: bytes, comments: tuple[str, ...]) -> Iterator[Line]:
    """The lines that are neither blank nor begin with one of `comments`."""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text_of(data)), 1):
        text = line.strip(" \t\0\x1a\f\v")
        if text and not text.startswith(comments):
            yield Line(number, text)


def parse_hexadecimal(text: str, alpha_first: bool = False) -> Color | None:
    """The color of 3, 4, 6 or 8 hexadecimal digits, with or without ``#``; None for anything else.

    >>> parse_hexadecimal("#f80"), parse_hexadecimal("FF8000ff"), parse_hexadecimal("ff8000f")
    ((255, 136, 0), (255, 128, 0), None)
    """
    found = re.fullmatch(r"#?((?:[0-9a-fA-F]{3,4}){1,2})", text)
    if not found or len(found[1]) not in (3, 4, 6, 8):
        return None
    digits = found[1] if len(found[1]) > 4 else "".join(2 * digit for digit in found[1])
    if len(digits) == 8:
        alpha, digits = (digits[:2], digits[2:]) if alpha_first else (digits[6:], digits[:6])
        if alpha.lower() != "ff":
            return None
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def parse_decimals(levels: list[str], most: int = 4) -> Color | None:
    """The color of three levels, 0 to 255, or of four if the last, alpha, is 255; else None."""
    if not 3 <= len(levels) <= most or not all(re.fullmatch("[0-9]{1,3}", x) for x in levels):
        return None
    red, green, blue, alpha = (*map(int, levels), 255)[:4]
    return (red, green, blue) if max(red, green, blue) <= 255 == alpha else None


def read_gpl(data: bytes) -> list[Color]:
    """Read a palette of GIMP, Inkscape or Krita; with ``Channels: RGBA`` one of Aseprite.

    https://developer.gimp.org/core/standards/gpl/
    """
    lines = lines_of(data, ("#",))
    first = next(lines, Line(1, ""))
    if first.text != GIMP_HEADER:
        raise malformed_error(f"line {first.number}", repr(GIMP_HEADER), first.text)
    colors: list[Color] = []
    channels = 3
    for number, text in lines:
        if not colors and (header := re.match(r"(\w+)\s*:\s*(.*)", text)):
            channels = 4 if header.groups() == ("Channels", "RGBA") else channels
            continue
        color = parse_decimals(text.split()[:channels], channels)
        if color is None:
            raise malformed_error(f"line {number}", "levels of red, green and blue, 0 to 255", text)
        colors.append(color)
    return colors


def write_gpl(colors: NDArray[np.uint8], name: str) -> bytes:
    """Write a palette as GIMP does."""
    rows = [f"{red:3d} {green:3d} {blue:3d}\tUntitled" for red, green, blue in colors.tolist()]
    name = " ".join(name.split())
    return encode_lines(GIMP_HEADER, f"Name: {name}", "Columns: 16", "#", *rows)


def encode_lines(*lines: str, end: str = "\n") -> bytes:
    """Lines of text as UTF-8, each followed by `end`."""
    return "".join(line + end for line in lines).encode("utf-8", "replace")


def read_jasc(data: bytes) -> list[Color]:
    """Read a palette of Paint Shop Pro: header, version, count, then a color a line.

    https://liero.nl/lierohack/docformats/other-jasc.html
    """
    lines = list(lines_of(data, ("#", ";")))
    end = Line(lines[-1].number + 1 if lines else 1, "")
    header, version, count = (*lines, end, end, end)[:3]
    for line, expected in ((header, JASC_HEADER), (version, JASC_VERSION)):
        if line.text != expected:
            raise malformed_error(f"line {line.number}", repr(expected), line.text)
    if not re.fullmatch("[0-9]{1,9}", count.text):
        raise malformed_error(f"line {count.number}", "the number of colors", count.text)
    colors: list[Color] = []
    for number, text in lines[3:]:
        color = parse_decimals(text.split())
        if color is None:
            raise malformed_error(f"line {number}", "levels of red, green and blue, 0 to 255", text)
        colors.append(color)
    if len(colors) != int(count.text):
        raise InputError(
            f"line {lines[-1].number}: expected {int(count.text):,} colors, as line "
            f"{count.number} says, found {len(colors):,}"
        )
    return colors


def write_jasc(colors: NDArray[np.uint8], name: str) -> bytes:
    """Write a palette as Paint Shop Pro does; lines end with CR and LF."""
    rows = [f"{red} {green} {blue}" for red, green, blue in colors.tolist()]
    return encode_lines(JASC_HEADER, JASC_VERSION, str(len(colors)), *rows, end="\r\n")


def read_hexadecimal(
    data: bytes, comments: tuple[str, ...], expected: str, alpha_first: bool
) -> list[Color]:
    """Read a color a line, without lines of `comments`; errors say that `expected` was expected."""
    colors: list[Color] = []
    for number, text in lines_of(data, comments):
        color = parse_hexadecimal(text, alpha_first)
        if color is None:
            raise malformed_error(f"line {number}", expected, text)
        colors.append(color)
    return colors


def read_hex(data: bytes) -> list[Color]:
    """Read a list of RRGGBB, as of Lospec; comments begin with ``;``, ``//`` or ``# ``."""
    return read_hexadecimal(data, (";", "//", "# "), "a color as RRGGBB", False)


def write_hex(colors: NDArray[np.uint8], name: str) -> bytes:
    """Write a palette as Lospec does: six lower-case digits a line."""
    return encode_lines(*(color[1:] for color in Palette(colors).hex()))


def read_paint_net(data: bytes) -> list[Color]:
    """Read a palette of Paint.NET: AARRGGBB, AA being FF."""
    return read_hexadecimal(data, (";",), "a color as AARRGGBB, AA being FF", True)


def write_paint_net(colors: NDArray[np.uint8], name: str) -> bytes:
    """Write a palette as Paint.NET does."""
    rows = (f"FF{color[1:].upper()}" for color in Palette(colors).hex())
    return encode_lines(*PAINT_NET_HEADER.splitlines(), *rows, end="\r\n")


def read_json(data: bytes) -> list[Color]:
    """Read a list of ``"#rrggbb"`` or ``[red, green, blue]``, or ``"colors"`` of an object."""
    try:
        found = json.loads(text_of(data))
    except json.JSONDecodeError as error:
        raise InputError(f"line {error.lineno}: expected JSON: {error.msg.lower()}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"line 1: expected JSON that can be read: {error}") from None
    entries = found.get("colors") if isinstance(found, dict) else found
    if not isinstance(entries, list):
        raise malformed_error(
            "line 1", 'a list of colors, or an object with "colors", a list', json.dumps(found)
        )
    colors: list[Color] = []
    for number, entry in enumerate(entries, 1):
        color = json_color(entry)
        if color is None:
            expected = '"#rrggbb" or [red, green, blue], 0 to 255'
            raise malformed_error(f"entry {number}", expected, json.dumps(entry))
        colors.append(color)
    return colors


def json_color(entry: Any) -> Color | None:
    """The color of a JSON string or list; None for anything else."""
    if isinstance(entry, str):
        return parse_hexadecimal(entry)
    if not isinstance(entry, list) or not all(type(level) is int for level in entry):
        return None
    return parse_decimals([str(level) if 0 <= level <= 255 else "" for level in entry])


def write_json(colors: NDArray[np.uint8], name: str) -> bytes:
    """Write a list of ``"#rrggbb"``, a color a line."""
    return encode_lines(json.dumps(Palette(colors).hex(), indent=2))


def read_css(data: bytes) -> list[Color]:
    """Read the custom properties of a style sheet, each a ``#rrggbb`` or an ``rgb(…)``."""
    text = re.sub(r"/\*.*?(?:\*/|\Z)", blank_out, text_of(data), flags=re.DOTALL)
    colors: list[Color] = []
    for found in CUSTOM_PROPERTY.finditer(text):
        color = css_color(found[1].strip())
        if color is None:
            place = f"line {line_of(text, found.start())}"
            raise malformed_error(place, "#rrggbb or rgb(red, green, blue)", found[0].strip())
        colors.append(color)
    if not colors:
        raise malformed_error(
            "line 1", "custom properties such as --color-0: #rrggbb", text.strip()
        )
    return colors


def blank_out(found: re.Match[str]) -> str:
    """Replace all but the line ends of a match by a blank, which keeps line numbers."""
    return re.sub(r"[^\r\n]+", " ", found[0])


def line_of(text: str, offset: int) -> int:
    """The number, from 1, of the line of the character at `offset`."""
    return len(re.findall(r"\r\n|\r|\n", text[:offset])) + 1


def css_color(value: str) -> Color | None:
    """The color of a CSS value (CSS Color Module Level 4, sections 5.1 and 5.2), else None."""
    if value.startswith("#"):
        return parse_hexadecimal(value)
    found = re.fullmatch(r"rgba?\(([^()]*)\)", value, re.IGNORECASE)
    if not found:
        return None
    levels = re.split(r"\s*[,/]\s*|\s+", found[1].strip())
    if len(levels) == 4 and levels[3] in ("1", "1.0", "100%"):
        levels.pop()
    return parse_decimals(levels, 3)


def write_css(colors: NDArray[np.uint8], name: str) -> bytes:
    """Write custom properties of ``:root``, ``--color-0`` and so on."""
    rows = [f"  --color-{index}: {color};" for index, color in enumerate(Palette(colors).hex())]
    return encode_lines(":root {", *rows, "}")
