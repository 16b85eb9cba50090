"""A report on this machine: versions, GPUs, and whether each GPU computes NumPy's bytes."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from importlib.metadata import distributions, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantgpu.api import quantize
from quantgpu.arrays.device import (
    CPU,
    Device,
    device_context,
    free_memory,
    gpu_count,
    import_cupy,
    translate_gpu_errors,
)
from quantgpu.clustering.kmeans import lloyd
from quantgpu.clustering.options import PaletteOptions
from quantgpu.clustering.points import weighted_points
from quantgpu.demo.scene import render_scene
from quantgpu.dithering.methods import parse_dither
from quantgpu.errors import DeviceError
from quantgpu.execution.selection import open_gpu
from quantgpu.io.inputs import as_pixels
from quantgpu.options import k_for
from quantgpu.pixels.counting import count_colors
from quantgpu.pixels.gpu import GpuPixels
from quantgpu.pixels.pixels import Pixels
from quantgpu.progress import Progress, no_progress
from quantgpu.stages import Difference, compare_stages
from quantgpu.version import __version__

CUPY_PACKAGES = "cupy-cuda12x", "cupy-cuda13x", "cupy"

CASES = (
    *((2, "balanced", "adaptive"), (16, "best", "none"), (256, "fast", "blue-noise")),
    *((256, "balanced", "adaptive"), (600, "fast", "blue-noise")),
)
"""K, effort and dithering of the comparisons."""

MEASURED_WIDTH, MEASURED_HEIGHT = 6000, 4000
"""The size, in pixels, of the picture for measuring throughput."""

STEP_POINTS, STEP_CENTERS = 500_000, 256
"""The numbers of points and centers for measuring one of Lloyd's steps."""


def examine(report: Callable[[str], None] = lambda stage: None) -> dict[str, Any]:
    """The report of `quantgpu doctor`; `report` is called with the name of each step at its start.

    Keys: ``versions``, ``reason`` (why no GPU can be used, None if one can), ``devices``; each
    device has ``name``, ``memory``, ``free``, ``capability``, ``reason`` and, if that is None,
    ``comparisons`` and ``throughput``.
    """
    found: dict[str, Any] = {"versions": versions(), "reason": None, "devices": []}
    try:
        xp = import_cupy()
        found["versions"] |= cuda_versions(xp)
        with translate_gpu_errors():
            count = xp.cuda.runtime.getDeviceCount()
    except DeviceError as error:
        return found | {"reason": str(error)}
    found["devices"] = [examine_gpu(xp, number, report) for number in range(count)]
    if not count:
        found["reason"] = "the NVIDIA driver finds no GPU"
    elif all(device["reason"] for device in found["devices"]):
        found["reason"] = found["devices"][0]["reason"]
    return found


def versions() -> dict[str, str]:
    """The versions of installed packages, found without importing them."""
    found = {"quantgpu": __version__, "Python": platform.python_version()}
    for name, package in {"NumPy": "numpy", "Pillow": "pillow"}.items():
        found[name] = version(package)
    installed = {distribution.name: distribution.version for distribution in distributions()}
    cupy = [f"{installed[name]} ({name})" for name in CUPY_PACKAGES if name in installed]
    return found | {"CuPy": " and ".join(cupy) or "not installed"}


def cuda_versions(xp: Any) -> dict[str, str]:
    """The CUDA versions of the driver, the runtime and the compiler."""
    runtime = xp.cuda.runtime
    queries: dict[str, Callable[[], tuple[int, int]]] = {
        "CUDA driver": lambda: divmod(runtime.driverGetVersion() // 10, 100),
        "CUDA runtime": lambda: divmod(runtime.runtimeGetVersion() // 10, 100),
        "NVRTC": lambda: xp.cuda.nvrtc.getVersion(),
    }
    return {name: version_text(query) for name, query in queries.items()}


def version_text(query: Callable[[], tuple[int, int]]) -> str:
    """The version that `query` returns, or the message of its error."""
    try:
        with translate_gpu_errors():
            return ".".join(map(str, query()))
    except DeviceError as error:
        return str(error)


def examine_gpu(xp: Any, number: int, report: Callable[[str], None]) -> dict[str, Any]:
    """The report on one GPU: name, memory, and comparisons and throughput if it can be used."""
    found: dict[str, Any] = {"number": number, "reason": None}
    try:
        with translate_gpu_errors():
            properties = xp.cuda.runtime.getDeviceProperties(number)
            capability = f"{properties['major']}.{properties['minor']}"
            found |= {"name": properties["name"].decode(), "capability": capability}
            with xp.cuda.Device(number):
                found["free"], found["memory"] = map(int, xp.cuda.runtime.memGetInfo())
        open_gpu(number)
        device = Device(number, free_memory(number))
        report(f"gpu:{number}: comparing with NumPy")
        found["comparisons"] = [compare_with_numpy(device, *case) for case in comparison_cases()]
        report(f"gpu:{number}: measuring")
        found |= {"throughput": {}, "unmeasured": None}
    except DeviceError as error:
        return found | {"reason": str(error)}
    try:
        with translate_gpu_errors(), device_context(device) as module:
            found["throughput"] = measure_throughput(device, module)
    except DeviceError as error:
        found["unmeasured"] = str(error)
    return found


def examine_stages(
    image: str | None,
    progress: Progress = no_progress,
    *,
    k: int = 256,
    effort: str = "balanced",
    color_space: str = "oklab",
    dither: str = "adaptive",
) -> dict[str, Any]:
    """The report of `quantgpu doctor --stages`: each GPU's first array that differs from NumPy's.

    Keys: ``picture``, ``width``, ``height``, the options, and ``devices``; each has ``number``, the
    ``stages`` that were compared, and ``difference``: None, or ``stage``, ``array``, ``place``,
    ``expected`` and ``found``.

    Raises:
        UsageError: An option is outside its range.
        InputError: The picture cannot be read.
        DeviceError: There is no GPU that can be used.
    """
    options = PaletteOptions(effort=effort, color_space=color_space)
    dithering = parse_dither(dither)
    picture = render_scene(451, 300) if image is None else to_array(image)
    height, width = picture.shape[:2]
    k_for(k, height * width)
    found = []
    for number in range(gpu_count()):
        progress(f"gpu:{number}", 0)
        open_gpu(number)
        device = Device(number, free_memory(number))
        stages, difference = compare_stages(picture, k, options, dithering, device)
        differs = None if difference is None else difference._asdict()
        found.append({"number": number, "stages": stages, "difference": differs})
    return {
        "picture": image or "built-in scene", "width": width, "height": height, "k": k,
        "effort": effort, "color_space": color_space, "dither": dither, "devices": found,
    }  # fmt: skip


def to_array(image: str) -> NDArray[np.uint8]:
    """The pixels of an image file, (H, W, 3 | 4) uint8."""
    pixels = as_pixels(image, "keep", None).to_host()
    rows: NDArray[np.uint8] = pixels.slab(0, pixels.shape[0])
    return np.ascontiguousarray(rows.reshape(*pixels.shape, pixels.channels))


def stage_lines(found: dict[str, Any]) -> list[str]:
    """The report of `examine_stages`, for people."""
    lines = [
        f"{found['picture']}, {found['width']} x {found['height']}, K = {found['k']}, "
        f"{found['effort']}, {found['color_space']}, {found['dither']}"
    ]
    for device in found["devices"]:
        name, stages = f"gpu:{device['number']}", ", ".join(device["stages"])
        if device["difference"] is None:
            lines.append(f"{name}: the arrays of all stages are those of NumPy ({stages})")
        else:
            lines.append(f"{name}: DIFFERENT: {Difference(**device['difference']).as_line()}")
            lines.append(f"{name}: compared in this order: {stages}")
    return lines


def comparison_cases() -> list[tuple[str, NDArray[np.uint8], int, str, str]]:
    """Name, pixels, K, effort and dithering of each comparison."""
    scene = render_scene(451, 300)
    noise = np.random.default_rng(0).integers(0, 256, (200, 333, 3)).astype(np.uint8)
    named = {"scene": scene, "noise": noise}
    return [(name, picture, *case) for name, picture in named.items() for case in CASES]


def compare_with_numpy(
    device: Device, name: str, picture: NDArray[np.uint8], k: int, effort: str, dither: str
) -> dict[str, Any]:
    """Compare the palette, indices and counts of a GPU with NumPy's.

    Keys: those of the case, ``notes``, and ``equal``, which is None if the GPU was not used.
    """
    case = {"picture": name, "k": k, "effort": effort, "dither": dither}
    on_host, on_gpu = (
        quantize(picture, k, effort=effort, dither=dither, device=str(place))
        for place in (CPU, device)
    )
    if on_gpu.device != str(device):
        return {**case, "equal": None, "notes": on_gpu.notes}
    equal = all(
        np.array_equal(one, other)
        for one, other in (
            (on_host.index, on_gpu.index),
            (on_host.palette.colors, on_gpu.palette.colors),
            (on_host.counts, on_gpu.counts),
        )
    )
    return {**case, "equal": equal, "notes": []}


def measure_throughput(device: Device, xp: Any) -> dict[str, float]:
    """Measure GB/s of copies, megapixels/s of counting and mapping, and ms of a Lloyd step."""
    picture = render_scene(MEASURED_WIDTH // 4, MEASURED_HEIGHT // 4).repeat(4, 0).repeat(4, 1)
    megapixels = picture.shape[0] * picture.shape[1] / 1e6
    stream = xp.cuda.get_current_stream()

    def seconds(function: Callable[[], Any]) -> float:
        function()
        stream.synchronize()
        started = time.perf_counter()
        function()
        stream.synchronize()
        return time.perf_counter() - started

    pixels = Pixels(picture)

    def upload() -> GpuPixels:
        device_pixels = GpuPixels(pixels, xp, device)
        list(device_pixels.slabs())
        device_pixels.wait()
        return device_pixels

    device_pixels = upload()
    table = xp.zeros(1 << 24, xp.uint8)
    rng = np.random.default_rng(0)
    points = weighted_points(
        xp.asarray(rng.integers(-1024, 1017, (3, STEP_POINTS)).astype(np.float32)),
        xp.ones(STEP_POINTS, xp.int64),
    )
    centers = points.columns[:-1, :STEP_CENTERS].T.copy()

    def remap(keep_on_device: bool) -> None:
        from quantgpu.dithering.lookup_gpu import remap

        device_pixels.map(xp.uint8, lambda colors, out: remap(table, colors, out), keep_on_device)
        device_pixels.wait()

    mapping = seconds(lambda: remap(keep_on_device=True))
    with_download = seconds(lambda: remap(keep_on_device=False))
    return {
        "upload_gb_per_s": 3 * megapixels / 1e3 / seconds(upload),
        "count_megapixels_per_s": megapixels / seconds(lambda: count_colors(device_pixels)),
        "lloyd_step_ms": 1e3 * seconds(lambda: lloyd(points, centers, 1)),
        "remap_megapixels_per_s": megapixels / mapping,
        "download_gb_per_s": megapixels / 1e3 / max(with_download - mapping, 1e-9),
    }


def as_lines(found: dict[str, Any]) -> list[str]:
    """The report of `examine`, for people."""
    lines = [f"{name:13} {number}" for name, number in found["versions"].items()]
    for device in found["devices"]:
        lines += ["", *gpu_lines(device)]
    if found["reason"]:
        lines += ["", f"no GPU can be used: {found['reason']}", "the CPU does the work instead"]
    return lines


def gpu_lines(device: dict[str, Any]) -> list[str]:
    """The lines of the report on one GPU."""
    lines = [f"gpu:{device['number']}         {device.get('name', '?')}"]
    if "memory" in device:
        lines.append(
            f"memory        {device['memory'] / 2**30:.1f} GiB, {device['free'] / 2**30:.1f} free; "
            f"compute capability {device['capability']}"
        )
    if device["reason"]:
        return [*lines, f"cannot be used: {device['reason']}"]
    cases = device["comparisons"]
    wrong = [case for case in cases if case["equal"] is False]
    lines.append(
        f"same bytes    {sum(case['equal'] is True for case in cases)} of {len(cases)} "
        "palettes and index maps are those of NumPy"
    )
    lines += [f"not compared  {note}" for case in cases for note in case["notes"]]
    lines += [
        f"DIFFERENT     {c['picture']}, K = {c['k']}, {c['effort']}, {c['dither']}" for c in wrong
    ]
    if device["unmeasured"]:
        lines.append(f"not measured  {device['unmeasured']}")
    for name, value in device["throughput"].items():
        lines.append(f"measured      {name.replace('_', ' ')}: {value:,.2f}")
    return lines


def has_difference(found: dict[str, Any]) -> bool:
    """Whether a GPU of a report computes other bytes than NumPy."""
    cases = [case for device in found["devices"] for case in device.get("comparisons", ())]
    stages = (device.get("difference") for device in found["devices"])
    return any(case["equal"] is False for case in cases) or any(stages)
