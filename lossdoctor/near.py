""" "Did you mean": the names nearest to one that was not found."""

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
