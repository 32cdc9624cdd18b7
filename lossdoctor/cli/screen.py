"""What goes to stdout. A reader that leaves (`| head`, `| grep -q`) changes neither the exit code nor the files that are written."""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console

from lossdoctor.cli.boundary import discard_output


class Screen(Console):
    """Rich's console on stdout, `quiet` from when nobody reads it any more; Rich's own would end the program with 1."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Drop what was not read."""
        self.quiet = True
        discard_output()


def echo(text: str | bytes) -> None:
    """Print what has its own line ends, or drop it where nobody reads. Bytes go out as they are, whatever the terminal's encoding."""
    try:
        typer.echo(text, nl=False)
    except BrokenPipeError:
        discard_output()
