"""Any picture becomes upright 8-bit RGB pixels, and what was changed on the way is said."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import (
    KINDS,
    LOSSLESS_KINDS,
    bmp_565,
    chunk,
    encoded,
    exif,
    interlaced_png,
    noise,
    png,
    sideways,
)
from numpy.typing import NDArray
from pictures import photo
from PIL import Image

from quantgpu import quantize
from quantgpu.errors import InputError
from quantgpu.io.decode import FORMATS_READ, read_image

PIXELS = noise(13, 11, 3)
GRAY = noise(13, 11, seed=1)
ALPHA = noise(13, 11, seed=2)
BLUE = (10, 20, 200)

REDUCED = "16 bits per channel reduced to 8"
ON_WHITE = "transparent pixels laid on #ffffff"

MAGICS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF", b"BM", b"II*\0", b"MM\0*")


def read(data: bytes, **options: Any) -> tuple[NDArray[np.uint8], list[str]]:
    """The pixels of a file, (H, W, 3) uint8, and the notes."""
    image, notes, *_ = read_image(io.BytesIO(data), **options)
    assert image.mode == "RGB"
    return np.asarray(image), notes


def read_or_refused(data: bytes) -> NDArray[np.uint8] | None:
    """The pixels of a file, or None where it is refused in the way that is promised."""
    try:
        return read(data, max_pixels=100_000)[0]
    except InputError:
        return None


def as_gray(levels: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W) levels as (H, W, 3) colors."""
    return np.repeat(levels[..., None].astype(np.uint8), 3, axis=2)


def laid_on(
    pixels: NDArray[np.uint8], alpha: NDArray[np.uint8], background: tuple[int, int, int]
) -> NDArray[np.float64]:
    """(H, W, 3) pixels over a background by the definition of alpha, not rounded."""
    share = alpha[..., None] / 255
    return np.asarray(share * pixels + (1 - share) * np.array(background))


def solid(mode: str, color: Any) -> Image.Image:
    """A Pillow image of one color."""
    return Image.new(mode, (5, 3), color)


def bilevel() -> Image.Image:
    """A Pillow image of 1 bit."""
    return Image.fromarray(GRAY).point(lambda level: 255 * (level > 99), mode="1")


def paletted() -> Image.Image:
    """A Pillow image of mode P whose indices and colors differ."""
    picture = Image.fromarray(GRAY % 5)
    picture.putpalette(PIXELS[0, :5].tobytes())
    return picture


# What is read


@pytest.mark.parametrize("kind", LOSSLESS_KINDS)
def test_pixels_of_lossless_files_arrive_unchanged(kind: str) -> None:
    pixels, notes = read(encoded(PIXELS, kind, **LOSSLESS_KINDS[kind]))
    assert np.array_equal(pixels, PIXELS)
    assert notes == []


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.fromarray(GRAY), "PNG", as_gray(GRAY)),
        (Image.fromarray(GRAY), "TIFF", as_gray(GRAY)),
        (Image.fromarray(GRAY), "BMP", as_gray(GRAY)),
        (Image.fromarray(GRAY), "GIF", as_gray(GRAY)),
        (bilevel(), "PNG", as_gray(255 * (GRAY > 99))),
        (bilevel(), "TIFF", as_gray(255 * (GRAY > 99))),
        (bilevel(), "BMP", as_gray(255 * (GRAY > 99))),
        (paletted(), "PNG", PIXELS[0][GRAY % 5]),
        (paletted(), "GIF", PIXELS[0][GRAY % 5]),
        (paletted(), "BMP", PIXELS[0][GRAY % 5]),
        (paletted(), "TIFF", PIXELS[0][GRAY % 5]),
        (solid("CMYK", (0, 255, 255, 0)), "TIFF", np.full((3, 5, 3), (255, 0, 0))),
    ],
)
def test_gray_bilevel_palette_and_cmyk_become_rgb(
    image: Image.Image, kind: str, expected: NDArray[Any]
) -> None:
    pixels, notes = read(encoded(image, kind))
    assert np.array_equal(pixels, expected)
    assert notes == []


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_is_read_within_its_loss(mode: str) -> None:
    image = Image.fromarray(photo()).convert(mode)
    pixels, notes = read(encoded(image, "JPEG", quality=95, subsampling=0))
    assert np.abs(pixels - np.asarray(image.convert("RGB"), np.int64)).mean() < 3
    assert notes == []


def test_interlaced_png_is_read() -> None:
    pixels, _ = read(interlaced_png(PIXELS))
    assert np.array_equal(pixels, PIXELS)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_is_taken_and_said_so(kind: str) -> None:
    frames = [Image.fromarray(PIXELS[..., ::step]) for step in (1, -1)]
    options = LOSSLESS_KINDS.get(kind, {})
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    pixels, notes = read(data)
    assert np.array_equal(pixels, PIXELS)
    assert notes == ["first of 2 frames"]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_gray_is_reduced_to_its_high_bytes_and_said_so(kind: str) -> None:
    levels = noise(13, 11, dtype=np.uint16)
    pixels, notes = read(encoded(levels, kind))
    assert np.array_equal(pixels, as_gray(levels >> 8))
    assert notes == [REDUCED]


def test_16_bit_colors_are_reduced_to_their_high_bytes_and_said_so() -> None:
    levels = noise(3, 5, 3, dtype=np.uint16)
    rows = [row.astype(">u2").tobytes() for row in levels]
    pixels, notes = read(png(rows, 5, 3, depth=16))
    assert np.array_equal(pixels, levels >> 8)
    assert notes == [REDUCED]


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
@pytest.mark.parametrize("width", [5, 15, 38, 54, 536])
def test_8_bit_files_are_not_said_to_have_16(kind: str, width: int) -> None:
    # 16 also occurs in row lengths and file offsets, which stand beside the bits in Pillow's tiles
    _, notes = read(encoded(noise(3, width, 3), kind, **LOSSLESS_KINDS[kind]))
    assert notes == []


def test_16_bits_per_pixel_are_not_taken_for_16_per_channel() -> None:
    pixels, notes = read(bmp_565([0xF800, 0x07E0, 0x001F, 0xFFFF]))
    assert pixels.tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]]
    assert notes == []


def test_16_bit_pillow_image_is_reduced_like_its_file() -> None:
    levels = noise(3, 5, dtype=np.uint16)
    assert np.array_equal(quantize(Image.fromarray(levels)).to_array(), as_gray(levels >> 8))


# Which way is up


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_orientation_is_applied_exactly_once(kind: str, orientation: int, tmp_path: Path) -> None:
    stored = sideways(PIXELS, orientation)
    data = encoded(stored, kind, exif=exif(orientation), **LOSSLESS_KINDS[kind])
    path = tmp_path / "turned"
    path.write_bytes(data)
    image = read_image(path).image
    assert np.array_equal(np.asarray(image), PIXELS)
    assert np.array_equal(quantize(image).to_array(), PIXELS), "what was read is turned again"
    assert np.array_equal(quantize(path).to_array(), PIXELS)
    with Image.open(path) as opened:
        assert np.array_equal(quantize(opened).to_array(), PIXELS)


@pytest.mark.parametrize("orientation", [3, 6])
def test_jpeg_orientation_is_applied(orientation: int) -> None:
    stored = sideways(photo(), orientation)
    pixels, _ = read(encoded(stored, "JPEG", exif=exif(orientation), quality=95))
    assert pixels.shape == photo().shape
    assert np.abs(pixels - photo().astype(np.int64)).mean() < 6


def test_16_bit_and_transparent_images_are_turned_too() -> None:
    levels = noise(13, 11, 1, dtype=np.uint16)
    stored = sideways(levels, 6)[..., 0]
    pixels, _ = read(encoded(stored, "PNG", exif=exif(6)))
    assert np.array_equal(pixels, as_gray(levels[..., 0] >> 8))
    stored = sideways(np.dstack([PIXELS, 255 * (ALPHA > 99).astype(np.uint8)]), 6)
    pixels, _ = read(encoded(stored, "PNG", exif=exif(6)))
    assert np.array_equal(pixels, np.where(ALPHA[..., None] > 99, PIXELS, 255))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0\0\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0six\0\0\0\0\0",
    ],
    ids=["no tags", "too many tags", "tags outside the file", "orientation 9", "orientation six"],
)
def test_damaged_exif_data_costs_no_pixels(kind: str, data: bytes) -> None:
    options = LOSSLESS_KINDS.get(kind, {})
    pixels, notes = read(encoded(PIXELS, kind, exif=data, **options))
    plain, _ = read(encoded(PIXELS, kind, **options))
    assert np.array_equal(pixels, plain)
    assert notes in ([], ["damaged EXIF data ignored"])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_damaged_color_profile_costs_no_pixels(kind: str) -> None:
    options = LOSSLESS_KINDS.get(kind, {})
    pixels, notes = read(encoded(PIXELS, kind, icc_profile=b"rubbish", **options))
    assert np.array_equal(pixels, read(encoded(PIXELS, kind, **options))[0])
    assert notes == ["damaged color profile ignored: colors are taken as sRGB"]


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"gAMA", b"\0\0\0\0"),
        chunk(b"cHRM", bytes(32)),
        chunk(b"pHYs", bytes(9)),
        chunk(b"tEXt", b"Comment\0\xff\xfe"),
        chunk(b"zzZz", b"private"),
    ],
    ids=lambda data: data[4:8].decode(),
)
def test_other_chunks_cost_no_pixels(extra: bytes) -> None:
    pixels, notes = read(png([row.tobytes() for row in PIXELS], 11, 13, extra))
    assert np.array_equal(pixels, PIXELS)
    assert notes == []


# Transparency


@pytest.mark.parametrize("background", [(255, 255, 255), BLUE])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_on_the_background_with_one_note(
    kind: str, background: tuple[int, int, int]
) -> None:
    data = encoded(np.dstack([PIXELS, ALPHA]), kind, **LOSSLESS_KINDS[kind])
    pixels, notes = read(data, matte=background)
    assert np.abs(pixels - laid_on(PIXELS, ALPHA, background)).max() <= 1
    assert notes == ["transparent pixels laid on #{:02x}{:02x}{:02x}".format(*background)]


def test_gray_with_alpha_is_laid_on_the_background() -> None:
    pixels, notes = read(encoded(np.dstack([GRAY, ALPHA]), "PNG"))
    assert np.abs(pixels - laid_on(as_gray(GRAY), ALPHA, (255, 255, 255))).max() <= 1
    assert notes == [ON_WHITE]


def test_16_bit_alpha_is_reduced_and_laid_on_the_background() -> None:
    levels = noise(3, 5, 4, dtype=np.uint16)
    rows = [row.astype(">u2").tobytes() for row in levels]
    pixels, notes = read(png(rows, 5, 3, depth=16, color_type=6))
    reduced = (levels >> 8).astype(np.uint8)
    expected = laid_on(reduced[..., :3], reduced[..., 3], (255, 255, 255))
    assert np.abs(pixels - expected).max() <= 1
    assert notes == [REDUCED, ON_WHITE]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_opaque_alpha_changes_nothing_and_is_not_mentioned(kind: str) -> None:
    opaque = np.dstack([PIXELS, np.full_like(ALPHA, 255)])
    pixels, notes = read(encoded(opaque, kind, **LOSSLESS_KINDS[kind]))
    assert np.array_equal(pixels, PIXELS)
    assert notes == []


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_transparent_palette_entry_shows_the_background(kind: str) -> None:
    pixels, notes = read(encoded(paletted(), kind, transparency=2), matte=BLUE)
    expected = PIXELS[0][GRAY % 5]
    expected[GRAY % 5 == 2] = BLUE
    assert np.array_equal(pixels, expected)
    assert len(notes) == 1


def test_partly_transparent_palette_entries_are_laid_on_the_background() -> None:
    alphas = bytes([0, 128, 7, 255, 99])
    pixels, notes = read(encoded(paletted(), "PNG", transparency=alphas))
    alpha = np.frombuffer(alphas, np.uint8)[GRAY % 5]
    assert np.abs(pixels - laid_on(PIXELS[0][GRAY % 5], alpha, (255, 255, 255))).max() <= 1
    assert notes == [ON_WHITE]


@pytest.mark.parametrize(
    ("depth", "row", "levels"),
    [
        (1, b"\x50", (0, None, 0, None)),
        (2, b"\x1b", (0, None, 170, 255)),
        (4, b"\x0a\x1f", (0, 170, None, 255)),
        (8, b"\x00\x10\x01\x40", (0, 16, None, 64)),
        (16, b"\x30\x00\x01\x00\x00\x01\x40\x07", (48, None, 0, 64)),
    ],
)
def test_transparent_gray_shows_the_background_at_any_depth(
    depth: int, row: bytes, levels: tuple[int | None, ...]
) -> None:
    key = chunk(b"tRNS", struct.pack(">H", 0x0100 if depth == 16 else 1))
    pixels, notes = read(png([row], 4, 1, key, depth=depth, color_type=0), matte=BLUE)
    expected = [BLUE if level is None else (level,) * 3 for level in levels]
    assert pixels.tolist() == [[list(color) for color in expected]]
    assert "transparent pixels laid on #0a14c8" in notes


@pytest.mark.parametrize("depth", [8, 16])
def test_transparent_color_shows_the_background_at_any_depth(depth: int) -> None:
    colors = noise(1, 5, 3, dtype=np.uint16) >> (16 - depth)
    key = chunk(b"tRNS", colors[0, 3].astype(">u2").tobytes())
    row = colors.astype(">u2" if depth == 16 else np.uint8).tobytes()
    pixels, notes = read(png([row], 5, 1, key, depth=depth), matte=BLUE)
    expected = colors >> (depth - 8)
    expected[0, 3] = BLUE
    assert np.array_equal(pixels, expected)
    assert "transparent pixels laid on #0a14c8" in notes


# Files that are no good


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_file_is_refused_or_complete(kind: str) -> None:
    data = encoded(PIXELS, kind, **KINDS[kind])
    whole, _ = read(data)
    last = range(len(data) - 9, len(data))
    lengths = {0, 1, 2, 7, 8, 13, 26, *range(30, len(data), 61), *last}
    outcomes = [read_or_refused(data[:length]) for length in lengths]
    complete = [pixels for pixels in outcomes if pixels is not None]
    assert all(np.array_equal(pixels, whole) for pixels in complete)
    assert len(complete) <= len(last), "what may lack is an end mark, but no pixel"


@pytest.mark.parametrize("magic", MAGICS)
def test_random_bytes_after_an_image_magic_are_refused(magic: bytes) -> None:
    rng = np.random.default_rng(3)
    for length in range(0, 300, 23):
        with pytest.raises(InputError, match=r"^standard input: "):
            read_image(io.BytesIO(magic + rng.bytes(length)), max_pixels=1_000_000)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bytes_are_refused_or_read_but_never_crash(kind: str) -> None:
    data = np.frombuffer(encoded(PIXELS, kind, **KINDS[kind]), np.uint8)
    rng = np.random.default_rng(4)
    outcomes = []
    for _ in range(40):
        damaged = data.copy()
        damaged[rng.integers(0, min(len(data), 200), 3)] = rng.integers(0, 256, 3)
        outcomes.append(read_or_refused(damaged.tobytes()))
    assert any(pixels is None for pixels in outcomes)
    assert all(pixels is None or pixels.dtype == np.uint8 for pixels in outcomes)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "is a folder; name the images in it"),
        (lambda path: path.touch(), "not an image that can be read (it is empty)"),
        (lambda path: path.write_text("a text"), "not an image that can be read"),
        (lambda path: path.symlink_to(path), "not readable (too many levels of symbolic links)"),
        (
            lambda path: path.write_bytes(encoded(np.zeros((3, 5), np.float32), "TIFF")),
            "pixels of mode F; convert the picture to 8-bit RGB first",
        ),
    ],
)
def test_unusable_path_is_named_with_the_reason(
    make: Callable[[Path], Any], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "ein Bild.png"
    make(path)
    for door in (read_image, quantize):
        with pytest.raises(InputError) as caught:
            door(path)
        assert str(caught.value) == f"{path}: {reason}"


def test_file_below_a_file_is_no_such_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "file" / "below.png")


def test_name_that_is_too_long_is_not_readable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not readable"):
        read_image(tmp_path / ("long" * 99))


def test_memory_that_runs_out_while_decoding_is_an_input_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(image: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(InputError, match="not enough memory"):
        read_image(io.BytesIO(encoded(PIXELS, "BMP")))


def test_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = png([bytes(300)], 100_000, 100_000)
    with pytest.raises(InputError, match=r"100000 x 100000 = 10,000,000,000 .* 10000000000$"):
        read_image(io.BytesIO(bomb))


def test_max_pixels_is_the_last_number_accepted() -> None:
    data = encoded(PIXELS, "PNG")
    assert read(data, max_pixels=143)[0].shape == (13, 11, 3)
    with pytest.raises(InputError, match="--max-pixels 143"):
        read(data, max_pixels=142)


def test_pillows_own_limit_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)
    read(encoded(PIXELS, "PNG"))
    with pytest.raises(InputError):
        read(b"")
    assert Image.MAX_IMAGE_PIXELS == 7


def test_reading_in_threads_leaves_the_settings_of_the_process_alone() -> None:
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    data = encoded(PIXELS, "PNG")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: read(data), range(120)))
    assert limit == Image.MAX_IMAGE_PIXELS
    assert list(warnings.filters) == filters


@pytest.mark.parametrize("name", ["in.png", "in.eps", "in.tif"])
@pytest.mark.parametrize("mark", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%!PS\n"])
def test_no_program_is_started_for_any_file(
    tmp_path: Path, name: str, mark: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*command: Any, **options: Any) -> None:
        raise AssertionError(command)

    monkeypatch.setattr("subprocess.Popen", started)
    path = tmp_path / name
    path.write_bytes(mark + b"%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match=r"is PostScript \(EPS\), a program, which is never run"):
        read_image(path)


def test_pillow_reads_no_format_of_its_own_accord() -> None:
    """What a new version of Pillow reads is looked at before it is let in."""
    Image.init()
    left_out = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "IPTC", "XVTHUMB", "SPIDER"}
    assert set(Image.OPEN) - set(FORMATS_READ) <= left_out | {"MCIDAS", "IMT", "MIC"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is HEIC; convert it to PNG or TIFF first"),
        (b"\xff\x0a\xfa\x1f\x01", "is JPEG XL; convert"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "is JPEG XL; convert"),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<svg width="9"/>', "is SVG; convert"),
        (b"%PDF-1.7\n", "is PDF; convert"),
        (b"8BPS\0\1" + bytes(99), "is a Photoshop file of a depth or mode that is not read"),
        (b"II*\0\x08\0\0\0\0\0", "is a TIFF file of samples that are not read, such as floats"),
        (b"\0\0\0\x20ftypisom", "is a film; use quantgpu video"),
        (b"\x1aE\xdf\xa3\x01", "is a film; use quantgpu video"),
        (b"no picture", "not an image that can be read"),
        (b"", r"not an image that can be read \(it is empty\)"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "in.png"
    path.write_bytes(data)
    for source in (path, io.BytesIO(data)):
        with pytest.raises(InputError, match=said):
            read_image(source)


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}])
def test_tiff_files_are_as_large_as_is_allowed(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.tif"
    Image.fromarray(photo()).save(path, **options)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    np.testing.assert_array_equal(np.asarray(read_image(path).image), photo())
    assert Image.MAX_IMAGE_PIXELS == 1000
