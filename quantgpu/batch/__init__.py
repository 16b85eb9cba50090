"""Batches of files: parallel jobs, destinations, shared palettes, counts."""
