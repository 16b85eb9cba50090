"""Many files: jobs that overlap, destinations, shared palettes, counts."""
