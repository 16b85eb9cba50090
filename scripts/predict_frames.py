"""Predicted frames a second of clips on named graphics cards, from upload to indices.

    .venv/bin/python scripts/predict_frames.py [--size 3840x2160] [-k 255]
                                               [--dither none,blue-noise,adaptive]
                                               [--cards rtx4090,h100]

As `predict.py`, with whose means it is counted and predicted, for frames that are counted, and for
frames that are mapped by a palette that is there, several of them on their way at a time. Nothing
here was measured on a GPU. Errors are not diffused, which takes the CPU long, as what that needs
does not depend on colors. Decoding, clustering and writing are left out; so is, unless it says so,
the copy from where a decoder left a frame to page-locked memory, which takes a thread of the host,
at the assumed `HOST_COPY`.

Pixels go up while indices come down. Cards are measured one way at a time; if the bus were to serve
one way at a time, it would take the sum of both.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from predict import with_least_python
from prediction.calls import Call, watched
from prediction.cards import CARDS, Card
from prediction.clocks import Timeline

BATCHES = 4
"""Batches from the first of which to the last of which the time is taken."""


BOUNDS = {"up": "the bus", "down": "the bus", "kernels": "kernels", "host": "launches and Python"}
"""What takes longest to what that is called."""


class Run(NamedTuple):
    """A counted run of some frames."""

    pixels: int
    """Of a frame."""
    frames: int
    """Whose time is taken."""
    calls: list[Call]
    warm: int
    """Calls before that time begins."""


class Prediction(NamedTuple):
    """Seconds of a frame on a card."""

    total: float
    busy: dict[str, float]
    """What ``up``, ``down``, ``kernels`` and the ``host`` take of it, side by side."""

    @property
    def bound(self) -> str:
        """What takes longest."""
        return max(self.busy, key=lambda name: self.busy[name])


def record(width: int, height: int, k: int, method: str) -> Run:
    """The calls for some frames, all of them the built-in scene."""
    import gpu_double
    from gpu_double.cuda_on_cpu import Module

    from quantgpu.demo.scene import render_scene
    from quantgpu.dithering.diffusion_matrices import DIFFUSION_MATRICES
    from quantgpu.execution.selection import choose_device
    from quantgpu.video.gpu_stream import PENDING_BATCHES, SLOTS, gpu_stream_for

    launch = without_diffusion(Module.launch)
    with gpu_double.installed(memory=24 << 30) as double, patch.object(Module, "launch", launch):
        frame = np.asarray(render_scene(width, height))
        device, _ = choose_device("gpu", None, None)
        ready = prepared(double.asarray(frame), device, k, method)
        kind = (height, width, 3), method in DIFFUSION_MATRICES
        once, flight = (gpu_stream_for(double.cupy, device, *kind) for _ in range(2))
        assert once is not None
        assert flight is not None
        list(once.map_frames(turns(frame, ready, 1)))  # kernels are compiled
        together, before = flight.batch_size, SLOTS + 1
        with watched(double) as recorder, recorder.recording():
            results = flight.map_frames(
                turns(frame, ready, (before + BATCHES + PENDING_BATCHES) * together)
            )
            marks = [len(recorder.calls) for _ in results]
        calls = with_least_python([recorder.calls])
        first, last = (marks[batch * together - 1] for batch in (before, before + BATCHES))
        return Run(width * height, BATCHES * together, calls[:last], first)


def record_counting(width: int, height: int) -> Run:
    """The calls for counting some such frames, one by one, with weights."""
    import gpu_double

    from quantgpu.demo.scene import render_scene
    from quantgpu.execution.selection import choose_device
    from quantgpu.pixels.counting import Counter
    from quantgpu.video.gpu_stream import SLOTS, gpu_stream_for

    with gpu_double.installed(memory=24 << 30) as double:
        frame = np.asarray(render_scene(width, height))
        device, _ = choose_device("gpu", None, None)
        flight = gpu_stream_for(double.cupy, device, (height, width, 3), False)
        assert flight is not None
        counter = Counter(double.cupy, 3, True)

        def count() -> int:
            pixels = flight.upload(frame)
            counter.add(pixels, True)
            pixels.wait()
            return len(recorder.calls)

        with watched(double) as recorder:
            count()  # kernels are compiled
            with recorder.recording():
                marks = [count() for _ in range(2 * SLOTS + BATCHES)]
        flight.end()
        calls = with_least_python([recorder.calls])
        return Run(width * height, BATCHES, calls, marks[2 * SLOTS - 1])


def without_diffusion(launch: Callable[..., None]) -> Callable[..., None]:
    """A launch of all kernels but `diffuse`, for which each pixel gets the first palette color."""

    def launched(module: Any, name: str, geometry: Any, arguments: Any, schedule: Any) -> None:
        if name == "diffuse":
            arguments[-1][...] = 0
        else:
            launch(module, name, geometry, arguments, schedule)

    return launched


def prepared(frame: Any, device: Any, k: int, method: str) -> Any:
    """What maps such frames."""
    from quantgpu.arrays.namespace import array_module
    from quantgpu.clustering.cluster import cluster
    from quantgpu.clustering.options import PaletteOptions
    from quantgpu.color.spaces import COLOR_SPACES
    from quantgpu.dithering.base import ColorMap
    from quantgpu.dithering.methods import mapper_for, parse_dither
    from quantgpu.pixels.counting import count_colors
    from quantgpu.pixels.gpu import GpuPixels
    from quantgpu.pixels.pixels import Pixels
    from quantgpu.video.palettes import Prepared

    histogram = count_colors(GpuPixels(Pixels(frame), array_module(frame), device))
    found = cluster(histogram, k, PaletteOptions(effort="fast", perceptual=False))
    mapping = ColorMap(histogram, *found, COLOR_SPACES["oklab"])
    return Prepared(mapping, mapper_for(mapping, parse_dither(method)), True)


def turns(pixels: NDArray[np.uint8], ready: Any, count: int) -> Iterator[Any]:
    """A frame, again and again."""
    from quantgpu.video.frames.base import Frame
    from quantgpu.video.palettes import PreparedFrame

    for number in range(count):
        yield PreparedFrame(Frame(pixels, Fraction(number), Fraction(1)), ready)


def predicted(run: Run, card: Card, staged: bool = False) -> Prediction:
    """Seconds of a frame; with the copy to page-locked memory if `staged`."""
    calls = run.calls if staged else [call._replace(host_bytes=0) for call in run.calls]
    ends = Timeline(card).run(calls[: run.warm]), Timeline(card).run(calls)
    before, after = ({**end.busy, "host": end.host - end.waited, "total": end.host} for end in ends)
    spent = {name: (after[name] - before.get(name, 0.0)) / run.frames for name in after}
    return Prediction(spent.pop("total"), spent)


def line(run: Run, name: str, method: str) -> str:
    """What is predicted for a card."""
    card = CARDS[name]
    found, staged = (predicted(run, card, staged) for staged in (False, True))
    parts = ", ".join(f"{what} {seconds * 1e3:.2f}" for what, seconds in found.busy.items())
    one_way = found.busy["up"] + found.busy.get("down", 0.0)
    return (
        f"predicted {name:8s} {method}: {found.total * 1e3:.2f} ms a frame, "
        f"{1 / found.total:.0f} frames/s, bound by {BOUNDS[found.bound]} ({parts} ms); "
        f"{1 / max(found.total, one_way):.0f} if the bus served one way at a time; "
        f"{1 / staged.total:.0f} with the copy to page-locked memory"
    )


def main() -> None:
    """Print a line for each card and method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="3840x2160")
    parser.add_argument("-k", type=int, default=255)
    parser.add_argument("--dither", default="none,blue-noise,adaptive")
    parser.add_argument("--cards", default="rtx4090,h100,t4")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    run = record_counting(width, height)
    for name in options.cards.split(","):
        print(line(run, name, "counting"))
    for method in options.dither.split(","):
        run = record(width, height, options.k, method)
        for name in options.cards.split(","):
            print(line(run, name, method))


if __name__ == "__main__":
    main()
