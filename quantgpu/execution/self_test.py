"""The self-test of a GPU: compile kernels, launch them, and compare sums with NumPy's."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from quantgpu.errors import DeviceError

POINTS, CENTERS = 300, 17


@lru_cache
def self_test(cupy: Any, number: int) -> None:
    """Raise unless the current device, `number`, computes exactly what NumPy does.

    Products must hold 24 bits: tensor cores that round to TensorFloat-32 keep 11.

    Raises:
        DeviceError: The device computes something else, or a kernel cannot be compiled.
    """
    from quantgpu.clustering.kmeans import assign, cluster_sums
    from quantgpu.clustering.kmeans_gpu import batched_sums, nearest_sums_gpu
    from quantgpu.clustering.points import weighted_points

    wide = np.full((64, 4), 4097, np.float32)
    product = (cupy.asarray(wide) @ cupy.asarray(np.eye(4, 64, dtype=np.float32) * 4095)).get()
    if product[0, 0] != 4097 * 4095:
        raise DeviceError(
            f"gpu:{number} rounds products to TensorFloat-32; unset CUPY_TF32 and "
            "NVIDIA_TF32_OVERRIDE"
        )
    rng = np.random.default_rng(0)
    coordinates = rng.integers(-1024, 1017, (3, POINTS))
    points = weighted_points(coordinates, rng.integers(1, 2**28, POINTS))
    centers = np.ascontiguousarray(coordinates[:, :CENTERS].T, np.float32)
    device_points = type(points)(cupy.asarray(points.columns), cupy.asarray(points.weights))
    expected = cluster_sums(points, assign(points, centers), CENTERS)
    for route in (nearest_sums_gpu, batched_sums):
        for found, right in zip(route(device_points, cupy.asarray(centers)), expected, strict=True):
            if not np.array_equal(found.get(), right):
                raise DeviceError(f"gpu:{number} computes wrong sums ({route.__name__})")
