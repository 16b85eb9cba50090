"""What the workers of a Dask cluster do."""
