"""Predicted time of `quantize` on named graphics cards, from what a stand-in for CuPy counts.

    .venv/bin/python scripts/predict.py [IMAGE] [-k 256] [--megapixels 24] [--effort fast,balanced]
                                        [--cards h100,rtx4090] [--pageable] [--host 1] [--places 25]
                                        [--dither none] [--json]

Nothing here was measured on a GPU. The pipeline runs once on the stand-in of the tests; every call
that it makes is written down in order, with what it launches, copies and waits for. Then clocks
run: one for the host, one for each stream and copy engine. A call costs the host what CuPy needs
for it (`HOST_US`) and the time of our own Python before it (the least of a few runs, on the machine
that runs this script). A launch takes `START` and the longest of what it asks of memory, of the
second-level cache, and of instruction issue. A synchronization sets the host's clock to what it
waits for. Without an image the built-in scene is rendered.

"No host" is the time if the host took none for calls and Python. A stage's time is the host's in
it, and what the host waits for while the stage is at work; where a copy and a kernel are, the copy
counts. The floor is the bus alone: 3 bytes up and 1 byte (2 for more than 256 colors) down per
pixel. Left out: the first picture of a process (compiling, memory pools that are still empty, some
0.3 ms per MiB of page-locked memory), files, clocks that drop, and other programs.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers"), str(ROOT / "scripts")]

from prediction.calls import EVERY_STAGE, Call, Copy, Wait, Work, watched  # noqa: E402
from prediction.cards import CARDS, Card  # noqa: E402
from prediction.clocks import Timeline  # noqa: E402
from prediction.needs import KERNELS  # noqa: E402


class Run(NamedTuple):
    """A counted run of `quantize`."""

    pixels: int
    k: int
    effort: str
    pinned: bool
    index_bytes: int
    peak_bytes: int
    colors: int
    calls: list[Call]


PYTHON_RUNS, PYTHON_PIXELS = 4, 40_000
"""Runs, and about how many of the picture's pixels, for the time of our own Python."""


def record(
    picture: NDArray[np.uint8], k: int, effort: str, pinned: bool, dither: str = "none",
    **options: Any,
) -> Run:  # fmt: skip
    """Run `quantize` with options on the stand-in, for a machine with 24 GiB, and count."""
    import gpu_double

    from quantgpu import quantize

    step = max(math.isqrt(picture.size // 3 // PYTHON_PIXELS), 1)
    parts = picture[::step, ::step], picture
    with gpu_double.installed(memory=24 << 30) as double:
        small, whole = (on_host(double, part, pinned) for part in parts)

        def once(source: NDArray[np.uint8]) -> Any:
            most = min(k, source.size // 3)
            return quantize(source, most, effort=effort, dither=dither, device="gpu", **options)

        once(small)
        with watched(double) as recorder:
            runs = []
            for source in (*[small] * PYTHON_RUNS, whole):
                with recorder.recording():
                    found = once(source)
                runs.append(recorder.calls)
        return Run(
            picture.size // 3, k, effort, pinned, found.index.itemsize, double.log.peak_bytes,
            found.colors_in, with_least_python(runs),
        )  # fmt: skip


def on_host(double: Any, picture: NDArray[np.uint8], pinned: bool) -> NDArray[np.uint8]:
    """A copy of the picture in page-locked or in other memory."""
    if not pinned:
        return picture.copy()
    memory = double.cuda.alloc_pinned_memory(picture.size)
    copy: NDArray[np.uint8] = np.ndarray(picture.shape, np.uint8, memory)
    copy[...] = picture
    return copy


def with_least_python(runs: list[list[Call]]) -> list[Call]:
    """The calls of the last run, with the least time of our own Python that their place took."""
    least: dict[tuple[str, str], float] = {}
    for call in (call for calls in runs for call in calls):
        key = call.name, call.where
        least[key] = min(call.python, least.get(key, math.inf))
    return [call._replace(python=least[call.name, call.where]) for call in runs[-1]]


def floor(run: Run, card: Card) -> float:
    """Seconds that the bus needs for the pixels up and the indices down."""
    return 3 * run.pixels / card.up + run.index_bytes * run.pixels / card.down


def counts(run: Run) -> dict[str, Any]:
    """What the predicted time is made from."""
    deeds = [(call, deed) for call in run.calls for deed in call.deeds]
    works = [deed for _, deed in deeds if isinstance(deed, Work)]
    copies = [deed for _, deed in deeds if isinstance(deed, Copy)]
    return {
        "calls": len(run.calls),
        "own launches": dict(Counter(w.name for w in works if w.own).most_common()),
        "array functions": dict(Counter(w.name for w in works if not w.own).most_common()),
        "synchronizations": dict(Counter(c.where for c, d in deeds if isinstance(d, Wait))),
        "bytes up": sum(c.nbytes for c in copies if c.direction == "up"),
        "bytes down": sum(c.nbytes for c in copies if c.direction == "down"),
        "peak device bytes": run.peak_bytes,
        "device bytes": int(sum(w.need.nbytes for w in works)),
        "gathers": int(sum(w.need.gathers for w in works)),
        "atomics": int(sum(w.need.atomics for w in works)),
        "multiply-adds": int(sum(w.need.multiply_adds for w in works)),
        "kernels without a formula": sorted({w.name for w in works if w.own} - set(KERNELS)),
    }


def places(run: Run) -> list[tuple[str, int, float, float, str]]:
    """``file:line``, calls, host microseconds in CuPy and in our own Python, names; most first."""
    rows: defaultdict[str, list[Call]] = defaultdict(list)
    for call in run.calls:
        rows[call.where].append(call)
    table = [
        (
            where,
            len(calls),
            sum(c.cupy + c.copying for c in calls) * 1e6,
            sum(c.python for c in calls) * 1e6,
            ", ".join(dict.fromkeys(c.name for c in calls)),
        )
        for where, calls in rows.items()
    ]
    return sorted(table, key=lambda row: -row[2] - row[3])


def kernel_times(run: Run, card: Card) -> list[tuple[str, int, float]]:
    """Kernel or function, launches, seconds on a card; most first."""
    total: defaultdict[str, list[float]] = defaultdict(list)
    for deed in (deed for call in run.calls for deed in call.deeds):
        if isinstance(deed, Work):
            total[deed.name].append(deed.need.seconds(card))
    rows = [(name, len(times), sum(times)) for name, times in total.items()]
    return sorted(rows, key=lambda row: -row[2])


def prediction(run: Run, name: str, slowness: float = 1.0) -> dict[str, Any]:
    """A run on a card, in milliseconds."""
    card = CARDS[name]
    timeline = Timeline(card, slowness).run(run.calls)
    bus = floor(run, card)
    return {
        "card": name,
        "predicted ms": timeline.host * 1e3,
        "floor ms": bus * 1e3,
        "multiple of the floor": timeline.host / bus,
        "ms without host": Timeline(card, 0).run(run.calls).host * 1e3,
        "host ms": (timeline.host - timeline.waited) * 1e3,
        "waited ms": timeline.waited * 1e3,
        "busy ms": {engine: seconds * 1e3 for engine, seconds in timeline.busy.items()},
        "stages ms": {stage: timeline.spent[stage] * 1e3 for stage in EVERY_STAGE},
    }


def show(run: Run, cards: list[str], slowness: float, most: int) -> None:
    """Print the tables of a run; each line of figures says that they are predicted."""
    source = "page-locked" if run.pinned else "pageable"
    print(
        f"\npredicted for {run.pixels / 1e6:.2f} megapixels of {run.colors:,} colors, "
        f"K = {run.k}, {run.effort}, from a {source} array to an index array"
    )
    for what, figure in counts(run).items():
        print(f"predicted from {what}: {listed(figure)}")
    print(
        f"\n{'milliseconds':18s} {'total':>7s} {'floor':>7s} {'x floor':>7s} {'no host':>7s} "
        + " ".join(
            f"{name:>8s}" for name in [*EVERY_STAGE, "| host", "waited", "kernels", "up", "down"]
        )
    )
    for name in cards:
        found = prediction(run, name, slowness)
        columns = [*found["stages ms"].values(), found["host ms"], found["waited ms"]]
        columns += [found["busy ms"].get(engine, 0.0) for engine in ("kernels", "up", "down")]
        print(
            f"predicted {name:8s} {found['predicted ms']:7.2f} {found['floor ms']:7.2f} "
            f"{found['multiple of the floor']:7.2f} {found['ms without host']:7.2f} "
            + " ".join(f"{x:8.2f}" for x in columns)
        )
    for name in cards[:1]:
        rows = kernel_times(run, CARDS[name])[:most]
        each = ", ".join(f"{kernel} {n} x {s / n * 1e6:.1f} us" for kernel, n, s in rows)
        print(f"\npredicted device time on {name}: {each}")
    print(f"\n{'host time':32s} {'calls':>5s} {'CuPy us':>8s} {'own us':>8s}")
    for where, calls, cupy, python, names in places(run)[:most]:
        print(f"predicted {where:22s} {calls:5d} {cupy:8.0f} {python:8.0f}  {names[:60]}")


def listed(figure: Any) -> str:
    """A figure, or names with or without figures, in one line."""
    if isinstance(figure, int):
        return f"{figure:,}"
    if isinstance(figure, dict):
        return ", ".join(f"{key} {number}" for key, number in figure.items())
    return ", ".join(figure) or "none"


def load(image: Path | None, megapixels: float) -> NDArray[np.uint8]:
    """The picture at a path, or the built-in scene, 3 wide by 2 high."""
    if image is None:
        from quantgpu.demo.scene import render_scene

        height = max(round((megapixels * 1e6 / 1.5) ** 0.5), 1)
        return render_scene(max(height * 3 // 2, 1), height)
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    return np.asarray(Image.open(image).convert("RGB"))


def main(arguments: list[str] | None = None) -> None:
    """Parse the arguments, count, and print."""
    assert __doc__
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("image", nargs="?", type=Path)
    parser.add_argument("-k", type=int, default=256)
    parser.add_argument("--megapixels", type=float, default=24.0, help="of the built-in scene")
    parser.add_argument("--effort", default="fast,balanced", help="comma-separated")
    parser.add_argument("--color-space", default="oklab")
    parser.add_argument("--perceptual", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--dither", default="none", help="a method; diffusion takes the CPU long")
    parser.add_argument("--cards", default=",".join(CARDS), help="comma-separated")
    parser.add_argument("--host", type=float, default=1.0, help="times the host's figures")
    parser.add_argument("--places", type=int, default=25, help="lines of the table of host time")
    parser.add_argument("--json", action="store_true", help="for machines")
    memory = parser.add_mutually_exclusive_group()
    memory.add_argument("--pinned", action="store_true", default=True, help="the default")
    memory.add_argument("--pageable", dest="pinned", action="store_false")
    options = parser.parse_args(arguments)
    cards = options.cards.split(",")
    if unknown := [name for name in cards if name not in CARDS]:
        parser.error(f"--cards: {', '.join(unknown)} is not one of {', '.join(CARDS)}")
    picture = load(options.image, options.megapixels)
    for effort in options.effort.split(","):
        run = record(
            picture, min(options.k, picture.size // 3), effort, options.pinned,
            options.dither, color_space=options.color_space, perceptual=options.perceptual,
        )  # fmt: skip
        if options.json:
            found = {"pixels": run.pixels, "k": run.k, "effort": effort, "pinned": run.pinned}
            rows = [prediction(run, name, options.host) for name in cards]
            print(json.dumps({**found, "counts": counts(run), "predicted": rows}), flush=True)
        else:
            show(run, cards, options.host, options.places)


if __name__ == "__main__":
    main()
