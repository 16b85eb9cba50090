"""The application that all commands belong to, its version and its exit codes."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer

from quantgpu.version import __version__

EXIT_CODES = """Exit codes: 0 done; 1 internal error; 2 wrong usage; 3 an input cannot be read;
4 an output cannot be written; 5 some of several inputs failed; 6 the GPU that was asked for
cannot be used; 7 a result is not as good as was asked for; 8 nothing was written for an input, as
it would be larger; 9 a clip is damaged, and what comes before that was written; 10 the cluster that
was asked for cannot be used; 130 interrupted."""

app = typer.Typer(
    name="quantgpu",
    help=f"Reduce images to K colors by exact k-means.\n\n{EXIT_CODES}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        typer.echo(f"quantgpu {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Reduce images to K colors by exact k-means."""


def keys_of(table: str, module: str) -> Any:
    """A completion function for the keys of a table, whose module is imported on completion."""

    def complete(incomplete: str) -> list[str]:
        rows = getattr(import_module(f"quantgpu.{module}"), table)
        return [key for key in rows if key.startswith(incomplete)]

    return complete
