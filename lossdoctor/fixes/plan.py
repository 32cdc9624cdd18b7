"""One plan of least change: the repairs that together clear a case, and what is left for a person."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lossdoctor.fixes.code import with_code
from lossdoctor.fixes.verify import Again, State, all_at_once, appeared, applied, effect, gone, of_batch
from lossdoctor.types import Edit, Finding, Fix

_MOST_STEPS = 12
_GRADES = ("safe", "review")


@dataclass(frozen=True, eq=False)
class Step:
    """One repair of the plan: the finding it answers, the fix taken, and the state before it."""

    finding: Finding
    fix: Fix
    before: State


@dataclass(frozen=True, eq=False)
class Plan:
    """The steps in order, and the state before the first and after the last."""

    steps: tuple[Step, ...]
    start: State
    end: State

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All edits in order."""
        return tuple(edit for step in self.steps for edit in step.fix.edits)

    @property
    def left(self) -> tuple[Finding, ...]:
        """The errors and warnings that remain."""
        return self.end.wrong

    @property
    def effect(self) -> str:
        """What the whole plan changes, in numbers."""
        return effect(self.start, self.end) if self.steps else ""


def make_plan(start: State, again: Again, grades: tuple[str, ...] = _GRADES) -> Plan:
    """Repairs of these grades, one finding after the other, until nothing more can be repaired.

    A repair is taken where its finding goes and nothing gets worse; what a raising `fit` hid until then may
    come to light, and is repaired next. Repairs that the end does not need are dropped again.
    """
    state, steps = start, list[Step]()
    refused: set[tuple[str, tuple[str, ...]]] = set()
    while len(steps) < _MOST_STEPS:
        found = next((f for f in state.wrong if (f.code, f.where) not in refused), None)
        if found is None:
            break
        several = _together(state, found, again, grades)
        if several is not None:
            taken, after = several
            steps += [Step(f, with_code(state.case, fix), state) for f, fix in taken]
            state = after
            continue
        step = _best(state, found, again, grades)
        if step is None:
            refused.add((found.code, found.where))
            continue
        fix, state_after = step
        steps.append(Step(found, with_code(state.case, fix), state))
        state = state_after
    return _least(Plan(tuple(steps), start, state), again)


def _best(state: State, finding: Finding, again: Again, grades: tuple[str, ...]) -> tuple[Fix, State] | None:
    """The first repair of the finding, by grade, that brings the case forward."""
    for grade in grades:
        for fix in finding.fixes:
            if fix.grade != grade or not fix.edits:
                continue
            after = applied(state, fix.edits, again)
            if after is not None and gone(state, after, finding) and _forward(state, after):
                return fix, after
    return None


def _together(
    state: State, finding: Finding, again: Again, grades: tuple[str, ...]
) -> tuple[list[tuple[Finding, Fix]], State] | None:
    """One repair of the batch for every finding of this rule, all at once, where that clears them all."""
    alike = [f for f in state.wrong if f.code == finding.code]
    if len(alike) < 2:
        return None
    for grade in grades:
        chosen = [next((x for x in f.fixes if x.grade == grade and of_batch(x)), None) for f in alike]
        if None in chosen:
            continue
        fixes = [fix for fix in chosen if fix is not None]
        after = all_at_once(state, finding.code, fixes, again)
        if after is not None and _forward(state, after):
            return list({fix.edits: (f, fix) for f, fix in zip(alike, fixes, strict=True)}.values()), after
    return None


def _forward(before: State, after: State) -> bool:
    if before.exam.fit.outcome.status == "raises":
        # What the error hid may come to light now.
        return after.exam.fit.outcome.status == "ok" or after.score < before.score or _further(before, after)
    return after.exam.fit.outcome.status == "ok" and after.score < before.score and not appeared(before, after)


_STAGES = ("model", "data", "dispatch", "loss", "gradient", "metrics")


def _further(before: State, after: State) -> bool:
    """Fit raises still, but later."""
    a, b = before.exam.fit, after.exam.fit
    order = (_STAGES.index(a.stage or "model"), a.failed_call or 0)
    return (_STAGES.index(b.stage or "model"), b.failed_call or 0) > order


def _least(plan: Plan, again: Again) -> Plan:
    """The plan without the repairs that its end does not need; those taken together stay or go together."""
    groups = list(dict.fromkeys(id(step.before) for step in plan.steps))
    if len(groups) < 2:
        return plan
    for group in groups:
        fewer = replace(plan, steps=tuple(step for step in plan.steps if id(step.before) != group))
        end = applied(plan.start, fewer.edits, again)
        if end is not None and end.score <= plan.end.score and not appeared(plan.end, end):
            return _least(replace(fewer, end=end), again)
    return plan
