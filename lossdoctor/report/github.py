"""GitHub workflow commands: one annotation a finding, and a last one that says how it went."""

from __future__ import annotations

from lossdoctor.report import words
from lossdoctor.report.location import file_of
from lossdoctor.report.printable import printable
from lossdoctor.types import Finding, ReportData, Severity

_COMMAND: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "notice"}


def render(report: ReportData) -> str:
    """A line a finding, worst first, and the verdict as a notice."""
    report = printable(report)
    file = file_of(report.model_source)
    lines = [
        command(_COMMAND[finding.severity], _said(finding), title=f"{finding.code} {finding.name}", file=file)
        for finding in report.findings
    ]
    verdict = f"{words.HEADLINE[report.verdict]} {words.summary(report)}"
    return "\n".join([*lines, command("notice", verdict, title="lossdoctor", file=file)]) + "\n"


def _said(finding: Finding) -> str:
    fixes = [f"Fix: {words.fix_title(fix)}" + (f"\n{fix.code}" if fix.code else "") for fix in finding.fixes]
    return "\n".join([finding.message, *fixes])


def command(name: str, message: str, **properties: str) -> str:
    """``::name key=value,key=value::message``, with everything escaped that would end a part of it."""
    given = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    return f"::{name} {given}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
