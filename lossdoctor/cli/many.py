"""`lossdoctor check` without a model: all cases of the settings, a table of them, and what is wrong in each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossdoctor.cli.boundary import BUG, FOUND, OK, UNREADABLE
from lossdoctor.report.row import Row

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from lossdoctor.cli.gate import Gate
    from lossdoctor.many import CaseResult
    from lossdoctor.report.formats import Format
    from lossdoctor.request import CheckCase
    from lossdoctor.types import ReportData

SCHEMA_VERSION = 1
_WORDS = 9


def examine_all(gate: Gate, *, jobs: int | None, cache: bool) -> list[Row]:
    """The cases' results in their order, from the cache where it has them; a progress bar on a terminal's stderr."""
    from lossdoctor.many import check_in_processes, check_many

    kept = dict(_from_cache(gate.cases)) if cache else {}
    fresh = [case for case in gate.cases if case.name not in kept]
    jobs = jobs or jobs_for(len(fresh))
    with _bar(len(gate.cases), len(kept)) as advance:
        if jobs > 1 and len(fresh) > 1:
            results = check_in_processes(fresh, jobs, cache=cache, progress=advance)
        else:
            results = check_many(fresh, cache=cache, progress=advance)
    found = {**kept, **{r.name: r.report.data for r in results if r.report is not None}}
    settled = gate.settled({case.name: found[case.name] for case in gate.cases if case.name in found})
    failed = {r.name: Row(r.name, error=r.error, bug=r.bug) for r in results if r.report is None}
    told = {name: Row(name, left, known) for name, (left, known) in settled.items()}
    return [told.get(case.name) or failed[case.name] for case in gate.cases]


# A process takes as long to import Keras as it takes for so many cases.
_CASES_A_PROCESS = 20


def jobs_for(count: int) -> int:
    """How many processes examine so many cases where nobody says it: up to one a core, where there is work for each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(count // _CASES_A_PROCESS, cores))


def _from_cache(cases: Sequence[CheckCase]) -> Iterator[tuple[str, ReportData]]:
    from lossdoctor.cached import lookup

    for case in cases:
        report = lookup(case)
        if report is not None:
            yield case.name, report


@contextmanager
def _bar(total: int, done: int) -> Iterator[Callable[[CaseResult], None]]:
    """What to call with each result as it arrives."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("checking", total=total, completed=done)

        def advance(result: CaseResult) -> None:
            progress.update(task, advance=1)

        yield advance


def exit_code(rows: Sequence[Row], gate: Gate) -> int:
    """The worst of the cases': a bug, then what could not be read, then findings."""
    if any(row.bug for row in rows):
        return BUG
    if any(row.error is not None for row in rows):
        return UNREADABLE
    return FOUND if any(row.report is not None and gate.fails(row.report) for row in rows) else OK


def write_all(
    rows: Sequence[Row], gate: Gate, planned: Sequence[tuple[Format, Path | None]], *, verbose: bool, quiet: bool
) -> None:
    """Write the results. Raises `CaseError` for a file that cannot be written."""
    from lossdoctor.cli.screen import Screen, echo
    from lossdoctor.files import write_text
    from lossdoctor.report import together

    for format, output in planned:
        if format == "text" and output is None:
            render(rows, gate, Screen(), verbose=verbose, quiet=quiet)
            continue
        if format in together.FORMATS:
            text = together.render(format.value, rows)
        else:
            text = to_json(rows, gate) if format == "json" else _as_text(rows, gate, verbose=verbose, quiet=quiet)
        if output is None:
            echo(text.encode("utf-8"))
        else:
            write_text(output, text)


def _as_text(rows: Sequence[Row], gate: Gate, *, verbose: bool, quiet: bool) -> str:
    import io

    from rich.console import Console

    buffer = io.StringIO()
    render(rows, gate, Console(file=buffer, width=100, highlight=False), verbose=verbose, quiet=quiet)
    return buffer.getvalue()


def to_json(rows: Sequence[Row], gate: Gate) -> str:
    """{"schema_version": 1, "cases": [{"name", "report"} or {"name", "error"}], "summary": counts} as text."""
    from lossdoctor.report.json import to_document
    from lossdoctor.report.printable import json_text

    cases = [
        {"name": row.name, "error": row.error}
        if row.report is None
        else {"name": row.name, "report": to_document(row.report)}
        for row in rows
    ]
    return json_text({"schema_version": SCHEMA_VERSION, "cases": cases, "summary": summary(rows, gate)})


def summary(rows: Sequence[Row], gate: Gate) -> dict[str, Any]:
    """How many cases there are, fail and cannot be read; how many findings by severity, and how many the baseline knows."""
    found = {row.name: row.report for row in rows if row.report is not None}
    counts = [report.summary for report in found.values()]
    return {
        "cases": len(rows),
        "failing": sum(gate.fails(report) for report in found.values()),
        "unreadable": len(rows) - len(found),
        **{severity: sum(c[severity] for c in counts) for severity in ("error", "warning", "info")},
        "in_baseline": sum(len(row.known) for row in rows),
    }


def render(rows: Sequence[Row], gate: Gate, console: Console, *, verbose: bool, quiet: bool) -> None:
    """Print the table of the cases, then what is wrong in each that fails. `quiet`: without the table."""
    from rich.text import Text

    from lossdoctor.report import text

    if not quiet:
        for line in text.table_lines(console, _table(rows, console)):
            console.out(line, highlight=False)
    for row in rows:
        if row.report is not None and not (gate.fails(row.report) or verbose):
            continue
        console.print(Text(f"{_shown(row.name)}", style="bold underline"), soft_wrap=True)
        if row.report is None:
            console.print(Text(f"  {_shown(row.error or '')}", style="red"), soft_wrap=True)
        else:
            text.render(row.report, console, verbose=verbose, quiet=not verbose)
        console.print()
    console.print(Text(_sentence(summary(rows, gate))), soft_wrap=True)


def _table(rows: Sequence[Row], console: Console) -> Table:
    from rich.text import Text

    from lossdoctor.report.text import open_table

    table = open_table(console, ("case", "verdict", "errors", "warnings", "first"), right=("errors", "warnings"))
    for row in rows:
        style = "red" if row.report is None or row.report.verdict in ("raises", "silent") else ""
        table.add_row(*(Text(_shown(cell), style=style) for cell in _cells(row)))
    return table


def _cells(row: Row) -> list[str]:
    if row.report is None:
        return [row.name, "bug" if row.bug else "unreadable", "", "", _first_words(row.error or "")]
    counts, findings = row.report.summary, row.report.findings
    first = f"{findings[0].code} {_first_words(findings[0].message)}" if findings else ""
    verdict = f"known ({len(row.known)})" if row.known and not findings else row.report.verdict
    return [row.name, verdict, str(counts["error"]), str(counts["warning"]), first]


def _first_words(text: str) -> str:
    words = text.split()
    return " ".join(words[:_WORDS]) + (" ..." if len(words) > _WORDS else "")


def _sentence(counts: Mapping[str, int]) -> str:
    cases = f"{counts['cases']} case{'s' * (counts['cases'] != 1)}"
    parts = [f"{cases}: {counts['failing']} failing"]
    if counts["unreadable"]:
        parts.append(f"{counts['unreadable']} unreadable")
    found = (f"{counts[s]} {s}{'s' * (counts[s] != 1 and s != 'info')}" for s in ("error", "warning", "info"))
    known = f"; {counts['in_baseline']} more in the baseline" if counts["in_baseline"] else ""
    return f"{', '.join(parts)}; {', '.join(found)}{known}"


def _shown(text: str) -> str:
    """`text` without what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
