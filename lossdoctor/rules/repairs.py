"""Repairs as the rules write them: what to change, as data, with the grade. Pure functions; no Keras."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from lossdoctor import trees
from lossdoctor.facts import Exam, LossCall
from lossdoctor.rules import shared
from lossdoctor.types import (
    ActivationEdit,
    At,
    BatchEdit,
    CompileEdit,
    Edit,
    Fix,
    FixTarget,
    Grade,
    Made,
    NewLoss,
    Tree,
)

_SPELLED_OUT = 8
_KEY = re.compile(r"\[('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")\]")


def statement(title: str, code: str, grade: Grade = "safe", *, show: str = "") -> Fix:
    """A repair of the batch: one statement on x, y or sample_weight. `show` is what is printed, where that is shorter."""
    return Fix(title, "batch", grade, code=show or code, edits=(BatchEdit(code),))


def on_leaf(title: str, exam: Exam, path: str, expression: str, grade: Grade = "safe") -> Fix:
    """A repair of one leaf of the batch; `expression` holds the leaf's own path."""
    root = path.partition("[")[0]
    return statement(title, f"{root} = {put(getattr(exam.case.batch, root), root, path, expression)}", grade)


def put(tree: Tree, root: str, path: str, expression: str) -> str:
    """The tree with the leaf at `path` replaced, as an expression that keeps its containers and changes nothing in place."""
    if path == root or trees.is_leaf(tree):
        return expression
    key = _KEY.match(path, len(root))
    if type(tree) is dict and key is not None and (name := ast.literal_eval(key[1])) in tree:
        # The common case without a look at the siblings: there may be thousands, and a finding for each.
        return f"{root} | {{{name!r}: {put(tree[name], root + key[0], path, expression)}}}"
    children = [(step, node) for step, node in trees.children(tree)]
    i = next(n for n, (step, _) in enumerate(children) if shared.below(path, root + step))
    step, node = children[i]
    inner = put(node, root + step, path, expression)
    if isinstance(tree, dict):
        return f"{root} | {{{step[1:-1]}: {inner}}}"
    if hasattr(tree, "_fields"):
        return f"{root}._replace({tree._fields[i]}={inner})"
    if len(children) <= _SPELLED_OUT:
        items = [f"{root}{s}" for s, _ in children]
        items[i] = inner
    else:
        items = [*([f"*{root}[:{i}]"] if i else []), inner, *([f"*{root}[{i + 1}:]"] if i + 1 < len(children) else [])]
    body = ", ".join(items)
    return f"({body},)" if isinstance(tree, tuple) else f"[{body}]"


def compile_argument(
    title: str,
    argument: str,
    tree: Tree,
    grade: Grade = "safe",
    *,
    target: FixTarget = "compile",
    more: tuple[Edit, ...] = (),
) -> Fix:
    """A repair of one argument of `model.compile`; the leaves of `tree` are `At`, names, numbers or None."""
    return Fix(title, target, grade, edits=(CompileEdit(argument, tree), *more))


def present(exam: Exam, argument: str) -> Tree:
    """The argument as it is, every leaf an `At` (a number or None is itself)."""
    return trees.pack(getattr(exam.case.compile, argument), [leaf for _, leaf in _present(exam, argument)])


def _present(exam: Exam, argument: str) -> list[tuple[str, Any]]:
    """(path, leaf as it is) of an argument's leaves, made once an exam: there may be a finding for every leaf."""
    known = _PRESENT.setdefault(exam, {})
    if argument not in known:
        known[argument] = [
            (path, value if value is None or isinstance(value, int | float) else At(path))
            for path, value in trees.leaves(argument, getattr(exam.case.compile, argument))
        ]
    return known[argument]


_PRESENT: WeakKeyDictionary[Exam, dict[str, list[tuple[str, Any]]]] = WeakKeyDictionary()


def replaced(exam: Exam, argument: str, leaves: Mapping[str, Any]) -> Tree:
    """The argument with other leaves at these paths."""
    tree = getattr(exam.case.compile, argument)
    return trees.pack(tree, [leaves.get(path, old) for path, old in _present(exam, argument)])


def other_loss(title: str, exam: Exam, path: str, leaf: Any, grade: Grade = "review") -> Fix:
    """Another loss at one place of the compiled losses (a name of Keras's, a new function, None)."""
    return compile_argument(title, "loss", replaced(exam, "loss", {path: leaf}), grade)


# What Keras's cross-entropies take, and what it is where nothing is given (`losses/losses.py`).
_DEFAULTS: dict[str, Any] = {"from_logits": False, "label_smoothing": 0.0, "ignore_class": None, "axis": -1}
_TAKEN = {
    "categorical_crossentropy": ("from_logits", "label_smoothing", "axis"),
    "binary_crossentropy": ("from_logits", "label_smoothing", "axis"),
    "sparse_categorical_crossentropy": ("from_logits", "ignore_class", "axis"),
}


def crossentropy(title: str, exam: Exam, call: LossCall, name: str, grade: Grade = "review", **changes: Any) -> Fix:
    """The cross-entropy `name` in the place of that of `call`, with its reduction and arguments but for `changes`; to be reviewed where it takes one of them not."""
    arguments = {**call.arguments, **changes}
    given = {key: value for key, value in arguments.items() if value != _DEFAULTS.get(key, value)}
    kept = {key: value for key, value in given.items() if key in _TAKEN[name]}
    if call.reduction != "sum_over_batch_size":
        kept["reduction"] = call.reduction
    whole = given.keys() <= kept.keys() and "focal" not in call.label
    made = Made("".join(part.capitalize() for part in name.split("_")), kept) if kept else name
    return other_loss(title, exam, call.loss_path, made, grade if whole else "review")


def configured(title: str, exam: Exam, paths: Collection[str], grade: Grade = "review", **changes: Any) -> Fix:
    """The losses at these places with other arguments (from_logits, reduction ...)."""
    tree = replaced(exam, "loss", {path: At(path, changes) for path in paths})
    return compile_argument(title, "loss", tree, grade, target="loss")


def rewritten(
    title: str, exam: Exam, path: str, name: str, source: str, uses: Mapping[str, At], grade: Grade = "review"
) -> Fix:
    """A new function in the place of a loss."""
    tree = replaced(exam, "loss", {path: NewLoss(name, source, uses)})
    return compile_argument(title, "loss", tree, grade, target="loss")


def without_loss(exam: Exam, untrained: Collection[str]) -> Tree:
    """The losses by output, None for these output paths; None where the outputs or the losses are nested, or one by name and one by place."""
    outputs, given = exam.case.model.outputs, present(exam, "loss")
    steps = list(trees.children(outputs))
    one = trees.is_leaf(given)
    if not steps or not all(trees.is_leaf(node) for _, node in (*steps, *trees.children(given))):
        return None
    if not one and isinstance(given, dict) != isinstance(outputs, dict):
        return None
    paths = ["y_pred" + step for step, _ in steps]
    if isinstance(outputs, dict):
        each = [given if one else given.get(key) for key in outputs]
    else:
        each = [given] * len(paths) if one else list(given)
    kept = [None if path in untrained else leaf for path, leaf in zip(paths, each, strict=False)]
    return dict(zip(outputs, kept, strict=True)) if isinstance(outputs, dict) else kept


def to_output_rank(title: str, exam: Exam, call: LossCall) -> Fix | None:
    """A last axis of size 1 added to the target, or taken from it, where that gives it the output's rank and, but for the number of rows, its shape."""
    path, target, output = str(call.targets[0]), call.target_shapes[0], call.output_shapes[0]
    if (*target, 1)[1:] == output[1:] and len(target) == len(output) - 1:
        return on_leaf(title, exam, path, f"{path}[..., None]")
    if target[1:] == (*output, 1)[1:] and len(target) == len(output) + 1:
        return on_leaf(title, exam, path, f"np.squeeze({path}, -1)")
    return None


def with_steps(exam: Exam, call: LossCall, steps: int) -> Fix:
    """The output with the axis of steps that its target has; by hand."""
    output = call.output_shapes[0]
    shape, taken = (output[0], steps, *output[1:]), output[:-1] if call.label in shared.SPARSE else output
    return by_hand(
        f"give {call.outputs[0]} the shape {shape} (return_sequences=True, where a recurrent layer gives its last step alone), or {call.targets[0]} the shape {taken}",
        "model",
        "which of the two is meant is not written",
    )


def activation(
    title: str, exam: Exam, output: str, name: str, grade: Grade = "review", *, more: tuple[Edit, ...] = ()
) -> Fix:
    """Another activation on the layer in front of one output; by hand where no single layer holds it."""
    layers = exam.case.model.activation_layers
    i = shared.output_places(exam)[output]
    if i >= len(layers) or layers[i] is None:
        return by_hand(
            title, "model", "the activation is no attribute of one layer of the model, so only its code can change it"
        )
    return Fix(title, "model", grade, edits=(ActivationEdit(output, name), *more))


def by_hand(title: str, target: FixTarget, why: str, code: str = "") -> Fix:
    """What only a person can do, and why."""
    return Fix(title, target, "manual", code=code, why=why)


def renested(exam: Exam, root: str = "y") -> str:
    """The targets (or sample weights) in the outputs' containers: by name where every output finds one of its name, else by place; "" where neither."""
    outputs = exam.case.model.outputs
    leaves = trees.declared_leaves(root, getattr(exam.case.batch, root))
    by_name = {shared.last_key(path): path for path, _ in leaves}
    paths = [path for path, _ in trees.declared_leaves("y_pred", outputs)]
    if len(by_name) == len(leaves) and all(shared.last_key(path) in by_name for path in paths):
        return shared.tree_code(outputs, lambda path: by_name[shared.last_key(path)])
    named = exam.case.model.output_names or ()
    if not isinstance(outputs, dict) and len(by_name) == len(leaves) == len(named) and set(named) == set(by_name):
        flat = dict(zip(trees.paths("y_pred", outputs), named, strict=False))
        return shared.tree_code(outputs, lambda path: by_name[flat[path]])
    if len(leaves) != len(paths):
        return ""
    at = dict(zip(paths, (path for path, _ in leaves), strict=True))
    return shared.tree_code(outputs, lambda path: at[path])
