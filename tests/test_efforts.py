"""What each effort reaches, to the last bit: results are exact, so these hold on every machine."""

from typing import Any

import numpy as np
import pytest

from quantgpu.efforts import EFFORTS
from quantgpu.pipeline import quantize
from quantgpu.scene import render_scene
from quantgpu.seeding import SEEDINGS

SCENE = render_scene(300, 200)

PLAIN: dict[str, Any] = {"color_space": "srgb", "perceptual": False, "dither": "none"}
"""What the squared error of 8-bit levels is measured by."""

SQUARED_ERRORS = {
    (16, "none"): (47_143_564, 31_206_606, 112_956_700, 23_873_050),
    (16, "fast"): (21_217_955, 21_200_275, 21_224_541, 21_224_541),
    (16, "balanced"): (21_132_747, 21_132_886, 21_134_722, 21_132_747),
    (16, "best"): (21_130_432, 21_130_139, 21_130_432, 21_130_432),
    (256, "none"): (8_172_370, 2_198_020, 6_645_614, 2_004_479),
    (256, "fast"): (1_799_408, 1_790_071, 1_801_434, 1_802_500),
    (256, "balanced"): (1_730_325, 1_735_640, 1_726_975, 1_735_939),
    (256, "best"): (1_723_471, 1_729_257, 1_717_250, 1_725_201),
}
"""(K, effort): the summed squared error from each row of `SEEDINGS`."""


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("k", [16, 256])
def test_the_error_is_what_it_was(k: int, effort: str) -> None:
    found = tuple(
        quantize(SCENE, k, effort=effort, init=init, **PLAIN).squared_error for init in SEEDINGS
    )
    assert found == SQUARED_ERRORS[k, effort]


@pytest.mark.parametrize("k", [16, 256])
def test_efforts_keep_their_distance_from_the_best_known(k: int) -> None:
    best = min(min(errors) for (other, _), errors in SQUARED_ERRORS.items() if other == k)
    for effort, most in (("fast", 1.06), ("balanced", 1.015), ("best", 1.008)):
        assert max(SQUARED_ERRORS[k, effort]) <= most * best
    assert min(SQUARED_ERRORS[k, "none"]) > 1.1 * best


def test_every_effort_and_seeding_is_recorded() -> None:
    assert {effort for _, effort in SQUARED_ERRORS} == set(EFFORTS)
    assert {len(errors) for errors in SQUARED_ERRORS.values()} == {len(SEEDINGS)}


def test_a_seed_of_its_own_leads_to_nearly_the_same_error() -> None:
    errors = [quantize(SCENE, 64, seed=seed, **PLAIN).squared_error for seed in range(3)]
    assert len(set(errors)) > 1
    assert np.ptp(errors) < 0.01 * min(errors)
