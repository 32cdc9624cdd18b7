"""Puts the messages of the installed Keras into messages.json, in place of those of the same release and backend.

    KERAS_BACKEND=jax python tests/explain/collect.py

An environment with keras, numpy and a backend is enough, so that older releases can be asked as well.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import keras
from cases import BACKEND, CASES, message

FILE = Path(__file__).parent / "messages.json"
# What differs from machine to machine: folders, and numbers that are places in memory.
_FOLDER = re.compile(r"(?:/[^\s/\"':]+)+/(?=[^\s/\"':]+\.py)")
_PLACE = re.compile(r"0x[0-9a-f]{6,}")


def collected() -> list[tuple[str, str]]:
    """(case, text) of every case that raises here."""
    texts = [(name, message(case)) for name, case in CASES.items()]
    return [(name, _PLACE.sub("0x7f00", _FOLDER.sub("/", text))) for name, text in texts if text is not None]


def merged(known: list[dict[str, Any]], found: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """{"case", "text", "seen": ["3.4.1 jax", ...]}, a line for every text that differs."""
    here = f"{keras.__version__} {BACKEND}"
    seen = {(e["case"], e["text"]): set(e["seen"]) - {here} for e in known if e["case"] in CASES}
    for key in found:
        seen.setdefault(key, set()).add(here)
    entries = [{"case": c, "text": t, "seen": sorted(s, key=_release)} for (c, t), s in seen.items() if s]
    return sorted(entries, key=lambda e: (list(CASES).index(e["case"]), _release(e["seen"][0])))


def _release(seen: str) -> Any:
    release, backend = seen.split()
    return [int(n) for n in release.split(".")], backend


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    known = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []
    lines = [json.dumps(entry, ensure_ascii=False) for entry in merged(known, collected())]
    FILE.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
