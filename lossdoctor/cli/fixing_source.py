"""`lossdoctor fix --source`: the edits in the training script, shown first, and what of them is left to the person."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from lossdoctor.case.references import is_reference
from lossdoctor.report.text import say
from lossdoctor.types import BatchEdit, CaseError, Edit

if TYPE_CHECKING:
    from lossdoctor.fixes.rewrite import Rewritten
    from lossdoctor.fixes.session import Session


class Quit(Exception):
    """The person left; nothing is written."""


def write_source(
    console: Console,
    sitting: Session,
    path: Path,
    batch: str,
    new_batch: Path | None,
    new_model: Path | None,
    *,
    yes: bool,
) -> tuple[list[str], list[str]]:
    """Show the script's diff, and write the script where the person agrees. Returns (what was done, what is still to do).

    `batch` is the one examined; `new_batch` and `new_model` are files that the same command writes. Raises `CaseError`.
    """
    import questionary

    from lossdoctor.files import write_bytes
    from lossdoctor.fixes.rewrite import diff

    old, rewritten = _rewritten(sitting, path)
    stale = _stale(sitting, batch, new_batch, new_model)
    if rewritten.text == old and not rewritten.left:
        has = f" ({', '.join(rewritten.already)})" if rewritten.already else ""
        return [f"{path} has these repairs already{has}; nothing was changed in it."], stale
    for line in diff(old, rewritten.text, str(path)).splitlines():
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        console.print(Text(line, style=style), soft_wrap=True)
    for note in rewritten.notes:
        if note not in rewritten.left:
            say(console, f"note: {note}", 2, "yellow")
    for place in rewritten.already:
        say(console, f"note: {place} has the repair already.", 2, "yellow")
    undone = [f"{path} still needs this by hand: {note}" for note in rewritten.left]
    if rewritten.text == old:
        return [f"{path} was not changed."], undone
    agreed = yes or questionary.confirm(f"Write {path}?", default=True, qmark="").ask()
    if agreed is None:
        raise Quit
    if not agreed:
        return [], [f"{path} was left as it is."]
    write_bytes(path, lambda stream: stream.write(rewritten.text.encode("utf-8")))
    return [f"Wrote {path}.", *stale], undone


def _rewritten(sitting: Session, path: Path) -> tuple[str, Rewritten]:
    """The script as it is, and with the repairs."""
    from lossdoctor.fixes.code import NotTypable
    from lossdoctor.fixes.rewrite import SourceEdit, rewrite
    from lossdoctor.fixes.writing import source_parts

    try:
        old = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError(f"{path} cannot be read ({error}); name the Python script that compiles the model.") from error
    try:
        parts = source_parts(
            sitting.start.case, sitting.state.case, [(s.before.case, s.fix.edits) for s in sitting.steps]
        )
    except NotTypable as error:
        raise CaseError(f"{path} was not changed: {error}; write a patch file instead.") from error
    return old, rewrite(old, SourceEdit(**parts), path=str(path))


def _stale(sitting: Session, batch: str, new_batch: Path | None, new_model: Path | None) -> list[str]:
    """How to write anew the files that were examined and will not have the repairs of the script."""
    model = sitting.start.case.model.source
    lines = []
    if _any(sitting.edits, batch=True) and new_batch is None:
        if batch.endswith(".npz"):
            command = (
                f"lossdoctor fix {shlex.quote(model)} {shlex.quote(batch)} --yes --write-batch {shlex.quote(batch)}"
            )
            lines.append(
                f"{batch} holds the old data: write it anew from the script, by lossdoctor.save_batch on what fit is given, "
                f"or by `{command}`."
            )
        else:
            lines.append(f"{batch} gives the old data: let it give what fit is given now.")
    if _any(sitting.edits, batch=False) and new_model is None and not is_reference(model):
        lines.append(f"{model} holds the old model: save it anew from the script.")
    return lines


def _any(edits: Sequence[Edit], *, batch: bool) -> bool:
    return any(isinstance(edit, BatchEdit) == batch for edit in edits)
