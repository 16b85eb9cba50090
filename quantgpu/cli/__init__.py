"""The command line: each command turns options into one library call, and prints the result."""

from __future__ import annotations

from importlib import import_module

from quantgpu.cli.app import app

__all__ = ["COMMANDS", "app"]

COMMANDS = "quantize", "palette", "apply", "video", "count", "compare", "machine", "help"
"""Modules of commands, in the order of the help."""

for name in COMMANDS:
    import_module(f"quantgpu.cli.{name}")
