"""A real scheduler and real workers on the loopback interface, for tests."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import gpu_worker
import pytest

NOBODY = 65_534
"""The number of a user who owns nothing."""


@pytest.fixture(scope="session")
def four_workers() -> Iterator[Any]:
    """A client of a scheduler with four workers, each a process that is started again if killed."""
    with workers(4) as client:
        yield client


@pytest.fixture(scope="session")
def two_workers() -> Iterator[Any]:
    """The same with two, which have less to import; one has the stand-in for a GPU, one has none.

    They see nothing of it with ``--device cpu``.
    """
    with workers(2, preload="gpu_worker") as client:
        yield client
        for mistakes in client.run(gpu_worker.mistakes).values():
            assert not mistakes


@contextlib.contextmanager
def workers(count: int, **options: Any) -> Iterator[Any]:
    """A client of a cluster on the loopback interface, with so many workers."""
    import dask
    import distributed

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address="127.0.0.1:0",
            host="127.0.0.1", silence_logs=50, **options,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        yield client


def processes(client: Any) -> dict[str, int]:
    """Worker to process."""
    found: dict[str, int] = client.run(os.getpid)
    return found


def kill_one(client: Any, pids: dict[str, int]) -> None:
    """SIGKILL for a worker that is at work."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for worker, tasks in client.processing().items():
            if tasks and worker in pids:
                os.kill(pids[worker], signal.SIGKILL)
                return
        time.sleep(0.005)
    raise AssertionError("no worker was at work")


@contextlib.contextmanager
def one_that_cannot_write(client: Any) -> Iterator[str]:
    """The address of a worker that cannot write into the working directory, which is a new one.

    One of two at least: one that was killed before may be on its way back.
    """
    worker, here = two_alive(client)[0], os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        os.chdir(folder)
        client.run(give_up_rights, workers=[worker])
        try:
            yield worker
        finally:
            client.run(take_back_rights, workers=[worker])
            os.chdir(here)


def two_alive(client: Any) -> list[str]:
    """The workers that answer, when two do."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        answers: dict[str, int] = client.run(os.getpid, on_error="ignore")
        if len(answers) >= 2:
            return list(answers)
        time.sleep(0.05)
    raise AssertionError("there are not two workers")


def give_up_rights() -> None:
    """Be nobody; or where one is no superuser, be one who may write no file of any length."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def take_back_rights() -> None:
    """Be what one was before `give_up_rights`."""
    if os.getuid() == 0:
        os.seteuid(0)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
