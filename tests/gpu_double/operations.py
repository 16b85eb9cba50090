"""How array functions run: NumPy does the work on device memory, in the order of a stream."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpu_double import machine as machines
from gpu_double.streams import Span

if TYPE_CHECKING:
    from gpu_double.device_array import ndarray

SCALARS = bool, int, float, complex, np.generic


def device_array_type() -> type[ndarray]:
    """The class, which needs this module itself."""
    from gpu_double.device_array import ndarray

    return ndarray


def is_device(value: Any) -> bool:
    """Whether the value is an array of the stand-in."""
    return isinstance(value, device_array_type())


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
        for operand in operands:
            yield from arrays_in(operand)


def replace(operands: Any, change: Callable[[Any], Any]) -> Any:
    """The operands with every device array changed into something else."""
    if is_device(operands):
        return change(operands)
    if isinstance(operands, slice):
        if any(is_device(x) for x in (operands.start, operands.stop, operands.step)):
            raise TypeError("slice indices must be integers or None; this is a cupy.ndarray")
        return operands
    if isinstance(operands, (tuple, list)):
        return type(operands)(replace(operand, change) for operand in operands)
    if isinstance(operands, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return operands


def span(array: Any, write: bool) -> Span:
    """What an operation touches, for the hazard check."""
    return (array._memory.block.accesses, *bounds(array._values), write)


def zeros_like(array: Any) -> NDArray[Any]:
    """Something of the array's shape and type to find a result's shape and type with."""
    values = array._values
    return np.broadcast_to(np.zeros((), values.dtype), values.shape)


def compute(name: str, function: Callable[..., Any], *operands: Any, waits: bool = False) -> Any:
    """``function(*operands)`` in new device arrays.

    With `waits` CuPy needs a result on the host to know how large another is: that synchronizes.
    """
    machine = machines.current()
    stream = machine.stream
    views = replace(operands, lambda array: array._values)
    sources = list(arrays_in(operands))
    if waits:
        stream.synchronize(name)
    stream.begin([span(array, write=False) for array in sources])
    late = stream.late and not waits
    if not late:
        stream.finish()
    with np.errstate(all="ignore") if late else contextlib.nullcontext():
        results = function(*(replace(operands, zeros_like) if late else views))
    several = isinstance(results, (tuple, list))
    each = [np.asarray(r) for r in (results if several else [results])]
    arrays = [device_array_type()(r.shape, r.dtype) for r in each]
    if late:
        targets = [array._values for array in arrays]
        stream.submit(lambda: store(function(*views), targets))
    else:
        store(each, [array._values for array in arrays])
    stream_spans(stream, arrays)
    read = sum(traffic(array._values) for array in sources)
    machine.launched(name, read, sum(array.nbytes for array in arrays))
    return tuple(arrays) if several else arrays[0]


def stream_spans(stream: Any, arrays: Sequence[Any]) -> None:
    """Note that new arrays are written by the work just begun."""
    stream.touch([span(array, write=True) for array in arrays])


def store(results: Any, targets: Sequence[NDArray[Any]]) -> None:
    """Copy results into device memory."""
    several = isinstance(results, (tuple, list))
    for target, result in zip(targets, results if several else [results], strict=True):
        np.copyto(target, result, casting="unsafe")


def update(name: str, function: Callable[..., Any], target: Any, *operands: Any) -> None:
    """``function(target, *operands)``, which writes to the target's NumPy view."""
    machine = machines.current()
    stream = machine.stream
    views = replace(operands, lambda array: array._values)
    sources = list(arrays_in(operands))
    reads = [span(array, write=False) for array in sources]
    stream.begin([*reads, span(target, write=True)])
    values = target._values
    stream.submit(lambda: function(values, *views))
    read = sum(traffic(array._values) for array in sources)
    machine.launched(name, read, traffic(values))
