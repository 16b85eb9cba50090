"""Hashes of everything that the program writes, over a corpus that it makes: to prove that a change
of the code changes no byte.

    scripts/hash_outputs.py before.json --root OTHER_CHECKOUT
    scripts/hash_outputs.py after.json --against before.json

A case is a command line, or a call of the library. Its hash covers the exit code, what is printed
(without times), and the bytes of every file. Run it in an environment with all extras.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent

TIMES = [
    (rb'"(seconds|frames_per_second)": (\{[^}]*\}|[\d.e-]+)', b'"seconds"'),
    (rb"tcp://[\d.]+:\d+", b"worker"),
    (rb"[\d.]+ frames/s", b"rate"),
    (rb", [\d.]+ s( on \S+)? \([^)]*\)", b", time"),
    (rb"[\d.]+ s\b", b"time"),
]
"""What differs from run to run in what is printed, and what stands for it."""


def picture(height: int, width: int, seed: int, channels: int = 3) -> NDArray[np.uint8]:
    """Gradients, a few flat shapes and noise; alpha runs from clear to opaque."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    planes = [x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x + y) * 3 % 256]
    colors = np.stack(planes, axis=-1) + rng.integers(-9, 10, (height, width, 3))
    colors[height // 4 : height // 2, width // 3 : width // 2] = (200, 30, 40)
    colors[height // 2 :, : width // 5] = colors[height // 2 :, : width // 5].mean(
        -1, keepdims=True
    )
    alpha = np.clip(x * 340 // max(width - 1, 1) - 40, 0, 255)[..., None]
    levels = np.concatenate([colors, alpha], axis=-1)[..., :channels]
    found: NDArray[np.uint8] = np.clip(levels, 0, 255).astype(np.uint8)
    return found


def make_pictures() -> dict[str, list[str]]:
    """Write the pictures; the names of all, of those for each option, and of the others."""
    plain = Image.fromarray(picture(61, 83, 0))
    soft = Image.fromarray(picture(47, 70, 1, 4))
    plain.save("plain.png")
    soft.save("soft.png")
    kinds: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "noise.png": (Image.fromarray(picture(90, 64, 2)), {}),
        "wide.png": (Image.fromarray(picture(1, 200, 3)), {}),
        "tall.png": (Image.fromarray(picture(200, 1, 4)), {}),
        "one.png": (Image.fromarray(picture(1, 1, 5)), {}),
        "odd.png": (Image.fromarray(picture(17, 31, 6)), {}),
        "flat.png": (Image.new("RGB", (40, 30), (9, 99, 199)), {}),
        "gray.png": (plain.convert("L"), {}),
        "gray-alpha.png": (soft.convert("LA"), {}),
        "palette.png": (plain.quantize(20), {}),
        "clear-palette.png": (plain.quantize(20), {"transparency": 3}),
        "bits.png": (plain.convert("1"), {}),
        "deep.png": (Image.fromarray(picture(30, 40, 7)[..., 0].astype("u2") * 257), {}),
        "photo.jpg": (plain, {"quality": 90, "exif": rotated()}),
        "cmyk.jpg": (plain.convert("CMYK"), {}),
        "gray.jpg": (plain.convert("L"), {}),
        "strips.tif": (plain, {}),
        "soft.tif": (soft, {"compression": "tiff_lzw"}),
        "plain.bmp": (plain, {}),
        "plain.ppm": (plain, {}),
        "plain.webp": (plain, {"lossless": True}),
        "soft.webp": (soft, {"lossless": True}),
        "frame.gif": (plain.quantize(64), {}),
        "profile.png": (plain, {"icc_profile": profile()}),
        "interlaced.png": (plain, {"dpi": (72, 72)}),
        "few.png": (plain.quantize(9).convert("RGB"), {}),
        "opaque.png": (plain.convert("RGBA"), {}),
        "clear.png": (Image.new("RGBA", (20, 20)), {}),
        "large.png": (Image.fromarray(picture(240, 320, 8)), {}),
    }
    for name, (image, options) in kinds.items():
        image.save(name, **options)
    frames = [Image.fromarray(np.roll(picture(40, 56, 9), 2 * n, axis=1)) for n in range(6)]
    for name in ("clip.gif", "clip.png", "clip.webp"):
        frames[0].save(name, save_all=True, append_images=frames[1:], duration=80, loop=2)
    moving = [Image.fromarray(np.roll(picture(40, 56, 9, 4), 2 * n, axis=1)) for n in range(4)]
    moving[0].save("soft-clip.png", save_all=True, append_images=moving[1:], duration=100)
    Path("frames").mkdir()
    for number, frame in enumerate(frames):
        frame.save(f"frames/f{number:02}.png")
    Image.fromarray(picture(61, 83, 10)[..., 1]).save("mask.png")
    Path("colors.hex").write_text("000000\nffffff\ncc2222\n2244cc\n22aa44\nddcc11\n")
    Path("text.png").write_text("no picture")
    return {"all": ["plain.png", "soft.png", *kinds], "some": ["plain.png", "soft.png", "gray.png"]}


def rotated() -> bytes:
    """EXIF that asks for a turn, with a text."""
    exif = Image.Exif()
    exif[274], exif[270] = 6, "a picture"
    return exif.tobytes()


def profile() -> bytes:
    """A profile of sRGB, as Pillow makes it; its date is fixed."""
    from PIL import ImageCms

    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[24:36] = bytes(12)
    return bytes(data)


QUANTIZE = [
    *(f"--effort {name}" for name in ("none", "fast", "balanced", "best")),
    *(f"--init {name} -k 12" for name in ("random", "kmeans++", "maximin", "wu")),
    *(f"--init {name} --effort none --color-space srgb" for name in ("kmeans++", "wu")),
    *(f"--color-space {name} -k 24" for name in ("srgb", "linear", "oklab", "cielab")),
    *(f"--dither {name} -k 7" for name in ("none", "bayer", "bayer:2", "bayer:16", "blue-noise")),
    *(f"--dither {name} -k 7" for name in ("floyd-steinberg", "jarvis", "stucki", "burkes")),
    *(f"--dither {name} -k 7" for name in ("sierra", "sierra-lite", "atkinson", "adaptive")),
    *("--dither stevenson-arce -k 5", "--dither-strength 0.4 -k 9", "--seed 7 -k 30"),
    *("--no-perceptual -k 19", "--salient -k 6", "--keep #0000fe,lime -k 8", "--snap 0.02 -k 9"),
    *("--lock-grays -k 11", "--from-palette colors.hex -k 4", "--keep colors.hex -k 300"),
    *("--target psnr=30", "--target de=3", "--target mse=60 -k 40", "--min-quality psnr=5 -k 9"),
    *("--min-quality psnr=99 -k 3", "-k 1", "-k 2", "-k 3,5,9", "-k 255", "-k 257 -o out/a.png"),
    *(f"-k 6 -o out/a.{suffix}" for suffix in ("gif", "webp", "tif", "bmp", "npz", "png")),
    *("--alpha binary -k 9", "--alpha flatten -k 9", "--alpha flatten --matte #123 -k 9"),
    *("--alpha binary --matte teal -k 9", "--icc keep -k 9", "--icc ignore -k 9"),
    *("--metadata strip -k 9", "--compress-level 9 -k 9", "--skip-if-larger -k 200"),
    *("--threads 1 -k 33", "--threads 3 -k 33", "--json -k 5", "--quiet -k 5", "--max-pixels 10"),
    *("-k 0", "-k 70000", "-k x", "--effort much", "--dither what", "--matte no", "-k 99999999"),
    *("--snap 2", "--keep nothing", "--device tpu", "--memory lots", "--seed -1", "--icc what"),
]
"""Options of `quantize`, each on some pictures."""

SEVERAL = [
    "quantize plain.png soft.png gray.png -k 6 --output-dir out",
    "quantize plain.png noise.png few.png -k 6,9 --output-dir out --shared-palette",
    "quantize plain.png noise.png -k 6 --output-dir out --shared-palette --weights mask.png",
    "quantize plain.png text.png none.png -k 6 --output-dir out",
    "quantize plain.png -k 9 --weights mask.png -o out/a.png",
    "quantize plain.png -k 9 --output-dir out --jobs 2 --scheduler local:1",
    *(f"apply {name} --palette colors.hex --output-dir out" for name in ("plain.png", "soft.png")),
    *(
        f"apply plain.png --palette colors.hex --dither {d} -o out/a.png"
        for d in ("bayer", "burkes")
    ),
    "apply large.png --palette palette.png --color-space cielab -o out/a.gif",
    *(f"palette plain.png soft.png -k 7 -o out/a{s}" for s in (".act", ".ase", ".css", ".txt")),
    *(
        f"palette plain.png -k 7 -o out/a{s} --force"
        for s in (".gpl", ".pal", ".hex", ".json", ".png")
    ),
    *(f"palette plain.png noise.png -k 5 --sort {s} --json" for s in ("lightness", "hue", "count")),
    *(f"palette {o} plain.png -k 6" for o in ("--salient", "--no-perceptual", "--effort best")),
    "palette plain.png -k 6 --weights mask.png",
    "count plain.png soft.png -o out/a.qhist",
    "count noise.png -o out/a.qhist --no-perceptual --json",
    "count plain.png -o out/a.qhist --weights mask.png --alpha flatten",
    "compare plain.png noise.png",
    "compare plain.png plain.ppm --json",
    "compare plain.png few.png --map out/map.png",
    *(f"video clip.gif out/a{s} -k 9" for s in (".gif", ".apng", ".webp", ".y4m", "_%03d.png")),
    *(f"video clip.png out/a.apng -k 9 --palette {p}" for p in ("scene", "frame", "colors.hex")),
    *(f"video clip.webp out/a.gif -k 9 --dither {d}" for d in ("none", "adaptive", "bayer:4")),
    *(f"video clip.gif out/a.gif -k 9 {o}" for o in ("--hold 6", "--width 30", "--fps 20")),
    *(f"video clip.gif out/a.gif {o}" for o in ("--start 0.1", "--duration 0.2", "--first 0.1")),
    *(f"video frames out/a.gif -k 9 {o}" for o in ("--effort fast", "--seed 3", "--no-perceptual")),
    *(f"video soft-clip.png out/a{s}" for s in (".apng", ".webp", ".gif")),
    "video frames/f%02d.png out/a.apng -k 9 --color-space srgb --json",
    "video clip.gif out/a_%02d.png -k 9 --scheduler local:1",
    "video none.mp4 out/a.gif",
]
"""Further command lines."""


def library_calls(quantgpu: Any) -> dict[str, Callable[[], Any]]:
    """Calls of the library that return what is hashed."""
    plain, soft = picture(61, 83, 0), picture(47, 70, 1, 4)

    def arrays(found: Any) -> list[Any]:
        return [found.index, found.palette.colors, found.counts, found.squared_error]

    def in_blocks(array: NDArray[np.uint8], **options: Any) -> list[Any]:
        import dask.array

        blocks = dask.array.from_array(array, chunks=(20, 30, -1))
        found = quantgpu.cluster.quantize(blocks, 9, **options)
        return [found.index.compute(), found.palette.compute().palette.colors]

    importlib.import_module("quantgpu.cluster")
    return {
        "quantize": lambda: arrays(quantgpu.quantize(plain, 20, seed=5, effort="fast")),
        "quantize soft": lambda: arrays(quantgpu.quantize(soft, 11)),
        "colors": lambda: arrays(quantgpu.quantize(plain.reshape(-1, 3), 6)),
        "each": lambda: [arrays(each) for each in quantgpu.quantize_each(soft, [2, 9, 40])],
        "apply": lambda: arrays(quantgpu.apply_palette(plain, [(0, 0, 0), (255, 255, 255)])),
        "compare": lambda: repr(quantgpu.compare(plain, plain[::-1])),
        "blocks": lambda: in_blocks(plain, dither="none"),
        "soft blocks": lambda: in_blocks(soft, dither="bayer", effort="fast"),
    }


def command_lines(names: dict[str, list[str]]) -> Iterator[str]:
    """All command lines."""
    yield from (f"quantize {name} -k 12 --output-dir out" for name in names["all"])
    yield from (f"quantize {name} --output-dir out" for name in names["all"])
    for name in names["some"]:
        for options in QUANTIZE:
            to = "" if " -o " in options else " --output-dir out"
            yield f"quantize {name} {options}{to}"
    yield from SEVERAL


def hash_of_command(line: str) -> str:
    """The hash of what a command line does."""
    main = importlib.import_module("quantgpu.__main__").main
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2)]
    sys.argv = ["quantgpu", *line.split()]
    code: Any = 0
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            main()
        except SystemExit as end:
            code = end.code
    digest = hashlib.sha256(repr(code).encode())
    for stream in streams:
        stream.flush()
        said = stream.buffer.getvalue()
        for pattern, replacement in TIMES:
            said = re.sub(pattern, replacement, said)
        digest.update(said)
    for path in sorted(Path("out").rglob("*")):
        digest.update(str(path).encode() + (path.read_bytes() if path.is_file() else b""))
    return digest.hexdigest()


def hash_of_value(value: Any) -> str:
    """The hash of numbers, texts, arrays and lists of these."""
    if isinstance(value, list):
        return hashlib.sha256("".join(map(hash_of_value, value)).encode()).hexdigest()
    data = value.tobytes() + str(value.shape).encode() if isinstance(value, np.ndarray) else b""
    return hashlib.sha256(data or repr(value).encode()).hexdigest()


@contextlib.contextmanager
def changed_folder(folder: str) -> Iterator[None]:
    """The working directory inside."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def hashes(only: str) -> dict[str, str]:
    """The hash of each case whose name contains a text."""
    found = {}
    with tempfile.TemporaryDirectory() as folder, changed_folder(folder):
        names = make_pictures()
        for line in command_lines(names):
            if only in line:
                shutil.rmtree("out", ignore_errors=True)
                os.mkdir("out")
                found[line] = hash_of_command(line)
        for name, call in library_calls(importlib.import_module("quantgpu")).items():
            if only in name:
                found[f"library: {name}"] = hash_of_value(call())
    return found


def main() -> None:
    """Write the hashes; compare them with others if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("output", type=Path)
    parser.add_argument("--against", type=Path, help="hashes to compare with")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to test")
    options = parser.parse_args()
    sys.path.insert(0, str(options.root.resolve()))
    os.environ["PYTHONPATH"] = str(options.root.resolve())
    found = hashes(options.only)
    options.output.write_text(json.dumps(found, indent=1))
    print(f"{len(found)} cases")
    if options.against:
        others = json.loads(options.against.read_text())
        wrong = [name for name in found if others.get(name) != found[name]]
        print("\n".join(f"differs: {name}" for name in wrong) or "all equal")
        sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
