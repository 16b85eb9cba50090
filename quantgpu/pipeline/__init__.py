"""The pipeline of one image, on a device: pixels, histogram, palette, index map."""
