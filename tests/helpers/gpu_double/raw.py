"""`cupy.RawModule` and `cupy.RawKernel`: our own kernels, compiled by g++."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpu_double import machine as machines
from gpu_double.building import CompileError
from gpu_double.cuda_on_cpu import Geometry, KernelError, Module
from gpu_double.errors import CompileException, CUDADriverError, DynamicLibNotFoundError
from gpu_double.launch_rules import SHARED, LaunchError, check_arguments, check_geometry
from gpu_double.log import Launch, caller
from gpu_double.operations import check_device, is_device, span, traffic


def compiled(code: str, options: tuple[str, ...]) -> Module:
    """The kernels of a text, or CuPy's error."""
    machine = machines.current()
    machine.require_device()
    model = machine.model
    if not model.nvrtc:
        raise DynamicLibNotFoundError('Failure finding "libnvrtc.so"')
    module = Module(code, options, model.compute_capability)
    try:
        if model.refuses_to_compile:
            raise CompileError("kernel.cu(1): error: the stand-in was told to refuse")
        assert module.signatures is not None
    except CompileError as error:
        raise CompileException(str(error), code, "kernel.cu", options) from None
    return module


def check_text(value: Any, what: str) -> None:
    """CuPy's compiled code takes str and nothing else."""
    if not isinstance(value, str):
        raise TypeError(
            f"Argument '{what}' has incorrect type (expected str, got {type(value).__name__})"
        )


def check_options(options: Any) -> None:
    """A tuple of str."""
    if not isinstance(options, tuple):
        raise TypeError(
            f"Argument 'options' has incorrect type (expected tuple, got {type(options).__name__})"
        )


class RawKernel:
    """A kernel, compiled when it is first needed."""

    def __init__(
        self,
        code: str,
        name: str,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        *,
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        jitify: Any = None,
    ) -> None:
        check_text(code, "code")
        check_text(name, "name")
        check_options(options)
        self.code = code
        self.name = self.__name__ = name
        self.options = options
        self.backend = backend
        self._module: Module | None = None
        self._most_shared = SHARED

    def compile(self, log_stream: Any = None) -> None:
        self._module = compiled(self.code, self.options)

    @property
    def kernel(self) -> Any:
        return self._compiled()

    def _compiled(self) -> Module:
        if self._module is None:
            self.compile()
        assert self._module is not None
        if self.name not in self._module.kernels:
            raise CUDADriverError(500)
        return self._module

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self._most_shared - self._compiled().static_shared

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, bytes: int) -> None:
        static = self._compiled().static_shared
        if not 0 <= bytes <= machines.current().model.shared_memory_optin - static:
            raise CUDADriverError(1)
        self._most_shared = bytes + static

    @property
    def max_threads_per_block(self) -> int:
        return self._compiled().bounds[self.name]

    @property
    def attributes(self) -> dict[str, int]:
        return {
            "max_threads_per_block": self.max_threads_per_block,
            "shared_size_bytes": self._compiled().static_shared,
            "const_size_bytes": 0,
            "local_size_bytes": 0,
            "num_regs": 32,
            "ptx_version": int(machines.current().model.compute_capability),
            "binary_version": int(machines.current().model.compute_capability),
            "cache_mode_ca": 0,
            "max_dynamic_shared_size_bytes": self.max_dynamic_shared_size_bytes,
            "preferred_shared_memory_carveout": -1,
        }

    def __call__(self, grid: Any, block: Any, args: Any, **kwargs: Any) -> None:
        shared = kwargs.pop("shared_mem", 0)
        given = kwargs.pop("stream", None)
        if kwargs:
            raise TypeError(f"got an unexpected keyword argument {next(iter(kwargs))!r}")
        module = self._compiled()
        try:
            geometry = check_geometry(module, self.name, grid, block, shared, self._most_shared)
            signature = module.signatures[self.name]
            arguments = check_arguments(self.name, signature, args, memory_of)
        except LaunchError as error:
            raise CUDADriverError(1) from error
        machine = machines.current()
        stream = machine.stream if given is None else given._stream
        launch(module, self.name, geometry, args, arguments, stream)


def memory_of(value: Any) -> Any:
    """The NumPy view of a device array."""
    return value._values if is_device(value) else None


@machines.locked
def launch(
    module: Module,
    name: str,
    geometry: Geometry,
    values: Sequence[Any],
    arguments: Sequence[Any],
    stream: Any,
) -> None:
    """Put the launch into its stream, and check every array around it when it has run."""
    machine = stream.machine
    signature = module.signatures[name]
    for value in filter(is_device, values):
        check_device(value)
    given = [(v, p) for v, p in zip(values, signature, strict=True) if is_device(v)]
    written = [v for v, p in given if not p.endswith("c")]
    stream.begin([span(v, write=not p.endswith("c")) for v, p in given])
    machine.log.launches.append(
        Launch(
            name,
            "kernel",
            sum(traffic(v._values) for v, _ in given),
            sum(traffic(v._values) for v in written),
            caller(),
            stream.ptr,
            geometry.grid,
            geometry.block,
            geometry.shared,
        )
    )
    outputs = [v._values for v in written]
    blocks = [v._memory.block for v, _ in given]

    def work() -> None:
        try:
            module.launch(name, geometry, arguments, machine.model.schedule)
        except KernelError as error:
            raise machine.misuse(str(error)) from None
        if machine.model.falsify is not None:
            machine.model.falsify(name, outputs)
        if not all(block.intact() for block in blocks):
            raise machine.misuse(f"{name} wrote outside a device array")

    stream.submit(work)


class RawModule:
    """The kernels of one text."""

    def __init__(
        self,
        *,
        code: str | None = None,
        path: str | None = None,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        name_expressions: Any = None,
        jitify: Any = None,
    ) -> None:
        if (code is None) == (path is None):
            raise TypeError("Exactly one of `code` and `path` keyword arguments must be given.")
        if code is None:
            raise NotImplementedError("the stand-in runs texts, not compiled files")
        check_text(code, "code")
        check_options(options)
        self.code = code
        self.options = options
        self.backend = backend

    def compile(self, log_stream: Any = None) -> None:
        compiled(self.code, self.options)

    def get_function(self, name: str) -> RawKernel:
        kernel = RawKernel(self.code, name, self.options, self.backend)
        kernel._compiled()
        return kernel
