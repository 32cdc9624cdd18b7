"""`lossdoctor demo`: a small broken case, examined."""

from __future__ import annotations

from importlib.resources import as_file, files

import typer

from lossdoctor.cli.boundary import boundary

_BEFORE = """\
A model with two heads, declared as {"weight_kg": ..., "age_years": ...}, compiled with loss="mse".
Its author gives the targets as a list, in that order: y = [weight, age]. Keras says nothing and trains.

$ lossdoctor check model.keras batch.npz
"""
_AFTER = """\

Read the table first: each line is what Keras really trains. Keras sorts the keys of a dict, so the first
target, the weights, went to age_years. The code after the arrow is the edit that repairs it.
`lossdoctor rule LD203` explains; `lossdoctor check` does the same for a model and a batch of your own.
"""


def demo() -> None:
    """Examine a small broken case that comes with lossdoctor, and explain what the report shows."""
    with boundary():
        from rich.console import Console

        from lossdoctor.cli.check import examine_quietly
        from lossdoctor.report import text
        from lossdoctor.request import CheckCase

        console = Console(highlight=False)
        typer.echo(_BEFORE)
        with as_file(files("lossdoctor") / "demo") as folder:
            report = examine_quietly(CheckCase(str(folder / "model.keras"), str(folder / "batch.npz")))
        text.render(report, console)
        typer.echo(_AFTER)
