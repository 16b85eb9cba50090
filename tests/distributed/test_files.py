"""Files on a cluster: the outputs, sums and reports of the plain call, also when workers die."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from command_runs import Ran
from dask_workers import kill_one, processes, two_alive, unable_to_write
from image_files import encoded
from pictures import photo, soft_photo
from typer.testing import CliRunner

from quantgpu import cli
from quantgpu.distributed.files import cancel_on_error, result_of, with_given_names
from quantgpu.distributed.workers import Workers
from quantgpu.errors import ClusterError, OutputError
from quantgpu.io.histogram_files import read_histogram

PICTURES = {
    "a.png": photo(),
    "b.png": photo(17, 31, 1),
    "c.png": photo(1, 40, 2),
    "d.png": soft_photo(23, 19, 3),
    "e.png": photo(40, 1, 4),
}

NAMES = list(PICTURES)

IN_HASTE = ["-k", "5", "--effort", "fast"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, which is not the workers', with pictures."""
    monkeypatch.chdir(tmp_path)
    for name, picture in PICTURES.items():
        Path(name).write_bytes(encoded(picture, "PNG"))
    Path("out").mkdir()


@pytest.fixture
def on_cluster(two_workers: Any) -> list[str]:
    return ["--scheduler", two_workers.scheduler.address]


def quantize(*arguments: str) -> Ran:
    return Ran("quantize", *IN_HASTE, *arguments, "--output-dir", "out")


def counted(*arguments: str) -> Any:
    """`quantgpu count` on the CPU."""
    return CliRunner().invoke(cli.app, ["count", "--device", "cpu", *arguments])


def emptied() -> dict[str, bytes]:
    """What was made, which is removed."""
    found = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    for name in found:
        Path("out", name).unlink()
    return found


def told(ran: Ran) -> list[Any]:
    """What is printed, but for times."""
    if ran.lines and ran.lines[0].startswith("{"):
        return [{**json.loads(line), "seconds": None} for line in ran.lines]
    return [re.sub(r", \d+\.\d+ s .*", "", line) for line in ran.lines]


@pytest.mark.parametrize("options", [[], ["--shared-palette"], ["-k", "4,9", "--json"]])
def test_a_cluster_changes_neither_bytes_nor_what_is_told(
    on_cluster: list[str], options: list[str]
) -> None:
    Path("cut.png").write_bytes(Path("a.png").read_bytes()[:900])
    names = ["none.png", *NAMES[:2], "cut.png", *NAMES[2:]]
    plain = quantize(*names, *options)
    expected = emptied()
    assert (plain.code, len(expected)) == (5, 10 if "-k" in options else 5)
    ran = quantize(*names, *options, *on_cluster)
    assert (ran.code, ran.err, told(ran)) == (plain.code, plain.err, told(plain))
    assert emptied() == expected


def test_outputs_that_are_there_are_errors_kept_or_replaced(on_cluster: list[str]) -> None:
    quantize(*NAMES)
    before = Path("out/b-5.png").stat().st_mtime_ns
    Path("out/a-5.png").unlink()
    ran = quantize(*NAMES, *on_cluster)
    assert (ran.code, len(ran.lines)) == (5, 1)
    assert "out/b-5.png: exists; use --force to replace it" in ran.err
    Path("out/a-5.png").unlink()
    ran = quantize(*NAMES, "--resume", *on_cluster)
    assert (ran.code, [": complete already" in line for line in ran.lines]) == (
        0, [False, True, True, True, True],
    )  # fmt: skip
    assert Path("out/b-5.png").stat().st_mtime_ns == before
    assert quantize(*NAMES, "--force", *on_cluster).code == 0
    assert Path("out/b-5.png").stat().st_mtime_ns > before


def test_outputs_beside_the_inputs_and_by_name_are_where_they_belong(
    on_cluster: list[str],
) -> None:
    assert Ran("quantize", "a.png", *IN_HASTE, *on_cluster).code == 0
    ran = Ran("quantize", "b.png", "-k", "3,4", "-o", "out/{k}.gif", *on_cluster)
    assert [line.split(":")[0] for line in ran.lines] == ["out/3.gif", "out/4.gif"]
    assert Path("a-5.png").exists()
    assert sorted(emptied()) == ["3.gif", "4.gif"]


@pytest.mark.parametrize("options", [[], ["--no-perceptual"], ["--alpha", "flatten"]])
def test_counts_and_palettes_are_those_of_the_plain_call(
    on_cluster: list[str], options: list[str]
) -> None:
    assert counted(*NAMES, "-o", "plain.qhist", *options).exit_code == 0
    ran = counted(*NAMES, "-o", "there.qhist", *options, *on_cluster)
    assert ran.exit_code == 0
    assert Path("there.qhist").read_bytes() == Path("plain.qhist").read_bytes()
    plain = Ran("palette", *NAMES, "-k", "7", *options, "--json")
    ran = Ran("palette", *NAMES, "-k", "7", *options, "--json", *on_cluster)
    assert (ran.code, ran.lines) == (0, plain.lines)


def test_an_image_that_cannot_be_counted_is_named_as_it_was_given(on_cluster: list[str]) -> None:
    Path("cut.png").write_bytes(Path("a.png").read_bytes()[:900])
    plain = counted("a.png", "cut.png", "-o", "all.qhist")
    ran = counted("a.png", "cut.png", "-o", "all.qhist", *on_cluster)
    assert (ran.exit_code, ran.stderr) == (3, plain.stderr)
    assert not Path("all.qhist").exists()


def test_what_crosses_for_a_histogram_is_no_larger_than_its_file(on_cluster: list[str]) -> None:
    import pickle

    from quantgpu.distributed.blocks import compress

    assert counted("a.png", "-o", "a.qhist", *on_cluster).exit_code == 0
    histogram = read_histogram("a.qhist").histogram
    assert len(pickle.dumps(compress(histogram))) < Path("a.qhist").stat().st_size + 500


def test_a_worker_that_is_killed_costs_nothing(two_workers: Any, on_cluster: list[str]) -> None:
    names = []
    for number in range(8):
        names.append(f"n{number}.png")
        Path(names[-1]).write_bytes(encoded(photo(250, 270, number), "PNG"))
    names += ["--dither", "none"]
    assert quantize(*names).code == 0
    expected = emptied()
    killer = threading.Thread(target=kill_one, args=(two_workers, processes(two_workers)))
    killer.start()
    ran = quantize(*names, *on_cluster)
    killer.join()
    assert (ran.code, ran.err, len(ran.lines)) == (0, "", 8)
    assert emptied() == expected


def on_gpus(client: Any) -> list[Any]:
    """The names of the workers with and without a GPU."""
    two_alive(client)
    found = client.run(lambda dask_worker: dask_worker.name)
    return sorted(found, key=found.__getitem__)


@pytest.mark.parametrize("options", [[], ["--shared-palette"]])
def test_a_worker_with_a_gpu_and_one_without_give_the_same_bytes(
    two_workers: Any, on_cluster: list[str], options: list[str]
) -> None:
    names = [*NAMES, "--dither", "none", *options]
    assert quantize(*names).code == 0
    expected = emptied()
    with_gpu, without = on_gpus(two_workers)
    ran = quantize(*names, *on_cluster, "--device", "auto", "--json")
    assert ran.code == 0
    assert emptied() == expected
    devices = {json.loads(line)["device"] for line in ran.lines}
    notes = ran.err.splitlines()
    assert devices <= {"cpu", f"gpu:0 of {with_gpu}"}
    assert len(notes) == ("cpu" in devices)
    assert all(f"the worker {without}: no GPU is used: no NVIDIA dr" in note for note in notes)
    assert len(devices) == 2 or options  # Dask may do few where their palette is


def test_counts_of_both_are_those_of_the_plain_call(
    two_workers: Any, on_cluster: list[str]
) -> None:
    _, without = on_gpus(two_workers)
    assert counted(*NAMES, "-o", "plain.qhist").exit_code == 0
    ran = counted(*NAMES, "-o", "there.qhist", *on_cluster, "--device", "auto")
    assert ran.exit_code == 0
    assert ran.stderr.count("warning") == ran.stderr.count(f"the worker {without}: no GPU") == 1
    assert Path("there.qhist").read_bytes() == Path("plain.qhist").read_bytes()


def test_a_worker_without_the_gpu_that_is_asked_for_is_named(
    two_workers: Any, on_cluster: list[str]
) -> None:
    _, without = on_gpus(two_workers)
    ran = quantize("a.png", *on_cluster, "--device", "gpu")
    assert (ran.code, ran.lines, emptied()) == (6, [], {})
    said = f"the worker {without} cannot use --device gpu: no NVIDIA driver"
    assert said in ran.err
    assert ran.err.strip().endswith("or use --device auto")


def test_a_worker_that_cannot_write_costs_what_it_was_to_write(
    two_workers: Any, on_cluster: list[str]
) -> None:
    with unable_to_write(two_workers, 1) as [worker]:
        Path("out").mkdir()
        names = [f"n{number}.png" for number in range(10)]
        for number, name in enumerate(names):
            Path(name).write_bytes(encoded(photo(40, 50, number), "PNG"))
        ran = quantize(*names, *on_cluster)
        left = {name for name in names if not Path("out", f"{name[:-4]}-5.png").exists()}
        assert (ran.code, 0 < len(left) < 10) == (5, True)
        *told_of, last = ran.err.splitlines()
        assert last == f"quantgpu: error: {len(left)} of 10 inputs failed"
        for name, line in zip(sorted(left), told_of, strict=True):
            said = (
                f"out/{name[:-4]}-5.png: not writable (permission denied), on the worker {worker}"
            )
            assert line == f"quantgpu: error: {said}"
        assert len(ran.lines) == 10 - len(left) == len(os.listdir("out"))


@pytest.mark.parametrize("names", [["-"], ["a.png", "-o", "-"]])
def test_standard_input_and_output_are_refused(names: list[str]) -> None:
    ran = Ran("quantize", *names, "--scheduler", "local:1")
    assert (ran.code, ran.lines) == (2, [])
    assert "workers have no standard input and output; name files" in ran.err


def test_a_cluster_that_cannot_be_used_is_told_before_anything_is_done() -> None:
    for command in (["quantize", "a.png"], ["palette", "a.png"]):
        ran = Ran(*command, "--scheduler", "nonsense")
        assert (ran.code, ran.lines) == (2, [])
        assert "is not tcp://HOST:PORT" in ran.err
    assert counted("a.png", "-o", "a.qhist", "--scheduler", "nonsense").exit_code == 2


def test_errors_name_files_as_they_were_given() -> None:
    error = with_given_names(
        OutputError("/x/in.png.png: exists, /x/in.png"), {"/x/in.png": "in.png"}
    )
    assert (type(error), str(error)) == (OutputError, "in.png.png: exists, in.png")


def test_a_scheduler_that_goes_away_is_told() -> None:
    import distributed

    class Lost:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def result(self) -> None:
            raise self.error

    for error in (distributed.CancelledError("lost"), OSError("no route")):
        said = f"a.png: the scheduler is gone \\({error}"
        with pytest.raises(ClusterError, match=said):
            result_of(Lost(error), "a.png")
    killed = distributed.KilledWorker("task", None, 3)
    with pytest.raises(ClusterError, match=r"a.png: every worker that tried it died"):
        result_of(Lost(killed), "a.png")


def lasting(path: str) -> None:
    """Make a file after a while."""
    time.sleep(0.3)
    Path(path).touch()


def test_who_gives_up_waits_for_what_is_being_written(two_workers: Any) -> None:
    two_alive(two_workers)
    names = [os.path.abspath(f"late{number}") for number in range(40)]
    futures = [two_workers.submit(lasting, name, pure=False) for name in names]
    while not two_workers.processing():
        time.sleep(0.01)
    crew = Workers(two_workers, 1, 2, "cpu", "cpu")
    time.sleep(0.1)
    with pytest.raises(KeyboardInterrupt), cancel_on_error(crew, futures):
        raise KeyboardInterrupt
    there = sorted(Path().glob("late*"))
    assert 0 < len(there) < 40
    time.sleep(0.4)
    assert sorted(Path().glob("late*")) == there
