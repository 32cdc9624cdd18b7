"""`lossdoctor check`: examine, report, gate."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossdoctor.cli.boundary import FOUND, Stop, boundary
from lossdoctor.cli.gate import make_gate
from lossdoctor.cli.many import examine_all, exit_code, write_all

if TYPE_CHECKING:
    from lossdoctor.types import ReportData


class Format(StrEnum):
    """How the report is written."""

    text = "text"
    json = "json"


class FailOn(StrEnum):
    """The least severity that makes the exit code 1."""

    error = "error"
    warning = "warning"
    info = "info"
    never = "never"


def check(
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
    format: Annotated[Format, typer.Option(help="How the report is written.")] = Format.text,
    output: Annotated[Path | None, typer.Option(help="Write the report to this file in place of stdout.")] = None,
    select: Annotated[
        list[str] | None, typer.Option(help="Run only these rules: codes or prefixes, with commas.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Leave these rules out.")] = None,
    fail_on: Annotated[
        FailOn | None, typer.Option(help="The least severity that makes the exit code 1; error without settings.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A settings file in place of lossdoctor.toml or pyproject.toml.")
    ] = None,
    case: Annotated[
        list[str] | None, typer.Option(help="Without MODEL: only this case of the settings. Repeatable.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Without MODEL: examine in this many processes.")] = 1,
    baseline: Annotated[
        Path | None, typer.Option(help="A file of known findings, which do not fail the check.")
    ] = None,
    write_baseline: Annotated[
        Path | None, typer.Option(help="Write the present findings to this file; they then do not fail the check.")
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Examine anew, and keep nothing for the next time.")
    ] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the report and exit.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only the findings.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="All evidence.")] = False,
) -> None:
    """Examine a model with one batch, report, and exit 1 where there are errors.

    Without MODEL, all cases of the settings (lossdoctor.toml, or [tool.lossdoctor] in pyproject.toml).

    Exit codes: 0 nothing at or above --fail-on; 1 findings; 2 the case could not be read; 3 a bug in lossdoctor.
    """
    with boundary():
        if schema:
            from lossdoctor.report.schema import schema_text

            typer.echo(schema_text(), nl=False)
            return
        gate = make_gate(
            model,
            batch,
            config=config,
            names=case or (),
            options={
                "loss": loss,
                "loss_weights": loss_weights,
                "metrics": metrics,
                "unsafe": unsafe,
                "forward": forward,
            },
            general={"select": select, "ignore": ignore, "objects": objects, "fail_on": fail_on, "baseline": baseline},
            write_baseline=write_baseline,
        )
        if model is None:
            results = examine_all(gate, jobs=jobs, cache=not no_cache)
            write_all(results, gate, format.value, output, verbose=verbose, quiet=quiet)
            raise Stop(exit_code(results, gate))
        asked = gate.cases[0]
        report = examine_quietly(asked.model, asked.batch, cache=not no_cache, folder=asked.folder, **asked.options())
        report = gate.settled({asked.name: report})[asked.name]
        _write(report, format, output, verbose=verbose, quiet=quiet)
        if gate.fails(report):
            raise Stop(FOUND)


def examine_quietly(model: str, batch: str | None, *, cache: bool = False, **options: object) -> ReportData:
    """The report of one case; a spinner on a terminal's stderr, nothing on stdout. `options` are `CheckCase`'s."""
    from lossdoctor.cached import examine
    from lossdoctor.quiet import captured_output, uncollected
    from lossdoctor.request import CheckCase

    case = CheckCase(model, batch, **options)  # type: ignore[arg-type]
    if not sys.stderr.isatty():
        with captured_output(), uncollected():
            return examine(case, cache=cache)
    from rich.console import Console

    with captured_output(), uncollected(), Console(stderr=True).status("reading the model and the batch") as status:
        return examine(case, cache=cache, progress=status.update)


def _write(report: ReportData, format: Format, output: Path | None, *, verbose: bool, quiet: bool) -> None:
    import io

    from rich.console import Console

    if format is Format.json:
        from lossdoctor.report import json

        text = json.render(report)
        if output is None:
            typer.echo(text.encode(), nl=False)  # JSON is UTF-8, whatever the terminal's encoding
    else:
        from lossdoctor.report import text as renderer

        if output is None:
            renderer.render(report, Console(highlight=False), verbose=verbose, quiet=quiet)
            return
        buffer = io.StringIO()
        renderer.render(report, Console(file=buffer, width=100, highlight=False), verbose=verbose, quiet=quiet)
        text = buffer.getvalue()
    if output is not None:
        from lossdoctor.files import write_text

        write_text(output, text)
