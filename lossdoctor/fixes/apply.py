"""Edits carried out on a case in memory. Nothing of the user's is changed: every edit returns a new case."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from lossdoctor import _graph, _keras, trees
from lossdoctor.case.leaves import array_of
from lossdoctor.types import (
    ActivationEdit,
    ArrayRef,
    At,
    Batch,
    BatchEdit,
    Case,
    CompileArgs,
    CompileEdit,
    Edit,
    HeldArray,
    Made,
    ModelSpec,
    NewLoss,
    OutputsEdit,
    Spec,
    Tail,
    Tree,
)

# Larger arrays are not compared to see whether a repair only gave them another shape.
_MOST_COMPARED = 1_000_000
ROOTS = ("x", "y", "sample_weight")


@dataclass(frozen=True, eq=False)
class Written:
    """The source of a function that a repair made, and the live losses that it calls by these names."""

    name: str
    source: str
    uses: Mapping[str, Any]


class EditError(Exception):
    """An edit that cannot be carried out on this case; the text says why."""


def apply(case: Case, edits: tuple[Edit, ...]) -> Case:
    """The case after `edits`, in order. Raises `EditError`."""
    for edit in edits:
        case = _apply(case, edit)
    return case


def _apply(case: Case, edit: Edit) -> Case:
    if isinstance(edit, BatchEdit):
        return replace(case, batch=run_statement(case.batch, edit.code))
    if isinstance(edit, CompileEdit):
        value = compile_value(case.compile, edit)
        return replace(case, compile=replace(case.compile, **{edit.argument: value}))
    if isinstance(edit, OutputsEdit):
        return replace(case, model=regrouped(case.model, edit.tree))
    return replace(case, model=with_activation(case.model, edit))


def run_statement(batch: Batch, code: str) -> Batch:
    """The batch after one statement `y = ...` on its arrays. Raises `EditError` where the statement fails."""
    tree = ast.parse(code)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & set(ROOTS)
    space: dict[str, Any] = {"np": np, "keras": keras}
    before = {
        name: trees.map_leaves(array_of, getattr(batch, name)) for name in names if getattr(batch, name) is not None
    }
    space.update(dict.fromkeys(names), **before)
    try:
        exec(compile(tree, "<repair>", "exec"), space)
    except Exception as error:  # the statement does not fit this batch
        raise EditError(f"{code} raised {type(error).__name__}: {error}") from error
    held = {id(new): old for name in before for new, old in _both(before[name], getattr(batch, name))}

    def hold(leaf: Any) -> Any:
        if id(leaf) in held:
            return held[id(leaf)]
        return HeldArray(np.asarray(leaf)) if isinstance(leaf, np.ndarray | np.generic) else leaf

    return replace(batch, **{name: trees.map_leaves(hold, space[name]) for name in names})


def _both(arrays: Tree, refs: Tree) -> list[tuple[Any, Any]]:
    return [
        (new, old)
        for new, old in zip(trees.values(arrays), trees.values(refs), strict=True)
        if isinstance(old, ArrayRef)
    ]


def compile_value(arguments: CompileArgs, edit: CompileEdit) -> Tree:
    """What `model.compile` is given for the edited argument. Raises `EditError`."""
    return trees.map_leaves(lambda leaf: _live(arguments, leaf), edit.tree)


def _live(arguments: CompileArgs, leaf: Any) -> Any:
    if isinstance(leaf, At):
        found = at(arguments, leaf.path)
        if not leaf.changes:
            return found
        try:
            return _keras.reconfigured(found, leaf.changes)
        except Exception as error:  # a class of the user's that does not take them
            raise EditError(f"{leaf.path} cannot be made with {dict(leaf.changes)}: {error}") from error
    if isinstance(leaf, NewLoss):
        return new_function(arguments, leaf)
    if isinstance(leaf, Made):
        return getattr(keras.losses, leaf.name)(**leaf.arguments)
    return leaf


def at(arguments: CompileArgs, path: str) -> Any:
    """The loss, weight or metric at a path such as "loss['a']". Raises `EditError` where there is none."""
    root = path.partition("[")[0]
    for found, value in trees.leaves(root, getattr(arguments, root)):
        if found == path:
            return value
    raise EditError(f"{path} does not exist")


def new_function(arguments: CompileArgs, loss: NewLoss) -> Any:
    """The function of a new loss's source, with the losses it uses."""
    uses = {name: _live(arguments, used) for name, used in loss.uses.items()}
    space: dict[str, Any] = {"keras": keras, "ops": keras.ops}
    space.update({n: keras.losses.get(u) if isinstance(u, str) else u for n, u in uses.items()})
    exec(compile(loss.source, "<repair>", "exec"), space)
    function = space[loss.name]
    function.written = Written(loss.name, loss.source, uses)  # for the patch, which writes it out
    return function


def regrouped(model: ModelSpec, tree: Tree) -> ModelSpec:
    """The model with its outputs in the containers of `tree`, whose leaves are output paths."""
    flat = trees.paths("y_pred", model.outputs)
    chosen = trees.values(tree)
    if sorted(chosen) != sorted(flat):
        raise EditError("the new outputs are not the model's")
    order = [flat.index(path) for path in chosen]
    specs = trees.values(model.outputs)

    def moved(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(values[i] for i in order) if values else values

    names = model.output_names
    if isinstance(tree, dict) and all(trees.is_leaf(v) for v in tree.values()):
        names = tuple(sorted(str(k) for k in tree))
    elif names is not None and len(names) == len(flat):
        names = moved(names)
    predictions = model.predictions
    if predictions is not None:
        predictions = trees.pack(tree, list(moved(tuple(trees.values(predictions)))))
    return replace(
        model,
        outputs=trees.pack(tree, [specs[i] for i in order]),
        output_names=names,
        tails=moved(model.tails),
        activations=moved(model.activations),
        activation_layers=moved(model.activation_layers),
        masks=moved(model.masks),
        behind=moved(model.behind),
        predictions=predictions,
    )


def with_activation(model: ModelSpec, edit: ActivationEdit) -> ModelSpec:
    """The model with another activation in front of one output. Raises `EditError` where no single layer holds it."""
    flat = trees.paths("y_pred", model.outputs)
    i = flat.index(edit.output)
    if i >= len(model.activation_layers) or model.activation_layers[i] is None:
        raise EditError(f"no single layer of the model holds the activation of {edit.output}")
    if model.predictions is not None and (not model.behind or model.behind[i] is None):
        raise EditError(f"what lies in front of the activation of {edit.output} is not known")
    function = getattr(keras.activations, edit.activation)
    spec = trees.values(model.outputs)[i]
    tail = model.tails[i] or Tail(Spec(spec.shape, spec.dtype))
    kept = [
        (o, n) for o, n in zip(tail.operations, tail.names, strict=True) if not _is_activation(o, model.activations[i])
    ]
    if edit.activation != "linear":
        kept.insert(0, (function, edit.activation))
    new = Tail(tail.start, tuple(o for o, _ in kept), tuple(n for _, n in kept)) if kept else None
    changes: dict[str, Any] = {
        "tails": _put(model.tails, i, new),
        "activations": _put(model.activations, i, edit.activation),
    }
    if model.predictions is not None:
        value: Any = model.behind[i]
        for operation, _ in kept:
            value = operation(_keras.to_tensor(np.asarray(value, dtype="float32")))
        arrays = _put(tuple(trees.values(model.predictions)), i, HeldArray(np.asarray(_keras.to_numpy(value))))
        changes["predictions"] = trees.pack(model.predictions, list(arrays))
    return replace(model, **changes)


def _is_activation(operation: Any, name: str | None) -> bool:
    return _graph.function_name(getattr(operation, "activation", operation)) == name


def _put(values: tuple[Any, ...], i: int, value: Any) -> tuple[Any, ...]:
    return (*values[:i], value, *values[i + 1 :])


def provenance(before: Batch, after: Batch) -> Mapping[str, str]:
    """{path now: path in the batch as given} for every leaf that is still what was given, or its values in another shape."""
    given = [(path, leaf) for root in ROOTS for path, leaf in trees.leaves(root, getattr(before, root))]
    known = {id(leaf): path for path, leaf in given}
    found = {}
    for path, leaf in (item for root in ROOTS for item in trees.leaves(root, getattr(after, root))):
        if not isinstance(leaf, ArrayRef):
            continue
        if id(leaf) in known:
            found[path] = known[id(leaf)]
        elif isinstance(leaf, HeldArray) and leaf.array.size <= _MOST_COMPARED:
            same = [old for old, other in given if isinstance(other, ArrayRef) and _reshaped(other, leaf.array)]
            if len(same) == 1:
                found[path] = same[0]
    return found


def _reshaped(given: ArrayRef, array: np.ndarray) -> bool:
    """True where an array holds the given values in another shape."""
    if math.prod(given.shape) != array.size or given.dtype != array.dtype.name or not array.size:
        return False
    return bool(np.array_equal(array_of(given).ravel(), array.ravel()))
