"""The workers of a Dask cluster, which are asked whether they can do the work.

Scheduling, transport and retries are Dask's: what a worker did that died is done by another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from quantgpu.distributed.blocks import FAN_IN, BlockResult
from quantgpu.distributed.gpus import VISIBLE, at_once, first_of, surroundings
from quantgpu.errors import ClusterError, DeviceError, UsageError
from quantgpu.execution.selection import choose_device
from quantgpu.threads import default_threads
from quantgpu.version import __version__

INSTALL = "pip install 'quantgpu[cluster]'"
"""What to type when Dask is missing."""

PATIENCE = 10
"""Seconds in which a scheduler has to answer, and to have a worker."""

HERE = "127.0.0.1"
"""Where the processes of a local cluster are reached."""

SURROUNDINGS = {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1}
"""Environment of the processes of a local cluster: Dask's own, without MALLOC_TRIM_THRESHOLD_, by
which every larger array goes back to the system, where 96 megapixels took 12 s instead of 1.8."""

SHORTLY = 3
"""Seconds after which a worker of this machine that does not answer is taken for dead."""

TIMEOUTS = TimeoutError, asyncio.TimeoutError
"""These are two in Python 3.10."""

LOUDEST = 50
"""The level of what a local cluster and a client log: nothing but what ends it, as the rest is told
by errors."""

NEEDED = "quantgpu", "dask", "distributed", "tifffile", "zarr"
"""What a worker has to be able to import."""


class Workers(NamedTuple):
    """Workers that were asked."""

    client: Any
    """`distributed.Client`."""
    threads: int
    """For each task, so that those at work at once share the processors of a machine."""
    workers: int
    """How many there are."""
    device: str
    """Where each does its work, as `choose_device` takes it."""
    here: str
    """Where the command does what it does itself."""

    def submit(self, function: Callable[..., Any], *arguments: Any, priority: int = 0) -> Any:
        """A future of a function of the package, done by a worker that is asked again: it may have
        come since the others were.

        Those of a higher priority are done first, as soon as they can be.
        """
        key = f"{function.__name__}-{uuid4().hex}"
        return self.client.submit(
            run_checked, __version__, NEEDED, function, *arguments, key=key, pure=False,
            priority=priority,
        )  # fmt: skip

    def summed(self, add: Callable[[Sequence[Any]], Any], parts: list[Any]) -> Any:
        """A future of the sum of some futures, added a few at a time as soon as they are there, so
        that workers do not have to keep them all; the list is emptied."""
        level = 0
        while len(parts) > 1:
            level += 1
            groups = [parts[at : at + FAN_IN] for at in range(0, len(parts), FAN_IN)]
            parts[:] = [self.submit(add, group, priority=level) for group in groups]
        return parts.pop()


def run_checked(
    version: str, needed: Sequence[str], function: Callable[..., Any], *arguments: Any
) -> Any:
    """What a function gives on a worker, if that is one that can do the work of a version."""
    import distributed

    _, found, missing = self_description()(needed)
    check_worker(distributed.get_worker().address, found, missing, version)
    return function(*arguments)


def run_block(function: Callable[..., BlockResult], *arguments: Any) -> BlockResult:
    """What was done with a block on a worker, told so that the worker is named."""
    try:
        done = function(*arguments)
    except DeviceError as error:
        raise DeviceError(*name_notes([str(error)])) from None
    return BlockResult(done.result, name_device(done.device), name_notes(done.notes))


def worker_name(worker: Any = None) -> str:
    """What to call a worker, the one that does this task if none is given: by its GPU, if it is
    there for that alone."""
    import distributed

    worker = worker or distributed.get_worker()
    return str(worker.name) if str(worker.name).startswith("gpu:") else str(worker.address)


def name_device(device: str) -> str:
    """What to call a device of the worker that does this task."""
    name = worker_name()
    if device == "cpu":
        return device
    return name if name.startswith("gpu:") else f"{device} of {name}"


def name_notes(notes: Sequence[str]) -> list[str]:
    """Notes on a device of the worker that does this task; each is the same for all files."""
    name = worker_name()
    return [renumbered(note, name) or f"the worker {name}: {note}" for note in notes]


def renumbered(note: str, name: str) -> str:
    """What is said of the only GPU that a worker sees, by its number; empty if it sees others."""
    return note.replace("gpu:0", name) if name.startswith("gpu:") else ""


def check_scheduler(scheduler: str) -> int | None:
    """The workers that ``local`` or ``local:N`` asks for; None for the address of a scheduler.

    >>> check_scheduler("local:4"), check_scheduler("tcp://10.0.0.1:8786")
    (4, None)

    Raises:
        UsageError: It is neither.
    """
    found = re.fullmatch(r"local(?::(\d{1,4}))?", scheduler)
    if found and found[1] != "0":
        return default_threads() if found[1] is None else int(found[1])
    if found or not re.fullmatch(r"(tcp|tls|ucx)://\S+:\d{1,5}", scheduler):
        raise UsageError(
            f"scheduler = {scheduler!r} is not tcp://HOST:PORT, local, or local:N with N workers"
        )
    return None


@contextlib.contextmanager
def connect_workers(
    scheduler: str, patience: float = PATIENCE, device: str = "auto"
) -> Iterator[Workers]:
    """The workers of a scheduler, or of a local cluster that ends with the context.

    Args:
        scheduler: ``tcp://HOST:PORT``, ``local`` or ``local:N``.
        patience: Seconds to wait for a scheduler, and for its first worker.
        device: Where each worker does its work, as `choose_device` takes it.

    Raises:
        UsageError: It is none of these, or Dask is not installed.
        ClusterError: The scheduler does not answer or has no worker, or a worker cannot do the
            work: it lacks something, or has another version of quantgpu.
        DeviceError: A worker has not the GPU that is asked for.
    """
    workers = check_scheduler(scheduler)
    distributed = distributed_for("--scheduler")
    with contextlib.ExitStack() as stack:
        address: Any = scheduler
        if workers is not None:
            names: dict[int | str, dict[str, str] | None] = dict.fromkeys(range(workers))
            address = stack.enter_context(local_cluster(distributed, names))
        client = stack.enter_context(connected(distributed, address, patience))
        here = device if device == "cpu" else "auto"
        yield check_workers_ready(client, scheduler, patience, device, here)


@contextlib.contextmanager
def start_gpu_workers(
    device: str, numbers: Sequence[int], jobs: int | None = None
) -> Iterator[Workers]:
    """A process of this machine for each of some GPUs, which it sees alone; they end with the
    context.

    Args:
        device: What named the GPUs.
        numbers: Of them.
        jobs: Pictures at work in all, see `gpus.at_once`.

    Raises:
        UsageError: Dask is not installed.
        DeviceError: One of the GPUs cannot be used.
    """
    distributed = distributed_for(f"--device {device}")
    environments = zip(numbers, surroundings(numbers), strict=True)
    threads = at_once(len(numbers), jobs, default_threads())
    workers: dict[int | str, dict[str, str] | None]
    workers = {f"gpu:{number}": {VISIBLE: shown} for number, shown in environments}
    with (
        local_cluster(distributed, workers, threads) as cluster,
        connected(distributed, cluster, PATIENCE) as client,
    ):
        yield check_workers_ready(client, "local", PATIENCE, "gpu", first_of(device))


def distributed_for(option: str) -> Any:
    """Dask's scheduler and workers, for an option that takes them."""
    try:
        import distributed
    except ImportError as error:
        raise UsageError(f"{option} takes Dask ({error}): {INSTALL}") from None
    return distributed


@contextlib.contextmanager
def local_cluster(
    distributed: Any, workers: Mapping[int | str, dict[str, str] | None], threads: int = 1
) -> Iterator[Any]:
    """A scheduler and processes on this machine, on its loopback interface.

    Args:
        workers: For each process its name, and what is in its environment alone.
        threads: Tasks that each does at once.
    """
    import dask

    settings = {
        "distributed.comm.timeouts.connect": f"{SHORTLY}s",
        "distributed.nanny.pre-spawn-environ": SURROUNDINGS,
        "distributed.worker.profile.enabled": False,
    }
    common = {
        "nthreads": threads, "host": HERE, "dashboard": False, "silence_logs": LOUDEST,
        "memory_limit": distributed.system.MEMORY_LIMIT // len(workers),
    }  # fmt: skip
    with (
        dask.config.set(settings),
        distributed.SpecCluster(
            workers={
                name: {"cls": distributed.Nanny, "options": {**common, "env": environment}}
                for name, environment in workers.items()
            },
            scheduler={
                "cls": distributed.Scheduler,
                "options": {"host": HERE, "dashboard": False, "dashboard_address": f"{HERE}:0"},
            },
            silence_logs=LOUDEST,
        ) as cluster,
    ):  # fmt: skip
        yield cluster


@contextlib.contextmanager
def connected(distributed: Any, address: Any, patience: float) -> Iterator[Any]:
    """A client of a scheduler."""
    try:
        client = distributed.Client(address, timeout=patience, set_as_default=False)
    except (OSError, *TIMEOUTS) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ClusterError(
            f"no scheduler answers at {address} in {patience:g} s ({first}); check the address, "
            "that `dask scheduler` runs there, and that no firewall is between"
        ) from None
    logger = logging.getLogger("distributed.client")
    level = logger.level
    logger.setLevel(LOUDEST)
    try:
        with client:
            yield client
    finally:
        logger.setLevel(level)


def check_workers_ready(
    client: Any, scheduler: str, patience: float, device: str, here: str
) -> Workers:
    """The workers, all of which have what is needed, in this version, and the GPU that is named."""
    try:
        client.wait_for_workers(1, timeout=patience)
    except TIMEOUTS:
        raise ClusterError(
            f"the scheduler at {scheduler} has no workers after {patience:g} s; start one: "
            f"dask worker {scheduler}"
        ) from None
    answers = check_workers(client)
    if device.startswith("gpu"):
        for _, trouble in sorted(client.run(trouble_with, device).items()):
            if trouble:
                raise DeviceError(trouble)
    at_once: Counter[str] = Counter()
    processors: dict[str, int] = {}
    for worker, threads in client.nthreads().items():
        host = worker.rsplit(":", 1)[0]
        at_once[host] += threads
        processors[host] = answers[worker][0] if worker in answers else threads
    shares = [processors[host] // tasks for host, tasks in at_once.items()]
    return Workers(client, max(min(shares), 1), len(answers), device, here)


def check_workers(client: Any) -> dict[str, tuple[int, str | None, list[str]]]:
    """What all workers say of themselves, see `self_description`.

    Raises:
        ClusterError: One of them cannot do the work.
    """
    answers: dict[str, tuple[int, str | None, list[str]]]
    answers = client.run(self_description(), NEEDED)
    for worker, (_, version, missing) in sorted(answers.items()):
        check_worker(worker, version, missing, __version__)
    return answers


def trouble_with(device: str, dask_worker: Any) -> str:
    """Why a GPU of a worker cannot be used; empty if it can."""
    try:
        choose_device(device)
    except DeviceError as error:
        name, reason = worker_name(dask_worker), str(error)
        if renumbered(reason, name):
            return f"{name} cannot be used: {renumbered(reason, name)}; leave it out of --device"
        return f"the worker {name} cannot use --device {device}: {reason}; or use --device auto"
    return ""


def self_description() -> Callable[[Sequence[str]], tuple[int, str | None, list[str]]]:
    """A function that says of a worker how many processors it may use, its version of quantgpu, and
    what it cannot import; it is sent whole, as a worker without quantgpu has to run it, too."""

    def describe(needed: Sequence[str]) -> tuple[int, str | None, list[str]]:
        import importlib
        import os
        from importlib.util import find_spec

        missing = [name for name in needed if find_spec(name) is None]
        version = None
        if "quantgpu" in needed and "quantgpu" not in missing:
            version = importlib.import_module("quantgpu").__version__
        affinity = getattr(os, "sched_getaffinity", None)
        return len(affinity(0)) if affinity else os.cpu_count() or 1, version, missing

    return describe


def check_worker(worker: str, version: str | None, missing: Sequence[str], wanted: str) -> None:
    """Raise a ClusterError unless a worker can do the work of the version that is `wanted`."""
    if missing:
        raise ClusterError(f"the worker {worker} has no {', '.join(missing)}; there: {INSTALL}")
    if version != wanted:
        raise ClusterError(
            f"the worker {worker} has quantgpu {version}, and this is {wanted}; install the "
            f"same on both: pip install 'quantgpu[cluster]=={wanted}'"
        )
