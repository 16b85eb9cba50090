"""One palette for several images: their histograms add, and one clustering serves them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.device import Device
from quantgpu.arrays.namespace import array_module, to_host
from quantgpu.clustering.cluster import cluster, kinds_of
from quantgpu.dithering.base import Dithering, pixel_counts
from quantgpu.errors import ChangedError
from quantgpu.execution.fallback import carried, on_device
from quantgpu.histogram import Histogram
from quantgpu.indexed import Indexed
from quantgpu.metrics.palette_error import squared_error
from quantgpu.options import k_for
from quantgpu.palette import Palette
from quantgpu.pipeline.convert import convert
from quantgpu.progress import Progress, no_progress
from quantgpu.threads import default_threads


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
        """The same colors in an order of `SORTS`."""
        order = SORTS[name](self.palette.colors, self.counts)
        return self._replace(
            palette=Palette(self.palette.colors[order]),
            counts=self.counts[order],
            labels=np.argsort(order)[self.labels],
        )

    def as_json(self, inputs: Sequence[str]) -> dict[str, Any]:
        """What is printed for machines."""
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
    *,
    threads: int | None = None,
    device: str = "auto",
    memory: int | None = None,
    progress: Progress = no_progress,
    **options: Any,
) -> SharedPalette:
    """The palette of a histogram on the host; the options are those of `clustering.cluster`.

    It is clustered on the device; on the CPU if that has too little memory, or fails in another way
    and was not named.
    """
    kept = options.get("keep")
    most = k_for(k, histogram.pixels, 0 if kept is None else len(kept))
    threads = default_threads() if threads is None else threads
    options |= {"threads": threads, "progress": carried(progress)}

    def on_gpu(xp: ModuleType, device: Device, keep: bool) -> SharedPalette:
        return clustered(moved(histogram, xp), most, options)

    def on_cpu() -> SharedPalette:
        return clustered(histogram, most, options)

    found, used, notes = on_device(device, memory, on_gpu, on_cpu)
    return found._replace(device=used, notes=notes)


def moved(histogram: Histogram, xp: Any) -> Histogram:
    """A histogram in the arrays of a module."""
    weights = None if histogram.weights is None else xp.asarray(histogram.weights)
    keys, counts = xp.asarray(histogram.keys), xp.asarray(histogram.counts)
    return replace(histogram, keys=keys, counts=counts, weights=weights)


def clustered(histogram: Histogram, k: int, options: dict[str, Any]) -> SharedPalette:
    """The palette of a histogram, where that is."""
    palette, labels = cluster(histogram, k, **options)
    counts = pixel_counts(histogram, len(palette), labels)
    error = int(squared_error(histogram, palette, labels))
    return SharedPalette(palette, counts, to_host(labels), len(histogram), error, "cpu", [])


def remapped(
    image: Any,
    histogram: Histogram,
    palettes: Sequence[SharedPalette],
    *,
    dithering: Dithering,
    color_space: str,
    lock_grays: bool,
    threads: int | None,
    device: str,
    memory: int | None,
    progress: Progress = no_progress,
) -> list[Indexed]:
    """An image in each of some palettes of a histogram, on the host, that counts its pixels, too.

    Every pixel gets the entry that the clustering gave its color.

    Raises:
        ChangedError: The image has a color that the histogram has not.
    """

    def looked_up(
        labels: NDArray[Any], palette: Palette, own: Histogram, pixels: int, tell: Progress
    ) -> tuple[Palette, Any]:
        xp = array_module(own.keys)
        keys = xp.asarray(histogram.keys)
        places = xp.minimum(xp.searchsorted(keys, own.keys), len(keys) - 1)
        if bool((keys[places] != own.keys).any()):
            raise ChangedError("has changed since its colors were counted")
        return palette, xp.asarray(labels)[places]

    return convert(
        image, [partial(looked_up, each.labels, each.palette) for each in palettes], "assign",
        dithering=dithering, color_space=color_space,
        kinds=partial(kinds_of, lock_grays=lock_grays),
        threads=default_threads() if threads is None else threads, device=device, memory=memory,
        keep_on_device=False, progress=progress,
    )  # fmt: skip
