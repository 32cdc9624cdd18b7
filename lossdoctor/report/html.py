"""The HTML report: one file that needs nothing else, and a fragment of it for notebooks."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from lossdoctor.report import words
from lossdoctor.report.drawing import draw, wrong_parts
from lossdoctor.report.printable import one_line, printable
from lossdoctor.report.row import Row
from lossdoctor.types import ReportData

if TYPE_CHECKING:
    from jinja2 import Environment


def render(report: ReportData) -> str:
    """The page: the drawing, the table that says the same, the findings. No network, no other file."""
    return _page("page.html.j2", **_drawn(report))


def render_all(cases: Sequence[Row]) -> str:
    """One page of several cases, a table of them first."""
    told = [
        {
            "name": one_line(case.name),
            "error": one_line(case.error or ""),
            "known": len(case.known),
            **({"report": None} if case.report is None else _drawn(case.report)),
        }
        for case in cases
    ]
    return _page("cases.html.j2", cases=told, words=words)


def _page(template: str, **said: Any) -> str:
    style, script = _file("page.css"), _file("page.js")
    files = {"style": style, "script": script, "style_hash": _hash(style), "script_hash": _hash(script)}
    return _templates().get_template(template).render(**said, **files)


def _drawn(report: ReportData) -> dict[str, Any]:
    report = printable(report)
    return {**_said(report), "drawing": draw(report)}


def fragment(report: ReportData) -> str:
    """The pairing table and the findings for a notebook's cell: no script, no style sheet, no ids."""
    return _templates().get_template("fragment.html.j2").render(**_said(printable(report)))


def _said(report: ReportData) -> dict[str, Any]:
    pairs = [(list(zip(words.COLUMNS, words.cells(p), strict=True)), wrong_parts(report, p)) for p in report.pairs]
    return {"report": report, "words": words, "pairs": pairs}


@cache
def _templates() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined

    names = ("page.html.j2", "cases.html.j2", "examined.html.j2", "fragment.html.j2", "parts.html.j2")
    return Environment(
        loader=DictLoader({name: _file(name) for name in names}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _file(name: str) -> str:
    return files("lossdoctor.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The source expression with which a content security policy permits just this style sheet or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
