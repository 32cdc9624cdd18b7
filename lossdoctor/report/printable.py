"""Text that is safe to print: names in a model file are untrusted, and a terminal obeys control characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from lossdoctor.types import ReportData

# Cc: control characters; Cf: invisible ones that reorder text; Cs: halves of surrogate pairs, which UTF-8 cannot hold.
_UNPRINTABLE = {"Cc", "Cf", "Cs"}


def printable(report: ReportData) -> ReportData:
    """The same report with every control character in what is shown written as its escape."""
    return replace(
        report,
        compile_source=_safe(report.compile_source),
        outcomes=_safe(report.outcomes),
        pairs=_safe(report.pairs),
        findings=_safe(report.findings),
        checks=_safe(report.checks),
    )


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isprintable() else "".join(map(_escape, value))
    if isinstance(value, Mapping):
        return {_safe(k): _safe(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_safe(v) for v in value]) if type(value) in (list, tuple) else value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _safe(getattr(value, f.name)) for f in fields(value)})
    return value


def _escape(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return character.encode("unicode_escape").decode("ascii")
