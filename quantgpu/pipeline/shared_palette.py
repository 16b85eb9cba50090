"""One palette for several images: cluster the sum of their histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.device import Device
from quantgpu.arrays.namespace import array_module, to_host
from quantgpu.clustering.cluster import cluster
from quantgpu.clustering.options import PaletteOptions
from quantgpu.dithering.base import pixel_counts
from quantgpu.dithering.options import MapOptions
from quantgpu.errors import ChangedError
from quantgpu.execution.fallback import guard_progress, run_on_device
from quantgpu.execution.selection import Compute
from quantgpu.histogram import Histogram
from quantgpu.indexed import Indexed
from quantgpu.metrics.palette_error import squared_error
from quantgpu.options import k_for
from quantgpu.palette import Palette
from quantgpu.pipeline.convert import ConvertOptions, Shape, convert
from quantgpu.progress import Progress, no_progress


class SharedPalette(NamedTuple):
    """A palette of one or several images."""

    palette: Palette
    counts: NDArray[np.int64]
    """(K,) pixels of each color."""
    labels: NDArray[np.integer[Any]]
    """(n,) the palette entry of each color of the histogram."""
    colors_in: int
    """Distinct colors of all the images."""
    squared_error: int
    """Squared differences of 8-bit levels, summed over pixels and channels."""
    device: str
    """The device of the clustering: ``cpu`` or ``gpu:N``."""
    notes: list[str]
    """Notes on a fallback to another device."""

    def sort_by(self, name: str) -> SharedPalette:
        """Reorder the palette by a row of `SORTS`."""
        order = SORTS[name](self.palette.colors, self.counts)
        return self._replace(
            palette=Palette(self.palette.colors[order]),
            counts=self.counts[order],
            labels=np.argsort(order)[self.labels],
        )

    def as_json(self, inputs: Sequence[str]) -> dict[str, Any]:
        """The palette as values for JSON."""
        pixels = int(self.counts.sum())
        rows = zip(self.palette.hex(), self.counts.tolist(), strict=True)
        return {
            "inputs": list(inputs),
            "pixels": pixels,
            "colors_in": self.colors_in,
            "mse": self.squared_error / pixels,
            "colors": [{"hex": c, "pixels": n, "share": n / pixels} for c, n in rows],
            "device": self.device,
            "device_notes": self.notes,
        }


def hues(colors: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(K,) hues, 0 to 6 from red over yellow, green and blue; -1 for grays, which sort first."""
    colors = colors[:, :3]
    red, green, blue = colors.astype(np.float64).T
    most, least = colors.max(axis=1), colors.min(axis=1)
    span = np.maximum(most.astype(np.float64) - least, 1)
    sector = [(green - blue) / span % 6, (blue - red) / span + 2, (red - green) / span + 4]
    hue = np.select([most == colors[:, 0], most == colors[:, 1]], sector[:2], sector[2])
    found: NDArray[np.float64] = np.where(most == least, -1.0, hue)
    return found


SORTS: dict[str, Callable[[NDArray[np.uint8], NDArray[np.int64]], NDArray[np.intp]]] = {
    "lightness": lambda colors, counts: np.arange(len(colors)),
    "hue": lambda colors, counts: np.argsort(hues(colors), kind="stable"),
    "count": lambda colors, counts: np.argsort(-counts, kind="stable"),
}
"""Name to a function from colors, in order of lightness, and counts to an order; the choices of
``--sort``."""


def shared_palette(
    histogram: Histogram,
    k: int | None = None,
    options: PaletteOptions = PaletteOptions(),
    compute: Compute = Compute(),
    *,
    dithered: bool = False,
    progress: Progress = no_progress,
) -> SharedPalette:
    """Find the palette of a histogram on the host.

    The clustering runs on the device, or on the CPU if a GPU has too little memory, or if a GPU
    that was not named fails in another way.

    Args:
        histogram: On the host.
        k: Colors; when not given 256, or the number of pixels if that is less.
        options: The options of the palette.
        compute: The device and threads.
        dithered: Whether pictures will be dithered with the palette.
        progress: Called with the name of a stage and the share of it that is done.
    """
    options.check_room(k)
    most = k_for(k, histogram.pixels, options.kept_count)
    work = partial(
        cluster_histogram, k=most, options=options, dithered=dithered, threads=compute.thread_count,
        progress=guard_progress(progress),
    )  # fmt: skip

    def on_gpu(xp: ModuleType, device: Device, keep_pixels: bool) -> SharedPalette:
        return work(to_device(histogram, xp))

    found, used, notes = run_on_device(
        compute.device, compute.memory, on_gpu, partial(work, histogram)
    )
    return found._replace(device=used, notes=notes)


def to_device(histogram: Histogram, xp: Any) -> Histogram:
    """Copy a histogram to arrays of the module `xp`."""
    weights = None if histogram.weights is None else xp.asarray(histogram.weights)
    keys, counts = xp.asarray(histogram.keys), xp.asarray(histogram.counts)
    return replace(histogram, keys=keys, counts=counts, weights=weights)


def cluster_histogram(
    histogram: Histogram,
    k: int,
    options: PaletteOptions,
    dithered: bool,
    threads: int,
    progress: Progress,
) -> SharedPalette:
    """Find the palette of a histogram on the device of its arrays."""
    palette, labels = cluster(
        histogram, k, options, dithered=dithered, threads=threads, progress=progress
    )
    counts = pixel_counts(histogram, len(palette), labels)
    error = int(squared_error(histogram, palette, labels))
    return SharedPalette(palette, counts, to_host(labels), len(histogram), error, "cpu", [])


@dataclass(frozen=True)
class LookupFinder:
    """A `PaletteFinder` that looks up colors in a histogram that was clustered before."""

    histogram: Histogram
    """On the host."""
    shared: SharedPalette
    """The palette of `histogram`."""

    def __call__(
        self, histogram: Histogram, shape: Shape, progress: Progress
    ) -> tuple[Palette, Any]:
        """The palette, and the entry of each color of another histogram, (n,).

        Raises:
            ChangedError: A color is not in `self.histogram`.
        """
        xp = array_module(histogram.keys)
        keys = xp.asarray(self.histogram.keys)
        places = xp.minimum(xp.searchsorted(keys, histogram.keys), len(keys) - 1)
        if bool((keys[places] != histogram.keys).any()):
            raise ChangedError("has changed since its colors were counted")
        return self.shared.palette, xp.asarray(self.shared.labels)[places]


def remap_to_shared(
    image: Any,
    histogram: Histogram,
    palettes: Sequence[SharedPalette],
    mapping: MapOptions,
    compute: Compute,
    progress: Progress = no_progress,
) -> list[Indexed]:
    """Map an image to each of several palettes of a histogram on the host.

    The histogram has counted the pixels of the image, among others; every pixel gets the entry that
    the clustering gave its color.

    Raises:
        ChangedError: The image has a color that the histogram has not.
    """
    finders = [LookupFinder(histogram, each) for each in palettes]
    options = ConvertOptions(mapping=mapping, compute=compute)
    return convert(image, finders, "assign", options, progress=progress)
