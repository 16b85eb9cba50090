"""Structural similarity: the definition, and scikit-image."""

import numpy as np
import pytest
from image_files import noise
from pairs import Colors, both
from skimage.metrics import structural_similarity

from quantgpu.metrics.ssim import ssim, window


@both
def test_structural_similarity_is_scikit_images(a: Colors, b: Colors) -> None:
    expected = structural_similarity(
        *(a, b), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255,
        channel_axis=-1,
    )  # fmt: skip
    assert ssim(a, b) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("side", "taps"), [(1, 1), (2, 1), (3, 3), (10, 9), (11, 11), (500, 11)])
def test_windows_are_odd_and_fit(side: int, taps: int) -> None:
    weights = window(side)
    assert len(weights) == taps
    assert weights.sum() == pytest.approx(1)
    assert np.array_equal(weights, weights[::-1])


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (10, 2), (3, 40), (5, 5)])
def test_structural_similarity_where_the_window_does_not_fit(shape: tuple[int, int]) -> None:
    a, b = noise(*shape, 3).astype(float), noise(*shape, 3, seed=1).astype(float)
    rows, columns = (window(side) for side in shape)
    c1, c2 = 6.5025, 58.5225
    every = []
    for top in range(shape[0] - len(rows) + 1):
        for left in range(shape[1] - len(columns) + 1):
            part = slice(top, top + len(rows)), slice(left, left + len(columns))
            x, y = (np.einsum("yxc,y,x->c", p[part], rows, columns) for p in (a, b))
            xx, yy, xy = (
                np.einsum("yxc,y,x->c", p[part], rows, columns) for p in (a * a, b * b, a * b)
            )
            like = (2 * x * y + c1) * (2 * (xy - x * y) + c2)
            every.append(like / ((x * x + y * y + c1) * (xx - x * x + yy - y * y + c2)))
    found = ssim(a.astype(np.uint8), b.astype(np.uint8))
    assert found == pytest.approx(np.mean(every), rel=1e-9)
