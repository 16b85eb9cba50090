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
    Done,
    Parcel,
    Recipe,
    added,
    check_blockwise,
    parcel_bytes,
    recipe_bytes,
    recipe_for,
    remap_block,
    tally_in_all,
)
from quantgpu.distributed.files import ended, following, renamed, result_of, telling_worker
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
from quantgpu.distributed.workers import Crew, done_there
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
    crew: Crew,
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
            histogram: Parcel = counted.result
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
                recipe = recipe_for(histogram, shared, mapping)
                mapped = remapped_in(crew, picture, there, recipe, options, progress)
            seconds["remap"] = lap()
    except QuantgpuError as error:
        raise renamed(error, names) from None
    tally = tally_in_all(histogram, shared, [done.result for done in mapped])
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


def devices_of(parts: Sequence[Done]) -> str:
    """The devices that blocks were done on, for people."""
    devices = sorted({part.device for part in parts})
    if len(devices) <= MOST_NAMED:
        return ", ".join(devices)
    gpus = [device for device in devices if device != "cpu"]
    return f"{len(gpus)} GPUs" + ", cpu" * (len(gpus) < len(devices))


def notes_of(parts: Sequence[Done]) -> list[str]:
    """What is to be said of the devices that blocks were done on, once."""
    return list(dict.fromkeys(note for part in parts for note in part.notes))


def counted_in(
    crew: Crew, picture: Picture, options: QuantizeOptions, progress: Progress, measured: bool
) -> tuple[Done, int]:
    """The histogram of a picture; and if `measured`, the bytes of those of all blocks, else 0."""
    how = options.palette.weighs_pixels, options.alpha, compute_on(crew, options)
    parts = [crew.submit(count_there, picture, region, *how) for region in regions(picture)]
    following(parts, "count", progress)
    sizes = [crew.submit(bytes_of, part, priority=1) for part in parts] if measured else []
    total = crew.summed(added_there, parts)
    crossed = sum(result_of(size, picture.path) for size in sizes)
    return result_of(total, picture.path), crossed


def count_there(picture: Picture, region: Region, *how: Any) -> Done:
    """`count_region`, on a worker."""
    return done_there(count_region, picture, region, *how)


def added_there(parts: Sequence[Done]) -> Done:
    """The sum of the histograms of some blocks, and what is to be said of their devices."""
    return Done(added([part.result for part in parts]), "", notes_of(parts))


def bytes_of(part: Done) -> int:
    """What crosses the network for a histogram."""
    return len(parcel_bytes(part.result))


def compute_on(crew: Crew, options: QuantizeOptions) -> Compute:
    """Where a worker does its part."""
    return Compute(device=crew.device, memory=options.compute.memory)


def itself(recipe: Recipe) -> Recipe:
    """The recipe, as the result of a task: workers pass it on, and can have it again."""
    return recipe


def remapped_in(
    crew: Crew,
    picture: Picture,
    output: str,
    recipe: Recipe,
    options: QuantizeOptions,
    progress: Progress,
) -> list[Done]:
    """Let the workers write all blocks; what each adds up to, a `Tally` or None."""
    carried = crew.submit(itself, recipe)
    how = options.alpha, compute_on(crew, options)
    futures = [
        crew.submit(remap_there, picture, output, region, carried, *how)
        for region in regions(picture)
    ]
    following(futures, "remap", progress)
    with ended(crew, futures):
        return [result_of(future, picture.path) for future in futures]


def remap_there(picture: Picture, output: str, region: Region, *how: Any) -> Done:
    """Remap a block and write it, on a worker; again if need be, with the same bytes."""
    return done_there(remap_region, picture, output, region, *how)


def remap_region(picture: Picture, output: str, region: Region, recipe: Recipe, *how: Any) -> Done:
    """Remap a block and write it; what it adds up to, a `Tally` or None."""
    done = remap_block(read_region(picture, region), recipe, (region[0], region[2]), *how)
    with telling_worker():
        write_region(output, region, done.result.index)
    return done._replace(result=done.result.tally)


def traffic(histogram: Parcel, crossed: int, recipe: Recipe) -> str:
    """What crossed the network, for people."""
    return (
        f"histograms of the blocks {as_bytes(crossed)}, their sum "
        f"{as_bytes(len(parcel_bytes(histogram)))}, the table for each worker "
        f"{as_bytes(len(recipe_bytes(recipe)))}"
    )
