"""Clustering that begins with a palette which was good before."""

from typing import Any

import numpy as np
import pytest
from flat import cluster
from numpy.typing import NDArray
from pictures import soft_photo

from quantgpu.demo.scene import render_scene
from quantgpu.histogram import Histogram
from quantgpu.metrics.palette_error import squared_error
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.pixels import Pixels
from quantgpu.video.palettes import match_order

OPTIONS: dict[str, Any] = {"color_space": "srgb"}

EARLIER = render_scene(300, 200)
LATER = np.minimum(np.roll(EARLIER, 40, axis=1) * np.float32(1.03), 255).astype(np.uint8)
"""The camera has turned, and there is a little more light."""


def histogram_of(picture: NDArray[np.uint8]) -> Histogram:
    return count_colors(Pixels(picture))


@pytest.mark.parametrize("k", [16, 64, 255])
def test_a_palette_that_follows_is_as_good_and_stays_near(k: int) -> None:
    before, _ = cluster(histogram_of(EARLIER), k, **OPTIONS)
    histogram = histogram_of(LATER)
    anew, own = cluster(histogram, k, seed=1, **OPTIONS)
    followed, labels = cluster(histogram, k, start=before.colors, **OPTIONS)
    assert squared_error(histogram, followed, labels) < 1.03 * squared_error(histogram, anew, own)

    def moved(colors: NDArray[np.uint8]) -> float:
        placed, _ = match_order(before.colors, colors)
        gaps = placed.astype(float) - before.colors
        return float(np.median(np.sqrt((gaps**2).sum(axis=1))))

    assert moved(followed.colors) < moved(anew.colors)


def test_threads_do_not_change_a_palette_that_follows() -> None:
    before, _ = cluster(histogram_of(EARLIER), 40, **OPTIONS)
    histogram = histogram_of(LATER)
    one, three = (
        cluster(histogram, 40, start=before.colors, threads=threads, **OPTIONS)
        for threads in (1, 3)
    )
    np.testing.assert_array_equal(one[0].colors, three[0].colors)
    np.testing.assert_array_equal(one[1], three[1])


def test_a_start_with_too_few_colors_and_kept_colors_begin_anew() -> None:
    histogram = histogram_of(LATER)
    before, _ = cluster(histogram_of(EARLIER), 9, **OPTIONS)
    anew, _ = cluster(histogram, 20, **OPTIONS)
    few, _ = cluster(histogram, 20, start=before.colors, **OPTIONS)
    np.testing.assert_array_equal(few.colors, anew.colors)
    keep = np.array([[255, 0, 0]], np.uint8)
    kept, _ = cluster(histogram, 9, start=before.colors, keep=keep, **OPTIONS)
    assert "#ff0000" in kept.hex()


def test_a_start_with_more_colors_than_wanted_is_cut_and_opaque_ones_serve_transparent_pixels() -> (
    None
):
    histogram = histogram_of(soft_photo())
    before, _ = cluster(histogram_of(EARLIER), 30, **OPTIONS)
    palette, labels = cluster(histogram, 20, start=before.colors, **OPTIONS)
    assert palette.colors.shape == (20, 4)
    assert sorted(set(labels.tolist())) == list(range(20))
