"""Which rules run and how much they weigh: --select, --ignore and severity overrides, by codes or prefixes of codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from lossdoctor.near import did_you_mean
from lossdoctor.rules.rule import Rule
from lossdoctor.types import CaseError, Finding


def choose(rules: Sequence[Rule], select: Sequence[str], ignore: Sequence[str]) -> tuple[Rule, ...]:
    """The rules named by `select` (all where empty) without those named by `ignore`.

    An entry is a code, a prefix of codes ("LD2"), or several with commas. Raises `CaseError` for one
    that fits no rule.
    """
    wanted, unwanted = _prefixes(rules, select, "--select"), _prefixes(rules, ignore, "--ignore")
    return tuple(
        rule
        for rule in rules
        if (not wanted or rule.code.startswith(wanted)) and not (unwanted and rule.code.startswith(unwanted))
    )


def override(findings: Iterable[Finding], severity: Mapping[str, str]) -> tuple[Finding, ...]:
    """The findings with the severity that the longest fitting code or prefix sets; those set to "off" are left out."""
    weighed = ((finding, severity_of(finding.code, severity)) for finding in findings)
    return tuple(
        replace(f, severity=level) if level else f  # type: ignore[arg-type]
        for f, level in weighed
        if level != "off"
    )


def severity_of(code: str, severity: Mapping[str, str]) -> str | None:
    """What the longest code or prefix in `severity` that fits `code` sets it to; None where none fits."""
    fitting = [prefix for prefix in severity if code.startswith(prefix.upper())]
    return severity[max(fitting, key=len)] if fitting else None


def _prefixes(rules: Sequence[Rule], entries: Sequence[str], option: str) -> tuple[str, ...]:
    parts = [part.strip().upper() for entry in entries for part in entry.split(",") if part.strip()]
    codes = [rule.code for rule in rules]
    for part in parts:
        if not any(code.startswith(part) for code in codes):
            raise CaseError(
                f"{option} {part}: no rule has that code{did_you_mean(part, codes)}; `lossdoctor rule` lists the codes."
            )
    return tuple(parts)
