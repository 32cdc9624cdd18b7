"""Text that is safe to print: names in a model file are untrusted, and a terminal obeys control characters."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from lossdoctor.types import ReportData

# Cc: control characters; Cf: invisible ones that reorder text; Cs: halves of surrogate pairs, which UTF-8 cannot hold;
# Zl, Zp: separators that some readers take for the end of a line; the last two no XML document may hold.
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_NOT_IN_XML = "\ufffe\uffff"


def printable(report: ReportData) -> ReportData:
    """The same report with every control character in what is shown written as its escape."""
    return replace(
        report,
        model_source=printable_text(report.model_source),
        batch_source=printable_text(report.batch_source),
        compile_source=printable_text(report.compile_source),
        outcomes=_safe(report.outcomes),
        pairs=_safe(report.pairs),
        findings=_safe(report.findings),
        checks=_safe(report.checks),
    )


def printable_text(text: str) -> str:
    """`text` with every control character written as its escape; tabs and ends of lines stay."""
    return text if text.isprintable() else "".join(map(_escape, text))


def one_line(text: str) -> str:
    """The same on one line, for places that end where a line ends."""
    return " ".join(printable_text(text).split())


def json_text(document: Any) -> str:
    """The document as JSON: two spaces of indentation, a newline at the end, the same bytes for the same document.

    Names are what they are to whoever reads it as JSON; shown on a terminal, it holds escapes. Half a surrogate pair is one, too: UTF-8 has no place for it.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    lines = (line if line.isprintable() else "".join(map(_escape_json, line)) for line in text.split("\n"))
    return "\n".join(lines) + "\n"


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return printable_text(value)
    if isinstance(value, Mapping):
        return {_safe(k): _safe(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_safe(v) for v in value]) if type(value) in (list, tuple) else value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _safe(getattr(value, f.name)) for f in fields(value)})
    return value


def _escape(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\n\t" or (category not in _UNPRINTABLE and character not in _NOT_IN_XML):
        return character
    return character.encode("unicode_escape").decode("ascii")


def _escape_json(character: str) -> str:
    if _escape(character) == character:
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else json.dumps(character)[1:-1]
