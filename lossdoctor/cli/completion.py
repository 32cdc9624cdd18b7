"""What a shell completes besides commands and options: the codes and names of rules."""

from __future__ import annotations


def rules(incomplete: str) -> list[tuple[str, str]]:
    """(code or name, summary) of the rules that begin with what was typed; names where that is in lower case."""
    from lossdoctor.rules import RULES

    if incomplete[:1].islower() and not incomplete.lower().startswith("ld"):
        return [(rule.name, rule.summary) for rule in RULES if rule.name.startswith(incomplete)]
    return [(rule.code, f"{rule.name}: {rule.summary}") for rule in RULES if rule.code.startswith(incomplete.upper())]


def codes(incomplete: str) -> list[tuple[str, str]]:
    """(entry, summary) for an entry of --select or --ignore: the codes that its last part begins, after what stands before a comma."""
    from lossdoctor.rules import RULES

    before, comma, last = incomplete.rpartition(",")
    wanted = last.strip().upper()
    named = [(rule.code, f"{rule.name}: {rule.summary}") for rule in RULES]
    return [(before + comma + code, help) for code, help in named if code.startswith(wanted)]
