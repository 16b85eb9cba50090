"""The smallest K for a target: its grammar, the search, and that nothing comes out differently."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import photo

from quantgpu import Indexed, QualityError, UsageError, apply_palette, quantize, quantize_each
from quantgpu.cli.options import parse_ks
from quantgpu.clustering.target import PATIENCE, START, Target, parse_target, smallest_k
from quantgpu.metrics.comparison import ciede2000
from quantgpu.metrics.palette_error import QUALITIES
from quantgpu.pixels.counting import count_colors

PHOTO = photo()
FAST: dict[str, Any] = {"effort": "fast", "dither": "none", "device": "cpu"}


def assert_same(found: Indexed, expected: Indexed) -> None:
    np.testing.assert_array_equal(found.index, expected.index)
    np.testing.assert_array_equal(found.palette.colors, expected.palette.colors)
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert found.squared_error == expected.squared_error
    assert found.index.dtype == expected.index.dtype


# Grammar


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("psnr=38", ("psnr", 38.0)),
        ("mse=12", ("mse", 12.0)),
        ("mse=0", ("mse", 0.0)),
        ("de=1.5", ("de", 1.5)),
        ("DE=.5", ("de", 0.5)),
        (" psnr = 38. ", ("psnr", 38.0)),
    ],
)
def test_a_target_is_a_name_and_a_number(text: str, expected: tuple[str, float]) -> None:
    assert parse_target(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "38", "psnr", "psnr=", "=38", "ssim=0.9", "psnr=-3", "psnr=inf", "psnr=nan", "psnr=3,5",
     "psnr=1e2", "psnr=38dB", "psnr=38 mse=2", "psnr:38", "psnr==38", "psnr=" + "9" * 400, "de=٣"],
)  # fmt: skip
@pytest.mark.parametrize("option", ["target", "min_quality"])
def test_what_is_no_target_is_named_with_the_forms(text: str, option: str) -> None:
    forms = " or ".join(["psnr=38, mse=12", "de=1.5"])
    with pytest.raises(UsageError) as raised:
        quantize(PHOTO, **{option: text})  # type: ignore[arg-type]
    assert str(raised.value) == f"{option} = {text!r} is not of the form {forms}"
    assert all(f"{name}=" in forms for name in QUALITIES)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target("psnr", 38), "psnr=38"),
        (Target("de", 1.5), "de=1.5"),
        (Target("mse", 0.1), "mse=0.1"),
        (Target("mse", 1e6), "mse=1000000"),
    ],
)
def test_a_target_is_shown_as_it_is_written(target: Target, text: str) -> None:
    assert str(target) == text
    assert parse_target(text) == target


def test_a_target_is_met_from_the_right_side() -> None:
    assert [Target("psnr", 38).is_met(value) for value in (37.9, 38, math.inf)] == [0, 1, 1]
    assert [Target("mse", 12).is_met(value) for value in (12.1, 12, 0)] == [0, 1, 1]


@pytest.mark.parametrize(("text", "ks"), [("5", [5]), ("4,16,64", [4, 16, 64]), (" 4, 5", [4, 5])])
def test_several_k_have_commas_between_them(text: str, ks: list[int]) -> None:
    assert parse_ks(text) == ks


@pytest.mark.parametrize(
    "text", ["", "five", "4,", "4;5", "4.5", "4 5", "0x10", "4_0", "\u0664", "1e3"]
)
def test_what_is_no_k_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="is not an integer, nor several, such as 4,16,64"):
        parse_ks(text)


# The search


def power_law(power: float, first: float = 9000) -> Callable[[int], float]:
    return lambda k: float(first * k**-power)


def search(
    target: Target, value_of: Callable[[int], float], most: int = 256, least: int = 1
) -> tuple[int, dict[int, float], list[int]]:
    tried: list[int] = []

    def noted(k: int) -> float:
        tried.append(k)
        return value_of(k)

    found, values = smallest_k(target, least, most, noted)
    assert sorted(tried) == list(values)
    return found, values, tried


def assert_smallest(target: Target, k: int, values: dict[int, float], least: int = 1) -> None:
    assert target.is_met(values[k])
    assert k == least or not target.is_met(values[k - 1])


@pytest.mark.parametrize("power", [0.5, 0.67, 0.75, 1.0])
@pytest.mark.parametrize("k", [1, 2, 3, 17, 63, 64, 65, 200, 255, 256])
def test_smooth_errors_take_few_trials(power: float, k: int) -> None:
    value_of = power_law(power)
    target = Target("mse", value_of(k) * 1.0001)
    found, values, tried = search(target, value_of)
    assert found == k
    assert_smallest(target, found, values)
    assert len(tried) <= 6


def test_errors_that_fall_as_usual_take_three_trials() -> None:
    for name in QUALITIES:
        value_of = power_law(float(QUALITIES[name].power))
        if name == "psnr":
            limit, values = 28.0, lambda k: 10 * math.log10(3 * 255**2 / value_of(k))  # noqa: B023
        else:
            limit, values = value_of(100) * 1.001, value_of
        _, _, tried = search(Target(name, limit), values)
        assert tried[0] == START
        assert len(tried) <= 3


@given(
    errors=st.lists(st.integers(0, 99), min_size=1, max_size=200),
    limit=st.integers(0, 99),
    least=st.integers(1, 5),
    rises=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_whatever_the_values_the_found_one_meets_the_target_and_one_less_does_not(
    errors: list[int], limit: int, least: int, rises: bool
) -> None:
    target = Target("psnr" if rises else "mse", 99 - limit if rises else limit)
    most = len(errors) + least - 1
    value_of = {k: float(99 - e if rises else e) for k, e in enumerate(errors, least)}
    try:
        found, values, tried = search(target, value_of.__getitem__, most, least)
    except QualityError:
        assert not target.is_met(value_of[most])
        return
    assert_smallest(target, found, values, least)
    assert len(set(tried)) == len(tried) <= (PATIENCE + 1) * (most.bit_length() + 1)


@pytest.mark.parametrize("seed", range(20))
def test_noise_costs_trials_but_they_stay_few(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.98, 1.02, 65_537)
    power = rng.uniform(0.5, 1)
    limit = 9000 * rng.integers(2, 65_000) ** -power

    def value_of(k: int) -> float:
        return float(9000 * k**-power * noise[k])

    target = Target("mse", limit)
    found, values, tried = search(target, value_of, 65_536)
    assert_smallest(target, found, values)
    assert len(tried) <= 40


def test_a_step_is_found_by_halves() -> None:
    found, _, tried = search(Target("mse", 5), lambda k: 3.0 if k >= 777 else 1e6, most=65_536)
    assert found == 777
    assert len(tried) <= 40


def test_the_trials_do_not_depend_on_the_callers_decimal_settings() -> None:
    target, value_of = Target("mse", 150), power_law(0.8)
    expected = search(target, value_of)
    with decimal.localcontext() as context:
        context.prec = 2
        context.traps[decimal.Inexact] = True
        assert search(target, value_of) == expected


@pytest.mark.parametrize(
    ("target", "values", "message"),
    [
        ("mse=0.1", {64: 0.255}, "with 256 colors: the best is MSE 0.255 at K = 64; raise -k, up "
         "to 65536, or ask for less"),
        ("psnr=90", {65_536: 82.0641}, "with 65536 colors: the best is 82.064 dB at K = 65536; ask "
         "for less"),
        ("de=1.5", {256: 1.5004}, "with 256 colors: the best is CIEDE2000 1.500 at K = 256; raise "
         "-k, up to 65536, or ask for less"),
    ],
)  # fmt: skip
def test_a_target_out_of_reach_names_the_best(
    target: str, values: dict[int, float], message: str
) -> None:
    goal, most = parse_target(target), max(256, *values)
    worse = 30.0 if goal.quality.rises else 3.0
    with pytest.raises(QualityError) as raised:
        search(goal, lambda k: values.get(k, worse), most)
    assert str(raised.value) == f"{target} is not reached {message}"


# Whole pictures


@pytest.mark.parametrize("target", ["psnr=25", "psnr=33.5", "mse=400", "de=6", "de=3.3"])
@pytest.mark.parametrize("options", [{}, {"perceptual": True, "color_space": "oklab"}])
def test_the_result_is_that_of_its_k_and_one_less_is_not_good_enough(
    target: str, options: dict[str, Any]
) -> None:
    found = quantize(PHOTO, target=target, **FAST, **options)
    k = len(found.palette)
    assert_same(found, quantize(PHOTO, k, **FAST, **options))
    goal = parse_target(target)
    values = {}
    for tried in found.curve:
        one = quantize(PHOTO, tried, **FAST, **options)
        difference = ciede2000(PHOTO, one.to_array()).mean
        values[tried] = {"psnr": one.psnr, "mse": one.mse, "de": difference}[goal.name]
    assert found.curve == pytest.approx(values, abs=1e-6)
    assert list(found.curve) == sorted(found.curve)
    assert goal.is_met(found.curve[k])
    assert not goal.is_met(found.curve[k - 1])
    assert 1 < k < 256


@pytest.mark.parametrize(
    "options",
    [
        {"keep": [(255, 0, 255), (1, 2, 3), (0, 0, 0)], "effort": "best"},
        {"keep": [(9, 9, 9, 0)], "snap": 0.05, "lock_grays": True, "color_space": "cielab"},
        {"effort": "none", "init": "kmeans++", "seed": 5},
    ],
)
@pytest.mark.parametrize("target", ["psnr=29", "de=6"])
@pytest.mark.parametrize("alpha", [False, True])
def test_every_option_goes_into_the_search(
    alpha: bool, target: str, options: dict[str, Any]
) -> None:
    picture = np.dstack([PHOTO, np.arange(83) * np.ones((61, 1))]) if alpha else PHOTO
    picture = picture.astype(np.uint8)
    options = {"device": "cpu", "dither": "none", **options}
    found = quantize(picture, target=target, **options)
    k = next(k for k, value in found.curve.items() if parse_target(target).is_met(value))
    assert_same(found, quantize(picture, k, **options))
    assert len(found.curve) > 1


def test_kept_colors_are_the_fewest_there_can_be() -> None:
    keep = [(255, 0, 255), (1, 2, 3), (0, 0, 0), (4, 4, 4), (90, 0, 0)]
    found = quantize(PHOTO, target="psnr=2", keep=keep, **FAST)
    assert min(found.curve) == len(found.palette) == 5
    assert_same(found, quantize(PHOTO, 5, keep=keep, **FAST))
    assert quantize(PHOTO[:1, :2], 300, target="mse=0", keep=keep, **FAST).squared_error == 0
    with pytest.raises(UsageError, match="5 colors to keep are more than k = 4"):
        quantize(PHOTO, 4, target="psnr=2", keep=keep, **FAST)


def test_one_color_can_be_enough() -> None:
    found = quantize(PHOTO, target="psnr=1", **FAST)
    assert_same(found, quantize(PHOTO, 1, **FAST))
    assert 1 in found.curve


def test_the_number_of_a_result_is_a_target_that_it_meets() -> None:
    for k in (5, 40):
        one = quantize(PHOTO, k, **FAST)
        for target in (f"psnr={one.psnr!r}", f"mse={one.mse!r}"):
            assert_same(quantize(PHOTO, target=target, **FAST), one)


def test_targets_are_about_the_palette_before_pixels_are_mixed() -> None:
    options: dict[str, Any] = {"effort": "fast", "dither": "adaptive", "device": "cpu"}
    found = quantize(PHOTO, target="psnr=30", **options)
    plain = apply_palette(PHOTO, found.palette.colors)
    k = len(found.palette)
    assert found.curve[k] == pytest.approx(plain.psnr)
    assert plain.psnr >= 30 > found.psnr
    assert_same(found, quantize(PHOTO, k, **options))


def test_results_that_are_measured_are_not_mixed_unless_told_to() -> None:
    found = quantize(PHOTO, target="psnr=30", effort="fast", device="cpu")
    assert found.psnr >= 30
    assert_same(found, quantize(PHOTO, target="psnr=30", **FAST))
    found = quantize(PHOTO, 64, min_quality="psnr=25", effort="fast", device="cpu")
    assert_same(found, quantize(PHOTO, 64, **FAST))


def test_k_is_the_most_there_may_be() -> None:
    assert max(quantize(PHOTO, 300, target="psnr=38", **FAST).curve) <= 300
    with pytest.raises(QualityError, match=r"psnr=38 is not reached with 20 colors: the best is"):
        quantize(PHOTO, 20, target="psnr=38", **FAST)
    with pytest.raises(QualityError, match=r"with 256 colors"):
        quantize(PHOTO, target="psnr=60", **FAST)


def test_a_picture_of_few_colors_is_lossless_with_all_of_them() -> None:
    picture = np.array([[0, 0, 0], [9, 0, 0], [0, 99, 0], [250, 0, 250]], np.uint8)
    picture = picture[np.arange(24).reshape(4, 6) % 4]
    for target in ("mse=0", "psnr=400", "de=0"):
        for k in (None, 4, 24, 60_000):
            found = quantize(picture, k, target=target, **FAST)
            assert (len(found.palette), found.squared_error) == (4, 0)
            assert list(found.curve) == [3, 4]
    assert found.curve[4] == 0
    assert math.isinf(quantize(picture, target="psnr=400", **FAST).curve[4])


def test_k_may_exceed_the_pixels_only_as_a_limit() -> None:
    few = PHOTO[:3, :5]
    assert quantize(few, 16, target="mse=0", **FAST).squared_error == 0
    with pytest.raises(UsageError, match="k = 16 is greater than the number of pixels, 15"):
        quantize(few, 16, **FAST)


def test_without_a_target_there_is_no_curve() -> None:
    assert quantize(PHOTO, 3, **FAST).curve == {}


def test_progress_of_a_search_never_goes_back() -> None:
    told: list[tuple[str, float]] = []
    options: dict[str, Any] = {"effort": "none", "device": "cpu"}
    found = quantize(PHOTO, target="mse=90", progress=lambda *said: told.append(said), **options)
    shares = [share for stage, share in told if stage == "cluster"]
    assert shares == [*(1 - 2.0**-n for n in range(1, len(found.curve) + 1)), 1]
    assert len(shares) > 3
    assert list(dict.fromkeys(stage for stage, _ in told)) == ["count", "cluster", "remap"]


@pytest.mark.parametrize("quality", ["psnr=30", "mse=180", "de=4"])
def test_what_is_not_good_enough_is_refused(quality: str) -> None:
    good, bad = quantize(PHOTO, 64, **FAST), quantize(PHOTO, 4, **FAST)
    assert good.psnr > 30 > bad.psnr
    assert_same(quantize(PHOTO, 64, min_quality=quality, **FAST), good)
    name = quality.partition("=")[0]
    with pytest.raises(QualityError, match=f"min_quality {quality} is not reached with 4 colors: "):
        quantize(PHOTO, 4, min_quality=quality, **FAST)
    with pytest.raises(QualityError, match="with 4 colors"):
        quantize_each(PHOTO, [64, 4], min_quality=quality, **FAST)
    assert name in QUALITIES


def test_a_target_and_a_least_quality_can_be_two_numbers() -> None:
    found = quantize(PHOTO, target="psnr=30", min_quality="de=9", **FAST)
    assert_same(found, quantize(PHOTO, len(found.palette), **FAST))
    with pytest.raises(QualityError, match=f"de=1 is not reached with {len(found.palette)} colors"):
        quantize(PHOTO, target="psnr=30", min_quality="de=1", **FAST)


# Several K


@pytest.mark.parametrize("options", [{}, {"perceptual": True, "init": "wu", "seed": 3}])
def test_each_of_several_k_gives_what_it_gives_alone(options: dict[str, Any]) -> None:
    ks = [64, 2, 5000, 300]
    found = quantize_each(PHOTO, ks, **FAST, **options)
    assert [len(one.palette) for one in found[:2]] == ks[:2]
    for k, one in zip(ks, found, strict=True):
        assert_same(one, quantize(PHOTO, k, **FAST, **options))


def test_the_pixels_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def count(*arguments: Any) -> Any:
        counted.append(1)
        return count_colors(*arguments)

    monkeypatch.setattr("quantgpu.pipeline.convert.count_colors", count)
    quantize_each(PHOTO, [3, 9, 27], **FAST)
    assert len(counted) == 1
    quantize(PHOTO, target="psnr=33", **FAST)
    assert len(counted) == 2


def test_the_first_result_has_the_time_of_what_all_share() -> None:
    first, second = quantize_each(PHOTO, [3, 9], **FAST)
    assert list(first.seconds) == ["read", "count", "cluster", "remap"]
    assert list(second.seconds) == ["cluster", "remap"]


def test_progress_goes_through_several_k_once() -> None:
    told: dict[str, list[float]] = {}

    def progress(stage: str, share: float) -> None:
        told.setdefault(stage, []).append(share)

    quantize_each(PHOTO, [3, 9], effort="none", device="cpu", progress=progress)
    assert told == {"count": [1], "cluster": [0.5, 1], "remap": [0.5, 1]}


@pytest.mark.parametrize(
    ("ks", "options", "message"),
    [
        ([], {}, r"no k is given; ks is a list such as \[16, 256\]"),
        ([4, 8, 4], {}, "k = 4 is given twice"),
        ([4, 0], {}, r"k = 0 is outside 1\.\.65536"),
        ([4, 2.5], {}, r"k = 2\.5 is not an integer"),
        ([4, 6000], {}, "k = 6000 is greater than the number of pixels, 5063"),
        ([4, 8], {"target": "psnr=30"}, "target = 'psnr=30' finds one K by itself; give one k"),
        ([4, 8], {"effort": "much"}, "effort = 'much' is not one of"),
    ],
)
def test_what_several_k_cannot_be_is_named(
    ks: list[int], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        quantize_each(PHOTO, ks, **options)


def test_an_option_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TypeError, match="heroic"):
        quantize_each(PHOTO, [3], heroic=True)
