"""The text report: widths, colour, plain terminals."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from lossdoctor.report import text
from tests.report.cases import REPORTS


def rendered(name: str, width: int = 80, **options: Any) -> str:
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, highlight=False, **options.pop("console", {}))
    text.render(REPORTS[name], console, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", REPORTS)
def test_every_message_is_there_at_every_width_and_nothing_trails(name: str, width: int) -> None:
    found = rendered(name, width)
    words = " ".join(found.split())
    for finding in REPORTS[name].findings:
        assert " ".join(finding.message.split()) in words
        assert finding.code in words
        for fix in finding.fixes:
            assert fix.title in words
            assert all(line in found for line in fix.code.splitlines())
    assert [line for line in found.splitlines() if line != line.rstrip()] == []


def test_the_pairing_comes_first_then_the_verdict() -> None:
    found = rendered("silent")
    order = [found.index(part) for part in ("y_pred['z']", "Keras will train, silently", "fit", "error LD203")]
    assert order == sorted(order)
    assert "Keras raises before a loss has returned" in rendered("raises")


def test_what_was_not_checked_comes_last_with_its_reason() -> None:
    found = rendered("raises")
    assert "LD402, LD703: fit raises" in found
    assert found.index("Not checked") > found.index("LD203")


def test_quiet_and_verbose() -> None:
    assert rendered("clean", quiet=True) == ""
    assert "fact 8" not in rendered("long") and "fact 8" in rendered("long", verbose=True)


def test_colour_only_where_it_is_wanted() -> None:
    assert "\x1b[" not in rendered("silent")
    assert "\x1b[" in rendered("silent", console={"force_terminal": True, "color_system": "standard"})
    assert "\x1b[3" not in rendered(
        "silent", console={"force_terminal": True, "no_color": True, "color_system": "standard"}
    )


def test_a_terminal_without_unicode_gets_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    text.render(REPORTS["silent"], Console(file=stream, width=80, highlight=False))
    stream.flush()
    assert b"-> name the targets" in raw.getvalue()
