"""What holds for every rule: documented, well named, registered, and found by its code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lossdoctor.rules
from lossdoctor.rules import RULES, Rule
from lossdoctor.rules.rule import HEADINGS
from lossdoctor.rules.selection import choose
from lossdoctor.types import CATEGORIES, CaseError

FOLDER = Path(lossdoctor.rules.__file__).parent
NOT_RULES = {"__init__", "consequences", "docs", "page", "repairs", "rule", "selection", "shared"}
each = pytest.mark.parametrize("rule", RULES, ids=lambda r: r.code)


def test_every_file_is_a_rule_and_every_rule_a_file() -> None:
    files = {p.stem for p in FOLDER.glob("*.py")} - NOT_RULES
    assert files == {r.name.replace("-", "_") for r in RULES}


def test_codes_are_unique_and_sorted() -> None:
    codes = [r.code for r in RULES]
    assert codes == sorted(set(codes))
    assert len({r.name for r in RULES}) == len(RULES)


@each
def test_a_rule_is_well_named_and_documented(rule: Rule) -> None:
    assert re.fullmatch(r"LD\d{3}", rule.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name)
    assert rule.category in CATEGORIES
    assert rule.summary.endswith(".") and "\n" not in rule.summary
    assert [line for line in rule.page.splitlines() if line.startswith("#")] == list(HEADINGS)
    assert re.search(r"Keras \d|3\.\d", rule.page.split("## Measured")[1]), "the release it was measured on"
    assert rule.bad and rule.good
    assert all(set(e.severity.split("|")) <= {"error", "warning", "info", "tensorflow"} for e in rule.bad)


@each
def test_a_rule_imports_no_keras(rule: Rule) -> None:
    source = (FOLDER / f"{rule.name.replace('-', '_')}.py").read_text(encoding="utf-8")
    assert not re.search(r"^\s*(?:import|from) (?:keras|tensorflow|jax|numpy)", source, re.MULTILINE)


def test_codes_and_prefixes_choose_rules() -> None:
    def chosen(select: list[str], ignore: list[str]) -> list[str]:
        return [r.code for r in choose(RULES, select, ignore)]

    assert chosen([], []) == [r.code for r in RULES]
    assert chosen(["LD203"], []) == ["LD203"]
    assert chosen(["ld20", "LD101,LD304"], ["LD203"]) == ["LD101", "LD201", "LD202", "LD204", "LD205", "LD206", "LD304"]
    with pytest.raises(CaseError, match="--select LD230: no rule has that code"):
        chosen(["LD230"], [])
