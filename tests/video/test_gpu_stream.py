"""Frames go through a GPU several at a time, in order, and become what they become on a CPU."""

from collections.abc import Iterator
from fractions import Fraction

import gpu_double
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from pictures import photo, soft_photo

from quantgpu.arrays.device import Device
from quantgpu.arrays.namespace import to_host
from quantgpu.clustering.cluster import nearest_entries
from quantgpu.color.spaces import COLOR_SPACES
from quantgpu.dithering.base import ColorMap, Dithering
from quantgpu.dithering.methods import mapper_for
from quantgpu.histogram import Histogram
from quantgpu.palette import Palette
from quantgpu.pixels.counting import Counter
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import no_progress
from quantgpu.video import gpu_stream
from quantgpu.video.frames.base import Frame
from quantgpu.video.gpu_stream import (
    BATCH_BYTES,
    DIFFUSED_BATCH_BYTES,
    IN_BUDGET,
    PENDING_BATCHES,
    SLOTS,
    GpuFrameStream,
    gpu_stream_for,
)
from quantgpu.video.palettes import Prepared, PreparedFrame

GPU = Device(0, 1 << 30)
OKLAB = COLOR_SPACES["oklab"]


@pytest.fixture
def gpu() -> Iterator[gpu_double.Double]:
    with gpu_double.installed() as double:
        yield double


def clip(count: int, height: int, width: int, channels: int = 3) -> list[NDArray[np.uint8]]:
    """Pictures of one size, none like another."""
    make = photo if channels == 3 else soft_photo
    return [np.roll(make(height, width, seed=n), 3 * n, axis=1) for n in range(count)]


def counted(pictures: list[NDArray[np.uint8]], flight: GpuFrameStream | None = None) -> Histogram:
    """The colors of all pictures; through a flight if there is one."""
    counter = Counter(np if flight is None else flight.xp, pictures[0].shape[2], True)
    for picture in pictures:
        pixels = Pixels(picture) if flight is None else flight.upload(picture)
        counter.add(pixels, True)
        pixels.wait()
    if flight is not None:
        flight.end()
    return counter.total()


def prepared(histogram: Histogram, k: int, method: str) -> Prepared:
    """What maps to `k` colors of a histogram."""
    colors = to_host(histogram.colors)
    some = np.linspace(0, len(colors) - 1, min(k, len(colors))).astype(int)
    palette = Palette(colors[some])
    labels = nearest_entries(histogram, palette, OKLAB)
    mapping = ColorMap(histogram, palette, labels, OKLAB)
    return Prepared(mapping, mapper_for(mapping, Dithering(method)), True)


def turns(pictures: list[NDArray[np.uint8]], ready: list[Prepared]) -> Iterator[PreparedFrame]:
    """The pictures, of which each is overwritten when the next is asked for, as decoders do."""
    for number, picture in enumerate(pictures):
        passing = picture.copy()
        yield PreparedFrame(
            Frame(passing, Fraction(number), Fraction(1)), ready[number % len(ready)]
        )


def flight_of(gpu: gpu_double.Double, picture: NDArray[np.uint8], together: int) -> GpuFrameStream:
    height, width, channels = picture.shape
    return GpuFrameStream(gpu.cupy, GPU, (height, width, channels), together)


def assert_mapped_alike(
    gpu: gpu_double.Double, pictures: list[NDArray[np.uint8]], k: int, method: str, together: int
) -> None:
    """All frames come out in order, with the colors, entries and errors that NumPy finds."""
    flight = flight_of(gpu, pictures[0], together)
    histograms = counted(pictures, flight), counted(pictures)
    for name in ("keys", "counts", "weights"):
        assert_array_equal(*(to_host(getattr(histogram, name)) for histogram in histograms))
    there, here = (prepared(histogram, k, method) for histogram in histograms)
    found = list(flight.map_frames(turns(pictures, [there])))
    assert [frame.time for frame, *_ in found] == list(range(len(pictures)))
    for picture, (_, ready, index, error) in zip(pictures, found, strict=True):
        expected, tally = here.mapper(Pixels(picture), False, no_progress)
        assert_array_equal(index, expected)
        assert index.dtype == expected.dtype
        assert ready is there
        assert error == (None if tally is None else tally.squared_error)


@pytest.mark.parametrize("size", [(1, 1), (1, 19), (23, 1), (17, 31)])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("method", ["none", "bayer", "adaptive"])
def test_frames_of_awkward_sizes_are_mapped_in_order(
    gpu: gpu_double.Double, method: str, channels: int, size: tuple[int, int]
) -> None:
    assert_mapped_alike(gpu, clip(5, *size, channels), 6, method, 2)


@pytest.mark.parametrize("together", [1, 3, 9])
@pytest.mark.parametrize(("method", "k"), [("blue-noise", 200), ("blue-noise", 300), ("jarvis", 9)])
def test_any_number_of_frames_may_go_together(
    gpu: gpu_double.Double, method: str, k: int, together: int
) -> None:
    assert_mapped_alike(gpu, clip(7, 33, 20), k, method, together)


def test_each_frame_may_have_its_own_palette(gpu: gpu_double.Double) -> None:
    pictures = clip(6, 17, 31)
    flight = flight_of(gpu, pictures[0], 4)
    there, here = (
        [prepared(histogram, k, "blue-noise") for k in (5, 30)]
        for histogram in (counted(pictures, flight), counted(pictures))
    )
    for number, (_, used, index, _) in enumerate(flight.map_frames(turns(pictures, there))):
        assert used is there[number % 2]
        expected, _ = here[number % 2].mapper(Pixels(pictures[number]), False, no_progress)
        assert_array_equal(index, expected)


@pytest.mark.parametrize("method", ["none", "blue-noise"])
def test_pixels_go_up_once_and_indices_down_once_and_the_host_waits_for_nothing_else(
    gpu: gpu_double.Double, method: str
) -> None:
    pictures, together = clip(24, 16, 20), 4
    flight = flight_of(gpu, pictures[0], together)
    ready = prepared(counted(pictures, flight), 9, method)
    gpu.log.reset()
    list(flight.map_frames(turns(pictures, [ready])))
    batches, told = len(pictures) // together, 0 if method == "none" else 8
    assert gpu.log.moved("up", pinned=True) == gpu.log.moved("up") == 24 * 16 * 20 * 3
    assert gpu.log.moved("down", pinned=True) == gpu.log.moved("down") == 24 * (16 * 20 + told)
    assert len(gpu.log.kernels()) == batches
    why = [wait.why for wait in gpu.log.synchronizations]
    assert why.count("Event.synchronize") == 2 * batches  # to fill memory again, and for indices
    assert len(why) == 2 * batches + 2  # both streams, in the end


def test_counting_waits_only_before_memory_is_filled_again(gpu: gpu_double.Double) -> None:
    pictures = clip(12, 16, 20)
    flight = flight_of(gpu, pictures[0], 1)
    counter = Counter(gpu.cupy, 3, True)
    gpu.log.reset()
    for picture in pictures:
        pixels = flight.upload(picture)
        counter.add(pixels, True)
        pixels.wait()
    assert len(gpu.log.synchronizations) == len(pictures) - SLOTS
    assert gpu.log.moved("up") == 12 * 16 * 20 * 3
    flight.end()


@pytest.mark.parametrize(("palettes", "ahead"), [(1, PENDING_BATCHES + 2), (9, 2)])
def test_frames_go_up_while_others_are_mapped_and_come_down(
    gpu: gpu_double.Double, palettes: int, ahead: int
) -> None:
    """No result is waited for before as many batches as may be are under way."""
    pictures = clip(12, 16, 20)
    flight = flight_of(gpu, pictures[0], 1)
    histogram = counted(pictures, flight)
    ready = [prepared(histogram, 9, "none") for _ in range(palettes)]
    asked = []

    def watched() -> Iterator[PreparedFrame]:
        for turn in turns(pictures, ready):
            asked.append(turn)
            yield turn

    results = flight.map_frames(watched())
    next(results)
    assert len(asked) == ahead + 1  # one more, to see whether it belongs to the last batch
    assert len(gpu.log.kernels("remap")) == ahead - 1
    results.close()


def test_a_clip_that_is_given_up_leaves_no_copy_behind(gpu: gpu_double.Double) -> None:
    pictures = clip(9, 16, 20)
    flight = flight_of(gpu, pictures[0], 2)
    ready = prepared(counted(pictures, flight), 9, "blue-noise")
    results = flight.map_frames(turns(pictures, [ready]))
    next(results)
    results.close()
    del results, ready
    gpu.machine.complain()


def test_memory_decides_how_many_go_together(gpu: gpu_double.Double) -> None:
    def together(
        memory: int, height: int = 1080, width: int = 1920, diffuses: bool = False
    ) -> int | None:
        flight = gpu_stream_for(gpu.cupy, Device(0, memory), (height, width, 3), diffuses)
        return None if flight is None else flight.batch_size

    frame = 3 * 1920 * 1080
    assert together(20 << 30) == BATCH_BYTES // frame == 5
    assert together(20 << 30, 2160, 3840) == 1
    assert together(20 << 30, 2160, 3840, diffuses=True) == DIFFUSED_BATCH_BYTES // (4 * frame) == 5
    assert together(20 << 30, 1, 1) == gpu_stream.MOST_FRAMES
    assert together(IN_BUDGET * SLOTS * 2 * frame) == 2
    assert together(IN_BUDGET * SLOTS * frame - 1) is None


def test_device_memory_is_that_of_the_buffers(gpu: gpu_double.Double) -> None:
    pictures = clip(40, 200, 300)
    ready = prepared(counted(pictures[:2], flight_of(gpu, pictures[0], 1)), 9, "none")
    before = gpu.log.bytes_in_use
    gpu.log.reset()
    flight = flight_of(gpu, pictures[0], 2)
    list(flight.map_frames(turns(pictures, [ready])))
    batch = 2 * 200 * 300
    assert gpu.log.peak_bytes - before < SLOTS * 3 * batch + (PENDING_BATCHES + 1) * batch + 10_000
