"""How the parts of a report are said: the words and numbers that every renderer for people shares."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from lossdoctor.types import Fix, Outcome, Pair, ReportData

HEADLINE = {
    "raises": "Keras will raise in fit().",
    "silent": "Keras will train, silently, on the wrong thing.",
    "risk": "Keras will train; something here is very likely a mistake.",
    "clean": "Nothing wrong found.",
}
COLUMNS = ("output", "target", "loss", "weight", "shapes", "value")
_GRADE = {"safe": "", "review": " (review)", "manual": " (by hand)"}


def cells(pair: Pair) -> list[str]:
    """One row of the pairing table, under `COLUMNS`."""
    output, target = shape(pair.output_shape), "?" if pair.target_shape is None else shape(pair.target_shape)
    shapes = output if output == target else f"{output} / {target}"
    value = "" if pair.value is None else f"{pair.value:.4g}"
    return [pair.output, pair.target or "(none of y)", pair.loss, weight(pair), shapes, value]


def weight(pair: Pair) -> str:
    """The measured loss weight; "" where it could not be measured."""
    return "" if math.isnan(pair.weight) and pair.value is None else f"{pair.weight:g}"


def shape(sizes: tuple[int | None, ...]) -> str:
    """A shape as Python writes it: ``(8, 1)``, ``(8,)``."""
    return "(" + ", ".join(map(str, sizes)) + ("," if len(sizes) == 1 else "") + ")"


def in_error(report: ReportData) -> set[str]:
    """Every path that a finding of severity error names."""
    return {path for f in report.findings if f.severity == "error" for path in f.where}


def untrained(report: ReportData) -> list[str]:
    """The outputs that met no loss, in the order written; none where no loss was called at all."""
    from lossdoctor import trees

    met = {pair.output for pair in report.pairs}
    return [path for path, _ in trees.declared_leaves("y_pred", report.outputs) if path not in met] if met else []


def why_no_pairs(report: ReportData) -> str:
    """Why the pairing table is empty."""
    fit = report.outcomes["fit"]
    if fit.status == "skipped":
        return fit.reason or "nothing was run"
    if fit.status == "ok":
        return "no loss was called"
    return "Keras raises before a loss has returned"


def outcomes(report: ReportData) -> Iterator[tuple[str, Outcome]]:
    """(what was called, what came of it) for the three entry points."""
    for name in ("fit", "train_on_batch", "direct"):
        yield "loss(y, y_pred)" if name == "direct" else name, report.outcomes[name]


def said(outcome: Outcome) -> tuple[str, str]:
    """(word, detail) of an outcome."""
    if outcome.status == "ok":
        return "works", "" if outcome.loss is None else f"loss {outcome.loss:.5g}"
    if outcome.status == "raises":
        return "raises", short(outcome.error or "", 200)
    return "not run", outcome.reason or ""


def fix_title(fix: Fix) -> str:
    """What a fix does, and its grade where that is not safe."""
    return f"{fix.title}{_GRADE[fix.grade]}"


def fix_proof(fix: Fix) -> str:
    """What trying the repair showed, or why only a person can decide; "" where neither is known."""
    if fix.why:
        return f"yours to decide: {fix.why}"
    if fix.verified:
        return f"tried: {fix.effect or 'the finding is gone'}"
    return f"not enough alone: {fix.effect}" if fix.effect else ""


def evidence(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, measured value) of every piece of evidence."""
    for key, value in found.items():
        yield str(key), _value(value)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        texts = [_value(v) for v in value]
        if value and all(v is None or isinstance(v, int) for v in value):  # a shape
            return "(" + ", ".join(texts) + ("," if len(texts) == 1 else "") + ")"
        return ", ".join(texts[:12]) + (f" and {len(texts) - 12} more" if len(texts) > 12 else "")
    return short(str(value), 300)


def short(text: str, most: int) -> str:
    """At most `most` characters of `text`."""
    return text if len(text) <= most else text[: most - 3] + "..."


def unchecked(report: ReportData) -> list[str]:
    """What was not checked and why: rules with the same reason on one line, then the remarks."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for code, reason in report.checks.skipped.items():
        reasons[reason].append(code)
    return [*(f"{', '.join(codes)}: {reason}" for reason, codes in reasons.items()), *report.checks.notes]


def counts(report: ReportData) -> str:
    """``1 error, 0 warnings, 2 info``."""
    return ", ".join(f"{n} {name}{'s' * (n != 1 and name != 'info')}" for name, n in report.summary.items())


def summary(report: ReportData) -> str:
    """The last line: how many findings, on how many rows, with which releases."""
    environment = report.environment
    return (
        f"{counts(report)}; {report.rows} rows; loss from {report.compile_source}; "
        f"Keras {environment.keras} on {environment.backend}, lossdoctor {environment.lossdoctor}"
    )
