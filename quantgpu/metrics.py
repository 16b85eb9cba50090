"""How far two pictures of the same size are apart.

Every metric takes two (H, W, 3) uint8 arrays and goes through them in slabs. Beside the pictures
there is at most this: a slab of `SLAB` pixels, some 100 bytes each, for every processor; while
colors are counted, 64 MiB for bins and 24 bytes per distinct color; and for the 95th percentile 5
bytes per pixel where nearly every pixel is a pair of colors of its own, next to nothing otherwise.
96 megapixels of the first kind take 0.56 GB on 2 processors.

Squared errors, shares and numbers of colors are exact; the others are sums in float64 of which the
order is fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from quantgpu.colorspace import CHUNK, CIELAB_SCALE, cielab
from quantgpu.device import Progress, default_threads, map_ahead, no_progress, ranges
from quantgpu.errors import UsageError
from quantgpu.histogram import KEYS, count_colors, pack, unpack
from quantgpu.image import Pixels, as_pixels

SLAB = 1 << 18
"""Pixels compared at a time by each thread."""

TILE = 64, 256
"""Rows and columns of windows of which the structural similarity is computed at a time: what is
needed for them stays in the second-level cache."""

SIGMA, RADIUS = 1.5, 5
"""Of the Gaussian window, in pixels: 11 x 11."""

STABILIZERS = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""C1 and C2 of the structural similarity, from K1 = 0.01 and K2 = 0.03."""

MAP_STEPS = 10
"""Gray levels of a map for a unit of CIEDE2000."""

CENTER = np.array([[50.0], [0.0], [0.0]])
"""(3, 1): the L*, a* and b* that are zero on the grid."""

Colors = NDArray[np.uint8]
"""Colors, (..., 3) uint8."""
Floats = NDArray[np.float64]
Result = TypeVar("Result")


class Difference(NamedTuple):
    """CIEDE2000 over the pixels of two pictures; a difference of 1 is about the least one sees."""

    mean: float
    percentile_95: float
    """The least value that at least 95 of 100 pixels do not exceed."""
    maximum: float


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; the fields are the rows of `METRICS`."""

    mse: float
    """Mean squared error of a pixel, summed over the three channels, in squared levels (Celebi)."""
    mse_channels: tuple[float, float, float]
    """Mean squared error of red, green and blue."""
    psnr: float
    """Peak signal-to-noise ratio over all channels, in decibels; infinite for equal pictures."""
    ssim: float
    """Structural similarity, mean over windows and channels: at most 1, for equal pictures."""
    ciede2000: Difference
    """Color difference that people see."""
    colors: tuple[int, int]
    """Distinct colors in each picture."""
    changed: float
    """Share of the pixels that differ at all, 0 to 1."""

    def as_lines(self) -> list[str]:
        """A line for each metric, for people."""
        red, green, blue = self.mse_channels
        difference = self.ciede2000
        return [
            f"MSE {self.mse:.4f} (red {red:.4f}, green {green:.4f}, blue {blue:.4f})",
            "PSNR infinite" if math.isinf(self.psnr) else f"PSNR {self.psnr:.2f} dB",
            f"SSIM {self.ssim:.6f}",
            f"CIEDE2000 mean {difference.mean:.4f}, "
            f"95th percentile {difference.percentile_95:.4f}, maximum {difference.maximum:.4f}",
            f"colors {self.colors[0]:,} and {self.colors[1]:,}",
            f"pixels changed {100 * self.changed:.4g} %",
        ]

    def as_json(self) -> dict[str, Any]:
        """The fields; `psnr` is None where there is no error at all."""
        fields = asdict(self)
        fields["psnr"] = None if math.isinf(self.psnr) else self.psnr
        fields["ciede2000"] = self.ciede2000._asdict()
        return fields


def compare(image_a: Any, image_b: Any, *, progress: Progress = no_progress) -> Comparison:
    """Measure how far two images of the same size are apart.

    >>> found = compare([(0, 0, 0), (9, 9, 9)], [(0, 0, 0), (9, 9, 6)])
    >>> found.mse, found.changed
    (4.5, 0.5)

    Args:
        image_a: What `quantize` takes: a path, a Pillow image, an array or a list of colors.
        image_b: The same; swapping the two only swaps `colors`.
        progress: Called with the name of each metric and the share that is done.

    Raises:
        UsageError: The sizes differ, or one is no image.
        InputError: A file cannot be read.
    """
    a, b = (as_array(image) for image in (image_a, image_b))
    if a.shape != b.shape:
        raise UsageError(f"{size_of(a)} and {size_of(b)} pixels: pictures must have the same size")
    found = {}
    for place, (name, metric) in enumerate(METRICS.items()):
        progress(name, place / len(METRICS))
        found[name] = metric(a, b)
    return Comparison(**found)


def as_array(image: Any) -> Colors:
    """An image's pixels on the host, (H, W, 3) uint8, C-contiguous; a list is one column."""
    pixels = as_pixels(image).to_host()
    return pixels.slab(0, pixels.height).reshape(pixels.height, pixels.width, 3)


def size_of(picture: Colors) -> str:
    """Width and height, for people."""
    return f"{picture.shape[1]} x {picture.shape[0]}"


def over_slabs(
    measure: Callable[[Colors, Colors], Result], a: Colors, b: Colors
) -> Iterable[Result]:
    """What `measure` finds in each slab of (n, 3) colors, in order."""
    flat_a, flat_b = (np.ascontiguousarray(picture).reshape(-1, 3) for picture in (a, b))

    def of_slab(slab: tuple[int, int]) -> Result:
        return measure(flat_a[slice(*slab)], flat_b[slice(*slab)])

    return map_ahead(of_slab, ranges(0, len(flat_a), SLAB), default_threads())


def pixels_in(picture: Colors) -> int:
    """The number of pixels."""
    return picture.size // 3


def squared_error(a: Colors, b: Colors) -> list[int]:
    """Squared differences of 8-bit levels, summed over the pixels, of each channel."""

    def of_slab(a: Colors, b: Colors) -> list[int]:
        away = a.T.astype(np.int64) - b.T
        return [int(channel @ channel) for channel in away]

    return [sum(channel) for channel in zip(*over_slabs(of_slab, a, b), strict=True)]


def mse_channels(a: Colors, b: Colors) -> tuple[float, ...]:
    """Mean squared error of red, green and blue, in squared levels."""
    return tuple(error / pixels_in(a) for error in squared_error(a, b))


def mse(a: Colors, b: Colors) -> float:
    """Mean squared error of a pixel, summed over the channels, as `Indexed.mse`.

    M. E. Celebi, "Improving the performance of k-means for color quantization", Image and
    Vision Computing 29(4), 2011, doi:10.1016/j.imavis.2010.10.002.
    """
    return sum(squared_error(a, b)) / pixels_in(a)


def psnr(a: Colors, b: Colors) -> float:
    """Peak signal-to-noise ratio in decibels, over all channels; infinite without error."""
    error = mse(a, b)
    return 10.0 * math.log10(255**2 * 3 / error) if error else math.inf


def changed(a: Colors, b: Colors) -> float:
    """The share of the pixels that differ."""

    def of_slab(a: Colors, b: Colors) -> int:
        red, green, blue = (a != b).T
        return int(np.count_nonzero(red | green | blue))

    return sum(over_slabs(of_slab, a, b)) / pixels_in(a)


def colors(a: Colors, b: Colors) -> tuple[int, int]:
    """How many distinct colors each picture has."""
    in_a, in_b = (len(count_colors(Pixels(picture), default_threads())) for picture in (a, b))
    return in_a, in_b


def ssim(a: Colors, b: Colors) -> float:
    """Structural similarity: mean over the channels and over all windows inside the picture.

    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error
    visibility to structural similarity", IEEE Transactions on Image Processing 13(4), 2004,
    doi:10.1109/TIP.2003.819861. The window is a Gaussian of 11 x 11 pixels. A picture of fewer rows
    or columns gets the longest odd window that it holds; one pixel is a window of its own.
    """
    windows = window(a.shape[0]), window(a.shape[1])
    height, width = (side - len(w) + 1 for side, w in zip(a.shape, windows, strict=False))

    def of_tile(tile: tuple[tuple[int, int], tuple[int, int]]) -> float:
        (top, bottom), (left, right) = tile
        rows = slice(top, bottom + len(windows[0]) - 1)
        columns = slice(left, right + len(windows[1]) - 1)
        return float(similarity(a[rows, columns], b[rows, columns], windows).sum())

    tiles = product(ranges(0, height, TILE[0]), ranges(0, width, TILE[1]))
    mean: float = math.fsum(map_ahead(of_tile, tiles, default_threads())) / (height * width * 3)
    return mean


def window(side: int) -> Floats:
    """The weights of a Gaussian along one axis, at most `side` of them, an odd number."""
    reach = min(RADIUS, (side - 1) // 2)
    weights: Floats = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SIGMA) ** 2)
    weights /= weights.sum()
    return weights


def similarity(a: Colors, b: Colors, windows: tuple[Floats, Floats]) -> Floats:
    """The structural similarity of each window and channel of two (h, w, 3) pictures."""
    x, y = (picture.reshape(len(picture), -1).astype(np.float64) for picture in (a, b))
    mean_x, mean_y, squares, products = (
        smoothed(smoothed(values, windows[0]), windows[1], axis=1, step=3)
        for values in (x, y, x * x + y * y, x * y)
    )
    c1, c2 = STABILIZERS
    both, apart = 2 * mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    like: Floats = (both + c1) * (2 * products - both + c2)
    return like / ((apart + c1) * (squares - apart + c2))


def smoothed(values: Floats, weights: Floats, axis: int = 0, step: int = 1) -> Floats:
    """Weighted sums of neighbors that are `step` apart, where all of them are inside."""
    count = values.shape[axis] - step * (len(weights) - 1)

    def shifted(places: int) -> Floats:
        inside = slice(places * step, places * step + count)
        return values[inside] if axis == 0 else values[:, inside]

    reach = len(weights) // 2
    sums: Floats = shifted(reach) * weights[reach]
    for place, weight in enumerate(weights[:reach]):
        sums += (shifted(place) + shifted(2 * reach - place)) * weight
    return sums


def ciede2000(a: Colors, b: Colors) -> Difference:
    """The color difference of the pixels: mean, 95th percentile, maximum."""
    pixels = pixels_in(a)
    rank = -(-95 * pixels // 100)  # of the 95th percentile, from the least: 1 to `pixels`
    largest = Largest(pixels - rank + 1)
    totals, maximum = [], 0.0
    for differences, counts in over_slabs(distinct_differences, a, b):
        totals.append(float((differences * counts).sum()))
        maximum = max(maximum, float(differences.max()))
        largest.add(differences, counts)
    return Difference(math.fsum(totals) / pixels, largest.least(), maximum)


class Largest:
    """The largest of values that come in parts, each with how often it occurs.

    At most twice as many are held as are wanted, and a part.
    """

    def __init__(self, wanted: int) -> None:
        """`wanted`: how many values to keep, those counted that are equal."""
        self.wanted = wanted
        self.values: Floats = np.empty(0)
        self.counts: NDArray[np.int64] = np.empty(0, np.int64)
        self.floor = -math.inf

    def add(self, values: Floats, counts: NDArray[np.int64]) -> None:
        """Take in a part."""
        high = values >= self.floor
        self.values = np.concatenate([self.values, values[high]])
        self.counts = np.concatenate([self.counts, counts[high]])
        if len(self.values) > 2 * self.wanted:
            self.prune()

    def prune(self) -> None:
        """Let go of what is not among the largest."""
        order = np.argsort(-self.values)
        enough = int(np.searchsorted(np.cumsum(self.counts[order]), self.wanted))
        kept = order[: enough + 1]
        self.values, self.counts = self.values[kept], self.counts[kept]
        if enough < len(order):
            self.floor = float(self.values[-1])

    def least(self) -> float:
        """The least of the values wanted."""
        self.prune()
        return float(self.values[-1])


def distinct_differences(a: Colors, b: Colors) -> tuple[Floats, NDArray[np.int64]]:
    """CIEDE2000 of the distinct pairs of colors in two (n, 3) slabs, and how often each occurs.

    A picture and its quantized self have far fewer distinct pairs than pixels.
    """
    pairs, counts = np.unique(paired(a, b), return_counts=True)
    return pair_differences(pairs), counts


def paired(a: Colors, b: Colors) -> NDArray[np.int64]:
    """(n,) keys of pairs of colors, 48 bits."""
    keys: NDArray[np.int64] = pack(a) * KEYS + pack(b)
    return keys


def pair_differences(pairs: NDArray[np.int64]) -> Floats:
    """CIEDE2000 of packed pairs of colors."""
    differences = np.zeros(len(pairs))
    for start, stop in ranges(0, len(pairs), CHUNK // 16):
        in_a, in_b = pairs[start:stop] // KEYS, pairs[start:stop] % KEYS
        differences[start:stop] = delta_e(lab(unpack(in_a)), lab(unpack(in_b)))
    return differences


def lab(colors: Colors) -> Floats:
    """CIE L*a*b* (D65), (3, n), of (n, 3) colors; grays have exactly a* = b* = 0."""
    coordinates: Floats = np.round(cielab(colors) / CIELAB_SCALE, 9) + CENTER
    return coordinates


def delta_e(lab_a: Floats, lab_b: Floats) -> Floats:
    """CIEDE2000, (n,), of two (3, n) arrays of L*, a* and b*; all three weights are 1.

    G. Sharma, W. Wu, E. N. Dalal, "The CIEDE2000 color-difference formula: implementation notes,
    supplementary test data, and mathematical observations", Color Research & Application 30(1),
    2005, doi:10.1002/col.20070. Names in the comments are theirs.
    """
    mean_chroma = (np.hypot(*lab_a[1:]) + np.hypot(*lab_b[1:])) / 2
    stretch = 1.5 - 0.5 * saturation(mean_chroma)  # 1 + G
    (l_a, chroma_a, hue_a), (l_b, chroma_b, hue_b) = (
        (lightness, np.hypot(a * stretch, b), np.arctan2(b, a * stretch) % math.tau)
        for lightness, a, b in (lab_a, lab_b)
    )
    turn, hue = between(hue_a, hue_b, (chroma_a == 0) | (chroma_b == 0))
    chroma = (chroma_a + chroma_b) / 2
    away = ((l_a + l_b) / 2 - 50) ** 2
    in_lightness = (l_b - l_a) / (1 + 0.015 * away / np.sqrt(20 + away))
    in_chroma = (chroma_b - chroma_a) / (1 + 0.045 * chroma)
    in_hue = 2 * np.sqrt(chroma_a * chroma_b) * np.sin(turn / 2)
    in_hue /= 1 + 0.015 * chroma * hue_weight(hue)
    cross = rotation(chroma, hue) * in_chroma * in_hue
    squared = in_lightness**2 + in_chroma**2 + in_hue**2 + cross
    differences: Floats = np.sqrt(np.maximum(squared, 0))
    return differences


def saturation(chroma: Floats) -> Floats:
    """How close a chroma is to the largest, 0 to 1: the square root in G and R_C."""
    power = chroma**7
    share: Floats = np.sqrt(power / (power + 25.0**7))
    return share


def between(hue_a: Floats, hue_b: Floats, gray: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The turn from one hue to the other, -pi to pi, and the hue midway; radians, 0 to 2 pi.

    A gray has no hue: midway is then where the other is.
    """
    turn, total = hue_b - hue_a, hue_a + hue_b
    far = np.abs(turn) > math.pi
    midway = (total + np.where(far, np.where(total < math.tau, math.tau, -math.tau), 0)) / 2
    return turn - np.where(far, np.copysign(math.tau, turn), 0), np.where(gray, total, midway)


def hue_weight(hue: Floats) -> Floats:
    """T: how much a difference of hue counts around a hue."""
    weight: Floats = (
        1
        - 0.17 * np.cos(hue - math.radians(30))
        + 0.24 * np.cos(2 * hue)
        + 0.32 * np.cos(3 * hue + math.radians(6))
        - 0.20 * np.cos(4 * hue - math.radians(63))
    )
    return weight


def rotation(chroma: Floats, hue: Floats) -> Floats:
    """R_T: differences of chroma and of hue interact among blues."""
    angle = math.radians(60) * np.exp(-(((np.degrees(hue) - 275) / 25) ** 2))
    factor: Floats = -2 * saturation(chroma) * np.sin(angle)
    return factor


def difference_map(a: Colors, b: Colors) -> Colors:
    """CIEDE2000 of each pixel as gray levels, (H, W) uint8: black where the colors are equal.

    A level stands for a tenth, begun tenths count: 1 is up to 0.1, 100 up to 10, and 255 (white)
    all above 25.4.
    """

    def of_slab(a: Colors, b: Colors) -> Colors:
        pairs, places = np.unique(paired(a, b), return_inverse=True)
        steps = np.minimum(np.ceil(pair_differences(pairs) * MAP_STEPS), 255)
        levels: Colors = steps.astype(np.uint8)[places.reshape(-1)]
        return levels

    return np.concatenate(list(over_slabs(of_slab, a, b))).reshape(a.shape[:2])


METRICS: dict[str, Callable[[Colors, Colors], Any]] = {
    "mse": mse,
    "mse_channels": mse_channels,
    "psnr": psnr,
    "ssim": ssim,
    "ciede2000": ciede2000,
    "colors": colors,
    "changed": changed,
}
"""Name to function of two (H, W, 3) uint8 pictures of the same size."""
