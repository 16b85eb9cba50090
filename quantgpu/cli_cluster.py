"""The option `--scheduler` of several commands."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantgpu.console import fail, say, tell_of
from quantgpu.errors import QuantgpuError, UsageError

if TYPE_CHECKING:
    from quantgpu.crew import Crew
    from quantgpu.files import Destination

Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|local[:N]",
        help="Do the work on a Dask cluster: tcp://HOST:PORT, or local:N with N workers on this "
        "machine. The result does not depend on it.",
        show_default=False,
    ),
]


@contextlib.contextmanager
def crew_for(scheduler: str | None, names: Sequence[str | None]) -> Iterator[Crew | None]:
    """The workers that a command asks for, which read and write these files; or None."""
    if scheduler is None:
        yield None
        return
    from quantgpu.crew import crew_of
    from quantgpu.crew_files import check_names

    check_names(names)
    with crew_of(scheduler) as crew:
        yield crew


def in_blocks(inputs: Sequence[str]) -> bool:
    """Whether there is one input, which a cluster reads block by block."""
    from quantgpu.stores import is_blockwise

    return len(inputs) == 1 and is_blockwise(inputs[0])


def convert_store(
    crew: Crew,
    name: str,
    destination: Destination,
    ks: Sequence[int | None],
    options: dict[str, Any],
    opening: dict[str, Any],
    quiet: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Reduce a picture block by block, and say what was done."""
    from quantgpu.crew_store import Way, quantize_store

    try:
        if len(ks) > 1 or destination.output is None:
            raise UsageError(
                f"{name} is read in blocks; name one K, and -o FILE.zarr or -o FILE.tif"
            )
        if os.path.realpath(destination.output) == os.path.realpath(name):
            raise UsageError(f"{name} is an input; originals are never replaced")
        way = Way(ks[0], options, opening["alpha"], opening["matte"])
        shown = not (quiet or as_json)
        report, crossed = quantize_store(
            crew, name, destination.output, way, destination.force, shown, verbose
        )
    except QuantgpuError as error:
        fail(error)
    tell_of(report, set(), quiet, as_json)
    if verbose:
        say(f"quantgpu: over the network: {crossed}", err=True)
