"""The Python API: `check`, and the `Report` that it returns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lossdoctor import trees
from lossdoctor.types import (
    SEVERITIES,
    Batch,
    Case,
    CaseError,
    CompileArgs,
    Finding,
    Pair,
    ReportData,
    Severity,
    Tree,
    at_least,
)

_UNSET: Any = object()


class FindingsError(Exception):
    """Raised by `Report.raise_for_findings`; its text is the report's findings and a repair, `report` the report."""

    def __init__(self, report: Report, at: Severity) -> None:
        self.report = report
        found = [f for f in report.findings if at_least(f.severity, at)]
        told = [f"{f.severity} {f.code} {f.name}: {f.message}" for f in found]
        super().__init__("\n".join([*told, *_repair(found)]))


def _repair(findings: Sequence[Finding]) -> list[str]:
    """The first repair among the findings, one that was tried where there is one: a line that says so, and its code."""
    fixes = [fix for f in findings for fix in f.fixes if fix.code and fix.grade != "manual"]
    best = next((fix for fix in fixes if fix.verified), fixes[0] if fixes else None)
    if best is None:
        return []
    lines = best.code.splitlines()
    if len(lines) > 2:
        return [f"Repair: {best.title}; report.patch() writes it."]
    how = "Repair, tried" if best.verified else "Repair"
    review = " (review)" if best.grade == "review" else ""
    return [f"{how}: {best.title}{review}", *(f"    {line}" for line in lines)]


@dataclass(frozen=True, eq=False)
class Report:
    """What lossdoctor found in one case. `data` is the whole report as frozen data; `exam` is what a patch is made from."""

    data: ReportData
    exam: Any = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """A pickled report is its data: live models and losses stay behind."""
        return {"data": self.data, "exam": None}

    @property
    def ok(self) -> bool:
        """True where there is no finding of severity error."""
        return not any(f.severity == "error" for f in self.findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings, worst first."""
        return self.data.findings

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Which output met which target under which loss and weight."""
        return self.data.pairs

    def to_json(self) -> str:
        """The report as the JSON document of `lossdoctor check --format json`."""
        from lossdoctor.report import json

        return json.render(self.data)

    def patch(self) -> str | None:
        """The repairs as a Python file (`compile_model`, `adapt_batch` ...), or None where nothing is to be changed.

        Raises `CaseError` for a report that was read back, without the case it was made from, and for a loss or metric that cannot be written down.
        """
        from lossdoctor.doctor import plan_repairs
        from lossdoctor.fixes.patch import write_patch

        if self.exam is None:
            raise CaseError("this report was read back without its case; run lossdoctor.check again for a patch.")
        patch = write_patch(plan_repairs(self.exam))
        return None if patch is None else patch.text

    def raise_for_findings(self, at: Severity = "error") -> None:
        """Raise `FindingsError` where there is a finding of severity `at` or worse ("error", "warning", "info")."""
        if at not in SEVERITIES:
            raise ValueError(f"raise_for_findings takes one of {', '.join(SEVERITIES)}, not {at!r}")
        if any(at_least(f.severity, at) for f in self.findings):
            raise FindingsError(self, at)

    def _repr_html_(self) -> str:
        """The pairing table and the findings, for a notebook."""
        from lossdoctor.report import html

        return html.fragment(self.data)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {severity}" for severity, count in self.data.summary.items())
        return f"<lossdoctor.Report {self.data.verdict}: {counts}>"

    def __str__(self) -> str:
        from lossdoctor.report import text

        return text.as_text(self.data)


def check(
    model: Any = None,
    batch: Any = None,
    *,
    outputs: Tree = None,
    output_names: Sequence[str] | None = None,
    loss: Any = _UNSET,
    loss_weights: Any = _UNSET,
    metrics: Any = _UNSET,
    forward: bool = False,
    repairs: bool = True,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> Report:
    """Examine a Keras model, or only its outputs, with one batch, and say what Keras will really do.

    `model` is a live model, or a file's path or ``file.py:name`` as `lossdoctor check` takes it (nothing in a model file runs). `batch` is `(x, y)` or
    `(x, y, sample_weight)` with trees of arrays, anything that iterates over such tuples (the first is taken), or a batch file's path. `outputs` is a tree of arrays (used as the predictions) or of specs:
    anything with .shape and .dtype, or (shape, dtype); x may then be None. `loss`, `loss_weights` and
    `metrics` take the place of what the model was compiled with. `repairs=False` names repairs without trying them,
    which is quicker. The model is not changed: weights, compile state and optimizer stay as they are.

    Raises `CaseError` for a case that cannot be read.
    """
    from lossdoctor.case.arguments import override
    from lossdoctor.case.load import load_case
    from lossdoctor.doctor import diagnose_with_exam

    if (model is None) == (outputs is None):
        raise CaseError("check takes either a model or outputs=...; give exactly one of them.")
    if batch is None:
        raise CaseError("check takes a batch, (x, y) or (x, y, sample_weight); give one.")
    if _is_path(model):
        held = os.fspath(batch) if _is_path(batch) else _hold(batch)
        case = load_case(os.fspath(model), held, forward=forward, needs_loss=loss is _UNSET)
    else:
        case = _live_case(model, batch, outputs, output_names, forward)
    given = {"loss": loss, "loss_weights": loss_weights, "metrics": metrics}
    changes = {name: trees.plain(value) for name, value in given.items() if value is not _UNSET}
    case = replace(case, compile=override(case.compile, changes, "the call"))
    return Report(*diagnose_with_exam(case, select=select, ignore=ignore, repairs=repairs))


def _live_case(model: Any, batch: Any, outputs: Tree, output_names: Sequence[str] | None, forward: bool) -> Case:
    """The case of a live model, or of outputs alone."""
    import keras

    from lossdoctor import _compiled
    from lossdoctor.case import pipeline
    from lossdoctor.case.batch import load_batch_argument
    from lossdoctor.case.model import from_outputs
    from lossdoctor.case.room import describe_with_room
    from lossdoctor.case.rows import cut, rows_of
    from lossdoctor.installed import environment

    versions = environment()
    if model is not None and not isinstance(model, keras.Model):
        raise CaseError(f"model is a {type(model).__name__}, not a Keras model; give the model, or its file's path.")
    # Given predictions are examined whole: their rows cannot be cut.
    held = cut(load_batch_argument(os.fspath(batch)) if _is_path(batch) else _hold(batch), keep=outputs is not None)
    if model is None:
        if forward:
            raise CaseError("forward=True runs the model on x; give the model.")
        return Case(from_outputs(outputs, output_names), held, CompileArgs(), versions, rows_of(held, outputs))
    prepared = pipeline.preprocessed(model, held)
    found = describe_with_room(
        model, _name(model), prepared.batch, notes=prepared.notes, refused=prepared.raised, step=prepared.step
    )
    spec, held, rows = found.model, found.batch, found.rows
    if forward and (held.x is None or not model.built):
        raise CaseError("forward=True runs the model on x; it needs a model that has its weights, and x in the batch.")
    return Case(spec, held, _compiled.compile_args(model), versions, rows, model if forward else None)


def _is_path(given: Any) -> bool:
    return isinstance(given, str | os.PathLike)


def _name(model: Any) -> str:
    return str(getattr(model, "name", None) or type(model).__name__)


def _hold(batch: Any) -> Batch:
    from lossdoctor.case.batch import hold_batch
    from lossdoctor.case.datasets import first_batch

    if isinstance(batch, Batch):
        return batch
    return hold_batch(tuple(batch) if isinstance(batch, list) else first_batch(batch, "the call")[0], "the call")


__all__ = ["FindingsError", "Report", "check"]
