"""Trees walked with optree under Keras's own flags, and their paths typed as Python.

`keras.tree` flattens with ``optree.tree_flatten(..., none_is_leaf=True, namespace="keras")``
(`keras/src/tree/optree_impl.py`), which visits the keys of a dict in sorted order. Two orders
matter here: Keras's (sorted) and the one the user declared (insertion). On PyTorch Keras has a module of its own
(`keras/src/tree/torchtree_impl.py: _dict_to_ordered_dict`), which sorts a dict but none below it.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from typing import Any

from lossdoctor.types import Tree

_FLAGS: dict[str, Any] = {"none_is_leaf": True, "namespace": "keras"}
_SORTS = {"below dicts": True}


def follow(backend: str) -> None:
    """Walk trees as Keras does on this backend."""
    _SORTS["below dicts"] = backend != "torch"


@cache
def _optree() -> Any:
    import optree  # here, so that pages and usage errors do not wait for it

    return optree


def leaves(root: str, tree: Tree) -> list[tuple[str, Any]]:
    """(path, leaf) of every leaf in Keras's order. `root` is the name the paths start with.

    >>> leaves("y", {"z": 1, "a": [2, 3]})
    [("y['a'][0]", 2), ("y['a'][1]", 3), ("y['z']", 1)]
    """
    return _in_order(partial(_flat, root), tree)


def _in_order(walk: Callable[[Tree], list[Any]], tree: Tree) -> list[Any]:
    """What `walk` finds, in Keras's order."""
    if _SORTS["below dicts"]:
        return walk(tree)
    with _insertion_ordered():
        return walk(_sorted_above(tree))


def _flat(root: str, tree: Tree) -> list[tuple[str, Any]]:
    accessors, values, _ = _optree().tree_flatten_with_accessor(tree, **_FLAGS)
    return [(accessor.codify(root), value) for accessor, value in zip(accessors, values, strict=True)]


def _insertion_ordered() -> Any:
    return _optree().dict_insertion_ordered(True, namespace="keras")


def _sorted_above(tree: Tree) -> Tree:
    """The tree with the keys of its dicts sorted, but for those below a dict."""
    if type(tree) is dict or type(tree) is defaultdict:
        with suppress(TypeError):  # keys of several types have no order: Keras raises
            return {key: tree[key] for key in sorted(tree)}
    if type(tree) is OrderedDict:
        return OrderedDict((key, _sorted_above(node)) for key, node in tree.items())
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*map(_sorted_above, tree))
    return type(tree)(map(_sorted_above, tree)) if type(tree) in (list, tuple) else tree


def paths(root: str, tree: Tree) -> list[str]:
    """The path of every leaf in Keras's order."""
    return [path for path, _ in leaves(root, tree)]


def declared_leaves(root: str, tree: Tree) -> list[tuple[str, Any]]:
    """(path, leaf) of every leaf in the order written: dict keys as inserted.

    >>> declared_leaves("y", {"z": 1, "a": 2})
    [("y['z']", 1), ("y['a']", 2)]
    """
    with _insertion_ordered():
        return _flat(root, tree)


def values(tree: Tree) -> list[Any]:
    """The leaves in Keras's order."""
    return _in_order(lambda ordered: list(_optree().tree_leaves(ordered, **_FLAGS)), tree)


def is_leaf(tree: Tree) -> bool:
    """True where Keras sees one leaf."""
    return bool(_optree().tree_is_leaf(tree, **_FLAGS))


def map_leaves(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """The same containers with `function` applied to every leaf; dict order is kept."""
    return _optree().tree_map(function, tree, **_FLAGS)


def pack(tree: Tree, flat: list[Any]) -> Tree:
    """`flat` (Keras's order) in the containers of `tree`."""
    if _SORTS["below dicts"]:
        return _optree().tree_unflatten(_optree().tree_structure(tree, **_FLAGS), flat)
    with _insertion_ordered():
        structure = _optree().tree_structure(tree, **_FLAGS)
    order = values(_optree().tree_unflatten(structure, range(len(flat))))
    placed = dict(zip(order, flat, strict=True))
    return _optree().tree_unflatten(structure, [placed[i] for i in range(len(flat))])


def children(tree: Tree) -> Iterator[tuple[str, Any]]:
    """(code of the step, child) one level down, in the order written; nothing for a leaf."""
    if is_leaf(tree):
        return
    with _insertion_ordered():
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
