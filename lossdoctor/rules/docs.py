"""The documentation that is made from the rules: their table, and a page a rule."""

from __future__ import annotations

from lossdoctor.rules import RULES
from lossdoctor.rules.page import page
from lossdoctor.rules.rule import Rule
from lossdoctor.types import CATEGORIES

TABLE = "rules.md"
_HEAD = """\
# Rules

Each rule speaks of what Keras was seen to do with your model and batch. `lossdoctor rule CODE` prints the same pages;
`--select` and `--ignore` take codes or their beginnings (`LD2` is all of LD201, LD202 ...).
"""


def documents() -> dict[str, str]:
    """{file name: Markdown} of all pages, as `lossdoctor/docs` holds them."""
    return {TABLE: table(), **{f"{rule.code}.md": page(rule) + f"\n[All rules]({TABLE})\n" for rule in RULES}}


def table() -> str:
    """The table of rules, a part a category, in the order of the codes."""
    parts = [_HEAD]
    for category in CATEGORIES:
        rows = "".join(_row(rule) for rule in RULES if rule.category == category)
        parts.append(f"## {category}\n\n| code | name | what it sees |\n| --- | --- | --- |\n{rows}")
    return "\n".join(parts)


def _row(rule: Rule) -> str:
    summary = rule.summary.replace("|", "\\|")
    return f"| [{rule.code}]({rule.code}.md) | {rule.name} | {summary} |\n"
