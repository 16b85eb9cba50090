"""Clips: frames in, palettes over time, frames out."""
