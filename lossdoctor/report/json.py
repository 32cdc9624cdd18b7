"""The JSON document of a report, by the shipped schema (`schema.json`)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from lossdoctor import trees
from lossdoctor.report.printable import json_text
from lossdoctor.types import Finding, InputSpec, Outcome, Pair, ReportData, Spec, Tree

SCHEMA_VERSION = 1


def render(report: ReportData) -> str:
    """The document as text, the same bytes for the same report."""
    return json_text(to_document(report))


def to_document(report: ReportData) -> dict[str, Any]:
    """The document as plain dicts and lists. Numbers that JSON lacks become null for losses, text in evidence."""
    environment = report.environment
    return {
        "schema_version": SCHEMA_VERSION,
        "lossdoctor": environment.lossdoctor,
        "environment": {"keras": environment.keras, "backend": environment.backend, "python": environment.python},
        "model": {
            "source": report.model_source,
            "output_names": list(report.output_names),
            "outputs": _tree("y_pred", report.outputs),
            "inputs": None if report.inputs is None else _tree("inputs", report.inputs),
        },
        "batch": {
            "source": report.batch_source,
            "x": _tree("x", report.x),
            "y": _tree("y", report.y),
            "sample_weight": None if report.sample_weight is None else _tree("sample_weight", report.sample_weight),
        },
        "outcomes": {name: _outcome(report.outcomes[name]) for name in ("fit", "train_on_batch", "direct")},
        "pairs": [_pair(pair) for pair in report.pairs],
        "findings": [to_finding(finding) for finding in report.findings],
        "checks": {
            "ran": list(report.checks.ran),
            "skipped": dict(sorted(report.checks.skipped.items())),
            "notes": list(report.checks.notes),
        },
        "summary": report.summary,
        "verdict": report.verdict,
    }


def _tree(path: str, node: Tree) -> dict[str, Any]:
    if node is None:
        return {"kind": "none"}
    if isinstance(node, InputSpec):
        return {"kind": "leaf", "path": path, "name": node.name, "shape": list(node.shape), "dtype": node.dtype}
    if isinstance(node, Spec):
        return {"kind": "leaf", "path": path, "shape": list(node.shape), "dtype": node.dtype}
    if trees.is_leaf(node):
        return {"kind": "scalar", "value": node}
    items = [(step, _tree(path + step, child)) for step, child in trees.children(node)]
    if isinstance(node, dict):
        kind = "ordereddict" if isinstance(node, OrderedDict) else "dict"
        return {"kind": kind, "items": [[str(k), child] for k, (_, child) in zip(node, items, strict=True)]}
    children = [child for _, child in items]
    if hasattr(node, "_fields"):
        return {"kind": "namedtuple", "name": type(node).__name__, "fields": list(node._fields), "items": children}
    return {"kind": "tuple" if isinstance(node, tuple) else "list", "items": children}


def _outcome(outcome: Outcome) -> dict[str, Any]:
    document: dict[str, Any] = {"status": outcome.status, "error": outcome.error, "loss": _number(outcome.loss)}
    return document if outcome.reason is None else {**document, "reason": outcome.reason}


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "output": pair.output,
        "target": pair.target,
        "loss": pair.loss,
        "loss_path": pair.loss_path,
        "weight": _number(pair.weight),
        "reduction": pair.reduction,
        "output_shape": list(pair.output_shape),
        "target_shape": None if pair.target_shape is None else list(pair.target_shape),
        "value": _number(pair.value),
    }


def to_finding(finding: Finding) -> dict[str, Any]:
    """One finding as plain dicts and lists."""
    return {
        "code": finding.code,
        "name": finding.name,
        "category": finding.category,
        "severity": finding.severity,
        "impact": finding.impact,
        "message": finding.message,
        "where": list(finding.where),
        "evidence": plain(finding.evidence),
        "fixes": [
            {"title": fix.title, "target": fix.target, "grade": fix.grade, "verified": fix.verified, "code": fix.code}
            for fix in finding.fixes
        ],
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def plain(value: Any) -> Any:
    """Evidence as JSON: NumPy numbers as Python's, NaN and infinity as text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
