"""Name the outputs of an input, and check that they may be written."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantgpu.errors import UsageError, check_choice
from quantgpu.io.atomic import check_writable
from quantgpu.io.encode import FORMATS, Format, check_colors, format_for
from quantgpu.io.metadata import METADATA
from quantgpu.io.streams import STREAM

K_PLACEHOLDER = "{k}"
"""The part of an output's name that K replaces."""


@dataclass(frozen=True)
class Destination:
    """The names of outputs, and options for writing them.

    Raises:
        UsageError: `metadata` is no row of `METADATA`.
    """

    output: str | None = None
    """A file, `STREAM`, or None for NAME-K.png; `K_PLACEHOLDER` in it becomes K."""
    output_dir: Path | None = None
    """The folder of NAME-K.png; None for that of the input."""
    force: bool = False
    compress_level: int = 2
    metadata: str = "keep"
    """The metadata that is written, a row of `METADATA`."""
    skip_if_larger: bool = False
    """Write nothing that takes more bytes than the input."""

    def __post_init__(self) -> None:
        check_choice("metadata", self.metadata, METADATA)

    def of(self, name: str, tag: int | str) -> str:
        """The output for the input `name`: `output`, or NAME-TAG.png; the tag is mostly K."""
        if self.output is not None:
            return (
                self.output.replace(K_PLACEHOLDER, str(tag))
                if isinstance(tag, int)
                else self.output
            )
        if name == STREAM and self.output_dir is None:
            return STREAM
        source = Path("stdin" if name == STREAM else name)
        folder = source.parent if self.output_dir is None else self.output_dir
        return str(folder / f"{source.stem}-{tag}.png")

    def check(self, inputs: Sequence[str], ks: Sequence[int | None], target: str | None) -> None:
        """Raise a UsageError unless there is a name for each of the outputs."""
        if self.output is not None and (len(inputs) > 1 or self.output_dir is not None):
            raise UsageError("-o names one file; use --output-dir alone for several inputs")
        if self.output is not None and K_PLACEHOLDER in self.output and target is not None:
            raise UsageError(
                f"-o {self.output}: K is found by --target; use a name without {K_PLACEHOLDER}"
            )
        if len(ks) == 1:
            return
        if self.output is not None and K_PLACEHOLDER not in self.output:
            raise UsageError(
                f"-o {self.output} is one name for {len(ks)} results; put {K_PLACEHOLDER} in it, "
                f"as in -o out-{K_PLACEHOLDER}.png, or use --output-dir"
            )
        if STREAM in inputs and self.output is None and self.output_dir is None:
            raise UsageError(
                f"standard output takes one result, not {len(ks)}; use --output-dir, or "
                f"-o out-{K_PLACEHOLDER}.png"
            )


def check_output(output: str, k: int, force: bool) -> Format:
    """Return the output's format, after a check, before any work, that it may be written.

    Raises:
        UsageError: The format holds fewer than K colors, or standard output is a terminal.
        OutputError: The file may not be written.
    """
    if output == STREAM and (sys.stdout is None or sys.stdout.isatty()):
        raise UsageError("standard output is closed or a terminal; name a file with -o FILE")
    form = FORMATS[".png"] if output == STREAM else format_for(output)
    check_colors(form, k)
    if output != STREAM:
        check_writable(Path(output), force)
    return form
