"""The trees of a case side by side, and what each output is paired with. No judgement: findings are the report's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from lossdoctor.facts import InputRun, Share
from lossdoctor.report import words
from lossdoctor.report.drawing import Column, column
from lossdoctor.report.printable import one_line, printable
from lossdoctor.report.text import is_plain, open_table, say, table_lines
from lossdoctor.types import InputSpec, ReportData, Spec

_GAP = 4
_RIGHT = ("weight", "value", "loss %", "grad %")


def render(
    report: ReportData,
    console: Console,
    *,
    shares: Sequence[Share] = (),
    inputs: InputRun | None = None,
    forward: bool = False,
) -> None:
    """Print trees, pairing and inputs. A report without a batch has only outputs, losses, weights and inputs."""
    report = printable(report)
    objective, fed = _columns(report)
    _trees(objective, console)
    console.print()
    _trees(fed, console)
    if not report.batch_source:
        console.print()
        if any(None in spec.shape for spec in _specs(report.outputs)):
            say(console, "None is a size that the batch decides; axis 0 is the samples.", style="dim")
        say(console, "With a batch, `lossdoctor show MODEL BATCH` also shows who is paired with whom.")
        return
    console.print()
    _pairing(report, shares, console, forward)
    _inputs(report, inputs, console)
    console.print()
    say(console, _last(report))


def _columns(report: ReportData) -> tuple[list[Column], list[Column]]:
    """(what the model is trained on, what it is fed)."""
    batch = bool(report.batch_source)
    objective = [
        column("Outputs", "y_pred", report.outputs, alone=words.untrained(report), leaf=_leaf),
        column("Losses", "loss", report.loss, empty="none compiled", leaf=_leaf),
        column("Loss weights", "loss_weights", report.loss_weights, empty="none: all count once", leaf=_leaf),
    ]
    fed = [column("Inputs", "inputs", report.inputs, empty="none declared", leaf=_leaf)]
    if batch:
        objective.insert(0, column("Targets", "y", report.y, empty="the batch has none", leaf=_leaf))
        fed.insert(0, column("x", "x", report.x, empty="the batch has none", leaf=_leaf))
    if report.sample_weight is not None:
        objective.append(column("Sample weights", "sample_weight", report.sample_weight, leaf=_leaf))
    return objective, fed


def _leaf(node: Any) -> str:
    if isinstance(node, InputSpec):
        return f"{node.name} {_spec(node)}"
    if isinstance(node, Spec):
        return _spec(node)
    return f"{node:g}" if isinstance(node, float) else str(node)


def _spec(node: Spec | InputSpec) -> str:
    """The shape, and the dtype where it is not the usual one."""
    return words.shape(node.shape) + ("" if node.dtype == "float32" else f" {node.dtype}")


def _specs(tree: Any) -> list[Spec]:
    from lossdoctor import trees

    return [leaf for leaf in trees.values(tree) if isinstance(leaf, Spec)]


def _trees(columns: Sequence[Column], console: Console) -> None:
    """As many trees beside each other as the console is wide."""
    blocks = [_lines(tree) for tree in columns]
    band: list[list[Text]] = []
    for block in blocks:
        if band and sum(_width(b) + _GAP for b in band) + _width(block) > console.width:
            _beside(band, console)
            console.print()
            band = []
        band.append(block)
    _beside(band, console)


def _lines(tree: Column) -> list[Text]:
    if not tree.rows:
        return [Text(tree.title, style="bold"), Text(tree.empty, style="dim")]
    wide = max(2 * row.depth + len(row.label) for row in tree.rows)
    return [
        Text(tree.title, style="bold"),
        *(
            Text.assemble(f"{'  ' * row.depth}{row.label}".ljust(wide + 1), (row.detail, "cyan" if row.leaf else "dim"))
            for row in tree.rows
        ),
    ]


def _width(block: Sequence[Text]) -> int:
    return max(line.cell_len for line in block)


def _beside(band: Sequence[Sequence[Text]], console: Console) -> None:
    for i in range(max(map(len, band), default=0)):
        line = Text()
        for block in band:
            cell = block[i] if i < len(block) else Text()
            line.append_text(cell).append(" " * (_width(block) + _GAP - cell.cell_len))
        line.rstrip()
        console.print(line, soft_wrap=True)


def _pairing(report: ReportData, shares: Sequence[Share], console: Console, forward: bool) -> None:
    console.print("Who is trained on what", style="bold")
    if not report.pairs:
        fit = report.outcomes["fit"]
        say(console, f"No pairing: {words.why_no_pairs(report)}.")
        if fit.error:
            say(console, words.short(fit.error, 400), indent=2, style="dim")
            say(console, "`lossdoctor explain` tells what such a message means.", style="dim")
        return
    said = (
        "the model's own predictions (--forward)"
        if forward
        else "seeded plausible predictions (--forward takes the model's own)"
    )
    rows = [
        [
            p.output,
            p.target or "(none of y)",
            p.loss,
            words.weight(p),
            "" if p.value is None else f"{p.value:.4g}",
            _percent(s.loss),
            _percent(s.gradient),
        ]
        for p, s in zip(report.pairs, shares, strict=True)
    ]
    _table(("output", "target", "loss", "weight", "value", "loss %", "grad %"), rows, console)
    alone = words.untrained(report)
    if alone:
        say(console, f"Without a loss: {', '.join(alone)}.")
    say(console, f"Measured on {report.rows} rows with {said}.", style="dim")


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    return f"{100 * share:.0f}" if share == 0 or share >= 0.005 else "<1"


def _inputs(report: ReportData, inputs: InputRun | None, console: Console) -> None:
    if inputs is None or not (inputs.pairs or inputs.error):
        return
    console.print()
    console.print("Which array feeds which Input", style="bold")
    if inputs.error:
        say(console, words.short(one_line(inputs.error), 400))
        return
    rows = [
        [
            one_line(p.input),
            words.shape(p.input_shape),
            one_line(p.x or "(nothing of x)"),
            words.shape(p.x_shape) if p.x_shape else "",
        ]
        for p in inputs.pairs
    ]
    _table(("Input", "its shape", "gets", "of shape"), rows, console)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    gap = 3 if is_plain(console) else 2
    wide = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    if sum(wide) + gap * len(wide) > console.width:
        for first, *others in rows:
            say(console, first)
            for name, value in zip(columns[1:], others, strict=True):
                if value:
                    say(console, f"{name:<16}{value}", indent=2)
        return
    table = open_table(console, columns, right=_RIGHT, collapse_padding=True)
    for row in rows:
        table.add_row(*map(Text, row))
    for line in table_lines(console, table):
        if line:
            console.out(line, highlight=False)


def _last(report: ReportData) -> str:
    if not report.findings:
        return "`lossdoctor check` finds nothing wrong with this."
    return f"{words.counts(report)}: `lossdoctor check` with the same arguments says what, and why."
