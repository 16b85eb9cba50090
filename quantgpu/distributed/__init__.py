"""Dask: workers, blocks of large pictures, files and ranges of frames."""
