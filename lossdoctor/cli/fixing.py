"""The questions of `lossdoctor fix`: shows, asks, writes. What a repair does is decided in `fixes.session`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from lossdoctor.cli.fixing_source import Quit, write_source
from lossdoctor.cli.running import quietly
from lossdoctor.cli.screen import Screen
from lossdoctor.fixes import session as sittings
from lossdoctor.report import words
from lossdoctor.report.text import STYLE, broken, fitted, open_table, say
from lossdoctor.types import CaseError, Finding, Fix, Pair

if TYPE_CHECKING:
    from lossdoctor.fixes.session import Session
    from lossdoctor.fixes.verify import State

_SKIP, _UNDO, _DONE, _QUIT = "skip", "undo", "done", "quit"


@dataclass(frozen=True)
class Targets:
    """The files that are to be written: patch, model, batch, training script."""

    patch: Path | None = None
    model: Path | None = None
    batch: Path | None = None
    source: Path | None = None

    @property
    def any(self) -> bool:
        """True where at least one was named."""
        return any((self.patch, self.model, self.batch, self.source))

    @property
    def many(self) -> bool:
        """True where more than one was named."""
        return sum(path is not None for path in (self.patch, self.model, self.batch, self.source)) > 1


def run(sitting: Session, batch: str, targets: Targets, *, yes: bool) -> bool:
    """One sitting over a case. Returns True where errors are left."""
    console = Screen()
    _say_pairing(console, sitting.state, "As it is")
    if not sitting.open:
        console.print("Nothing is wrong.", style="bold green")
        return False
    undone: list[str] = []
    try:
        if yes:
            with quietly("trying the repairs"):
                sitting = sittings.take_safe(sitting)
            for step in sitting.steps:
                console.print(Text.assemble(("taken ", "green"), f"{step.finding.code}: {step.fix.title}"))
        else:
            sitting = _ask_all(console, sitting)
        if sitting.steps:
            _say_before_after(console, sitting)
            undone = _write(console, sitting, targets, batch, yes=yes)
        else:
            console.print("No repair was taken; nothing was written.")
    except (Quit, KeyboardInterrupt):
        console.print("Left without writing anything.")
        undone = ["nothing was written"]
    left = sitting.state.wrong
    if left:
        console.print()
        console.print("Still wrong:", style="bold")
        for finding in left:
            mark = Text.assemble("  ", (finding.severity, STYLE[finding.severity]), f" {finding.code}")
            console.print(mark)
            say(console, finding.message, 4)
    elif sitting.steps and not undone:
        console.print("Nothing is wrong any more.", style="bold green")
    return bool(undone) or any(f.severity == "error" for f in left)


def _ask_all(console: Console, sitting: Session) -> Session:
    """Findings one at a time, until none is open or the person is done."""
    while sitting.open:
        finding = sitting.open[0]
        _say_finding(console, finding, len(sitting.open))
        answer = _choose(console, sitting, finding)
        if answer == _DONE:
            return sitting
        if answer == _SKIP:
            sitting = sittings.skip(sitting, finding)
        elif answer == _UNDO:
            sitting = sittings.undo(sitting)
            console.print("Undone.", style="yellow")
        else:
            sitting = _taken(console, sitting, finding, answer)
    return sitting


def _choose(console: Console, sitting: Session, finding: Finding) -> Any:
    import questionary

    offered = [fix for fix in finding.fixes if fix.edits and fix.effect]
    for fix in finding.fixes:
        if not fix.edits:
            console.print(Text.assemble(("  by hand ", "dim"), fix.title, (f" (yours to decide: {fix.why})", "dim")))
    choices = [
        questionary.Choice(words.fix_title(fix), value=i, description=_proof(fix)) for i, fix in enumerate(offered)
    ]
    choices.append(questionary.Choice("leave this one", value=_SKIP))
    if sitting.steps:
        choices.append(questionary.Choice("undo the last repair", value=_UNDO))
        choices.append(questionary.Choice("finish, and write what was repaired so far", value=_DONE))
    choices.append(questionary.Choice("quit without writing", value=_QUIT))
    answer = questionary.select(
        "What shall be done?", choices=choices, qmark="", instruction="(arrow keys, Enter)"
    ).ask()
    if answer is None or answer == _QUIT:
        raise Quit
    return offered[answer] if isinstance(answer, int) else answer


def _proof(fix: Fix) -> str:
    return f"tried: {fix.effect}" if fix.verified else f"a first step: {fix.effect}"


def _taken(console: Console, sitting: Session, finding: Finding, fix: Fix) -> Session:
    """The preview, and the repair where the person agrees."""
    import questionary

    console.print()
    for line in fix.code.splitlines():
        console.print(Text(f"    {line}", style="cyan"), soft_wrap=True)
    with quietly("trying the repair"):
        after = sittings.take(sitting, finding, fix)
    if after is None:
        console.print("This repair cannot be carried out here.", style="yellow")
        return sittings.skip(sitting, finding)
    _say_change(console, sitting.state, after.state)
    agreed = questionary.confirm("Take it?", default=True, qmark="").ask()
    if agreed is None:
        raise Quit
    return after if agreed else sitting


def _say_finding(console: Console, finding: Finding, many: int) -> None:
    console.print()
    console.print(
        Text.assemble(
            (finding.severity, STYLE[finding.severity]),
            f" {finding.code} ",
            (finding.name, "dim"),
            (f"  ({many} open)", "dim"),
        )
    )
    say(console, finding.message, 2)


def _say_before_after(console: Console, sitting: Session) -> None:
    console.print()
    say(console, f"{len(sitting.steps)} repair{'s' * (len(sitting.steps) != 1)}: {sitting.plan.effect}.", 0, "bold")
    _say_change(console, sitting.start, sitting.state)


def _say_pairing(console: Console, state: State, title: str) -> None:
    """Output, target, loss and weight as Keras trains them now."""
    from lossdoctor.doctor import pairs

    rows = pairs(state.exam)
    say(console, f"{title}: {_outcome(state)}", 0, "bold")
    if rows:
        columns = ("output", "target", "loss", "weight")
        cells = [(pair.output, pair.target or "-", pair.loss, words.weight(pair)) for pair in rows]
        _table(console, columns, fitted(console, columns, cells, (2, 0, 1)))


def _outcome(state: State) -> str:
    fit = state.exam.fit.outcome
    if fit.status == "raises":
        return f"fit raises {words.short((fit.error or '').splitlines()[0], 200)}"
    return f"fit logs {fit.loss:.5g}" if fit.loss is not None else "nothing is trained"


def _say_change(console: Console, before: State, after: State) -> None:
    """The two pairings side by side; what differs stands out."""
    from lossdoctor.doctor import pairs
    from lossdoctor.fixes.apply import provenance

    origin = provenance(before.case.batch, after.case.batch)
    was, now = ({pair.output: pair for pair in pairs(state.exam)} for state in (before, after))
    columns = ("output", "as it is", "as it would be")
    rows: list[tuple[str, str, str]] = []
    for output in dict.fromkeys([*was, *now]):
        left, right = was.get(output), now.get(output)
        old = "-" if left is None else f"{left.target or '-'}  {left.loss}{_times(left)}"
        new = "-"
        if right is not None:
            target = origin.get(right.target or "", right.target or "-")
            new = f"{target}  {right.loss}{_times(right)}"
        rows.append((output, old, new))
    if rows:
        room = (console.width - 10 - max(len(output) for output, _, _ in rows)) // 2
        lines = [(output, broken(old, room), broken(new, room)) for output, old, new in rows]
        _table(console, columns, lines, [2 if new != old else None for _, old, new in rows])
    say(console, f"{_outcome(before)}  ->  {_outcome(after)}", 2)


def _table(
    console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], green: Sequence[int | None] = ()
) -> None:
    """A table without spaces at the ends of its lines; `green` is, for each row, the column that stands out."""
    table = open_table(console, columns)
    for i, row in enumerate(rows):
        marked = green[i] if i < len(green) else None
        table.add_row(*(Text(cell, style="green" if at == marked else "") for at, cell in enumerate(row)))
    console.print()
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        if line.strip():
            console.out(line.rstrip(), highlight=False)
    console.print()


def _write(console: Console, sitting: Session, targets: Targets, batch: str, *, yes: bool) -> list[str]:
    """Write what was named on the command line, or what the person chooses: all of it or nothing.

    Returns what is still to do by hand, a sentence each. Raises `CaseError` where a file cannot be written.
    """
    from lossdoctor.files import together

    if not targets.any:
        if yes:
            raise CaseError(
                "--yes took repairs but nothing says where to; add --patch, --write-model, --write-batch or --source."
            )
        targets = _ask_targets(sitting, batch)
    with together():
        try:
            said, undone = _staged(console, sitting, targets, batch, yes)
        except CaseError as error:
            raise CaseError(
                f"{str(error).rstrip('.')}; nothing was written." if targets.many else str(error)
            ) from error
    for line in (*said, *undone):
        say(console, line)
    return undone


def _times(pair: Pair) -> str:
    weight = words.weight(pair)
    return f" x {weight}" if weight else ""


def _staged(console: Console, sitting: Session, targets: Targets, batch: str, yes: bool) -> tuple[list[str], list[str]]:
    """Make every file that is to be written; returns (what is written, what is still to do)."""
    said: list[str] = []
    undone: list[str] = []
    for path, write in (
        (targets.patch, _write_patch),
        (targets.model, _write_model),
        (targets.batch, _write_batch),
    ):
        if path is not None and _may_write(path, yes):
            said.append(write(sitting, path))
        elif path is not None:
            undone.append(f"{path} was left as it is.")
    if targets.source is not None:
        wrote, left = write_source(console, sitting, targets.source, batch, targets.batch, targets.model, yes=yes)
        said, undone = [*said, *wrote], [*undone, *left]
    return said, undone


def _write_patch(sitting: Session, path: Path) -> str:
    from lossdoctor.files import write_text
    from lossdoctor.fixes.patch import write_patch

    patch = write_patch(sitting.plan)
    if patch is None:
        return f"{path} was not written: a patch would hold nothing."
    write_text(path, patch.text)
    names = [line[4:].partition("(")[0] for line in patch.text.splitlines() if line.startswith("def adapt_")]
    names += ["compile_model"] if "def compile_model(" in patch.text else []
    return f"Wrote {path}: import {' and '.join(names)} from it."


def _write_model(sitting: Session, path: Path) -> str:
    from lossdoctor.fixes.writing import write_model

    start, end = sitting.start.case, sitting.state.case
    write_model(start.model.source, path, start.compile, end.compile, sitting.edits)
    return f"Wrote {path}: other compile arguments, the same weights."


def _write_batch(sitting: Session, path: Path) -> str:
    from lossdoctor.fixes.writing import write_batch

    rows = write_batch(sitting.start.case.batch, path, sitting.edits, _names(sitting))
    return f"Wrote {path}: {rows} rows."


def _names(sitting: Session) -> tuple[tuple[str, ...], tuple[str, ...]]:
    from lossdoctor import trees
    from lossdoctor.types import InputSpec

    model = sitting.start.case.model
    inputs = (
        tuple(s.name for s in trees.values(model.inputs) if isinstance(s, InputSpec))
        if model.inputs is not None
        else ()
    )
    outputs = tuple(str(k) for k in model.outputs) if isinstance(model.outputs, dict) else model.output_names or ()
    return inputs, outputs


def _may_write(path: Path, yes: bool) -> bool:
    import questionary

    if yes or not path.exists():
        return True
    agreed = questionary.confirm(f"{path} exists. Replace it?", default=False, qmark="").ask()
    if agreed is None:
        raise Quit
    return bool(agreed)


def _ask_targets(sitting: Session, batch: str) -> Targets:
    import questionary

    case = sitting.start.case
    stem = Path(case.model.source.partition(":")[0]).stem
    kinds = {type(edit).__name__ for edit in sitting.edits}
    choices = [questionary.Choice("a patch file: Python to import or paste", value="patch", checked=True)]
    if kinds - {"BatchEdit"} == {"CompileEdit"} and case.model.source.endswith(".keras"):
        choices.append(questionary.Choice("the model file with the new compile arguments", value="model"))
    if "BatchEdit" in kinds:
        choices.append(questionary.Choice("the batch", value="batch"))
    choices.append(questionary.Choice("your training script", value="source"))
    wanted = questionary.checkbox(
        "What shall be written?", choices=choices, qmark="", instruction="(space to choose, Enter)"
    ).ask()
    if wanted is None:
        raise Quit
    names = {
        "patch": f"{stem}_patch.py",
        "model": f"{stem}.fixed.keras",
        "batch": f"{Path(batch.partition(':')[0]).stem}.fixed.npz",
        "source": "train.py",
    }
    targets = Targets()
    for kind in wanted:
        path = questionary.path(
            f"Where is the {'script' if kind == 'source' else kind}?", default=names[kind], qmark=""
        ).ask()
        if path is None:
            raise Quit
        targets = replace(targets, **{kind: Path(path)})
    return targets
