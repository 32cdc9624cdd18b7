"""Findings about targets (LD203) or losses (LD204) that met the wrong output: withheld where they do not hold of the declared pairing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from lossdoctor.facts import Exam, Probes, Run
from lossdoctor.rules import shared
from lossdoctor.types import Finding

# The rules that judge one target, or one loss, against its output, from the calls of a run.
JUDGES = ("LD301", "LD302", "LD303", "LD305", "LD306", "LD601", "LD602", "LD604", "LD702", "LD703", "LD704", "LD804")
_CAUSES = ("LD203", "LD204")

Check = Callable[[Exam], Iterator[Finding]]


def without_consequences(
    exam: Exam, findings: Sequence[Finding], checks: Callable[[str], Check]
) -> tuple[Finding, ...]:
    """The findings without those that only the pairing of LD203 or LD204 brings; `checks` gives the check of a rule's code.

    Errors and warnings go where their rule finds nothing at the same output once it has the target declared for it; info
    goes in any case, since it tells of two leaves that do not belong together.
    """
    if exam.declared is None or not any(f.code in _CAUSES and f.severity == "error" for f in findings):
        return tuple(findings)
    declared, losses = exam.declared.targets, exam.declared.losses
    crossed = {
        (output, met)
        for call, output, target in shared.pairs(exam)
        for met in (target, call.loss_path)
        if met is not None
        and (declared.get(output, target) != target or losses.get(output, call.loss_path) != call.loss_path)
    }
    if not crossed or exam.declared.run.outcome.status != "ok":
        return tuple(findings)
    tied = _as_declared(exam, exam.declared.run)
    found: dict[str, list[Finding]] = {}

    def kept(finding: Finding) -> bool:
        pair = _pair(finding)
        if finding.code not in JUDGES or pair not in crossed:
            return True
        if finding.severity == "info":
            return False
        if finding.code not in found:
            found[finding.code] = list(checks(finding.code)(tied))
        return any((_pair(other) or ("", ""))[0] == pair[0] for other in found[finding.code])

    return tuple(f for f in findings if kept(f))


def _pair(finding: Finding) -> tuple[str, str] | None:
    """(output, target) or (output, loss) of a finding about one of each."""
    outputs = [path for path in finding.where if path.startswith("y_pred")]
    targets = [path for path in finding.where if path == "y" or path.startswith("y[")]
    met = targets or [path for path in finding.where if path.partition("[")[0] == "loss"]
    return (outputs[0], met[0]) if len(outputs) == len(met) == 1 else None


def _as_declared(exam: Exam, run: Run) -> Exam:
    """The exam with the declared pairing in place of the observed one; targets keep the paths that they have in the batch."""
    assert exam.declared is not None
    declared = exam.declared.targets
    calls = tuple(
        replace(
            call,
            targets=tuple(
                declared.get(str(output), target) for output, target in zip(call.outputs, call.targets, strict=True)
            ),
        )
        if len(call.outputs) == len(call.targets)
        else call
        for call in run.calls
    )
    tied = replace(run, calls=calls)
    return replace(exam, fit=tied, train_on_batch=tied, declared=None, readings={}, metrics=(), probes=Probes())
