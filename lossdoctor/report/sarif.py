"""SARIF 2.1.0, for code scanning: every rule with its page, every finding as a result at the model file."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

from lossdoctor.report import json as document
from lossdoctor.report import words
from lossdoctor.report.location import uri_of
from lossdoctor.report.printable import printable
from lossdoctor.rules.page import page
from lossdoctor.rules.rule import Rule
from lossdoctor.types import SEVERITIES, Finding, ReportData, Severity

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "lossdoctor/v1"
_LEVEL: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}


def render(report: ReportData) -> str:
    """The log as text: one run, indented, the same bytes for the same report."""
    return json.dumps(to_log(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_log(report: ReportData) -> dict[str, Any]:
    """The log as plain dicts and lists."""
    from lossdoctor.rules import RULES

    report = printable(report)
    uri = uri_of(report.model_source)
    index = {rule.code: i for i, rule in enumerate(RULES)}
    told = document.to_document(report)
    run = {
        "tool": {
            "driver": {
                "name": "lossdoctor",
                "version": report.environment.lossdoctor,
                "rules": [_rule(rule) for rule in RULES],
            }
        },
        "automationDetails": {"id": f"lossdoctor/{uri}/"},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": _notifications(report, index)}],
        "artifacts": [{"location": {"uri": uri}, "roles": ["analysisTarget"]}],
        "results": _results(report, uri, index),
        "columnKind": "unicodeCodePoints",
        "properties": {
            "verdict": told["verdict"],
            "summary": told["summary"],
            "environment": told["environment"],
            "outcomes": told["outcomes"],
            "pairs": told["pairs"],
        },
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": _plain(rule.summary)},
        "help": {
            "text": _plain(f"{rule.summary} `lossdoctor rule {rule.code}` explains."),
            "markdown": page(rule),
        },
        "defaultConfiguration": {"level": _LEVEL[_usual(rule)]},
        "properties": {"category": rule.category, "tags": ["keras", rule.category]},
    }


def _usual(rule: Rule) -> Severity:
    """The worst that the rule's own examples are told; "warning" where it has none."""
    return next((s for s in SEVERITIES if any(example.severity == s for example in rule.bad)), "warning")


def _notifications(report: ReportData, index: dict[str, int]) -> list[dict[str, Any]]:
    skipped = [
        {"level": "note", "message": {"text": _plain(reason)}, "associatedRule": _reference(code, index)}
        for code, reason in sorted(report.checks.skipped.items())
    ]
    return [*skipped, *({"level": "note", "message": {"text": _plain(n)}} for n in report.checks.notes)]


def _reference(code: str, index: dict[str, int]) -> dict[str, Any]:
    return {"id": code, "index": index[code]} if code in index else {"id": code}


def _results(report: ReportData, uri: str, index: dict[str, int]) -> list[dict[str, Any]]:
    met: Counter[str] = Counter()
    results = []
    for finding in report.findings:
        mark = fingerprint(finding)
        met[mark] += 1
        results.append(_result(finding, uri, index, mark if met[mark] == 1 else f"{mark}:{met[mark]}"))
    return results


def _result(finding: Finding, uri: str, index: dict[str, int], mark: str) -> dict[str, Any]:
    from lossdoctor.report import markdown

    told = document.to_finding(finding)
    location: dict[str, Any] = {
        # Code scanning shows no result without a line; a model file has only its first.
        "physicalLocation": {"artifactLocation": {"uri": uri, "index": 0}, "region": {"startLine": 1}}
    }
    if finding.where:
        location["logicalLocations"] = [{"fullyQualifiedName": path, "kind": "member"} for path in finding.where]
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "level": _LEVEL[finding.severity],
        "message": {"text": _text(finding), "markdown": markdown.finding_body(finding)},
        "locations": [location],
        "partialFingerprints": {FINGERPRINT: mark},
        # A SARIF fix replaces a region of a file; these edit the user's training script, which no one named.
        "properties": {"impact": finding.impact, "evidence": told["evidence"], "fixes": told["fixes"]},
    }
    return {**result, "ruleIndex": index[finding.code]} if finding.code in index else result


def fingerprint(finding: Finding) -> str:
    """The same for the same rule at the same tree paths, whatever the numbers."""
    return hashlib.sha256("\n".join([finding.code, *finding.where]).encode("utf-8", "backslashreplace")).hexdigest()[
        :32
    ]


def _text(finding: Finding) -> str:
    fixes = [f"Fix: {words.fix_title(fix)}" + (f"\n{fix.code}" if fix.code else "") for fix in finding.fixes]
    return _plain("\n".join([finding.message, *fixes]))


def _plain(text: str) -> str:
    # In the text of a message, "[...](...)" is a link, and a message may not be empty.
    return text.replace("](", "] (") or "-"
