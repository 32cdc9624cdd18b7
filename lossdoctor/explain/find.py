"""A pasted text in, an explanation out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lossdoctor.explain.message import Message
from lossdoctor.explain.pasted import exceptions
from lossdoctor.explain.table import MESSAGES
from lossdoctor.report.printable import one_line, printable_text

# What a message holds may be a whole array.
_LONGEST = 120


@dataclass(frozen=True)
class Explanation:
    """`error` is the exception that was found, `earlier` true where it is not the last of the traceback."""

    error: str
    message: Message
    means: str
    steps: tuple[str, ...]
    earlier: bool = False


def explain(text: str) -> Explanation | None:
    """What the last known exception in `text` means; None where none is known."""
    for number, error in enumerate(exceptions(text)):
        for message in MESSAGES:
            match = re.search(message.pattern, error, re.DOTALL)
            if match:
                found = {name: _short(value) for name, value in match.groupdict(default="").items()}
                means = _filled(message.means, found)
                return Explanation(
                    printable_text(error), message, means, tuple(_filled(s, found) for s in message.steps), number > 0
                )
    return None


def last_error(text: str) -> str:
    """The last exception in `text`, "" where there is nothing."""
    found = exceptions(text)
    return printable_text(found[0]) if found else ""


def nearest(text: str, count: int = 3) -> list[Message]:
    """The known messages most like the last exception in `text`, best first; empty where none is like it."""
    from rapidfuzz import fuzz, process, utils

    matches = process.extract(
        last_error(text)[:2000],
        {message.name: message.like for message in MESSAGES},
        scorer=fuzz.token_set_ratio,
        processor=utils.default_process,
        score_cutoff=50,
        limit=count,
    )
    by_name = {message.name: message for message in MESSAGES}
    return [by_name[name] for _, _, name in matches]


def _filled(template: str, found: Mapping[str, str]) -> str:
    return " ".join(template.format_map(found).split()).replace(" ,", ",")


def _short(value: str) -> str:
    text = one_line(value).rstrip(".")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
