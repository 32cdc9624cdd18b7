"""A user's script as LibCST reads it, and changes as splices of its bytes, so that every other byte stays."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import libcst as cst
from libcst.metadata import (
    Assignment,
    ByteSpanPositionProvider,
    ImportAssignment,
    MetadataWrapper,
    ParentNodeProvider,
    PositionProvider,
    Scope,
    ScopeProvider,
)

from lossdoctor.types import CaseError

_LOOPS = (cst.For, cst.While)
_COMPREHENSIONS = (cst.Lambda, cst.BaseComp, cst.CompFor)


@dataclass(frozen=True)
class Splice:
    """Bytes `start` to `end` of the source become `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Place:
    """The statement that holds a call, and where a statement can be put before it.

    `offset` is None where none can be put (the call stands in a lambda, a comprehension, a `while` or an `elif`).
    `head` and `tail` enclose every inserted statement.
    """

    block: cst.CSTNode
    offset: int | None
    head: str = ""
    tail: str = ""


@dataclass(eq=False)
class Script:
    """A parsed script, its metadata, and the splices made so far. Offsets are bytes of the UTF-8 source.

    `quote` is the quote that most strings have, `calls` all calls in the order written, `names` every name used. `left` holds
    those of the `notes` that tell what the person still has to do, `already` the places that have the change already.
    """

    source: str
    path: str
    module: cst.Module
    data: bytes
    _metadata: Any
    quote: str
    newline: str
    calls: Sequence[cst.Call]
    names: frozenset[str]
    splices: list[Splice] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)

    def leave(self, sentence: str) -> None:
        """Note what could not be placed and is left to the person."""
        self.notes.append(sentence)
        self.left.append(sentence)

    def code(self, node: cst.CSTNode) -> str:
        return self.module.code_for_node(node)

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        return self._metadata[ParentNodeProvider].get(node)  # type: ignore[no-any-return]

    def parents(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """The nodes around `node`, innermost first."""
        above = self.parent(node)
        while above is not None:
            yield above
            above = self.parent(above)

    def span(self, node: cst.CSTNode) -> tuple[int, int]:
        """Where a node starts and ends, with the parentheses around it."""
        at = self._metadata[ByteSpanPositionProvider][node]
        outer = node if isinstance(node, cst.BaseExpression) else cst.Name("_")
        before = "".join(self.code(p) for p in outer.lpar)
        after = "".join(self.code(p) for p in outer.rpar)
        return at.start - len(before.encode()), at.start + at.length + len(after.encode())

    def line(self, node: cst.CSTNode) -> int:
        """The line that a node starts in, from 1."""
        return self._metadata[PositionProvider][node].start.line  # type: ignore[no-any-return]

    def scope(self, node: cst.CSTNode) -> Scope | None:
        return self._metadata[ScopeProvider].get(node)  # type: ignore[no-any-return]

    def text(self, start: int, end: int) -> str:
        return self.data[start:end].decode()

    def line_start(self, offset: int) -> int:
        return max(self.data.rfind(b"\n", 0, offset), self.data.rfind(b"\r", 0, offset)) + 1

    def line_end(self, offset: int) -> int:
        """Where the line of `offset` ends, before its newline."""
        ends = [at for mark in (b"\n", b"\r") if (at := self.data.find(mark, offset)) >= 0]
        return min(ends, default=len(self.data))

    def next_line(self, offset: int) -> int:
        """Where the line after that of `offset` starts."""
        end = self.line_end(offset)
        return min(end + (2 if self.data[end : end + 2] == b"\r\n" else 1), len(self.data))

    def begins_line(self, offset: int) -> bool:
        return not self.text(self.line_start(offset), offset).strip()

    def indent(self, offset: int) -> str:
        """The white space that the line of `offset` starts with."""
        line = self.text(self.line_start(offset), self.line_end(offset))
        return line[: len(line) - len(line.lstrip(" \t"))]

    def splice(self, start: int, end: int, text: str) -> None:
        """Replace bytes `start` to `end` in the result."""
        self.splices.append(Splice(start, end, text))

    def insert_before(self, place: Place, statements: Sequence[str]) -> None:
        """Put statements before the one at `place`."""
        assert place.offset is not None
        for statement in statements:
            self.splice(place.offset, place.offset, place.head + statement + place.tail)

    def styled(self, code: str) -> str:
        """Code to insert, with the quotes and newlines of the script."""
        text = cst.parse_module(code.replace("\r\n", "\n")).visit(_Quotes(self.quote)).code
        return text.replace("\n", self.newline)

    def inline(self, code: str, indent: str) -> str:
        """An expression to insert into a call; its further lines are indented."""
        text = self.styled(code.strip())
        return text if '"""' in text or "'''" in text else text.replace(self.newline, self.newline + indent)

    def result(self) -> str:
        """The source with all splices made. Raises `CaseError` where two of them meet."""
        parts, at = [], 0
        for s in sorted(self.splices, key=lambda s: (s.start, s.end)):
            if s.start < at and s.text:
                raise CaseError(f"{self.path} nests the calls that must change; edit it by hand.")
            parts += [self.text(at, max(s.start, at)), s.text]
            at = max(s.end, at)
        return "".join([*parts, self.text(at, len(self.data))])

    def place(self, node: cst.CSTNode) -> Place:
        """Where statements can be put before the statement that holds `node`."""
        blocked, below = False, node
        for above in self.parents(node):
            if isinstance(above, _COMPREHENSIONS):
                blocked = True
            if isinstance(above, cst.BaseSmallStatement):
                line = self.parent(above)
                assert line is not None
                block = self.parent(line) if isinstance(line, cst.SimpleStatementLine) else line
                assert block is not None
                start = self.span(above)[0]
                first = isinstance(line, cst.SimpleStatementLine) and line.body[0] is above
                start = self._opening(start) if first else start
                if blocked:
                    return Place(block, None)
                if first and self.begins_line(start):
                    return Place(block, self.line_start(start), self.indent(start), self.newline)
                return Place(block, start, "", "; ")
            if isinstance(above, cst.BaseCompoundStatement):
                block = self.parent(above)
                assert block is not None
                header = isinstance(above, cst.For | cst.With) or (isinstance(above, cst.If) and not _is_elif(block))
                if blocked or not header or below is getattr(above, "orelse", None):
                    return Place(block, None)
                start = self.line_start(self.span(above)[0])
                return Place(block, start, self.indent(start), self.newline)
            below = above
        return Place(self.module, None)

    def _opening(self, start: int) -> int:
        """`start`, moved before parentheses that open on the same line."""
        head = self.text(self.line_start(start), start)
        return self.line_start(start) + len(head) - len(head.lstrip(" \t")) if not head.strip(" \t(") else start

    def function(self, node: cst.CSTNode) -> cst.FunctionDef | None:
        return next((p for p in self.parents(node) if isinstance(p, cst.FunctionDef)), None)

    def loop(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """The innermost loop around `node` within its function."""
        for above in self.parents(node):
            if isinstance(above, cst.FunctionDef):
                return None
            if isinstance(above, _LOOPS):
                return above
        return None

    def top_level(self, node: cst.CSTNode) -> int:
        """The index of the module's statement that holds `node`."""
        held = {id(node), *(id(p) for p in self.parents(node))}
        return next(i for i, statement in enumerate(self.module.body) if id(statement) in held)

    def literal_binding(self, name: cst.Name) -> tuple[Assignment, cst.BaseExpression] | None:
        """The one plain assignment of a name in its own scope before its use, and the value assigned."""
        found = self.assignments(name)
        if len(found) != 1 or isinstance(found[0], ImportAssignment):
            return None
        node = found[0].node
        statement = next((p for p in self.parents(node) if isinstance(p, cst.BaseSmallStatement)), None)
        if isinstance(statement, cst.Assign) and len(statement.targets) == 1 and statement.targets[0].target is node:
            value: cst.BaseExpression | None = statement.value
        elif isinstance(statement, cst.AnnAssign) and statement.target is node:
            value = statement.value
        else:
            return None
        if value is None or found[0].scope is not self.scope(name) or self.span(statement)[0] > self.span(name)[0]:
            return None
        return found[0], value

    def assignments(self, name: cst.Name) -> list[Assignment]:
        """What a name may be bound by, where it is used."""
        scope = self.scope(name)
        return [a for a in scope[name.value] if isinstance(a, Assignment)] if scope is not None else []

    def references(self, name: cst.Name) -> list[cst.CSTNode]:
        """Every place that reads what `name` reads."""
        seen = {id(a.node): a.node for found in self.assignments(name) for a in found.references}
        return list(seen.values())


class _Quotes(cst.CSTTransformer):
    def __init__(self, quote: str) -> None:
        self.quote = quote

    def visit_FormattedString(self, node: cst.FormattedString) -> bool:
        return False

    def leave_SimpleString(self, original_node: cst.SimpleString, updated_node: cst.SimpleString) -> cst.SimpleString:
        body = updated_node.raw_value
        if len(updated_node.quote) == 3 or any(mark in body for mark in "'\"\\"):
            return updated_node
        return updated_node.with_changes(value=f"{updated_node.prefix}{self.quote}{body}{self.quote}")


def read(source: str, path: str) -> Script:
    """A script from its text. Raises `CaseError` with the line where it is not Python."""
    source = source.removeprefix("\ufeff")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
        module = cst.parse_module(source)
        metadata = MetadataWrapper(module, unsafe_skip_copy=True).resolve_many(
            {ByteSpanPositionProvider, ScopeProvider, ParentNodeProvider, PositionProvider}
        )
        kept = module.code == source
        seen = _Survey()
        module.visit(seen)
    except SyntaxError as error:
        raise CaseError(
            f"{path}, line {error.lineno}, is not valid Python ({error.msg}){_magic(error.text)}; correct it first."
        ) from error
    except cst.ParserSyntaxError as error:
        raise CaseError(f"{path}, line {error.raw_line}, cannot be parsed; correct it first.") from error
    except (RecursionError, MemoryError, ValueError) as error:
        raise CaseError(f"{path} cannot be read as Python ({error}); edit it by hand.") from error
    if not kept:
        raise CaseError(f"{path} cannot be rewritten without changing other lines; edit it by hand.")
    quote = "'" if seen.quotes["'"] > seen.quotes['"'] else '"'
    return Script(
        source,
        path,
        module,
        source.encode(),
        metadata,
        quote,
        module.default_newline,
        seen.calls,
        frozenset(seen.names),
    )


def _magic(line: str | None) -> str:
    return ", a notebook command" if line and line.lstrip()[:1] in ("%", "!") else ""


class _Survey(cst.CSTVisitor):
    """What is asked of a whole script, in one walk."""

    def __init__(self) -> None:
        self.calls: list[cst.Call] = []
        self.names: set[str] = set()
        self.quotes = {'"': 0, "'": 0}

    def visit_Call(self, node: cst.Call) -> None:
        self.calls.append(node)

    def visit_Name(self, node: cst.Name) -> None:
        self.names.add(node.value)

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        if len(node.quote) == 1:
            self.quotes[node.quote] += 1


def assigned_before(script: Script, name: cst.Name, place: Place) -> cst.BaseExpression | None:
    """What the last plain assignment of a name in the same block, before the statement, gives it."""
    around = [id(p) for p in script.parents(name)]
    found = None
    for line in getattr(place.block, "body", ()):
        for small in line.body if isinstance(line, cst.SimpleStatementLine) else [line]:
            if id(small) in around:
                return found
            if isinstance(small, cst.Assign) and len(small.targets) == 1:
                target = small.targets[0].target
                if isinstance(target, cst.Name) and target.value == name.value:
                    found = small.value
    return None


def _is_elif(block: cst.CSTNode) -> bool:
    return isinstance(block, cst.If)


def same(one: str, other: str) -> bool:
    """True where two pieces of code are equal but for formatting."""
    try:
        return ast.dump(ast.parse(one.strip())) == ast.dump(ast.parse(other.strip()))
    except SyntaxError:
        return one.strip() == other.strip()
