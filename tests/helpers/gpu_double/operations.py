"""How array functions run: NumPy does the work on device memory, in the order of a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpu_double import machine as machines
from gpu_double.streams import Span

if TYPE_CHECKING:
    from gpu_double.device_array import ndarray

SCALARS = bool, int, float, complex, np.generic
"""What CuPy takes by value."""


def device_array_type() -> type[ndarray]:
    """The class, whose module needs this one."""
    from gpu_double.device_array import ndarray

    return ndarray


def is_device(value: Any) -> bool:
    """Whether the value is an array of the stand-in."""
    return isinstance(value, device_array_type())


def operand(value: Any) -> Any:
    """The value, which must be a device array or a scalar."""
    if not is_device(value) and not isinstance(value, SCALARS):
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def device_array(value: Any, what: str = "a") -> Any:
    """The value, which must be a device array."""
    if not is_device(value):
        kind = type(value).__name__
        raise TypeError(f"Argument '{what}' has incorrect type (expected ndarray, got {kind})")
    return value


def bounds(values: NDArray[Any]) -> tuple[int, int]:
    """The addresses between which an array's elements lie."""
    low = high = values.ctypes.data
    if not values.size:
        return low, low
    for extent, stride in zip(values.shape, values.strides, strict=True):
        reach = (extent - 1) * stride
        low, high = low + min(reach, 0), high + max(reach, 0)
    return low, high + values.itemsize


def traffic(values: NDArray[Any]) -> int:
    """The bytes of an array; what broadcasting repeats counts once."""
    count = values.itemsize if values.size else 0
    for extent, stride in zip(values.shape, values.strides, strict=True):
        count *= extent if stride else 1
    return count


def arrays_in(operands: Any) -> Iterator[Any]:
    """The device arrays among nested operands."""
    if is_device(operands):
        yield operands
    elif isinstance(operands, (tuple, list)):
        for item in operands:
            yield from arrays_in(item)


def sources_of(operands: Any) -> list[Any]:
    """The device arrays that an operation reads; all must be on the current device."""
    sources = list(arrays_in(operands))
    for array in sources:
        check_device(array)
    return sources


def check_device(array: Any) -> None:
    """Refuse an array of another device, as CuPy does where devices cannot reach each other."""
    here, there = machines.current().device_id, array._memory.device_id
    if here != there:
        raise ValueError(
            f"The device where the array resides ({there}) is different from the current device "
            f"({here}). Peer access is unavailable between these devices."
        )


def replaced(operands: Any, change: Callable[[Any], Any]) -> Any:
    """The operands with every device array changed into something else."""
    if is_device(operands):
        return change(operands)
    if isinstance(operands, (tuple, list)):
        return type(operands)(replaced(item, change) for item in operands)
    if isinstance(operands, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return operands


def values_of(array: Any) -> NDArray[Any]:
    """NumPy's view of a device array."""
    values: NDArray[Any] = array._values
    return values


def placeholder(array: Any) -> NDArray[Any]:
    """Zeros of the array's shape and type, to find out a result's shape and type with."""
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)


def span(array: Any, write: bool) -> Span:
    """What an operation touches, for the hazard check."""
    return (array._memory.block.accesses, *bounds(array._values), write)


def many(results: Any) -> list[Any]:
    """One result or several, as a list."""
    return list(results) if isinstance(results, (tuple, list)) else [results]


def call(function: Callable[..., Any], operands: Any) -> Any:
    """Compute without warnings: a GPU gives none."""
    with np.errstate(all="ignore"):
        return function(*operands)


@machines.locked
def compute(
    name: str,
    function: Callable[..., Any],
    *operands: Any,
    waits: bool = False,
    scratch: int = 0,
) -> Any:
    """``function(*operands)`` in new device arrays.

    With `waits` CuPy needs a result on the host to know how large another is: that synchronizes.
    `scratch` are bytes of device memory that CuPy uses meanwhile.
    """
    machine = machines.current()
    stream = machine.stream
    views = replaced(operands, values_of)
    sources = sources_of(operands)
    if waits:
        stream.synchronize(name)
    stream.begin([span(array, write=False) for array in sources])
    late = stream.late and not waits
    if not late:
        stream.finish()
    results = call(function, replaced(operands, placeholder) if late else views)
    arrays = [device_array_type()(np.shape(r), np.asarray(r).dtype) for r in many(results)]
    borrow(scratch)
    targets = [array._values for array in arrays]
    if late:
        stream.submit(lambda: store(call(function, views), targets))
    else:
        store(results, targets)
    stream.touch([span(array, write=True) for array in arrays])
    read = sum(traffic(array._values) for array in sources)
    machine.launched(name, read, sum(array.nbytes for array in arrays))
    return tuple(arrays) if isinstance(results, (tuple, list)) else arrays[0]


def borrow(scratch: int) -> None:
    """Count memory that is given back before the function returns."""
    machine = machines.current()
    if scratch:
        used = machine.pool.used
        machine.take(scratch)
        machine.pool.used = used


def store(results: Any, targets: list[NDArray[Any]]) -> None:
    """Copy results into device memory."""
    for target, result in zip(targets, many(results), strict=True):
        np.copyto(target, result, casting="unsafe")


@machines.locked
def update(name: str, function: Callable[..., Any], target: Any, *operands: Any) -> None:
    """``function(target, *operands)``, which writes to the target's NumPy view."""
    machine = machines.current()
    stream = machine.stream
    arguments = target._values, *replaced(operands, values_of)
    sources = sources_of(operands)
    check_device(target)
    stream.begin([*(span(array, write=False) for array in sources), span(target, write=True)])
    stream.submit(lambda: call(function, arguments))
    read = sum(traffic(array._values) for array in sources)
    machine.launched(name, read, traffic(target._values))


@machines.locked
def into(
    out: Any, name: str, function: Callable[..., Any], *operands: Any, casting: Any = "same_kind"
) -> Any:
    """A result in a new array, or written to `out` by CuPy's rules for it."""
    if out is None:
        return compute(name, function, *operands)
    if not is_device(out):
        raise TypeError("Output arguments type must be cupy.ndarray")
    stream = machines.current().stream
    if not stream.late:
        stream.finish()
    sample = call(function, replaced(operands, placeholder if stream.late else values_of))
    check_out(np.asarray(sample), out, casting)

    def write(target: Any, *views: Any) -> None:
        np.copyto(target, function(*views) if stream.late else sample, casting="unsafe")

    update(name, write, out, *operands)
    return out


def check_out(result: NDArray[Any], out: Any, casting: Any) -> None:
    """CuPy's rules for `out`."""
    if result.shape != out.shape:
        raise ValueError("Out shape is mismatched")
    if not np.can_cast(result.dtype, out.dtype, casting):
        raise TypeError(
            f"Cannot cast output operand from {result.dtype!r} to {out.dtype!r} "
            f"with casting rule {casting!r}"
        )
