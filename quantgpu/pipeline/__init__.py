"""Pixels, histogram, palette, index map: the stages put together."""
