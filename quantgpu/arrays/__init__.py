"""The seam between NumPy and CuPy: array modules, devices, page-locked memory."""
