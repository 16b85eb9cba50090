"""Workers are asked before the work begins, and what is wrong is told with what to type."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gpu_double
import pytest

from quantgpu import ClusterError, UsageError, __version__
from quantgpu.distributed import workers as crew
from quantgpu.distributed.files import result_of
from quantgpu.distributed.workers import check_scheduler, connect_workers
from quantgpu.threads import default_threads


def address_of(client: Any) -> str:
    return str(client.scheduler.address)


def test_workers_that_can_do_the_work_are_a_crew(two_workers: Any) -> None:
    with connect_workers(address_of(two_workers)) as found:
        assert found.number == len(two_workers.nthreads()) > 0
        assert found.threads == 1 or found.threads >= 2
        assert found.client.submit(sum, [1, 2]).result(10) == 3
        assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)
    assert logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)


def test_a_local_cluster_has_as_many_workers_as_asked_for() -> None:
    with connect_workers("local:1") as found:
        assert (found.number, len(found.client.nthreads())) == (1, 1)
        assert found.threads == default_threads()


@pytest.mark.parametrize(
    "scheduler",
    [
        *("", "local:0", "local:", "local:x", "local:2:3", "10.0.0.1:8786", "tcp://host"),
        *("tcp://:8786", "http://host:8786", "tcp://host:port", "locale", "tcp://a b:1"),
    ],
)
def test_what_is_no_scheduler_is_refused(scheduler: str) -> None:
    with pytest.raises(UsageError, match=r"is not tcp://HOST:PORT, local, or local:N"):
        check_scheduler(scheduler)


def test_a_scheduler_that_does_not_answer_is_told_with_what_to_check() -> None:
    started = time.monotonic()
    with (
        pytest.raises(ClusterError, match=r"no scheduler answers at tcp://127.0.0.1:9 in 0.5 s"),
        connect_workers("tcp://127.0.0.1:9", 0.5),
    ):
        pass
    assert time.monotonic() - started < 5


def test_a_scheduler_without_workers_is_told_with_what_to_start() -> None:
    import distributed

    with distributed.LocalCluster(
        n_workers=0, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as cluster:
        address = cluster.scheduler_address
        with (
            pytest.raises(ClusterError, match=f"start one: dask worker {address}"),
            connect_workers(address, 0.5),
        ):
            pass


def test_workers_of_another_version_are_refused_with_both(
    two_workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "__version__", "9.8.7")
    with (
        pytest.raises(ClusterError, match=rf"has quantgpu {__version__}, and this is 9\.8\.7"),
        connect_workers(address_of(two_workers)),
    ):
        pass


@pytest.mark.parametrize("missing", [["no_such_module"], ["zarr_", "tifffile_"]])
def test_workers_that_lack_something_are_refused_with_what_to_type(
    two_workers: Any, monkeypatch: pytest.MonkeyPatch, missing: Sequence[str]
) -> None:
    monkeypatch.setattr(crew, "NEEDED_MODULES", (*crew.NEEDED_MODULES, *missing))
    said = rf"has no {', '.join(missing)}; there: pip install 'quantgpu\[cluster\]'"
    with pytest.raises(ClusterError, match=said), connect_workers(address_of(two_workers)):
        pass


def test_what_asks_a_worker_takes_no_quantgpu_there() -> None:
    """It is pickled whole, so that a worker that has none can say so."""
    import cloudpickle

    data = cloudpickle.dumps(crew.self_description())
    text = (
        "import sys, pickle; sys.modules['quantgpu'] = None\n"
        "describe = pickle.loads(sys.stdin.buffer.read())\n"
        "del sys.modules['quantgpu']; sys.path[:] = [p for p in sys.path if 'lib' in p]\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in str(f).lower()]\n"
        "sys.path = [p for p in sys.path if not p.startswith(sys.argv[1])]\n"
        "print(describe(['json', 'no_such'])[1:])"
    )
    found = subprocess.run(
        [sys.executable, "-c", text, "/nowhere"], input=data, capture_output=True, check=False
    )
    assert found.stdout == b"(None, ['no_such'])\n", found.stderr.decode()


def test_a_worker_is_asked_again_with_each_task_as_it_may_have_come_later(
    two_workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect_workers(address_of(two_workers)) as found:
        assert found.submit(sum, [1, 2]).result(10) == 3
        with monkeypatch.context() as patched:
            patched.setattr(crew, "__version__", "9.8.7")
            with pytest.raises(ClusterError, match=rf"has quantgpu {__version__}, and this is 9"):
                found.submit(sum, [1, 2]).result(10)
        monkeypatch.setattr(crew, "NEEDED_MODULES", (*crew.NEEDED_MODULES, "no_such_module"))
        with pytest.raises(ClusterError, match="has no no_such_module; there: pip install"):
            found.submit(sum, [1, 2]).result(10)


def test_a_worker_that_does_not_know_a_task_is_asked_for_its_version(
    two_workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect_workers(address_of(two_workers)) as found:
        unknown = found.client.submit(getattr, sum, "of_another_version")
        with pytest.raises(AttributeError):
            result_of(unknown, "a.png")
        monkeypatch.setattr(crew, "__version__", "9.8.7")
        with pytest.raises(ClusterError, match=rf"has quantgpu {__version__}, and this is 9"):
            result_of(unknown, "a.png")


def test_without_dask_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(UsageError, match=r"takes Dask .*pip install 'quantgpu\[cluster\]'"),
        connect_workers("local:1"),
    ):
        pass


def test_what_a_process_says_of_its_only_gpu_is_told_by_the_number_of_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import distributed

    worker = SimpleNamespace(name="gpu:2", address="tcp://127.0.0.1:9")
    monkeypatch.setattr(distributed, "get_worker", lambda: worker)
    note = "gpu:0 ran out of memory; went on with the CPU"
    assert crew.name_notes([note]) == ["gpu:2 ran out of memory; went on with the CPU"]
    assert (crew.name_device("gpu:0"), crew.name_device("cpu")) == ("gpu:2", "cpu")
    with gpu_double.installed(compute_capability="70"):
        assert crew.gpu_trouble("gpu", worker) == (
            "gpu:2 cannot be used: gpu:2 has compute capability 7.0; 7.5 is the least; leave it "
            "out of --device"
        )
    worker.name = "tower"
    assert crew.name_notes([note]) == [f"the worker tcp://127.0.0.1:9: {note}"]
    assert crew.name_device("gpu:0") == "gpu:0 of tcp://127.0.0.1:9"


def leaf(path: str) -> str:
    """Note in a file that a part is done."""
    time.sleep(0.01)
    return written(path, "part")


def branch(paths: Sequence[str]) -> str:
    """Note that some parts are added."""
    return written(paths[0], f"sum of {len(paths)}")


def written(path: str, line: str) -> str:
    with Path(path).open("a") as file:
        file.write(line + "\n")
    return path


def test_sums_are_made_as_soon_as_their_parts_are_there(two_workers: Any, tmp_path: Path) -> None:
    """Else workers would have to keep all parts until the last is done."""
    path = str(tmp_path / "lines")
    with connect_workers(address_of(two_workers)) as found:
        parts = [found.submit(leaf, path) for _ in range(40)]
        assert found.tree_sum(branch, parts).result(30) == path
        assert not parts
        assert found.tree_sum(branch, [found.submit(leaf, path)]).result(30) == path
    lines = Path(path).read_text().splitlines()
    assert sorted(lines) == [*["part"] * 41, "sum of 2", "sum of 3", *["sum of 4"] * 12]
    assert "sum of 4" in lines[:30]
