"""Many images by `quantgpu quantize` and `apply`: jobs, resuming, one palette for all."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_runs import Ran, contents
from image_files import encoded, noise
from pictures import photo, soft_photo
from PIL import Image

from quantgpu.batch import count as count_module
from quantgpu.batch.convert import ConversionJob
from quantgpu.batch.destination import Destination
from quantgpu.batch.shared_palette import SharedPaletteOptions
from quantgpu.batch.tasks import plan_tasks
from quantgpu.dithering.base import Dithering
from quantgpu.dithering.options import MapOptions
from quantgpu.execution.selection import Compute
from quantgpu.io import decode
from quantgpu.io.decode import ReadOptions
from quantgpu.io.palette_files import read_palette, write_palette
from quantgpu.options import QuantizeOptions, from_keywords

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
    """An empty working directory with five pictures and a folder for results."""
    monkeypatch.chdir(tmp_path)
    for name, picture in PICTURES.items():
        Path(name).write_bytes(encoded(picture, "PNG"))
    Path("out").mkdir()


def quantize(*arguments: str) -> Ran:
    """`quantgpu quantize` into the folder."""
    return Ran("quantize", *IN_HASTE, *arguments, "--output-dir", "out")


def made() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("out").iterdir()}


def emptied() -> dict[str, bytes]:
    """What was made, which is removed."""
    found = made()
    for name in found:
        Path("out", name).unlink()
    return found


def older(path: str, seconds: float) -> None:
    """Make a file so much older."""
    times = os.stat(path)
    os.utime(path, (times.st_atime - seconds, times.st_mtime - seconds))


# Jobs


@pytest.mark.parametrize("options", [[], ["--shared-palette"], ["-k", "4,9"], ["--json"]])
def test_jobs_change_neither_bytes_nor_what_is_told(options: list[str]) -> None:
    def told(ran: Ran) -> list[Any]:
        if "--json" not in options:
            return [re.sub(r", \d+\.\d+ s .*", "", line) for line in ran.lines]
        return [{**json.loads(line), "seconds": None} for line in ran.lines]

    one = quantize(*NAMES, *options, "--jobs", "1")
    expected = emptied()
    assert (one.code, len(expected)) == (0, 10 if "-k" in options else 5)
    for jobs in ([], ["--jobs", "2"], ["--jobs", "5", "--threads", "3"]):
        several = quantize(*NAMES, *options, *jobs)
        assert (several.code, several.err) == (0, one.err)
        assert told(several) == told(one)
        assert emptied() == expected


@pytest.mark.parametrize("jobs", ["1", "3"])
@pytest.mark.parametrize("shared", [[], ["--shared-palette"]])
def test_broken_files_are_told_and_cost_only_themselves(jobs: str, shared: list[str]) -> None:
    quantize(*NAMES, *shared)
    expected = emptied()
    whole = Path("a.png").read_bytes()
    Path("cut.png").write_bytes(whole[: len(whole) // 2])
    ran = quantize("none.png", *NAMES[:3], "cut.png", *NAMES[3:], *shared, "--jobs", jobs)
    assert (ran.code, len(ran.lines)) == (5, 5)
    complaints = ran.err.splitlines()
    assert [line.split(": ")[2] for line in complaints[:2]] == ["none.png", "cut.png"]
    assert complaints[2:] == ["quantgpu: error: 2 of 7 inputs failed"]
    assert made() == expected


def test_nothing_is_made_where_no_input_can_be_read() -> None:
    ran = quantize("none.png", "no.png", "--shared-palette")
    assert (ran.code, ran.lines, made()) == (5, [], {})
    assert len(ran.err.splitlines()) == 3


def test_two_inputs_of_one_name_are_told_apart_before_the_first_is_done() -> None:
    Path("sub").mkdir()
    Path("sub/a.png").write_bytes(Path("b.png").read_bytes())
    Path("a.png").write_text("a text")
    ran = quantize("a.png", "sub/a.png", "--jobs", "2")
    assert ran.code == 5
    assert "sub/a.png: out/a-5.png is made from a.png already; rename one of them" in ran.err
    assert made() == {}


def test_standard_input_is_read_by_one_job() -> None:
    ran = Ran(
        "quantize", "-", "b.png", *IN_HASTE, "--output-dir", "out", "--jobs", "2",
        stdin=Path("a.png").read_bytes(),
    )  # fmt: skip
    assert (ran.code, sorted(made())) == (0, ["b-5.png", "stdin-5.png"])


@pytest.mark.parametrize("command", ["quantize", "palette", "apply"])
def test_jobs_out_of_range_are_refused(command: str) -> None:
    write_palette("two.gpl", np.array([[0, 0, 0], [9, 9, 9]], np.uint8))
    before = contents()
    more = ["--palette", "two.gpl"] if command == "apply" else []
    ran = Ran(command, "a.png", "--jobs", "0", *more)
    assert (ran.code, ran.lines, contents()) == (2, [], before)
    assert "jobs = 0 is outside 1..1024" in ran.err


def test_files_are_at_work_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2)
    read = decode.read_image

    def meet(*arguments: Any, **options: Any) -> Any:
        together.wait(20)
        return read(*arguments, **options)

    monkeypatch.setattr(decode, "read_image", meet)
    assert quantize(*NAMES[:4], "--jobs", "2").code == 0


# Ctrl-C


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("shared", [[], ["--shared-palette"]])
def test_an_interruption_leaves_complete_files_and_resume_makes_the_others(
    shared: list[str],
) -> None:
    names = [f"n{number}.png" for number in range(9)]
    for name in names:
        Path(name).write_bytes(encoded(noise(150, 350, 3), "PNG", compress_level=0))
    quantize(*names, *shared)
    expected = emptied()
    arguments = ["quantize", "--device", "cpu", *names, *shared, *IN_HASTE, "--output-dir", "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "quantgpu", *arguments, "--jobs", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while len(list(Path("out").glob("n*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint) == (
        130, b"quantgpu: interrupted; files at work were not written\n",
    )  # fmt: skip
    left = made()
    assert 2 <= len(left) < 9
    assert left.items() <= expected.items()
    ran = quantize(*names, *shared, "--resume")
    assert ran.code == 0
    assert sum("complete already" in line for line in ran.lines) == len(left)
    assert made() == expected


# Resuming


def test_resume_makes_what_is_missing_and_leaves_the_rest() -> None:
    quantize(*NAMES)
    expected = made()
    Path("out/b-5.png").unlink()
    before = os.stat("out/a-5.png")
    ran = quantize(*NAMES, "--resume")
    assert (ran.code, ran.err, made()) == (0, "", expected)
    assert [line.split(": ")[0] for line in ran.lines] == [f"out/{name[0]}-5.png" for name in NAMES]
    assert [line.endswith(": complete already") for line in ran.lines] == [
        name != "b.png" for name in NAMES
    ]
    assert os.stat("out/a-5.png").st_mtime_ns == before.st_mtime_ns


def test_without_resume_what_is_there_is_an_error() -> None:
    quantize("a.png")
    assert "out/a-5.png: exists; use --force" in quantize("a.png").err


def test_resume_of_several_k_makes_the_k_that_are_missing() -> None:
    quantize("a.png", "-k", "4,9")
    expected = made()
    Path("out/a-4.png").unlink()
    before = os.stat("out/a-9.png").st_mtime_ns
    ran = quantize("a.png", "-k", "4,9", "--resume")
    assert ran.lines[0] == "out/a-9.png: complete already"
    assert (ran.code, len(ran.lines), made()) == (0, 2, expected)
    assert os.stat("out/a-9.png").st_mtime_ns == before


def test_an_output_older_than_its_input_is_an_error_unless_forced() -> None:
    quantize(*NAMES)
    expected = made()
    Path("out/a-5.png").write_text("of another a.png")
    older("out/a-5.png", 100)
    ran = quantize(*NAMES, "--resume")
    assert (ran.code, len(ran.lines)) == (5, 4)
    assert "out/a-5.png: is older than a.png; use --force to make it again" in ran.err
    assert made()["a-5.png"] == b"of another a.png"
    forced = quantize(*NAMES, "--resume", "--force")
    assert (forced.code, made()) == (0, expected)
    assert sum("complete already" in line for line in forced.lines) == 4


def test_an_output_as_old_as_its_input_is_complete() -> None:
    quantize("a.png")
    times = os.stat("a.png")
    os.utime("out/a-5.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert quantize("a.png", "--resume").lines == ["out/a-5.png: complete already"]


def test_resume_tells_machines_what_is_complete_and_the_quiet_nothing() -> None:
    quantize("a.png")
    ran = quantize("a.png", "--resume", "--json")
    assert json.loads(ran.out) == {"input": "a.png", "output": "out/a-5.png", "resumed": True}
    assert quantize("a.png", "--resume", "--quiet").lines == []


def test_resume_does_not_hide_an_input_that_is_gone() -> None:
    quantize("a.png")
    Path("a.png").unlink()
    ran = quantize("a.png", "--resume")
    assert (ran.code, ran.lines) == (3, [])
    assert "a.png: no such file" in ran.err


def test_what_goes_through_a_pipe_is_never_complete() -> None:
    stdin = Path("a.png").read_bytes()
    Ran("quantize", "-", *IN_HASTE, "--output-dir", "out", stdin=stdin)
    ran = Ran("quantize", "-", *IN_HASTE, "--output-dir", "out", "--resume", stdin=stdin)
    assert (ran.code, "exists; use --force" in ran.err) == (4, True)


def test_apply_has_jobs_and_resumes_too() -> None:
    write_palette("two.gpl", np.array([[0, 0, 0], [250, 20, 3]], np.uint8))
    arguments = ["apply", *NAMES, "--palette", "two.gpl", "--output-dir", "out"]
    Ran(*arguments, "--jobs", "1")
    expected = emptied()
    Ran(*arguments, "--jobs", "3")
    assert made() == expected
    Path("out/c-two.png").unlink()
    ran = Ran(*arguments, "--resume")
    assert (ran.code, made()) == (0, expected)
    assert sum("complete already" in line for line in ran.lines) == 4


# One palette


def palette_of(name: str) -> list[int] | None:
    with Image.open(name) as image:
        return image.getpalette()


def test_all_results_have_the_palette_that_the_command_palette_finds() -> None:
    opaque = [name for name in NAMES if name != "d.png"]
    ran = quantize(*opaque, "--shared-palette", "--dither", "none")
    assert (ran.code, ran.err, len(ran.lines)) == (0, "", 4)
    Ran("palette", *opaque, *IN_HASTE, "-o", "all.gpl")
    colors = read_palette("all.gpl").ravel().tolist()
    assert [palette_of(f"out/{name[0]}-5.png") for name in opaque] == [colors] * 4
    Ran("apply", *opaque, "--palette", "all.gpl", "--output-dir", "out")
    for name in opaque:
        with Image.open(f"out/{name[0]}-5.png") as one, Image.open(f"out/{name[0]}-all.png") as two:
            assert np.mean(np.asarray(one) != np.asarray(two)) < 0.02, "ties alone"


def test_one_image_alone_is_that_of_its_own_palette() -> None:
    quantize("d.png")
    expected = emptied()
    quantize("d.png", "--shared-palette")
    assert made() == expected


def test_colors_that_are_kept_and_grays_hold_for_all() -> None:
    Path("gray.png").write_bytes(encoded(np.full((9, 7, 3), 131, np.uint8), "PNG"))
    ran = quantize(
        "a.png", "gray.png", "--shared-palette", "--keep", "#0000ff", "--lock-grays", "-k", "6"
    )
    assert ran.code == 0
    with Image.open("out/gray-6.png") as image:
        assert np.ptp(np.asarray(image.convert("RGB")), axis=2).max() == 0
    colors = np.array(palette_of("out/a-6.png")).reshape(-1, 3).tolist()
    assert [0, 0, 255] in colors


def test_several_k_share_a_palette_each() -> None:
    quantize("a.png", "b.png", "-k", "4,9", "--shared-palette")
    assert palette_of("out/a-4.png") == palette_of("out/b-4.png") != palette_of("out/a-9.png")
    assert sorted(made()) == ["a-4.png", "a-9.png", "b-4.png", "b-9.png"]


def test_k_may_be_more_than_an_image_has_pixels() -> None:
    assert quantize("c.png", "a.png", "--shared-palette", "-k", "100").code == 0
    assert len(palette_of("out/c-100.png") or []) == 300


@pytest.mark.parametrize("option", ["--target", "--min-quality"])
def test_goals_of_single_images_are_refused(option: str) -> None:
    ran = quantize(*NAMES, "--shared-palette", option, "psnr=20")
    assert (ran.code, made()) == (2, {})
    assert f"{option} is about single images; use it without --shared-palette" in ran.err


@pytest.mark.parametrize(
    ("code", "message", "options"),
    [
        (2, "k = 60000 is greater than the number of pixels, 6107", ["-k", "60000"]),
        (6, "there is no gpu:77|no NVIDIA driver|CuPy", ["--device", "gpu:77"]),
    ],
)
def test_a_palette_that_cannot_be_made_ends_it_with_one_line(
    code: int, message: str, options: list[str]
) -> None:
    ran = quantize(*NAMES, "--shared-palette", *options)
    assert (ran.code, ran.lines, made()) == (code, [], {})
    assert re.search(message, ran.err)
    assert len(ran.err.splitlines()) == 1


def test_weights_of_pixels_choose_the_shared_palette() -> None:
    Path("twice.png").write_bytes(Path("a.png").read_bytes())
    mask = np.zeros((61, 83), np.uint8)
    mask[20:30, :16] = 255
    Image.fromarray(mask).save("mask.png")
    quantize("a.png", "twice.png", "--shared-palette", "-k", "2")
    plain = emptied()
    ran = quantize("a.png", "twice.png", "--shared-palette", "-k", "2", "--weights", "mask.png")
    assert ran.code == 0
    assert made()["a-2.png"] == made()["twice-2.png"] != plain["a-2.png"]
    ran = quantize("a.png", "b.png", "--shared-palette", "-k", "3", "--weights", "mask.png")
    assert (ran.code, "b.png: weights for 83 x 61" in ran.err) == (5, True)


def test_an_image_that_changes_between_the_passes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    count = count_module.count_images

    def count_and_change(*arguments: Any, **options: Any) -> Any:
        total = count(*arguments, **options)
        Path("b.png").write_bytes(encoded(np.full((5, 5, 3), 77, np.uint8), "PNG"))
        return total

    monkeypatch.setattr(count_module, "count_images", count_and_change)
    ran = quantize("a.png", "b.png", "--shared-palette")
    assert (ran.code, list(made())) == (5, ["a-5.png"])
    assert "b.png: has changed since its colors were counted" in ran.err


def test_resume_counts_all_but_makes_only_what_is_missing() -> None:
    quantize(*NAMES, "--shared-palette")
    expected = made()
    Path("out/b-5.png").unlink()
    ran = quantize(*NAMES, "--shared-palette", "--resume")
    assert (ran.code, made()) == (0, expected)
    assert sum("complete already" in line for line in ran.lines) == 4


def test_nothing_is_counted_where_all_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    quantize(*NAMES, "--shared-palette")
    monkeypatch.setattr(count_module, "count_images", lambda *names, **options: 1 / 0)
    assert quantize(*NAMES, "--shared-palette", "--resume").code == 0


@pytest.mark.parametrize("k", ["5", "300"])
def test_results_of_another_palette_are_not_taken_for_complete(k: str) -> None:
    quantize("b.png", "c.png", "--shared-palette", "-k", k)
    before = made()
    ran = quantize("a.png", "b.png", "c.png", "--shared-palette", "--resume", "-k", k)
    if k == "300":  # true color does not tell
        assert ran.code == 0
        return
    assert (ran.code, len(ran.lines)) == (5, 1)
    assert "out/b-5.png: has not the palette that these images share; use --force" in ran.err
    assert made().items() > before.items()
    assert quantize("a.png", "b.png", "c.png", "--shared-palette", "--resume", "--force").code == 0
    assert palette_of("out/a-5.png") == palette_of("out/b-5.png") == palette_of("out/c-5.png")


def test_a_result_that_is_no_picture_is_not_taken_for_complete() -> None:
    quantize(*NAMES[:2], "--shared-palette")
    Path("out/b-5.png").write_text("a text")
    Path("out/a-5.png").unlink()
    ran = quantize(*NAMES[:2], "--shared-palette", "--resume")
    assert ran.code == 5
    assert Path("out/b-5.png").read_text() == "a text"


def test_a_shared_palette_is_found_by_all_threads_and_maps_by_those_of_an_image() -> None:
    keywords = {"threads": 2, "lock_grays": True, "color_space": "srgb", "dither": "bayer"}
    options = from_keywords(QuantizeOptions, keywords)
    sharing = SharedPaletteOptions(ks=[5], options=options, compute=Compute(threads=6))
    assert sharing.mapping == MapOptions(
        dithering=Dithering("bayer"), color_space="srgb", lock_grays=True
    )
    assert (sharing.compute.threads, sharing.options.compute.threads) == (6, 2)


def test_outputs_are_those_of_the_destination() -> None:
    work = ConversionJob(lambda image, progress: [], 5, [4, 5], ReadOptions())
    tasks = plan_tasks(["a.png", "-"], [], Destination(None, Path("out"), False, 2), work, False)
    assert [task.outputs for task in tasks] == [
        ["out/a-4.png", "out/a-5.png"], ["out/stdin-4.png", "out/stdin-5.png"],
    ]  # fmt: skip
    assert all(task.is_open for task in tasks)
