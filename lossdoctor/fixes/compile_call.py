"""The `model.compile(...)` calls of a script: which one is meant, and its arguments rewritten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import libcst as cst
from libcst.metadata import ImportAssignment

from lossdoctor.fixes.literals import change
from lossdoctor.fixes.script import Script, same
from lossdoctor.types import CaseError

# The positional order of keras.Model.compile, each with its default.
ARGUMENTS = {
    "optimizer": '"rmsprop"',
    "loss": "None",
    "loss_weights": "None",
    "metrics": "None",
    "weighted_metrics": "None",
    "run_eagerly": "False",
    "steps_per_execution": "1",
    "jit_compile": '"auto"',
    "auto_scale_loss": "True",
}


def find(script: Script, model: str | None, edited: Sequence[str]) -> list[cst.Call]:
    """The compile calls meant: one, or several of one variable that say the same of the edited keywords.

    Raises `CaseError` where there is none, or where it is not clear which.
    """
    calls = candidates(script)
    if not calls:
        raise CaseError(f"{script.path} has no model.compile(...) call; name the script that compiles the model.")
    chosen = [c for c in calls if model is None or model in _labels(script, c)]
    if not chosen:
        raise CaseError(f"{script.path} compiles no model named {model}; it compiles {_listed(script, calls)}.")
    if len(chosen) == 1:
        return chosen
    one_variable = len({(receiver(script, c), id(script.scope(c))) for c in chosen}) == 1
    if one_variable and all(_agree(script, chosen, keyword) for keyword in edited):
        lines = ", ".join(str(script.line(c)) for c in chosen)
        script.notes.append(f"{receiver(script, chosen[0])} is compiled in lines {lines}; all were rewritten alike.")
        return chosen
    raise CaseError(
        f"{script.path} has several compile calls, {_listed(script, chosen)}; name the model that is meant."
    )


def candidates(script: Script) -> list[cst.Call]:
    """Calls that compile a Keras model, in the order written."""
    strong: list[cst.Call] = []
    weak: list[cst.Call] = []

    for call in script.calls:
        if not (isinstance(call.func, cst.Attribute) and call.func.attr.value == "compile"):
            continue
        if not isinstance(call.func.value, cst.Name | cst.Attribute) or _is_module(script, call.func.value):
            continue
        keywords = {a.keyword.value for a in call.args if a.keyword is not None}
        if keywords & ARGUMENTS.keys():
            strong.append(call)
        elif not keywords:
            weak.append(call)
    return strong or weak


def receiver(script: Script, call: cst.Call) -> str:
    """What stands before the dot of a method call."""
    assert isinstance(call.func, cst.Attribute)
    return script.code(call.func.value)


def _is_module(script: Script, node: cst.BaseExpression) -> bool:
    """True for a name that `import ...` binds to a module."""
    while isinstance(node, cst.Attribute):
        node = node.value
    if not isinstance(node, cst.Name):
        return False
    return any(isinstance(a, ImportAssignment) and isinstance(a.node, cst.Import) for a in script.assignments(node))


def _labels(script: Script, call: cst.Call) -> set[str]:
    """The names that a person may give to the model of a call: variable, attribute, and the function around it."""
    name = receiver(script, call)
    around = [p.name.value for p in script.parents(call) if isinstance(p, cst.FunctionDef | cst.ClassDef)]
    return {name, name.rpartition(".")[2], *around, ".".join(reversed(around))}


def _listed(script: Script, calls: Sequence[cst.Call]) -> str:
    return " and ".join(f"{receiver(script, c)} in line {script.line(c)}" for c in calls)


def _agree(script: Script, calls: Sequence[cst.Call], keyword: str) -> bool:
    values = [_given(call, keyword) for call in calls]
    codes = [script.code(v.value) if v is not None else "..." for v in values]
    return all(same(codes[0], code) for code in codes)


def _given(call: cst.Call, keyword: str) -> cst.Arg | None:
    """The argument that gives `keyword`, by name or by place."""
    for place, arg in enumerate(call.args):
        if arg.keyword is not None and arg.keyword.value == keyword:
            return arg
        starred = any(a.star for a in call.args[: place + 1])
        if arg.keyword is None and not starred and place == list(ARGUMENTS).index(keyword):
            return arg
    return None


def edit(script: Script, call: cst.Call, changes: Mapping[str, str | None]) -> None:
    """Splice the changed arguments into a compile call, in the style that it is written in."""
    removed: list[cst.Arg] = []
    added: list[tuple[str, str]] = []
    for keyword, new in changes.items():
        arg = _given(call, keyword)
        if arg is not None:
            if new is None and arg.keyword is not None:
                removed.append(arg)
            else:
                change(script, arg.value, new or ARGUMENTS[keyword])
        elif not _in_splat(script, call, keyword, new) and new is not None:
            added.append((keyword, new))
    while removed and added:
        arg, (keyword, new) = removed.pop(0), added.pop(0)
        start, end = script.span(arg)
        script.splice(start, end, f"{keyword}={script.inline(new, script.indent(start))}")
    for arg in removed:
        _remove(script, call, arg)
    if added:
        _add(script, call, added)


def _in_splat(script: Script, call: cst.Call, keyword: str, new: str | None) -> bool:
    """Deal with `*args` and `**kwargs`: True where nothing is to be added to the call itself."""
    line = script.line(call)
    for arg in (a for a in call.args if a.star):
        shown = f"{arg.star}{script.code(arg.value)}"
        if arg.star == "*":
            script.leave(f"Line {line} gives compile {shown}, which may hold {keyword}; make it {keyword}={new} there.")
            return True
        entries = _entries(script, arg.value)
        if entries is None:
            script.notes.append(
                f"Line {line} gives compile {shown}; if it holds {keyword}, take that out"
                + ("." if new is None else f": {keyword}= now stands in the call itself.")
            )
        elif keyword in entries:
            change(script, entries[keyword], new or ARGUMENTS[keyword])
            return True
    return False


def _entries(script: Script, value: cst.BaseExpression) -> dict[str, cst.BaseExpression] | None:
    """The entries of a dict that is written out, here or where the name used only here is assigned."""
    if isinstance(value, cst.Name):
        bound = script.literal_binding(value)
        if bound is None or len(script.references(value)) != 1:
            return None
        value = bound[1]
    if isinstance(value, cst.Call) and isinstance(value.func, cst.Name) and value.func.value == "dict":
        if any(a.keyword is None for a in value.args):
            return None
        return {a.keyword.value: a.value for a in value.args if a.keyword is not None}
    if not isinstance(value, cst.Dict):
        return None
    found = {}
    for element in value.elements:
        if not isinstance(element, cst.DictElement) or not isinstance(element.key, cst.SimpleString):
            return None
        found[str(element.key.evaluated_value)] = element.value
    return found


def _comma_end(script: Script, arg: cst.Arg) -> int | None:
    """The byte after an argument's comma; None where it has none."""
    if not isinstance(arg.comma, cst.Comma):
        return None
    return script.span(arg)[1] + len(script.code(arg.comma.whitespace_before).encode()) + 1


def _remove(script: Script, call: cst.Call, arg: cst.Arg) -> None:
    at = list(call.args).index(arg)
    start, end = script.span(arg)
    stop = _comma_end(script, arg) or end
    rest = script.text(stop, script.line_end(stop)).strip()
    if script.begins_line(start) and (not rest or rest.startswith("#")):
        if rest:
            script.notes.append(f'The comment "{rest}" in line {script.line(arg)} went with the argument beside it.')
        script.splice(script.line_start(start), script.next_line(stop), "")
        return
    before = script.span(call.args[at - 1])[1] if at else None
    after = script.span(call.args[at + 1])[0] if at + 1 < len(call.args) else None
    if before is not None and "#" not in script.text(before, start):
        script.splice(before, end, "")
    elif after is not None and "#" not in script.text(stop, after):
        script.splice(start, after, "")
    else:
        script.splice(start, stop, "")


def _add(script: Script, call: cst.Call, added: Sequence[tuple[str, str]]) -> None:
    if not call.args:
        close = script.span(call)[1] - len("".join(script.code(p) for p in call.rpar).encode()) - 1
        script.splice(close, close, ", ".join(f"{k}={script.inline(v, script.indent(close))}" for k, v in added))
        return
    last = call.args[-1]
    start, end = script.span(last)
    comma = _comma_end(script, last)
    indent = script.indent(start)
    pieces = [f"{k}={script.inline(v, indent)}" for k, v in added]
    trailing = "," if comma is not None else ""
    if not script.begins_line(start):
        at = comma or end
        script.splice(at, at, "".join(f" {p}," for p in pieces) if trailing else "".join(f", {p}" for p in pieces))
        return
    at = comma or end
    rest = script.text(at, script.line_end(at)).strip()
    text = ",".join(f"{script.newline}{indent}{p}" for p in pieces) + trailing
    if rest and not rest.startswith("#"):
        script.splice(at, at, text if trailing else "," + text)
        return
    if not trailing:
        script.splice(end, end, ",")
    at = script.line_end(at)
    script.splice(at, at, text)
