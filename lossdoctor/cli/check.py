"""`lossdoctor check`: examine, report, gate."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossdoctor.cli.boundary import FOUND, Stop, boundary
from lossdoctor.cli.output import order_typed, plan, write
from lossdoctor.report.formats import Format

if TYPE_CHECKING:
    from lossdoctor.types import ReportData


class FailOn(StrEnum):
    """The least severity that makes the exit code 1."""

    error = "error"
    warning = "warning"
    info = "info"
    never = "never"


def check(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(help="A .keras file, or file.py:name of a model.", show_default=False)
    ] = None,
    batch: Annotated[
        str | None,
        typer.Argument(help="An .npz file, a folder of tf.data.Dataset.save, or file.py:name.", show_default=False),
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="Losses as JSON or a .json file, in place of the saved ones.")
    ] = None,
    loss_weights: Annotated[str | None, typer.Option(help="Loss weights as JSON or a .json file.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Metrics as JSON or a .json file.")] = None,
    objects: Annotated[
        list[str] | None, typer.Option(help="A file or module with your custom classes; it is imported. Repeatable.")
    ] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Permit Lambda code that is stored in the model file.")
    ] = False,
    forward: Annotated[
        bool,
        typer.Option(
            "--forward", help="Also load the weights and run the model on the batch, for its real predictions."
        ),
    ] = False,
    format: Annotated[
        list[Format] | None,
        typer.Option(help="How the report is written: text where none is given. Repeatable, each with its --output."),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            help="Write the report to this file, in the --format before it. Repeatable; the one --format without a file "
            "goes to stdout."
        ),
    ] = None,
    select: Annotated[
        list[str] | None, typer.Option(help="Run only these rules: codes or prefixes, with commas.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Leave these rules out.")] = None,
    fail_on: Annotated[FailOn, typer.Option(help="The least severity that makes the exit code 1.")] = FailOn.error,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the report and exit.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only the findings.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="All evidence.")] = False,
) -> None:
    """Examine a model with one batch, report, and exit 1 where there are errors.

    Exit codes: 0 nothing at or above --fail-on; 1 findings; 2 the case could not be read; 3 a bug in lossdoctor.
    """
    with boundary():
        if schema:
            from lossdoctor.report.schema import schema_text

            typer.echo(schema_text(), nl=False)
            return
        if model is None:
            raise Stop(2, "check needs a model and a batch: lossdoctor check model.keras batch.npz.")
        planned = plan(format or (), output or (), order_typed(context))
        report = examine_quietly(
            model,
            batch,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            objects=tuple(objects or ()),
            unsafe=unsafe,
            forward=forward,
            select=tuple(select or ()),
            ignore=tuple(ignore or ()),
        )
        write(report, planned, verbose=verbose, quiet=quiet)
        if fail_on is not FailOn.never and _found(report, fail_on.value):
            raise Stop(FOUND)


def examine_quietly(model: str, batch: str | None, **options: object) -> ReportData:
    """The report of one case; a spinner on a terminal's stderr, nothing on stdout."""
    from lossdoctor.doctor import examine
    from lossdoctor.quiet import captured_output, uncollected

    if not sys.stderr.isatty():
        with captured_output(), uncollected():
            return examine(model, batch, **options)  # type: ignore[arg-type]
    from rich.console import Console

    with captured_output(), uncollected(), Console(stderr=True).status("reading the model and the batch") as status:
        return examine(model, batch, progress=status.update, **options)  # type: ignore[arg-type]


def _found(report: ReportData, least: str) -> bool:
    from lossdoctor.types import at_least

    return any(at_least(f.severity, least) for f in report.findings)
