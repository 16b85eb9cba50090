"""Pictures larger than a machine, and many: counted and remapped by Dask, clustered once.

Histograms add, so Dask counts blocks and files in any place (threads, processes, the workers of a
`distributed` client) and adds the counts as a tree. The palette is found once, and every block is
remapped to it. All results are lazy, and have the bytes of the plain call:

>>> import dask.array, numpy
>>> from quantgpu import cluster
>>> picture = dask.array.zeros((900, 700, 3), chunks=256, dtype=numpy.uint8)
>>> found = cluster.quantize(picture, 4, dither="none")
>>> found.index.compute().shape, found.palette.compute().palette.hex()
((900, 700), ['#000000'])

Clips are counted in ranges of frames: ``cluster.palette(cluster.frame_ranges("clip.mp4", 8), 64)``.

Only three things cross the network: compressed histograms of the colors that occur; palettes; and,
if pixels have weights, the edges of blocks, up to two pixels wide.
"""

from __future__ import annotations

from quantgpu.distributed.dask_arrays import Remapped, histogram, palette, quantize
from quantgpu.distributed.frame_ranges import FrameRange, frame_ranges

__all__ = ["FrameRange", "Remapped", "frame_ranges", "histogram", "palette", "quantize"]
