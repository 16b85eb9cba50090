"""Read and write files, and convert objects of callers: images, palettes, histograms, metadata."""
