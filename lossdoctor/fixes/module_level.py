"""What an edit brings to a script's top level: imports that are missing, functions and classes."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from lossdoctor.fixes.script import Script, Splice, same


def split(definitions: str) -> list[tuple[str, str]]:
    """The top-level statements of some code, each with the name that it binds ("" for none)."""
    module = cst.parse_module(definitions.strip() + "\n") if definitions.strip() else cst.Module([])
    return [(_bound(statement), module.code_for_node(statement).strip("\r\n")) for statement in module.body]


def _bound(statement: cst.CSTNode) -> str:
    if isinstance(statement, cst.FunctionDef | cst.ClassDef):
        return statement.name.value
    if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1:
        small = statement.body[0]
        if isinstance(small, cst.Assign) and isinstance(small.targets[0].target, cst.Name):
            return small.targets[0].target.value
    return ""


def renamed(code: str, names: dict[str, str]) -> str:
    """Code with names replaced (not attributes, not keywords of calls)."""
    return cst.parse_module(code).visit(_Renaming(names)).code if names else code


class _Renaming(cst.CSTTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names
        self._skipped: set[int] = set()

    def visit_Attribute(self, node: cst.Attribute) -> None:
        self._skipped.add(id(node.attr))

    def visit_Arg(self, node: cst.Arg) -> None:
        self._skipped.add(id(node.keyword))

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        new = self.names.get(original_node.value)
        if new is None or id(original_node) in self._skipped:
            return updated_node
        return cst.parse_expression(new)


def clashes(script: Script, definitions: Sequence[tuple[str, str]]) -> dict[str, str]:
    """New names for definitions whose name the script uses for something else."""
    held = dict(_top_level(script))
    taken = script.names
    found = {}
    for name, code in definitions:
        count, new = 2, name
        while new in taken and not (new in held and same(held[new], renamed(code, {name: new} if new != name else {}))):
            new, count = f"{name}_{count}", count + 1
        if new != name:
            found[name] = new
    return found


def _top_level(script: Script) -> list[tuple[str, str]]:
    return [(name, script.code(s)) for s in script.module.body if (name := _bound(s))]


def define(script: Script, definitions: Sequence[tuple[str, str]], users: Sequence[cst.CSTNode]) -> None:
    """Put definitions that are not there yet before the first top-level statement that uses them."""
    held = dict(_top_level(script))
    missing = [code for name, code in definitions if not (name in held and same(held[name], code))]
    if not missing or not users:
        return
    first = min(script.top_level(u) for u in users)
    node = script.module.body[first]
    start = script.line_start(_start(script, node))
    floor = script.next_line(script.span(script.module.body[first - 1])[1]) if first else _header_end(script)
    while start > floor:  # comments right above the statement stay with it
        above = script.line_start(_before(script, start))
        if above < floor or not script.text(above, start).lstrip(" \t").startswith("#"):
            break
        start = above
    blank = 0
    at = start
    while at > 0:
        above = script.line_start(_before(script, at))
        if script.text(above, at).strip():
            break
        blank, at = blank + 1, above
    lines = ("\n\n\n".join(script.styled(c).replace(script.newline, "\n") for c in missing)).split("\n")
    body = script.newline.join(_indented(line, script.module.default_indent) for line in lines)
    gap = script.newline * max(0, 2 - blank) if at > 0 else ""
    script.splices.insert(0, _splice(start, gap + body + script.newline * 3))


def _start(script: Script, node: cst.CSTNode) -> int:
    """Where a top-level statement starts, with its decorators."""
    decorators = getattr(node, "decorators", ())
    return script.span(decorators[0] if decorators else node)[0]


def _before(script: Script, start: int) -> int:
    """The end of the line above the line that starts at `start`."""
    end = start - 1
    return end - 1 if script.data[end - 1 : end + 1] == b"\r\n" else end


def _header_end(script: Script) -> int:
    """The byte after the shebang and encoding lines."""
    at = 0
    while script.text(at, script.line_end(at)).startswith(("#!", "# -*-", "# coding", "#coding")):
        if script.next_line(at) == at:
            break
        at = script.next_line(at)
    return at


def _indented(line: str, unit: str) -> str:
    depth = (len(line) - len(line.lstrip(" "))) // 4
    return unit * depth + line[4 * depth :]


def add_imports(script: Script, imports: Sequence[str], users: Sequence[cst.CSTNode]) -> None:
    """Put imports that are missing after the last top-level import before the first user."""
    first = min(script.top_level(u) for u in users)
    body = script.module.body
    held = {name for statement in body[:first] for name in _imports(statement)}
    kept = list(dict.fromkeys(i.strip() for i in imports))
    missing = [code for code in kept if not _imports(cst.parse_module(code).body[0]) <= held]
    if not missing:
        return
    text = "".join(script.styled(code) + script.newline for code in missing)
    last = max((i for i in range(first) if _is_import(body[i])), default=None)
    if last is not None and not _is_future(body[last]):
        at = script.next_line(script.span(body[last])[1])
        script.splices.insert(0, _splice(at, text))
        return
    if last is None and first and _is_docstring(body[0]):
        last = 0
    if last is not None:
        at = script.next_line(script.span(body[last])[1])
        following = script.text(at, script.line_end(at)).strip()
        script.splices.insert(0, _splice(at, script.newline + text + (script.newline if following else "")))
        return
    at = _header_end(script)
    while script.text(at, script.line_end(at)).startswith("#"):
        at = script.next_line(at)
    following = script.text(at, script.line_end(at)).strip()
    script.splices.insert(0, _splice(at, (script.newline if at else "") + text + (script.newline if following else "")))


def _splice(at: int, text: str) -> Splice:
    return Splice(at, at, text)


def _imports(statement: cst.CSTNode) -> set[str]:
    """The names that a top-level statement imports, in a `try` or `if` too (not under TYPE_CHECKING)."""
    found: set[str] = set()

    class Imports(cst.CSTVisitor):
        def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
            return False

        def visit_ClassDef(self, node: cst.ClassDef) -> bool:
            return False

        def visit_If(self, node: cst.If) -> bool:
            return "TYPE_CHECKING" not in cst.Module([]).code_for_node(node.test)

        def visit_ImportAlias(self, node: cst.ImportAlias) -> None:
            name: cst.BaseExpression = node.asname.name if node.asname is not None else node.name  # type: ignore[assignment]
            while isinstance(name, cst.Attribute):
                name = name.value
            if isinstance(name, cst.Name):
                found.add(name.value)

    statement.visit(Imports())
    return found


def _is_import(statement: cst.CSTNode) -> bool:
    return isinstance(statement, cst.SimpleStatementLine) and any(
        isinstance(small, cst.Import | cst.ImportFrom) for small in statement.body
    )


def _is_future(statement: cst.CSTNode) -> bool:
    small = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else None
    module = small.module if isinstance(small, cst.ImportFrom) else None
    return isinstance(module, cst.Name) and module.value == "__future__"


def _is_docstring(statement: cst.CSTNode) -> bool:
    small = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else None
    return isinstance(small, cst.Expr) and isinstance(small.value, cst.SimpleString | cst.ConcatenatedString)
