"""The option `--scheduler` of several commands."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quantgpu.cli.console import Output, fail, say
from quantgpu.cli.run import tell_of
from quantgpu.errors import QuantgpuError, UsageError

if TYPE_CHECKING:
    from quantgpu.batch.destination import Destination
    from quantgpu.distributed.workers import Workers
    from quantgpu.io.decode import ReadOptions
    from quantgpu.options import QuantizeOptions


@contextlib.contextmanager
def workers_for(
    scheduler: str | None,
    names: Sequence[str | None],
    device: str = "auto",
    inputs: Sequence[str] = (),
    is_divided: Callable[[Sequence[str]], bool] = lambda inputs: False,
    quiet: bool = True,
    jobs: int | None = None,
) -> Iterator[Workers | None]:
    """The workers that a command asks for, by its scheduler or by several GPUs; or None.

    Args:
        scheduler: The option, None if it is not given.
        names: Of files, which the workers read and write.
        device: The option.
        inputs: What is done by several GPUs.
        is_divided: Whether inputs are done in parts, so that there are enough for all GPUs.
        quiet: Whether nothing is said of GPUs for which there is nothing to do.
        jobs: Pictures at work at once on all GPUs, if they are given.
    """
    numbers = gpus_for(scheduler, device)
    if numbers and not is_divided(inputs):
        numbers = busy_among(numbers, len(inputs), quiet)
    if scheduler is None and len(numbers) < 2:
        yield None
        return
    from quantgpu.distributed.files import check_names
    from quantgpu.distributed.workers import connect_workers, start_gpu_workers

    check_names(names, "--scheduler" if scheduler is not None else f"--device {device}")
    with (
        start_gpu_workers(device, numbers, jobs)
        if scheduler is None
        else connect_workers(scheduler, device=device)
    ) as crew:
        yield crew


def gpus_for(scheduler: str | None, device: str) -> Sequence[int]:
    """The GPUs that are named, if they are several; else none."""
    from quantgpu.distributed.gpus import is_several, numbers_of

    if not is_several(device):
        return []
    if scheduler is not None:
        raise UsageError(
            f"--device {device} is about the GPUs of this machine; with --scheduler each worker "
            "has its own: use --device gpu, or auto"
        )
    return numbers_of(device)


def busy_among(numbers: Sequence[int], pictures: int, quiet: bool) -> Sequence[int]:
    """Those of some GPUs that there is a picture for; the others are told."""
    used = numbers[: max(pictures, 1)]
    if len(used) < len(numbers) and not quiet:
        idle = ", ".join(f"gpu:{number}" for number in numbers[len(used) :])
        say(f"quantgpu: warning: nothing to do for {idle}: a GPU does a picture alone", err=True)
    return used


def in_blocks(inputs: Sequence[str]) -> bool:
    """Whether there is one input, which a cluster reads and writes block by block."""
    from quantgpu.distributed.stores import is_blockwise

    return len(inputs) == 1 and is_blockwise(inputs[0])


def counted_in_blocks(inputs: Sequence[str]) -> bool:
    """Whether there is an input that a cluster counts block by block."""
    from quantgpu.distributed.stores import is_zarr

    return any(map(is_zarr, inputs))


def convert_store(
    crew: Workers,
    name: str,
    destination: Destination,
    ks: Sequence[int | None],
    options: QuantizeOptions,
    read: ReadOptions,
    shown: Output,
    others: Sequence[str | None] = (),
) -> None:
    """Reduce a picture block by block, and say what was done."""
    from quantgpu.distributed.stored_image import quantize_store

    try:
        check_for_blocks(name, destination, ks, read, others)
        output = destination.output
        assert output is not None
        report, crossed = quantize_store(
            crew, name, output, ks[0], replace(options, alpha=read.alpha),
            force=destination.force, display=shown.display, measured=shown.verbose,
        )  # fmt: skip
    except QuantgpuError as error:
        fail(error)
    tell_of(report, set(), shown)
    if shown.verbose:
        say(f"quantgpu: over the network: {crossed}", err=True)


def refuse_for_blocks(**options: Any) -> None:
    """End with a UsageError for options of the command that pictures in blocks do not honor."""
    for name, value in options.items():
        if value:
            option = name.replace("_", "-")
            fail(UsageError(f"--{option} is not for pictures in blocks"))


def check_for_blocks(
    name: str,
    destination: Destination,
    ks: Sequence[int | None],
    read: ReadOptions,
    others: Sequence[str | None],
) -> None:
    """Raise a UsageError for options that pictures in blocks do not honor."""
    from quantgpu.io.originals import check_not_read
    from quantgpu.options import refuse_others

    reason = "is not for pictures in blocks"
    refuse_others(destination, ["output", "output_dir", "force"], reason)
    refuse_others(read, ["alpha", "threads"], reason)
    if len(ks) > 1 or destination.output is None:
        raise UsageError(f"{name} is read in blocks; name one K, and -o FILE.zarr or -o FILE.tif")
    check_not_read(destination.output, [name, *others])
