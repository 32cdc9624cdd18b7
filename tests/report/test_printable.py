"""Names in a model file are untrusted: nothing in them may steer a terminal or break a document."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from lossdoctor.report import json as json_report
from lossdoctor.report import text
from lossdoctor.report.printable import json_text, printable
from lossdoctor.types import ReportData
from tests.report.cases import CLEAN, PAIR, REPORTS, SWAP

NASTY = "a\x1b]0;title\x07b\x9b2J\u202ec\udc80d"
HOSTILE = replace(
    CLEAN,
    compile_source=NASTY,
    pairs=(replace(PAIR, output=f"y_pred[{NASTY}]", loss=NASTY),),
    findings=(
        replace(
            SWAP,
            message=NASTY,
            evidence={NASTY: NASTY, "list": [NASTY]},
            fixes=(replace(SWAP.fixes[0], code=f"x = 1\n\t{NASTY}"),),
        ),
    ),
    outcomes={**CLEAN.outcomes, "fit": replace(CLEAN.outcomes["fit"], status="raises", error=NASTY)},
    verdict="silent",
)


@pytest.mark.parametrize("options", [{}, {"verbose": True}, {"quiet": True}])
def test_nothing_steers_the_terminal(options: dict[str, Any]) -> None:
    buffer = io.StringIO()
    text.render(HOSTILE, Console(file=buffer, width=80, highlight=False), **options)
    found = buffer.getvalue()
    assert all(c.isprintable() for c in found if c != "\n")
    assert r"\x1b]0;title\x07" in found
    found.encode("utf-8")


def test_json_survives_half_a_surrogate_pair() -> None:
    rendered = json_report.render(HOSTILE)
    rendered.encode("utf-8")
    assert json.loads(rendered)["findings"][0]["message"] == NASTY


def test_json_steers_no_terminal_and_keeps_the_names() -> None:
    names = "".join(
        map(chr, [*range(0xA0), 0x200F, 0x202E, 0x2028, 0x2066, 0xFEFF, 0xE0001, 0xD800, 0xFFFE, 0xE9, 0x1F600])
    )
    rendered = json_text({names: [names]})
    assert all(c.isprintable() for c in rendered if c != "\n")
    assert json.loads(rendered) == {names: [names]} and "\u00e9\U0001f600" in rendered
    rendered = json_report.render(HOSTILE)
    assert all(c.isprintable() for c in rendered if c != "\n") and r"\u202e" in rendered


@pytest.mark.parametrize("name", REPORTS)
def test_what_is_printable_stays_as_it_is(name: str) -> None:
    report: ReportData = REPORTS[name]
    assert printable(report) == report
