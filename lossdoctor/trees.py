"""Trees walked with optree under Keras's own flags, and their paths typed as Python.

`keras.tree` flattens with ``optree.tree_flatten(..., none_is_leaf=True, namespace="keras")``
(`keras/src/tree/optree_impl.py`), which visits the keys of a dict in sorted order. Two orders
matter here: Keras's (sorted) and the one the user declared (insertion).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from lossdoctor.types import Tree

_FLAGS: dict[str, Any] = {"none_is_leaf": True, "namespace": "keras"}


@cache
def _optree() -> Any:
    import optree  # here, so that pages and usage errors do not wait for it

    return optree


def leaves(root: str, tree: Tree) -> list[tuple[str, Any]]:
    """(path, leaf) of every leaf in Keras's order. `root` is the name the paths start with.

    >>> leaves("y", {"z": 1, "a": [2, 3]})
    [("y['a'][0]", 2), ("y['a'][1]", 3), ("y['z']", 1)]
    """
    accessors, values, _ = _optree().tree_flatten_with_accessor(tree, **_FLAGS)
    return [(accessor.codify(root), value) for accessor, value in zip(accessors, values, strict=True)]


def paths(root: str, tree: Tree) -> list[str]:
    """The path of every leaf in Keras's order."""
    return [path for path, _ in leaves(root, tree)]


def declared_leaves(root: str, tree: Tree) -> list[tuple[str, Any]]:
    """(path, leaf) of every leaf in the order written: dict keys as inserted.

    >>> declared_leaves("y", {"z": 1, "a": 2})
    [("y['z']", 1), ("y['a']", 2)]
    """
    with _optree().dict_insertion_ordered(True, namespace="keras"):
        return leaves(root, tree)


def values(tree: Tree) -> list[Any]:
    """The leaves in Keras's order."""
    return list(_optree().tree_leaves(tree, **_FLAGS))


def is_leaf(tree: Tree) -> bool:
    """True where Keras sees one leaf."""
    return bool(_optree().tree_is_leaf(tree, **_FLAGS))


def map_leaves(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """The same containers with `function` applied to every leaf; dict order is kept."""
    return _optree().tree_map(function, tree, **_FLAGS)


def pack(tree: Tree, flat: list[Any]) -> Tree:
    """`flat` (Keras's order) in the containers of `tree`."""
    return _optree().tree_unflatten(_optree().tree_structure(tree, **_FLAGS), flat)


def children(tree: Tree) -> Iterator[tuple[str, Any]]:
    """(code of the step, child) one level down, in the order written; nothing for a leaf."""
    if is_leaf(tree):
        return
    with _optree().dict_insertion_ordered(True, namespace="keras"):
        accessors, nodes, _ = _optree().tree_flatten_with_accessor(
            tree, is_leaf=lambda node: node is not tree, **_FLAGS
        )
    for accessor, node in zip(accessors, nodes, strict=True):
        yield accessor.codify(""), node


def container(tree: Tree) -> str:
    """The container's name as a user would say it: "dict", "list", "tuple", "OrderedDict" ...; "one array" for a leaf."""
    return "one array" if is_leaf(tree) else type(tree).__name__


def plain(tree: Tree) -> Tree:
    """The same tree in plain containers: TensorFlow wraps the lists and dicts that a tracked object holds."""
    if type(tree).__name__ in {"_DictWrapper", "TrackedDict"}:
        return {k: plain(v) for k, v in tree.items()}
    if type(tree).__name__ in {"ListWrapper", "TrackedList"}:
        return [plain(v) for v in tree]
    if type(tree) in (dict, list, tuple):
        items = {k: plain(v) for k, v in tree.items()} if isinstance(tree, dict) else [plain(v) for v in tree]
        return tuple(items) if isinstance(tree, tuple) else items
    return tree
