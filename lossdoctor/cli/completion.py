"""What a shell completes besides commands and options: the codes and names of rules."""

from __future__ import annotations


def rules(incomplete: str) -> list[tuple[str, str]]:
    """(code or name, what it sees) of the rules whose code, or name, begins with what was typed; codes for nothing."""
    from lossdoctor.cli.pages import entries

    by_name = incomplete[:1].islower()
    words = [(rule.name if by_name else rule.code, rule) for rule in entries()]
    return [(word, rule.summary if by_name else f"{rule.name}: {rule.summary}") for word, rule in words]


def codes(incomplete: str) -> list[tuple[str, str]]:
    """(entry, what the rule sees) for --select and --ignore: a code behind what stands before the last comma."""
    before, comma, _ = incomplete.rpartition(",")
    return [(before + comma + code, said) for code, said in rules("")]
