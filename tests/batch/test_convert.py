"""One input becomes one output, and what is reported is what happened."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import encoded
from pictures import photo
from PIL import Image

from quantgpu import OutputError, QuantgpuError, UsageError, quantize
from quantgpu.batch.convert import convert_file, quantize_job
from quantgpu.batch.destination import Destination
from quantgpu.batch.report import Report, as_bytes
from quantgpu.errors import InputError
from quantgpu.io.decode import ReadOptions
from quantgpu.io.originals import file_id
from quantgpu.options import QuantizeOptions, from_keywords
from quantgpu.progress import no_progress

BESIDE = Destination(compress_level=1)
OPTIONS: dict[str, Any] = {
    "k": 5, "effort": "fast", "init": "random", "seed": 0, "color_space": "srgb",
    "dither": "none", "threads": 1, "device": "cpu", "memory": None,
}  # fmt: skip


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A small photo in a folder of its own."""
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(photo(), "PNG"))
    return path


def quantized(path: Path, destination: Destination = BESIDE, **options: Any) -> Report:
    """What is reported of one file."""
    chosen = OPTIONS | options
    k = chosen.pop("k")
    work = quantize_job([k], from_keywords(QuantizeOptions, chosen), ReadOptions())
    [report] = convert_file(str(path), destination, work, no_progress)
    return report


@pytest.mark.parametrize(
    ("name", "output", "folder", "tag", "expected"),
    [
        ("photo.jpg", None, None, 16, "photo-16.png"),
        ("photo.jpg", None, None, "psnr38", "photo-psnr38.png"),
        ("in/photo.jpg", "out-{k}.gif", None, 16, "out-16.gif"),
        ("in/photo.jpg", "{k}/{k}{K}.gif", None, 16, "16/16{K}.gif"),
        ("in/photo.jpg", "out-{k}.gif", None, "pico8", "out-{k}.gif"),
        ("in/photo.jpg", None, None, 16, "in/photo-16.png"),
        ("in/photo.jpg", None, Path("out"), 16, "out/photo-16.png"),
        ("in/photo.jpg", "other.gif", None, 16, "other.gif"),
        ("in/photo.jpg", "-", None, 16, "-"),
        ("in/a.b c.jpg", None, None, 2, "in/a.b c-2.png"),
        ("in/noext", None, None, 2, "in/noext-2.png"),
        ("in/.hidden", None, None, 2, "in/.hidden-2.png"),
        ("-dash.jpg", None, None, 2, "-dash-2.png"),
        ("-", None, None, 16, "-"),
        ("-", None, Path("out"), 16, "out/stdin-16.png"),
        ("-", "file.png", None, 16, "file.png"),
    ],
)
def test_output_is_named_after_input_and_k(
    name: str, output: str | None, folder: Path | None, tag: int | str, expected: str
) -> None:
    destination = Destination(output, folder, force=False, compress_level=1)
    assert Path(destination.of(name, tag)) == Path(expected)


def test_report_is_true_of_the_written_file(picture: Path) -> None:
    report = quantized(picture)
    written = picture.with_name("photo-5.png")
    with Image.open(written) as image:
        pixels = np.asarray(image.convert("RGB"), np.int64)
    assert (report.input, report.output) == (str(picture), str(written))
    assert (report.width, report.height) == (83, 61)
    assert report.colors_in == len(np.unique(photo().reshape(-1, 3), axis=0))
    assert report.colors_out == len(np.unique(pixels.reshape(-1, 3), axis=0)) == 5
    assert report.mse == pytest.approx(((pixels - photo()) ** 2).sum() / (61 * 83))
    assert report.bytes_in == picture.stat().st_size
    assert report.bytes_out == written.stat().st_size
    assert report.notes == []


def test_stages_are_timed_in_order_and_once(picture: Path) -> None:
    seconds = quantized(picture).seconds
    assert list(seconds) == ["read", "count", "cluster", "remap", "write"]
    assert all(time >= 0 for time in seconds.values())


def test_stages_are_announced_in_order(picture: Path) -> None:
    heard: list[tuple[str, float]] = []
    work = quantize_job([5], QuantizeOptions(), ReadOptions())
    list(convert_file(str(picture), BESIDE, work, lambda *said: heard.append(said)))
    stages = list(dict.fromkeys(stage for stage, _ in heard))
    assert stages[:2] == ["read", "count"]
    assert stages[-2:] == ["remap", "write"]
    assert all(0 <= share <= 1 for _, share in heard)


def test_file_is_what_the_library_makes(picture: Path) -> None:
    report = quantized(picture, k=9)
    with Image.open(report.output) as image:
        assert np.array_equal(np.asarray(image), quantize(photo(), **OPTIONS | {"k": 9}).index)


def test_report_survives_json(picture: Path) -> None:
    report = quantized(picture)
    assert json.loads(json.dumps(report.as_json())) == report._asdict()


def test_lossless_report_has_no_psnr_in_json_and_says_lossless(tmp_path: Path) -> None:
    path = tmp_path / "flat.png"
    path.write_bytes(encoded(np.full((3, 5, 3), 77, np.uint8), "PNG"))
    report = quantized(path)
    assert report.psnr == math.inf
    assert json.loads(json.dumps(report.as_json()))["psnr"] is None
    assert "1 colors -> 1, lossless" in report.as_line()


def test_line_holds_the_figures(picture: Path) -> None:
    report = quantized(picture)
    line = report.as_line()
    figures = (
        report.output, "83 x 61", f"{report.colors_in:,} colors -> 5", f"MSE {report.mse:.2f}",
        f"PSNR {report.psnr:.2f} dB", as_bytes(report.bytes_out), "cluster 0.",
    )  # fmt: skip
    assert [figure for figure in figures if figure not in line] == []
    assert "\n" not in line


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1234, "1.23 kB"), (5_678_901_234, "5.68 GB")],
)
def test_bytes_are_shown_with_three_digits(count: int, text: str) -> None:
    assert as_bytes(count) == text


@pytest.mark.parametrize(
    ("name", "options", "raised", "message"),
    [
        ("photo.png", {"k": 5064}, UsageError, "k = 5064 is greater than the number of pixels"),
        ("tiny.png", {"k": 16}, UsageError, "k = 16 is greater than the number of pixels, 15"),
        ("none.png", {}, InputError, "no such file"),
        ("none/none.png", {}, InputError, "no such file"),
        ("taken.png", {}, OutputError, "exists; use --force"),
        ("text.png", {}, InputError, "not an image"),
    ],
)
def test_refusal_writes_nothing_and_leaves_the_input(
    name: str, options: dict[str, Any], raised: type[QuantgpuError], message: str, picture: Path
) -> None:
    folder = picture.parent
    (folder / "tiny.png").write_bytes(encoded(np.zeros((3, 5, 3), np.uint8), "PNG"))
    (folder / "taken.png").write_bytes(encoded(photo(), "PNG"))
    (folder / "taken-5.png").write_text("precious")
    (folder / "text.png").write_text("no image")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(raised, match=message):
        quantized(folder / name, **options)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_existing_output_is_found_out_before_the_input_is_decoded(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: Any) -> None:
        raise AssertionError("decoded in vain")

    picture.with_name("photo-5.png").touch()
    monkeypatch.setattr("quantgpu.io.decode.read_image", decode)
    with pytest.raises(OutputError, match="exists"):
        quantized(picture)


def test_identity_is_that_of_the_file_not_of_its_name(picture: Path) -> None:
    folder = picture.parent
    (folder / "soft").symlink_to(picture)
    (folder / "hard").hardlink_to(picture)
    (folder / "copy").write_bytes(picture.read_bytes())
    names = "photo.png", "soft", "hard", f"../{folder.name}/photo.png"
    assert len({file_id(str(folder / name)) for name in names}) == 1
    assert file_id(str(folder / "copy")) != file_id(str(picture))


def test_identity_of_files_that_do_not_exist_yet_is_their_place(tmp_path: Path) -> None:
    spelled_otherwise = tmp_path / ".." / tmp_path.name / "none"
    assert file_id(str(tmp_path / "none")) == file_id(str(spelled_otherwise))
    assert file_id(str(tmp_path / "none")) != file_id(str(tmp_path / "nobody"))
