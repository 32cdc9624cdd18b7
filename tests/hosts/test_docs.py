"""The documentation in the package is what the rules say."""

from __future__ import annotations

import re

from lossdoctor.cli.pages import entries
from lossdoctor.rules import RULES
from lossdoctor.rules.docs import TABLE, documents
from lossdoctor.rules.page import page
from tests.docs import FOLDER


def test_it_is_current() -> None:
    held = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.iterdir()}
    assert held == documents(), "lossdoctor/docs is stale; run `make docs`."


def test_every_rule_stands_once_in_the_table_and_every_link_leads_somewhere() -> None:
    written = documents()
    assert sorted(re.findall(r"^\| \[(LD\d+)\]", written[TABLE], re.MULTILINE)) == sorted(r.code for r in RULES)
    for text in written.values():
        assert set(re.findall(r"\]\(([^)#]+\.md)\)", text)) <= set(written)


def test_a_page_holds_the_examples() -> None:
    for rule in RULES:
        text = documents()[f"{rule.code}.md"]
        assert text.startswith(f"# {rule.code} {rule.name}\n") and rule.summary in text
        for example in (*rule.bad, *rule.good):
            assert f"```python\n{example.code.strip()}\n```" in text


def test_the_command_tells_what_the_rules_say_without_importing_them() -> None:
    told = [(e.code, e.name, e.category, e.summary, e.page()) for e in entries()]
    assert told == [(r.code, r.name, r.category, r.summary, page(r)) for r in RULES]
