"""`lossdoctor check`: examine, report, gate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lossdoctor.cli.boundary import FOUND, UNREADABLE, Stop, boundary
from lossdoctor.cli.gate import make_gate
from lossdoctor.cli.many import examine_all, exit_code, write_all
from lossdoctor.cli.options import Config, Forward, Ignore, Loss, LossWeights, Metrics, NoCache, Objects, Select, Unsafe
from lossdoctor.cli.output import keep_inputs, order_typed, plan, write
from lossdoctor.report.formats import Format

if TYPE_CHECKING:
    from lossdoctor.fixes.plan import Plan
    from lossdoctor.request import CheckCase
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
        str | None, typer.Argument(help="A .keras or .h5 file, or file.py:name of a model.", show_default=False)
    ] = None,
    batch: Annotated[
        str | None,
        typer.Argument(help="An .npz file, a folder of tf.data.Dataset.save, or file.py:name.", show_default=False),
    ] = None,
    loss: Loss = None,
    loss_weights: LossWeights = None,
    metrics: Metrics = None,
    objects: Objects = None,
    unsafe: Unsafe = False,
    forward: Forward = False,
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
    select: Select = None,
    ignore: Ignore = None,
    fail_on: Annotated[
        FailOn | None, typer.Option(help="The least severity that makes the exit code 1; error without settings.")
    ] = None,
    config: Config = None,
    case: Annotated[
        list[str] | None, typer.Option(help="Without MODEL: only this case of the settings. Repeatable.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Without MODEL: examine in this many processes; by default one a core where there are many cases.",
        ),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="A file of known findings, which do not fail the check.")
    ] = None,
    write_baseline: Annotated[
        Path | None, typer.Option(help="Write the present findings to this file; they then do not fail the check.")
    ] = None,
    no_cache: NoCache = False,
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
        planned = plan(format or (), output or (), order_typed(context))
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
        for asked in gate.cases:
            read = [asked.model, asked.batch, asked.loss, asked.loss_weights, asked.metrics, *asked.objects]
            keep_inputs([*(path for _, path in planned), patch, write_baseline], [*map(str, read), str(config)])
        if model is None:
            if patch is not None:
                raise Stop(UNREADABLE, "--patch is written for one case; name its model and batch.")
            results = examine_all(gate, jobs=jobs, cache=not no_cache)
            write_all(results, gate, planned, verbose=verbose, quiet=quiet)
            raise Stop(exit_code(results, gate))
        asked = gate.cases[0]
        if patch is None:
            report, repairs = examine_quietly(asked, cache=not no_cache), None
        else:
            report, repairs = _with_plan(asked, cache=not no_cache)
        report, known = gate.settled({asked.name: report})[asked.name]
        write(report, planned, known, verbose=verbose, quiet=quiet)
        if patch is not None and repairs is not None:
            _write_patch(repairs, patch)
        if gate.fails(report):
            raise Stop(FOUND)


def examine_quietly(case: CheckCase, *, cache: bool = False) -> ReportData:
    """The report of one case; a spinner on a terminal's stderr, nothing on stdout."""
    from lossdoctor.cached import examine
    from lossdoctor.cli.running import quietly

    with quietly() as progress:
        return examine(case, cache=cache, progress=progress)


def _with_plan(case: CheckCase, *, cache: bool) -> tuple[ReportData, Plan]:
    """The report of one case and the plan of its repairs, from one exam."""
    from lossdoctor.cached import examine_with_exam
    from lossdoctor.cli.running import quietly

    with quietly() as progress:
        report, exam = examine_with_exam(case, cache=cache, progress=progress)
        from lossdoctor.doctor import plan_repairs

        progress("trying the repairs together")
        return report, plan_repairs(exam)


def _write_patch(plan: Plan, path: Path) -> None:
    from lossdoctor.files import write_text
    from lossdoctor.fixes.patch import write_patch

    written = write_patch(plan)
    if written is None:
        typer.echo(
            f"lossdoctor: {path} was not written: there is nothing to repair, or nothing that can be repaired unattended.",
            err=True,
        )
    else:
        write_text(path, written.text)
