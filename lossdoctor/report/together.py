"""The reports of several cases as one document, in the formats that CI reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from xml.etree import ElementTree

from lossdoctor.report import github, junit, markdown, sarif
from lossdoctor.report.printable import one_line
from lossdoctor.types import ReportData

# (name, report, or None and what was wrong with the case)
Case = tuple[str, ReportData | None, str | None]
FORMATS = ("sarif", "junit", "github", "markdown")


def render(format: str, cases: Sequence[Case]) -> str:
    """One document of all cases in one of `FORMATS`, a case that could not be read in it as such."""
    return {"sarif": _sarif, "junit": _junit, "github": _github, "markdown": _markdown}[format](cases)


def _sarif(cases: Sequence[Case]) -> str:
    """One run a case; code scanning tells them apart by their `automationDetails`."""
    runs = []
    for name, report, error in cases:
        if report is None:
            driver = {"name": "lossdoctor"}
            notification = {"level": "error", "message": {"text": one_line(error or "")}}
            failed = {"executionSuccessful": False, "toolExecutionNotifications": [notification]}
            run = {"tool": {"driver": driver}, "invocations": [failed], "results": []}
        else:
            run = sarif.to_log(report)["runs"][0]
        runs.append({**run, "automationDetails": {"id": f"lossdoctor/{one_line(name)}/"}})
    log = {"$schema": sarif.SCHEMA, "version": "2.1.0", "runs": runs}
    return json.dumps(log, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _junit(cases: Sequence[Case]) -> str:
    """One suite a case."""
    root = ElementTree.Element("testsuites", {"name": "lossdoctor"})
    for name, report, error in cases:
        if report is None:
            suite = ElementTree.Element("testsuite", {"tests": "1", "errors": "1", "failures": "0", "skipped": "0"})
            case = ElementTree.SubElement(suite, "testcase", {"name": "read", "classname": one_line(name)})
            ElementTree.SubElement(case, "error", {"message": one_line(error or "")})
        else:
            suite = next(iter(ElementTree.fromstring(junit.render(report).encode("utf-8"))))
        suite.set("name", one_line(name))
        root.append(suite)
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _github(cases: Sequence[Case]) -> str:
    return "".join(
        github.command("error", one_line(error or ""), title=f"lossdoctor {one_line(name)}") + "\n"
        if report is None
        else github.render(report)
        for name, report, error in cases
    )


def _markdown(cases: Sequence[Case]) -> str:
    parts = [
        f"# {markdown.escape(one_line(name))}\n\n"
        + (f"❌ {markdown.escape(one_line(error or ''))}\n" if report is None else markdown.render(report))
        for name, report, error in cases
    ]
    return "\n".join(parts)
