"""The seam between NumPy and CuPy: whose an array is, devices, page-locked memory."""
