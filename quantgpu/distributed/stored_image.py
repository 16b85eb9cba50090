"""One huge picture on a cluster: workers read blocks, and write them, wherever the store is."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from quantgpu.batch.report import Report, as_bytes
from quantgpu.clustering.options import DEFAULT_K
from quantgpu.distributed.blocks import (
    BlockMapper,
    BlockResult,
    CompressedHistogram,
    add_histograms,
    check_blockwise,
    compressed_bytes,
    mapper_bytes,
    mapper_for_blocks,
    remap_block,
    total_stats,
)
from quantgpu.distributed.files import (
    cancel_on_error,
    name_worker_on_error,
    result_of,
    track_progress,
    with_given_names,
)
from quantgpu.distributed.stores import (
    Picture,
    Region,
    check_store_output,
    count_region,
    created,
    inspect,
    read_region,
    regions,
    size_of,
    write_region,
)
from quantgpu.distributed.workers import Workers, run_block
from quantgpu.dithering.options import DitherOptions, MapOptions
from quantgpu.errors import QuantgpuError, UsageError
from quantgpu.execution.selection import Compute
from quantgpu.metrics.palette_error import decibels
from quantgpu.options import QuantizeOptions, check_ks, k_for
from quantgpu.pipeline.shared_palette import shared_palette
from quantgpu.progress import Display, Progress, no_display, stopwatch

MOST_NAMED = 4
"""Devices that are named one by one."""


def quantize_store(
    crew: Workers,
    name: str,
    output: str,
    k: int | None,
    options: QuantizeOptions,
    *,
    force: bool = False,
    display: Display = no_display,
    measured: bool = False,
) -> tuple[Report, str]:
    """Reduce a picture to K colors, block by block; report on it, and on what crossed the network.

    Args:
        crew: The workers, who have to reach both stores under the names that they have here.
        name: A Zarr array or a TIFF file.
        output: A ``.zarr`` or ``.tif``.
        k: Colors; 256 when None.
        options: All else.
        force: Whether an output that exists is replaced.
        display: Shows how far along it is.
        measured: Whether to find out what crossed the network, which takes a while.

    Raises:
        QuantgpuError: Anything that the user can mend; the output is not there then.
    """
    lap = stopwatch(time.perf_counter())
    check_ks([k], options)
    mapping = mapping_of(options, k)
    most = DEFAULT_K if k is None else k
    check_store_output(output, most, force)
    names = {os.path.abspath(name): name}
    try:
        picture = inspect(os.path.abspath(name))
        k_for(k, picture.shape[0] * picture.shape[1])
        seconds = {"open": lap()}
        with display(name) as progress:
            counted, crossed = counted_in(crew, picture, options, progress, measured)
            histogram: CompressedHistogram = counted.result
            seconds["count"] = lap()
            shared = shared_palette(
                histogram,
                k,
                options.palette,
                replace(options.compute, device=crew.here),
                dithered=mapping.dithering.method != "none",
                progress=progress,
            )
            seconds["cluster"] = lap()
            with created(output, picture, shared.palette.colors, most) as there:
                names[there] = output
                recipe = mapper_for_blocks(histogram, shared, mapping)
                mapped = remapped_in(crew, picture, there, recipe, options, progress)
            seconds["remap"] = lap()
    except QuantgpuError as error:
        raise with_given_names(error, names) from None
    tally = total_stats(histogram, shared, [done.result for done in mapped])
    pixels = histogram.pixels
    report = Report(
        name, output, picture.shape[1], picture.shape[0], len(histogram), len(shared.palette),
        tally.squared_error / pixels, decibels(tally.squared_error, pixels), size_of(name),
        size_of(output), seconds, list(picture.notes), devices_of(mapped),
        [*(f"the palette: {note}" for note in shared.notes), *notes_of([counted, *mapped])],
        False, None, [],
    )  # fmt: skip
    return report, traffic(histogram, crossed, recipe) if measured else ""


def mapping_of(options: QuantizeOptions, k: int | None) -> MapOptions:
    """How blocks are mapped.

    Raises:
        UsageError: An option is not for blocks.
    """
    for name, value in (
        ("target", options.goals.target),
        ("min-quality", options.goals.min_quality),
    ):
        if value is not None:
            raise UsageError(f"--{name} is not for pictures in blocks")
    palette = options.palette
    dither = DitherOptions(dither="none") if k == 1 else options.dither
    dithering = dither.resolve(palette.effort)
    check_blockwise(dithering)
    return MapOptions(
        dithering=dithering, color_space=palette.color_space, lock_grays=palette.lock_grays
    )


def devices_of(parts: Sequence[BlockResult]) -> str:
    """The devices that blocks were done on, for people."""
    devices = sorted({part.device for part in parts})
    if len(devices) <= MOST_NAMED:
        return ", ".join(devices)
    gpus = [device for device in devices if device != "cpu"]
    return f"{len(gpus)} GPUs" + ", cpu" * (len(gpus) < len(devices))


def notes_of(parts: Sequence[BlockResult]) -> list[str]:
    """What is to be said of the devices that blocks were done on, once."""
    return list(dict.fromkeys(note for part in parts for note in part.notes))


def counted_in(
    crew: Workers, picture: Picture, options: QuantizeOptions, progress: Progress, measured: bool
) -> tuple[BlockResult, int]:
    """The histogram of a picture; and if `measured`, the bytes of those of all blocks, else 0."""
    how = options.palette.weighs_pixels, options.alpha, compute_on(crew, options)
    parts = [crew.submit(count_there, picture, region, *how) for region in regions(picture)]
    track_progress(parts, "count", progress)
    sizes = [crew.submit(bytes_of, part, priority=1) for part in parts] if measured else []
    total = crew.summed(added_there, parts)
    crossed = sum(result_of(size, picture.path) for size in sizes)
    return result_of(total, picture.path), crossed


def count_there(picture: Picture, region: Region, *how: Any) -> BlockResult:
    """`count_region`, on a worker."""
    return run_block(count_region, picture, region, *how)


def added_there(parts: Sequence[BlockResult]) -> BlockResult:
    """The sum of the histograms of some blocks, and what is to be said of their devices."""
    return BlockResult(add_histograms([part.result for part in parts]), "", notes_of(parts))


def bytes_of(part: BlockResult) -> int:
    """What crosses the network for a histogram."""
    return len(compressed_bytes(part.result))


def compute_on(crew: Workers, options: QuantizeOptions) -> Compute:
    """Where a worker does its part."""
    return Compute(device=crew.device, memory=options.compute.memory)


def identity_task(recipe: BlockMapper) -> BlockMapper:
    """The recipe, as the result of a task: workers pass it on, and can have it again."""
    return recipe


def remapped_in(
    crew: Workers,
    picture: Picture,
    output: str,
    recipe: BlockMapper,
    options: QuantizeOptions,
    progress: Progress,
) -> list[BlockResult]:
    """Let the workers write all blocks; what each adds up to, a `Tally` or None."""
    carried = crew.submit(identity_task, recipe)
    how = options.alpha, compute_on(crew, options)
    futures = [
        crew.submit(remap_there, picture, output, region, carried, *how)
        for region in regions(picture)
    ]
    track_progress(futures, "remap", progress)
    with cancel_on_error(crew, futures):
        return [result_of(future, picture.path) for future in futures]


def remap_there(picture: Picture, output: str, region: Region, *how: Any) -> BlockResult:
    """Remap a block and write it, on a worker; again if need be, with the same bytes."""
    return run_block(remap_region, picture, output, region, *how)


def remap_region(
    picture: Picture, output: str, region: Region, recipe: BlockMapper, *how: Any
) -> BlockResult:
    """Remap a block and write it; what it adds up to, a `Tally` or None."""
    done = remap_block(read_region(picture, region), recipe, (region[0], region[2]), *how)
    with name_worker_on_error():
        write_region(output, region, done.result.index)
    return done._replace(result=done.result.tally)


def traffic(histogram: CompressedHistogram, crossed: int, recipe: BlockMapper) -> str:
    """What crossed the network, for people."""
    return (
        f"histograms of the blocks {as_bytes(crossed)}, their sum "
        f"{as_bytes(len(compressed_bytes(histogram)))}, the table for each worker "
        f"{as_bytes(len(mapper_bytes(recipe)))}"
    )
