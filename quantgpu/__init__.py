"""Color quantization by k-means: any image in K colors, the same bytes on every machine.

>>> import quantgpu
>>> picture = quantgpu.quantize([(250, 0, 0), (255, 0, 0), (0, 0, 255)], k=2)
>>> picture.palette.hex()
['#0000ff', '#fc0100']
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from quantgpu.version import __version__ as __version__

if TYPE_CHECKING:
    from quantgpu.api import apply_palette, compare, quantize, quantize_each, quantize_video
    from quantgpu.errors import (
        ClusterError,
        DeviceError,
        InputError,
        OutputError,
        QualityError,
        QuantgpuError,
        UsageError,
    )
    from quantgpu.histogram import Histogram
    from quantgpu.indexed import Indexed
    from quantgpu.io.histogram_files import Counted, read_histogram, write_histogram
    from quantgpu.io.metadata import Metadata
    from quantgpu.metrics.comparison import Comparison
    from quantgpu.palette import Palette
    from quantgpu.video.frames.open import open_frames
    from quantgpu.video.report import VideoReport
    from quantgpu.video.sinks.open import open_sink

_HOMES = {
    "quantize": "quantgpu.api",
    "quantize_each": "quantgpu.api",
    "quantize_video": "quantgpu.api",
    "VideoReport": "quantgpu.video.report",
    "apply_palette": "quantgpu.api",
    "Histogram": "quantgpu.histogram",
    "Counted": "quantgpu.io.histogram_files",
    "read_histogram": "quantgpu.io.histogram_files",
    "write_histogram": "quantgpu.io.histogram_files",
    "Indexed": "quantgpu.indexed",
    "compare": "quantgpu.api",
    "Comparison": "quantgpu.metrics.comparison",
    "Metadata": "quantgpu.io.metadata",
    "Palette": "quantgpu.palette",
    "open_frames": "quantgpu.video.frames.open",
    "open_sink": "quantgpu.video.sinks.open",
    **dict.fromkeys(
        (
            *("ClusterError", "DeviceError", "InputError", "OutputError"),
            *("QualityError", "QuantgpuError", "UsageError"),
        ),
        "quantgpu.errors",
    ),
}
"""Public name to module: nothing is imported before it is used."""

__all__ = [
    "ClusterError",
    "Comparison",
    "Counted",
    "DeviceError",
    "Histogram",
    "Indexed",
    "InputError",
    "Metadata",
    "OutputError",
    "Palette",
    "QualityError",
    "QuantgpuError",
    "UsageError",
    "VideoReport",
    "apply_palette",
    "compare",
    "open_frames",
    "open_sink",
    "quantize",
    "quantize_each",
    "quantize_video",
    "read_histogram",
    "write_histogram",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
