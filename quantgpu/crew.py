"""The workers of a Dask cluster, which are asked whether they can do the work.

Scheduling, transport and retries are Dask's: what a worker did that died is done by another.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from quantgpu import __version__
from quantgpu.device import default_threads
from quantgpu.errors import ClusterError, UsageError

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
"""The level of what a local cluster logs: nothing but what ends it."""

NEEDED = "quantgpu", "dask", "distributed", "tifffile", "zarr"
"""What a worker has to be able to import."""


class Crew(NamedTuple):
    """Workers that were asked."""

    client: Any
    """`distributed.Client`."""
    threads: int
    """For each task, so that those at work at once share the processors of a machine."""
    workers: int
    """How many there are."""


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
def crew_of(scheduler: str, patience: float = PATIENCE) -> Iterator[Crew]:
    """The workers of a scheduler, or of a local cluster that ends with the context.

    Args:
        scheduler: ``tcp://HOST:PORT``, ``local`` or ``local:N``.
        patience: Seconds to wait for a scheduler, and for its first worker.

    Raises:
        UsageError: It is none of these, or Dask is not installed.
        ClusterError: The scheduler does not answer or has no worker, or a worker cannot do the
            work: it lacks something, or has another version of quantgpu.
    """
    workers = check_scheduler(scheduler)
    try:
        import distributed
    except ImportError as error:
        raise UsageError(f"--scheduler takes Dask ({error}): {INSTALL}") from None
    with contextlib.ExitStack() as stack:
        address: Any = scheduler
        if workers is not None:
            address = stack.enter_context(local_cluster(distributed, workers))
        client = stack.enter_context(connected(distributed, address, patience))
        yield asked(client, scheduler, patience)


@contextlib.contextmanager
def local_cluster(distributed: Any, workers: int) -> Iterator[Any]:
    """A scheduler and so many processes on this machine, on its loopback interface."""
    import dask

    settings = {
        "distributed.comm.timeouts.connect": f"{SHORTLY}s",
        "distributed.nanny.pre-spawn-environ": SURROUNDINGS,
        "distributed.worker.profile.enabled": False,
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=f"{HERE}:0", host=HERE,
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
    with client:
        yield client


def asked(client: Any, scheduler: str, patience: float) -> Crew:
    """The workers, all of which have what is needed in this version."""
    try:
        client.wait_for_workers(1, timeout=patience)
    except TIMEOUTS:
        raise ClusterError(
            f"the scheduler at {scheduler} has no workers after {patience:g} s; start one: "
            f"dask worker {scheduler}"
        ) from None
    answers = client.run(self_description(), NEEDED)
    for worker, (_, version, missing) in sorted(answers.items()):
        check_worker(worker, version, missing)
    at_once: Counter[str] = Counter()
    processors: dict[str, int] = {}
    for worker, threads in client.nthreads().items():
        host = worker.rsplit(":", 1)[0]
        at_once[host] += threads
        processors[host] = answers[worker][0] if worker in answers else threads
    shares = [processors[host] // tasks for host, tasks in at_once.items()]
    return Crew(client, max(min(shares), 1), len(answers))


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


def check_worker(worker: str, version: str | None, missing: Sequence[str]) -> None:
    """Raise a ClusterError unless a worker can do the work."""
    if missing:
        raise ClusterError(f"the worker {worker} has no {', '.join(missing)}; there: {INSTALL}")
    if version != __version__:
        raise ClusterError(
            f"the worker {worker} has quantgpu {version}, and this is {__version__}; install the "
            f"same on both: pip install 'quantgpu[cluster]=={__version__}'"
        )
