"""Known findings, kept in a file: they do not fail a check until they change place. Entries by case, rule and tree path."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lossdoctor.files import require_file
from lossdoctor.types import CaseError, Finding, ReportData

_VERSION = 1
_MOST_BYTES = 64 << 20
_SHOWN = 5


@dataclass(frozen=True, order=True)
class Entry:
    """One known finding. `message` is for people alone: the first words of what was said."""

    case: str
    code: str
    where: tuple[str, ...]
    message: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.code} at {', '.join(self.where)}" if self.where else self.code


def read(path: str) -> tuple[Entry, ...]:
    """The entries of a baseline file. Raises `CaseError` for what is none."""
    again = f"write it again with --write-baseline {path}"
    try:
        require_file(path)
        with open(path, encoding="utf-8") as stream:
            text = stream.read(_MOST_BYTES)
        document = json.loads(text)
    except FileNotFoundError:
        raise CaseError(f"there is no baseline {path}; write it with --write-baseline {path}.") from None
    except OSError as error:
        raise CaseError(f"the baseline {path} cannot be read ({error.strerror}); check the path.") from error
    except (ValueError, RecursionError) as error:
        raise CaseError(f"the baseline {path} is not JSON ({error}); {again}.") from error
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        raise CaseError(f"the baseline {path} has no version {_VERSION}; {again}.")
    findings = document.get("findings")
    if not isinstance(findings, list):
        raise CaseError(f"the baseline {path} holds no list of findings; {again}.")
    return tuple(_entry(item, place, path) for place, item in enumerate(findings))


def _entry(item: Any, place: int, path: str) -> Entry:
    where = item.get("where") if isinstance(item, dict) else None
    if (
        isinstance(where, list)
        and all(isinstance(step, str) for step in where)
        and isinstance(item.get("case"), str)
        and isinstance(item.get("code"), str)
    ):
        return Entry(item["case"], item["code"], tuple(where), str(item.get("message", "")))
    raise CaseError(
        f"the baseline {path}: findings[{place}] has no case, code and where; write it again with --write-baseline {path}."
    )


def write(path: str, found: Mapping[str, ReportData], keep: Iterable[Entry] = ()) -> int:
    """Write the findings of these reports (by case name) and the entries `keep`, sorted; how many there are.

    Raises `CaseError`.
    """
    from lossdoctor.files import write_text

    entries = sorted({*keep, *(entry for name, report in found.items() for entry in _entries(name, report))})
    document = {
        "version": _VERSION,
        "findings": [{"case": e.case, "code": e.code, "where": list(e.where), "message": e.message} for e in entries],
    }
    write_text(Path(path), json.dumps(document, indent=2) + "\n")
    return len(entries)


def _entries(name: str, report: ReportData) -> list[Entry]:
    return [Entry(name, f.code, f.where, " ".join(f.message.split()[:12])) for f in report.findings]


def known_of(report: ReportData, name: str, entries: Sequence[Entry]) -> tuple[Finding, ...]:
    """The report's findings that are in the baseline."""
    known = {(e.code, e.where) for e in entries if e.case == name}
    return tuple(f for f in report.findings if (f.code, f.where) in known)


def without(report: ReportData, name: str, entries: Sequence[Entry]) -> ReportData:
    """The report without the findings that are in the baseline, which a note names."""
    from lossdoctor.doctor import verdict

    known = known_of(report, name, entries)
    if not known:
        return report
    left = tuple(f for f in report.findings if f not in known)
    gone = [Entry(name, f.code, f.where) for f in known]
    note = f"{_count(gone, 'finding')} in the baseline: {_named([str(e) for e in gone])}"
    checks = replace(report.checks, notes=(*report.checks.notes, note))
    return replace(report, findings=left, verdict=verdict(left), checks=checks)


def stale(entries: Sequence[Entry], found: Mapping[str, ReportData], names: Iterable[str] | None) -> list[Entry]:
    """The entries that no longer occur: their rule ran in these reports and did not find them.

    `names` are those of all cases there are, where that is known: entries of other cases are then stale too.
    """
    now = {name: set(_entries(name, report)) for name, report in found.items()}
    ran = {name: set(report.checks.ran) for name, report in found.items()}
    known = None if names is None else set(names)
    return sorted(
        e
        for e in set(entries)
        if (known is not None and e.case not in known)
        or (e.case in found and e.code in ran[e.case] and e not in now[e.case])
    )


def stale_sentence(entries: Sequence[Entry], path: str) -> str:
    """One sentence on entries that no longer occur."""
    verb = "occurs" if len(entries) == 1 else "occur"
    what = f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'} of the baseline {path} no longer {verb}"
    return f"{what}: {_named([f'{e.case} {e}' for e in entries])}; drop them with --write-baseline {path}."


def _count(items: Sequence[Any], noun: str) -> str:
    return f"{len(items)} {noun} is" if len(items) == 1 else f"{len(items)} {noun}s are"


def _named(texts: Sequence[str]) -> str:
    rest = len(texts) - _SHOWN
    return "; ".join(texts[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


__all__ = ["Entry", "known_of", "read", "stale", "stale_sentence", "without", "write"]
