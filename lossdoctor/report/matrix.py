"""The same case under several Keras releases: one table, where they part, and what was found, as text, Markdown or JSON."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from lossdoctor.matrix import READ, Parting, Run, changes, findings_of, total_loss
from lossdoctor.report import words
from lossdoctor.report.printable import json_text, one_line
from lossdoctor.types import SEVERITIES

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA_VERSION = 1
COLUMNS = ("Keras", "on", "fit", "pairs", "total loss", "findings")
_FIT = {"ok": "works", "raises": "raises", "skipped": "not run"}
Row = tuple[str, str, str, list[str], str, list[str]]
_MOST_PAIRS, _MOST_WAYS = 6, 12
_BACKEND_PACKAGES = {"jax": "jax", "tensorflow": "tensorflow", "torch": "torch"}


def headline(runs: Sequence[Run], parts: Sequence[Parting]) -> str:
    """Whether the releases part, and between which."""
    read = [run for run in runs if run.report is not None]
    if not read:
        return "No release could examine the case."
    if not parts:
        verdict = words.HEADLINE[read[-1].report["verdict"]] if read[-1].report else ""
        count = {1: "One release was run.", 2: "Both do the same."}
        alike = count.get(len(runs), f"All {len(runs)} do the same.")
        return f"{alike} {verdict}"
    backends = {run.release.backend for run in runs}
    between = [
        f"between {a.release.keras} and {b.release.keras}" + (f" on {a.release.backend}" if len(backends) > 1 else "")
        for a, b in changes(runs, parts)
    ]
    return f"The releases part: {_enumerated(between)}." if between else "The backends part."


def sentences(runs: Sequence[Run], parts: Sequence[Parting]) -> list[str]:
    """Each parting in a sentence."""
    return [_sentence(runs, part) for part in parts]


def _sentence(runs: Sequence[Run], part: Parting) -> str:
    if part.aspect == "reading":
        unread = [(one_line(text), _place(runs, places)) for text, places in part.ways if text != READ]
        return ". ".join(f"{place[0].upper()}{place[1:]} the case {text}" for text, place in unread) + "."
    texts = [one_line(text).split(" ") for text, _ in part.ways]
    # What all ways begin with is said once.
    shared = len(list(takewhile(lambda words: len(set(words)) == 1, zip(*texts, strict=False))))
    shorter = [" ".join(words if n == 0 else words[min(shared, len(words) - 1) :]) for n, words in enumerate(texts)]
    ways = [f"{text} {_place(runs, places)}" for text, (_, places) in zip(shorter, part.ways, strict=True)]
    what = one_line(part.what)
    return f"{what[0].upper() + what[1:] if part.aspect == 'loss' else what} {'; '.join(ways)}."


def _place(runs: Sequence[Run], places: Sequence[int]) -> str:
    """``in 3.4.1 and 3.5.0``, ``from 3.6.0 on``, ``in 3.6.0 on jax``."""
    backends = list(dict.fromkeys(run.release.backend for run in runs))
    if len(backends) > 1:
        for backend in backends:
            if list(places) == [i for i, run in enumerate(runs) if run.release.backend == backend]:
                return f"on {backend}"
        return "in " + _enumerated([f"{runs[i].release.keras} on {runs[i].release.backend}" for i in places])
    if len(places) > 1 and list(places) == list(range(places[0], len(runs))):
        return f"from {runs[places[0]].release.keras} on"
    return "in " + _enumerated([runs[i].release.keras for i in places])


def _enumerated(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def rows(runs: Sequence[Run]) -> list[Row]:
    """The table under `COLUMNS`: pairs and findings are lists of lines."""
    found: list[Row] = []
    shown: dict[tuple[str, ...], str] = {}
    for run in runs:
        on = f"{run.release.backend} {run.packages.get(_BACKEND_PACKAGES[run.release.backend], '')}".rstrip()
        if run.report is None:
            found.append((run.release.keras, on, "not run" if run.bug or not run.built else "not read", [], "", []))
            continue
        loss = total_loss(run.report)
        pairs = _pairs(run.report)
        as_before = shown.setdefault(tuple(pairs), run.release.keras)
        same = pairs and as_before != run.release.keras
        found.append(
            (
                run.release.keras,
                on,
                _FIT[run.report["outcomes"]["fit"]["status"]],
                [f"as in {as_before}"] if same else _few(pairs),
                "" if loss is None else f"{loss:.6g}",
                _codes(run.report),
            )
        )
    return found


def _pairs(report: Any) -> list[str]:
    return [one_line(f"{pair['output']} <- {pair['target'] or '(none of y)'}") for pair in report["pairs"]]


def _few(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_PAIRS
    return lines or ["none"] if more <= 0 else [*lines[:_MOST_PAIRS], f"and {more} more"]


def _codes(report: Any) -> list[str]:
    """``error LD203 LD511``, a line a severity."""
    by = {s: list(dict.fromkeys(f["code"] for f in report["findings"] if f["severity"] == s)) for s in SEVERITIES}
    return [f"{severity} {' '.join(codes)}" for severity, codes in by.items() if codes] or ["none"]


def told_findings(runs: Sequence[Run]) -> list[tuple[str, str, str]]:
    """(severity, "LD203 sorted-key-pairing, from 3.6.0 on", message) of every error and warning, the worst first."""
    found = []
    for (code, _), by_run in findings_of(runs).items():
        newest = by_run[max(by_run)]
        everywhere = len(by_run) == len([run for run in runs if run.report is not None])
        place = "" if everywhere else f", {_place(runs, sorted(by_run))}"
        found.append((newest["severity"], f"{code} {newest['name']}{place}", one_line(newest["message"])))
    return sorted((f for f in found if f[0] != "info"), key=lambda f: SEVERITIES.index(f[0]))


def render(runs: Sequence[Run], parts: Sequence[Parting], console: Console) -> None:
    """Print the table, where the releases part, and what was found."""
    from rich.text import Text

    from lossdoctor.report.text import STYLE, open_table, say, table_lines

    told = rows(runs)
    table = open_table(console, COLUMNS, right=("total loss",))
    for run, (release, on, fit, pairs, loss, codes) in zip(runs, told, strict=True):
        style = "red" if run.report is None or fit == "raises" else ""
        table.add_row(
            Text(release, style="bold"),
            *(Text(cell, style=style) for cell in (on, fit, "\n".join(pairs))),
            Text(loss),
            Text("\n".join(codes), style="red" if codes and codes[0].startswith("error") else ""),
        )
    # Where the terminal is narrow, columns are broken between words as long as that is enough; then rich breaks words.
    least, whole = ([_longest(texts) for texts in column] for column in zip(*_texts(told), strict=True))
    between = 3 * len(COLUMNS)
    if sum(least) + between < console.width <= sum(whole) + between:
        for column, width in zip(table.columns, least, strict=True):
            column.width = width
    for line in table_lines(console, table):
        console.out(line, highlight=False)
    say(console, headline(runs, parts), style="bold red" if parts else "bold")
    for sentence in sentences(runs, parts)[:_MOST_WAYS]:
        say(console, sentence, 2)
    if len(parts) > _MOST_WAYS:
        say(console, f"and {len(parts) - _MOST_WAYS} more with --format json", 2, "dim")
    if not parts:
        for error in dict.fromkeys(run.error for run in runs if run.error):
            say(console, one_line(error), 2)
    for severity, title, message in told_findings(runs):
        console.print()
        console.print(Text.assemble((severity, STYLE[severity]), " ", (title, "bold")), soft_wrap=True)  # type: ignore[index]
        say(console, message, 2)


def _texts(told: Sequence[Row]) -> Iterator[tuple[list[str], list[str]]]:
    """(what must not be broken, whole lines) of each column; a line of `pairs` is one word."""
    for head, column in zip(COLUMNS, zip(*told, strict=True), strict=True):
        cells = [cell if isinstance(cell, list) else [cell] for cell in column]
        lines = [head, *(line for cell in cells for line in cell)]
        yield lines if head == "pairs" else " ".join(lines).split(), lines


def _longest(texts: Sequence[str]) -> int:
    return max(map(len, texts), default=0)


def as_text(runs: Sequence[Run], parts: Sequence[Parting], width: int = 100) -> str:
    """The text without colour, as it is written to a file."""
    from rich.console import Console

    buffer = io.StringIO()
    render(runs, parts, Console(file=buffer, width=width, highlight=False, no_color=True))
    return buffer.getvalue()


def as_markdown(runs: Sequence[Run], parts: Sequence[Parting]) -> str:
    """The same in GitHub's Markdown."""
    from lossdoctor.report.markdown import code, escape

    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- | --- | --- | --- | ---: | --- |"]
    for release, on, fit, pairs, loss, codes in rows(runs):
        named = "<br>".join(code(line.replace(" <- ", " ← ")) if " <- " in line else escape(line) for line in pairs)
        lines.append("| " + " | ".join([release, escape(on), fit, named, loss, "<br>".join(map(escape, codes))]) + " |")
    told = "\n".join(f"- {escape(sentence)}" for sentence in sentences(runs, parts))
    found = "\n".join(f"- **{s} {escape(title)}**: {escape(message)}" for s, title, message in told_findings(runs))
    head = f"## lossdoctor: {escape(headline(runs, parts))}"
    return "\n\n".join(filter(None, [head, "\n".join(lines), told, found])) + "\n"


def as_json(runs: Sequence[Run], parts: Sequence[Parting], lossdoctor: str) -> str:
    """Every run's report by the contract's schema, and the partings as data, as text."""
    labels = [{"keras": run.release.keras, "backend": run.release.backend} for run in runs]
    document = {
        "schema_version": SCHEMA_VERSION,
        "lossdoctor": lossdoctor,
        "agree": not parts,
        "headline": headline(runs, parts),
        "runs": [
            {**label, "packages": dict(run.packages), "report": run.report, "error": run.error}
            for label, run in zip(labels, runs, strict=True)
        ],
        "partings": [
            {
                "aspect": part.aspect,
                "what": part.what,
                "ways": [{"how": how, "runs": [labels[i] for i in places]} for how, places in part.ways],
                "sentence": sentence,
            }
            for part, sentence in zip(parts, sentences(runs, parts), strict=True)
        ],
    }
    return json_text(document)
