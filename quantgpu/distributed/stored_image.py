"""One huge picture on a cluster: workers read its blocks from one store, and write to another."""

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
    create_store,
    inspect,
    read_region,
    regions,
    size_of,
    write_region,
)
from quantgpu.distributed.workers import Workers, run_block
from quantgpu.dithering.options import MapOptions
from quantgpu.errors import QuantgpuError, UsageError
from quantgpu.execution.selection import Compute
from quantgpu.metrics.palette_error import decibels
from quantgpu.options import QuantizeOptions, check_ks, k_for
from quantgpu.pipeline.shared_palette import SharedPalette, shared_palette
from quantgpu.progress import Display, Progress, no_display, stopwatch

MOST_NAMED = 4
"""Most devices that the report names one by one."""


def quantize_store(
    workers: Workers,
    name: str,
    output: str,
    k: int | None,
    options: QuantizeOptions,
    *,
    force: bool = False,
    display: Display = no_display,
    measured: bool = False,
) -> tuple[Report, str]:
    """Reduce a picture to K colors, block by block.

    Args:
        workers: Workers that reach both stores by the absolute paths of this machine.
        name: A Zarr array or a TIFF file.
        output: A name that ends in ``.zarr`` or ``.tif``.
        k: Colors; 256 when None.
        options: All other options.
        force: Whether to replace an existing output.
        display: Shows the progress.
        measured: Whether to measure the network traffic, which takes time.

    Returns:
        The report, and the network traffic for people; empty unless `measured`.

    Raises:
        QuantgpuError: Anything that the user can mend; no output is left.
    """
    lap = stopwatch(time.perf_counter())
    check_ks([k], options)
    mapping = mapping_of(options, k)
    most_colors = DEFAULT_K if k is None else k
    check_store_output(output, most_colors, force)
    names = {os.path.abspath(name): name}
    try:
        picture = inspect(os.path.abspath(name))
        k_for(k, picture.shape[0] * picture.shape[1])
        seconds = {"open": lap()}
        with display(name) as progress:
            counted, crossed = count_picture(workers, picture, options, progress, measured)
            histogram: CompressedHistogram = counted.result
            seconds["count"] = lap()
            shared = shared_palette(
                histogram,
                k,
                options.palette,
                replace(options.compute, device=workers.local_device),
                dithered=mapping.dithering.method != "none",
                progress=progress,
            )
            seconds["cluster"] = lap()
            with create_store(output, picture, shared.palette.colors, most_colors) as temporary:
                names[temporary] = output
                block_mapper = mapper_for_blocks(histogram, shared, mapping)
                mapped = remap_picture(workers, picture, temporary, block_mapper, options, progress)
            seconds["remap"] = lap()
    except QuantgpuError as error:
        raise with_given_names(error, names) from None
    report = store_report(name, output, picture, counted, shared, mapped, seconds)
    return report, traffic(histogram, crossed, block_mapper) if measured else ""


def store_report(
    name: str,
    output: str,
    picture: Picture,
    counted: BlockResult,
    shared: SharedPalette,
    mapped: Sequence[BlockResult],
    seconds: dict[str, float],
) -> Report:
    """The report on a picture whose blocks were counted together and mapped.

    Args:
        name: The input, as the user gave it.
        output: The output, as the user gave it.
        picture: The input.
        counted: The histogram of all blocks.
        shared: The palette.
        mapped: The `MapStats` of each block, or None.
        seconds: Seconds of each stage.
    """
    histogram: CompressedHistogram = counted.result
    tally = total_stats(histogram, shared, [done.result for done in mapped])
    pixels = histogram.pixels
    return Report(
        name, output, picture.shape[1], picture.shape[0], len(histogram), len(shared.palette),
        tally.squared_error / pixels, decibels(tally.squared_error, pixels), size_of(name),
        size_of(output), seconds, list(picture.notes), devices_of(mapped),
        [*(f"the palette: {note}" for note in shared.notes), *notes_of([counted, *mapped])],
        False, None, [],
    )  # fmt: skip


def mapping_of(options: QuantizeOptions, k: int | None) -> MapOptions:
    """The options of mapping blocks.

    Raises:
        UsageError: An option is not for pictures in blocks.
    """
    for name, value in (
        ("target", options.goals.target),
        ("min-quality", options.goals.min_quality),
    ):
        if value is not None:
            raise UsageError(f"--{name} is not for pictures in blocks")
    mapping = options.mapping(k)
    check_blockwise(mapping.dithering)
    return mapping


def devices_of(parts: Sequence[BlockResult]) -> str:
    """The devices that processed blocks, for people."""
    devices = sorted({part.device for part in parts})
    if len(devices) <= MOST_NAMED:
        return ", ".join(devices)
    gpus = [device for device in devices if device != "cpu"]
    return f"{len(gpus)} GPUs" + ", cpu" * (len(gpus) < len(devices))


def notes_of(parts: Sequence[BlockResult]) -> list[str]:
    """The notes on the devices that processed blocks, each once."""
    return list(dict.fromkeys(note for part in parts for note in part.notes))


def count_picture(
    workers: Workers, picture: Picture, options: QuantizeOptions, progress: Progress, measured: bool
) -> tuple[BlockResult, int]:
    """Count a picture on the workers.

    Returns:
        The histogram, and the bytes of all blocks' histograms together, 0 unless `measured`.
    """
    block_options = options.palette.weighs_pixels, options.alpha, compute_on(workers, options)
    parts = [
        workers.submit(count_on_worker, picture, region, *block_options)
        for region in regions(picture)
    ]
    track_progress(parts, "count", progress)
    sizes = [workers.submit(bytes_of, part, priority=1) for part in parts] if measured else []
    total = workers.tree_sum(add_block_counts, parts)
    crossed = sum(result_of(size, picture.path) for size in sizes)
    return result_of(total, picture.path), crossed


def count_on_worker(picture: Picture, region: Region, *options: Any) -> BlockResult:
    """Count a block, on a worker; `options`: those of `count_region`."""
    return run_block(count_region, picture, region, *options)


def add_block_counts(parts: Sequence[BlockResult]) -> BlockResult:
    """Add the histograms of some blocks, and collect the notes on their devices."""
    return BlockResult(add_histograms([part.result for part in parts]), "", notes_of(parts))


def bytes_of(part: BlockResult) -> int:
    """The bytes of a block's histogram on the network."""
    return len(compressed_bytes(part.result))


def compute_on(workers: Workers, options: QuantizeOptions) -> Compute:
    """The device of each worker."""
    return Compute(device=workers.device, memory=options.compute.memory)


def identity_task(block_mapper: BlockMapper) -> BlockMapper:
    """Return the mapper: Dask broadcasts a task's result between workers and can recompute it."""
    return block_mapper


def remap_picture(
    workers: Workers,
    picture: Picture,
    output: str,
    block_mapper: BlockMapper,
    options: QuantizeOptions,
    progress: Progress,
) -> list[BlockResult]:
    """Let the workers map and write all blocks; the `MapStats` of each, or None."""
    submitted_mapper = workers.submit(identity_task, block_mapper)
    block_options = options.alpha, compute_on(workers, options)
    futures = [
        workers.submit(remap_on_worker, picture, output, region, submitted_mapper, *block_options)
        for region in regions(picture)
    ]
    track_progress(futures, "remap", progress)
    with cancel_on_error(workers, futures):
        return [result_of(future, picture.path) for future in futures]


def remap_on_worker(picture: Picture, output: str, region: Region, *options: Any) -> BlockResult:
    """Map and write a block, on a worker; a repeated task writes equal bytes."""
    return run_block(remap_region, picture, output, region, *options)


def remap_region(
    picture: Picture, output: str, region: Region, block_mapper: BlockMapper, *options: Any
) -> BlockResult:
    """Map and write a block; its `MapStats`, or None. `options`: those of `remap_block`."""
    done = remap_block(read_region(picture, region), block_mapper, (region[0], region[2]), *options)
    with name_worker_on_error():
        write_region(output, region, done.result.index)
    return done._replace(result=done.result.tally)


def traffic(histogram: CompressedHistogram, crossed: int, block_mapper: BlockMapper) -> str:
    """The bytes on the network, for people. `crossed`: those of all blocks' histograms."""
    return (
        f"histograms of the blocks {as_bytes(crossed)}, their sum "
        f"{as_bytes(len(compressed_bytes(histogram)))}, the table for each worker "
        f"{as_bytes(len(mapper_bytes(block_mapper)))}"
    )
