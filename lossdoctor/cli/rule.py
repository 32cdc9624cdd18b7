"""`lossdoctor rule`: a rule's page, or the table of rules."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from lossdoctor.cli import completion
from lossdoctor.cli.boundary import Stop, boundary

if TYPE_CHECKING:
    from lossdoctor.cli.pages import Entry

_FORCED = {"FORCE_COLOR", "TTY_COMPATIBLE"}


def rule(
    code: Annotated[
        str | None,
        typer.Argument(
            help="A rule's code or name; without it, the table of rules.",
            show_default=False,
            autocompletion=completion.rules,
        ),
    ] = None,
) -> None:
    """Print a rule's page, or without a code the table of rules."""
    with boundary():
        from lossdoctor.cli.pages import entries

        known = entries()
        if code is None:
            _table(known)
            return
        found = [r for r in known if code.upper() == r.code or code.lower() == r.name]
        if not found:
            from lossdoctor.near import did_you_mean

            names = [*(r.code for r in known), *(r.name for r in known)]
            guess = did_you_mean(code.upper() if code[:2].upper() == "LD" else code, names)
            raise Stop(2, f"there is no rule {code}{guess}; `lossdoctor rule` lists them.")
        text = found[0].page()
        if sys.stdout.isatty() or _FORCED & set(os.environ):  # where Rich may see a terminal
            from rich.markdown import Markdown

            from lossdoctor.cli.screen import Screen

            console = Screen()
            if console.is_terminal:
                console.print(Markdown(text))
                return
        typer.echo(text)


def _table(rules: list[Entry]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from lossdoctor.cli.screen import Screen

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("code", "name", "category", "what it sees"):
        table.add_column(column, no_wrap=column == "code", overflow="fold")
    for r in rules:
        table.add_row(r.code, r.name, r.category, r.summary)
    Screen().print(table)
