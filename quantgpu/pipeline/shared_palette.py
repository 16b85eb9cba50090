"""One palette for several images: their histograms add, and one clustering serves them all."""

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
    """Where the clustering was done."""
    notes: list[str]
    """Why it was not done where it was meant to be."""

    def sorted_by(self, name: str) -> SharedPalette:
        """This palette in an order of `SORTS`."""
        order = SORTS[name](self.palette.colors, self.counts)
        return self._replace(
            palette=Palette(self.palette.colors[order]),
            counts=self.counts[order],
            labels=np.argsort(order)[self.labels],
        )

    def as_json(self, inputs: Sequence[str]) -> dict[str, Any]:
        """The palette for machines."""
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
    """(K,) hues, 0 to 6 from red over yellow, green and blue; -1, before all, for grays."""
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
"""Name to order, of colors that are in order of lightness already; the choices of ``--sort``."""


def shared_palette(
    histogram: Histogram,
    k: int | None = None,
    options: PaletteOptions = PaletteOptions(),
    compute: Compute = Compute(),
    *,
    dithered: bool = False,
    progress: Progress = no_progress,
) -> SharedPalette:
    """The palette of a histogram on the host.

    It is clustered on the device; on the CPU if that has too little memory, or fails in another way
    and was not named.

    Args:
        histogram: On the host.
        k: Colors; when not given 256, or the number of pixels if that is less.
        options: What palette is sought.
        compute: Where.
        dithered: Whether errors will be passed on.
        progress: Called with the name of a stage and the share of it that is done.
    """
    options.check_room(k)
    most = k_for(k, histogram.pixels, options.kept_count)
    work = partial(
        clustered, k=most, options=options, dithered=dithered, threads=compute.thread_count,
        progress=guard_progress(progress),
    )  # fmt: skip

    def on_gpu(xp: ModuleType, device: Device, keep: bool) -> SharedPalette:
        return work(moved(histogram, xp))

    found, used, notes = run_on_device(
        compute.device, compute.memory, on_gpu, partial(work, histogram)
    )
    return found._replace(device=used, notes=notes)


def moved(histogram: Histogram, xp: Any) -> Histogram:
    """A histogram in the arrays of a module."""
    weights = None if histogram.weights is None else xp.asarray(histogram.weights)
    keys, counts = xp.asarray(histogram.keys), xp.asarray(histogram.counts)
    return replace(histogram, keys=keys, counts=counts, weights=weights)


def clustered(
    histogram: Histogram,
    k: int,
    options: PaletteOptions,
    dithered: bool,
    threads: int,
    progress: Progress,
) -> SharedPalette:
    """The palette of a histogram, where that is."""
    palette, labels = cluster(
        histogram, k, options, dithered=dithered, threads=threads, progress=progress
    )
    counts = pixel_counts(histogram, len(palette), labels)
    error = int(squared_error(histogram, palette, labels))
    return SharedPalette(palette, counts, to_host(labels), len(histogram), error, "cpu", [])


@dataclass(frozen=True)
class LookupFinder:
    """Gives a palette that is known already, and the entries that its histogram's colors have."""

    histogram: Histogram
    """On the host."""
    shared: SharedPalette
    """Its palette."""

    def __call__(
        self, histogram: Histogram, shape: Shape, progress: Progress
    ) -> tuple[Palette, Any]:
        """The palette, and the entry of each color of a histogram of fewer colors.

        Raises:
            ChangedError: There is a color that was not counted.
        """
        xp = array_module(histogram.keys)
        keys = xp.asarray(self.histogram.keys)
        places = xp.minimum(xp.searchsorted(keys, histogram.keys), len(keys) - 1)
        if bool((keys[places] != histogram.keys).any()):
            raise ChangedError("has changed since its colors were counted")
        return self.shared.palette, xp.asarray(self.shared.labels)[places]


def remapped(
    image: Any,
    histogram: Histogram,
    palettes: Sequence[SharedPalette],
    mapping: MapOptions,
    compute: Compute,
    progress: Progress = no_progress,
) -> list[Indexed]:
    """An image in each of some palettes of a histogram, on the host, that counts its pixels, too.

    Every pixel gets the entry that the clustering gave its color.

    Raises:
        ChangedError: The image has a color that the histogram has not.
    """
    finders = [LookupFinder(histogram, each) for each in palettes]
    options = ConvertOptions(mapping=mapping, compute=compute)
    return convert(image, finders, "assign", options, progress=progress)
