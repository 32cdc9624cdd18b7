"""The reports of several cases as one document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from xml.etree import ElementTree

from lossdoctor.report import github, html, junit, markdown, sarif
from lossdoctor.report.printable import one_line
from lossdoctor.report.row import Row

FORMATS = ("sarif", "junit", "github", "markdown", "html")


def render(format: str, cases: Sequence[Row]) -> str:
    """One document of all cases in one of `FORMATS`, a case that could not be read in it as such."""
    return {"sarif": _sarif, "junit": _junit, "github": _github, "markdown": _markdown, "html": html.render_all}[
        format
    ](cases)


def _sarif(cases: Sequence[Row]) -> str:
    """One run a case; code scanning tells them apart by their `automationDetails`."""
    runs = []
    for case in cases:
        if case.report is None:
            driver = {"name": "lossdoctor"}
            notification = {"level": "error", "message": {"text": one_line(case.error or "")}}
            failed = {"executionSuccessful": False, "toolExecutionNotifications": [notification]}
            run = {"tool": {"driver": driver}, "invocations": [failed], "results": []}
        else:
            run = sarif.to_log(case.report)["runs"][0]
        runs.append({**run, "automationDetails": {"id": f"lossdoctor/{one_line(case.name)}/"}})
    log = {"$schema": sarif.SCHEMA, "version": "2.1.0", "runs": runs}
    return json.dumps(log, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _junit(cases: Sequence[Row]) -> str:
    """One suite a case."""
    root = ElementTree.Element("testsuites", {"name": "lossdoctor"})
    for case in cases:
        if case.report is None:
            suite = ElementTree.Element("testsuite", {"tests": "1", "errors": "1", "failures": "0", "skipped": "0"})
            test = ElementTree.SubElement(suite, "testcase", {"name": "read", "classname": one_line(case.name)})
            ElementTree.SubElement(test, "error", {"message": one_line(case.error or "")})
        else:
            suite = next(iter(ElementTree.fromstring(junit.render(case.report, case.known).encode("utf-8"))))
        suite.set("name", one_line(case.name))
        root.append(suite)
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _github(cases: Sequence[Row]) -> str:
    return "".join(
        github.command("error", one_line(case.error or ""), title=f"lossdoctor {one_line(case.name)}") + "\n"
        if case.report is None
        else github.render(case.report)
        for case in cases
    )


def _markdown(cases: Sequence[Row]) -> str:
    parts = [
        f"# {markdown.escape(one_line(case.name))}\n\n"
        + (
            f"❌ {markdown.escape(one_line(case.error or ''))}\n"
            if case.report is None
            else markdown.render(case.report)
        )
        for case in cases
    ]
    return "\n".join(parts)
