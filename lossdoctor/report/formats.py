"""The formats of a report, by name; each is one module, imported when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lossdoctor.types import Finding, ReportData


class Format(StrEnum):
    """How a report is written. The name is that of the module with its `render(report) -> str`."""

    text = "text"
    json = "json"
    sarif = "sarif"
    junit = "junit"
    github = "github"
    markdown = "markdown"
    html = "html"


def render(report: ReportData, format: Format, known: Sequence[Finding] = ()) -> str:
    """The whole document as text that UTF-8 can hold, a newline at its end.

    `known` are the findings that a baseline left out of the report; JUnit lists them as skipped, the others have its note.
    """
    if format is Format.text:
        from lossdoctor.report import text

        return text.as_text(report)
    if format is Format.junit:
        from lossdoctor.report import junit

        return junit.render(report, known)
    document: str = import_module(f"lossdoctor.report.{format.value}").render(report)
    return document
