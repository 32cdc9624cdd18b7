"""A rule's page as Markdown."""

from __future__ import annotations

from lossdoctor import releases
from lossdoctor.rules.rule import Rule


def page(rule: Rule) -> str:
    """The rule's page as Markdown: its prose, then its examples."""
    parts = [f"# {rule.code} {rule.name}", f"{rule.summary} Category: {rule.category}.", rule.page.strip()]
    facts = releases.drawn_on_by(rule.code)
    if facts:
        lines = "\n".join(f"- {fact.span()}: {fact.fact}" for fact in facts)
        parts.append(f"## By release\n\n{lines}")
    for title, examples in (("Bad", rule.bad), ("Good", rule.good)):
        for example in examples:
            told = "" if example.since == releases.FIRST else f" (Keras {example.since} and later)"
            parts.append(f"## {title}: {example.title}{told}\n\n```python\n{example.code.strip()}\n```")
    return "\n\n".join(parts) + "\n"
