"""A real scheduler and real workers on the loopback interface, for tests."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import gpu_worker
import pytest


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


WITHOUT_STATISTICS = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.admin.tick.interval": "1s",
}
"""What is looked at 10 to 100 times a second otherwise, while other tests run."""


@contextlib.contextmanager
def workers(count: int, **options: Any) -> Iterator[Any]:
    """A client of a cluster on the loopback interface, with so many workers."""
    import dask
    import distributed

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "10s", **WITHOUT_STATISTICS}),
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
def unable_to_write(client: Any, count: int) -> Iterator[list[str]]:
    """The addresses of one or both of two workers, which cannot write into the working directory.

    That is a new one, so that nothing has to be taken back.
    """
    workers, here = two_alive(client)[:count], os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            client.run(lose_right_to_write, os.path.realpath(folder), workers=workers)
            yield workers
        finally:
            os.chdir(here)


def lose_right_to_write(folder: str) -> None:
    """See that this process is denied to open files in a folder in order to write.

    Users whose rights could be taken are not at hand: tests may run as one who has but its own, or
    as the superuser.
    """

    def deny(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not str(arguments[0]).startswith(folder):
            return
        if arguments[2] & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(errno.EACCES, "Permission denied", arguments[0])

    sys.addaudithook(deny)


def two_alive(client: Any) -> list[str]:
    """The workers that answer, when two do: one that was killed may be on its way back."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        answers: dict[str, int] = client.run(os.getpid, on_error="ignore")
        if len(answers) >= 2:
            return list(answers)
        time.sleep(0.05)
    raise AssertionError("there are not two workers")
