"""JUnit XML: a test case a rule. An error fails its case; a warning or info stands in its output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lossdoctor.report import words
from lossdoctor.report.location import file_of
from lossdoctor.report.printable import one_line, printable
from lossdoctor.types import Finding, ReportData

if TYPE_CHECKING:
    from junitparser import TestCase


def render(report: ReportData, known: Sequence[Finding] = ()) -> str:
    """One suite: the findings first, then those that the baseline knows, the rules that found nothing, those that could not run."""
    from xml.etree import ElementTree

    from junitparser import JUnitXml, TestSuite

    report = printable(report)
    suite = TestSuite("lossdoctor")
    for key, value in _properties(report):
        suite.add_property(key, value)
    suite.add_testcases(list(_cases(report, known)))
    document = JUnitXml("lossdoctor")
    document.add_testsuite(suite)
    root = ElementTree.fromstring(document.tostring())  # type: ignore[no-untyped-call]
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _properties(report: ReportData) -> Iterator[tuple[str, str]]:
    yield "model", report.model_source
    yield "batch", report.batch_source
    yield "verdict", words.HEADLINE[report.verdict]
    yield "summary", words.summary(report)
    for i, pair in enumerate(report.pairs):
        yield f"pair {i}", ", ".join(f"{c} {v}" for c, v in zip(words.COLUMNS, words.cells(pair), strict=True) if v)


def _cases(report: ReportData, known: Sequence[Finding]) -> Iterator[TestCase]:
    from junitparser import Failure, Skipped, TestCase

    from lossdoctor.rules import RULES

    rules = {rule.code: rule for rule in RULES}
    file = one_line(file_of(report.model_source))
    for finding in report.findings:
        case = TestCase(_title(finding), f"{file}.{finding.category}")
        if finding.severity == "error":
            failure = Failure(one_line(finding.message), finding.impact)
            failure.text = _said(finding)
            case.result = [failure]
        else:
            case.system_out = f"{finding.severity}: {_said(finding)}"
        yield case
    for finding in known:
        case = TestCase(_title(finding), f"{file}.{finding.category}")
        case.result = [Skipped(one_line(f"known, in the baseline: {finding.message}"))]
        yield case
    found = {finding.code for finding in (*report.findings, *known)}
    for code in (*(c for c in report.checks.ran if c not in found), *report.checks.skipped):
        rule = rules.get(code)
        case = TestCase(f"{code} {rule.name}" if rule else code, f"{file}.{rule.category}" if rule else file)
        if code in report.checks.skipped:
            case.result = [Skipped(one_line(report.checks.skipped[code]))]
        yield case


def _title(finding: Finding) -> str:
    place = f" at {', '.join(finding.where)}" if finding.where else ""
    return one_line(f"{finding.code} {finding.name}{place}")


def _said(finding: Finding) -> str:
    lines = [finding.message, *(f"  {key}: {value}" for key, value in words.evidence(finding.evidence))]
    for fix in finding.fixes:
        proof = words.fix_proof(fix)
        lines += [f"-> {words.fix_title(fix)}", *([f"   ({proof})"] if proof else [])]
        lines += [f"   {line}" for line in fix.code.splitlines()]
    return "\n".join(lines)
