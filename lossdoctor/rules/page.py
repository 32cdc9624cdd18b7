"""A rule's page as Markdown."""

from __future__ import annotations

from lossdoctor.rules.rule import Rule


def page(rule: Rule) -> str:
    """The rule's page as Markdown: its prose, then its examples."""
    parts = [f"# {rule.code} {rule.name}", f"{rule.summary} Category: {rule.category}.", rule.page.strip()]
    for title, examples in (("Bad", rule.bad), ("Good", rule.good)):
        for example in examples:
            parts.append(f"## {title}: {example.title}\n\n```python\n{example.code.strip()}\n```")
    return "\n\n".join(parts) + "\n"
