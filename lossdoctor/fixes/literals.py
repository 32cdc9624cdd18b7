"""Dict, list and tuple literals in a script: read, re-keyed in place, and changed where they differ only."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

import libcst as cst

from lossdoctor.fixes.script import Script, same

Element = cst.Element | cst.DictElement


def entries(node: cst.BaseExpression) -> dict[Any, cst.BaseExpression] | None:
    """The entries of a literal by index or constant key; None for anything else and where one is starred."""
    found: dict[Any, cst.BaseExpression] = {}
    if isinstance(node, cst.List | cst.Tuple):
        if not all(isinstance(e, cst.Element) for e in node.elements):
            return None
        return {i: e.value for i, e in enumerate(node.elements)}
    if isinstance(node, cst.Dict):
        for element in node.elements:
            if not isinstance(element, cst.DictElement) or not is_constant(element.key):
                return None
            found[constant(element.key)] = element.value
        return found
    return None


def is_constant(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.SimpleString | cst.Integer | cst.ConcatenatedString) or (
        isinstance(node, cst.UnaryOperation)
        and isinstance(node.operator, cst.Minus)
        and isinstance(node.expression, cst.Integer)
    )


def constant(node: cst.CSTNode) -> Any:
    """The value of a constant key or index."""
    return ast.literal_eval(cst.Module([]).code_for_node(node).strip())


def has_comment(node: cst.CSTNode) -> bool:
    """True where comments stand inside a node."""
    seen = []

    class Comments(cst.CSTVisitor):
        def visit_Comment(self, node: cst.Comment) -> None:
            seen.append(node)

    node.visit(Comments())
    return bool(seen)


def key_in_place(script: Script, node: cst.BaseExpression, keys: Sequence[str]) -> bool:
    """Make a list or tuple literal a dict with these keys (Python code), in its own layout. False where that cannot be."""
    if not isinstance(node, cst.List | cst.Tuple) or len(keys) != len(node.elements) or len(node.lpar) > 1:
        return False
    values = [e.value for e in node.elements]
    if entries(node) is None or any(isinstance(v, cst.NamedExpr | cst.Yield) and not v.lpar for v in values):
        return False
    start, end = script.span(node)
    bracketed = isinstance(node, cst.List) or bool(node.lpar)
    if isinstance(node, cst.List) and node.lpar:
        return False
    width = 1 if bracketed else 0
    script.splice(start, start + width, "{")
    for key, value in zip(keys, values, strict=True):
        at = script.span(value)[0]
        script.splice(at, at, f"{script.styled(key)}: ")
    script.splice(end - width, end, "}")
    return True


def change(script: Script, old: cst.BaseExpression, code: str) -> None:
    """Make an expression of the script equal to `code`, touching only the parts that differ."""
    _change(script, old, cst.parse_expression(code.strip()))


def _change(script: Script, old: cst.BaseExpression, new: cst.BaseExpression) -> None:
    text = cst.Module([]).code_for_node(new)
    if same(script.code(old), text):
        return
    inner = parts(old, new)
    if inner is not None:
        for one, other in inner:
            _change(script, one, other)
        return
    if isinstance(new, cst.Dict) and isinstance(old, cst.List | cst.Tuple):
        fresh, held = entries(new), entries(old)
        code_of = cst.Module([]).code_for_node
        if (
            fresh is not None
            and held is not None
            and len(fresh) == len(held)
            and all(same(code_of(f), script.code(h)) for f, h in zip(fresh.values(), held.values(), strict=True))
            and key_in_place(script, old, [code_of(e.key) for e in new.elements if isinstance(e, cst.DictElement)])
        ):
            return
    if has_comment(old):
        script.notes.append(f"The comments inside the expression in line {script.line(old)} went with it.")
    start, end = script.span(old)
    script.splice(start, end, script.inline(text, script.indent(start)))


def parts(
    old: cst.BaseExpression, new: cst.BaseExpression
) -> list[tuple[cst.BaseExpression, cst.BaseExpression]] | None:
    """The pairs of parts in which two expressions of one structure may differ; None for two structures."""
    if isinstance(old, cst.Call) and isinstance(new, cst.Call):
        code_of = cst.Module([]).code_for_node
        shape = [(a.star, a.keyword.value if a.keyword else None) for a in old.args]
        if shape != [(a.star, a.keyword.value if a.keyword else None) for a in new.args]:
            return None
        if code_of(old.func) != code_of(new.func):
            return None
        return [(a.value, b.value) for a, b in zip(old.args, new.args, strict=True)]
    if type(old) is not type(new):
        return None
    one, other = entries(old), entries(new)
    if one is None or other is None or one.keys() != other.keys():
        return None
    if isinstance(old, cst.Dict) and isinstance(new, cst.Dict) and len(old.elements) != len(new.elements):
        return None
    return [(value, other[key]) for key, value in one.items()]
