"""Errors, each with the exit code of the command line."""

import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


class QuantgpuError(Exception):
    """An error that the user can mend; the message says what was wrong and what to do."""

    exit_code = 1


class UsageError(QuantgpuError, ValueError):
    """The value of an option or argument is not allowed."""

    exit_code = 2


class InputError(QuantgpuError):
    """An image cannot be read."""

    exit_code = 3


class ChangedError(InputError):
    """An image changed after it was read for the first time."""


class OutputError(QuantgpuError):
    """A result cannot be written."""

    exit_code = 4


class PartialError(QuantgpuError):
    """Some of several inputs failed."""

    exit_code = 5


class DeviceError(QuantgpuError):
    """The GPU that was asked for cannot be used."""

    exit_code = 6


class QualityError(QuantgpuError):
    """A result is not as good as was asked for."""

    exit_code = 7


class DamagedError(QuantgpuError):
    """A clip is damaged; the frames before the damage were written."""

    exit_code = 9


class ClusterError(QuantgpuError):
    """The cluster that was asked for cannot be used."""

    exit_code = 10


class DeviceMemoryError(DeviceError):
    """A GPU has no memory left."""


SKIPPED = 8
"""The exit code when nothing was written for an input, as it would be larger."""

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


OnError = Callable[[QuantgpuError], object]
"""Called with the error of one of several inputs, so that the others go on."""


@contextmanager
def report_errors(on_error: OnError | None) -> Iterator[None]:
    """Pass an error inside to `on_error`, a MemoryError as a QuantgpuError; None raises errors."""
    try:
        yield
    except (QuantgpuError, MemoryError) as error:
        if on_error is None:
            raise
        if isinstance(error, MemoryError):
            error = QuantgpuError("not enough memory; try a smaller picture or fewer threads")
        on_error(error)


def check_number(name: str, value: int, low: int, high: int) -> None:
    """Raise a UsageError unless `value` is an integer in ``low … high``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{name} = {value!r} is not an integer") from None
    if not low <= number <= high:
        raise UsageError(f"{name} = {number} is outside {low}..{high}")


def check_choice(name: str, key: str, table: Mapping[str, object]) -> None:
    """Raise a UsageError unless a table has a row named `key`."""
    if key not in list(table):
        raise UsageError(f"{name} = {key!r} is not one of {', '.join(table)}")
