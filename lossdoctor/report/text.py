"""The text report: the pairing first, then the verdict, the findings, and what was not checked."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import ASCII, SIMPLE_HEAD
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from lossdoctor.report.printable import printable
from lossdoctor.types import Finding, Fix, Outcome, Pair, ReportData, Severity

_STYLE: dict[Severity, str] = {"error": "bold red", "warning": "bold yellow", "info": "bold cyan"}
_HEADLINE = {
    "raises": "Keras will raise in fit().",
    "silent": "Keras will train, silently, on the wrong thing.",
    "risk": "Keras will train; something here is very likely a mistake.",
    "clean": "Nothing wrong found.",
}
_VERDICT_STYLE = {"raises": "bold red", "silent": "bold red", "risk": "bold yellow", "clean": "bold green"}
# Evidence lines a finding shows before the rest waits for --verbose.
_FEW = 6


def render(report: ReportData, console: Console, *, verbose: bool = False, quiet: bool = False) -> None:
    """Print `report` on `console`. `quiet`: the findings only; `verbose`: all evidence, all notes."""
    report = printable(report)
    plain = not console.encoding.lower().startswith("utf")
    if not quiet:
        _pairing(report, console, plain)
        console.print(Text(_HEADLINE[report.verdict], style=_VERDICT_STYLE[report.verdict]))
        _outcomes(report, console)
    for finding in report.findings:
        console.print()
        _finding(finding, console, verbose, plain)
    if not quiet:
        _unchecked(report, console)
        console.print()
        if any(fix.verified for f in report.findings for fix in f.fixes):
            _block(console, "`lossdoctor fix` asks which repairs to take, `lossdoctor patch` writes them as Python.", 0)
            console.print()
        _block(console, _summary(report), 0)


def _pairing(report: ReportData, console: Console, plain: bool) -> None:
    if not report.pairs:
        console.print(Text(f"No pairing: {_why_no_pairs(report)}.", style="bold"))
        console.print()
        return
    crossed = {path for f in report.findings if f.severity == "error" for path in f.where}
    table = Table(box=ASCII if plain else SIMPLE_HEAD, pad_edge=False, title=None, header_style="bold")
    for column in ("output", "target", "loss", "weight", "shapes", "value"):
        table.add_column(column, justify="right" if column in ("weight", "value") else "left", overflow="fold")
    for pair in report.pairs:
        style = "red" if {pair.output, pair.target} & crossed else ""
        table.add_row(*(Text(cell, style=style) for cell in _cells(pair)))
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.out(line.rstrip(), highlight=False)
    untrained = list(_untrained(report))
    if untrained:
        console.print(Text(f"without a loss: {', '.join(untrained)}", style="dim"))
        console.print()


def _cells(pair: Pair) -> list[str]:
    output, target = _shape(pair.output_shape), "?" if pair.target_shape is None else _shape(pair.target_shape)
    shapes = output if output == target else f"{output} / {target}"
    value = "" if pair.value is None else f"{pair.value:.4g}"
    return [pair.output, pair.target or "(none of y)", pair.loss, f"{pair.weight:g}", shapes, value]


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def _untrained(report: ReportData) -> Iterator[str]:
    from lossdoctor import trees

    met = {pair.output for pair in report.pairs}
    yield from (path for path, _ in trees.declared_leaves("y_pred", report.outputs) if path not in met)


def _why_no_pairs(report: ReportData) -> str:
    fit = report.outcomes["fit"]
    if fit.status == "skipped":
        return fit.reason or "nothing was run"
    return "Keras raises before any loss is called"


def _outcomes(report: ReportData, console: Console) -> None:
    for name in ("fit", "train_on_batch", "direct"):
        outcome = report.outcomes[name]
        label = "loss(y, y_pred)" if name == "direct" else name
        word, style, detail = _said(outcome)
        console.print(Text.assemble(f"  {label:<16}", (word, style), f"  {detail}" if 0 < len(detail) < 30 else ""))
        if len(detail) >= 30:
            _block(console, detail, 4, "dim")


def _said(outcome: Outcome) -> tuple[str, str, str]:
    if outcome.status == "ok":
        return "works", "green", "" if outcome.loss is None else f"loss {outcome.loss:.5g}"
    if outcome.status == "raises":
        return "raises", "red", _short(outcome.error or "", 200)
    return "not run", "dim", outcome.reason or ""


def _finding(finding: Finding, console: Console, verbose: bool, plain: bool) -> None:
    head = Text.assemble(
        (finding.severity, _STYLE[finding.severity]), " ", (finding.code, "bold"), " ", (finding.name, "dim")
    )
    console.print(head, soft_wrap=True)
    _block(console, finding.message, 2)
    lines = list(_evidence(finding.evidence))
    shown = lines if verbose else lines[:_FEW]
    for key, value in shown:
        _block(console, f"{key}: {value}", 4, "dim")
    if len(shown) < len(lines):
        _block(console, f"{len(lines) - len(shown)} more with --verbose", 4, "dim")
    for fix in finding.fixes:
        _fix(fix, console, plain)


def _fix(fix: Fix, console: Console, plain: bool) -> None:
    grade = {"safe": "", "review": " (changes numbers)", "manual": " (by hand)"}[fix.grade]
    arrow = "->" if plain else "→"
    _block(console, f"{arrow} {fix.title}{grade}", 2, "bold green")
    if fix.why:
        _block(console, f"yours to decide: {fix.why}", 4, "dim")
    elif fix.verified:
        _block(console, f"tried: {fix.effect}" if fix.effect else "tried: the finding is gone", 4, "green")
    elif fix.effect:
        _block(console, f"not enough alone: {fix.effect}", 4, "dim")
    for line in fix.code.splitlines():
        # Code is never wrapped: it is there to be pasted.
        code = Syntax("", "python").highlight(line) if console.color_system else Text(line)
        code.rstrip()
        console.print(Text("      ") + code, soft_wrap=True)


def _block(console: Console, text: str, indent: int, style: str = "") -> None:
    """`text` wrapped at the console's width behind `indent` spaces, without trailing ones."""
    lines = textwrap.wrap(text, max(console.width - indent, 20), break_long_words=False, break_on_hyphens=False)
    for line in lines:
        console.print(Text(" " * indent + line, style=style), soft_wrap=True)


def _evidence(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in evidence.items():
        yield str(key), _value(value)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        texts = [_value(v) for v in value]
        if value and all(isinstance(v, int) for v in value):
            return "(" + ", ".join(texts) + ("," if len(texts) == 1 else "") + ")"
        return ", ".join(texts[:12]) + (f" and {len(texts) - 12} more" if len(texts) > 12 else "")
    return _short(str(value), 300)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _unchecked(report: ReportData, console: Console) -> None:
    reasons: dict[str, list[str]] = defaultdict(list)
    for code, reason in report.checks.skipped.items():
        reasons[reason].append(code)
    if not reasons and not report.checks.notes:
        return
    console.print()
    console.print(Text("Not checked", style="bold"))
    for reason, codes in reasons.items():
        _block(console, f"{', '.join(codes)}: {reason}", 2, "dim")
    for note in report.checks.notes:
        _block(console, note, 2, "dim")


def _summary(report: ReportData) -> str:
    counts = report.summary
    found = ", ".join(f"{n} {name}{'s' * (n != 1 and name != 'info')}" for name, n in counts.items())
    environment = report.environment
    return (
        f"{found}; {report.rows} rows; loss from {report.compile_source}; "
        f"Keras {environment.keras} on {environment.backend}, lossdoctor {environment.lossdoctor}"
    )
