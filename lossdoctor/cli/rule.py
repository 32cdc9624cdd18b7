"""`lossdoctor rule`: a rule's page, or the table of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lossdoctor.cli import completion
from lossdoctor.cli.boundary import Stop, boundary

if TYPE_CHECKING:
    from lossdoctor.rules.rule import Rule


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
        from rich.console import Console

        from lossdoctor.rules import RULES
        from lossdoctor.rules.page import page

        console = Console(highlight=False)
        if code is None:
            _table(RULES, console)
            return
        found = [r for r in RULES if code.upper() == r.code or code.lower() == r.name]
        if not found:
            from lossdoctor.near import did_you_mean

            names = [*(r.code for r in RULES), *(r.name for r in RULES)]
            guess = did_you_mean(code.upper() if code[:2].upper() == "LD" else code, names)
            raise Stop(2, f"there is no rule {code}{guess}; `lossdoctor rule` lists them.")
        text = page(found[0])
        if console.is_terminal:
            from rich.markdown import Markdown

            console.print(Markdown(text))
        else:
            typer.echo(text)


def _table(rules: tuple[Rule, ...], console: object) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("code", "name", "category", "what it sees"):
        table.add_column(column, no_wrap=column == "code", overflow="fold")
    for r in rules:
        table.add_row(r.code, r.name, r.category, r.summary)
    console.print(table)  # type: ignore[attr-defined]
