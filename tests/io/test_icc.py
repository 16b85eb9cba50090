"""Colors are converted as profiles say, or left exactly as they are, and either is said."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import (
    LOSSLESS_KINDS,
    chunk,
    cmyk_profile,
    described,
    encoded,
    icc,
    noise,
    png,
    sideways,
)
from image_files import exif as exif_of
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

from quantgpu import quantize
from quantgpu.io.decode import DecodedImage, read_image
from quantgpu.io.icc import ICCS, PRIMARIES, power_profile

PIXELS = noise(13, 11, 3)
GRAY = noise(13, 11, seed=1)
ALPHA = noise(13, 11, seed=2) | 1
P3 = (0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
DISPLAY_P3 = power_profile(2.2, P3, gray=False)
GRAY_18 = power_profile(1.8, PRIMARIES, gray=True)
LINEAR = power_profile(1, PRIMARIES, gray=False)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

P3_TO_SRGB = np.array(
    [[1.2249401, -0.2249404, 0], [-0.0420569, 1.0420571, 0], [-0.0196376, -0.0786361, 1.0982735]]
)
"""Linear light; "Color spaces in CSS" (W3C, css-color-4, sample code)."""

CORNERS = np.zeros((2, 2, 2, 2, 3))
"""L*, a* and b* of inks over each other."""
CORNERS[..., 0] = 100
CORNERS[1] = (55, -37, -50)
CORNERS[:, 1] = (48, 74, -3)
CORNERS[:, :, 1] = (89, -5, 93)
CORNERS[:, :, :, 1] = 0
INKS = cmyk_profile("Some inks", CORNERS)


def encoded_light(light: NDArray[Any]) -> NDArray[np.float64]:
    """Linear light, 0 to 1, as levels of sRGB, not rounded (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1)
    curved = 1.055 * light ** (1 / 2.4) - 0.055
    return np.asarray(255 * np.where(light <= 0.0031308, 12.92 * light, curved))


def read(data: bytes, **options: Any) -> DecodedImage:
    """What is read from a file's bytes."""
    return read_image(io.BytesIO(data), **options)


def levels(decoded: DecodedImage) -> NDArray[np.uint8]:
    """The pixels."""
    return np.asarray(decoded.image)


def tagged(pixels: NDArray[np.uint8], profile: bytes, kind: str = "PNG") -> bytes:
    """A file with a profile."""
    return encoded(pixels, kind, icc_profile=profile, **LOSSLESS_KINDS.get(kind, {}))


def with_chunks(*chunks: bytes, gray: bool = False) -> bytes:
    """`PIXELS`, or `GRAY`, as a PNG file with chunks."""
    pixels = GRAY if gray else PIXELS
    return png([row.tobytes() for row in pixels], 11, 13, *chunks, color_type=0 if gray else 2)


def gama(number: int) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", number))


def chrm(*primaries: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(100_000 * x) for x in primaries)))


# Profiles


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_wide_colors_become_srgb_as_their_definition_says(kind: str) -> None:
    found = read(tagged(PIXELS, DISPLAY_P3, kind))
    expected = encoded_light((PIXELS / 255) ** 2.2 @ P3_TO_SRGB.T)
    assert np.abs(levels(found) - expected).max() < 1.01
    assert found.notes == ["colors converted from gamma 2.2 with primaries of its own to sRGB"]
    assert found.metadata.profile == b""


def test_profile_that_only_calls_itself_srgb_is_not_taken_at_its_word() -> None:
    lying = LINEAR.replace("gamma 1".encode("utf-16-be"), "sRGB v4".encode("utf-16-be"))
    found = read(tagged(PIXELS, lying))
    assert np.abs(levels(found) - encoded_light(PIXELS / 255)).max() < 1.01


@pytest.mark.parametrize("way", ICCS)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_srgb_profile_changes_no_level_and_is_no_news(kind: str, way: str) -> None:
    found = read(tagged(PIXELS, SRGB, kind), icc=way)
    assert np.array_equal(levels(found), levels(read(tagged(PIXELS, b"", kind))))
    assert found.notes == []
    assert found.metadata.profile == (SRGB if way == "keep" else b"")


def test_keep_leaves_levels_and_profile_as_they_are() -> None:
    found = read(tagged(PIXELS, DISPLAY_P3), icc="keep")
    assert np.array_equal(levels(found), PIXELS)
    assert found.metadata.profile == DISPLAY_P3
    assert found.notes == []


def test_ignore_leaves_levels_alone_and_drops_the_profile() -> None:
    found = read(tagged(PIXELS, DISPLAY_P3), icc="ignore")
    assert np.array_equal(levels(found), PIXELS)
    assert found.metadata.profile == b""
    assert found.notes == []


@pytest.mark.parametrize("way", ICCS)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "gAMA"])
def test_profile_is_heeded_once_however_the_image_goes_on(kind: str, way: str) -> None:
    linear = with_chunks(gama(100_000))
    found = read(linear if kind == "gAMA" else tagged(PIXELS, LINEAR, kind), icc=way)
    assert np.array_equal(levels(found), PIXELS) == (way != "convert")
    assert np.array_equal(quantize(found.image, k=143).to_array(), levels(found))


def test_alpha_is_left_alone_and_the_matte_is_srgb() -> None:
    pixels = np.dstack([PIXELS, ALPHA])
    found = read(tagged(pixels, DISPLAY_P3), alpha="keep")
    assert np.array_equal(levels(found)[..., 3], ALPHA)
    assert np.array_equal(levels(found)[..., :3], levels(read(tagged(PIXELS, DISPLAY_P3))))
    clear = np.dstack([PIXELS, np.zeros_like(ALPHA)])
    laid = read(tagged(clear, DISPLAY_P3), matte=(10, 200, 30))
    assert (levels(laid) == (10, 200, 30)).all()


@pytest.mark.parametrize("transparency", [None, bytes([0, 99, 255, 255, 1])])
def test_palettes_are_converted_like_other_pixels(transparency: bytes | None) -> None:
    image = Image.fromarray(GRAY % 5)
    image.putpalette(PIXELS[0, :5].tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    found = read(encoded(image, "PNG", icc_profile=DISPLAY_P3, **options), alpha="keep")
    expected = levels(read(tagged(PIXELS[:1, :5], DISPLAY_P3)))[0][GRAY % 5]
    assert np.array_equal(levels(found)[..., :3], expected)
    if transparency is not None:
        alpha = np.frombuffer(transparency, np.uint8)
        assert np.array_equal(levels(found)[..., 3], alpha[GRAY % 5])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "L with a key"])
def test_gray_profiles_convert_grays_to_grays(mode: str) -> None:
    options: dict[str, Any] = {"transparency": 77} if mode == "L with a key" else {}
    stored = GRAY.copy()
    image = Image.fromarray(stored)
    if mode == "1":
        image, stored = image.convert("1"), np.asarray(image.convert("1").convert("L"))
    elif mode == "LA":
        image = Image.fromarray(np.dstack([stored, ALPHA]))
    elif mode == "I;16":
        image = Image.fromarray(stored.astype(np.uint16) * 256 + 99)
    found = read(encoded(image, "PNG", icc_profile=GRAY_18, **options), alpha="keep")
    expected = encoded_light((stored / 255) ** 1.8)
    assert np.abs(levels(found)[..., :3] - expected[..., None]).max() < 1.01
    assert np.ptp(levels(found)[..., :3].astype(int), axis=-1).max() == 0
    if mode == "LA":
        assert np.array_equal(levels(found)[..., 3], ALPHA)
    if mode == "L with a key":
        assert (stored == 77).any()
        assert np.array_equal(levels(found)[..., 3], np.where(stored == 77, 0, 255))
    assert "colors converted from gamma 1.8 to sRGB" in found.notes


def test_gray_levels_may_have_a_profile_of_colors() -> None:
    found = read(tagged(GRAY, LINEAR, "JPEG"))
    plain = levels(read(tagged(GRAY, b"", "JPEG")))
    assert np.abs(levels(found) - encoded_light(plain / 255)).max() < 1.01


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize("way", ["convert", "keep"])
def test_inks_become_srgb_by_their_profile_whatever_the_way(kind: str, way: str) -> None:
    inks = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)]
    image = Image.new("CMYK", (80, 16))
    for place, color in enumerate(inks):
        image.paste(color, (16 * place, 0, 16 * place + 16, 16))
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    found = read(encoded(image, kind, icc_profile=INKS, **options), icc=way)
    expected = [(255, 255, 255), (0, 151, 218), (216, 10, 122), (247, 224, 0), (0, 0, 0)]
    assert np.abs(levels(found)[8, 8::16].astype(int) - expected).max() <= 3
    assert found.notes == ["colors converted from Some inks to sRGB"]
    assert found.metadata.profile == b""


def test_inks_without_profile_are_read_as_ever() -> None:
    image = Image.new("CMYK", (3, 2), (0, 255, 255, 0))
    assert (levels(read(encoded(image, "TIFF"))) == (255, 0, 0)).all()


@pytest.mark.parametrize("way", ICCS)
def test_cielab_becomes_srgb(way: str) -> None:
    lab = [(100, 0, 0), (0, 0, 0), (54.29, 80.81, 69.89), (29.57, 68.30, -112.03), (53.39, 0, 0)]
    stored = np.round(np.array(lab) * (255 / 100, 1, 1)).astype(np.int16).astype(np.uint8)
    data = encoded(Image.frombytes("LAB", (5, 1), stored.tobytes()), "TIFF")
    expected = [[[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255], [127, 127, 127]]]
    found = read(data, icc=way)
    assert np.abs(levels(found).astype(int) - expected).max() <= 2
    assert (levels(found)[0, [0, 1]] == [[255], [0]]).all(), "white is white and black is black"
    assert found.notes == ["colors converted from CIELAB to sRGB"]


@pytest.mark.parametrize(
    ("image", "profile", "note"),
    [
        (Image.fromarray(PIXELS), GRAY_18, "profile for GRAY ignored, as pixels are RGB"),
        (Image.fromarray(PIXELS), INKS, "profile for CMYK ignored, as pixels are RGB"),
        (Image.new("CMYK", (3, 2)), DISPLAY_P3, "profile for RGB ignored, as pixels are CMYK"),
        (Image.fromarray(GRAY), INKS, "profile for CMYK ignored, as pixels are L"),
    ],
)
def test_profile_that_does_not_fit_the_pixels_is_ignored(
    image: Image.Image, profile: bytes, note: str
) -> None:
    data = encoded(image, "TIFF", icc_profile=profile)
    found = read(data, icc="keep")
    assert np.array_equal(levels(found), levels(read(encoded(image, "TIFF"))))
    assert found.notes == [f"color {note}"]
    assert found.metadata.profile == b""


@pytest.mark.parametrize("kind", [b"link", b"abst", b"nmcl"])
def test_profile_that_describes_no_device_is_ignored(kind: bytes) -> None:
    profile = icc(b"RGB ", b"Lab ", {b"desc": described("Something")}, kind)
    found = read(tagged(PIXELS, profile))
    assert np.array_equal(levels(found), PIXELS)
    assert len(found.notes) == 1


# Damage


@pytest.mark.parametrize("way", ["convert", "keep"])
@pytest.mark.parametrize("profile", [DISPLAY_P3, SRGB, GRAY_18, INKS], ids=len)
def test_truncated_profile_is_ignored_with_a_note(profile: bytes, way: str) -> None:
    mode = {GRAY_18: "L", INKS: "CMYK"}.get(profile, "RGB")
    image = Image.fromarray(PIXELS).convert(mode)
    plain = levels(read(encoded(image, "TIFF")))
    for length in (1, 4, 127, 128, 131, 132, 140, 200, len(profile) // 2):
        found = read(encoded(image, "TIFF", icc_profile=profile[:length]), icc=way)
        assert np.array_equal(levels(found), plain)
        assert found.notes == ["damaged color profile ignored: colors are taken as sRGB"]
        assert found.metadata.profile == b""


@pytest.mark.parametrize("profile", [DISPLAY_P3, GRAY_18, INKS], ids=len)
def test_flipped_bytes_in_a_profile_never_crash(profile: bytes) -> None:
    mode = {GRAY_18: "L", INKS: "CMYK"}.get(profile, "RGB")
    image = Image.fromarray(PIXELS[:2, :3]).convert(mode)
    rng = np.random.default_rng(5)
    kinds = set()
    for _ in range(40 if profile is INKS else 150):  # each builds a table of four inks
        damaged = bytearray(profile)
        for place in rng.integers(0, min(len(profile), 600), 3):
            damaged[place] = rng.integers(0, 256)
        found = read(encoded(image, "TIFF", icc_profile=bytes(damaged)))
        assert levels(found).shape == (2, 3, 3)
        kinds |= {note.split()[0] for note in found.notes}
    assert {"colors", "damaged"} <= kinds


@pytest.mark.parametrize("way", ["convert", "keep"])
def test_profile_that_cannot_be_unpacked_is_ignored_with_a_note(way: str) -> None:
    found = read(with_chunks(chunk(b"iCCP", b"name\0\0rubbish"), gama(100_000)), icc=way)
    assert np.array_equal(levels(found), PIXELS)
    assert found.notes == ["damaged color profile ignored: colors are taken as sRGB"]


def test_without_littlecms_colors_are_taken_as_srgb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    found = read(tagged(PIXELS, DISPLAY_P3))
    assert np.array_equal(levels(found), PIXELS)
    assert found.notes == [
        "color profile ignored, as Pillow is without littleCMS: colors are taken as sRGB"
    ]
    assert read(tagged(PIXELS, SRGB)).notes == []
    with pytest.raises(Exception, match="pixels of mode LAB; convert"):
        read(encoded(Image.new("LAB", (3, 2)), "TIFF"))


# Gamma and primaries of PNG files


@pytest.mark.parametrize(
    "chunks",
    [
        [gama(45455)],
        [gama(45455), chrm(*PRIMARIES)],
        [gama(47000)],
        [gama(43500), chrm(0.3127, 0.3291, 0.6398, 0.33, 0.3001, 0.6, 0.15, 0.06)],
        [chrm(*P3)],
        [chrm(*(8 * [0]))],
        [gama(45455), chrm(*(8 * [0]))],
        [gama(45455), chrm(*(8 * [0.33]))],
        [gama(45455), chrm(0.3127, 0, 0.64, 0, 0.3, 0, 0.15, 0)],
        [gama(0)],
        [gama(1)],
        [gama(2**32 - 1)],
        [chunk(b"sRGB", b"\0"), gama(100_000), chrm(*P3)],
    ],
    ids=str,
)
@pytest.mark.parametrize("gray", [False, True])
def test_gamma_and_primaries_that_mean_srgb_or_nothing_change_no_level(
    chunks: list[bytes], gray: bool
) -> None:
    found = read(with_chunks(*chunks, gray=gray))
    assert np.array_equal(levels(found), np.dstack([GRAY] * 3) if gray else PIXELS)
    assert found.notes == []


@pytest.mark.parametrize("gamma", [0.25, 0.35, 0.55, 0.7, 1.0, 2.5])
@pytest.mark.parametrize("gray", [False, True])
def test_gamma_that_differs_is_what_browsers_show(gamma: float, gray: bool) -> None:
    found = read(with_chunks(gama(round(100_000 * gamma)), gray=gray))
    stored = np.dstack([GRAY] * 3) if gray else PIXELS
    assert np.abs(levels(found) - encoded_light((stored / 255) ** (1 / gamma))).max() < 1.01
    assert found.notes == [f"colors converted from gamma {1 / gamma:.3g} to sRGB"]


def test_primaries_count_where_there_is_a_gamma_too() -> None:
    found = read(with_chunks(gama(45455), chrm(*P3)))
    expected = encoded_light((PIXELS / 255) ** 2.2 @ P3_TO_SRGB.T)
    assert np.abs(levels(found) - expected).max() < 1.01


def test_other_whites_are_adapted_to() -> None:
    white = np.full((1, 1, 3), 255, np.uint8)
    data = png([white.tobytes()], 1, 1, gama(100_000), chrm(0.3457, 0.3585, *PRIMARIES[2:]))
    assert (levels(read(data)) == 255).all()


def test_profile_counts_for_more_than_gamma() -> None:
    profile = chunk(b"iCCP", tagged(PIXELS, SRGB).split(b"iCCP")[1][: len(SRGB)])
    del profile
    image = Image.open(io.BytesIO(tagged(PIXELS, SRGB)))
    image.load()
    image.info["gamma"] = 1.0
    assert np.array_equal(quantize(image, k=143).to_array(), PIXELS)


def test_keep_writes_gamma_as_a_profile() -> None:
    found = read(with_chunks(gama(100_000)), icc="keep")
    assert np.array_equal(levels(found), PIXELS)
    again = read(tagged(PIXELS, found.metadata.profile))
    assert np.array_equal(levels(again), levels(read(with_chunks(gama(100_000)))))


def test_ignore_ignores_gamma() -> None:
    assert np.array_equal(levels(read(with_chunks(gama(100_000)), icc="ignore")), PIXELS)


# Other doors


@pytest.mark.parametrize("orientation", [1, 6])
def test_library_converts_like_the_command(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    stored = sideways(PIXELS, orientation)
    stored_file = encoded(stored, "PNG", icc_profile=DISPLAY_P3, exif=exif_of(orientation))
    path.write_bytes(stored_file)
    expected = levels(read(tagged(PIXELS, DISPLAY_P3)))
    assert np.array_equal(quantize(path, k=143).to_array(), expected)
    with Image.open(path) as image:
        before = image.copy()
        assert np.array_equal(quantize(image, k=143).to_array(), expected)
        assert np.array_equal(np.asarray(image), np.asarray(before))


def test_strips_and_threads_change_no_level(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = levels(read(tagged(PIXELS, DISPLAY_P3), threads=1))
    monkeypatch.setattr("quantgpu.io.icc.STRIP", 30)
    for threads in (1, 3):
        assert np.array_equal(levels(read(tagged(PIXELS, DISPLAY_P3), threads=threads)), whole)
