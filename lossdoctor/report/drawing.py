"""Where everything stands in the drawing of the HTML report: four trees, and the lines between them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from lossdoctor import trees
from lossdoctor.report import words
from lossdoctor.report.printable import one_line
from lossdoctor.types import Pair, ReportData, Spec, Tree

# Pixels; the style sheet has the same.
ROW = 32
# Which line of a pair an error is about, where it names the pair's output and no other end.
_ABOUT = {
    "loss-weights": "weight",
    "loss-config": "loss",
    "reduction": "loss",
    "activation": "loss",
    "custom-loss": "loss",
}


@dataclass(frozen=True)
class Row:
    """One line of a tree. `label` is the step in Python, `detail` a container, a shape, a loss or a number."""

    path: str
    label: str
    detail: str
    depth: int
    leaf: bool
    wrong: bool

    @property
    def anchor(self) -> str:
        """An id for the row, made of characters that need no escape."""
        return "at-" + self.path.encode("utf-8", "backslashreplace").hex()


@dataclass(frozen=True)
class Column:
    """One tree, in the order written; `empty` says why it has no rows."""

    title: str
    rows: tuple[Row, ...]
    empty: str = ""

    def middle(self, path: str) -> int | None:
        """How far down the middle of a path's row is, in pixels; None where the tree has no such leaf."""
        return self._middles.get(path)

    @cached_property
    def _middles(self) -> dict[str, int]:
        """{path of a leaf: the middle of its first row}, made once: there is a line for every leaf."""
        rows = reversed(list(enumerate(self.rows)))
        return {row.path: i * ROW + ROW // 2 for i, row in rows if row.leaf}


@dataclass(frozen=True)
class Line:
    """A line between two neighbouring trees, from `top` on the left to `bottom` on the right, in pixels."""

    left: str
    right: str
    top: int
    bottom: int
    wrong: bool

    @property
    def curve(self) -> str:
        """The line as an SVG path in a box 100 wide."""
        return f"M0 {self.top}C45 {self.top} 55 {self.bottom} 100 {self.bottom}"

    @property
    def halfway(self) -> int:
        """How far down the middle of the line is, in pixels."""
        return (self.top + self.bottom) // 2


@dataclass(frozen=True)
class Gap:
    """The lines between two neighbouring trees."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Drawing:
    """Targets, outputs, losses and weights from left to right, and a gap after each but the last."""

    columns: tuple[Column, ...]
    gaps: tuple[Gap, ...]
    height: int

    @property
    def wrong(self) -> bool:
        """True where any line is about an error."""
        return any(line.wrong for gap in self.gaps for line in gap.lines)

    @cached_property
    def anchors(self) -> dict[str, str]:
        """{path: id of its row} of every row."""
        return {row.path: row.anchor for column in self.columns for row in column.rows}


def draw(report: ReportData) -> Drawing:
    """The drawing of a printable report."""
    named = words.in_error(report)
    columns = (
        column("Targets", "y", report.y, named, "the batch has no targets"),
        column("Outputs", "y_pred", report.outputs, named, "", frozenset(words.untrained(report))),
        column("Losses", "loss", report.loss, named, "no loss was compiled"),
        column("Weights", "loss_weights", report.loss_weights, named, "none given: each loss counts once"),
    )
    ends = [(p, (p.target, p.output, p.loss_path, p.weight_path)) for p in report.pairs]
    titles = ("Which target each output meets", "Which loss each output is trained with", "How much each loss counts")
    gaps = tuple(
        Gap(
            title,
            tuple(
                _lines(columns[i], columns[i + 1], ((e[i], e[i + 1], about in wrong_parts(report, p)) for p, e in ends))
            ),
        )
        for i, (title, about) in enumerate(zip(titles, ("target", "loss", "weight"), strict=True))
    )
    return Drawing(columns, gaps, ROW * max(1, *(len(c.rows) for c in columns)))


def wrong_parts(report: ReportData, pair: Pair) -> set[str]:
    """Which parts of a pair ("target", "loss", "weight") an error is about."""
    found: set[str] = set()
    for finding in report.findings:
        if finding.severity != "error" or pair.output not in finding.where:
            continue
        others = {"target": pair.target, "loss": pair.loss_path, "weight": pair.weight_path}
        named = {about for about, path in others.items() if path in finding.where}
        found |= named or {_ABOUT.get(finding.category, "target")}
    return found


def _lines(left: Column, right: Column, ends: Iterable[tuple[str | None, str | None, bool]]) -> Iterator[Line]:
    drawn: dict[tuple[str, str], Line] = {}
    for a, b, wrong in ends:
        if a is None or b is None:
            continue
        top, bottom = left.middle(a), right.middle(b)
        if top is not None and bottom is not None:
            known = drawn.get((a, b))
            drawn[a, b] = Line(a, b, top, bottom, wrong or (known is not None and known.wrong))
    # Those about an error last, so that they lie on top.
    yield from sorted(drawn.values(), key=lambda line: line.wrong)


def column(
    title: str,
    root: str,
    tree: Tree,
    named: Collection[str] = (),
    empty: str = "",
    alone: Collection[str] = (),
    leaf: Callable[[Any], str] | None = None,
) -> Column:
    """One tree as rows: `named` are the paths in an error, `alone` the outputs without a loss, `leaf` says what a leaf is."""
    if tree is None and empty:
        return Column(title, (), empty)
    rows = _rows(root, root, tree, 0, named, leaf or _leaf)
    return Column(title, tuple(replace(r, detail=f"{r.detail}, no loss") if r.path in alone else r for r in rows))


def _rows(
    path: str, label: str, node: Tree, depth: int, named: Collection[str], said: Callable[[Any], str]
) -> Iterator[Row]:
    leaf = trees.is_leaf(node)
    detail = said(node) if leaf else trees.container(node)
    yield Row(path, one_line(label), one_line(detail), depth, leaf, path in named)
    for step, child in trees.children(node):
        yield from _rows(path + step, step, child, depth + 1, named, said)


def _leaf(node: Any) -> str:
    if isinstance(node, Spec):
        return words.shape(node.shape)
    return f"{node:g}" if isinstance(node, float) else str(node)
