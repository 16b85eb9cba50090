"""`cupy.cuda.Device` and `cupy.cuda.runtime`."""

from __future__ import annotations

from types import ModuleType, TracebackType
from typing import Any

from gpu_double import errors
from gpu_double import machine as machines


class Device:
    """A device of the machine."""

    def __init__(self, device: Any = None) -> None:
        self.id = current_device() if device is None else int(device)

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
        for stream in machine.all_streams:
            if stream.device == self.id:
                stream.join_host()

    @property
    def compute_capability(self) -> str:
        machines.current().require_device()
        return machines.current().model.compute_capability

    @property
    def mem_info(self) -> tuple[int, int]:
        with self:
            return memory_info()

    @property
    def attributes(self) -> dict[str, int]:
        return attributes()

    @property
    def pci_bus_id(self) -> str:
        return f"0000:{self.id + 1:02X}:00.0"


def attributes() -> dict[str, int]:
    """The attributes of every device."""
    machines.current().require_device()
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


def namespace(name: str, **members: Any) -> ModuleType:
    """A module of `cupy.cuda`."""
    module = ModuleType(f"cupy.cuda.{name}")
    vars(module).update(members)
    return module


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
    machine.require_device()
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
        runtimeGetVersion=lambda: 13020,
        setDevice=set_device,
        is_hip=False,
        memoryTypeDevice=2,
        memoryTypeHost=1,
        memoryTypeUnregistered=0,
    )
