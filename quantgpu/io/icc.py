"""Color profiles: what a file says that its levels mean, and sRGB levels from that.

littleCMS, which comes with Pillow, converts 8 bits to 8 bits, relative colorimetric, with black
point compensation. A profile that moves no color by more than `SAME` levels is sRGB, whatever its
name, and its levels are left alone.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from quantgpu.threads import chunks, imap_threads

if TYPE_CHECKING:
    from PIL import ImageCms

SAME = 2
"""Levels. The sRGB profiles of the ICC's members, Debian and GNOME move colors by at most 1."""

STRIP = 1 << 18
"""Pixels that a thread converts at a time."""

LONGEST_NAME = 60

UNKNOWN = "colors are taken as sRGB"

FILE_GAMMA, GAMMA_TOLERANCE = 0.45455, 0.05
"""What gAMA says in files that are sRGB, and the relative deviation that libpng overlooks
(PNG_GAMMA_THRESHOLD)."""

PRIMARIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
"""x and y of sRGB's white, red, green and blue, in the order of cHRM."""

PRIMARIES_TOLERANCE = 0.01
"""The deviation of each that libpng overlooks."""

D50 = (0.9642, 1.0, 0.8249)
"""XYZ of the white that profiles refer to."""

BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
"""XYZ to the responses of the eye in which it adapts to a white (ICC.1:2022, annex E.3)."""


class Source(NamedTuple):
    """An image, and what its levels mean."""

    image: Image.Image
    """8 bits per sample, of any mode."""
    data: bytes
    """The profile as it is in the file."""
    profile: ImageCms.ImageCmsProfile
    threads: int

    def transform(self, mode: str, to: str) -> ImageCms.ImageCmsTransform:
        """The way from levels of a mode to sRGB.

        What littleCMS calls optimization puts dark grays up to 70 levels off, and makes the white
        of CIELAB a gray; for RGB it is ten times faster and within a level, for inks hardly off.
        """
        from PIL import ImageCms

        exact = mode in ("L", "LAB")
        precision = ImageCms.Flags.NOOPTIMIZE if exact else ImageCms.Flags.HIGHRESPRECALC
        return ImageCms.buildTransform(
            self.profile, ImageCms.createProfile("sRGB"), mode, to,
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION | precision,
        )  # fmt: skip

    def converted(self, image: Image.Image, transform: Any, to: str) -> Image.Image:
        """An image of the source after a transform, which threads do strip by strip."""
        from PIL import ImageCms

        def strip(rows: tuple[int, int]) -> tuple[int, Image.Image]:
            part = image.crop((0, rows[0], image.width, rows[1]))
            changed = ImageCms.applyTransform(part, transform)
            assert changed is not None
            return rows[0], changed

        result = Image.new(to, image.size)
        rows = chunks(0, image.height, max(STRIP // image.width, 1))
        for top, part in imap_threads(strip, rows, self.threads):
            result.paste(part, (0, top))
        return result


def from_rgb(source: Source) -> Image.Image:
    """RGB levels, also of palettes and grays, to sRGB; the image itself if they are sRGB."""
    image = source.image
    mode = "RGBA" if image.has_transparency_data else "RGB"
    transform = source.transform(mode, mode)
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    probe = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(64, 64, 3)
    moved = source.converted(Image.fromarray(probe).convert(mode), transform, mode)
    if most_difference(np.asarray(moved)[..., :3], probe) <= SAME:
        return image
    return source.converted(image if image.mode == mode else image.convert(mode), transform, mode)


def from_gray(source: Source) -> Image.Image:
    """Gray levels to sRGB, through a table of all; the image itself if they are sRGB's."""
    image = source.image
    levels = np.arange(256, dtype=np.uint8)[None]
    moved = source.converted(Image.fromarray(levels), source.transform("L", "RGB"), "RGB")
    table = np.asarray(moved)[0]
    if most_difference(table.T, levels) <= SAME:
        return image
    if most_difference(table, table[:, 1:2]) <= SAME:
        table = table[:, 1:2].repeat(3, axis=1)
    gray = (image.convert("L") if image.mode == "1" else image).getchannel(0)
    result = Image.merge("RGB", [gray.point(band) for band in table.T.tolist()])
    if image.has_transparency_data:
        result.putalpha(image.convert("RGBA").getchannel("A"))
    return result


def from_other(source: Source) -> Image.Image:
    """CMYK or CIELAB levels to sRGB."""
    return source.converted(source.image, source.transform(source.image.mode, "RGB"), "RGB")


def most_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    """The greatest difference of two levels."""
    return int(np.abs(a.astype(int) - b).max())


class Space(NamedTuple):
    """A kind of levels that a profile can describe."""

    modes: tuple[str, ...]
    """Pillow's modes that it fits."""
    to_srgb: Callable[[Source], Image.Image]


GRAYS = "1", "L", "LA"

SPACES = {
    "RGB": Space((*GRAYS, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr", "HSV"), from_rgb),
    "GRAY": Space(GRAYS, from_gray),
    "CMYK": Space(("CMYK",), from_other),
    "Lab": Space(("LAB",), from_other),
}
"""littleCMS's name of a color space to the images that may be in it, and the way to sRGB."""


def convert(source: Source, notes: list[str]) -> tuple[Image.Image, bytes]:
    """The colors in sRGB, and no profile."""
    image = SPACES[space_of(source.profile)].to_srgb(source)
    if image is not source.image:
        notes.append(f"colors converted from {name_of(source.profile)} to sRGB")
    return image, b""


def keep(source: Source, notes: list[str]) -> tuple[Image.Image, bytes]:
    """The levels as they are, and their profile; in sRGB if they are not RGB, as the result is."""
    if space_of(source.profile) != "RGB":
        return convert(source, notes)
    source.transform("RGB", "RGB")  # fails if the profile is damaged
    return source.image, source.data


def ignore(source: Source, notes: list[str]) -> tuple[Image.Image, bytes]:
    """The levels as they are, and no profile."""
    return source.image, b""


ICCS: dict[str, Callable[[Source, list[str]], tuple[Image.Image, bytes]]] = {
    "convert": convert,
    "keep": keep,
    "ignore": ignore,
}
"""Name to (source, notes) → (image, profile to embed); the choices of ``--icc``."""


def apply_profile(
    image: Image.Image, info: Mapping[Any, Any], icc: str, notes: list[str], threads: int
) -> tuple[Image.Image, bytes]:
    """An image in sRGB, or in the profile that comes with it; RGB or RGBA if it was converted.

    Args:
        image: 8 bits per sample, of any mode.
        info: What Pillow found in the file.
        icc: A row of `ICCS`.
        notes: What was done is appended.
        threads: At most so many.
    """
    data, way = profile_in(info, image.mode in GRAYS), ICCS[icc]
    if image.mode == "LAB":
        data, way = lab_profile(), convert
    if data == b"" or way is ignore:
        return image, b""
    if not features.check("littlecms2"):
        if data is None or b"sRGB" not in data.replace(b"\0", b""):
            notes.append(f"color profile ignored, as Pillow is without littleCMS: {UNKNOWN}")
        return image, b""
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data or b""))
        space = space_of(profile)
        if space not in SPACES or image.mode not in SPACES[space].modes:
            notes.append(f"color profile for {space} ignored, as pixels are {image.mode}")
            return image, b""
        return way(Source(image, data or b"", profile, threads), notes)
    except (OSError, ValueError, ImageCms.PyCMSError):
        notes.append(f"damaged color profile ignored: {UNKNOWN}")
        return image, b""


def space_of(profile: ImageCms.ImageCmsProfile) -> str:
    """The kind of levels that a profile describes."""
    return profile.profile.xcolor_space.strip()


def name_of(profile: ImageCms.ImageCmsProfile) -> str:
    """The name that a profile gives itself."""
    if space_of(profile) == "Lab":
        return "CIELAB"
    try:
        name = " ".join((profile.profile.profile_description or "").split())
    except ValueError:  # bytes that are no text
        name = ""
    return name[:LONGEST_NAME] or "an unnamed profile"


def lab_profile() -> bytes:
    """The profile of CIELAB; nothing without littleCMS."""
    from PIL import ImageCms

    if not features.check("littlecms2"):
        return b""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


# What PNG files say without a profile


def profile_in(info: Mapping[Any, Any], gray: bool) -> bytes | None:
    """The profile of an image, nothing if there is none, None if it is damaged.

    gAMA and cHRM of a PNG file count where it has neither a profile nor an sRGB chunk, and where
    they differ from sRGB's by more than libpng overlooks: nearly all of them are there because
    encoders wrote them into every file. cHRM alone says nothing, as the tone curve is unknown.
    """
    if "icc_profile" in info:
        data = info["icc_profile"]
        return data if isinstance(data, bytes) and data else None
    gamma, primaries = info.get("gamma"), info.get("chromaticity")
    if "srgb" in info or not gamma or not 0.01 <= gamma <= 100:
        return b""
    if gray or not primaries or overlooked(primaries) or colorants(primaries) is None:
        primaries = PRIMARIES
    if abs(gamma / FILE_GAMMA - 1) <= GAMMA_TOLERANCE and primaries is PRIMARIES:
        return b""
    return power_profile(1 / gamma, primaries, gray)


def overlooked(primaries: tuple[float, ...]) -> bool:
    """Whether primaries are nearly those of sRGB."""
    pairs = zip(primaries, PRIMARIES, strict=False)
    return all(abs(a - b) <= PRIMARIES_TOLERANCE for a, b in pairs)


def colorants(primaries: tuple[float, ...]) -> NDArray[np.float64] | None:
    """(3, 3) XYZ of red, green and blue, columns, adapted to D50; None if they span no colors."""
    points = np.array(primaries).reshape(-1, 2)
    if len(points) != 4 or not (points[:, 1] > 0).all():
        return None
    white, *rgb = ([x / y, 1, (1 - x - y) / y] for x, y in points)
    matrix = np.array(rgb).T
    if abs(np.linalg.det(matrix)) < 1e-3:
        return None
    matrix = matrix * np.linalg.solve(matrix, white)
    scale = (BRADFORD @ D50) / (BRADFORD @ white)
    adapted: NDArray[np.float64] = np.linalg.solve(BRADFORD, scale[:, None] * (BRADFORD @ matrix))
    return adapted


def power_profile(gamma: float, primaries: tuple[float, ...], gray: bool) -> bytes:
    """The bytes of a profile with a power law for its tone curve (ICC.1:2022)."""
    name = f"gamma {gamma:.3g}" + ("" if primaries is PRIMARIES else " with primaries of its own")
    text = name.encode("utf-16-be")
    named = struct.pack(">4s4xII4sII", b"mluc", 1, 12, b"enUS", len(text), 28) + text
    curve = struct.pack(">4s4xHHi", b"para", 0, 0, fixed(gamma))
    tags = {b"desc": named, b"cprt": named, b"wtpt": xyz(D50)}
    if gray:
        tags[b"kTRC"] = curve
    else:
        matrix = colorants(primaries)
        assert matrix is not None
        tags |= zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, matrix.T), strict=True)
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        table += struct.pack(">4sII", tag, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    space = b"GRAY" if gray else b"RGB "
    header = struct.pack(
        ">I4xI4s4s4s6H4s24xI3i", start + len(body), 0x04300000, b"mntr", space, b"XYZ ",
        *(2000, 1, 1, 0, 0, 0), b"acsp", 1, *map(fixed, D50),
    )  # fmt: skip
    return header.ljust(128, b"\0") + table + body


def xyz(color: Any) -> bytes:
    """Three numbers as a tag."""
    return struct.pack(">4s4x3i", b"XYZ ", *map(fixed, color))


def fixed(number: float) -> int:
    """A number in steps of 1/65536."""
    return round(number * 65536)
