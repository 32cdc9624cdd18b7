"""Whether a script's data are a dict or a list already, as far as its text tells. Nothing is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import libcst as cst
from libcst.metadata import Assignment, ImportAssignment

from lossdoctor.fixes.literals import entries
from lossdoctor.fixes.script import Script, assigned_before

_DEEPEST = 8
_KEEPS_ELEMENTS = {"batch", "shuffle", "repeat", "cache", "prefetch", "take", "skip"}


@dataclass(frozen=True)
class Form:
    """A dict (with its keys, None where they are not all known) or a list or tuple."""

    kind: Literal["dict", "sequence"]
    keys: frozenset[object] | None = None


def form_of(script: Script, node: cst.BaseExpression, depth: int = 0) -> Form | None:
    """What an expression is; None where the script does not tell."""
    if depth > _DEEPEST:
        return None
    if isinstance(node, cst.Dict):
        held = entries(node)
        return Form("dict", frozenset(held) if held else None)
    if isinstance(node, cst.DictComp):
        return Form("dict")
    if isinstance(node, cst.List | cst.Tuple | cst.ListComp):
        return Form("sequence")
    if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.BitOr):
        return _union(form_of(script, node.left, depth + 1), form_of(script, node.right, depth + 1))
    if isinstance(node, cst.IfExp):
        return _agreed([form_of(script, n, depth + 1) for n in (node.body, node.orelse)])
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Name):
        return _called(script, node, node.func, depth)
    if isinstance(node, cst.Name):
        return _agreed(
            [form_of(script, value, depth + 1) if value is not None else None for value in _values(script, node)]
        )
    return None


def dataset_form(script: Script, node: cst.BaseExpression, depth: int = 0) -> Form | None:
    """What the targets of a dataset are that `from_tensor_slices` made and nothing has mapped since; None for others."""
    if depth > _DEEPEST:
        return None
    if isinstance(node, cst.Name):
        return _agreed(
            [dataset_form(script, value, depth + 1) if value is not None else None for value in _values(script, node)]
        )
    if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute):
        return None
    name = node.func.attr.value
    if name in _KEEPS_ELEMENTS:
        return dataset_form(script, node.func.value, depth + 1)
    if name == "from_tensor_slices" and len(node.args) == 1 and isinstance(node.args[0].value, cst.Tuple):
        held = entries(node.args[0].value)
        return form_of(script, held[1], depth + 1) if held is not None and len(held) > 1 else None
    return None


def _union(one: Form | None, other: Form | None) -> Form | None:
    known = [form for form in (one, other) if form is not None and form.kind == "dict"]
    if not known:
        return None
    both = one is not None and other is not None and one.keys is not None and other.keys is not None
    return Form("dict", one.keys | other.keys if both else None)  # type: ignore[union-attr,operator]


def _agreed(forms: list[Form | None]) -> Form | None:
    """The one form that all have; a dict of unknown keys where only the keys differ."""
    kinds = {form.kind if form is not None else None for form in forms}
    if len(kinds) != 1 or None in kinds:
        return None
    return forms[0] if len(set(forms)) == 1 else Form(kinds.pop())  # type: ignore[arg-type]


def _called(script: Script, node: cst.Call, name: cst.Name, depth: int) -> Form | None:
    if name.value in ("dict", "OrderedDict"):
        known = bool(node.args) and all(a.keyword is not None for a in node.args)
        return Form("dict", frozenset(a.keyword.value for a in node.args if a.keyword) if known else None)
    if name.value in ("list", "tuple"):
        return Form("sequence")
    return _agreed([form_of(script, value, depth + 1) for value in _returned(script, name)])


def _returned(script: Script, name: cst.Name) -> list[cst.BaseExpression]:
    """What the one function of this name in the script returns, each `return` once."""
    bound = [a.node for a in script.assignments(name)]
    if len(bound) != 1 or not isinstance(bound[0], cst.FunctionDef):
        return []
    found: list[cst.BaseExpression] = []
    home = bound[0]

    class Returns(cst.CSTVisitor):
        def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
            return node is home

        def visit_Return(self, node: cst.Return) -> None:
            found.append(node.value if node.value is not None else cst.Name("None"))

    home.visit(Returns())
    return found


def _values(script: Script, name: cst.Name) -> list[cst.BaseExpression | None]:
    """What a name may hold where it is used; None for what the script does not show."""
    last = assigned_before(script, name, script.place(name))
    if last is not None:
        return [last]
    values: list[cst.BaseExpression | None] = []
    for bound in script.assignments(name):
        values += _bound(script, bound)
    return values


def _bound(script: Script, bound: Assignment) -> list[cst.BaseExpression | None]:
    node = bound.node
    if isinstance(bound, ImportAssignment):
        return [None]
    if isinstance(node, cst.Param):
        return _given(script, node)
    statement = next((p for p in script.parents(node) if isinstance(p, cst.BaseSmallStatement)), None)
    if isinstance(statement, cst.AnnAssign) and statement.target is node:
        return [statement.value]
    if not isinstance(statement, cst.Assign) or len(statement.targets) != 1:
        return [None]
    target = statement.targets[0].target
    if target is node:
        return [statement.value]
    if not isinstance(target, cst.Tuple | cst.List):
        return [None]
    at = next((i for i, e in enumerate(target.elements) if e.value is node), None)
    value = statement.value
    sources = (
        _returned(script, value.func) if isinstance(value, cst.Call) and isinstance(value.func, cst.Name) else [value]
    )
    return [_element(source, at) for source in sources] or [None]


def _element(node: cst.BaseExpression, at: int | None) -> cst.BaseExpression | None:
    held = entries(node) if isinstance(node, cst.Tuple | cst.List) else None
    return held.get(at) if held is not None and at is not None else None


def _given(script: Script, param: cst.Param) -> list[cst.BaseExpression | None]:
    """What the calls of a function in the script give for one of its parameters."""
    function = script.function(param)
    if function is None:
        return [None]
    names = [p.name.value for p in function.params.params]
    if param.name.value not in names:
        return [None]
    at = names.index(param.name.value)
    values: list[cst.BaseExpression | None] = []
    for call in script.calls:
        if not isinstance(call.func, cst.Name) or call.func.value != function.name.value:
            continue
        if any(a.star for a in call.args):
            return [None]
        named = [a.value for a in call.args if a.keyword is not None and a.keyword.value == param.name.value]
        by_place = call.args[at : at + 1]
        values += named or [a.value for a in by_place if a.keyword is None] or [None]
    return values or [None]
