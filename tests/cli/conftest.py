"""Pictures that commands find in their working directory."""

from quantize_runs import two_pictures

__all__ = ["two_pictures"]
