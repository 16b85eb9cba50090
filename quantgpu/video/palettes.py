"""Palettes over time: one for a clip, one for each scene, one for each frame, or a given one.

Each way is a generator of frames with what maps them. Nothing is kept of frames that were counted:
a clip that is counted before it is mapped is read twice.
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
"""Every fourth pixel of every fourth row is looked at to find cuts."""

CUT = Fraction(2, 5)
"""The share of the pixels whose colors must be others, by cells of 16 levels, for a cut."""


@dataclass
class ClipContext:
    """How palettes are found, and what is known of the clip."""

    read: Callable[[], Iterator[Frame]]
    """Begins to read the clip: from the start where that is possible, else where it is."""
    rereadable: bool
    is_damaged: Callable[[], bool]
    """Whether the frames read so far may come out otherwise when they are read again."""
    k: int
    channels: int
    perceptual: bool
    """Whether pixels are counted with weights."""
    options: PaletteOptions
    dithering: Dithering
    threads: int
    xp: Any
    """The array module that counts and maps."""
    pixels_of: Callable[[NDArray[np.uint8]], Pixels]
    """From the pixels of a frame to where they are worked on."""
    steady: float = 0
    """Levels by which an entry's color must change to be changed at all."""
    first: Fraction | None = None
    """Seconds from the start that decide the palette; None for all."""
    tell: Callable[[str], None] = lambda stage: None
    """Called with a stage's name whenever it has done a frame."""
    progress: Progress = lambda stage, share: None
    elsewhere: Callable[[], Histogram] | None = None
    """Counts what decides the palette, where others count; the clip can be read again then."""
    colors_in: int = field(default=0, init=False)
    """The most distinct colors that were counted together."""

    def counter(self) -> Counter:
        """Empty bins."""
        return Counter(self.xp, self.channels, self.perceptual, self.threads)

    def count(self, counter: Counter, frame: Frame) -> None:
        """Count a frame's colors."""
        pixels = self.pixels_of(frame.pixels)
        counter.add(pixels, self.perceptual)
        pixels.wait()
        self.tell("count")

    def clustered(self, histogram: Histogram, last: Palette | None = None) -> ColorMap:
        """The best palette for a histogram, beginning with the last; entries keep their index."""
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
        return self.mapping(histogram, palette, labels)

    def mapping(self, histogram: Histogram, palette: Palette, labels: Any) -> ColorMap:
        """What is known of colors and their entries."""
        self.colors_in = max(self.colors_in, len(histogram))
        options = MapOptions(
            dithering=self.dithering,
            color_space=self.options.color_space,
            lock_grays=self.options.lock_grays,
        )
        return color_map_for(histogram, palette, labels, options)

    def nearest(self, histogram: Histogram, palette: Palette) -> Any:
        """The entry of each color in a palette that was not made for it."""
        space = COLOR_SPACES[self.options.color_space]
        labels = nearest_entries(histogram, palette, space, self.threads)
        return map_exact_colors(histogram, palette.colors, labels)


@dataclass
class Prepared:
    """What maps frames of some colors."""

    mapping: ColorMap
    mapper: Mapper
    is_counted: bool
    """Whether the histogram of the mapping counts just the frames that are mapped."""

    @property
    def palette(self) -> NDArray[np.uint8]:
        """(K, 3 | 4)."""
        return self.mapping.palette.colors

    def squared_error(self) -> int:
        """Of all frames of the mapping together, if each color has its own entry."""
        return stats_of(self.mapping).squared_error


class PreparedFrame(NamedTuple):
    """A frame and what maps it."""

    frame: Frame
    prepared: Prepared


FrameStream = Generator[PreparedFrame, None, None]

Result = tuple[Frame, Prepared, NDArray[Any], int | None]
"""A frame, what mapped it, its entries, and its squared error where the mapping does not tell."""


def prepare(way: ClipContext, mapping: ColorMap, is_counted: bool = True) -> Prepared:
    """A mapping with what maps frames by it."""
    return Prepared(mapping, mapper_for(mapping, way.dithering), is_counted)


def shared(way: ClipContext) -> FrameStream:
    """One palette for the clip, which is read twice, or for its first seconds and what follows."""
    histogram, rest = count_beginning(way) if way.elsewhere is None else (way.elsewhere(), None)
    mapping = way.clustered(histogram)
    if way.first is None and not way.is_damaged():
        yield from frames_with(way.read(), prepare(way, mapping))
        return
    yield from map_growing(way, mapping, way.read() if rest is None else rest)


def count_beginning(way: ClipContext) -> tuple[Histogram, Iterator[Frame] | None]:
    """The colors that decide the palette; and all frames, where they cannot be read again."""
    counter, kept = way.counter(), []
    frames = way.read()
    for frame in frames:
        if way.first is not None and frame.time >= way.first:
            frames = chain([frame], frames)
            break
        way.count(counter, frame)
        if not way.rereadable:
            kept.append(frame)
    return counter.total(), None if way.rereadable else chain(pop_each(kept), frames)


def pop_each(frames: list[Frame]) -> Iterator[Frame]:
    """The frames, each of which the list then no longer holds."""
    frames.reverse()
    while frames:
        yield frames.pop()


def frames_with(frames: Iterable[Frame], ready: Prepared) -> FrameStream:
    """Frames that are all mapped by the same."""
    for frame in frames:
        yield PreparedFrame(frame, ready)


def scene(way: ClipContext) -> FrameStream:
    """A palette for each scene: the clip is read by two readers, one of which is a scene ahead."""
    again, last = way.read(), None
    for histogram, count in scenes(way):
        mapping = way.clustered(histogram, last)
        last = mapping.palette
        if way.is_damaged():
            yield from map_growing(way, mapping, islice(again, count))
        else:
            yield from frames_with(islice(again, count), prepare(way, mapping))


def scenes(way: ClipContext) -> Iterator[tuple[Histogram, int]]:
    """The colors of each scene, and its frames."""
    counter, count, before = way.counter(), 0, None
    for frame in way.read():
        cells = cells_of(frame.pixels)
        if before is not None and is_cut(before, cells):
            yield counter.total(), count
            count = 0
        way.count(counter, frame)
        count, before = count + 1, cells
    yield counter.total(), count


def cells_of(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(4096,): how many pixels of a sample have colors in each cell."""
    sample = pixels[::SAMPLE, ::SAMPLE].reshape(-1, pixels.shape[2])
    return np.bincount(color_cells(sample), minlength=4096)


def is_cut(before: NDArray[np.int64], after: NDArray[np.int64]) -> bool:
    """Whether two frames have so different colors that a scene ends between them."""
    return int(np.abs(after - before).sum()) > 2 * CUT * int(after.sum())


def each_frame(way: ClipContext) -> FrameStream:
    """A palette for each frame, that of the frame before as far as its colors allow."""
    counter, last = way.counter(), None
    for frame in way.read():
        way.count(counter, frame)
        mapping = way.clustered(counter.total(), last)
        last = mapping.palette
        yield PreparedFrame(frame, prepare(way, mapping))


def fixed_palette(way: ClipContext, palette: Palette) -> FrameStream:
    """A palette that is there already: colors get their nearest entries.

    A clip that can be read only once is mapped as its colors come up.
    """
    frames = way.read()
    first = next(frames)
    counted = [first] if not way.rereadable else chain([first], frames)
    histogram = counted_of(way, counted) if way.elsewhere is None else way.elsewhere()
    mapping = way.mapping(histogram, palette, way.nearest(histogram, palette))
    if not way.rereadable:
        yield from map_growing(way, mapping, chain([first], frames))
    elif way.is_damaged():
        yield from map_growing(way, mapping, way.read())
    else:
        yield from frames_with(way.read(), prepare(way, mapping))


def counted_of(way: ClipContext, frames: Iterable[Frame]) -> Histogram:
    """The colors of some frames."""
    counter = way.counter()
    for frame in frames:
        way.count(counter, frame)
    return counter.total()


def map_growing(way: ClipContext, mapping: ColorMap, frames: Iterable[Frame]) -> FrameStream:
    """Frames with colors that the mapping may lack, which then get their nearest entries."""
    ready, counter = prepare(way, mapping, False), way.counter()
    for frame in frames:
        way.count(counter, frame)
        found = missing_colors(ready.mapping.histogram, counter.total())
        if found is not None:
            labels = way.nearest(found, ready.mapping.palette)
            ready = prepare(way, extend(way, ready.mapping, found, labels), False)
        yield PreparedFrame(frame, ready)


def missing_colors(known: Histogram, found: Histogram) -> Histogram | None:
    """The colors of a histogram that another lacks; None if there are none."""
    xp = array_module(known.keys)
    places = xp.minimum(xp.searchsorted(known.keys, found.keys), len(known) - 1)
    new = xp.flatnonzero(known.keys[places] != found.keys)
    if not len(new):
        return None
    weights = None if found.weights is None else found.weights[new]
    return replace(found, keys=found.keys[new], counts=found.counts[new], weights=weights)


def extend(way: ClipContext, mapping: ColorMap, more: Histogram, labels: Any) -> ColorMap:
    """A mapping with further colors and their entries."""
    xp = array_module(labels)
    whole = mapping.histogram + more
    entries = xp.empty(len(whole), xp.int64)
    entries[xp.searchsorted(whole.keys, mapping.histogram.keys)] = mapping.labels
    entries[xp.searchsorted(whole.keys, more.keys)] = labels
    return way.mapping(whole, mapping.palette, entries)


PALETTES: dict[str, Callable[[ClipContext], FrameStream]] = {
    "shared": shared,
    "scene": scene,
    "frame": each_frame,
}
"""Name to how frames get their palettes; the choices of ``--palette`` beside files."""


def match_order(
    old: NDArray[np.uint8], new: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """A palette's colors, in the places of those colors of another that they are nearest to.

    Those that are nearest to each other are paired, and so on among the others. Colors of the old
    palette that none takes the place of stay where they are.

    Args:
        old: (J, channels) uint8.
        new: (K, channels) uint8.

    Returns:
        Colors, (max(J, K), channels), and where in them those of the new palette are, (K,).
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
    """(K, channels): a palette whose colors stay what they were unless they changed by so much.

    Args:
        old: (J, channels) uint8, J <= K.
        new: (K, channels) uint8, in the places of the old.
        levels: The root of the mean square over three channels.
    """
    found = new.copy()
    before = of_channels(old, new.shape[1])
    gaps = before.astype(np.int32) - new[: len(old)]
    near = (gaps * gaps).sum(axis=1) < 3 * levels * levels
    found[: len(old)][near] = before[near]
    return found
