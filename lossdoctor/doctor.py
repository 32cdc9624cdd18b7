"""The pipeline on one page: case -> exam -> rules -> report, a line a stage."""

from __future__ import annotations

import math
import re
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from lossdoctor import stored as stored  # importing it makes reports picklable
from lossdoctor import trees
from lossdoctor.case.archives import kept_open
from lossdoctor.facts import Exam, Run, Share
from lossdoctor.types import (
    SEVERITIES,
    ArrayRef,
    Case,
    CaseError,
    Checks,
    Finding,
    Fix,
    Outcome,
    Pair,
    ReportData,
    Spec,
    Tree,
    Verdict,
)

if TYPE_CHECKING:
    from lossdoctor.fixes.plan import Plan
    from lossdoctor.fixes.verify import State


def examine(model: str, batch: str | None, **options: Any) -> ReportData:
    """Examine a model and a batch named on the command line: the report of `examine_with_exam`. Raises `CaseError`."""
    return examine_with_exam(model, batch, **options)[0]


@kept_open()
def examine_with_exam(
    model: str,
    batch: str | None,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    severity: Mapping[str, str] | None = None,
    repairs: bool = True,
    progress: Callable[[str], None] = lambda _: None,
    **given: Any,
) -> tuple[ReportData, Exam]:
    """The report of a case named on the command line, and the exam that it tells of. `given` are the options of `load_case`.

    Raises `CaseError` where the model or the batch cannot be read.
    """
    from lossdoctor.case.load import load_case

    progress("reading the model and the batch")
    case = load_case(model, batch, **given)
    return diagnose_with_exam(case, select=select, ignore=ignore, severity=severity, repairs=repairs, progress=progress)


def outline(model: str, **given: Any) -> ReportData:
    """What is known of a model without a batch: outputs, inputs, losses, weights. Raises `CaseError`."""
    from lossdoctor.case.load import load_case

    skipped = Outcome("skipped", reason="there is no batch")
    exam = Exam(load_case(model, None, needs_batch=False, **given), Run(skipped), Run(skipped), skipped)
    return make_report(exam, (), Checks((), notes=exam.case.model.notes))


@kept_open()
def diagnose_with_exam(
    case: Case,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    severity: Mapping[str, str] | None = None,
    repairs: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[ReportData, Exam]:
    """The report of a case, and the exam that it tells of; without `repairs` none of them is tried.

    `severity` overrides rules' own: code or prefix -> error, warning, info or off.
    """
    from lossdoctor.exam.observe import examine as run_exam

    progress("running Keras on a stand-in")
    exam = run_exam(case)
    progress("applying the rules")
    findings, checks = apply_rules(exam, select, ignore, severity)
    if repairs and any(fix.edits for f in findings for fix in f.fixes):
        progress("trying the repairs")
        every = apply_rules(exam, (), ())[0] if select or ignore or severity else findings
        findings = prove_repairs(exam, findings, every)
    return make_report(exam, findings, checks), exam


def prove_repairs(exam: Exam, findings: tuple[Finding, ...], every: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The findings with their repairs tried on the case, each by a new exam; `every` is what all rules find."""
    from lossdoctor.fixes.verify import State, prove

    state = exam.known.setdefault("state", State(exam.case, exam, every))
    proven = {(f.code, f.where, f.message): f.fixes for f in prove(state, examined)}
    return tuple(replace(f, fixes=proven.get((f.code, f.where, f.message), f.fixes)) for f in findings)


def state_of(exam: Exam) -> State:
    """An exam with what every rule says of it: where repairs start from."""
    from lossdoctor.fixes.verify import State

    if "state" not in exam.known:
        exam.known["state"] = State(exam.case, exam, apply_rules(exam, (), ())[0])
    state: State = exam.known["state"]
    return state


def examined(case: Case) -> tuple[Exam, tuple[Finding, ...]]:
    """One more exam, of an edited case, under every rule."""
    from lossdoctor.exam.observe import examine as run_exam

    exam = run_exam(case)
    return exam, apply_rules(exam, (), ())[0]


def plan_repairs(exam: Exam, grades: Sequence[str] = ("safe", "review")) -> Plan:
    """The plan of least change for an examined case."""
    from lossdoctor.fixes.plan import make_plan

    plans: dict[tuple[str, ...], Plan] = exam.known.setdefault("plans", {})
    if tuple(grades) not in plans:
        plans[tuple(grades)] = make_plan(state_of(exam), examined, tuple(grades))
    return plans[tuple(grades)]


def apply_rules(
    exam: Exam, select: Sequence[str], ignore: Sequence[str], severity: Mapping[str, str] | None = None
) -> tuple[tuple[Finding, ...], Checks]:
    """What the chosen rules find, worst first, and which rules could not run and why."""
    from lossdoctor.rules import RULES
    from lossdoctor.rules.consequences import without_consequences
    from lossdoctor.rules.loss_raises import unexplained
    from lossdoctor.rules.selection import choose, override, severity_of

    findings: list[Finding] = []
    ran: list[str] = []
    skipped: dict[str, str] = {}
    for rule in choose(RULES, select, ignore):
        if severity and severity_of(rule.code, severity) == "off":
            continue
        missing = [need for need in rule.needs if need in exam.skipped]
        if missing:
            skipped[rule.code] = exam.skipped[missing[0]]
            continue
        findings.extend(rule.check(exam))
        ran.append(rule.code)
    findings = list(without_consequences(exam, findings, {rule.code: rule.check for rule in RULES}.__getitem__))
    told = any(f.severity == "error" and f.impact == "raises" for f in findings)
    if exam.fit.outcome.status == "raises" and "LD804" in ran and not told:
        findings.append(unexplained(exam))
    if exam.case.model.hands_on == "changed":
        findings = [replace(f, fixes=tuple(map(_in_the_step, f.fixes))) for f in findings]
    findings = list(override(findings, severity or {}))
    findings.sort(key=lambda f: (SEVERITIES.index(f.severity), f.code, f.where))
    return tuple(findings), Checks(tuple(ran), skipped, notes(exam))


def _in_the_step(fix: Fix) -> Fix:
    """A repair of a batch that the model's own `train_step` makes is for that step."""
    if fix.target != "batch":
        return fix
    why = "the model's own train_step makes y and sample_weight, so the change belongs there"
    return replace(fix, grade="manual", edits=(), why=why)


def notes(exam: Exam) -> tuple[str, ...]:
    """Remarks on what was not looked at."""
    case = exam.case
    said = [*case.model.notes, *case.batch.notes]
    if exam.fit.outcome.status == "skipped":
        said = [note.replace(", which was run in its place", "") for note in said]
    if case.model.inputs is not None and case.batch.x is None:
        said.append("the model's inputs: the batch has no x, without which fit raises")
    if case.model.preprocessor is None and any(map(_is_text, trees.values(case.batch.x))):
        said.append(
            "x as the NumPy arrays of text that it holds, which fit refuses: it was examined as tensors, tf.constant(x)"
        )
    if case.batch.total_rows is not None:
        said.append(f"the batch beyond its first {case.rows} rows (it has {case.batch.total_rows})")
    if case.model.predictions is None and exam.run.calls:
        said.append(
            "real predictions: no weights were loaded, and seeded plausible values stand in for what the model would predict"
        )
    if "compiled" in exam.skipped:
        said.append(f"the compiled step: {exam.skipped['compiled']}")
    if "strategy" in exam.skipped:
        said.append(f"the replicas of the model's strategy: {exam.skipped['strategy']}")
    if any(m is not None for m in case.model.masks):
        said.append(
            "the masks that x really makes: plausible ones stand in for them (the last step of every other sample is padding)"
        )
    return tuple(said)


def _is_text(leaf: Any) -> bool:
    """NumPy's own text in a file; a saved tensor of strings is bytes."""
    return isinstance(leaf, ArrayRef) and re.match(r"[<>=]?U", str(leaf.dtype)) is not None


def make_report(exam: Exam, findings: tuple[Finding, ...], checks: Checks) -> ReportData:
    """The finished report of an exam and its findings."""
    case = exam.case
    return ReportData(
        environment=case.environment,
        model_source=case.model.source,
        output_names=case.model.output_names or (),
        outputs=case.model.outputs,
        inputs=case.model.inputs,
        batch_source=case.batch.source,
        x=_specs(case.batch.x),
        y=_specs(case.batch.y),
        sample_weight=_specs(case.batch.sample_weight),
        outcomes={"fit": exam.fit.outcome, "train_on_batch": exam.train_on_batch.outcome, "direct": exam.direct},
        pairs=pairs(exam),
        findings=findings,
        checks=checks,
        verdict=verdict(findings),
        rows=case.rows,
        compile_source=case.compile.source,
        loss=_labels(case.compile.loss),
        loss_weights=trees.plain(case.compile.loss_weights),
    )


def _labels(loss: Tree) -> Tree:
    """The compiled losses by name, in their containers; None stays None."""
    from lossdoctor import _keras

    return trees.map_leaves(
        lambda leaf: leaf if leaf is None or isinstance(leaf, str) else _keras.loss_label(leaf), trees.plain(loss)
    )


def _specs(tree: Tree) -> Tree:
    return trees.map_leaves(
        lambda leaf: Spec(tuple(leaf.shape), leaf.dtype) if isinstance(leaf, ArrayRef) else leaf, tree
    )


def pairs(exam: Exam) -> tuple[Pair, ...]:
    """One row for every output leaf that a completed loss call met, outputs in the order written."""
    order = {path: i for i, (path, _) in enumerate(trees.declared_leaves("y_pred", exam.case.model.outputs))}
    weights = {
        path: float(value)
        for path, value in trees.leaves("loss_weights", exam.case.compile.loss_weights)
        if isinstance(value, float) or (isinstance(value, int) and abs(value) <= sys.float_info.max)
    }
    ordered = sorted((value, path) for path, value in weights.items() if not math.isnan(value))
    rows = [
        replace(pair, weight_path=_weight_path(pair, weights, ordered))
        for call in exam.run.calls
        for pair in _rows(call)
    ]
    return tuple(sorted(rows, key=lambda p: (order.get(p.output, len(order)), p.call)))


def _weight_path(pair: Pair, weights: Mapping[str, float], ordered: Sequence[tuple[float, str]]) -> str | None:
    """The given weight that has the measured value; where several have it, the one in the loss's or the output's place.

    `ordered` holds (weight, its path), least first: what is equal to one value lies side by side.
    """

    def equal(value: float) -> bool:
        return math.isclose(value, pair.weight, rel_tol=1e-5, abs_tol=1e-9)

    slack = max(abs(pair.weight) * 2e-5, 1e-8) if math.isfinite(pair.weight) else math.nan
    first = 0 if math.isnan(slack) else bisect_left(ordered, (pair.weight - slack, ""))
    near = takewhile(lambda item: not item[0] > pair.weight + slack, islice(ordered, first, None))
    beside = list(islice((path for value, path in near if equal(value)), 2))
    if len(beside) < 2:
        return beside[0] if beside else None
    places = (pair.loss_path.removeprefix("loss"), pair.output.removeprefix("y_pred"))
    return next((p for p in (f"loss_weights{place}" for place in places) if p in weights and equal(weights[p])), None)


def _rows(call: Any) -> Iterable[Pair]:
    if call.value_shape is None:  # the call raised
        return
    aligned = len(call.targets) == len(call.outputs)
    for i, output in enumerate(call.outputs):
        if output is None:
            continue
        yield Pair(
            output=output,
            target=call.targets[i] if aligned else None,
            loss=call.label,
            loss_path=call.loss_path,
            weight=call.weight,
            reduction=call.reduction,
            output_shape=call.output_shapes[i],
            target_shape=call.target_shapes[i] if aligned else None,
            call=call.number,
            value=call.value,
        )


def shares(exam: Exam, pairs: Sequence[Pair]) -> tuple[Share, ...]:
    """What each pair has of the whole loss and of the whole gradient, in the order of `pairs`."""
    losses = {p.call: abs(p.value * p.weight) for p in pairs if p.value is not None}
    norms = {g.output: g.norm for g in exam.run.gradients if math.isfinite(g.norm)}
    whole, length = sum(losses.values()), sum(norms.values())
    first = {p.call: i for i, p in reversed(list(enumerate(pairs)))}
    return tuple(
        Share(
            losses[p.call] / whole if whole > 0 and p.call in losses and first[p.call] == i else None,
            norms[p.output] / length if length > 0 and p.output in norms else None,
        )
        for i, p in enumerate(pairs)
    )


def verdict(findings: Sequence[Finding]) -> Verdict:
    """The worst impact of the errors; "risk" where there are only warnings, or errors by the settings alone."""
    errors = {f.impact for f in findings if f.severity == "error"}
    if "raises" in errors:
        return "raises"
    if "silent" in errors:
        return "silent"
    return "risk" if any(f.severity in ("error", "warning") for f in findings) else "clean"


__all__ = [
    "CaseError",
    "apply_rules",
    "diagnose_with_exam",
    "examine",
    "examine_with_exam",
    "make_report",
    "outline",
    "plan_repairs",
    "shares",
]
