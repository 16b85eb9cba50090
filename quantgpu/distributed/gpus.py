"""Several GPUs of one machine: which are meant, and what ties a process to each."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from quantgpu.arrays.device import SEVERAL, gpu_count
from quantgpu.batch.jobs import MOST_JOBS
from quantgpu.errors import DeviceError, UsageError

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The GPUs that CUDA shows to a process, which numbers them from 0 on."""


def is_several(device: str) -> bool:
    """Whether a device is several GPUs: ``gpu:0,1`` or ``gpu:all``."""
    return re.fullmatch(SEVERAL, device) is not None


def first_of(device: str) -> str:
    """The device, or the first of several GPUs.

    >>> first_of("gpu:2,0"), first_of("gpu:all"), first_of("auto")
    ('gpu:2', 'gpu:0', 'auto')
    """
    if not is_several(device):
        return device
    return "gpu:0" if device == "gpu:all" else device.split(",")[0]


def numbers_of(device: str) -> list[int]:
    """The GPUs that ``gpu:0,1`` or ``gpu:all`` ask for, in this order.

    Raises:
        UsageError: One is named twice.
        DeviceError: One is not there, or none is.
    """
    named = [] if device == "gpu:all" else [int(number) for number in device[4:].split(",")]
    for number in named:
        if named.count(number) > 1:
            raise UsageError(f"device = {device!r} names gpu:{number} twice; name each once")
    try:
        count = gpu_count()
    except DeviceError as error:
        raise DeviceError(f"device = {device!r}: {error}; or use --device cpu") from None
    for number in named:
        if number >= count:
            raise DeviceError(
                f"device = {device!r}: there is no gpu:{number}; this machine has {count} CUDA "
                "device(s); use --device gpu:all for all of them"
            )
    return named or list(range(count))


def at_once(gpus: int, jobs: int | None, processors: int) -> int:
    """Pictures that the process of each GPU has at work: one is there while others are read and
    written.

    Args:
        gpus: How many there are.
        jobs: Pictures at work in all; up to `MOST_JOBS` for each GPU, one for each processor, when
            not given.
        processors: That may be used.

    >>> at_once(2, None, 16), at_once(2, None, 6), at_once(4, 8, 16), at_once(4, None, 2)
    (4, 3, 2, 1)
    """
    wanted = min(MOST_JOBS * gpus, processors) if jobs is None else jobs
    return max(wanted // gpus, 1)


def surroundings(numbers: Sequence[int], outer: Mapping[str, str] = os.environ) -> list[str]:
    """For each of some GPUs, the `VISIBLE` of a process that is to see it alone.

    >>> surroundings([0, 1], {}), surroundings([0, 1], {VISIBLE: "5,GPU-8932f937"})
    (['0', '1'], ['5', 'GPU-8932f937'])
    """
    shown = outer.get(VISIBLE)
    if shown is None:
        return [str(number) for number in numbers]
    names = [name.strip() for name in shown.split(",")]
    return [names[number] for number in numbers]
