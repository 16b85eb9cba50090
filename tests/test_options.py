"""What options may be, and what is said of those that may not."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from quantgpu import apply_palette, quantize, quantize_video
from quantgpu.clustering.options import DEFAULT_K
from quantgpu.color.alpha import check_matte
from quantgpu.dithering.options import DitherOptions
from quantgpu.errors import UsageError
from quantgpu.options import (
    ApplyOptions,
    QuantizeOptions,
    check_ks,
    from_keywords,
    k_for,
    keyword_names,
)
from quantgpu.video.options import VideoOptions

OPTIONS: dict[str, Any] = {
    "k": 5, "effort": "fast", "init": "random", "seed": 0, "color_space": "srgb",
    "dither": "none", "dither_strength": None, "threads": 1, "device": "cpu", "memory": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("k", 0), ("k", 65_537), ("effort", "much"), ("init", "none"), ("seed", -1),
        ("color_space", "cmyk"), ("dither", "floyd"), ("threads", 0), ("device", "tpu"),
        ("device", "gpu:-1"), ("memory", 0), ("memory", 5.5),
    ],
)  # fmt: skip
def test_options_wrong_for_any_image_are_found_without_one(option: str, value: Any) -> None:
    check(**OPTIONS | {"k": 65_536})
    with pytest.raises(UsageError, match=f"{option} = {value!r} is "):
        check(**OPTIONS | {option: value})


def check(k: int | None, **keywords: Any) -> None:
    check_ks([k], from_keywords(QuantizeOptions, keywords))


def test_options_are_values_that_travel_compare_and_hash() -> None:
    keywords = OPTIONS | {"keep": [(1, 2, 3), (1, 2, 3)], "matte": (1, 2, 3)}
    del keywords["k"]
    options = from_keywords(QuantizeOptions, keywords)
    again = pickle.loads(pickle.dumps(options))
    assert again == options
    assert hash(again) == hash(options)
    assert options.palette.keep is not None
    assert options.palette.keep.hex() == ["#010203"]
    assert replace(options.palette, effort="best") != options.palette
    with pytest.raises(FrozenInstanceError):
        options.palette.effort = "best"  # type: ignore[misc]


def test_a_keyword_of_no_part_is_a_type_error_and_none_belongs_to_two() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'efort'"):
        from_keywords(QuantizeOptions, {"efort": "best"})
    for kind in (QuantizeOptions, ApplyOptions, VideoOptions):
        names = keyword_names(kind)
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("door", "kind"),
    [(quantize, QuantizeOptions), (apply_palette, ApplyOptions), (quantize_video, VideoOptions)],
)
def test_the_doors_spell_each_option_with_its_default(door: Any, kind: Any) -> None:
    spelled = inspect.signature(door).parameters
    usual = {name: spelled[name].default for name in keyword_names(kind)}
    expected = kind(dither=DitherOptions(dither="none")) if kind is ApplyOptions else kind()
    assert from_keywords(kind, usual) == expected


def test_k_is_at_most_the_number_of_pixels_or_not_given() -> None:
    assert [k_for(k, 300) for k in (1, 300, None)] == [1, 300, DEFAULT_K]
    assert k_for(None, 9) == 9
    assert (k_for(None, 9, 5), k_for(None, 300, 5)) == (14, DEFAULT_K)
    with pytest.raises(UsageError, match="k = 301 is greater than the number of pixels, 300"):
        k_for(301, 300)


@pytest.mark.parametrize("matte", ["red", (1, 2), (1, 2, 256), (-1, 2, 3), (1.5, 2, 3)])
def test_a_matte_is_three_levels(matte: Any) -> None:
    check_matte(None)
    check_matte((0, 128, 255))
    with pytest.raises(UsageError, match="matte = "):
        check_matte(matte)
    with pytest.raises(UsageError, match="matte = "):
        quantize([(1, 2, 3, 4)], 1, alpha="flatten", matte=matte)
