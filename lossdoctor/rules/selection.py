"""Which rules run: --select and --ignore, codes or prefixes of codes."""

from __future__ import annotations

from collections.abc import Sequence

from lossdoctor.near import did_you_mean
from lossdoctor.rules.rule import Rule
from lossdoctor.types import CaseError


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


def _prefixes(rules: Sequence[Rule], entries: Sequence[str], option: str) -> tuple[str, ...]:
    parts = [part.strip().upper() for entry in entries for part in entry.split(",") if part.strip()]
    codes = [rule.code for rule in rules]
    for part in parts:
        if not any(code.startswith(part) for code in codes):
            raise CaseError(
                f"{option} {part}: no rule has that code{did_you_mean(part, codes)}; `lossdoctor rule` lists the codes."
            )
    return tuple(parts)
