"""Statements on x, y and sample_weight, worked out on the expressions that a script passes for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import libcst as cst

from lossdoctor.fixes.literals import constant, entries, has_comment, is_constant

ROLES = ("x", "y", "sample_weight")
_OPEN = cst.LeftParen()
_CLOSE = cst.RightParen()
_ATOMS = (
    cst.Name,
    cst.Attribute,
    cst.Subscript,
    cst.Call,
    cst.List,
    cst.Dict,
    cst.Set,
    cst.ListComp,
    cst.DictComp,
    cst.SetComp,
    cst.SimpleString,
    cst.FormattedString,
    cst.Integer,
    cst.Float,
)
_BARE = (cst.BinaryOperation, cst.UnaryOperation, cst.Comparison, cst.BooleanOperation, cst.IfExp, cst.Lambda)
_EMPTY = cst.Module([])


@dataclass(frozen=True)
class Change:
    """One statement: `role = value`, or `role[...]... = value` where `target` is that subscript."""

    role: str
    value: cst.BaseExpression
    reads: frozenset[str]
    code: str
    target: cst.Subscript | None = None


def parse(statement: str) -> Change | None:
    """A statement as a `Change`; None where it is no assignment to one of the roles that can be worked out."""
    try:
        line = cst.parse_module(statement).body
    except cst.ParserSyntaxError:
        return None
    if len(line) != 1 or not isinstance(line[0], cst.SimpleStatementLine) or len(line[0].body) != 1:
        return None
    small = line[0].body[0]
    if not isinstance(small, cst.Assign) or len(small.targets) != 1:
        return None
    target = small.targets[0].target
    root: cst.BaseExpression = target
    while isinstance(root, cst.Subscript):
        root = root.value
    reads = names_in(small.value)
    if not isinstance(root, cst.Name) or root.value not in ROLES or reads is None:
        return None
    subscript = target if isinstance(target, cst.Subscript) else None
    return Change(root.value, small.value, reads, statement, subscript)


def names_in(node: cst.CSTNode) -> frozenset[str] | None:
    """The roles that an expression reads; None where it binds one of their names itself."""
    reader = _Substitution({})
    node.visit(reader)
    return None if reader.bound & set(ROLES) else frozenset(reader.read)


def substitute(node: cst.BaseExpression, values: Mapping[str, cst.BaseExpression]) -> cst.BaseExpression | None:
    """An expression with names replaced, and indexes into literals resolved; None where a literal lacks an index."""
    worker = _Substitution(values)
    done = node.visit(worker)
    if worker.failed or not isinstance(done, cst.BaseExpression):
        return None
    return _bare(done) if "\n" not in _EMPTY.code_for_node(done) else done


def fold(changes: list[Change], start: Mapping[str, cst.BaseExpression]) -> dict[str, cst.BaseExpression] | None:
    """What the roles are after all changes, as expressions of the script; None where that cannot be written."""
    now = dict(start)
    for change in changes:
        value = substitute(change.value, now)
        if value is None:
            return None
        if change.target is None:
            now[change.role] = value
            continue
        placed = _place(now[change.role], _keys(change.target), value)
        if placed is None:
            return None
        now[change.role] = placed
    return now


def repeats(node: cst.BaseExpression, parts: list[cst.BaseExpression]) -> bool:
    """True where one of `parts` stands more than once in `node`."""
    seen: dict[int, int] = {}
    bodies = {_EMPTY.code_for_node(_bare(p)): p for p in parts}

    class Parts(cst.CSTVisitor):
        def on_visit(self, node: cst.CSTNode) -> bool:
            if isinstance(node, cst.BaseExpression):
                found = bodies.get(_EMPTY.code_for_node(_bare(node)))
                if found is not None:
                    seen[id(found)] = seen.get(id(found), 0) + 1
                    return False
            return True

    node.visit(Parts())
    return any(n > 1 for n in seen.values())


def pure(node: cst.BaseExpression) -> bool:
    """True where evaluating twice is as good as once: names, attributes, and their items and slices."""
    if isinstance(node, cst.Attribute):
        return pure(node.value)
    if isinstance(node, cst.Subscript):
        inner = [e.slice for e in node.slice]
        return pure(node.value) and all(
            all(p is None or pure(p) for p in (s.lower, s.upper, s.step)) if isinstance(s, cst.Slice) else pure(s.value)
            for s in inner
            if isinstance(s, cst.Slice | cst.Index)
        )
    return isinstance(node, cst.Name | cst.BaseNumber | cst.Ellipsis) or is_constant(node)


def combined(changes: list[Change]) -> list[Change]:
    """The same changes, those joined into one that only alter entries of a literal which the one before them makes."""
    found: list[Change] = []
    for change in changes:
        one = _joined(found[-1], change) if found else None
        if one is not None:
            found[-1] = one
        else:
            found.append(change)
    return found


def _joined(first: Change, second: Change) -> Change | None:
    role, made = first.role, entries(first.value)
    alone = second.role == role and first.target is None and first.reads <= {role} and second.reads <= {role}
    if not alone or made is None:
        return None
    both = fold([first, second], {role: cst.Name(role)})
    if both is None or entries(both[role]) is None or repeats(both[role], [e for e in made.values() if not pure(e)]):
        return None
    return parse(f"{role} = {_EMPTY.code_for_node(both[role])}")


def already(change: Change, value: cst.BaseExpression) -> bool:
    """True where `value` is what the change makes: a literal with its very keys, and its arithmetic on the entries."""
    if change.target is not None:
        return False
    made, held = _made(change), entries(value)
    if made is None or held is None or not made.keys() <= held.keys():
        return False
    worked = {key: wild for key, node in made.items() if not isinstance(wild := _without_items(node), cst.Name)}
    if not all(_carried_out(wild, held[key]) for key, wild in worked.items()):
        return False
    if not isinstance(change.value, cst.Dict) or not isinstance(value, cst.Dict) or made.keys() != held.keys():
        return bool(worked) and _kind(change.value) is type(value)
    again = substitute(change.value, {change.role: value})
    wraps = any(isinstance(v, cst.Name) and v.value == change.role for v in made.values())
    return again is None or wraps or bool(worked)


def _carried_out(pattern: cst.BaseExpression, node: cst.BaseExpression) -> bool:
    """True where `node` is what the pattern makes of some expression, entry by entry where the pattern alters a dict."""
    merges = isinstance(pattern, cst.BinaryOperation) and isinstance(pattern.left, cst.Name)
    new = entries(pattern.right) if merges and isinstance(pattern.right, cst.Dict) else None  # type: ignore[attr-defined]
    held = entries(node)
    if new is None or held is None:
        return matches(pattern, node)
    return new.keys() <= held.keys() and all(_carried_out(wild, held[key]) for key, wild in new.items())


def _made(change: Change) -> dict[object, cst.BaseExpression] | None:
    """The entries that a change makes: those of its literal, or of the dict in ``y = y | {...}``."""
    value = change.value
    if isinstance(value, cst.BinaryOperation) and isinstance(value.operator, cst.BitOr):
        alone = isinstance(value.left, cst.Name) and value.left.value == change.role
        return entries(value.right) if alone and isinstance(value.right, cst.Dict) else None
    return entries(value)


def _kind(value: cst.BaseExpression) -> type[cst.BaseExpression]:
    return cst.Dict if isinstance(value, cst.BinaryOperation) else type(value)


def _without_items(node: cst.BaseExpression) -> cst.BaseExpression:
    """An expression with ``y['a'][0]`` replaced by ``y``."""

    class Items(cst.CSTTransformer):
        def leave_Subscript(self, original_node: cst.Subscript, updated_node: cst.Subscript) -> cst.BaseExpression:
            inner = updated_node.value
            named = isinstance(inner, cst.Name) and inner.value in ROLES
            return inner if named and _index(updated_node) is not None else updated_node

    done = node.visit(Items())
    assert isinstance(done, cst.BaseExpression)
    return done


def worked_on(change: Change) -> bool:
    """True where the change does more than to put the items that it reads elsewhere."""
    made = _made(change)
    return made is None or not all(isinstance(_without_items(node), cst.Name) for node in made.values())


def keys_made(change: Change) -> frozenset[object] | None:
    """The keys of the dict that a change makes; None where it makes no dict."""
    made = entries(change.value) if isinstance(change.value, cst.Dict) and change.target is None else None
    return None if made is None else frozenset(made)


def indexes(change: Change) -> set[type]:
    """The types of the constants that a change indexes its own role with: int for a list, str for a dict."""
    found: set[type] = set()

    class Items(cst.CSTVisitor):
        def visit_Subscript(self, node: cst.Subscript) -> None:
            index = _index(node)
            if isinstance(node.value, cst.Name) and node.value.value == change.role and index is not None:
                found.add(type(index[0]))

    change.value.visit(Items())
    return found


def reads(node: cst.CSTNode, name: str) -> bool:
    """True where an expression reads this name."""
    found: list[cst.Name] = []

    class Names(cst.CSTVisitor):
        def visit_Name(self, node: cst.Name) -> None:
            if node.value == name:
                found.append(node)

    node.visit(Names())
    return bool(found)


def misses(change: Change, value: cst.BaseExpression) -> bool:
    """True where the change reads an item that the literal `value` does not have."""
    worker = _Substitution({change.role: value})
    change.value.visit(worker)
    return worker.missed


def matches(pattern: cst.CSTNode, node: cst.CSTNode) -> bool:
    """True where `node` is `pattern` with any one expression for each role."""
    bound: dict[str, str] = {}

    def alike(one: object, other: object) -> bool:
        if isinstance(one, cst.Name) and one.value in ROLES and isinstance(other, cst.BaseExpression):
            code = _EMPTY.code_for_node(_bare(other))
            return bound.setdefault(one.value, code) == code
        if isinstance(one, cst.SimpleString) and isinstance(other, cst.SimpleString):
            return one.evaluated_value == other.evaluated_value
        if not isinstance(one, cst.CSTNode) or type(one) is not type(other):
            return False
        if not one.children:
            return _EMPTY.code_for_node(one).strip() == _EMPTY.code_for_node(other).strip()  # type: ignore[arg-type]
        mine, theirs = _meaning(one), _meaning(other)  # type: ignore[arg-type]
        return len(mine) == len(theirs) and all(alike(a, b) for a, b in zip(mine, theirs, strict=True))

    return alike(pattern, node)


def _meaning(node: cst.CSTNode) -> list[cst.CSTNode]:
    layout = (cst.BaseParenthesizableWhitespace, cst.Comma, cst.LeftParen, cst.RightParen)
    return [c for c in node.children if not isinstance(c, layout)]


def _keys(target: cst.Subscript) -> list[object] | None:
    keys: list[object] = []
    node: cst.BaseExpression = target
    while isinstance(node, cst.Subscript):
        key = _index(node)
        if key is None:
            return None
        keys.insert(0, key[0])
        node = node.value
    return keys


def _index(node: cst.Subscript) -> tuple[object] | None:
    if len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Index):
        value = node.slice[0].slice.value
        if is_constant(value):
            return (constant(value),)
    return None


def _place(node: cst.BaseExpression, keys: list[object] | None, value: cst.BaseExpression) -> cst.BaseExpression | None:
    """A literal with the item at `keys` replaced."""
    if keys is None or has_comment(node):
        return None
    if not keys:
        return value
    held = entries(node)
    if held is None or not isinstance(node, cst.List | cst.Tuple | cst.Dict):
        return None
    key = keys[0]
    if not isinstance(node, cst.Dict) and isinstance(key, int) and key < 0:
        key += len(held)
    if key not in held:
        return None
    inner = _place(held[key], keys[1:], value)
    if inner is None:
        return None
    at = list(held).index(key)
    changed = [e.with_changes(value=inner) if i == at else e for i, e in enumerate(node.elements)]
    return node.with_changes(elements=changed)


def _bare(node: cst.BaseExpression) -> cst.BaseExpression:
    """An expression without the parentheses that substitution put around it."""
    if isinstance(node, _BARE) and node.lpar and node.lpar[0] is _OPEN:
        return node.with_changes(lpar=node.lpar[1:], rpar=node.rpar[:-1])
    return node


def _merged(left: cst.Dict, right: cst.Dict) -> cst.Dict | None:
    """The literal that ``left | right`` is, in the layout of `left`; None where an entry is not known or new."""
    held, new = entries(left), entries(right)
    if held is None or new is None or not new.keys() <= held.keys():
        return None
    elements = [
        element.with_changes(value=new[constant(element.key)])
        if isinstance(element, cst.DictElement) and constant(element.key) in new
        else element
        for element in left.elements
    ]
    return left.with_changes(elements=elements)


class _Substitution(cst.CSTTransformer):
    def __init__(self, values: Mapping[str, cst.BaseExpression]) -> None:
        self.values = values
        self.read: list[str] = []
        self.bound: set[str] = set()
        self.failed = False
        self.missed = False
        self._skipped: set[int] = set()

    def visit_Attribute(self, node: cst.Attribute) -> None:
        self._skipped.add(id(node.attr))

    def visit_Arg(self, node: cst.Arg) -> None:
        self._skipped.add(id(node.keyword))

    def visit_Param(self, node: cst.Param) -> None:
        self._skipped.add(id(node.name))
        self.bound.add(node.name.value)

    def visit_CompFor(self, node: cst.CompFor) -> None:
        if isinstance(node.target, cst.Name):
            self.bound.add(node.target.value)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        if id(original_node) in self._skipped:
            return updated_node
        if original_node.value in ROLES:
            self.read.append(original_node.value)
        value = self.values.get(original_node.value)
        if value is None:
            return updated_node
        if isinstance(value, _ATOMS) or value.lpar:
            return value
        return value.with_changes(lpar=[_OPEN], rpar=[_CLOSE])

    def leave_Subscript(self, original_node: cst.Subscript, updated_node: cst.Subscript) -> cst.BaseExpression:
        if original_node.value is updated_node.value:
            return updated_node
        held, index = entries(updated_node.value), _index(updated_node)
        if held is None:
            self.failed |= isinstance(updated_node.value, cst.List | cst.Tuple | cst.Dict)
            return updated_node
        key = index[0] if index is not None else None
        if isinstance(key, int) and key < 0 and not isinstance(updated_node.value, cst.Dict):
            key += len(held)
        if index is None or key not in held:
            self.failed = True
            self.missed |= index is not None
            return updated_node
        value = held[key]
        if isinstance(value, _ATOMS) or value.lpar:
            return value
        return value.with_changes(lpar=[_OPEN], rpar=[_CLOSE])

    def leave_BinaryOperation(
        self, original_node: cst.BinaryOperation, updated_node: cst.BinaryOperation
    ) -> cst.BaseExpression:
        left, right = updated_node.left, updated_node.right
        merges = isinstance(updated_node.operator, cst.BitOr) and original_node.left is not left
        if merges and isinstance(left, cst.Dict) and isinstance(right, cst.Dict):
            return _merged(left, right) or updated_node
        return updated_node

    def leave_DictElement(self, original_node: cst.DictElement, updated_node: cst.DictElement) -> cst.DictElement:
        return updated_node.with_changes(value=_bare(updated_node.value))

    def leave_Element(self, original_node: cst.Element, updated_node: cst.Element) -> cst.Element:
        return updated_node.with_changes(value=_bare(updated_node.value))

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        return updated_node.with_changes(value=_bare(updated_node.value))
