"""Predicted frames a second of clips on named graphics cards, from upload to indices.

    .venv/bin/python scripts/predict_frames.py [--size 3840x2160] [-k 255] [--dither none]
                                               [--cards rtx4090,h100]

As `predict.py`, with whose means it is counted and predicted, for frames in page-locked memory that
are mapped one after the other by a palette that is there. Nothing here was measured on a GPU.
Decoding, counting and writing are left out.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from predict import on_host, with_least_python
from prediction.calls import Call, watched
from prediction.cards import CARDS
from prediction.clocks import Timeline

FRAMES = 4
"""Frames that are counted; the least time of our own Python among them is taken."""


def record(width: int, height: int, k: int, method: str) -> list[Call]:
    """The calls for one frame of the built-in scene."""
    import gpu_double

    from quantgpu.clustering import cluster
    from quantgpu.colorspace import COLOR_SPACES
    from quantgpu.device import choose_device, no_progress
    from quantgpu.dither import Mapping, mapper_for, parse_dither
    from quantgpu.histogram import count_colors
    from quantgpu.image import Pixels
    from quantgpu.scene import render_scene
    from quantgpu.transfer import GpuPixels

    with gpu_double.installed(memory=24 << 30) as double:
        frame = on_host(double, np.asarray(render_scene(width, height)), True)
        device, _ = choose_device("gpu", None, None)

        def sent() -> Any:
            return GpuPixels(Pixels(frame), double, device)

        histogram = count_colors(sent())
        found = cluster(histogram, k, effort="fast")
        mapper = mapper_for(Mapping(histogram, *found, COLOR_SPACES["oklab"]), parse_dither(method))

        def once() -> None:
            pixels = sent()
            mapper(pixels, False, no_progress)
            pixels.wait()

        once()
        runs = []
        with watched(double) as recorder:
            for _ in range(FRAMES):
                with recorder.recording():
                    once()
                runs.append(recorder.calls)
    return with_least_python(runs)


def main() -> None:
    """Print a line for each card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="3840x2160")
    parser.add_argument("-k", type=int, default=255)
    parser.add_argument("--dither", default="none")
    parser.add_argument("--cards", default="rtx4090,h100,t4")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    calls = record(width, height, options.k, options.dither)
    for name in options.cards.split(","):
        card = CARDS[name]
        seconds = Timeline(card, 1.0).run(calls).host
        bus = width * height * (3 / card.up + 1 / card.down)
        print(
            f"predicted {name:8s} {options.dither}: {seconds * 1e3:.2f} ms a frame, "
            f"{1 / seconds:.0f} frames/s; the bus alone {bus * 1e3:.2f} ms"
        )


if __name__ == "__main__":
    main()
