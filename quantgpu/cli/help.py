"""The command `quantgpu help`: show the pages of the manual, which are part of the package."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from quantgpu.cli.app import app
from quantgpu.cli.console import fail, orderly_stop, say
from quantgpu.errors import UsageError

TOPICS = {
    "quantize": "quantize.md",
    "gallery": "gallery.md",
    "palettes": "palettes.md",
    "many-files": "many-files.md",
    "video": "video.md",
    "histogram-files": "histogram-files.md",
    "cluster": "cluster.md",
    "gpu": "gpu.md",
    "python": "python.md",
    "exit-codes": "exit-codes.md",
    "design": "design.md",
    "measurements": "measurements.md",
    "reading-order": "reading-order.md",
    "contributing": "CONTRIBUTING.md",
}
"""Topic to page, in the order of the list."""

WIDEST = 100
"""The most columns of text, on however wide a terminal."""

HELP_EXAMPLES = """Examples:

  quantgpu help               the topics

  quantgpu help video         a page; plain text where the output is no terminal

  quantgpu video --help       the options of a command
"""


def topics_with(incomplete: str) -> list[str]:
    """The topics that begin with `incomplete`."""
    return [topic for topic in TOPICS if topic.startswith(incomplete)]


@app.command(name="help", epilog=HELP_EXAMPLES)
@orderly_stop()
def show_help(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="[TOPIC]",
            help="A page of the manual; a list of them when not given.",
            autocompletion=topics_with,
            show_default=False,
        ),
    ] = None,
) -> None:
    """List the topics of the manual, or show the page of one."""
    if topic is None:
        for line in topic_lines():
            say(line)
        return
    try:
        text = page(topic)
    except UsageError as error:
        fail(error)
    if sys.stdout.isatty():
        show_in_pager(text)
    else:
        encoding = sys.stdout.encoding
        typer.echo(text.encode(encoding, "backslashreplace").decode(encoding), nl=False)


def topic_lines() -> list[str]:
    """A line for each topic: its name and the title of its page."""
    width = max(map(len, TOPICS))
    return [f"{topic:{width}}  {page(topic).splitlines()[0].lstrip('# ')}" for topic in TOPICS]


def page(topic: str) -> str:
    """The text of a topic's page, in Markdown.

    Raises:
        UsageError: There is no such topic; the message names those that are spelled alike.
    """
    from importlib.resources import files

    name = topic.lower().removesuffix(".md")
    if name not in TOPICS:
        from difflib import get_close_matches

        near = get_close_matches(name, TOPICS, cutoff=0.5) or TOPICS
        raise UsageError(f"topic = {topic!r} is none; use {' or '.join(near)}")
    return (files("quantgpu") / "docs" / TOPICS[name]).read_text(encoding="utf-8")


def show_in_pager(text: str) -> None:
    """Show Markdown on a terminal, page by page, and at once if it fits."""
    from rich.console import Console
    from rich.markdown import Markdown

    os.environ.setdefault("LESS", "-FRX")  # show colors, and leave the page on the screen
    console = Console()
    console.width = min(console.width, WIDEST)
    with console.pager(styles=True):
        console.print(Markdown(text, code_theme="ansi_dark", hyperlinks=False))
