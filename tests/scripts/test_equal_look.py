"""Bytes at the same look."""

import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import photo
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import equal_look
from equal_look import METHODS, TRIED, Size, bytes_at, compressed, smallest

SIZES = [Size(4.0, 100), Size(2.0, 300), Size(1.0, 900)]


def test_bytes_are_read_off_the_line_between_two_files() -> None:
    assert bytes_at(2.0, SIZES) == 300
    assert bytes_at(2.0**1.5, SIZES) == pytest.approx(100 * 3**0.5)
    assert bytes_at(2.0**0.5, SIZES[::-1]) == pytest.approx(300 * 3**0.5)
    assert bytes_at(9.0, SIZES) == 100
    assert bytes_at(0.9, SIZES) is None


def test_the_smaller_kind_counts_if_it_looks_as_good() -> None:
    others = [Size(3.0, 10), Size(1.5, 50)]
    assert smallest(1.5, {"none": SIZES, "adaptive": others}) == 50
    assert smallest(1.0, {"none": SIZES, "adaptive": others}) == 900
    with pytest.raises(SystemExit, match="no number of colors looks as good"):
        smallest(0.1, {"none": SIZES})


def test_each_method_and_number_of_colors_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photo()).save(path)
    monkeypatch.setattr(equal_look, "look_of", lambda original, image, folder: 1 / len(set(
        map(tuple, np.asarray(image.convert("RGB")).reshape(-1, 3).tolist())
    )))  # fmt: skip
    found = equal_look.by_quantgpu(path, tmp_path)
    assert set(found) == set(METHODS)
    for sizes in found.values():
        assert len(sizes) == len(TRIED)
        assert [size.look for size in sizes] == sorted((s.look for s in sizes), reverse=True)


def test_files_are_what_pillow_makes_of_the_indices() -> None:
    image = Image.fromarray(photo()).quantize(9)
    assert 100 < compressed(image) < 83 * 61
