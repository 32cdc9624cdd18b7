"""The declared objective, computed output by output: each loss called by hand on its own target and prediction.

Independent of Keras's pairing (`CompileLoss`): here a place or a name in the one tree means the same place or name in
the other, and nothing is sorted.
"""

from __future__ import annotations

from typing import Any

from lossdoctor import _keras, trees
from lossdoctor.exam import standin, tensors
from lossdoctor.exam.setup import Setup, make_setup
from lossdoctor.types import Case, Tree


class Undeclared(Exception):
    """What is declared cannot be told by place or name alone."""


def declared_objective(case: Case) -> float | None:
    """The sum of weight times loss over the outputs, on the predictions used; None where it cannot be told."""
    setup = make_setup(case)
    predictions = standin.predictions(setup)
    try:
        total = _sum(setup, predictions, setup.y, setup.loss, setup.loss_weights, setup.sample_weight, top=True)
    except Undeclared:
        return None
    except Exception:  # a loss that raises by hand raises in Keras too, and is told there
        return None
    return None if total is None else float(total)


def _sum(
    setup: Setup, y_pred: Tree, y: Tree, loss: Tree, weight: Tree, sample_weight: Tree, top: bool = False
) -> float:
    if loss is None:
        return 0.0
    if trees.is_leaf(loss):
        if not trees.is_leaf(y_pred) and top:
            return _each(setup, y_pred, y, loss, weight, sample_weight)
        return _one(y_pred, y, loss, weight, sample_weight)
    if trees.is_leaf(y_pred):
        raise Undeclared
    parts = []
    for key, prediction in _items(y_pred):
        part = _at(loss, key, setup if top else None)
        if part is None:
            continue
        parts.append(
            _sum(
                setup,
                prediction,
                _at(y, key, setup if top else None),
                part,
                None if weight is None else _at(weight, key, setup if top else None),
                _spread(sample_weight, key, setup if top else None),
            )
        )
    if not parts:
        raise Undeclared
    return sum(parts)


def _each(setup: Setup, y_pred: Tree, y: Tree, loss: Any, weight: Tree, sample_weight: Tree) -> float:
    """One loss for all outputs."""
    if trees.is_leaf(y_pred):
        return _one(y_pred, y, loss, weight, sample_weight)
    return sum(
        _each(
            setup,
            prediction,
            _at(y, key, None),
            loss,
            None if weight is None else _at(weight, key, None),
            _spread(sample_weight, key, None),
        )
        for key, prediction in _items(y_pred)
    )


def _one(y_pred: Tree, y: Tree, loss: Any, weight: Any, sample_weight: Any) -> float:
    if not trees.is_leaf(weight) or (weight is not None and not isinstance(weight, int | float)):
        raise Undeclared
    flat = trees.values(y)
    if any(leaf is None for leaf in flat) or not flat:
        raise Undeclared
    targets = trees.map_leaves(_keras.to_tensor, y)
    if sample_weight is not None and not trees.is_leaf(sample_weight):
        raise Undeclared
    function = _keras.resolve_loss(loss, trees.values(targets)[0], trees.values(y_pred)[0])
    value = tensors.scalar(function(targets, y_pred, sample_weight=sample_weight))
    if value is None:
        raise Undeclared
    return float(value) * (1.0 if weight is None else float(weight))


def _items(tree: Tree) -> list[tuple[Any, Any]]:
    if isinstance(tree, dict):
        return list(tree.items())
    return list(enumerate(tree))


def _at(tree: Tree, key: Any, names: Setup | None) -> Tree:
    """The node that the same key, place or output name means in another tree."""
    if trees.is_leaf(tree):
        raise Undeclared
    if isinstance(tree, dict):
        if key in tree:
            return tree[key]
        known = names.output_names if names is not None else None
        if isinstance(key, int) and known is not None and key < len(known) and known[key] in tree:
            return tree[known[key]]
        if isinstance(key, str):
            return None
        raise Undeclared
    if isinstance(key, int) and key < len(tree):
        return tree[key]
    raise Undeclared


def _spread(sample_weight: Tree, key: Any, names: Setup | None) -> Tree:
    """One array of sample weights counts for every output."""
    return sample_weight if sample_weight is None or trees.is_leaf(sample_weight) else _at(sample_weight, key, names)
