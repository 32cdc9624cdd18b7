"""What a rule is: a page, a message, examples, and a check over observed facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lossdoctor.facts import Exam
from lossdoctor.types import Finding, Fix, Impact, Severity

HEADINGS = ("## What it sees", "## Why it matters", "## What to do", "## Measured")


@dataclass(frozen=True)
class Example:
    """A few lines of Keras that define `model`, `x`, `y` (and `sample_weight` where there is one).

    `since` is the first Keras release on which it is told so (on which a good one trains).

    `severity` is what a bad example must be told, "" for a good one (which may carry no error and no
    warning of any rule). The test harness runs it, and the rule's page prints it.
    """

    title: str
    code: str
    severity: str = ""
    since: str = "3.4"


@dataclass(frozen=True)
class Rule:
    """One rule. `summary` is a sentence for the table, `page` Markdown under `HEADINGS`.

    `needs` names the probes without which the rule cannot speak (keys of `Exam.skipped`).
    """

    code: str
    name: str
    category: str
    summary: str
    page: str
    check: Callable[[Exam], Iterator[Finding]] = field(repr=False)
    bad: tuple[Example, ...] = ()
    good: tuple[Example, ...] = ()
    needs: tuple[str, ...] = ()

    def finding(
        self,
        severity: Severity,
        impact: Impact,
        message: str,
        *,
        where: tuple[str, ...] = (),
        evidence: Mapping[str, Any] | None = None,
        fixes: tuple[Fix, ...] = (),
    ) -> Finding:
        """A finding of this rule."""
        return Finding(self.code, self.name, self.category, severity, impact, message, where, evidence or {}, fixes)


__all__ = ["HEADINGS", "Example", "Fix", "Rule"]
