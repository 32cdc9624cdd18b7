"""`lossdoctor check`: examine, report, gate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossdoctor.cli import completion
from lossdoctor.cli.boundary import FOUND, Stop, boundary
from lossdoctor.cli.output import order_typed, plan, write
from lossdoctor.report.formats import Format

if TYPE_CHECKING:
    from lossdoctor.facts import Exam
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
    patch: Annotated[
        Path | None, typer.Option("--patch", help="Also write the repairs to this Python file, where there are any.")
    ] = None,
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
        list[str] | None,
        typer.Option(help="Run only these rules: codes or prefixes, with commas.", autocompletion=completion.codes),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(help="Leave these rules out.", autocompletion=completion.codes)
    ] = None,
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
        report, exam = examine_quietly(
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
        if patch is not None:
            _write_patch(exam, patch)
        if fail_on is not FailOn.never and _found(report, fail_on.value):
            raise Stop(FOUND)


def examine_quietly(model: str, batch: str | None, **options: Any) -> tuple[ReportData, Exam]:
    """The report of one case and its exam; a spinner on a terminal's stderr, nothing on stdout."""
    from lossdoctor.cli.running import quietly
    from lossdoctor.doctor import examine_with_exam

    with quietly() as progress:
        return examine_with_exam(model, batch, progress=progress, **options)


def _write_patch(exam: Exam, path: Path) -> None:
    from lossdoctor.cli.running import patch_of, quietly
    from lossdoctor.doctor import plan_repairs
    from lossdoctor.files import write_text

    with quietly("trying the repairs"):
        written = patch_of(plan_repairs(exam))
    if written is None:
        typer.echo(
            f"lossdoctor: {path} was not written: there is nothing to repair, or nothing that can be repaired unattended.",
            err=True,
        )
    else:
        write_text(path, written.text)


def _found(report: ReportData, least: str) -> bool:
    from lossdoctor.types import at_least

    return any(at_least(f.severity, least) for f in report.findings)
