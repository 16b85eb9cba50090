"""The choice of a device, the self-test of a GPU, and the fallback to the CPU."""
