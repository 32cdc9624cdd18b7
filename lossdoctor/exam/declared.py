"""What was declared: everything written by position tied to the names in the order they were written.

Pure functions over trees; no Keras. Keras flattens a dict with its keys sorted (`keras.tree`), so a
list that was written in another order meets other outputs than its author meant.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from lossdoctor import trees
from lossdoctor.types import Tree

Names = Sequence[str] | None


def tie(outputs: Tree, given: Tree, names: Names = None) -> Tree:
    """`given` (targets, losses or weights) in the containers of `outputs`, by name where names are given, by place else.

    A list meets a dict in the order in which the dict was written; a dict meets a list by
    `names` (`model.output_names`). What cannot be tied is returned as it is.
    """
    if trees.is_leaf(given) or trees.is_leaf(outputs):
        return given
    given = _unwrapped(outputs, given)
    if isinstance(outputs, dict):
        return _onto_dict(outputs, given)
    return _onto_sequence(outputs, given, names)


def tie_targets(outputs: Tree, given: Tree, names: Names) -> Tree:
    """`tie` for targets, where a dict for outputs in a list further down goes by their names, too."""
    return tie(outputs, by_place(outputs, given, names), names)


def by_place(outputs: Tree, given: Tree, names: Names) -> Tree:
    """Targets with each dict for outputs in a list or tuple further down in their order, where its keys are their names."""
    if names is None or len(trees.values(outputs)) != len(names):
        return given
    by_path = dict(zip(trees.paths("y_pred", outputs), names, strict=True))
    return _by_place("y_pred", outputs, given, by_path)


def _by_place(path: str, outputs: Tree, given: Tree, names: dict[str, str]) -> Tree:
    if trees.is_leaf(outputs) or trees.is_leaf(given):
        return given
    steps = list(trees.children(outputs))
    if isinstance(outputs, dict) != isinstance(given, dict):
        called = [names.get(path + step) for step, _ in steps]
        named = path != "y_pred" and isinstance(given, dict) and len(given) == len({*called}) == len(called)
        return [given[name] for name in called] if named and {*given} == {*called} else given
    if isinstance(outputs, dict):
        inner = {key: (path + step, node) for key, (step, node) in zip(outputs, steps, strict=True)}
        return type(given)((k, _by_place(*inner[k], v, names) if k in inner else v) for k, v in given.items())
    if len(given) != len(steps):
        return given
    parts = [_by_place(path + step, node, v, names) for (step, node), v in zip(steps, given, strict=True)]
    return given if all(new is old for new, old in zip(parts, given, strict=True)) else parts


def _unwrapped(outputs: Tree, given: Tree) -> Tree:
    """`given` without containers of one that the outputs lack: Keras flattens both."""
    while isinstance(given, list | tuple) and len(given) == 1 != len(outputs) and not trees.is_leaf(given[0]):
        given = given[0]
    return given


def _onto_dict(outputs: dict[Any, Any], given: Tree) -> Tree:
    if isinstance(given, dict):
        return type(given)((k, tie(outputs[k], v) if k in outputs else v) for k, v in given.items())
    items = list(given)
    if len(items) == len(outputs):
        return {k: tie(o, v) for (k, o), v in zip(outputs.items(), items, strict=True)}
    return _pack_declared(outputs, items) if _one_for_each_leaf(outputs, items) else given


def _one_for_each_leaf(outputs: Tree, values: list[Any]) -> bool:
    return len(trees.declared_leaves("", outputs)) == len(values) and all(trees.is_leaf(v) for v in values)


def _onto_sequence(outputs: Any, given: Tree, names: Names) -> Tree:
    items = list(outputs)
    if isinstance(given, dict):
        if names is not None and set(given) == set(names) and len(items) == len(names):
            return [tie(o, given[n]) for o, n in zip(items, names, strict=True)]
        return given
    values = list(given)
    if len(values) == len(items):
        # Keras calls a loss of several outputs by losses in their container only.
        kept = tuple if type(given) is tuple else list
        return kept(tie(o, v) for o, v in zip(items, values, strict=True))
    return _pack_declared(outputs, values) if _one_for_each_leaf(outputs, values) else given


def _pack_declared(outputs: Tree, flat: list[Any]) -> Tree:
    """`flat`, in the order written, in the containers of `outputs`."""
    order = [path for path, _ in trees.declared_leaves("", outputs)]
    by_path = dict(zip(order, flat, strict=True))
    return trees.pack(outputs, [by_path[path] for path, _ in trees.leaves("", outputs)])


def paths(root: str, tree: Tree) -> Tree:
    """The tree with every leaf replaced by its own path."""
    return trees.pack(tree, trees.paths(root, tree))


def tie_losses(outputs: Tree, losses: Tree, names: Names) -> Tree:
    """`tie` for losses, where a list that holds anything nested means several levels, not places (`_build_nested`).

    One level alone, `[[f, g]]` for a dict or `([f, g],)` for a list, is what it holds.
    """
    if isinstance(losses, list | tuple) and not all(trees.is_leaf(v) for v in losses):
        if isinstance(outputs, dict):
            return tie_losses(outputs, losses[0], names) if len(losses) == 1 else losses
        if isinstance(outputs, type(losses)) and len(outputs) == len(losses):
            return type(losses)([tie_losses(o, v, None) for o, v in zip(outputs, losses, strict=True)])
        # In a container of the outputs' own kind Keras trains the first alone.
        if len(losses) == 1 and type(losses) is not type(outputs) and type(losses[0]) is type(outputs):
            return tie_losses(outputs, losses[0], names)
        return losses
    if isinstance(losses, dict) and isinstance(outputs, dict):
        return {k: tie_losses(outputs[k], v, None) if k in outputs else v for k, v in losses.items()}
    return tie(outputs, losses, names)


def by_output(outputs: Tree, tied: Tree) -> dict[str, Any]:
    """{output path: what was tied to it} for every output leaf whose place exists in `tied`."""
    found: dict[str, Any] = {}
    _walk("y_pred", outputs, tied, found)
    return found


def _walk(path: str, outputs: Tree, tied: Tree, found: dict[str, Any]) -> None:
    if trees.is_leaf(outputs):
        if trees.is_leaf(tied):
            found[path] = tied
        return
    if trees.is_leaf(tied):
        return
    steps = dict(trees.children(tied))
    for step, node in trees.children(outputs):
        if step in steps:
            _walk(path + step, node, steps[step], found)


def tie_weights(outputs: Tree, weights: Tree, names: Names) -> Tree:
    """loss_weights in the containers of `outputs`: dict keys are output names, a list follows the outputs as written."""
    if isinstance(outputs, dict) or not isinstance(weights, dict):
        return tie(outputs, weights, names)
    return _onto_sequence(outputs, weights, names) if not trees.is_leaf(outputs) else weights


def sorted_order_differs(outputs: Tree) -> bool:
    """True where Keras would visit the outputs in another order than they were written."""
    return trees.paths("", outputs) != [p for p, _ in trees.declared_leaves("", outputs)]


def named_in_list(outputs: Tree, given: Tree, names: Names) -> bool:
    """True where targets are named for outputs in a list or tuple."""
    if isinstance(outputs, list | tuple) and isinstance(given, dict):
        return True
    return trees.paths("", by_place(outputs, given, names)) != trees.paths("", given)


def positional(outputs: Tree, given: Tree) -> bool:
    """True where somewhere a list or tuple stands for a dict of outputs (an OrderedDict keeps its order in Keras)."""
    if trees.is_leaf(outputs) or trees.is_leaf(given):
        return False
    given = _unwrapped(outputs, given)
    if isinstance(outputs, dict):
        if not isinstance(given, dict):
            return not isinstance(outputs, OrderedDict)
        return any(positional(outputs[k], v) for k, v in given.items() if k in outputs)
    if isinstance(given, dict):
        return False
    if len(given) != len(outputs):
        return _one_for_each_leaf(outputs, list(given)) and sorted_order_differs(outputs)
    return any(positional(o, v) for o, v in zip(outputs, given, strict=True))
