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
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from quantgpu.color.packing import KEYS, pack, unpack
from quantgpu.color.spaces import CHUNK
from quantgpu.metrics.ciede2000 import delta_e, lab
from quantgpu.metrics.palette_error import decibels
from quantgpu.metrics.ssim import ssim
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.pixels import Pixels
from quantgpu.threads import chunks, default_threads, imap_threads

SLAB = 1 << 18
"""Pixels compared at a time by each thread."""

MAP_STEPS = 10
"""Gray levels of a map for a unit of CIEDE2000."""

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
    """The result of `compare`; the fields are the rows of `METRICS`."""

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


def size_of(picture: Colors) -> str:
    """Width and height, for people."""
    return f"{picture.shape[1]} x {picture.shape[0]}"


def over_slabs(
    measure: Callable[[Colors, Colors], Result], a: Colors, b: Colors
) -> Iterable[Result]:
    """The results of `measure` for each slab of (n, 3) colors, in order."""
    flat_a, flat_b = (np.ascontiguousarray(picture).reshape(-1, 3) for picture in (a, b))

    def of_slab(slab: tuple[int, int]) -> Result:
        return measure(flat_a[slice(*slab)], flat_b[slice(*slab)])

    return imap_threads(of_slab, chunks(0, len(flat_a), SLAB), default_threads())


def pixels_in(picture: Colors) -> int:
    """The number of pixels."""
    return picture.size // 3


def channel_squared_error(a: Colors, b: Colors) -> list[int]:
    """Squared differences of 8-bit levels, summed over the pixels, of each channel."""

    def of_slab(a: Colors, b: Colors) -> list[int]:
        away = a.T.astype(np.int64) - b.T
        return [int(channel @ channel) for channel in away]

    return [sum(channel) for channel in zip(*over_slabs(of_slab, a, b), strict=True)]


def mse_channels(a: Colors, b: Colors) -> tuple[float, ...]:
    """Mean squared error of red, green and blue, in squared levels."""
    return tuple(error / pixels_in(a) for error in channel_squared_error(a, b))


def mse(a: Colors, b: Colors) -> float:
    """Mean squared error of a pixel, summed over the channels, as `Indexed.mse`.

    M. E. Celebi, "Improving the performance of k-means for color quantization", Image and
    Vision Computing 29(4), 2011, doi:10.1016/j.imavis.2010.10.002.
    """
    return sum(channel_squared_error(a, b)) / pixels_in(a)


def psnr(a: Colors, b: Colors) -> float:
    """Peak signal-to-noise ratio in decibels, over all channels; infinite without error."""
    return decibels(sum(channel_squared_error(a, b)), pixels_in(a))


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
    for start, stop in chunks(0, len(pairs), CHUNK // 16):
        in_a, in_b = pairs[start:stop] // KEYS, pairs[start:stop] % KEYS
        differences[start:stop] = delta_e(lab(unpack(in_a)), lab(unpack(in_b)))
    return differences


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
