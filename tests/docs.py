"""Writes lossdoctor/docs from the rules: `python tests/docs.py`. A test fails where they differ."""

from __future__ import annotations

from pathlib import Path

import lossdoctor
from lossdoctor.rules.docs import documents

FOLDER = Path(lossdoctor.__file__).parent / "docs"


def main() -> None:
    """Write every page, and remove those of rules that are gone."""
    wanted = documents()
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.md"):
        if file.name not in wanted:
            file.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
