"""Repairs proven: each is applied to the case in memory, and the case is examined again with every rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lossdoctor.facts import Exam
from lossdoctor.fixes.apply import EditError, apply, provenance
from lossdoctor.fixes.code import with_code
from lossdoctor.fixes.objective import declared_objective
from lossdoctor.rules.shared import close
from lossdoctor.types import BatchEdit, Case, Edit, Finding, Fix, at_least

Again = Callable[[Case], tuple[Exam, tuple[Finding, ...]]]


@dataclass(frozen=True, eq=False)
class State:
    """One case, what Keras does with it, what the rules say, and what the edits made of it that were tried."""

    case: Case
    exam: Exam
    findings: tuple[Finding, ...]
    tried: dict[tuple[Edit, ...], State | None] = field(default_factory=dict, repr=False)

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """The errors and warnings."""
        return tuple(f for f in self.findings if at_least(f.severity, "warning"))

    @property
    def score(self) -> tuple[int, int, int]:
        """What a repair brings down: errors, whether fit raises, warnings."""
        errors = sum(f.severity == "error" for f in self.findings)
        return errors, int(self.exam.fit.outcome.status == "raises"), len(self.wrong) - errors


def make_state(case: Case, again: Again) -> State:
    """The case examined. Nothing is repaired yet."""
    return State(case, *again(case))


def applied(state: State, edits: tuple[Edit, ...], again: Again) -> State | None:
    """The case after the edits, examined once; None where they cannot be carried out on it."""
    if edits not in state.tried:
        try:
            state.tried[edits] = make_state(apply(state.case, edits), again)
        except EditError:
            state.tried[edits] = None
    return state.tried[edits]


def proves(before: State, after: State, finding: Finding, grade: str) -> bool:
    """True where the finding is gone, nothing new appeared, Keras ran it, and a safe repair gives the declared objective."""
    return (
        gone(before, after, finding)
        and not appeared(before, after)
        and after.exam.fit.outcome.status == "ok"
        and (grade != "safe" or keeps_objective(after))
    )


def gone(before: State, after: State, finding: Finding) -> bool:
    """True where there is one finding less of this rule."""
    return _count(after)[finding.code] < _count(before)[finding.code]


def appeared(before: State, after: State) -> list[str]:
    """The codes of which there are more errors and warnings than before."""
    old, new = _count(before), _count(after)
    return [code for code in new if new[code] > old[code]]


def _count(state: State) -> Counter[str]:
    return Counter(f.code for f in state.wrong)


def keeps_objective(state: State) -> bool:
    """True where fit's loss is the declared objective computed output by output, on the same predictions."""
    value, expected = state.exam.fit.outcome.loss, declared_objective(state.case)
    return value is not None and expected is not None and close(value, expected)


def effect(before: State, after: State) -> str:
    """What changed, in numbers: "total loss on this batch 101 -> 0; y_pred['z'] now trains on y[0]"."""
    said = []
    old, new = before.exam.fit.outcome, after.exam.fit.outcome
    if new.status == "ok" and new.loss is not None:
        if old.status == "raises":
            said.append(f"fit runs, with the loss {new.loss:.4g} on this batch")
        elif old.loss is not None and not close(old.loss, new.loss):
            said.append(f"total loss on this batch {old.loss:.4g} -> {new.loss:.4g}")
        else:
            said.append(f"total loss on this batch stays {new.loss:.4g}{_gradients(before, after)}")
    elif new.status == "raises":
        said.append("fit raises")
    origin = provenance(before.case.batch, after.case.batch)
    was_target, now_target = _targets(before), _targets(after)
    for output, target in now_target.items():
        source = origin.get(target, target)
        # Where fit raised at the first loss, the other outputs met nothing before.
        if was_target and was_target.get(output) != source and target in origin:
            said.append(f"{output} now trains on {source}")
    return "; ".join(said[:6]) + (f"; and {len(said) - 6} more" if len(said) > 6 else "")


def _gradients(before: State, after: State) -> str:
    """Where the loss is the same and the gradient is not: "; the gradient at y_pred 3.2 -> 0.1"."""
    old = {g.output: g.norm for g in before.exam.fit.gradients}
    changed = [
        f"the gradient at {g.output} {old[g.output]:.4g} -> {g.norm:.4g}"
        for g in after.exam.fit.gradients
        if g.output in old and not close(old[g.output], g.norm)
    ]
    return "".join(f"; {text}" for text in changed[:4])


def _targets(state: State) -> Mapping[str, str]:
    return {
        output: target
        for call in state.exam.run.calls
        if len(call.outputs) == len(call.targets)
        for output, target in zip(call.outputs, call.targets, strict=True)
        if output is not None and target is not None
    }


# A report of hundreds of findings of one kind needs no hundreds of exams.
_MOST_TRIED = 12


def prove(before: State, again: Again) -> tuple[Finding, ...]:
    """The findings with the executable repairs of errors and warnings tried, and their effects told.

    The first 12 repairs are tried, worst findings first; the others stay unverified.
    """
    seen: set[tuple[Edit, ...]] = set()
    together = _together(before, again)

    def after(fix: Fix) -> State | None:
        if fix.edits not in seen and len(seen) == _MOST_TRIED:
            return None
        seen.add(fix.edits)
        return applied(before, fix.edits, again)

    def tried(finding: Finding, fix: Fix) -> Fix:
        if fix.edits in together:
            return replace(with_code(before.case, fix), verified=True, effect=together[fix.edits])
        return _tried(before, after(fix) if fix.edits else None, finding, fix)

    return tuple(
        replace(f, fixes=tuple(tried(f, fix) for fix in f.fixes))
        if at_least(f.severity, "warning")
        else replace(f, fixes=tuple(with_code(before.case, fix) for fix in f.fixes))
        for f in before.findings
    )


def _together(before: State, again: Again) -> dict[tuple[Edit, ...], str]:
    """{edits: effect} of the repairs of the batch that a rule gives to three findings or more, proven by one exam of all."""
    proven: dict[tuple[Edit, ...], str] = {}
    for code, many in _count(before).items():
        alike = [f for f in before.wrong if f.code == code]
        fixes = [f.fixes[0] for f in alike if f.fixes and of_batch(f.fixes[0])]
        if many < 3 or len(fixes) < many or len({fix.grade for fix in fixes}) > 1:
            continue
        after = all_at_once(before, code, fixes, again)
        if after is None or not proves(before, after, alike[0], fixes[0].grade):
            continue
        said = f"all {many} of {code} together: {effect(before, after)}"
        proven |= {fix.edits: said for fix in fixes}
    return proven


def all_at_once(before: State, code: str, fixes: Sequence[Fix], again: Again) -> State | None:
    """The case after several repairs of the batch, one for each finding of a rule, where that clears them all."""
    after = applied(before, tuple(dict.fromkeys(e for fix in fixes for e in fix.edits)), again)
    return None if after is None or _count(after)[code] else after


def of_batch(fix: Fix) -> bool:
    """True for a repair that changes the batch alone: several of these can be carried out one after the other."""
    return bool(fix.edits) and all(isinstance(edit, BatchEdit) for edit in fix.edits)


def _tried(before: State, after: State | None, finding: Finding, fix: Fix) -> Fix:
    fix = with_code(before.case, fix)
    if after is None:
        return replace(fix, verified=False)
    return replace(fix, verified=proves(before, after, finding, fix.grade), effect=effect(before, after))
