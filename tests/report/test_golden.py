"""The same reports through every format, held against golden files. `make golden` rewrites them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from lossdoctor.report import html, text
from lossdoctor.report.formats import Format, render
from lossdoctor.types import ReportData
from tests.report.cases import REPORTS

GOLDEN = Path(__file__).parent / "golden"
SUFFIX = {
    "text": "txt",
    "json": "json",
    "sarif": "sarif",
    "junit": "xml",
    "github": "github",
    "markdown": "md",
    "html": "html",
    "notebook": "notebook.html",
}


def shown(report: ReportData, format: str) -> str:
    """The document, without what is the same in all of them: the pages of the rules, the style sheet, the script."""
    if format == "text":
        return text.as_text(report, width=80)
    if format == "notebook":
        return html.fragment(report)
    document = render(report, Format(format))
    if format == "html":
        document = re.sub(r"<(style|script)>.*?</\1>", r"<\1></\1>", document, flags=re.DOTALL)
        return re.sub(r"sha256-[\w+/=]+", "sha256-", document)
    if format == "sarif":
        log = json.loads(document)
        log["runs"][0]["tool"]["driver"]["rules"] = []
        for result in log["runs"][0]["results"]:
            del result["ruleIndex"]
        for notification in log["runs"][0]["invocations"][0]["toolExecutionNotifications"]:
            notification.get("associatedRule", {}).pop("index", None)
        return json.dumps(log, indent=2, ensure_ascii=False) + "\n"
    return document


@pytest.mark.parametrize("format", SUFFIX)
@pytest.mark.parametrize("name", REPORTS)
def test_golden(name: str, format: str) -> None:
    path = GOLDEN / f"{name}.{SUFFIX[format]}"
    found = shown(REPORTS[name], format)
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(found, encoding="utf-8", newline="\n")
    assert found == path.read_text(encoding="utf-8")


def test_every_format_is_here() -> None:
    assert {str(format) for format in Format} == set(SUFFIX) - {"notebook"}


@pytest.mark.parametrize("format", list(Format))
def test_the_same_report_gives_the_same_bytes(format: Format) -> None:
    document = render(REPORTS["detector"], format)
    assert document == render(REPORTS["detector"], format)
    assert document.endswith("\n") and not document.endswith("\n\n")
