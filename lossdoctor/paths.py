"""Paths into a tree of outputs, as a user types them: "detection.bbox", "heads.0.bbox", 'a."b.c"', "detection.*".

A path is names or places joined by dots. A name that holds a dot, a comma, a star, a quote or a space at its ends, and the empty
name, is put in quotes, double or single; a backslash before a character inside the quotes means that character. A `*` stands at
the end only, and means everything below, at any depth. The empty path is the whole tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossdoctor import trees
from lossdoctor.near import nearest
from lossdoctor.types import Tree

Steps = tuple[str, ...]
_SPECIAL = set(".,*\"'\\")
_SHOWN = 12


@dataclass(frozen=True)
class Path:
    """A parsed path: the names from the top down; `below` where it ends in a star."""

    steps: Steps
    below: bool = False


def parse(text: str) -> Path:
    """The path that `text` writes. Raises `ValueError` with one sentence for text that is none.

    >>> parse('a."b.c".1')
    Path(steps=('a', 'b.c', '1'), below=False)
    """
    if not text.strip():
        return Path(())
    pieces = _split(text, ".")
    below = pieces[-1].strip() == "*"
    return Path(tuple(_name(piece.strip(), text) for piece in pieces[: len(pieces) - below]), below)


def write(path: Path) -> str:
    """The text that `parse` reads as `path`.

    >>> write(Path(("a", "b.c"), below=True))
    'a."b.c".*'
    """
    return ".".join([*(_quoted(step) for step in path.steps), *(["*"] if path.below else [])])


def split_group(text: str) -> list[str]:
    """The paths of a text that lists several with commas; one where it holds no comma outside quotes."""
    return [piece.strip() for piece in _split(text, ",")]


def _quoted(step: str) -> str:
    if step and step == step.strip() and not _SPECIAL & set(step):
        return step
    return '"' + step.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _name(piece: str, text: str) -> str:
    if piece[:1] in ('"', "'"):
        return _unquoted(piece, text)
    if piece == "*":
        raise ValueError(f"the path {text!r} has a * before its end; a * stands last and means everything below.")
    if not piece:
        raise ValueError(f"the path {text!r} has an empty name; write names joined by single dots, as in 'a.b'.")
    if _SPECIAL & set(piece):
        raise ValueError(
            f"the path {text!r} has the name {piece} without quotes; put a name with such signs in quotes, as in 'a.\"b.c\"'."
        )
    return piece


def _unquoted(piece: str, text: str) -> str:
    quote, name, escaped = piece[0], "", False
    for place, sign in enumerate(piece[1:], start=1):
        if escaped or sign not in (quote, "\\"):
            name, escaped = name + sign, False
        elif sign == "\\":
            escaped = True
        elif place == len(piece) - 1:
            return name
        else:
            break
    raise ValueError(
        f"the path {text!r} has a quote that is not closed at the end of a name; write it as in 'a.\"b.c\"'."
    )


def _split(text: str, separator: str) -> list[str]:
    """`text` cut at every separator outside quotes; a quote opens only at the start of a name."""
    pieces, quote, escaped = [""], "", False
    for sign in text:
        if quote:
            closes = sign == quote and not escaped
            escaped = sign == "\\" and not escaped
            quote = "" if closes else quote
        elif sign == separator:
            pieces.append("")
            continue
        elif sign in "\"'" and _opens(pieces[-1]):
            quote = sign
        pieces[-1] += sign
    return pieces


def _opens(before: str) -> bool:
    return not before.strip() or before.rstrip().endswith(".")


@dataclass(frozen=True, eq=False)
class Index:
    """Every node of a tree of outputs by its steps, in the order declared; `aliases` are the names of a flat list's outputs."""

    nodes: Mapping[Steps, Tree]
    aliases: Mapping[str, Steps]

    def is_name(self, key: str) -> bool:
        """True where an output or a container at the top has exactly this name."""
        return (key,) in self.nodes or key in self.aliases

    def path_of(self, key: str) -> Path | None:
        """The path that `key` means in this tree: exactly that name wins over a dotted path; None for neither.

        Raises `ValueError` for text that is no path.
        """
        if self.is_name(key):
            return Path(self.aliases.get(key, (key,)) if (key,) not in self.nodes else (key,))
        path = parse(key)
        if len(path.steps) == 1:
            path = Path(self.aliases.get(path.steps[0], path.steps), path.below)
        return path if path.steps in self.nodes else None

    def is_leaf(self, steps: Steps) -> bool:
        """True where one output stands at `steps`."""
        return trees.is_leaf(self.nodes[steps])

    def children(self, steps: Steps) -> list[Steps]:
        """The paths one level down."""
        return [s for s in self.nodes if len(s) == len(steps) + 1 and s[:-1] == steps]

    def leaves(self, steps: Steps) -> list[Steps]:
        """The paths of the outputs at or below `steps`."""
        return [s for s in self.nodes if s[: len(steps)] == steps and self.is_leaf(s)]

    def text(self, steps: Steps) -> str:
        """The path as a user would type it, with the output's name where a list's outputs have names."""
        named = [name for name, place in self.aliases.items() if place == steps]
        return write(Path((named[0],) if named else steps))

    def known(self) -> list[str]:
        """All paths that name something, in the order declared."""
        return [self.text(s) for s in self.nodes if s or s in self.aliases.values()]


def index(tree: Tree, names: Sequence[str] | None = None) -> Index:
    """The index of a tree of outputs; `names` are one a leaf, and count where the outputs are a flat list or one array."""
    nodes: dict[Steps, Tree] = {}

    def walk(node: Any, steps: Steps) -> None:
        nodes[steps] = node
        for key, child in pairs(node):
            walk(child, (*steps, str(key)))

    walk(tree, ())
    flat = isinstance(tree, list | tuple) and all(trees.is_leaf(child) for child in tree)
    places: list[Steps] = [()] if trees.is_leaf(tree) else [(str(i),) for i, _ in enumerate(tree)] if flat else []
    named = list(names or ())
    aliases = dict(zip(named, places, strict=True)) if len(named) == len(places) == len(set(named)) else {}
    return Index(nodes, aliases)


def pairs(node: Tree) -> list[tuple[Any, Tree]]:
    """(key or place, child) one level down, in the order written; nothing for a leaf."""
    if trees.is_leaf(node):
        return []
    return list(node.items()) if isinstance(node, dict) else list(enumerate(node))


def unknown(what: str, key: str, found: Index) -> str:
    """The sentence for a path that names nothing: the nearest paths and the known ones."""
    known = found.known()
    near = nearest(key, known, 3)
    guess = f" (did you mean {' or '.join(repr(n) for n in near)}?)" if near else ""
    rest = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    listed = ", ".join(repr(path) for path in known[:_SHOWN])
    paths = f"the paths are {listed}{rest}" if known else "the outputs are one array without a name; name it with ''"
    return f"{what}: {key!r} names no output{guess}; {paths}."
