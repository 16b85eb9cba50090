"""What tests assert of results."""

import numpy as np
from numpy.typing import NDArray

from quantgpu import Histogram, Indexed


def assert_same_histogram(found: Histogram, expected: Histogram) -> None:
    assert np.array_equal(found.keys, expected.keys)
    assert np.array_equal(found.counts, expected.counts)
    if expected.weights is None:
        assert found.weights is None
    else:
        assert np.array_equal(found.weights, expected.weights)


def assert_same(found: Indexed, expected: Indexed) -> None:
    np.testing.assert_array_equal(found.palette.colors, expected.palette.colors)
    np.testing.assert_array_equal(found.index, expected.index)
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert found.index.dtype == expected.index.dtype
    assert (found.squared_error, found.colors_in) == (expected.squared_error, expected.colors_in)


def is_inside(panel: NDArray[np.uint8], sheet: NDArray[np.uint8]) -> bool:
    height, width = panel.shape[:2]
    corners = np.argwhere((sheet == panel[0, 0]).all(axis=2)).tolist()
    return any(
        np.array_equal(sheet[top : top + height, left : left + width], panel)
        for top, left in corners
    )
