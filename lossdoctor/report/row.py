"""One case among several, as every format tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lossdoctor.types import Finding, ReportData


@dataclass(frozen=True)
class Row:
    """A case's report, and the findings (`known`) that a baseline left out of it; no report and why there is none.

    `bug` where lossdoctor itself failed on the case.
    """

    name: str
    report: ReportData | None = None
    known: tuple[Finding, ...] = ()
    error: str | None = None
    bug: bool = False
