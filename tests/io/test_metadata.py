"""What files say beside their pixels reaches every format that can hold it, true of the result."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import LOSSLESS_KINDS, camera_exif, chunk, encoded, noise, png, sideways
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from quantgpu import quantize
from quantgpu.io.decode import DecodedImage, read_image
from quantgpu.io.encode import FORMATS
from quantgpu.io.exif import DAMAGED
from quantgpu.io.metadata import METADATA, Metadata, dpi_of, note_lost_metadata

PICTURES = [suffix for suffix in FORMATS if suffix != ".npz"]
PIXELS = noise(13, 11, 3)
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}">'
    "<dc:title>Schöner Titel</dc:title></rdf:Description></rdf:RDF></x:xmpmeta>"
)
ALL = Metadata(
    exif=camera_exif(1, (11, 13), ">", "none"),
    xmp=XMP.format(1).encode(),
    dpi=(300.0, 150.0),
    texts=(("Title", "Ein Bild"), ("Comment", "größer ✓")),
)


def read(data: bytes, **options: Any) -> DecodedImage:
    """What is read from a file's bytes."""
    return read_image(io.BytesIO(data), **options)


def saved(suffix: str, metadata: Metadata | None, folder: Path) -> Image.Image:
    """The file of a result, decoded."""
    path = folder / f"out{suffix}"
    quantize(PIXELS, k=9, effort="fast").save(path, metadata=metadata, force=True)
    image = Image.open(io.BytesIO(path.read_bytes()))
    image.load()
    return image


# From files


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_exif_data_is_read_upright(kind: str, orientation: int) -> None:
    stored = sideways(PIXELS, orientation)
    size = stored.shape[1], stored.shape[0]
    data = camera_exif(orientation, size, ">" if orientation % 2 else "<")
    options = {} if kind == "TIFF" else LOSSLESS_KINDS.get(kind, {})
    file = encoded(stored, kind, exif=b"Exif\0\0" + data, **options)
    found = read(file)
    assert found.image.size == (11, 13)
    assert found.notes == []
    tags = Image.Exif()
    tags.load(found.metadata.exif)
    assert tags.get(274, 1) == 1
    assert tags[271] == "ACME"
    shot = tags.get_ifd(ExifTags.IFD.Exif)
    assert (shot[0xA002], shot[0xA003], float(shot[0x829A])) == (11, 13, 1 / 125)
    assert tags.get_ifd(ExifTags.IFD.IFD1) == {}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_orientation_in_xmp_alone_is_applied_exactly_once(
    kind: str, orientation: int, tmp_path: Path
) -> None:
    stored = Image.fromarray(sideways(PIXELS, orientation))
    xmp = XMP.format(orientation)
    options = dict(LOSSLESS_KINDS.get(kind, {}))
    if kind == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp)
    elif kind == "TIFF":
        options["tiffinfo"] = {700: xmp.encode()}
    else:
        options["xmp"] = xmp.encode()
    found = read(encoded(stored, kind, **options))
    assert found.image.size == (11, 13)
    if kind != "JPEG":
        assert np.array_equal(np.asarray(found.image), PIXELS)
    gone = XMP.replace('tiff:Orientation="{}"', "")  # Pillow takes it out of TIFF files
    assert found.metadata.xmp in (XMP.format(1).encode(), gone.encode())
    for suffix in (".png", ".webp", ".tif"):
        path = tmp_path / f"out{suffix}"
        result = quantize(found.image, k=143)
        result.save(path, metadata=found.metadata, force=True)
        again = read_image(path)
        assert np.array_equal(np.asarray(again.image), result.to_array())
        assert again.metadata.xmp == found.metadata.xmp


def test_resolution_is_turned_with_the_picture() -> None:
    for orientation, dpi in ((1, (300, 150)), (3, (300, 150)), (6, (150, 300))):
        exif = Image.Exif()
        exif[274] = orientation
        data = encoded(sideways(PIXELS, orientation), "JPEG", exif=exif, dpi=(300, 150))
        assert read(data).metadata.dpi == dpi


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "JPEG"])
def test_resolution_is_read(kind: str) -> None:
    dpi = read(encoded(PIXELS, kind, dpi=(300, 150))).metadata.dpi
    assert dpi == pytest.approx((300, 150), rel=1e-3)


def test_tiff_file_without_resolution_has_none() -> None:
    assert read(encoded(PIXELS, "TIFF")).metadata.dpi is None


@pytest.mark.parametrize("dpi", [(0, 0), (float("nan"), 72), (72, float("inf")), (-1, 5), "x", 72])
def test_resolution_that_cannot_be_is_none(dpi: Any) -> None:
    image = Image.open(io.BytesIO(encoded(PIXELS, "PNG")))
    image.info["dpi"] = dpi
    assert dpi_of(image.info) is None


def test_texts_of_png_files_are_read_but_no_metadata_in_disguise() -> None:
    texts = PngInfo()
    texts.add_text("parameters", "a cat, 30 steps")
    texts.add_itxt("Title", "Schön ✓", "de", "Titel")
    texts.add_text("Raw profile type iptc", "\niptc\n 4\n00000000\n")
    found = read(encoded(PIXELS, "PNG", pnginfo=texts)).metadata
    assert found.texts == (("parameters", "a cat, 30 steps"), ("Title", "Schön ✓"))


@pytest.mark.parametrize("kind", ["GIF", "JPEG"])
def test_comment_is_read(kind: str) -> None:
    found = read(encoded(PIXELS, kind, comment="größer ✓".encode()))
    assert found.metadata.texts == (("Comment", "größer ✓"),)


def test_exif_data_in_a_text_of_a_png_file_is_read() -> None:
    exif = Image.Exif()
    exif[271] = "ACME"
    data = exif.tobytes()
    texts = PngInfo()
    text = f"\nexif\n{len(data):8}\n{data.hex()}\n"
    texts.add_text("Raw profile type exif", text)
    found = read(encoded(PIXELS, "PNG", pnginfo=texts)).metadata
    tags = Image.Exif()
    tags.load(found.exif)
    assert dict(tags) == {271: "ACME"}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("data", [b"rubbish", b"II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0"])
def test_damaged_exif_data_is_left_out_and_said_once(kind: str, data: bytes) -> None:
    found = read(encoded(PIXELS, kind, exif=b"Exif\0\0" + data, **LOSSLESS_KINDS.get(kind, {})))
    assert found.metadata.exif == b""
    assert found.notes == [DAMAGED]


def test_metadata_of_a_png_file_may_follow_its_pixels() -> None:
    plain = png([row.tobytes() for row in sideways(PIXELS, 6)], 13, 11)
    data = camera_exif(6, (13, 11))
    end = plain.index(b"IEND") - 4
    found = read(plain[:end] + chunk(b"eXIf", data) + plain[end:])
    assert np.array_equal(np.asarray(found.image), PIXELS)
    tags = Image.Exif()
    tags.load(found.metadata.exif)
    assert (tags[271], tags[274]) == ("ACME", 1)


# To files


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".tiff"])
def test_formats_hold_exif_and_xmp_data(suffix: str, tmp_path: Path) -> None:
    image = saved(suffix, ALL, tmp_path)
    tags = image.getexif()
    assert tags[271] == "ACME"
    shot, place = (tags.get_ifd(table) for table in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo))
    assert float(shot[0x829A]) == 1 / 125
    assert place[2] == (48, 6, 0)
    assert image.info["xmp"] == ALL.xmp


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp"])
def test_formats_hold_the_resolution(suffix: str, tmp_path: Path) -> None:
    image = saved(suffix, Metadata(dpi=(300, 150)), tmp_path)
    assert image.info["dpi"] == pytest.approx((300, 150), rel=1e-3)


def test_png_holds_texts_and_gif_the_comment(tmp_path: Path) -> None:
    image = saved(".png", ALL, tmp_path)
    assert {key: image.info[key] for key in ("Title", "Comment")} == dict(ALL.texts)
    assert saved(".gif", ALL, tmp_path).info["comment"] == "größer ✓".encode()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_formats_hold_a_profile(suffix: str, tmp_path: Path) -> None:
    image = saved(suffix, Metadata(profile=b"the bytes of a profile"), tmp_path)
    assert image.info["icc_profile"] == b"the bytes of a profile"


@pytest.mark.parametrize("suffix", PICTURES)
def test_metadata_changes_no_pixel(suffix: str, tmp_path: Path) -> None:
    plain, full = (saved(suffix, metadata, tmp_path) for metadata in (None, ALL))
    assert plain.mode == full.mode
    assert plain.tobytes() == full.tobytes()
    assert plain.getpalette() == full.getpalette()


@pytest.mark.parametrize("suffix", PICTURES)
def test_without_metadata_files_say_nothing(suffix: str, tmp_path: Path) -> None:
    image = saved(suffix, None, tmp_path)
    assert not {"exif", "xmp", "icc_profile", "comment", "Title"} & set(image.info)
    assert 271 not in image.getexif()


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("PNG", []),
        ("WEBP", []),
        ("TIFF", []),
        ("GIF", ["GIF holds no EXIF or XMP data"]),
        ("BMP", ["BMP holds no EXIF or XMP data"]),
        ("NPZ", ["NPZ holds no EXIF or XMP data"]),
    ],
)
def test_what_a_format_cannot_hold_is_said(name: str, note: list[str]) -> None:
    assert note_lost_metadata(name, ALL) == note
    assert note_lost_metadata(name, Metadata(dpi=(72, 72))) == []


def test_strip_leaves_the_profile_alone() -> None:
    assert METADATA["strip"](ALL._replace(profile=b"p")) == Metadata(profile=b"p")
    assert METADATA["keep"](ALL) == ALL
