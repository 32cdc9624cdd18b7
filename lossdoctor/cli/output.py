"""Where the report goes: which format to which file, and at most one to stdout."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from typer.core import TyperCommand

from lossdoctor.cli.boundary import UNREADABLE, Stop
from lossdoctor.report.formats import Format

if TYPE_CHECKING:
    import typer

    from lossdoctor.types import Finding, ReportData

_ORDER = "lossdoctor.order"


class InOrder(TyperCommand):
    """A command that remembers in which order --format and --output were typed; click keeps them in two lists."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Note the order in the context, then parse as ever."""
        names = [arg.split("=")[0] for arg in args[: args.index("--") if "--" in args else len(args)]]
        ctx.meta[_ORDER] = [name for name in names if name in ("--format", "--output")]
        return super().parse_args(ctx, args)


def order_typed(context: typer.Context) -> list[str]:
    """ "--format" and "--output", each as often as typed, in that order."""
    return list(context.meta.get(_ORDER, []))


def plan(formats: Sequence[Format], outputs: Sequence[Path], order: Sequence[str]) -> list[tuple[Format, Path | None]]:
    """Each format with its file, None for stdout, which `-` names.

    As many outputs as formats: the first to the first, and so on. One fewer: one format goes to stdout, the
    others take the files in turn; it is chosen so that most files take the format typed just before them, and
    among equals is the first text, else the first. Raises `Stop` for any other number.
    """
    asked = list(formats) or [Format.text]
    if len(set(map(str, outputs))) < len(outputs):
        raise Stop(UNREADABLE, "two of the --output files are the same; give each --format a file of its own.")
    if len(outputs) == len(asked):
        return [(format, None if str(path) == "-" else path) for format, path in zip(asked, outputs, strict=True)]
    if len(outputs) != len(asked) - 1 or Path("-") in outputs:
        raise Stop(
            UNREADABLE,
            f"{len(asked)} --format and {len(outputs)} --output do not match; give each --format its --output behind it "
            "(one may have none and goes to stdout).",
        )
    follows = _follows(order)

    def rank(printed: int) -> tuple[int, bool, int]:
        kept = [i for i in range(len(asked)) if i != printed]
        return sum((i, j) in follows for j, i in enumerate(kept)), asked[printed] is Format.text, -printed

    printed = max(range(len(asked)), key=rank)
    files: list[Path | None] = list(outputs)
    files.insert(printed, None)
    return list(zip(asked, files, strict=True))


def keep_inputs(outputs: Iterable[Path | None], inputs: Iterable[str | None]) -> None:
    """Raise `Stop` where a file to write is one that is read, by whatever name."""
    named = [name for name in inputs if name and os.path.isfile(name)]
    for path in outputs:
        if path is not None and path.is_file() and any(os.path.samefile(path, name) for name in named):
            raise Stop(UNREADABLE, f"{path} is read in this check and would be lost; name another file to write.")


def _follows(order: Sequence[str]) -> set[tuple[int, int]]:
    """(number of a --format, number of an --output) wherever the one was typed right before the other."""
    found, formats, outputs = set(), 0, 0
    for i, name in enumerate(order):
        if name == "--format":
            formats += 1
            continue
        if i and order[i - 1] == "--format":
            found.add((formats - 1, outputs))
        outputs += 1
    return found


def write(
    report: ReportData,
    planned: Sequence[tuple[Format, Path | None]],
    known: Sequence[Finding] = (),
    *,
    verbose: bool,
    quiet: bool,
) -> None:
    """Render everything, then write the files, then print what goes to stdout. `known`: what the baseline left out."""
    from lossdoctor.files import write_text

    texts = [
        (
            format,
            path,
            "" if format is Format.text and path is None else _document(report, format, known, verbose, quiet),
        )
        for format, path in planned
    ]
    for _, path, text in texts:
        if path is not None:
            write_text(path, text)
    for format, path, text in texts:
        if path is None and format is Format.text:
            _print(report, verbose, quiet)
        elif path is None:
            from lossdoctor.cli.screen import echo

            echo(text.encode("utf-8"))  # a document is UTF-8


def _document(report: ReportData, format: Format, known: Sequence[Finding], verbose: bool, quiet: bool) -> str:
    if format is Format.text:
        from lossdoctor.report import text

        return text.as_text(report, verbose=verbose, quiet=quiet)
    from lossdoctor.report.formats import render

    return render(report, format, known)


def _print(report: ReportData, verbose: bool, quiet: bool) -> None:
    from lossdoctor.cli.screen import Screen
    from lossdoctor.report import text

    text.render(report, Screen(), verbose=verbose, quiet=quiet)
