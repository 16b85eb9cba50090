"""The workers of a Dask cluster, after a check that they can do the work.

Scheduling, transport and retries are Dask's: another worker repeats the tasks of one that died.
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
from quantgpu.distributed.gpus import VISIBLE, first_of, tasks_per_gpu, visible_devices
from quantgpu.errors import ClusterError, DeviceError, UsageError
from quantgpu.execution.selection import choose_device
from quantgpu.threads import default_threads
from quantgpu.version import __version__

INSTALL = "pip install 'quantgpu[cluster]'"
"""The command that installs Dask."""

PATIENCE_SECONDS = 10
"""Seconds to wait for a scheduler, and for its first worker."""

LOOPBACK = "127.0.0.1"
"""The address of the processes of a local cluster."""

WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1}
"""Environment of the processes of a local cluster: Dask's own, without MALLOC_TRIM_THRESHOLD_, by
which every larger array returns to the system: 96 megapixels took 12 s instead of 1.8."""

CONNECT_SECONDS = 3
"""Seconds after which a worker of a local cluster that does not answer is taken for dead."""

TIMEOUTS = TimeoutError, asyncio.TimeoutError
"""The errors of a timeout; they are two types in Python 3.10."""

LOG_LEVEL = 50
"""The level from which on a local cluster and a client log: critical, as other trouble raises
errors."""

NEEDED_MODULES = "quantgpu", "dask", "distributed", "tifffile", "zarr"
"""The modules that a worker has to have."""


class Workers(NamedTuple):
    """Workers that passed `check_workers_ready`."""

    client: Any
    """`distributed.Client`."""
    threads: int
    """Threads of each task, so that simultaneous tasks share the processors of a machine."""
    number: int
    """The number of workers."""
    device: str
    """The device of each worker, as `choose_device` takes it."""
    local_device: str
    """The device of this process, as `choose_device` takes it."""

    def submit(self, function: Callable[..., Any], *arguments: Any, priority: int = 0) -> Any:
        """Submit a function of the package to a worker; the future of its result.

        The worker's version is checked again, as a worker may join at any time. Tasks of a higher
        `priority` run first.
        """
        key = f"{function.__name__}-{uuid4().hex}"
        return self.client.submit(
            run_checked, __version__, NEEDED_MODULES, function, *arguments, key=key, pure=False,
            priority=priority,
        )  # fmt: skip

    def tree_sum(self, add: Callable[[Sequence[Any]], Any], parts: list[Any]) -> Any:
        """Submit the sum of futures as a tree, `FAN_IN` at a time; the future of the sum.

        Sums have a higher priority than parts, and `parts` is emptied, so that workers do not have
        to keep all parts.
        """
        level = 0
        while len(parts) > 1:
            level += 1
            groups = [parts[start : start + FAN_IN] for start in range(0, len(parts), FAN_IN)]
            parts[:] = [self.submit(add, group, priority=level) for group in groups]
        return parts.pop()


def run_checked(
    version: str, needed: Sequence[str], function: Callable[..., Any], *arguments: Any
) -> Any:
    """Run a function on a worker after checking its modules and its version of quantgpu.

    Raises:
        ClusterError: The worker lacks one of the modules `needed`, or has another version.
    """
    import distributed

    _, found, missing = self_description()(needed)
    check_worker(distributed.get_worker().address, found, missing, version)
    return function(*arguments)


def run_block(function: Callable[..., BlockResult], *arguments: Any) -> BlockResult:
    """Process a block on a worker; the result with the worker's name in device and notes.

    Raises:
        DeviceError: The device failed; the message names the worker.
    """
    try:
        done = function(*arguments)
    except DeviceError as error:
        raise DeviceError(*name_notes([str(error)])) from None
    return BlockResult(done.result, name_device(done.device), name_notes(done.notes))


def worker_name(worker: Any = None) -> str:
    """The name of a worker, of the current task's if None: ``gpu:N`` if it serves one GPU, else its
    address."""
    import distributed

    worker = worker or distributed.get_worker()
    return str(worker.name) if str(worker.name).startswith("gpu:") else str(worker.address)


def name_device(device: str) -> str:
    """The name of a device of the current task's worker."""
    name = worker_name()
    if device == "cpu":
        return device
    return name if name.startswith("gpu:") else f"{device} of {name}"


def name_notes(notes: Sequence[str]) -> list[str]:
    """Notes on a device, with the name of the current task's worker; equal for all files."""
    name = worker_name()
    return [renumber_gpu(note, name) or f"the worker {name}: {note}" for note in notes]


def renumber_gpu(note: str, name: str) -> str:
    """A note with the machine's number of a worker's only GPU; empty for other workers.

    `name`: of the worker, ``gpu:N`` if the worker serves one GPU.
    """
    return note.replace("gpu:0", name) if name.startswith("gpu:") else ""


def check_scheduler(scheduler: str) -> int | None:
    """The number of workers in ``local`` or ``local:N``; None for the address of a scheduler.

    >>> check_scheduler("local:4"), check_scheduler("tcp://10.0.0.1:8786")
    (4, None)

    Raises:
        UsageError: `scheduler` has another form.
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
    scheduler: str, patience: float = PATIENCE_SECONDS, device: str = "auto"
) -> Iterator[Workers]:
    """Connect to the workers of a scheduler, or of a local cluster that ends with the context.

    Args:
        scheduler: ``tcp://HOST:PORT``, ``local`` or ``local:N``.
        patience: Seconds to wait for a scheduler, and for its first worker.
        device: The device of each worker, as `choose_device` takes it.

    Raises:
        UsageError: `scheduler` has another form, or Dask is not installed.
        ClusterError: The scheduler does not answer or has no worker; a worker lacks a module, or
            has another version of quantgpu.
        DeviceError: A worker lacks the requested GPU.
    """
    workers = check_scheduler(scheduler)
    distributed = distributed_for("--scheduler")
    with contextlib.ExitStack() as stack:
        address: Any = scheduler
        if workers is not None:
            names: dict[int | str, dict[str, str] | None] = dict.fromkeys(range(workers))
            address = stack.enter_context(local_cluster(distributed, names))
        client = stack.enter_context(connect_client(distributed, address, patience))
        local_device = device if device == "cpu" else "auto"
        yield check_workers_ready(client, scheduler, patience, device, local_device)


@contextlib.contextmanager
def start_gpu_workers(
    device: str, numbers: Sequence[int], jobs: int | None = None
) -> Iterator[Workers]:
    """Start a process on this machine for each of some GPUs; they end with the context.

    Args:
        device: The option that named the GPUs.
        numbers: The numbers of the GPUs; each process sees one of them.
        jobs: Pictures at work in all, see `gpus.tasks_per_gpu`.

    Raises:
        UsageError: Dask is not installed.
        DeviceError: One of the GPUs cannot be used.
    """
    distributed = distributed_for(f"--device {device}")
    environments = zip(numbers, visible_devices(numbers), strict=True)
    threads = tasks_per_gpu(len(numbers), jobs, default_threads())
    workers: dict[int | str, dict[str, str] | None]
    workers = {f"gpu:{number}": {VISIBLE: shown} for number, shown in environments}
    with (
        local_cluster(distributed, workers, threads) as cluster,
        connect_client(distributed, cluster, PATIENCE_SECONDS) as client,
    ):
        yield check_workers_ready(client, "local", PATIENCE_SECONDS, "gpu", first_of(device))


def distributed_for(option: str) -> Any:
    """The module `distributed`, or a UsageError that says how to install Dask for an option."""
    try:
        import distributed
    except ImportError as error:
        raise UsageError(f"{option} takes Dask ({error}): {INSTALL}") from None
    return distributed


@contextlib.contextmanager
def local_cluster(
    distributed: Any, workers: Mapping[int | str, dict[str, str] | None], threads: int = 1
) -> Iterator[Any]:
    """Start a scheduler and processes on this machine's loopback interface.

    Args:
        distributed: The module.
        workers: The name of each process to its additional environment variables, or None.
        threads: Simultaneous tasks of each process.
    """
    import dask

    settings = {
        "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s",
        "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
        "distributed.worker.profile.enabled": False,
    }
    common = {
        "nthreads": threads, "host": LOOPBACK, "dashboard": False, "silence_logs": LOG_LEVEL,
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
                "options": {
                    "host": LOOPBACK, "dashboard": False, "dashboard_address": f"{LOOPBACK}:0",
                },
            },
            silence_logs=LOG_LEVEL,
        ) as cluster,
    ):  # fmt: skip
        yield cluster


@contextlib.contextmanager
def connect_client(distributed: Any, address: Any, patience: float) -> Iterator[Any]:
    """Connect a client to a scheduler within `patience` seconds.

    Raises:
        ClusterError: The scheduler does not answer.
    """
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
    logger.setLevel(LOG_LEVEL)
    try:
        with client:
            yield client
    finally:
        logger.setLevel(level)


def check_workers_ready(
    client: Any, scheduler: str, patience: float, device: str, local_device: str
) -> Workers:
    """The workers of a client, after checking modules, versions and GPUs.

    Raises:
        ClusterError: There is no worker within `patience` seconds, or `check_workers` fails.
        DeviceError: A worker lacks the requested GPU.
    """
    try:
        client.wait_for_workers(1, timeout=patience)
    except TIMEOUTS:
        raise ClusterError(
            f"the scheduler at {scheduler} has no workers after {patience:g} s; start one: "
            f"dask worker {scheduler}"
        ) from None
    answers = check_workers(client)
    if device.startswith("gpu"):
        for _, trouble in sorted(client.run(gpu_trouble, device).items()):
            if trouble:
                raise DeviceError(trouble)
    tasks_per_host: Counter[str] = Counter()
    processors_of_host: dict[str, int] = {}
    for worker, threads in client.nthreads().items():
        host = worker.rsplit(":", 1)[0]
        tasks_per_host[host] += threads
        processors_of_host[host] = answers[worker][0] if worker in answers else threads
    shares = [processors_of_host[host] // tasks for host, tasks in tasks_per_host.items()]
    return Workers(client, max(min(shares), 1), len(answers), device, local_device)


def check_workers(client: Any) -> dict[str, tuple[int, str | None, list[str]]]:
    """The `self_description` of each worker, by its address.

    Raises:
        ClusterError: A worker lacks a module, or has another version of quantgpu.
    """
    answers: dict[str, tuple[int, str | None, list[str]]]
    answers = client.run(self_description(), NEEDED_MODULES)
    for worker, (_, version, missing) in sorted(answers.items()):
        check_worker(worker, version, missing, __version__)
    return answers


def gpu_trouble(device: str, dask_worker: Any) -> str:
    """The reason why a worker's GPU cannot be used; empty if it can."""
    try:
        choose_device(device)
    except DeviceError as error:
        name, reason = worker_name(dask_worker), str(error)
        if renumber_gpu(reason, name):
            return f"{name} cannot be used: {renumber_gpu(reason, name)}; leave it out of --device"
        return f"the worker {name} cannot use --device {device}: {reason}; or use --device auto"
    return ""


def self_description() -> Callable[[Sequence[str]], tuple[int, str | None, list[str]]]:
    """A function from modules to a worker's processors, version of quantgpu and missing modules.

    The function is nested so that Dask pickles its code: a worker without quantgpu can run it.
    """

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
    """Raise a ClusterError if a worker misses modules, or its version is not `wanted`."""
    if missing:
        raise ClusterError(f"the worker {worker} has no {', '.join(missing)}; there: {INSTALL}")
    if version != wanted:
        raise ClusterError(
            f"the worker {worker} has quantgpu {version}, and this is {wanted}; install the "
            f"same on both: pip install 'quantgpu[cluster]=={wanted}'"
        )
