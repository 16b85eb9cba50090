"""Color profiles: convert levels from the profile of their file to sRGB.

littleCMS, which comes with Pillow, converts 8 bits to 8 bits, relative colorimetric, with black
point compensation. A profile that moves no color by more than `SRGB_TOLERANCE` levels counts as
sRGB, whatever its name, and its levels are left alone.
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

SRGB_TOLERANCE = 2
"""Levels of 0 to 255. The sRGB profiles of the ICC's members, Debian and GNOME move colors by at
most 1."""

STRIP = 1 << 18
"""Pixels that a thread converts at a time."""

LONGEST_NAME = 60

UNKNOWN = "colors are taken as sRGB"

FILE_GAMMA, GAMMA_TOLERANCE = 0.45455, 0.05
"""The gAMA value of sRGB files, and the relative deviation that libpng overlooks
(PNG_GAMMA_THRESHOLD)."""

PRIMARIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
"""x and y of sRGB's white, red, green and blue, in the order of cHRM."""

PRIMARIES_TOLERANCE = 0.01
"""The deviation of each of `PRIMARIES` that libpng overlooks."""

D50 = (0.9642, 1.0, 0.8249)
"""XYZ of the profile connection space's white."""

BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
"""XYZ to cone responses, in which chromatic adaptation scales (ICC.1:2022, annex E.3)."""


class Source(NamedTuple):
    """An image and the profile of its levels."""

    image: Image.Image
    """8 bits per sample, of any mode."""
    data: bytes
    """The bytes of the profile, as in the file."""
    profile: ImageCms.ImageCmsProfile
    threads: int

    def transform(self, mode: str, to: str) -> ImageCms.ImageCmsTransform:
        """The transform from levels of `mode` to sRGB of the mode `to`.

        littleCMS's optimization puts dark grays up to 70 levels off, and makes the white of CIELAB
        a gray; for RGB it is ten times faster and within a level, for inks hardly off.
        """
        from PIL import ImageCms

        exact = mode in ("L", "LAB")
        precision = ImageCms.Flags.NOOPTIMIZE if exact else ImageCms.Flags.HIGHRESPRECALC
        return ImageCms.buildTransform(
            self.profile, ImageCms.createProfile("sRGB"), mode, to,
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION | precision,
        )  # fmt: skip

    def apply_transform(self, image: Image.Image, transform: Any, to: str) -> Image.Image:
        """Apply a transform to `image` in strips, on several threads; the result has mode `to`."""
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
    """Convert RGB levels, also of palettes and grays, to sRGB; the image itself if it is sRGB."""
    image = source.image
    mode = "RGBA" if image.has_transparency_data else "RGB"
    transform = source.transform(mode, mode)
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    probe = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(64, 64, 3)
    converted = source.apply_transform(Image.fromarray(probe).convert(mode), transform, mode)
    if most_difference(np.asarray(converted)[..., :3], probe) <= SRGB_TOLERANCE:
        return image
    return source.apply_transform(
        image if image.mode == mode else image.convert(mode), transform, mode
    )


def from_gray(source: Source) -> Image.Image:
    """Convert gray levels to sRGB by a table of all 256; the image itself if it is sRGB."""
    image = source.image
    levels = np.arange(256, dtype=np.uint8)[None]
    converted = source.apply_transform(Image.fromarray(levels), source.transform("L", "RGB"), "RGB")
    table = np.asarray(converted)[0]
    if most_difference(table.T, levels) <= SRGB_TOLERANCE:
        return image
    if most_difference(table, table[:, 1:2]) <= SRGB_TOLERANCE:
        table = table[:, 1:2].repeat(3, axis=1)
    gray = (image.convert("L") if image.mode == "1" else image).getchannel(0)
    result = Image.merge("RGB", [gray.point(band) for band in table.T.tolist()])
    if image.has_transparency_data:
        result.putalpha(image.convert("RGBA").getchannel("A"))
    return result


def from_other(source: Source) -> Image.Image:
    """Convert CMYK or CIELAB levels to sRGB."""
    return source.apply_transform(source.image, source.transform(source.image.mode, "RGB"), "RGB")


def most_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    """The greatest absolute difference of two uint8 arrays, which broadcast."""
    return int(np.abs(a.astype(int) - b).max())


class Space(NamedTuple):
    """A color space that a profile can describe."""

    modes: tuple[str, ...]
    """Pillow's modes of images that may have such a profile."""
    to_srgb: Callable[[Source], Image.Image]


GRAYS = "1", "L", "LA"

SPACES = {
    "RGB": Space((*GRAYS, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr", "HSV"), from_rgb),
    "GRAY": Space(GRAYS, from_gray),
    "CMYK": Space(("CMYK",), from_other),
    "Lab": Space(("LAB",), from_other),
}
"""littleCMS's name of a color space to the modes of its images and their conversion to sRGB."""


def convert_to_srgb(source: Source, notes: list[str]) -> tuple[Image.Image, bytes]:
    """Convert the image to sRGB; the profile to embed is empty."""
    image = SPACES[space_of(source.profile)].to_srgb(source)
    if image is not source.image:
        notes.append(f"colors converted from {name_of(source.profile)} to sRGB")
    return image, b""


def keep_profile(source: Source, notes: list[str]) -> tuple[Image.Image, bytes]:
    """Keep RGB levels and their profile; convert others to sRGB, as results are RGB."""
    if space_of(source.profile) != "RGB":
        return convert_to_srgb(source, notes)
    source.transform("RGB", "RGB")  # fails if the profile is damaged
    return source.image, source.data


def ignore_profile(source: Source, notes: list[str]) -> tuple[Image.Image, bytes]:
    """Keep the levels, and drop the profile."""
    return source.image, b""


ICCS: dict[str, Callable[[Source, list[str]], tuple[Image.Image, bytes]]] = {
    "convert": convert_to_srgb,
    "keep": keep_profile,
    "ignore": ignore_profile,
}
"""Name to (source, notes) → (image, profile to embed); the choices of ``--icc``."""


def apply_profile(
    image: Image.Image, info: Mapping[Any, Any], icc: str, notes: list[str], threads: int
) -> tuple[Image.Image, bytes]:
    """Convert an image to sRGB, or keep its profile; return the image and the profile to embed.

    A converted image is RGB or RGBA; an embedded profile of no bytes means sRGB.

    Args:
        image: 8 bits per sample, of any mode.
        info: Pillow's `Image.info` of the file.
        icc: A row of `ICCS`.
        notes: Notes on a conversion, or on an ignored profile, are appended.
        threads: The most threads.
    """
    data, handle = profile_in(info, image.mode in GRAYS), ICCS[icc]
    if image.mode == "LAB":
        data, handle = lab_profile(), convert_to_srgb
    if data == b"" or handle is ignore_profile:
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
        return handle(Source(image, data or b"", profile, threads), notes)
    except (OSError, ValueError, ImageCms.PyCMSError):
        notes.append(f"damaged color profile ignored: {UNKNOWN}")
        return image, b""


def space_of(profile: ImageCms.ImageCmsProfile) -> str:
    """littleCMS's name of the color space that a profile describes, see `SPACES`."""
    return profile.profile.xcolor_space.strip()


def name_of(profile: ImageCms.ImageCmsProfile) -> str:
    """The description in a profile, of at most `LONGEST_NAME` characters."""
    if space_of(profile) == "Lab":
        return "CIELAB"
    try:
        name = " ".join((profile.profile.profile_description or "").split())
    except ValueError:  # bytes that are no text
        name = ""
    return name[:LONGEST_NAME] or "an unnamed profile"


def lab_profile() -> bytes:
    """The bytes of a CIELAB profile; empty without littleCMS."""
    from PIL import ImageCms

    if not features.check("littlecms2"):
        return b""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


# PNG files without a profile: gAMA and cHRM


def profile_in(info: Mapping[Any, Any], gray: bool) -> bytes | None:
    """The profile of an image; empty if there is none, None if it is damaged.

    gAMA and cHRM of a PNG file count where it has neither a profile nor an sRGB chunk, and where
    they differ from sRGB's by more than libpng overlooks: nearly all such chunks come from encoders
    that write them into every file. cHRM alone is ignored, as the tone curve is unknown.
    """
    if "icc_profile" in info:
        data = info["icc_profile"]
        return data if isinstance(data, bytes) and data else None
    gamma, primaries = info.get("gamma"), info.get("chromaticity")
    if "srgb" in info or not gamma or not 0.01 <= gamma <= 100:
        return b""
    if gray or not primaries or is_nearly_srgb(primaries) or colorants(primaries) is None:
        primaries = PRIMARIES
    if abs(gamma / FILE_GAMMA - 1) <= GAMMA_TOLERANCE and primaries is PRIMARIES:
        return b""
    return power_profile(1 / gamma, primaries, gray)


def is_nearly_srgb(primaries: tuple[float, ...]) -> bool:
    """Whether primaries are within `PRIMARIES_TOLERANCE` of sRGB's."""
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
    curve = struct.pack(">4s4xHHi", b"para", 0, 0, to_fixed_point(gamma))
    tags = {b"desc": named, b"cprt": named, b"wtpt": xyz_tag(D50)}
    if gray:
        tags[b"kTRC"] = curve
    else:
        matrix = colorants(primaries)
        assert matrix is not None
        tags |= zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz_tag, matrix.T), strict=True)
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        table += struct.pack(">4sII", tag, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    space = b"GRAY" if gray else b"RGB "
    header = struct.pack(
        ">I4xI4s4s4s6H4s24xI3i", start + len(body), 0x04300000, b"mntr", space, b"XYZ ",
        *(2000, 1, 1, 0, 0, 0), b"acsp", 1, *map(to_fixed_point, D50),
    )  # fmt: skip
    return header.ljust(128, b"\0") + table + body


def xyz_tag(color: Any) -> bytes:
    """Three numbers as the bytes of an XYZ tag."""
    return struct.pack(">4s4x3i", b"XYZ ", *map(to_fixed_point, color))


def to_fixed_point(number: float) -> int:
    """A number as s15Fixed16: in steps of 1/65536."""
    return round(number * 65536)
