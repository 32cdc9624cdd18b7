"""Small pieces of sentences: "did you mean" for a name that was not found, and what an exception says in a line."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], count: int = 1) -> list[str]:
    """The `count` most similar of `known`, best first; empty where none is similar enough to be a slip."""
    from rapidfuzz import fuzz, process, utils

    found = process.extract(
        name, sorted(set(known)), scorer=fuzz.WRatio, processor=utils.default_process, score_cutoff=60, limit=count
    )
    return [match for match, _, _ in found]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ " (did you mean 'box'?)", or an empty string."""
    found = nearest(name, known)
    return f" (did you mean {found[0]!r}?)" if found else ""


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, at most 300 characters; its type's name where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
