"""Small pictures and point sets that tests share: asymmetric on purpose."""

import numpy as np
from numpy.typing import NDArray

from quantgpu.clustering.points import Points, weighted_points


def photo(height: int = 61, width: int = 83, seed: int = 0) -> NDArray[np.uint8]:
    """(height, width, 3): gradients, a saturated patch and grain, with thousands of colors."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [200 - 90 * y / height, 40 + 150 * x / width, 90 + 60 * (x + y) / (height + width)]
    picture = np.stack(planes, axis=-1) + rng.integers(-6, 7, (height, width, 3))
    picture[height // 3 : height // 2, : width // 5] = (250, 20, 3)
    return np.clip(picture, 0, 255).astype(np.uint8)


def soft_photo(height: int = 61, width: int = 83, seed: int = 0) -> NDArray[np.uint8]:
    """(height, width, 4): `photo` with a clear, a soft and an opaque part, and some bare noise."""
    y, x = np.mgrid[0:height, 0:width]
    alpha = np.clip(9 * (x + y // 2) - 120, 0, 255)
    alpha[::7, ::3] = np.random.default_rng(seed).integers(0, 256, alpha[::7, ::3].shape)
    return np.dstack([photo(height, width, seed), alpha.astype(np.uint8)])


def random_points(count: int, seed: int = 0, heaviest: int = 9, axes: int = 3) -> Points:
    """`count` random grid points in up to 4 dimensions, in no order, with random weights."""
    rng = np.random.default_rng(seed)
    coordinates = rng.integers(-1024, 1017, (axes, count)) // np.array([1, 2, 3, 5])[:axes, None]
    return weighted_points(coordinates.astype(np.float32), rng.integers(1, heaviest + 1, count))


def random_centers(count: int, seed: int = 1, axes: int = 3) -> NDArray[np.float32]:
    """(count, axes) random grid points."""
    return np.ascontiguousarray(random_points(count, seed, axes=axes).columns[:-1].T)


def naive_assignment(points: Points, centers: NDArray[np.float32]) -> NDArray[np.intp]:
    """Nearest centers by the definition, in int64, ties to the first."""
    x = points.columns[:-1].T.astype(np.int64)
    differences = x[:, None] - centers[None].astype(np.int64)
    nearest: NDArray[np.intp] = np.argmin((differences**2).sum(axis=2), axis=1)
    return nearest


def naive_error(points: Points, centers: NDArray[np.float32]) -> int:
    """The weighted squared error by the definition."""
    nearest = centers[naive_assignment(points, centers)].astype(np.int64)
    differences = points.columns[:-1].T.astype(np.int64) - nearest
    return int((points.weights * (differences**2).sum(axis=1)).sum())
