"""What each effort reaches, to the last bit: results are exact, so these hold on every machine."""

from typing import Any

import numpy as np
import pytest

from quantgpu.api import quantize
from quantgpu.clustering.coarse_to_fine import EFFORTS
from quantgpu.clustering.seeding import SEEDINGS
from quantgpu.demo.scene import render_scene

SCENE = render_scene(210, 140)

PLAIN: dict[str, Any] = {"color_space": "srgb", "perceptual": False, "dither": "none"}
"""What the squared error of 8-bit levels is measured by."""

SQUARED_ERRORS = {
    (16, "none"): (19_311_793, 15_071_737, 37_356_441, 11_689_513),
    (16, "fast"): (10_327_315, 10_312_944, 10_327_315, 10_327_315),
    (16, "balanced"): (10_282_648, 10_282_690, 10_282_648, 10_282_648),
    (16, "best"): (10_281_763, 10_281_763, 10_281_763, 10_281_763),
    (256, "none"): (3_142_234, 1_098_018, 3_038_046, 1_006_655),
    (256, "fast"): (878_368, 878_978, 880_142, 877_944),
    (256, "balanced"): (847_723, 845_171, 847_930, 843_665),
    (256, "best"): (844_946, 842_557, 844_367, 841_206),
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
    errors = [
        quantize(render_scene(300, 200), 64, seed=seed, **PLAIN).squared_error for seed in range(3)
    ]
    assert len(set(errors)) > 1
    assert np.ptp(errors) < 0.01 * min(errors)
