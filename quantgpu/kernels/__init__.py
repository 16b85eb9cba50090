"""CUDA kernels: whole files, one `__global__` function each, and what launches them."""
