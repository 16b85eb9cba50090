"""Workers for commands, by the option `--scheduler` or by several GPUs of `--device`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quantgpu.cli.console import Output, fail, say
from quantgpu.cli.run import print_report
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
    """Connect to the workers of a scheduler, or start one for each of several GPUs; else None.

    Args:
        scheduler: The option, None if it is not given.
        names: The names of files that the workers read and write.
        device: The option.
        inputs: The inputs that several GPUs share.
        is_divided: Whether inputs are processed in blocks, which are enough for all GPUs.
        quiet: Whether to print no warning for GPUs without work.
        jobs: Pictures at work at once on all GPUs; None for the default.
    """
    numbers = gpus_for(scheduler, device)
    if numbers and not is_divided(inputs):
        numbers = used_gpus(numbers, len(inputs), quiet)
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
    ) as workers:
        yield workers


def gpus_for(scheduler: str | None, device: str) -> Sequence[int]:
    """The numbers of the GPUs that `device` names, if several; else none."""
    from quantgpu.distributed.gpus import is_several, numbers_of

    if not is_several(device):
        return []
    if scheduler is not None:
        raise UsageError(
            f"--device {device} is about the GPUs of this machine; with --scheduler each worker "
            "has its own: use --device gpu, or auto"
        )
    return numbers_of(device)


def used_gpus(numbers: Sequence[int], pictures: int, quiet: bool) -> Sequence[int]:
    """The GPUs that have a picture to process; others are named in a warning."""
    used = numbers[: max(pictures, 1)]
    if len(used) < len(numbers) and not quiet:
        idle = ", ".join(f"gpu:{number}" for number in numbers[len(used) :])
        say(f"quantgpu: warning: nothing to do for {idle}: a GPU does a picture alone", err=True)
    return used


def is_converted_blockwise(inputs: Sequence[str]) -> bool:
    """Whether there is one input, which workers read and write block by block."""
    from quantgpu.distributed.stores import is_blockwise

    return len(inputs) == 1 and is_blockwise(inputs[0])


def is_counted_blockwise(inputs: Sequence[str]) -> bool:
    """Whether there is an input that workers count block by block."""
    from quantgpu.distributed.stores import is_zarr

    return any(map(is_zarr, inputs))


def convert_store(
    workers: Workers,
    name: str,
    destination: Destination,
    ks: Sequence[int | None],
    options: QuantizeOptions,
    read: ReadOptions,
    shown: Output,
    others: Sequence[str | None] = (),
) -> None:
    """Quantize a stored picture block by block, and print the report."""
    from quantgpu.distributed.stored_image import quantize_store

    try:
        check_for_blocks(name, destination, ks, read, others)
        output = destination.output
        assert output is not None
        report, crossed = quantize_store(
            workers, name, output, ks[0], replace(options, alpha=read.alpha),
            force=destination.force, display=shown.display, measured=shown.verbose,
        )  # fmt: skip
    except QuantgpuError as error:
        fail(error)
    print_report(report, set(), shown)
    if shown.verbose:
        say(f"quantgpu: over the network: {crossed}", err=True)


def refuse_for_blocks(**options: Any) -> None:
    """End the program with a UsageError for given options that pictures in blocks ignore."""
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
    """Raise a UsageError for options that pictures in blocks ignore."""
    from quantgpu.io.originals import check_not_read
    from quantgpu.options import refuse_others

    reason = "is not for pictures in blocks"
    refuse_others(destination, ["output", "output_dir", "force"], reason)
    refuse_others(read, ["alpha", "threads"], reason)
    if len(ks) > 1 or destination.output is None:
        raise UsageError(f"{name} is read in blocks; name one K, and -o FILE.zarr or -o FILE.tif")
    check_not_read(destination.output, [name, *others])
