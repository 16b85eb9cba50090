"""Several GPUs of one machine: their numbers in options, and the environment of their processes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from quantgpu.arrays.device import SEVERAL_GPUS, gpu_count
from quantgpu.batch.jobs import MOST_JOBS
from quantgpu.errors import DeviceError, UsageError

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable with the GPUs that CUDA shows to a process, under numbers from 0 on."""


def is_several(device: str) -> bool:
    """Whether a device option names several GPUs: ``gpu:0,1`` or ``gpu:all``."""
    return re.fullmatch(SEVERAL_GPUS, device) is not None


def first_of(device: str) -> str:
    """The device, or the first of several GPUs.

    >>> first_of("gpu:2,0"), first_of("gpu:all"), first_of("auto")
    ('gpu:2', 'gpu:0', 'auto')
    """
    if not is_several(device):
        return device
    return "gpu:0" if device == "gpu:all" else device.split(",")[0]


def numbers_of(device: str) -> list[int]:
    """The numbers of the GPUs in ``gpu:0,1`` or ``gpu:all``, in the option's order.

    Raises:
        UsageError: A GPU is named twice.
        DeviceError: A GPU does not exist, or CUDA cannot be used.
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


def tasks_per_gpu(gpus: int, jobs: int | None, processors: int) -> int:
    """The number of simultaneous pictures in each GPU's process, at least 1.

    One picture is on the GPU while others are read and written.

    Args:
        gpus: The number of GPUs.
        jobs: Pictures at work in all; when None, one for each processor, but at most `MOST_JOBS`
            for each GPU.
        processors: The number of processors to use.

    >>> tasks_per_gpu(2, None, 16), tasks_per_gpu(2, None, 6)
    (4, 3)
    >>> tasks_per_gpu(4, 8, 16), tasks_per_gpu(4, None, 2)
    (2, 1)
    """
    wanted = min(MOST_JOBS * gpus, processors) if jobs is None else jobs
    return max(wanted // gpus, 1)


def visible_devices(numbers: Sequence[int], outer: Mapping[str, str] = os.environ) -> list[str]:
    """For each GPU, the value of `VISIBLE` for a process that sees only this GPU.

    Args:
        numbers: The GPUs, as this process numbers them.
        outer: The environment of this process.

    >>> visible_devices([0, 1], {}), visible_devices([0, 1], {VISIBLE: "5,GPU-8932f937"})
    (['0', '1'], ['5', 'GPU-8932f937'])
    """
    shown = outer.get(VISIBLE)
    if shown is None:
        return [str(number) for number in numbers]
    names = [name.strip() for name in shown.split(",")]
    return [names[number] for number in numbers]
