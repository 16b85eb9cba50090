"""Palettes over time: one for a clip, one for each scene, one for each frame, or a given one.

Each strategy is a generator of frames, each with the mapper of its palette. Pixels are not kept
from counting to mapping: a clip whose palette depends on all frames is read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantgpu.arrays.namespace import array_module
from quantgpu.clustering.cluster import cluster, map_exact_colors, nearest_entries
from quantgpu.clustering.color_weights import color_cells
from quantgpu.clustering.options import PaletteOptions
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.dithering.base import ColorMap, Dithering, Mapper, stats_of
from quantgpu.dithering.methods import mapper_for
from quantgpu.dithering.options import MapOptions, color_map_for
from quantgpu.histogram import Histogram
from quantgpu.palette import Palette, of_channels
from quantgpu.pixels.counting import Counter
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Progress
from quantgpu.video.frames.base import Frame

SAMPLE = 4
"""Cuts are found from every fourth pixel of every fourth row."""

CUT = Fraction(2, 5)
"""The share of the sampled pixels that change their color, in cells of 16 levels, at a cut."""


@dataclass
class ClipContext:
    """A clip as the palette strategies take it, and the options of palettes."""

    read: Callable[[], Iterator[Frame]]
    """Begins to read the clip from the start; continues it if it can be read only once."""
    rereadable: bool
    """Whether the clip can be read more than once."""
    is_damaged: Callable[[], bool]
    """Whether the frames read so far may have other pixels when they are read again."""
    k: int
    """Most colors of a frame."""
    channels: int
    """Channels of a frame, 3 or 4."""
    perceptual: bool
    """Whether pixels are counted with weights."""
    options: PaletteOptions
    dithering: Dithering
    threads: int
    xp: Any
    """The array module that counts and maps, NumPy or CuPy."""
    pixels_of: Callable[[NDArray[np.uint8]], Pixels]
    """From the pixels of a frame to `Pixels` on the device that counts and maps."""
    steady: float = 0
    """Levels of change below which an entry keeps its color from one palette to the next."""
    first: Fraction | None = None
    """Seconds from the start that decide the palette; None for all."""
    report: Callable[[str], None] = lambda stage: None
    """Called with a stage's name after each frame of the stage."""
    progress: Progress = lambda stage, share: None
    count_elsewhere: Callable[[], Histogram] | None = None
    """Counts the colors that decide the palette on workers; None to count on this machine.

    Only for clips that can be read again.
    """
    colors_in: int = field(default=0, init=False)
    """The most distinct colors that were counted together."""

    def counter(self) -> Counter:
        """A counter without colors."""
        return Counter(self.xp, self.channels, self.perceptual, self.threads)

    def count(self, counter: Counter, frame: Frame) -> None:
        """Count a frame's colors."""
        pixels = self.pixels_of(frame.pixels)
        counter.add(pixels, self.perceptual)
        pixels.wait()
        self.report("count")

    def find_palette(self, histogram: Histogram, last: Palette | None = None) -> ColorMap:
        """Find the best palette for a histogram, starting from the palette `last` if there is one.

        Entries keep their index from palette to palette.
        """
        palette, labels = cluster(
            histogram, min(self.k, histogram.pixels), self.options,
            start=None if last is None else last.colors,
            dithered=self.dithering.method != "none", threads=self.threads,
            progress=self.progress,
        )  # fmt: skip
        if last is not None:
            colors, rows = match_order(last.colors, palette.colors)
            labels = array_module(labels).asarray(rows)[labels]
            is_lossless = len(histogram) <= len(palette)
            palette = Palette(
                colors if is_lossless else stabilize(last.colors, colors, self.steady)
            )
        return self.color_map(histogram, palette, labels)

    def color_map(self, histogram: Histogram, palette: Palette, labels: Any) -> ColorMap:
        """The map from the colors of a histogram to palette entries, `labels`."""
        self.colors_in = max(self.colors_in, len(histogram))
        options = MapOptions(
            dithering=self.dithering,
            color_space=self.options.color_space,
            lock_grays=self.options.lock_grays,
        )
        return color_map_for(histogram, palette, labels, options)

    def nearest(self, histogram: Histogram, palette: Palette) -> Any:
        """The nearest palette entry of each color of a histogram."""
        space = COLOR_SPACES[self.options.color_space]
        labels = nearest_entries(histogram, palette, space, self.threads)
        return map_exact_colors(histogram, palette.colors, labels)


@dataclass
class Prepared:
    """A palette with the mapper of its frames."""

    mapping: ColorMap
    mapper: Mapper
    is_counted: bool
    """Whether the histogram of the mapping counts just the frames that the mapper maps."""

    @property
    def palette(self) -> NDArray[np.uint8]:
        """The palette's colors, (K, 3 | 4) uint8."""
        return self.mapping.palette.colors

    def squared_error(self) -> int:
        """The squared error of all counted frames together, without dithering."""
        return stats_of(self.mapping).squared_error


class PreparedFrame(NamedTuple):
    """A frame with its palette and mapper."""

    frame: Frame
    prepared: Prepared


FrameStream = Generator[PreparedFrame, None, None]

Result = tuple[Frame, Prepared, NDArray[Any], int | None]
"""A frame, its palette and mapper, its entries, (H, W), and its squared error; None where the
error follows from the histogram."""


def prepare(context: ClipContext, mapping: ColorMap, is_counted: bool = True) -> Prepared:
    """A mapping with its mapper."""
    return Prepared(mapping, mapper_for(mapping, context.dithering), is_counted)


def palette_per_clip(context: ClipContext) -> FrameStream:
    """One palette for the clip: of all frames, in two readings, or of its first seconds."""
    histogram, rest = (
        count_beginning(context)
        if context.count_elsewhere is None
        else (context.count_elsewhere(), None)
    )
    mapping = context.find_palette(histogram)
    if context.first is None and not context.is_damaged():
        yield from frames_with(context.read(), prepare(context, mapping))
        return
    yield from map_growing(context, mapping, context.read() if rest is None else rest)


def count_beginning(context: ClipContext) -> tuple[Histogram, Iterator[Frame] | None]:
    """The colors that decide the palette; and all frames, if the clip cannot be read again."""
    counter, kept = context.counter(), []
    frames = context.read()
    for frame in frames:
        if context.first is not None and frame.time >= context.first:
            frames = chain([frame], frames)
            break
        context.count(counter, frame)
        if not context.rereadable:
            kept.append(frame)
    return counter.total(), None if context.rereadable else chain(pop_each(kept), frames)


def pop_each(frames: list[Frame]) -> Iterator[Frame]:
    """The frames, each removed from the list before it is yielded, to free its memory."""
    frames.reverse()
    while frames:
        yield frames.pop()


def frames_with(frames: Iterable[Frame], ready: Prepared) -> FrameStream:
    """Frames that share a palette and mapper."""
    for frame in frames:
        yield PreparedFrame(frame, ready)


def palette_per_scene(context: ClipContext) -> FrameStream:
    """A palette for each scene, from two readers of the clip, of which one is a scene ahead."""
    again, last = context.read(), None
    for histogram, count in scenes(context):
        mapping = context.find_palette(histogram, last)
        last = mapping.palette
        if context.is_damaged():
            yield from map_growing(context, mapping, islice(again, count))
        else:
            yield from frames_with(islice(again, count), prepare(context, mapping))


def scenes(context: ClipContext) -> Iterator[tuple[Histogram, int]]:
    """The histogram of each scene, and its number of frames."""
    counter, count, before = context.counter(), 0, None
    for frame in context.read():
        cells = cells_of(frame.pixels)
        if before is not None and is_cut(before, cells):
            yield counter.total(), count
            count = 0
        context.count(counter, frame)
        count, before = count + 1, cells
    yield counter.total(), count


def cells_of(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The number of sampled pixels in each color cell of 16 levels, (4096,)."""
    sample = pixels[::SAMPLE, ::SAMPLE].reshape(-1, pixels.shape[2])
    return np.bincount(color_cells(sample), minlength=4096)


def is_cut(before: NDArray[np.int64], after: NDArray[np.int64]) -> bool:
    """Whether a scene ends between two frames, by their `cells_of`, (4096,) each."""
    return int(np.abs(after - before).sum()) > 2 * CUT * int(after.sum())


def palette_per_frame(context: ClipContext) -> FrameStream:
    """A palette for each frame, started from that of the frame before."""
    counter, last = context.counter(), None
    for frame in context.read():
        context.count(counter, frame)
        mapping = context.find_palette(counter.total(), last)
        last = mapping.palette
        yield PreparedFrame(frame, prepare(context, mapping))


def fixed_palette(context: ClipContext, palette: Palette) -> FrameStream:
    """A given palette: colors get their nearest entries.

    A clip that can be read only once is mapped as its colors come up.
    """
    frames = context.read()
    first = next(frames)
    counted = [first] if not context.rereadable else chain([first], frames)
    histogram = (
        count_frames(context, counted)
        if context.count_elsewhere is None
        else context.count_elsewhere()
    )
    mapping = context.color_map(histogram, palette, context.nearest(histogram, palette))
    if not context.rereadable:
        yield from map_growing(context, mapping, chain([first], frames))
    elif context.is_damaged():
        yield from map_growing(context, mapping, context.read())
    else:
        yield from frames_with(context.read(), prepare(context, mapping))


def count_frames(context: ClipContext, frames: Iterable[Frame]) -> Histogram:
    """Count the colors of frames together."""
    counter = context.counter()
    for frame in frames:
        context.count(counter, frame)
    return counter.total()


def map_growing(context: ClipContext, mapping: ColorMap, frames: Iterable[Frame]) -> FrameStream:
    """Map each frame after adding the colors that the mapping lacks, with their nearest entries."""
    ready, counter = prepare(context, mapping, False), context.counter()
    for frame in frames:
        context.count(counter, frame)
        new_colors = missing_colors(ready.mapping.histogram, counter.total())
        if new_colors is not None:
            labels = context.nearest(new_colors, ready.mapping.palette)
            ready = prepare(context, extend(context, ready.mapping, new_colors, labels), False)
        yield PreparedFrame(frame, ready)


def missing_colors(known: Histogram, found: Histogram) -> Histogram | None:
    """The colors of the histogram `found` that `known` lacks; None if `known` has all."""
    xp = array_module(known.keys)
    rows = xp.minimum(xp.searchsorted(known.keys, found.keys), len(known) - 1)
    new = xp.flatnonzero(known.keys[rows] != found.keys)
    if not len(new):
        return None
    weights = None if found.weights is None else found.weights[new]
    return replace(found, keys=found.keys[new], counts=found.counts[new], weights=weights)


def extend(context: ClipContext, mapping: ColorMap, more: Histogram, labels: Any) -> ColorMap:
    """The mapping with the colors of `more` and their entries, `labels`, added."""
    xp = array_module(labels)
    whole = mapping.histogram + more
    entries = xp.empty(len(whole), xp.int64)
    entries[xp.searchsorted(whole.keys, mapping.histogram.keys)] = mapping.labels
    entries[xp.searchsorted(whole.keys, more.keys)] = labels
    return context.color_map(whole, mapping.palette, entries)


PALETTES: dict[str, Callable[[ClipContext], FrameStream]] = {
    "shared": palette_per_clip,
    "scene": palette_per_scene,
    "frame": palette_per_frame,
}
"""Name to palette strategy; the choices of ``--palette`` beside files."""


def match_order(
    old: NDArray[np.uint8], new: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """Order the colors of a new palette as their nearest colors of the old one.

    Colors of both palettes that are nearest to each other are paired, and so on among the rest.
    Colors of the old palette without a pair stay in the result.

    Args:
        old: (J, channels) uint8.
        new: (K, channels) uint8.

    Returns:
        The ordered colors, (max(J, K), channels), and the row of each new color in them, (K,).
    """
    channels = max(old.shape[1], new.shape[1])
    gaps = old.astype(np.int32)[:, None] - new.astype(np.int32)
    distances = (gaps * gaps).sum(axis=2).astype(np.float64)
    rows = np.full(len(new), -1, np.intp)
    for _ in range(min(len(old), len(new))):
        nearest_old, nearest_new = distances.argmin(axis=0), distances.argmin(axis=1)
        mutual = np.flatnonzero((nearest_new[nearest_old] == np.arange(len(new))) & (rows < 0))
        rows[mutual] = nearest_old[mutual]
        distances[nearest_old[mutual]] = np.inf
        distances[:, mutual] = np.inf
        if (rows >= 0).sum() == min(len(old), len(new)):
            break
    rest = np.flatnonzero(rows < 0)
    rows[rest] = len(old) + np.arange(len(rest))
    colors = np.empty((max(len(old), len(new)), channels), np.uint8)
    colors[: len(old)] = old
    colors[rows] = new
    return colors, rows


def stabilize(old: NDArray[np.uint8], new: NDArray[np.uint8], levels: float) -> NDArray[np.uint8]:
    """Keep the old color of entries that change by less than some levels.

    Args:
        old: (J, channels) uint8, J <= K.
        new: (K, channels) uint8, in the order of `old`.
        levels: The smallest change, as the root of the mean square over three channels.

    Returns:
        (K, channels) uint8.
    """
    steady = new.copy()
    before = of_channels(old, new.shape[1])
    gaps = before.astype(np.int32) - new[: len(old)]
    near = (gaps * gaps).sum(axis=1) < 3 * levels * levels
    steady[: len(old)][near] = before[near]
    return steady
