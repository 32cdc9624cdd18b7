"""Where each known message was seen, from messages.json: `python -m tests.explain.seen` writes it into the tables."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import lossdoctor.explain
from lossdoctor.explain.find import explain
from lossdoctor.explain.table import MESSAGES
from lossdoctor.rules.shared import listed

COLLECTED = json.loads((Path(__file__).parent / "messages.json").read_text(encoding="utf-8"))
_NAMES = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}


def seen() -> dict[str, str]:
    """{name of a message: "3.4.1 to 3.6.0 with JAX"} of every message that was collected."""
    places = defaultdict(set)
    for entry in COLLECTED:
        found = explain(entry["text"])
        if found:
            places[found.message.name] |= {tuple(place.split()) for place in entry["seen"]}
    return {name: _said(where) for name, where in places.items()}


def _said(places: set[tuple[str, str]]) -> str:
    releases = sorted({release for release, _ in places}, key=lambda r: [int(n) for n in r.split(".")])
    span = releases[0] if len(releases) == 1 else f"{releases[0]} to {releases[-1]}"
    return f"{span} with {listed([_NAMES[b] for b in sorted({backend for _, backend in places})])}"


if __name__ == "__main__":
    said = seen()
    for path in Path(lossdoctor.explain.__file__).parent.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        for message in MESSAGES:
            start = text.find(f"        {json.dumps(message.name)},\n")
            if start < 0:
                continue
            end = text.index("\n    ),\n", start) + 1
            block = re.sub(r'        seen=".*",\n', "", text[start:end])
            text = text[:start] + block + f'        seen="{said.get(message.name, "")}",\n' + text[end:]
        path.write_text(text, encoding="utf-8")
