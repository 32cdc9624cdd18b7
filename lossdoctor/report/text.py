"""The text report: the pairing first, then the verdict, the findings, and what was not checked."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from typing import Any

from rich.box import ASCII, SIMPLE_HEAD
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from lossdoctor.report import words
from lossdoctor.report.printable import printable
from lossdoctor.types import Finding, Fix, ReportData, Severity

STYLE: dict[Severity, str] = {"error": "bold red", "warning": "bold yellow", "info": "bold cyan"}
_VERDICT_STYLE = {"raises": "bold red", "silent": "bold red", "risk": "bold yellow", "clean": "bold green"}
_OUTCOME_STYLE = {"ok": "green", "raises": "red", "skipped": "dim"}
# Evidence lines a finding shows before the rest waits for --verbose.
_FEW = 6


def render(
    report: ReportData, console: Console, *, verbose: bool = False, quiet: bool = False, brief: bool = False
) -> None:
    """Print `report` on `console`. `quiet`: the findings only; `verbose`: all evidence, all notes; `brief`: pairing, verdict, each
    finding with its first repair."""
    report = printable(report)
    plain = is_plain(console)
    if not quiet:
        _pairing(report, console)
        console.print(Text(words.HEADLINE[report.verdict], style=_VERDICT_STYLE[report.verdict]))
        if not brief:
            _outcomes(report, console)
    for finding in report.findings:
        console.print()
        if brief:
            finding = replace(finding, evidence={}, fixes=finding.fixes[:1])
        _finding(finding, console, verbose, plain)
    if not quiet and not brief:
        _unchecked(report, console)
        console.print()
        if any(fix.verified for f in report.findings for fix in f.fixes):
            say(console, "`lossdoctor fix` asks which repairs to take, `lossdoctor patch` writes them as Python.", 0)
            console.print()
        say(console, words.summary(report), 0)


def is_plain(console: Console) -> bool:
    """True where the console's encoding has no lines and arrows."""
    return not console.encoding.lower().startswith("utf")


def open_table(console: Console, columns: Iterable[str], *, right: Container[str] = (), **style: Any) -> Table:
    """A table without frame, lines of ASCII where the console's encoding has no others; the columns `right` flush right."""
    table = Table(box=ASCII if is_plain(console) else SIMPLE_HEAD, pad_edge=False, header_style="bold", **style)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def fitted(
    console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], at: Sequence[int]
) -> list[list[str]]:
    """The rows with the names in the columns `at` broken, one column after the other, until the table fits the console."""
    cells = [list(row) for row in rows]
    for column in at:
        wide = [
            max(len(line) for cell in each for line in cell.split("\n")) for each in zip(columns, *cells, strict=True)
        ]
        # Two spaces between columns, one around each, one at the left edge.
        room = wide[column] - (sum(wide) + 3 * len(wide) - 1 - console.width)
        if room >= wide[column]:
            break
        for row in cells:
            row[column] = broken(row[column], room)
    return cells


def broken(name: str, room: int) -> str:
    """A name on several lines of `room` characters where it can be broken so: behind spaces and underscores, before brackets."""
    lines = [""]
    for part in re.findall(r"\[[^\[]*|[^_ \[]+[_ ]*|[_ ]+", name):
        if lines[-1] and len(lines[-1] + part.rstrip()) > room:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def table_lines(console: Console, table: Table) -> list[str]:
    """The table's lines without the spaces at their ends."""
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def _pairing(report: ReportData, console: Console) -> None:
    if not report.pairs:
        console.print(Text(f"No pairing: {words.why_no_pairs(report)}.", style="bold"))
        console.print()
        return
    crossed = words.in_error(report)
    table = open_table(console, words.COLUMNS, right=("weight", "value"))
    names = [words.COLUMNS.index(column) for column in ("loss", "output", "target")]
    rows = fitted(console, words.COLUMNS, [words.cells(pair) for pair in report.pairs], names)
    for pair, row in zip(report.pairs, rows, strict=True):
        style = "red" if {pair.output, pair.target} & crossed else ""
        table.add_row(*(Text(cell, style=style) for cell in row))
    for line in table_lines(console, table):
        console.out(line, highlight=False)
    untrained = words.untrained(report)
    if untrained:
        console.print(Text(f"without a loss: {', '.join(untrained)}", style="dim"))
        console.print()


def _outcomes(report: ReportData, console: Console) -> None:
    for label, outcome in words.outcomes(report):
        word, detail = words.said(outcome)
        style = _OUTCOME_STYLE[outcome.status]
        console.print(Text.assemble(f"  {label:<16}", (word, style), f"  {detail}" if 0 < len(detail) < 30 else ""))
        if len(detail) >= 30:
            say(console, detail, 4, "dim")


def _finding(finding: Finding, console: Console, verbose: bool, plain: bool) -> None:
    head = Text.assemble(
        (finding.severity, STYLE[finding.severity]), " ", (finding.code, "bold"), " ", (finding.name, "dim")
    )
    console.print(head, soft_wrap=True)
    say(console, finding.message, 2)
    lines = list(words.evidence(finding.evidence))
    shown = lines if verbose else lines[:_FEW]
    for key, value in shown:
        say(console, f"{key}: {value}", 4, "dim")
    if len(shown) < len(lines):
        say(console, f"{len(lines) - len(shown)} more with --verbose", 4, "dim")
    for fix in finding.fixes:
        _fix(fix, console, plain)


def _fix(fix: Fix, console: Console, plain: bool) -> None:
    arrow = "->" if plain else "→"
    say(console, f"{arrow} {words.fix_title(fix)}", 2, "bold green")
    proof = words.fix_proof(fix)
    if proof:
        say(console, proof, 4, "green" if fix.verified else "dim")
    for line in fix.code.splitlines():
        # Code is never wrapped: it is there to be pasted.
        code = Syntax("", "python").highlight(line) if console.color_system else Text(line)
        code.rstrip()
        console.print(Text("      ") + code, soft_wrap=True)


def say(console: Console, text: str, indent: int = 0, style: str = "") -> None:
    """`text` wrapped at the console's width behind `indent` spaces, without trailing ones."""
    lines = textwrap.wrap(text, max(console.width - indent, 20), break_long_words=False, break_on_hyphens=False)
    for line in lines:
        console.print(Text(" " * indent + line, style=style), soft_wrap=True)


def _unchecked(report: ReportData, console: Console) -> None:
    lines = words.unchecked(report)
    if not lines:
        return
    console.print()
    console.print(Text("Not checked", style="bold"))
    for line in lines:
        say(console, line, 2, "dim")


def as_text(report: ReportData, *, verbose: bool = False, quiet: bool = False, width: int = 100) -> str:
    """The text report without colour, `width` columns wide, as it is written to a file."""
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, highlight=False, no_color=True)
    render(report, console, verbose=verbose, quiet=quiet)
    return buffer.getvalue()
