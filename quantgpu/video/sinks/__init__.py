"""Sinks of frames: animations, videos and numbered pictures."""
