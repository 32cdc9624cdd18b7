"""The rules as the package's documentation tells of them, so that a page does not wait for all rules to be imported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent.parent / "docs"
_TABLE = "rules.md"
_ROW = re.compile(r"\| \[(LD\d+)\]\(LD\d+\.md\) \| ([^|]+) \| (.*) \|")


@dataclass(frozen=True)
class Entry:
    """One rule as the table lists it."""

    code: str
    name: str
    category: str
    summary: str

    def page(self) -> str:
        """The rule's page as Markdown."""
        return _read(f"{self.code}.md").removesuffix(f"\n[All rules]({_TABLE})\n")


def entries() -> list[Entry]:
    """Every rule, in the order of the codes."""
    found, category = [], ""
    for line in _read(_TABLE).splitlines():
        row = _ROW.fullmatch(line)
        if row:
            found.append(Entry(row[1], row[2], category, row[3].replace("\\|", "|")))
        elif line.startswith("## "):
            category = line[3:]
    return sorted(found, key=lambda entry: entry.code)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
