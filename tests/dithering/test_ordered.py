"""Ordered dithering says of each pixel what the definition says, from its color and place alone."""

from fractions import Fraction
from typing import Any

import gpu_double
import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import photo, soft_photo

from quantgpu import Indexed, apply_palette, quantize
from quantgpu.color.packing import pack
from quantgpu.color.spaces import COLOR_SPACES, grid_points
from quantgpu.dithering import ordered
from quantgpu.dithering.base import ColorMap, Dithering
from quantgpu.dithering.diffusion_matrices import FULL
from quantgpu.dithering.mixtures import SHARES, mixtures
from quantgpu.dithering.threshold_matrices import BAYER_SIZES, bayer, blue_noise
from quantgpu.palette import Palette
from quantgpu.pixels import gpu
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import no_progress

MATRICES = {**{f"bayer:{size}": bayer(size) for size in BAYER_SIZES}, "blue-noise": blue_noise()}
METHODS = ["bayer", "bayer:2", "blue-noise"]
SIZES = [(1, 1), (1, 9), (9, 1), (17, 31), (2, 200), (100, 70)]


def dithered(picture: NDArray[np.uint8], colors: Any, method: str, **options: Any) -> Indexed:
    return apply_palette(picture, colors, dither=method, device="cpu", **options)


def some_colors(picture: NDArray[np.uint8], k: int) -> NDArray[np.uint8]:
    """K colors of a picture and its surroundings, in no order, with repeated ones."""
    rng = np.random.default_rng(k)
    every = picture.reshape(-1, picture.shape[-1])
    colors = every[rng.integers(0, len(every), k)].copy()
    colors[::2, :3] ^= 21
    colors[2::9] = colors[0]
    return colors


def seen(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colors of which what is clear is black."""
    return colors * (colors[..., -1:] > 0) if colors.shape[-1] == 4 else colors


def mapping_for(picture: NDArray[np.uint8], colors: NDArray[np.uint8]) -> ColorMap:
    histogram = count_colors(Pixels(picture))
    labels = apply_palette(histogram.colors[None].copy(), colors, device="cpu").index[0]
    space = COLOR_SPACES["oklab"]
    return ColorMap(histogram, Palette(colors), labels.astype(np.intp), space, (), 2)


def naive_index(
    picture: NDArray[np.uint8], mapping: ColorMap, strength: int, ranks: NDArray[np.uint16]
) -> NDArray[np.int64]:
    """Pixel by pixel, with fractions."""
    histogram, palette, labels, space, *_ = mapping
    entries, colors = palette.colors, histogram.colors
    exact = (colors == entries[labels]).all(axis=1) | ((colors[:, 3:] == 0).any(axis=1))
    points, centers = space.points(colors), grid_points(entries, space)
    mixed = mixtures(points, centers, labels, exact, strength)
    keys = pack(np.ascontiguousarray(picture).reshape(-1, picture.shape[-1]))
    rank_of = {int(key): rank for rank, key in enumerate(histogram.keys.tolist())}
    index = np.empty(picture.shape[:2], np.int64)
    for place, key in zip(np.ndindex(*index.shape), keys.tolist(), strict=True):
        low, high, share = (int(field[rank_of[key]]) for field in mixed)
        rank = int(ranks[place[0] % len(ranks), place[1] % len(ranks)])
        threshold = Fraction(2 * rank + 1, 2 * ranks.size)
        index[place] = high if Fraction(share, SHARES) > threshold else low
    return index


@pytest.mark.parametrize("method", MATRICES)
@pytest.mark.parametrize("k", [2, 40, 300])
def test_each_pixel_gets_what_the_definition_says(k: int, method: str) -> None:
    name, _, size = method.partition(":")
    for picture in (photo(70, 67), soft_photo(17, 31)):
        mapping = mapping_for(picture, some_colors(picture, k))
        for strength in (FULL, 20):
            mapper = ordered.ordered(mapping, Dithering(name, int(size or 0), strength))
            found = mapper(Pixels(picture), False, no_progress)
            expected = naive_index(picture, mapping, strength, MATRICES[method])
            np.testing.assert_array_equal(found.index, expected)
            assert found.index.dtype == (np.uint8 if k <= 256 else np.uint16)
            assert len(np.unique(found.index)) > 1


def test_pictures_with_some_of_the_colors_are_told_apart() -> None:
    """A palette for several pictures: what is told of one is of its own pixels."""
    picture = photo()
    mapper = ordered.ordered(mapping_for(picture, some_colors(picture, 9)), Dithering("bayer"))
    told = []
    for part in (picture, picture[:16], picture[16:]):
        found = mapper(Pixels(part), False, no_progress)
        assert found.tally is not None
        np.testing.assert_array_equal(
            found.tally.counts, np.bincount(found.index.ravel(), minlength=9)
        )
        told.append(found.tally)
    assert told[0].squared_error == told[1].squared_error + told[2].squared_error


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("method", METHODS)
def test_pixels_and_errors_are_those_of_the_picture(method: str, shape: tuple[int, int]) -> None:
    for picture in (photo(*shape), soft_photo(*shape)):
        colors = some_colors(picture, 12)
        found = dithered(picture, colors, method, threads=2)
        np.testing.assert_array_equal(found.counts, np.bincount(found.index.ravel(), minlength=12))
        shown = found.palette.colors[found.index].astype(int)
        gaps = shown - picture
        if picture.shape[-1] == 3:
            assert found.squared_error == (gaps**2).sum()


def test_the_other_error_is_that_of_a_remapped_picture() -> None:
    """Of pictures with transparency, for which the error is on black and on white."""
    picture = soft_photo()
    found = dithered(picture, some_colors(picture, 12), "blue-noise")
    both = np.concatenate([picture, found.to_array()], axis=2).reshape(-1, 8)
    pairs, counts = np.unique(both, axis=0, return_counts=True)
    total = 0
    for pair, count in zip(pairs.astype(int).tolist(), counts.tolist(), strict=True):
        for behind in (0, 255):
            one, other = (
                [(2 * (v * c[3] + behind * (255 - c[3])) + 255) // 510 for v in c[:3]]
                for c in (pair[:4], pair[4:])
            )
            total += count * sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
    assert found.squared_error == total // 2


@pytest.mark.parametrize("strength", [0, 0.01, 0.5, 1, None])
@pytest.mark.parametrize("method", METHODS)
def test_what_the_palette_has_is_unchanged(method: str, strength: float | None) -> None:
    for picture in (photo(20, 30), soft_photo(20, 30)):
        colors = np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)
        found = dithered(picture, colors[::-1], method, dither_strength=strength)
        np.testing.assert_array_equal(seen(found.to_array()), seen(picture))
        few = dithered(picture, colors[::7], method, dither_strength=strength)
        own = (picture[:, :, None] == colors[::7]).all(axis=3).any(axis=2)
        np.testing.assert_array_equal(seen(few.to_array()[own]), seen(picture[own]))
        assert own.any()


@pytest.mark.parametrize("method", METHODS)
def test_no_strength_is_no_dithering(method: str) -> None:
    for picture in (photo(), soft_photo()):
        colors = some_colors(picture, 9)
        found = dithered(picture, colors, method, dither_strength=0)
        plain = dithered(picture, colors, "none")
        np.testing.assert_array_equal(found.index, plain.index)
        np.testing.assert_array_equal(found.counts, plain.counts)
        assert found.squared_error == plain.squared_error
        full = dithered(picture, colors, method)
        assert (full.index != plain.index).mean() > 0.02


@pytest.mark.parametrize("method", MATRICES)
def test_a_half_share_switches_half_of_the_matrix(method: str) -> None:
    size = len(MATRICES[method])
    picture = np.full((size, 2 * size, 3), 60, np.uint8)
    colors = [(50, 60, 60), (70, 60, 60)]
    found = dithered(picture, colors, method, color_space="srgb")
    assert found.counts.tolist() == [size * size] * 2
    np.testing.assert_array_equal(
        found.index, MATRICES[method][:, [*range(size)] * 2] < size**2 / 2
    )
    quarter = dithered(picture, colors, method, color_space="srgb", dither_strength=0.5)
    assert sorted(quarter.counts.tolist()) == [size * size // 2, 3 * size * size // 2]


@pytest.mark.parametrize("method", METHODS)
def test_a_ramp_keeps_its_mean_as_bands_do_not(method: str) -> None:
    """Averaged over the size of the matrix, of 64 levels between two grays far apart."""
    ramp = np.repeat(np.arange(96, 160, dtype=np.uint8), 64)[None].repeat(64, axis=0)
    picture = np.dstack([ramp] * 3)
    colors = [(level, level, level) for level in (80, 112, 144, 176)]
    options = {"color_space": "srgb"}

    def off(method: str) -> float:
        shown = dithered(picture, colors, method, **options).to_array()[..., 0].astype(float)
        means = (shown - ramp).reshape(64, 64, 64).mean(axis=(0, 2))
        return float(np.abs(means).mean())

    assert off(method) < 0.4 * off("none")


@pytest.mark.parametrize("method", MATRICES)
def test_a_part_looks_as_it_does_in_the_whole(method: str) -> None:
    size = len(MATRICES[method])
    picture = photo(size + 40, 2 * size + 30)
    colors = some_colors(picture, 11)
    whole = dithered(picture, colors, method)
    part = dithered(picture[size:, 2 * size :].copy(), colors, method)
    np.testing.assert_array_equal(part.index, whole.index[size:, 2 * size :])


def test_neighbors_do_not_matter() -> None:
    picture = photo()
    colors = some_colors(picture, 11)
    changed = picture.copy()
    changed[::2, 1::2] = changed[::-2, ::2][:, : changed[::2, 1::2].shape[1]]
    kept = (changed == picture).all(axis=2)
    before, after = (dithered(each, colors, "blue-noise").index for each in (picture, changed))
    np.testing.assert_array_equal(before[kept], after[kept])
    assert (before[~kept] != after[~kept]).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("k", [3, 8, 40])
def test_opaque_stays_opaque_and_clear_stays_clear(k: int, method: str) -> None:
    picture = soft_photo()
    found = quantize(picture, k, dither=method, device="cpu", effort="fast").to_array()
    assert (found[picture[..., 3] == 255][:, 3] == 255).all()
    assert (found[picture[..., 3] == 0][:, 3] == 0).all()
    partly = (picture[..., 3] > 0) & (picture[..., 3] < 255)
    assert len(np.unique(found[partly][:, 3])) > 1


def test_locked_grays_stay_gray() -> None:
    picture = photo()
    picture[:, ::3] = picture[:, ::3, :1]
    found = quantize(picture, 20, lock_grays=True, dither="bayer", device="cpu").to_array()
    gray = (picture == picture[..., :1]).all(axis=2)
    assert (found[gray] == found[gray][:, :1]).all()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch", [1, 100, 3000])
def test_batches_and_threads_do_not_matter(
    batch: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = photo()
    colors = some_colors(picture, 20)
    expected = dithered(picture, colors, "blue-noise", threads=1)
    monkeypatch.setattr(ordered, "BATCH", batch)
    monkeypatch.setattr(ordered, "PIECE", 3 * batch)
    found = dithered(picture, colors, "blue-noise", threads=threads)
    np.testing.assert_array_equal(found.index, expected.index)
    np.testing.assert_array_equal(found.counts, expected.counts)


@pytest.mark.parametrize("slab", [1, 7000, 1 << 20])
@pytest.mark.parametrize("shape", SIZES)
def test_a_gpu_gives_the_same_bytes(
    shape: tuple[int, int], slab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slabs of the least height, of some, and one for all; and parts of them."""
    monkeypatch.setattr(gpu, "SLAB", slab)
    monkeypatch.setattr(ordered, "SLAB", min(slab, 1000))
    with gpu_double.installed():
        for picture in (photo(*shape), soft_photo(*shape)):
            for k, method in ((6, "bayer"), (300, "blue-noise")):
                colors = some_colors(picture, k)
                assert_same(
                    *(
                        apply_palette(picture, colors, dither=method, device=device)
                        for device in ("gpu", "cpu")
                    )
                )


@pytest.mark.parametrize("method", ["bayer:4", "blue-noise"])
def test_a_part_is_dithered_as_it_is_in_the_whole(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = photo(70, 120)
    colors = some_colors(picture, 9)
    whole = dithered(picture, colors, method).index
    part = np.ascontiguousarray(picture[5:60, 37:])
    monkeypatch.setattr(Pixels, "place", (5, 37))
    here = dithered(part, colors, method)
    np.testing.assert_array_equal(here.index, whole[5:60, 37:])
    with gpu_double.installed():
        assert_same(apply_palette(part, colors, dither=method, device="gpu"), here)


@pytest.mark.parametrize(("picture", "k"), [(photo(40, 50), 16), (soft_photo(40, 50), 17)])
def test_the_whole_pipeline_on_a_gpu_gives_the_same_bytes(
    picture: NDArray[np.uint8], k: int
) -> None:
    options: dict[str, Any] = {"dither": "blue-noise", "lock_grays": True, "effort": "fast"}
    expected = quantize(picture, k, device="cpu", **options)
    with gpu_double.installed() as cupy:
        assert_same(quantize(picture, k, device="gpu", **options), expected)
        there = quantize(cupy.asarray(picture), k, keep_on_device=True, **options)
        np.testing.assert_array_equal(there.index.get(), expected.index)


def assert_same(found: Indexed, expected: Indexed) -> None:
    assert (found.device, expected.device) == ("gpu:0", "cpu")
    np.testing.assert_array_equal(found.index, expected.index)
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert found.index.dtype == expected.index.dtype
    assert found.squared_error == expected.squared_error


@pytest.mark.parametrize("count", [1, 2, 32767, 32768, 32769, 100_000])
def test_squared_gaps_of_black_and_white_do_not_overflow(count: int) -> None:
    keys = np.full(count, 0xFFFFFF, np.uint32)
    keys[::3] = 0x030201
    assert ordered.squared_gaps(keys, np.zeros(count, np.uint32)) == sum(
        int(gap) ** 2 for gap in keys.view(np.uint8).tolist()
    )
    assert ordered.squared_gaps(keys, keys) == 0
