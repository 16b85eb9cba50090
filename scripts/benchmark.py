"""Time, memory and error of quantgpu, with every peer found on this machine beside it.

    .venv/bin/python scripts/benchmark.py [IMAGE ...] [-k 4,16,64,256] [--rounds 3] [--only NAME,…]

Without images the built-in scene is rendered at 24 megapixels. Whole processes, PNG in and indexed
file out, run in turn (A B C, A B C, …), so that drifts of the machine hit all alike; medians are
printed, and times as multiples of the first peer's. Then the stages of quantization proper, how
they grow with the pixels and with K, and the start-up.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

QUANTGPU = f"{sys.executable} -m quantgpu quantize {{input}} -k {{k}} -o {{output}} --force --quiet"
PLAIN = "--dither none"

SRGB = f"{PLAIN} --color-space srgb --no-perceptual"
"""What the squared error of 8-bit levels is measured by."""

PILLOW = (
    f'{sys.executable} -c "from PIL import Image as I; I.MAX_IMAGE_PIXELS = None; '
    "I.open('{{input}}').convert('RGB').quantize({{k}}, {method}, dither=0).save('{{output}}')\""
)


class Peer(NamedTuple):
    """A command that quantizes a file, without dithering unless its name says so."""

    name: str
    program: str
    """What must be on PATH; an empty string needs nothing."""
    command: str


PEERS = (
    Peer(
        "pngquant -s4",
        "pngquant",
        "pngquant --nofs --force --speed 4 --output {output} {k} -- {input}",
    ),
    Peer(
        "pngquant -s1",
        "pngquant",
        "pngquant --nofs --force --speed 1 --output {output} {k} -- {input}",
    ),
    Peer(
        "ImageMagick",
        "convert-im6.q16",
        "convert-im6.q16 {input} -dither None -colors {k} PNG8:{output}",
    ),
    Peer("GraphicsMagick", "gm", "gm convert {input} +dither -colors {k} PNG8:{output}"),
    Peer(
        "ffmpeg",
        "ffmpeg",
        "ffmpeg -nostdin -v error -y -i {input} -filter_complex split[a][b];[a]palettegen="
        "max_colors={k}:reserve_transparent=0[p];[b][p]paletteuse=dither=none -frames:v 1 {output}",
    ),
    Peer("Pillow median cut", "", PILLOW.format(method=0)),
    Peer("Pillow octree", "", PILLOW.format(method=2)),
    Peer("quantgpu", "", f"{QUANTGPU} {PLAIN}"),
    Peer("quantgpu srgb fast", "", f"{QUANTGPU} {SRGB} --effort fast"),
    Peer("quantgpu srgb", "", f"{QUANTGPU} {SRGB}"),
    Peer("quantgpu srgb best", "", f"{QUANTGPU} {SRGB} --effort best"),
    Peer(
        "pngquant dithered", "pngquant",
        "pngquant --force --speed 4 --output {output} {k} -- {input}",
    ),
    Peer(
        "ffmpeg dithered", "ffmpeg",
        "ffmpeg -nostdin -v error -y -i {input} -filter_complex split[a][b];[a]palettegen="
        "max_colors={k}:reserve_transparent=0[p];[b][p]paletteuse -frames:v 1 {output}",
    ),
    Peer("quantgpu adaptive", "", QUANTGPU),
    Peer("quantgpu blue-noise", "", f"{QUANTGPU} --dither blue-noise"),
)  # fmt: skip

STAGES = (
    ("fast", 256, "srgb", False, "none"),
    ("balanced", 16, "srgb", False, "none"),
    ("balanced", 256, "srgb", False, "none"),
    ("balanced", 256, "oklab", False, "none"),
    ("balanced", 256, "oklab", True, "none"),
    ("best", 256, "srgb", False, "none"),
    ("balanced", 256, "oklab", True, "blue-noise"),
    ("balanced", 256, "oklab", True, "floyd-steinberg"),
    ("balanced", 256, "oklab", True, "adaptive"),
)
"""Effort, K, color space, perceptual weights and dither of what is timed stage by stage."""

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS")}


def run(command: Sequence[str]) -> tuple[float, float]:
    """Seconds and peak megabytes of a process; raises if it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    assert process.stderr is not None
    complaint = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed: {complaint.strip()[-200:]}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def words(command: str, **fields: object) -> list[str]:
    """A command's words, each filled in alone, so that names may hold spaces."""
    return [word.format(**fields) for word in shlex.split(command)]


def score(original: Path, output: Path) -> dict[str, float]:
    """MSE summed over channels and colors of an output, measured in a process of its own."""
    answer = subprocess.run(
        [sys.executable, __file__, "--score", str(original), str(output)],
        check=True,
        capture_output=True,
    )
    found: dict[str, float] = json.loads(answer.stdout)
    return found


def print_score(original: str, output: str) -> None:
    """What `score` reads."""
    import numpy as np
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    before, after = Image.open(original).convert("RGB"), Image.open(output).convert("RGB")
    total, seen = 0, np.zeros(1 << 24, bool)
    for top in range(0, before.height, 256):
        box = (0, top, before.width, min(top + 256, before.height))
        one, other = (np.asarray(image.crop(box)).astype(np.int32) for image in (before, after))
        total += int(((one - other) ** 2).sum())
        seen[other[..., 0] << 16 | other[..., 1] << 8 | other[..., 2]] = True
    print(json.dumps({"mse": total / (before.width * before.height), "colors": int(seen.sum())}))


def compare(image: Path, k: int, peers: Sequence[Peer], rounds: int, folder: Path) -> None:
    """The table of whole processes for one image and K."""
    runs: dict[str, list[tuple[float, float]]] = {peer.name: [] for peer in peers}
    outputs = {peer.name: folder / f"{number}.png" for number, peer in enumerate(peers)}
    for _ in range(rounds):
        for peer in peers:
            fields = {"input": image, "output": outputs[peer.name], "k": k}
            runs[peer.name].append(run(words(peer.command, **fields)))
    reference = statistics.median(seconds for seconds, _ in runs[peers[0].name])
    print(f"\n{image.name}, K = {k}, whole process, median of {rounds}")
    print(
        f"{'':20s} {'seconds':>8s} {'x ' + peers[0].name:>14s} {'MB':>6s} {'MSE':>9s} colors  bytes"
    )
    for peer in peers:
        seconds = statistics.median(seconds for seconds, _ in runs[peer.name])
        memory = max(megabytes for _, megabytes in runs[peer.name])
        found = score(image, outputs[peer.name])
        size = outputs[peer.name].stat().st_size
        print(
            f"{peer.name:20s} {seconds:8.2f} {seconds / reference:14.2f} {memory:6.0f} "
            f"{found['mse']:9.2f} {found['colors']:6.0f} {size:8,d}",
            flush=True,
        )


def proper(
    image: Path, k: int, effort: str, color_space: str, perceptual: bool, dither: str, rounds: int
) -> dict[str, float]:
    """Median seconds of the stages, array in, index map and palette out."""
    code = (
        "import json, sys, numpy as np; from PIL import Image; import quantgpu\n"
        "Image.MAX_IMAGE_PIXELS = None\n"
        "array = np.asarray(Image.open(sys.argv[1]).convert('RGB'))\n"
        "options = dict(effort=sys.argv[3], color_space=sys.argv[4])\n"
        "options.update(perceptual=sys.argv[5] == '1', dither=sys.argv[6])\n"
        "for _ in range(int(sys.argv[7])):\n"
        "    result = quantgpu.quantize(array, int(sys.argv[2]), **options)\n"
        "    print(json.dumps({**result.seconds, 'mse': result.mse}))"
    )
    options = str(k), effort, color_space, str(int(perceptual)), dither, str(rounds)
    arguments = [sys.executable, "-c", code, str(image), *options]
    answer = subprocess.run(arguments, check=True, capture_output=True, env=ENVIRONMENT)
    rows = [json.loads(line) for line in answer.stdout.splitlines()]
    stages = {stage: statistics.median(row[stage] for row in rows) for stage in rows[0]}
    mse = stages.pop("mse")
    return {
        **stages,
        "total": statistics.median(sum(row.values()) - row["mse"] for row in rows),
        "mse": mse,
    }


def print_stages(image: Path, rounds: int) -> None:
    """Quantization proper, by effort and by K."""
    print(f"\n{image.name}, quantization proper, median of {rounds}")
    print(
        f"{'effort':10s} {'K':>5s} {'space':8s} {'weights':7s} {'dither':15s} {'read':>6s} "
        f"{'count':>6s} {'cluster':>8s} {'remap':>6s} {'total':>6s} {'MSE':>9s}"
    )
    for effort, k, space, perceptual, dither in STAGES:
        row = proper(image, k, effort, space, perceptual, dither, rounds)
        print(
            f"{effort:10s} {k:5d} {space:8s} {'yes' if perceptual else 'no':7s} "
            f"{dither:15s} {row['read']:6.3f} {row['count']:6.3f} {row['cluster']:8.3f} "
            f"{row['remap']:6.3f} {row['total']:6.3f} {row['mse']:9.2f}",
            flush=True,
        )


def print_growth(folder: Path, megapixels: Sequence[int], rounds: int) -> None:
    """Time per pixel of quantization proper as the built-in scene grows."""
    print("\nbuilt-in scene, K = 256, balanced, srgb: nanoseconds per pixel")
    for size in megapixels:
        path = render(folder, size)
        row = proper(path, 256, "balanced", "srgb", False, "none", rounds)
        print(
            f"{size:5d} MP {row['total'] * 1e9 / (size * 1e6):8.1f}  ({row['total']:.2f} s)",
            flush=True,
        )


def print_start_up(folder: Path, rounds: int) -> None:
    """The time of a process that has next to nothing to do."""
    path = render(folder, 0.26)
    out = str(folder / "start.png")
    commands = {
        "quantgpu --version": [sys.executable, "-m", "quantgpu", "--version"],
        "0.26 MP, K = 256": words(QUANTGPU, input=path, output=out, k=256),
    }
    print("\nstart-up, whole process, median")
    for name, command in commands.items():
        print(f"{name:20s} {statistics.median(run(command)[0] for _ in range(3 * rounds)):6.3f} s")


def render(folder: Path, megapixels: float) -> Path:
    """The built-in scene as a PNG file, rendered in a process of its own."""
    path = folder / f"scene-{megapixels:g}.png"
    if not path.exists():
        code = (
            "import sys; from PIL import Image; from quantgpu.demo.scene import render_scene\n"
            "h = round((float(sys.argv[1]) * 1e6 / 1.5) ** 0.5)\n"
            "Image.fromarray(render_scene(h * 3 // 2, h)).save(sys.argv[2], compress_level=1)"
        )
        subprocess.run([sys.executable, "-c", code, str(megapixels), str(path)], check=True)
    return path


def main() -> None:
    """Parse the arguments and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("images", nargs="*", type=Path)
    parser.add_argument("-k", default="256", help="comma-separated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="comma-separated names of peers")
    parser.add_argument("--growth", default="6,24,96", help="megapixels, comma-separated; or none")
    parser.add_argument("--score", nargs=2, metavar=("ORIGINAL", "OUTPUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.score:
        print_score(*options.score)
        return
    chosen = options.only.split(",") if options.only else [peer.name for peer in PEERS]
    peers = [p for p in PEERS if p.name in chosen and (not p.program or shutil.which(p.program))]
    if not peers:
        parser.error(f"--only takes names among {', '.join(peer.name for peer in PEERS)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = options.images or [render(folder, 24)]
        for image in images:
            for k in options.k.split(","):
                compare(image, int(k), peers, options.rounds, folder)
            print_stages(image, options.rounds)
        if options.growth != "none":
            print_growth(folder, [int(size) for size in options.growth.split(",")], options.rounds)
        print_start_up(folder, options.rounds)


if __name__ == "__main__":
    main()
