"""A user's training script with an edit made in it; everything that the edit does not touch stays byte for byte."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import libcst as cst

from lossdoctor.fixes import compile_call, module_level
from lossdoctor.fixes.data_calls import find_calls
from lossdoctor.fixes.script import Script, read, same
from lossdoctor.fixes.statements import Change, combined, parse
from lossdoctor.fixes.targets import ADAPT, Targets
from lossdoctor.types import CaseError


@dataclass(frozen=True)
class SourceEdit:
    """What to change in a script.

    `compile` maps keywords of `model.compile` to new expressions as Python code, None to remove one. `statements` are
    assignments to x, y and sample_weight; `model_statements` to `model`, before compile. `definitions` are functions and
    classes that the new expressions use; `imports` whole import statements.
    """

    compile: Mapping[str, str | None]
    statements: tuple[str, ...] = ()
    model_statements: tuple[str, ...] = ()
    definitions: str = ""
    imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rewritten:
    """The new source, and remarks, a sentence each.

    `left` are those of the `notes` that tell what could not be placed and is left to the person; `already` names the data
    that had the change before ("y in line 12").
    """

    text: str
    notes: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    already: tuple[str, ...] = ()


def rewrite(source: str, edit: SourceEdit, *, model: str | None = None, path: str = "train.py") -> Rewritten:
    """Make an edit in a script. `model` names the variable (or the function around it) where several are compiled.

    Raises `CaseError` where the script is not Python, or where it is not clear which compile call is meant.
    """
    script = read(source, path)
    wanted = module_level.split(edit.definitions)
    names = module_level.clashes(script, wanted)
    wanted = [(names.get(name, name), module_level.renamed(code, names)) for name, code in wanted]
    if names:
        shown = ", ".join(f"{old} is written as {new}" for old, new in names.items())
        script.notes.append(f"{path} has other things under the same names: {shown}.")
    compiled = _compile_calls(script, edit, model)
    for call in compiled:
        compile_call.edit(script, call, {k: v and module_level.renamed(v, names) for k, v in edit.compile.items()})
        _wrap_model(script, call, [module_level.renamed(s, names) for s in edit.model_statements])
    targets = _targets(script, compiled, [module_level.renamed(s, names) for s in edit.statements])
    if script.splices:
        users = [*compiled, *targets.calls]
        imports = [*edit.imports, *(["import keras"] if targets.needs_keras else [])]
        if targets.needs_adapt:
            wanted.append((targets.adapt, _adapt_function(targets)))
        module_level.define(script, wanted, [*(compiled or users), *targets.needs_adapt])
        module_level.add_imports(script, imports, users)
    bom = "\ufeff" if source.startswith("\ufeff") else ""
    notes, left, already = (tuple(dict.fromkeys(said)) for said in (script.notes, script.left, script.already))
    return Rewritten(bom + script.result(), notes, left, already)


def diff(old: str, new: str, path: str) -> str:
    """The unified diff between two texts of one file; "" where they are equal."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), fromfile=f"a/{path}", tofile=f"b/{path}"
    )
    return "".join(line if line.endswith(("\n", "\r")) else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _compile_calls(script: Script, edit: SourceEdit, model: str | None) -> list[cst.Call]:
    """The calls to change; where only data change, the calls are looked for but need not be there."""
    unknown = sorted(edit.compile.keys() - compile_call.ARGUMENTS.keys())
    if unknown:
        raise CaseError(f"model.compile takes no argument {unknown[0]}; it takes {', '.join(compile_call.ARGUMENTS)}.")
    if edit.compile or edit.model_statements or compile_call.candidates(script):
        return compile_call.find(script, model, list(edit.compile))
    return []


def _wrap_model(script: Script, call: cst.Call, statements: Sequence[str]) -> None:
    """Put the statements on the model before the statement that compiles it."""
    if not statements:
        return
    name = compile_call.receiver(script, call)
    lines = [script.styled(module_level.renamed(s, {"model": name} if name != "model" else {})) for s in statements]
    place = script.place(call)
    reason = _unbindable(script, call, name)
    if place.offset is None or reason:
        script.leave(
            f"{name} in line {script.line(call)} {reason or 'stands where no statement can go before it'}; "
            f"before it is compiled do: {'; '.join(lines)}"
        )
        return
    if not _stands_before(script, place.block, call, lines):
        script.insert_before(place, [line.replace(script.newline, script.newline + place.head) for line in lines])


def _unbindable(script: Script, call: cst.Call, name: str) -> str:
    """Why a new model cannot be assigned to the name where it is compiled; "" where it can."""
    assert isinstance(call.func, cst.Attribute)
    node = call.func.value
    if name in ("self", "cls"):
        return "is the model itself"
    if not isinstance(node, cst.Name):
        return ""
    function = script.function(call)
    bound = script.assignments(node)
    if function is None:
        return ""
    if any(a.scope is not script.scope(node) for a in bound):
        return "comes from outside the function that compiles it"
    if any(isinstance(a.node, cst.Param) for a in bound) and not _returns(function, name):
        return f"is an argument of {function.name.value}, which does not return it"
    return ""


def _returns(function: cst.FunctionDef, name: str) -> bool:
    found = []

    class Returns(cst.CSTVisitor):
        def visit_Return(self, node: cst.Return) -> None:
            if isinstance(node.value, cst.Name) and node.value.value == name:
                found.append(node)

    function.visit(Returns())
    return bool(found)


def _stands_before(script: Script, block: cst.CSTNode, call: cst.Call, lines: Sequence[str]) -> bool:
    """True where the very statements stand before the call in its block already."""
    above: list[str] = []
    for statement in getattr(block, "body", ()):
        if any(p is statement for p in script.parents(call)):
            break
        above.append(script.code(statement))
    above = [s for s in above if s.strip()][-len(lines) :]
    return len(above) == len(lines) and all(same(a, b) for a, b in zip(above, lines, strict=True))


def _targets(script: Script, compiled: list[cst.Call], statements: Sequence[str]) -> Targets:
    """The data statements, placed at every call that gives the model data."""
    changes: list[Change] = []
    for statement in statements:
        change = parse(script.styled(statement))
        if change is None:
            script.leave(f"This could not be placed; run it on the data before fit: {statement}")
        else:
            changes.append(change)
    changes = combined(changes)
    if not changes:
        return Targets(script, [], [])
    others = [c for c in compile_call.candidates(script) if c not in compiled]
    targets = Targets(script, changes, find_calls(script, compiled, others))
    if not targets.calls:
        script.leave(f"No call of fit was found; before it do: {'; '.join(c.code for c in changes)}")
    clash = module_level.clashes(script, [(ADAPT, _adapt_function(targets))])
    targets.adapt = clash.get(ADAPT, ADAPT)
    targets.rewrite()
    return targets


def _adapt_function(targets: Targets) -> str:
    """`adapt_batch`, for data that come in batches of their own."""
    lines = [f"def {targets.adapt}(x, y, sample_weight=None):"]
    for change in targets.changes:
        guarded = "sample_weight" in change.reads or (change.role == "sample_weight" and change.target is not None)
        if guarded:
            lines += ["    if sample_weight is not None:", f"        {change.code}"]
        else:
            lines.append(f"    {change.code}")
    lines += ["    if sample_weight is None:", "        return x, y", "    return x, y, sample_weight"]
    return "\n".join(lines)
