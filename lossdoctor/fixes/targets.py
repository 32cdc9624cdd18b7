"""The data of a script's `fit`, `evaluate` and batch calls, rewritten where they are passed or assigned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import libcst as cst
from libcst.metadata import Assignment

from lossdoctor.fixes import statements
from lossdoctor.fixes.data_calls import METHODS, arguments, method_of
from lossdoctor.fixes.forms import Form, dataset_form, form_of
from lossdoctor.fixes.literals import entries, has_comment, key_in_place, parts
from lossdoctor.fixes.script import Place, Script, assigned_before, same
from lossdoctor.fixes.statements import Change

ADAPT = "adapt_batch"
_COPY = "keras.tree.map_structure(lambda leaf: leaf, {})"


@dataclass
class _Temporary:
    """A name that holds adapted data, and where it was assigned."""

    name: str
    place: Place
    at: int


@dataclass
class Targets:
    """The data statements of an edit, and what placing them in one script needs: names, imports, `adapt_batch`."""

    script: Script
    changes: list[Change]
    calls: list[cst.Call]
    adapt: str = ADAPT
    needs_adapt: list[cst.Call] = field(default_factory=list)
    needs_keras: bool = False
    _temporaries: dict[tuple[object, ...], _Temporary] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _done: set[int] = field(default_factory=set)

    def rewrite(self) -> None:
        """Adapt every call's data, in the order written."""
        self._taken = set(self.script.names)
        for call in self.calls:
            self._call(call)

    def _call(self, call: cst.Call) -> None:
        method = method_of(call)
        given = arguments(call, METHODS[method])
        if given is not None:
            given = {r: n for r, n in given.items() if not _is_none(n)}
        where = f"line {self.script.line(call)}"
        starred = [a for a in call.args if a.star]
        if given is None:
            self._starred(call, starred[0], where)
            return
        if method.startswith("predict"):
            if all(c.role == "x" and c.reads <= {"x"} for c in self.changes if c.role == "x"):
                self._slots(call, {r: n for r, n in given.items() if r == "x"}, where, missing=False)
            return
        if "x" in given and "y" not in given:
            self._dataset(call, given["x"], where)
        elif "y" in given:
            self._slots(call, {r: n for r, n in given.items() if r in statements.ROLES}, where, missing=True)
        elif not given:
            self.script.leave(f"The data of {method} in {where} were not found; {self._by_hand()}")
        if "validation_data" in given:
            self._validation(call, given["validation_data"], dataset="y" not in given)

    def _by_hand(self) -> str:
        return f"before it do: {'; '.join(c.code for c in self.changes)}"

    def _starred(self, call: cst.Call, arg: cst.Arg, where: str) -> None:
        """`fit(*batch)`: the whole tuple goes through `adapt_batch`."""
        alone = arg.star == "*" and sum(a.keyword is None for a in call.args) == 1
        if not alone or any(a.keyword is not None and a.keyword.value in statements.ROLES for a in call.args):
            code = self.script.code(arg.value)
            self.script.leave(f"The data in {where} come out of {arg.star}{code}; {self._by_hand()}")
            return
        if self._adapted(arg.value):
            self.script.already.append(f"y in {where}")
        elif not self._differs("y", self._second(arg.value), self.script.code(arg.value), where):
            start, end = self.script.span(arg.value)
            self.script.splice(start, start, f"{self.adapt}(*")
            self.script.splice(end, end, ")")
            self.needs_adapt.append(call)

    def _adapted(self, node: cst.BaseExpression) -> bool:
        """True for what an earlier rewrite made: `adapt_batch(...)` or `data.map(adapt_batch)`."""
        if not isinstance(node, cst.Call):
            return False
        named = [node.func, *(a.value for a in node.args)]
        return any(isinstance(n, cst.Name) and n.value.startswith(ADAPT) for n in named)

    def _second(self, node: cst.BaseExpression) -> Form | None:
        """What y is in a name for a tuple ``(x, y)``."""
        bound = self.script.literal_binding(node) if isinstance(node, cst.Name) else None
        held = entries(bound[1]) if bound is not None and isinstance(bound[1], cst.Tuple) else None
        return form_of(self.script, held[1]) if held is not None and len(held) > 1 else None

    def _differs(self, role: str, form: Form | None, code: str, where: str) -> bool:
        """Whether the script's data have another form than those that the changes take apart; notes that they are left."""
        changes = [c for c in self.changes if c.role == role]
        if form is None or not changes:
            return False
        first, taken = changes[0], statements.indexes(changes[0])
        if not (str in taken if form.kind == "sequence" else int in taken):
            return False
        made = statements.keys_made(first)
        if form.kind == "dict" and made is not None and form.keys in (None, made) and not statements.worked_on(first):
            self.script.already.append(f"{role} in {where}")
        else:
            self._another_form(role, code, where)
        return True

    def _another_form(self, role: str, code: str, where: str) -> None:
        line = code.split(self.script.newline)[0]
        self.script.leave(f"{role}={line} in {where} has not the form that was examined; it was left as it is.")

    def _dataset(self, call: cst.Call, node: cst.BaseExpression, where: str) -> None:
        """Data that hold their own targets: mapped where they have a name."""
        code = self.script.code(node)
        if self._adapted(node):
            self.script.already.append(f"y in {where}")
            return
        if self._differs("y", dataset_form(self.script, node), code, where):
            return
        if not isinstance(node, cst.Name) or method_of(call) not in ("fit", "evaluate"):
            self.script.leave(
                f"The targets in {where} come out of {code}; there, for every batch: {'; '.join(c.code for c in self.changes)}"
            )
            return
        end = self.script.span(node)[1]
        self.script.splice(end, end, f".map({self.adapt})")
        self.needs_adapt.append(call)
        self.script.notes.append(
            f"{code}.map({self.adapt}) in {where} works where {code} is a tf.data.Dataset; other data must call {self.adapt} themselves."
        )

    def _validation(self, call: cst.Call, node: cst.BaseExpression, *, dataset: bool) -> None:
        where = f"line {self.script.line(node)}"
        anchor: cst.CSTNode = call
        tuple_ = node
        if isinstance(node, cst.Name):
            bound = self.script.literal_binding(node)
            if bound is not None and len(self.script.references(node)) == 1 and isinstance(bound[1], cst.Tuple):
                anchor, tuple_ = bound[1], bound[1]
        held = entries(tuple_) if isinstance(tuple_, cst.Tuple | cst.List) else None
        if held is not None and len(held) in (2, 3):
            slots = dict(zip(statements.ROLES, held.values(), strict=False))
            self._slots(anchor, slots, where, missing=False)
        elif dataset and isinstance(node, cst.Name):
            self._dataset(call, node, where)
        elif not self._adapted(node):
            code = self.script.code(node)
            self.script.leave(
                f"validation_data={code} in {where} was left as it is; its targets need the same: {'; '.join(c.code for c in self.changes)}"
            )

    def _slots(self, anchor: cst.CSTNode, slots: dict[str, cst.BaseExpression], where: str, *, missing: bool) -> None:
        """Adapt expressions for x, y and sample_weight; statements go before the one that holds `anchor`."""
        slots = {r: n for r, n in slots.items() if not _is_none(n)}
        place = self.script.place(anchor)
        changes = [
            c for c in self.changes if c.reads <= slots.keys() and (c.role in slots or (missing and c.target is None))
        ]
        for role in sorted({c.role for c in changes} & slots.keys()):
            mine, code = [c for c in changes if c.role == role], self.script.code(slots[role])
            if self._is_done(role, slots[role], mine, place):
                self.script.already.append(f"{role} in {where}")
            elif statements.misses(mine[0], slots[role]):
                self._another_form(role, code, where)
            elif not self._differs(role, form_of(self.script, slots[role]), code, where):
                continue
            changes = [c for c in changes if c.role != role]
        roles = [r for r in statements.ROLES if any(c.role == r for c in changes)]
        if all(c.reads <= {c.role} and c.role in slots for c in changes):
            for role in roles:
                self._role(role, slots[role], [c for c in changes if c.role == role], place, where)
        elif roles:
            self._together(anchor, slots, changes, place, where)

    def _is_done(self, role: str, node: cst.BaseExpression, changes: list[Change], place: Place) -> bool:
        """True where an earlier rewrite has made these changes."""
        last = changes[-1]
        if statements.already(last, node):
            return True
        if not isinstance(node, cst.Name):
            return False
        bound = self.script.literal_binding(node)
        if bound is not None and statements.already(last, bound[1]):
            return True
        value = assigned_before(self.script, node, place)
        if value is None:
            return False
        if statements.already(last, value):
            return True
        ours = re.search(r"_adapted(_\d+)?$", node.value) is not None
        # Before the call, ``y = y[..., None]`` is what an earlier rewrite put there.
        return (ours and last.target is not None) or (
            (ours or statements.reads(value, node.value)) and statements.matches(last.value, value)
        )

    def _role(self, role: str, node: cst.BaseExpression, changes: list[Change], place: Place, where: str) -> None:
        """One role whose changes read nothing else."""
        if isinstance(node, cst.Name):
            if not self._at_assignment(role, node, changes) and not self._rebind(role, node, changes, place):
                self._temporary(role, node, changes, place, where)
            return
        literal = entries(node) is not None and not isinstance(node, cst.Name)
        if literal and self._literal(role, node, changes):
            return
        folded = statements.fold(changes, {role: node})
        if (
            folded is not None
            and not literal
            and not has_comment(node)
            and not statements.repeats(folded[role], [node])
        ):
            self._put(node, folded[role])
            return
        self._temporary(role, node, changes, place, where)

    def _literal(self, role: str, node: cst.BaseExpression, changes: list[Change]) -> bool:
        """Change a literal where it stands. False where its comments, or parts used twice, forbid it."""
        keys = _keys_in_order(role, changes)
        if keys is not None and key_in_place(self.script, node, keys):
            return True
        folded = statements.fold(changes, {role: node})
        if folded is None:
            return False
        new = folded[role]
        aligned = parts(node, new) is not None
        elements = [e for e in (entries(node) or {}).values() if not statements.pure(e)]
        if (has_comment(node) and not aligned) or statements.repeats(new, elements):
            return False
        self._put_parts(node, new)
        return True

    def _put_parts(self, old: cst.BaseExpression, new: cst.BaseExpression) -> None:
        """Put `new` in the place of `old`, entry by entry where both are literals of one form."""
        if same(self.script.code(old), self.script.code(new)):
            return
        inner = parts(old, new)
        if inner is None or isinstance(old, cst.Call):
            self._put(old, new)
            return
        for one, other in inner:
            self._put_parts(one, other)

    def _put(self, node: cst.BaseExpression, new: cst.BaseExpression) -> None:
        self.script.splice(*self.script.span(node), self.script.code(new))

    def _at_assignment(self, role: str, name: cst.Name, changes: list[Change]) -> bool:
        """Change the literal that a name is assigned, where nothing but these calls reads the name."""
        bound = self.script.literal_binding(name)
        if bound is None or entries(bound[1]) is None or _annotated(self.script, name):
            return False
        if id(bound[1]) in self._done:
            return True
        given = {id(n) for call in self.calls for n in self._passed(call, role)}
        if not all(id(r) in given for r in self.script.references(name)) or not self._literal(role, bound[1], changes):
            return False
        self._done.add(id(bound[1]))
        return True

    def _passed(self, call: cst.Call, role: str) -> list[cst.BaseExpression]:
        """The expressions that a call gives for a role, in validation_data too."""
        given = arguments(call, METHODS[method_of(call)]) or {}
        found = [given[role]] if role in given and ("y" in given or role != "x") else []
        held = given.get("validation_data")
        if isinstance(held, cst.Tuple) and entries(held) is not None:
            found += [n for r, n in zip(statements.ROLES, (entries(held) or {}).values(), strict=False) if r == role]
        return found

    def _rebind(self, role: str, name: cst.Name, changes: list[Change], place: Place) -> bool:
        """Assign the name anew before the statement, where it is local and nothing else reads it."""
        script = self.script
        if place.offset is None or any(c.target is not None for c in changes):
            return False
        bound = script.assignments(name)
        if not bound or [id(r) for r in script.references(name)] != [id(name)]:
            return False
        if any(a.scope is not script.scope(name) for a in bound) or _annotated(script, name):
            return False
        if script.loop(name) is not None and not self._fresh_in_loop(name, bound):
            return False
        self._emit([role], {role: name}, {role: name.value}, changes, place)
        return True

    def _fresh_in_loop(self, name: cst.Name, bound: list[Assignment]) -> bool:
        """True where each turn of the loop binds the name before it is used."""
        script, loop = self.script, self.script.loop(name)
        if len(bound) != 1:
            return False
        node = bound[0].node
        if isinstance(loop, cst.For) and node in (loop.target, *getattr(loop.target, "children", ())):
            return True
        if isinstance(loop, cst.For) and any(p is loop.target for p in script.parents(node)):
            return True
        if script.loop(node) is not loop or script.span(node)[0] > script.span(name)[0]:
            return False
        block = script.place(node).block
        return any(p is block for p in script.parents(name))

    def _temporary(self, role: str, node: cst.BaseExpression, changes: list[Change], place: Place, where: str) -> None:
        """Give the adapted data a name of their own, and pass that."""
        script = self.script
        code = script.code(node)
        if place.offset is None:
            folded = statements.fold(changes, {role: node})
            if folded is not None and statements.pure(node):
                self._put(node, folded[role])
            else:
                script.leave(f"{role}={code} in {where} could not be changed there; {self._by_hand()}")
            return
        start, end = script.span(node)
        key = (id(script.scope(node)), role, code)
        earlier = self._temporaries.get(key)
        if earlier is not None and self._still_holds(node, earlier):
            script.splice(start, end, earlier.name)
            return
        name = earlier.name if earlier is not None else self._name(role, node)
        self._temporaries[key] = _Temporary(name, place, start)
        self._emit([role], {role: node}, {role: name}, changes, place)
        script.splice(start, end, name)

    def _still_holds(self, node: cst.BaseExpression, earlier: _Temporary) -> bool:
        """True where the temporary assigned earlier is the one to use here."""
        script = self.script
        if not isinstance(node, cst.Name) or not script.assignments(node):
            return False
        for bound in script.assignments(node):
            if bound.scope is script.scope(node) and script.span(bound.node)[0] > earlier.at:
                return False
        return any(p is earlier.place.block for p in self.script.parents(node))

    def _name(self, role: str, node: cst.BaseExpression) -> str:
        base = node.value if isinstance(node, cst.Name) else role
        name = f"{base}_adapted"
        count = 2
        while name in self._taken:
            name, count = f"{base}_adapted_{count}", count + 1
        self._taken.add(name)
        return name

    def _emit(
        self,
        roles: list[str],
        start: Mapping[str, cst.BaseExpression],
        names: Mapping[str, str],
        changes: list[Change],
        place: Place,
    ) -> None:
        """Put the changes before the statement at `place`; each role's result gets the name in `names`."""
        now = dict(start)
        lines: list[str] = []
        code_of = self.script.code
        for role, node in start.items():
            in_place = _first_in_place(role, changes)
            if role in roles and (not statements.pure(node) or in_place):
                code = code_of(node)
                if in_place and entries(node) is None:
                    code, self.needs_keras = _COPY.format(code), True
                lines.append(f"{names[role]} = {_enclosed(code, node)}")
                now[role] = cst.Name(names[role])
        for change in changes:
            value = statements.substitute(change.value, now)
            code = code_of(value if value is not None else change.value)
            target = names[change.role]
            if change.target is not None:
                moved = statements.substitute(change.target, now)
                target = code_of(moved if moved is not None else change.target)
            lines.append(f"{target} = {code}")
            if change.target is None:
                now[change.role] = cst.Name(names[change.role])
        self.script.insert_before(place, lines)

    def _together(
        self, anchor: cst.CSTNode, slots: dict[str, cst.BaseExpression], changes: list[Change], place: Place, where: str
    ) -> None:
        """Changes that read several roles: every role read or changed gets a name where it has none."""
        script = self.script
        if place.offset is None:
            script.leave(f"The data in {where} could not be changed there; {self._by_hand()}")
            return
        changed = list(dict.fromkeys(c.role for c in changes))
        read = {r for c in changes for r in c.reads} | (set(changed) & slots.keys())
        now: dict[str, cst.BaseExpression] = {}
        names: dict[str, str] = {}
        for role in (r for r in statements.ROLES if r in read or r in changed):
            node = slots.get(role)
            names[role] = self._name(role, node if node is not None else cst.Name(role))
            if node is not None:
                now[role] = node
                if role not in changed and not statements.pure(node):
                    changed = [role, *changed]
        self._emit(changed, now, names, changes, place)
        for role in changed:
            if role in slots:
                script.splice(*script.span(slots[role]), names[role])
            elif isinstance(anchor, cst.Call):
                last = script.span(anchor.args[-1])[1]
                script.splice(last, last, f", {role}={names[role]}")


def _is_none(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Name) and node.value == "None"


def _keys_in_order(role: str, changes: list[Change]) -> list[str] | None:
    """The keys of the one change `role = {k: role[0], l: role[1], ...}`, as code."""
    if len(changes) != 1 or changes[0].target is not None or not isinstance(changes[0].value, cst.Dict):
        return None
    empty = cst.Module([])
    keys = []
    for place, element in enumerate(changes[0].value.elements):
        if not isinstance(element, cst.DictElement) or empty.code_for_node(element.value) != f"{role}[{place}]":
            return None
        keys.append(empty.code_for_node(element.key))
    return keys


def _first_in_place(role: str, changes: list[Change]) -> bool:
    """True where the first change sets an item of the container that the person made."""
    return next((c.target is not None for c in changes if c.role == role), False)


def _annotated(script: Script, name: cst.Name) -> bool:
    """True where the name has a type, which another container would break."""
    for found in script.assignments(name):
        above = script.parent(found.node) if isinstance(found.node, cst.Name) else found.node
        if getattr(above, "annotation", None) is not None:
            return True
    return False


def _enclosed(code: str, node: cst.BaseExpression) -> str:
    """Code that stands on its own: in parentheses where it breaks over lines without any."""
    bracketed = node.lpar or isinstance(node, cst.List | cst.Dict | cst.Set)
    return code if "\n" not in code or bracketed else f"({code})"
