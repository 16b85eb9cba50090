"""The cost model behaves like one: bandwidth helps, waiting does not, the bus is the floor."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import predict
import predict_frames
from prediction.calls import Call, Copy, Deed, Mark, Order, Wait, Work
from prediction.cards import CARDS, START, Card
from prediction.clocks import Timeline
from prediction.needs import KERNELS, Facts, Need, array_need, keys_of, sectors

from quantgpu.dithering.diffusion_gpu import defines
from quantgpu.dithering.diffusion_matrices import DIFFUSION_MATRICES as ROWS_OF
from quantgpu.video import gpu_stream

SMALL = ["--megapixels", "0.01", "-k", "16"]


def seconds(calls: list[Call], card: Card) -> float:
    """The predicted time."""
    return Timeline(card).run(calls).host


def call(*deeds: Deed, python: float = 1e-5) -> Call:
    """A call that does something."""
    return Call("add", "kmeans.py:1", "search", python, list(deeds))


def random_calls(seed: int) -> list[Call]:
    """Launches, copies, events and waits on three streams; the last waits for all of them."""
    rng = np.random.default_rng(seed)
    calls = []
    for number in range(60):
        stream = int(rng.integers(3))
        size = int(rng.integers(1, 1 << 26))
        deeds: list[Deed] = [
            Work("reduce", True, stream, Need(size, size / 64, size / 99, size, 9 * size, size)),
            Copy("up", stream, size),
            Copy("down", stream, size),
            Mark(number % 7, stream),
            Order(number % 7, stream),
            Wait(None, stream),
        ]
        calls.append(call(deeds[rng.integers(len(deeds))], python=rng.random() * 1e-4))
    return [*calls, *(call(Wait(None, stream)) for stream in range(3))]


@pytest.fixture(scope="module")
def run() -> Iterator[predict.Run]:
    """A counted run of a small picture in pageable memory, which has to be staged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "PYTHON_RUNS", 1)
        yield predict.record(predict.load(None, 0.01), 16, "fast", pinned=False)


def test_every_line_of_figures_says_that_they_are_predicted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "PYTHON_RUNS", 1)
    predict.main([*SMALL, "--effort", "fast"])
    lines = [line for line in capsys.readouterr().out.splitlines() if any(map(str.isdigit, line))]
    assert len(lines) > len(CARDS)
    assert all("predicted" in line for line in lines)


def test_machines_read_the_same_with_the_floor(
    run: predict.Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "record", lambda *options, **given: run)
    predict.main([*SMALL, "--effort", "fast", "--cards", "t4,h100", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [row["card"] for row in found["predicted"]] == ["t4", "h100"]
    for row in found["predicted"]:
        assert row["floor ms"] > 0
        assert row["predicted ms"] == pytest.approx(row["floor ms"] * row["multiple of the floor"])
        assert row["predicted ms"] == pytest.approx(sum(row["stages ms"].values()))


def test_unknown_cards_are_refused_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        predict.main([*SMALL, "--cards", "h100,voodoo2"])
    message = capsys.readouterr().err
    assert "voodoo2" in message
    assert all(name in message for name in CARDS)


def test_each_pixel_crosses_the_bus_once(run: predict.Run) -> None:
    found = predict.counts(run)
    assert 3 * run.pixels <= found["bytes up"] < 3 * run.pixels + 100_000
    assert run.pixels <= found["bytes down"] < run.pixels + 100_000
    assert found["own launches"]["histogram"] == found["own launches"]["remap"] == 1
    assert found["multiply-adds"] > 0


@pytest.mark.parametrize("name", CARDS)
def test_the_floor_is_bytes_by_rates_and_below_the_total(run: predict.Run, name: str) -> None:
    card = CARDS[name]
    floor = predict.floor(run, card)
    assert floor == pytest.approx(3 * run.pixels / card.up + run.pixels / card.down)
    assert predict.prediction(run, name)["predicted ms"] >= 1e3 * floor


@pytest.mark.parametrize("field", ["memory", "cache", "cache_rate", "clock", "doubles", "up"])
@pytest.mark.parametrize("seed", range(5))
def test_a_better_card_is_never_slower(run: predict.Run, field: str, seed: int) -> None:
    for calls in (random_calls(seed), run.calls):
        for card in CARDS.values():
            better = card._replace(**{field: 2 * getattr(card, field)})
            assert seconds(calls, better) <= seconds(calls, card)


@pytest.mark.parametrize("seed", range(20))
def test_a_synchronization_never_makes_it_faster(seed: int) -> None:
    calls = random_calls(seed)
    card = CARDS["rtx4090"]
    before = seconds(calls, card)
    for place in range(0, len(calls), 7):
        waiting = call(Wait(None, place % 3), python=0)
        assert seconds([*calls[:place], waiting, *calls[place:]], card) >= before


def test_a_slower_host_is_never_faster(run: predict.Run) -> None:
    for name in CARDS:
        times = [predict.prediction(run, name, s)["predicted ms"] for s in (0, 0.5, 1, 3)]
        assert times == sorted(times)
        assert times[0] == predict.prediction(run, name)["ms without host"]


def test_a_copy_goes_on_beside_a_launch_unless_it_must_wait() -> None:
    card = CARDS["h100"]
    work, copy = Work("reduce", True, 0, Need(1 << 30)), Copy("up", 1, 1 << 25)
    end = [call(Wait(None, 0)), call(Wait(None, 1))]
    alone = [seconds([call(deed), *end], card) for deed in (work, copy)]
    beside = seconds([call(work), call(copy), *end], card)
    ordered = seconds([call(work), call(Mark(9, 0)), call(Order(9, 1)), call(copy), *end], card)
    assert max(alone) < beside < 0.9 * sum(alone)
    assert ordered > 0.9 * sum(alone)


def test_few_blocks_leave_multiprocessors_idle() -> None:
    card = CARDS["a100"]
    full, few = (Need(instructions=1e9, blocks=blocks).seconds(card) for blocks in (math.inf, 4))
    assert few > 10 * full


NUMBERS = {"n": 9999, "count": 200, "k": 190, "fixed": 0, "level": 5}
ARRAYS: dict[str, NDArray[Any]] = {
    "begins": np.full(9999, 5, np.int8), "distances": np.zeros((99, 190), np.float32),
}  # fmt: skip


def spatial_need(name: str, axes: int, kind: int = 1, **numbers: int) -> Need:
    """What a launch of a kernel for points of so many axes needs."""
    options = f"-DKIND={kind}", f"-DAXES={axes}"
    return KERNELS[name](Facts(NUMBERS | numbers, ARRAYS, options))


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize(
    "kernel", ["accumulate", "drop", "octree", "place", "rank", "reduce", "spread", "update"]
)
def test_a_fourth_axis_needs_more_of_everything_but_launches(kernel: str, name: str) -> None:
    three, four = (spatial_need(kernel, axes) for axes in (3, 4))
    assert four.nbytes > three.nbytes
    assert all(more >= less for more, less in zip(four, three, strict=True))
    assert four.launches == three.launches
    assert three.seconds(CARDS[name]) <= four.seconds(CARDS[name]) < 4 * three.seconds(CARDS[name])


def test_assignment_and_sums_read_each_point_once_and_multiply_once_for_each_axis() -> None:
    """As `test_kernels_traffic` counts the bytes."""
    for axes, nbytes in ((3, 20), (4, 24)):
        labels, sums, more = (
            spatial_need("reduce", axes, kind, n=n)
            for kind, n in ((0, 9999), (1, 9999), (1, 19998))
        )
        assert more.nbytes - sums.nbytes == nbytes * 9999
        assert labels.nbytes == (nbytes - 4) * 9999 + 4 * axes * 200
        assert labels.multiply_adds == sums.multiply_adds == axes * 9999 * 200


def test_whoever_drops_walks_past_fixed_centers() -> None:
    assert spatial_need("drop", 3, fixed=90).cycles > spatial_need("drop", 3).cycles


@pytest.mark.parametrize("kernel", ["drop", "place", "rank", "reduce", "spread", "update"])
def test_kernels_of_a_round_that_is_not_run_begin_and_end(kernel: str) -> None:
    card = CARDS["t4"]
    need = spatial_need(kernel, 3, count=0, k=0)
    assert START <= need.seconds(card) < START + 1e-4


def diffusion_of(height: int, width: int, frames: int = 1, name: str = "adaptive") -> Need:
    """What diffusing frames needs."""
    options = tuple(f"-D{name}={value}" for name, value in defines(ROWS_OF[name], 3, 1).items())
    numbers = {"frames": frames, "height": height, "width": width}
    arrays: dict[str, Any] = {
        name: np.zeros(1 << 20, np.int32) for name in ("points", "codes", "entries")
    }
    return KERNELS["diffuse"](Facts(numbers, arrays | {"index": np.zeros(1, np.uint8)}, options))


def test_24_megapixels_are_diffused_in_20_milliseconds_if_the_prediction_holds() -> None:
    assert 0.005 < diffusion_of(4000, 6000).seconds(CARDS["h100"]) < 0.020


def test_what_dithering_launches_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "PYTHON_RUNS", 1)
    found = predict.counts(predict.record(predict.load(None, 0.01), 16, "fast", True, "adaptive"))
    assert found["own launches"]["diffuse"] == 1
    assert not found["kernels without a formula"]


def test_a_wave_is_as_long_as_its_columns_and_lags() -> None:
    step = diffusion_of(1, 1001).cycles - diffusion_of(1, 1000).cycles
    assert diffusion_of(1, 2000).cycles == pytest.approx(diffusion_of(1, 1000).cycles + 1000 * step)
    lagging = diffusion_of(3200, 1000).cycles - diffusion_of(32, 1000).cycles
    assert 2 * 3168 * step < lagging < 3 * 3168 * step


def test_frames_are_diffused_beside_each_other() -> None:
    card = CARDS["h100"]
    assert diffusion_of(1080, 1920, 8).seconds(card) < 2 * diffusion_of(1080, 1920).seconds(card)


def test_sorting_takes_a_pass_for_each_byte() -> None:
    assert array_need("argsort", 8000, 8000, 8).nbytes > 2 * array_need("add", 8000, 8000, 8).nbytes


def test_keys_and_sectors_are_those_of_the_kernels() -> None:
    pixels = np.array([[1, 2, 3], [0, 2, 3], [255, 255, 255]], np.uint8)
    assert keys_of(pixels).tolist() == [0x030201, 0x030200, 0xFFFFFF]
    assert sectors(keys_of(pixels), 4) == 64


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> predict_frames.Run:
    """A counted run of frames, two at a time."""
    monkeypatch.setattr(gpu_stream, "BATCH_BYTES", 2 * 3 * 64 * 48)
    return predict_frames.record(64, 48, 8, "blue-noise")


def test_frames_cross_the_bus_once(frames: predict_frames.Run) -> None:
    run = frames
    copies = [d for each in run.calls[run.warm :] for d in each.deeds if isinstance(d, Copy)]
    moved = {way: sum(c.nbytes for c in copies if c.direction == way) for way in ("up", "down")}
    assert run.frames == 2 * predict_frames.BATCHES
    assert moved == {"up": run.frames * 3 * 64 * 48, "down": run.frames * (64 * 48 + 8)}


@pytest.mark.parametrize("name", CARDS)
def test_a_frame_takes_as_long_as_what_bounds_it(frames: predict_frames.Run, name: str) -> None:
    card = CARDS[name]
    found, staged = (predict_frames.predicted(frames, card, staged) for staged in (False, True))
    assert found.busy["up"] >= 3 * 64 * 48 / card.up
    assert found.busy["down"] >= 64 * 48 / card.down
    assert found.busy[found.bound] == max(found.busy.values()) <= 1.001 * found.total
    assert found.total <= staged.total
    assert predict_frames.line(frames, name, "blue-noise").startswith(f"predicted {name}")


def test_counting_takes_frames_up_only() -> None:
    run = predict_frames.record_counting(64, 48)
    deeds = [deed for each in run.calls[run.warm :] for deed in each.deeds]
    assert sum(d.nbytes for d in deeds if isinstance(d, Copy)) == run.frames * 3 * 64 * 48
    assert [d.name for d in deeds if isinstance(d, Work)].count("histogram") == run.frames
    assert sum(isinstance(d, Wait) for d in deeds) == run.frames
    assert predict_frames.line(run, "t4", "counting").startswith("predicted t4")


def test_a_slow_bus_bounds_frames(frames: predict_frames.Run) -> None:
    slow = CARDS["rtx4090"]._replace(up=1e6)
    found = predict_frames.predicted(frames, slow)
    assert found.bound == "up"
    assert found.total == pytest.approx(found.busy["up"], rel=0.01)
