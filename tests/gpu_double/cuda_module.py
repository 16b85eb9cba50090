"""`cupy.cuda`: devices, streams, events, memory pools, the runtime."""

from __future__ import annotations

import time
from types import ModuleType, TracebackType
from typing import Any

from gpu_double import errors
from gpu_double import machine as machines
from gpu_double.memory import MemoryPointer, PinnedMemoryPointer, pinned_pointer
from gpu_double.streams import Marker, merge
from gpu_double.streams import Stream as Queue


class Device:
    """A device of the machine."""

    def __init__(self, device: Any = None) -> None:
        machines.current().require_device()
        self.id = machines.current().device_id if device is None else int(device)

    def __int__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __enter__(self) -> Device:
        machine = machines.current()
        previous = [*getattr(machine.local, "devices", []), machine.device_id]
        machine.set_device(self.id)
        machine.local.devices = previous
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        machine = machines.current()
        machine.set_device(machine.local.devices.pop())

    def use(self) -> Device:
        machines.current().set_device(self.id)
        return self

    def synchronize(self) -> None:
        machine = machines.current()
        machine.require_device()
        machine.synchronized("Device.synchronize")
        for stream in [machine.default_stream, *machine.streams.values()]:
            stream.join_host()

    @property
    def compute_capability(self) -> str:
        return machines.current().model.compute_capability

    @property
    def mem_info(self) -> tuple[int, int]:
        return memory_info()

    @property
    def attributes(self) -> dict[str, int]:
        return attributes()

    @property
    def pci_bus_id(self) -> str:
        return f"0000:{self.id + 1:02X}:00.0"


def attributes() -> dict[str, int]:
    """The attributes of every device."""
    model = machines.current().model
    return {
        "MultiProcessorCount": model.multiprocessors,
        "MaxThreadsPerBlock": 1024,
        "MaxThreadsPerMultiProcessor": 1536,
        "MaxSharedMemoryPerBlock": 48 << 10,
        "MaxSharedMemoryPerBlockOptin": model.shared_memory_optin,
        "MaxSharedMemoryPerMultiprocessor": model.shared_memory_optin + 1024,
        "MaxGridDimX": 2**31 - 1,
        "MaxGridDimY": 65535,
        "MaxGridDimZ": 65535,
        "WarpSize": 32,
        "L2CacheSize": 4 << 20,
        "ClockRate": 1_700_000,
        "MemoryClockRate": 7_000_000,
        "GlobalMemoryBusWidth": 256,
        "AsyncEngineCount": 2,
        "Integrated": 0,
        "EccEnabled": 0,
    }


def memory_info() -> tuple[int, int]:
    """Free and total bytes of the current device."""
    machine = machines.current()
    machine.require_device()
    return machine.free_bytes, machine.model.memory


class Event:
    """A place in a stream's work."""

    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        if interprocess and not disable_timing:
            raise ValueError("Timing must be disabled for interprocess events")
        self.ptr = id(self)
        self._timed = not disable_timing
        self._marker: Marker | None = None
        self._time = 0.0

    def record(self, stream: Any = None) -> None:
        chosen = machines.current().stream if stream is None else stream._stream
        chosen.begin()
        if self._timed:
            chosen.submit(self._note_time)
        self._marker = chosen.marker()

    def _note_time(self) -> None:
        self._time = time.perf_counter()

    def synchronize(self) -> None:
        machines.current().synchronized("Event.synchronize")
        self._join()

    def _join(self) -> None:
        """The host knows that the event has happened."""
        marker = self._marker
        if marker is not None:
            marker.stream.finish(marker)
            merge(marker.stream.machine.host, marker.clock)

    @property
    def done(self) -> bool:
        reached = self._marker is None or self._marker.reached
        self._join()
        return reached


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Milliseconds between two events that have happened."""
    for event in (start_event, end_event):
        if not event._timed or event._marker is None:
            raise errors.CUDARuntimeError(1)
        if not event._marker.reached:
            raise errors.CUDARuntimeError(600)
    return (end_event._time - start_event._time) * 1000


class Stream:
    """A queue of work for the device."""

    null: Stream

    def __init__(
        self,
        null: bool = False,
        non_blocking: bool = False,
        ptds: bool = False,
        priority: Any = None,
    ) -> None:
        machine = machines.current()
        machine.require_device()
        if ptds:
            raise NotImplementedError("per-thread default streams")
        if null:
            self._queue = machine.default_stream
        else:
            ptr = 1 + max(machine.streams, default=2)
            self._queue = Queue(machine, ptr, late=True, blocking=not non_blocking)
            machine.streams[ptr] = self._queue
        self.device_id = -1 if null else machine.device_id

    @property
    def _stream(self) -> Queue:
        return self._queue

    @property
    def ptr(self) -> int:
        return self._stream.ptr

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other._stream is self._stream

    def __hash__(self) -> int:
        return self.ptr

    def __repr__(self) -> str:
        return f"<Stream {self.ptr} (device {self.device_id})>"

    def __enter__(self) -> Stream:
        machine = machines.current()
        machine.local.streams = [*getattr(machine.local, "streams", []), self._stream]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        machines.current().local.streams.pop()

    def use(self) -> Stream:
        machines.current().local.streams = [self._stream]
        return self

    @property
    def done(self) -> bool:
        empty = not self._stream.queue
        self._stream.join_host()
        return empty

    def synchronize(self) -> None:
        self._stream.synchronize("Stream.synchronize")

    def record(self, event: Event | None = None) -> Event:
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        if event._marker is not None:
            self._stream.wait(event._marker)


class NullStream(Stream):
    """`Stream.null`: the default stream of whatever machine is installed."""

    def __init__(self) -> None:
        self.device_id = -1

    @property
    def _stream(self) -> Queue:
        return machines.current().default_stream


Stream.null = NullStream()


def get_current_stream(device_id: int = -1) -> Stream:
    """The stream that work goes to."""
    machine = machines.current()
    if machine.stream is machine.default_stream:
        return Stream.null
    result = Stream.__new__(Stream)
    result._queue = machine.stream
    result.device_id = machine.device_id
    return result


def is_available() -> bool:
    """Whether there is a device and a driver."""
    model = machines.current().model
    return model.driver and model.devices > 0


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    """Page-locked host memory."""
    machine = machines.current()
    machine.require_device()
    pointer: PinnedMemoryPointer = pinned_pointer(machine, size)
    return pointer


class MemoryPool:
    """The pool that device arrays come from."""

    def used_bytes(self) -> int:
        return machines.current().log.bytes_in_use

    def total_bytes(self) -> int:
        return machines.current().held

    def free_bytes(self) -> int:
        return self.total_bytes() - self.used_bytes()

    def free_all_blocks(self, stream: Any = None) -> None:
        machine = machines.current()
        machine.held = machine.log.bytes_in_use

    def set_limit(self, size: Any = None, fraction: Any = None) -> None:
        if size is not None and fraction is not None:
            raise ValueError("size and fraction cannot be specified at one time")
        if fraction is not None:
            size = int(fraction * machines.current().model.memory)
        machines.current().limit = size or 0

    def get_limit(self) -> int:
        return machines.current().limit


class PinnedMemoryPool:
    """The pool that pinned memory comes from."""

    def free_all_blocks(self) -> None:
        pass

    def n_free_blocks(self) -> int:
        return 0


def modules() -> dict[str, ModuleType]:
    """`cupy.cuda` and what is below it, by name."""
    cuda = ModuleType("cupy.cuda")
    below = {
        "runtime": runtime(),
        "driver": namespace(
            "driver",
            CUDADriverError=errors.CUDADriverError,
            get_build_version=lambda: 13000,
        ),
        "nvrtc": namespace("nvrtc", getVersion=nvrtc_version),
        "memory": namespace(
            "memory",
            OutOfMemoryError=errors.OutOfMemoryError,
            MemoryPointer=MemoryPointer,
            MemoryPool=MemoryPool,
        ),
        "compiler": namespace("compiler", CompileException=errors.CompileException),
        "stream": namespace("stream", Stream=Stream, Event=Event),
        "device": namespace("device", Device=Device),
        "pinned_memory": namespace(
            "pinned_memory",
            PinnedMemoryPointer=PinnedMemoryPointer,
            PinnedMemoryPool=PinnedMemoryPool,
        ),
    }
    offered: list[Any] = [
        Device,
        Event,
        MemoryPointer,
        MemoryPool,
        PinnedMemoryPointer,
        PinnedMemoryPool,
        Stream,
        alloc_pinned_memory,
        get_current_stream,
        get_elapsed_time,
        is_available,
    ]
    for item in offered:
        setattr(cuda, item.__name__, item)
    for name, module in below.items():
        setattr(cuda, name, module)
    return {"cupy.cuda": cuda} | {f"cupy.cuda.{name}": m for name, m in below.items()}


def namespace(name: str, **members: Any) -> ModuleType:
    """A module of `cupy.cuda`."""
    module = ModuleType(f"cupy.cuda.{name}")
    vars(module).update(members)
    return module


def nvrtc_version() -> tuple[int, int]:
    """NVRTC's version."""
    if not machines.current().model.nvrtc:
        raise errors.DynamicLibNotFoundError('Failure finding "libnvrtc.so"')
    return 13, 0


class PointerAttributes:
    """What an address is."""

    def __init__(self, device: int, devicePointer: int, hostPointer: int, type: int) -> None:  # noqa: N803
        self.device = device
        self.devicePointer = devicePointer
        self.hostPointer = hostPointer
        self.type = type


def pointer_attributes(ptr: int) -> PointerAttributes:
    """Whether an address is device memory (2), pinned (1) or neither (0)."""
    machine = machines.current()
    for start, memory in list(machine.blocks.items()):
        if start <= ptr < start + memory.size:
            return PointerAttributes(memory.device_id, ptr, 0, 2)
    for start, pinned in list(machine.pinned.items()):
        if start <= ptr < start + pinned.size:
            return PointerAttributes(0, ptr, ptr, 1)
    return PointerAttributes(-2, 0, ptr, 0)


def device_count() -> int:
    machine = machines.current()
    machine.require_device()
    return machine.model.devices


def current_device() -> int:
    machines.current().require_device()
    return machines.current().device_id


def set_device(device: int) -> None:
    machines.current().set_device(device)


def synchronize_device() -> None:
    Device().synchronize()


def device_properties(device: int) -> dict[str, Any]:
    """The properties of a device that users look at."""
    machine = machines.current()
    machine.require_device()
    model = machine.model
    return {
        "name": model.name.encode(),
        "totalGlobalMem": model.memory,
        "major": int(model.compute_capability[:-1]),
        "minor": int(model.compute_capability[-1]),
        "multiProcessorCount": model.multiprocessors,
        "sharedMemPerBlock": 48 << 10,
        "warpSize": 32,
        "maxThreadsPerBlock": 1024,
        "clockRate": 1_700_000,
        "memoryClockRate": 7_000_000,
        "memoryBusWidth": 256,
        "l2CacheSize": 4 << 20,
        "integrated": 0,
    }


def runtime() -> ModuleType:
    """`cupy.cuda.runtime`."""
    return namespace(
        "runtime",
        CUDARuntimeError=errors.CUDARuntimeError,
        PointerAttributes=PointerAttributes,
        deviceSynchronize=synchronize_device,
        driverGetVersion=lambda: 13000 if machines.current().model.driver else 0,
        getDevice=current_device,
        getDeviceCount=device_count,
        getDeviceProperties=device_properties,
        memGetInfo=memory_info,
        pointerGetAttributes=pointer_attributes,
        runtimeGetVersion=lambda: 13000,
        setDevice=set_device,
        is_hip=False,
        memoryTypeDevice=2,
        memoryTypeHost=1,
        memoryTypeUnregistered=0,
    )
