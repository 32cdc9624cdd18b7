"""The repairs of one sitting: what was chosen, in order, and what that leaves. Pure; the questions are asked elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lossdoctor.fixes.code import with_code
from lossdoctor.fixes.plan import Plan, Step, make_plan
from lossdoctor.fixes.verify import Again, State, applied, prove
from lossdoctor.types import Edit, Finding, Fix


@dataclass(frozen=True, eq=False)
class Session:
    """`state` is the case as repaired so far; `steps` what was chosen; `skipped` the findings (code, where) that were passed over."""

    start: State
    state: State
    again: Again
    steps: tuple[Step, ...] = ()
    skipped: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All edits chosen, in order."""
        return self.plan.edits

    @property
    def open(self) -> tuple[Finding, ...]:
        """The errors and warnings that were not passed over, worst first."""
        return tuple(f for f in self.state.wrong if (f.code, f.where) not in self.skipped)

    @property
    def plan(self) -> Plan:
        """What was chosen, as a plan."""
        return Plan(self.steps, self.start, self.state)


def open_session(start: State, again: Again) -> Session:
    """A sitting over an examined case, its repairs tried."""
    tried = replace(start, findings=prove(start, again))
    return Session(tried, tried, again)


def take(session: Session, finding: Finding, fix: Fix) -> Session | None:
    """The sitting after one repair; None where it cannot be carried out."""
    after = applied(session.state, fix.edits, session.again)
    if after is None:
        return None
    step = Step(finding, with_code(session.state.case, fix), session.state)
    tried = replace(after, findings=prove(after, session.again))
    return replace(session, state=tried, steps=(*session.steps, step))


def skip(session: Session, finding: Finding) -> Session:
    """The sitting with this finding passed over."""
    return replace(session, skipped=(*session.skipped, (finding.code, finding.where)))


def undo(session: Session) -> Session:
    """The sitting without its last repair; what was passed over since comes back."""
    if not session.steps:
        return replace(session, skipped=())
    return replace(session, state=session.steps[-1].before, steps=session.steps[:-1], skipped=())


def take_safe(session: Session) -> Session:
    """All repairs that are safe, in the order of the plan of least change."""
    plan = make_plan(session.state, session.again, ("safe",))
    return replace(session, state=plan.end, steps=(*session.steps, *plan.steps))
