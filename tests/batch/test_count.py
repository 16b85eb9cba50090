"""From files to one histogram: what is counted, in what way, and what is left out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import encoded
from pictures import photo, soft_photo
from PIL import Image

from quantgpu.batch.count import FileCountOptions, count_files, count_images
from quantgpu.color.alpha import AlphaOptions
from quantgpu.errors import InputError, QuantgpuError, UsageError
from quantgpu.io.decode import ReadOptions
from quantgpu.io.histogram_files import encode_histogram, write_histogram
from quantgpu.pixels.counting import CountOptions, count_colors
from quantgpu.pixels.pixels import Pixels

NAMES = ["first.png", "second.png", "third.png"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with three pictures, the last of which is soft."""
    monkeypatch.chdir(tmp_path)
    for name, picture in zip(NAMES, [photo(), photo(17, 31, 1), soft_photo()], strict=True):
        Path(name).write_bytes(encoded(picture, "PNG"))


def way(perceptual: bool = True, mask: Any = None, **alpha: Any) -> FileCountOptions:
    return FileCountOptions(
        read=ReadOptions(alpha=AlphaOptions(**alpha), threads=1),
        counting=CountOptions(perceptual=perceptual, mask=mask),
    )


def bytes_of(names: list[str], histograms: list[str] | None = None, **how: Any) -> bytes:
    total = count_files(names, histograms or [], way(**how))
    assert total.counted is not None
    return encode_histogram(total.counted)


@pytest.mark.parametrize("perceptual", [False, True])
def test_colors_are_those_of_all_pictures(perceptual: bool) -> None:
    total = count_files(NAMES, [], way(perceptual), partial(count_images, jobs=2))
    expected = count_colors(Pixels(photo()), perceptual=perceptual)
    for picture in (photo(17, 31, 1), soft_photo()):
        expected += count_colors(Pixels(picture), perceptual=perceptual)
    assert total.counted is not None
    found = total.counted.histogram
    for column in ("keys", "counts", "full_weights"):
        np.testing.assert_array_equal(getattr(found, column), getattr(expected, column))
    assert (total.notes, total.failed) == ([], [])


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_how_many_are_counted_at_once_does_not_matter(jobs: int) -> None:
    total = count_files(NAMES, [], way(), partial(count_images, jobs=jobs))
    assert total.counted is not None
    assert encode_histogram(total.counted) == bytes_of(NAMES)


@pytest.mark.parametrize("perceptual", [False, True])
@pytest.mark.parametrize("mask", [None, Image.new("L", (83, 61), 77)])
def test_files_of_parts_add_up_to_the_bytes_of_the_whole(perceptual: bool, mask: Any) -> None:
    names = ["first.png", "third.png"]
    how = {"perceptual": perceptual, "mask": mask}
    for name in names:
        total = count_files([name], [], way(**how))
        assert total.counted is not None
        write_histogram(f"{name}.qhist", total.counted)
    files = [f"{name}.qhist" for name in names]
    whole = bytes_of(names, **how)
    assert bytes_of([], files, **how) == bytes_of([], files[::-1], **how) == whole
    assert bytes_of(names[:1], files[1:], **how) == bytes_of(names[1:], files[:1], **how) == whole


def test_a_file_with_perceptual_weights_serves_without_them_too() -> None:
    total = count_files(NAMES, [], way())
    assert total.counted is not None
    write_histogram("all.qhist", total.counted)
    assert bytes_of([], ["all.qhist"], perceptual=False) == bytes_of(NAMES, perceptual=False)


@pytest.mark.parametrize(
    ("name", "opening", "alpha", "matte"),
    [
        ("first.png", {"alpha": "flatten", "matte": (1, 2, 3)}, None, None),
        ("third.png", {}, "keep", None),
        ("third.png", {"matte": (1, 2, 3)}, "keep", None),
        ("third.png", {"alpha": "binary"}, "binary", None),
        ("third.png", {"alpha": "binary", "matte": (1, 2, 3)}, "binary", (1, 2, 3)),
        ("third.png", {"alpha": "flatten"}, "flatten", (255, 255, 255)),
    ],
)
def test_what_became_of_transparency_is_known_where_there_was_some(
    name: str, opening: dict[str, Any], alpha: str | None, matte: tuple[int, int, int] | None
) -> None:
    counted = count_files([name], [], way(**opening)).counted
    assert counted is not None
    assert (counted.alpha, counted.matte) == (alpha, matte)


def test_what_was_counted_differently_is_refused_by_name() -> None:
    counted = count_files(["third.png"], [], way(False, alpha="flatten")).counted
    assert counted is not None
    write_histogram("flat.qhist", counted)
    with pytest.raises(UsageError, match=r"^flat\.qhist: was counted with --no-perceptual; use"):
        bytes_of(["first.png"], ["flat.qhist"])
    with pytest.raises(UsageError, match=r"^flat\.qhist: was counted with --alpha flatten, but"):
        bytes_of(["third.png"], ["flat.qhist"], perceptual=False)


def test_the_first_file_that_cannot_be_read_ends_it() -> None:
    Path("text.png").write_text("a text")
    with pytest.raises(InputError, match=r"text\.png: not an image"):
        bytes_of(["first.png", "text.png", "none.png"])
    with pytest.raises(InputError, match=r"text\.png: expected a histogram file"):
        bytes_of(["first.png"], ["text.png"])


@pytest.mark.parametrize("jobs", [1, 3])
def test_files_that_cannot_be_read_are_left_out_where_that_is_wanted(jobs: int) -> None:
    Path("text.png").write_text("a text")
    failures: list[QuantgpuError] = []
    names = ["none.png", *NAMES, "text.png"]
    total = count_files(
        names, [], way(), partial(count_images, jobs=jobs, on_error=failures.append)
    )
    assert total.counted is not None
    assert encode_histogram(total.counted) == bytes_of(NAMES)
    assert total.failed == [0, 4]
    assert ["none.png: no such file" in str(failures[0]), len(failures)] == [True, 2]
