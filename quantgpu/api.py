"""The public functions: quantize images and clips, map to a palette, compare."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from quantgpu.color.alpha import Color
from quantgpu.errors import UsageError
from quantgpu.indexed import Indexed
from quantgpu.io.inputs import as_palette, as_pixels
from quantgpu.metrics.comparison import METRICS, Colors, Comparison, size_of
from quantgpu.options import ApplyOptions, QuantizeOptions, from_keywords, select_keywords
from quantgpu.pipeline.apply import map_to_palette
from quantgpu.pipeline.quantize import quantize_with
from quantgpu.progress import Progress, no_progress

if TYPE_CHECKING:
    from quantgpu.video.report import VideoReport


def apply_palette(
    image: Any,
    colors: Any,
    *,
    color_space: str = "oklab",
    dither: str = "none",
    dither_strength: float | None = None,
    threads: int | None = None,
    device: str = "auto",
    memory: int | None = None,
    keep_on_device: bool = False,
    progress: Progress = no_progress,
) -> Indexed:
    """Remap an image to a given palette: every pixel gets its nearest color, ties to the first.

    The palette is not changed: indices are rows of `colors`, unused and repeated ones included.
    The same input and options give the same result on every machine and device.

    Args:
        image: What `quantgpu.quantize` takes.
        colors: 1 to 65,536 colors: (K, 3) uint8 or triples (red, green, blue), a `Palette`, or the
            path of a palette file, such as a ``.gpl``.
        color_space: ``srgb``, ``linear``, ``oklab`` or ``cielab``: where distances are measured.
        dither: ``none``, or another method of `quantgpu.quantize`, which mixes the colors of
            pictures.
        dither_strength: 0 (not at all) to 1; what suits the method when not given.
        threads: At least 1; as many as there are processors when not given.
        device: ``auto`` (a GPU if one works, else the CPU), ``cpu``, ``gpu`` or ``gpu:N``.
        memory: Bytes of device memory to use; most of what is free when not given.
        keep_on_device: Leave the index map on the GPU that made it, as a `cupy.ndarray`.
        progress: Called with the name of a stage and the share of it that is done.

    Raises:
        UsageError: An argument is outside its range; it is a `ValueError` too.
        InputError: The file at a path cannot be read.
        DeviceError: The GPU that was asked for cannot be used.

    >>> picture = apply_palette([(250, 9, 9), (3, 3, 3)], [(0, 0, 0), (255, 255, 255), (255, 0, 0)])
    >>> picture.index.tolist(), picture.counts.tolist()
    ([2, 0], [1, 0, 1])
    """
    options = from_keywords(ApplyOptions, select_keywords(locals(), ApplyOptions))
    return map_to_palette(
        image, as_palette(colors), options, keep_on_device=keep_on_device, progress=progress
    )


def compare(image_a: Any, image_b: Any, *, progress: Progress = no_progress) -> Comparison:
    """Measure how far two images of the same size are apart.

    >>> found = compare([(0, 0, 0), (9, 9, 9)], [(0, 0, 0), (9, 9, 6)])
    >>> found.mse, found.changed
    (4.5, 0.5)

    Args:
        image_a: What `quantize` takes: a path, a Pillow image, an array or a list of colors;
            transparent pixels are laid on white.
        image_b: As `image_a`; swapping the two only swaps `colors`.
        progress: Called with the name of each metric and the share that is done.

    Raises:
        UsageError: The sizes differ, or an argument is no image.
        InputError: A file cannot be read.
    """
    a, b = (as_array(image) for image in (image_a, image_b))
    if a.shape != b.shape:
        raise UsageError(f"{size_of(a)} and {size_of(b)} pixels: pictures must have the same size")
    found = {}
    for place, (name, metric) in enumerate(METRICS.items()):
        progress(name, place / len(METRICS))
        found[name] = metric(a, b)
    return Comparison(**found)


def as_array(image: Any) -> Colors:
    """An image's pixels on the host, (H, W, 3) uint8, C-contiguous; a list is one column.

    Transparent pixels are laid on white.
    """
    pixels = as_pixels(image, "flatten").to_host()
    return pixels.slab(0, pixels.height).reshape(pixels.height, pixels.width, 3)


def quantize(
    image: Any,
    k: int | None = None,
    *,
    target: str | None = None,
    min_quality: str | None = None,
    effort: str = "balanced",
    init: str = "random",
    seed: int = 0,
    color_space: str = "oklab",
    perceptual: bool = True,
    weights: Any = None,
    salient: bool = False,
    keep: Any = None,
    snap: float | None = None,
    lock_grays: bool = False,
    from_palette: Any = None,
    dither: str | None = None,
    dither_strength: float | None = None,
    alpha: str = "keep",
    matte: Color | None = None,
    threads: int | None = None,
    device: str = "auto",
    memory: int | None = None,
    keep_on_device: bool = False,
    progress: Progress = no_progress,
) -> Indexed:
    """Reduce an image to K colors.

    The same input and options give the same result on every machine and device, and any number of
    threads.

    Args:
        image: A Pillow image, a path, an (H, W, 3) uint8 array or N triples (red, green, blue); or
            with a fourth channel of alpha, not premultiplied. An array on a GPU (CuPy's, PyTorch's,
            or any that speaks DLPack) is not copied to the host.
        k: Colors, 1 to 65,536 and no more than there are pixels; 256, or the number of pixels
            if that is less, when not given. An image of at most K colors comes out unchanged.
        target: Find the smallest K, up to `k`, that meets this: ``psnr=38`` (decibels), ``mse=12``
            (as `Indexed.mse`) or ``de=1.5`` (mean CIEDE2000). The result meets the target, and
            that of K - 1, which was tried, does not. As more colors are not quite always better, a
            smaller K may meet the target by a hair. `Indexed.curve` has all K that were tried.
        min_quality: Raise unless the result is as good as this, of the same form.
        effort: ``none``, ``fast``, ``balanced`` or ``best``: the time spent on the palette.
        init: ``random``, ``kmeans++``, ``maximin`` or ``wu``: the first centers. ``random`` with
            effort ``none`` and color space ``srgb`` is the textbook's method: K colors drawn from
            the image's pixels.
        seed: Of the random draws, 0 or more.
        color_space: ``srgb``, ``linear``, ``oklab`` or ``cielab``: where distances are measured.
        perceptual: Let pixels in busy and in dark areas count for less, as errors there are seen
            less, and those of rare colors for more; the effort ``none`` counts all alike.
        weights: How much each pixel counts, 255 fully and 0 next to nothing: a gray picture of the
            same size, as a path, a Pillow image or an (H, W) uint8 array, or a bool array. Not with
            the effort ``none``, which counts all alike.
        salient: Raise rare and saturated colors, so that a palette of few keeps those that stand
            out, at the cost of the mean error; pixels in busy and dark areas then count in full.
            Not with the effort ``none``.
        keep: Colors that are in the palette exactly, used or not: whatever `apply_palette` takes.
            The others are optimized around them.
        snap: Colors that cover at least this share of the image, above 0 to 1, come out unchanged,
            the most frequent ones first.
        lock_grays: Let pixels that are gray come out gray.
        from_palette: Choose at most K of these colors: whatever `apply_palette` takes. If pixels
            are fully transparent, full transparency is one of the colors, too.
        dither: How colors are mixed: ``none``, ``bayer`` (``bayer:2`` to ``bayer:16``),
            ``blue-noise``, ``floyd-steinberg``, ``jarvis``, ``stucki``, ``burkes``, ``sierra``,
            ``sierra-lite``, ``atkinson``, ``stevenson-arce`` or ``adaptive``. When not given,
            ``adaptive``; but ``none`` with one color, the effort ``none``, a `target` or a
            `min_quality`. Colors that are in the palette are not disturbed, and colors without a
            picture are not mixed.
        dither_strength: 0 (not at all) to 1; what suits the method when not given.
        alpha: ``keep``; ``binary``: opaque from an alpha of 128 on, else fully transparent; or
            ``flatten``: laid on the matte. With ``keep``, opaque pixels stay opaque, and fully
            transparent ones fully transparent, if K is above 1 and kept colors leave room.
        matte: What partly transparent pixels are laid on; white with ``flatten`` when not given.
        threads: At least 1; as many as there are processors when not given.
        device: ``auto`` (a GPU if one works, else the CPU), ``cpu``, ``gpu`` or ``gpu:N``.
        memory: Bytes of device memory to use; most of what is free when not given.
        keep_on_device: Leave the index map on the GPU that made it, as a `cupy.ndarray`.
        progress: Called with the name of a stage and the share of it that is done.

    Raises:
        UsageError: An argument is outside its range; it is a `ValueError` too.
        InputError: The file at a path cannot be read as an image.
        DeviceError: The GPU that was asked for cannot be used.
        QualityError: The result would not be as good as was asked for.

    >>> picture = quantize([(216, 175, 145), (220, 183, 152), (0, 0, 0)], k=2)
    >>> picture.palette.hex(), picture.index.tolist()
    (['#000000', '#dab394'], [1, 1, 0])
    """
    options = from_keywords(QuantizeOptions, select_keywords(locals(), QuantizeOptions))
    [picture] = quantize_with(
        image, [k], options, weights=weights, keep_on_device=keep_on_device, progress=progress
    )
    return picture


def quantize_each(
    image: Any,
    ks: Iterable[int | None],
    *,
    weights: Any = None,
    keep_on_device: bool = False,
    progress: Progress = no_progress,
    **options: Any,
) -> list[Indexed]:
    """Reduce an image to each of several K colors; its pixels are counted once.

    Args:
        image: What `quantize` takes.
        ks: The numbers of colors, all different.
        weights: As `quantize` takes it.
        keep_on_device: As `quantize` takes it.
        progress: As `quantize` takes it.
        options: All other options of `quantize`; `target` only with one K, which is then the most
            colors.

    Returns:
        For each K, in the order given, what `quantize` returns.

    >>> [len(picture.palette) for picture in quantize_each([(1, 2, 3), (4, 5, 6)], [2, 1])]
    [2, 1]
    """
    return quantize_with(
        image, list(ks), from_keywords(QuantizeOptions, options),
        weights=weights, keep_on_device=keep_on_device, progress=progress,
    )  # fmt: skip


def quantize_video(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    k: int | None = None,
    *,
    palette: Any = "shared",
    first: Fraction | float | None = None,
    hold: float = 0,
    dither: str | None = None,
    dither_strength: float | None = None,
    effort: str = "balanced",
    init: str = "random",
    seed: int = 0,
    color_space: str = "oklab",
    perceptual: bool = True,
    salient: bool = False,
    keep: Any = None,
    snap: float | None = None,
    lock_grays: bool = False,
    from_palette: Any = None,
    fps: Fraction | float | None = None,
    start: Fraction | float | None = None,
    duration: Fraction | float | None = None,
    width: int | None = None,
    conversion: str = "exact",
    alpha: str = "keep",
    matte: Color | None = None,
    force: bool = False,
    threads: int | None = None,
    device: str = "auto",
    memory: int | None = None,
    scheduler: str | None = None,
    progress: Progress = no_progress,
) -> VideoReport:
    """Write a clip with K colors.

    The same frames and options give the same colors on every machine and device.

    Args:
        source: What `frames.open_frames` reads: a video, an animation, numbered pictures, or ``-``
            for standard input.
        output: What `sinks.open_sink` writes: its suffix names the format.
        k: Colors of a frame, 1 to 65,536; when not given 256, or 255 for formats with an
            entry for unchanged pixels (``.gif``, ``.apng``).
        palette: ``shared``: one for the clip, which is read twice; ``scene``: one for each scene;
            ``frame``: one for each frame; or whatever `apply_palette` takes.
        first: Of ``shared``: seconds that decide the palette; colors that come later get the
            nearest. Needed where the clip cannot be read twice.
        hold: Levels, 0 to 64: a pixel keeps its entry while that raises its squared error by less
            than this squared, on average over the channels; entries that would change by less from
            frame to frame keep their colors.
        dither: How colors are mixed, as `quantize` takes it; ``blue-noise`` when not given.
        dither_strength: 0 (not at all) to 1; what suits the method when not given.
        effort: As `quantize` takes it.
        init: As `quantize` takes it.
        seed: As `quantize` takes it.
        color_space: As `quantize` takes it.
        perceptual: As `quantize` takes it.
        salient: As `quantize` takes it.
        keep: As `quantize` takes it.
        snap: As `quantize` takes it: a share of all pixels that decide a palette.
        lock_grays: As `quantize` takes it.
        from_palette: As `quantize` takes it.
        fps: Frames per second: frames are dropped or repeated.
        start: Seconds to leave out.
        duration: Seconds to take.
        width: Scale to this width, in pixels.
        conversion: How videos become RGB: ``exact``, the same on every machine, or ``fast``.
        alpha: As `quantize` takes it.
        matte: As `quantize` takes it.
        force: Replace what exists.
        threads: At least 1; as many as there are processors when not given.
        device: ``auto`` (a GPU if one works, else the CPU), ``cpu``, ``gpu`` or ``gpu:N``.
        memory: Bytes of device memory to use; most of what is free when not given.
        scheduler: ``tcp://HOST:PORT`` of a Dask cluster, ``local`` or ``local:N``: the workers
            count ranges of frames, and write them if they are numbered pictures and none depends on
            the one before (no `hold`, no error diffusion). Not for ``scene`` and ``frame``.
        progress: Called with the name of a stage and the share of it that is done.

    Returns:
        A report. If the source is damaged, `VideoReport.damage` says how; the frames before the
        damage were written.

    Raises:
        UsageError: An argument is outside its range, or the format does not hold such frames.
        InputError: The source cannot be read, or has no frames.
        OutputError: The output exists, or cannot be written.
        DeviceError: The GPU that was asked for cannot be used.
        ClusterError: The cluster cannot be used.
    """
    keywords = locals()
    from quantgpu.video.options import VideoOptions

    options = from_keywords(VideoOptions, select_keywords(keywords, VideoOptions))
    names = os.fspath(source), os.fspath(output)
    how: dict[str, Any] = {"force": force, "progress": progress}
    if scheduler is None:
        from quantgpu.video.convert import convert_clip

        return convert_clip(*names, k, options, **how)
    from quantgpu.distributed.video import convert_clip_on

    return convert_clip_on(scheduler, *names, k, options, **how)
