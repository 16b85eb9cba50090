"""Options that several commands share, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import typer

from quantgpu.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., None])


def described_as(other: Callable[..., None]) -> Callable[[Command], Command]:
    """Parameters that have no description take that of `other`'s parameter of the same name."""
    known = hints_of(other)

    def describe(command: Command) -> Command:
        command.__annotations__ = {
            name: hint if get_origin(hint) is Annotated else known.get(name, hint)
            for name, hint in hints_of(command).items()
        }
        return command

    return describe


def hints_of(function: Callable[..., None]) -> dict[str, Any]:
    """The types of parameters with their descriptions; Python 3.10 hides some in an Optional."""
    hints = get_type_hints(function, include_extras=True)
    return {
        name: next((part for part in get_args(hint) if get_origin(part) is Annotated), hint)
        for name, hint in hints.items()
    }


Images = Annotated[
    list[str] | None,
    typer.Argument(metavar="[INPUT]...", help="Images; - is standard input.", show_default=False),
]
"""Inputs of commands that do without where there are histogram files."""


Histograms = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="Add the colors of this file of `quantgpu count`; can be repeated.",
        show_default=False,
    ),
]


class Place(NamedTuple):
    """Where images are counted."""

    scheduler: str | None
    device: str
    memory: int | None
    """Bytes of device memory to use; most of what is free when None."""
    quiet: bool

    @property
    def first(self) -> str:
        """The device, or the first of several GPUs."""
        from quantgpu.distributed.gpus import first_of

        return first_of(self.device)


def given(*names: str | None) -> list[str]:
    """The names that are not None."""
    return [name for name in names if name is not None]


def opening_options(
    max_pixels: int, alpha: str, matte: str | None, icc: str, threads: int | None
) -> dict[str, Any]:
    """The options of `read_image`; raises for what is wrong with them."""
    from quantgpu.color.alpha import ALPHAS
    from quantgpu.errors import check_choice
    from quantgpu.io.icc import ICCS
    from quantgpu.io.inputs import parse_color

    check_choice("alpha", alpha, ALPHAS)
    check_choice("icc", icc, ICCS)
    color = None if matte is None else parse_color(matte, "matte")
    options = {"alpha": alpha, "matte": color, "icc": icc}
    return {"max_pixels": max_pixels, "threads": threads, **options}


Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|local[:N]",
        help="Do the work on a Dask cluster: tcp://HOST:PORT, or local:N with N workers on this "
        "machine. The result does not depend on it.",
        show_default=False,
    ),
]


def parse_ks(text: str) -> list[int]:
    """One or several K, with commas between them.

    >>> parse_ks("16"), parse_ks("4,16, 64")
    ([16], [4, 16, 64])

    Raises:
        UsageError: One is no integer.
    """
    if not re.fullmatch(r"\s*[+-]?[0-9]+\s*(,\s*[+-]?[0-9]+\s*)*", text):
        raise UsageError(f"k = {text!r} is not an integer, nor several, such as 4,16,64")
    return [int(part) for part in text.split(",")]
