"""What several rules ask of an exam. Pure functions; no Keras."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from lossdoctor import releases, trees
from lossdoctor.exam.declared import by_output, tie
from lossdoctor.facts import Activation, Exam, LossCall, Values
from lossdoctor.types import ArrayRef, At, Spec, Tree

DISPATCH = ("data", "dispatch")
_MOST_LISTED = 12


def raises(exam: Exam) -> bool:
    """True where fit raises."""
    return exam.fit.outcome.status == "raises"


def error(exam: Exam) -> str:
    """What fit raised, in a loss where also a metric raises; first 200 characters."""
    text = exam.fit.cause or exam.fit.outcome.error or ""
    return text if len(text) <= 200 else text[:197] + "..."


def raised_in_dispatch(exam: Exam) -> bool:
    """True where fit raises before or while Keras pairs targets, outputs and losses.

    TensorFlow refuses some output names ("not a valid scope name") in the middle of that: no pairing is to blame.
    """
    return raises(exam) and exam.fit.stage in DISPATCH and "scope name" not in error(exam)


def is_about_losses(exam: Exam) -> bool:
    """True where what fit raises names the losses or their weights, or is a name that a dict of weights lacks: y is not to blame."""
    said = error(exam)
    return bool(unweighed(exam)) or "in loss dict" in said or "`loss_weights`" in said


def unweighed(exam: Exam) -> list[str]:
    """The names of outputs that a dict of `loss_weights` lacks, where fit raises that one of them is no key."""
    weights, said = exam.case.compile.loss_weights, error(exam)
    names = exam.case.model.output_names or ()
    missing = [str(name) for name in names if isinstance(weights, dict) and name not in weights]
    return missing if any(said == f"KeyError: {name}" for name in missing) else []


def raised_on_strings(exam: Exam) -> bool:
    """True where fit raises because Keras handed the keys of a dict, as strings, to a loss (`pack_sequence_as`)."""
    return raises(exam) and exam.fit.stage == "loss" and any(t is None for c in exam.fit.calls for t in c.targets)


def close(a: float, b: float) -> bool:
    """True where two measured values agree to one in a thousand, or both are NaN."""
    return (a != a and b != b) or abs(a - b) <= 1e-3 * max(abs(a), abs(b), 1e-3)


def untrained(exam: Exam) -> list[str]:
    """Outputs, in the order written, that have a loss and reach no loss call although fit works.

    Keras 3.4 to 3.6 pair flat lists and leave out, without a word, whatever has no partner.
    """
    loss, outputs = exam.case.compile.loss, exam.case.model.outputs
    if exam.fit.outcome.status != "ok" or loss is None or exam.case.batch.y is None:
        return []
    if not releases.holds("left-out", exam.case.environment.keras):
        return []
    lossless = {path for path, leaf in _losses(exam).items() if leaf is None}
    if not trees.is_leaf(loss) and isinstance(outputs, dict) and isinstance(loss, dict):
        lossless |= {f"y_pred[{key!r}]" for key in outputs if key not in loss}
    met = {output for call in exam.fit.calls for output in call.outputs if output is not None}
    seen = any(output is not None for call in exam.fit.calls for output in call.outputs)
    if exam.fit.calls and not seen:
        return []  # the calls cannot be told apart
    return [path for path in output_paths(exam) if path not in met and path not in lossless]


def by_layer_names(exam: Exam) -> bool:
    """True where Keras goes by the layers' names, and the outputs are a dict with other keys."""
    outputs, names = exam.case.model.outputs, exam.case.model.output_names
    differ = isinstance(outputs, dict) and bool(names) and set(map(str, outputs)) != set(names or ())
    return differ and releases.holds("layer-names", exam.case.environment.keras)


def _losses(exam: Exam) -> dict[str, Any]:
    """{output path: its loss} where losses are given for each output."""
    loss, outputs = exam.case.compile.loss, exam.case.model.outputs
    return {} if trees.is_leaf(loss) else by_output(outputs, tie(outputs, loss, exam.case.model.output_names))


def span(found: Values) -> tuple[float, float] | None:
    """The smallest and the largest finite number that counts, None where there is none."""
    kept = found.kept()
    return (float(kept.min()), float(kept.max())) if kept.size else None


def within_unit(activation: Activation) -> bool:
    """True where an output is known to stay in 0..1."""
    low, high = activation.low, activation.high
    return low is not None and high is not None and low >= -1e-3 and high <= 1 + 1e-3


def is_wrong_pair(call: LossCall, activation: Activation) -> bool:
    """Softmax over several units under a binary cross-entropy, or several sigmoids under a categorical one."""
    several = len(call.output_shapes[0]) > 1 and call.output_shapes[0][-1] > 1
    if activation.name == "softmax":
        return several and call.label.startswith("binary")
    return several and activation.name == "sigmoid" and "categorical" in call.label


def missing_axis(call: LossCall) -> int | None:
    """The size of the target's second axis, as of steps, where that alone keeps it from what the loss takes on this output."""
    target, output = call.target_shapes[0], call.output_shapes[0]
    wanted = output[:-1] if call.label in SPARSE else output
    if call.label in SPARSE and target[-1:] == (1,):
        target = target[:-1]  # as Keras squeezes it
    return target[1] if len(target) > 1 and wanted and (target[0], *target[2:]) == wanted else None


def failed_in(exam: Exam, call: LossCall) -> bool:
    """True where fit raises inside this call."""
    return raises(exam) and exam.fit.stage == "loss" and exam.fit.failed_call == call.number


def on_weights_in_a_dict(exam: Exam, call: LossCall) -> bool:
    """True where fit raises since the sample weights of a subtree come in a dict, of which no tensor can be made."""
    return call.weights_container == "dict" and failed_in(exam, call) and exam.fit.error_at is None


def leaf_calls(exam: Exam) -> Iterator[LossCall]:
    """The calls that returned, on one output leaf with one target leaf, under `exam.run`."""
    for call in exam.run.calls:
        single = not call.subtree and len(call.targets) == len(call.outputs) == 1
        if single and call.value_shape is not None and call.targets[0] is not None and call.outputs[0] is not None:
            yield call


# Losses that take one row a class. Keras's functions, by name (`keras/src/losses/losses.py`).
_ONE_HOT = (
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "kl_divergence",
    "dice",
    "tversky",
)
# Losses that take class numbers, one axis less than the output.
SPARSE = ("sparse_categorical_crossentropy", "categorical_generalized_cross_entropy")


def wrong_encoding(exam: Exam, call: LossCall) -> str | None:
    """ "numbers" where a loss for one-hot rows met class numbers, "rows" for the reverse, else None."""
    if not call.builtin or call.subtree or len(call.targets) != 1 or len(call.outputs) != 1:
        return None
    found = exam.values.get(str(call.targets[0]))
    target, output = call.target_shapes[0], call.output_shapes[0]
    if found is None or found.numbers is None or len(output) < 2 or output[-1] < 2 or -1 in (*target, *output):
        return None
    if call.label in _ONE_HOT and target in (output[:-1], (*output[:-1], 1)):
        kept = found.kept()
        return "numbers" if kept.size and bool((kept == kept.round()).all()) and kept.min() >= 0 else None
    if call.label in SPARSE and target == output:
        rows = found.numbers.reshape(-1, target[-1])
        return "rows" if bool((rows.sum(axis=1) == 1).all()) and bool(((rows == 0) | (rows == 1)).all()) else None
    return None


def transposition(call: LossCall) -> tuple[int, ...] | None:
    """The axes by which the target becomes what the loss takes on this output, or None where it already fits or never does."""
    if not call.builtin or call.subtree or len(call.targets) != 1 or call.targets[0] is None:
        return None
    target, output = call.target_shapes[0], call.output_shapes[0]
    wanted = output[:-1] if call.label in SPARSE and len(target) == len(output) - 1 else output
    if len(target) != len(wanted) or len(target) < 3 or target == wanted or sorted(target) != sorted(wanted):
        return None
    # The samples stay where they are unless only moving them helps.
    first = [0] if target[0] == wanted[0] else []
    if first and sorted(target[1:]) != sorted(wanted[1:]):
        return None
    left = [i for i in range(len(target)) if i not in first]
    order = list(first)
    for size in wanted[len(first) :]:
        axis = next(i for i in left if target[i] == size)
        left.remove(axis)
        order.append(axis)
    return tuple(order)


# What is derived of an exam's outputs, made once an exam: rules ask for it once a finding.
_FLAT: WeakKeyDictionary[Exam, dict[str, int]] = WeakKeyDictionary()
_WRITTEN: WeakKeyDictionary[Exam, list[str]] = WeakKeyDictionary()


def output_places(exam: Exam) -> Mapping[str, int]:
    """{path of an output: its number}, in Keras's order."""
    if exam not in _FLAT:
        _FLAT[exam] = {path: i for i, path in enumerate(trees.paths("y_pred", exam.case.model.outputs))}
    return _FLAT[exam]


def flat_outputs(exam: Exam) -> list[str]:
    """The outputs' paths in Keras's order."""
    return list(output_places(exam))


def output_paths(exam: Exam) -> list[str]:
    """The outputs' paths in the order written."""
    if exam not in _WRITTEN:
        _WRITTEN[exam] = [path for path, _ in trees.declared_leaves("y_pred", exam.case.model.outputs)]
    return list(_WRITTEN[exam])


def names(exam: Exam) -> tuple[str, ...]:
    """The names a user may use for the outputs: top-level dict keys, else `model.output_names`."""
    outputs = exam.case.model.outputs
    if isinstance(outputs, dict):
        return tuple(str(k) for k in outputs)
    return exam.case.model.output_names or ()


def last_key(path: str | None) -> str | None:
    """The last step of a path where it is a string key: "box" of `y['detection']['box']`."""
    found = re.search(r"\['((?:[^'\\]|\\.)*)'\]$", path or "")
    return found.group(1) if found else None


def by_own_names(exam: Exam, argument: str) -> Tree | None:
    """A flat dict by the names of outputs, some of which are below a key, nested like the outputs: `At` its entries, None for what it lacks.

    None where a key names no single output.
    """
    given, outputs = getattr(exam.case.compile, argument), exam.case.model.outputs
    if not isinstance(given, dict) or not isinstance(outputs, dict) or set(given) <= set(outputs):
        return None
    paths = {str(last_key(path)): path for path in output_paths(exam)}
    if len(paths) < count(outputs) or not set(given) <= set(paths) or not all(map(trees.is_leaf, given.values())):
        return None
    held = {paths[key]: At(f"{argument}[{key!r}]") for key, leaf in given.items() if leaf is not None}
    return trees.pack(outputs, [held.get(path) for path in flat_outputs(exam)])


def below(path: str, node: str) -> bool:
    """True for a node's own path and for every path below it."""
    return path == node or path.startswith((node + "[", node + "."))


def pairs(exam: Exam) -> Iterator[tuple[LossCall, str, str | None]]:
    """(call, output path, target path) of every output leaf that a loss call met, under `exam.run`."""
    for call in exam.run.calls:
        targets = call.targets if len(call.targets) == len(call.outputs) else (None,) * len(call.outputs)
        for output, target in zip(call.outputs, targets, strict=True):
            if output is not None:
                yield call, output, target


def nodes(root: str, outputs: Tree, given: Tree) -> Iterator[tuple[str, Tree, Tree]]:
    """(path in `given`, output node, given node) wherever both trees have a node at the same place."""
    yield root, outputs, given
    steps = dict(trees.children(outputs))
    for step, node in trees.children(given):
        if step in steps:
            yield from nodes(root + step, steps[step], node)


def dicts_for_lists(exam: Exam, root: str, given: Tree) -> Iterator[tuple[str, dict[str, str], dict[str, Any]]]:
    """(path, {output: its name, "" where it has none}, the dict) for every dict for outputs in a list or tuple further down, whose names Keras does not look at."""
    outputs, called = exam.case.model.outputs, exam.case.model.output_names or ()
    paths = trees.paths("y_pred", outputs)
    by_path = dict(zip(paths, called, strict=True)) if len(called) == len(paths) else {}
    for path, output, part in nodes(root, outputs, given):
        alike = isinstance(part, dict) and isinstance(output, list | tuple) and len(part) == len(output)
        plain = alike and all(isinstance(key, str) for key in part)  # numbers are places
        if path != root and plain and all(map(trees.is_leaf, (*output, *part.values()))):
            inside = trees.paths("y_pred" + path.removeprefix(root), output)
            yield path, {p: by_path.get(p, "") for p in inside}, part


def keys_meant(names: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, str]:
    """{output: key} for named outputs: one key too many and one output without is a slip; of more only the order as written can say what is meant."""
    unknown = [key for key in given if key not in names.values()]
    left = [output for output, name in names.items() if name not in given]
    if len(left) == len(unknown) <= 1:
        slip = dict(zip(left, unknown, strict=True))
        return {output: slip.get(output, name) for output, name in names.items()}
    return dict(zip(names, given, strict=True))


def rows_of(leaf: Any) -> int | None:
    """The size of axis 0 of an array leaf, None for scalars and None."""
    return leaf.shape[0] if isinstance(leaf, ArrayRef | Spec) and leaf.shape else None


def count(tree: Tree) -> int:
    """How many leaves."""
    return len(trees.values(tree))


def listed(items: Sequence[Any]) -> str:
    """ "a", "a and b", "a, b and c"."""
    texts = [str(item) for item in items]
    if len(texts) > _MOST_LISTED:
        return f"{', '.join(texts[: _MOST_LISTED - 1])} and {len(texts) - _MOST_LISTED + 1} more"
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def number(value: float | None) -> str:
    """A measured value with four significant digits."""
    return "unknown" if value is None else f"{value:.4g}"


def aligned_lists(
    outputs: Tree, loss: Tree, at: str = "loss", output: str = "y_pred"
) -> Iterator[tuple[str, str, Tree, Tree]]:
    """(path of the losses, path of the outputs, losses, outputs) of every place in containers of losses and those of the outputs that they go through.

    A container of one around all is what it holds, unless the first output is a group that it could be for.
    """
    if isinstance(outputs, dict) and isinstance(loss, dict):
        for key in (key for key in loss if key in outputs):
            yield from aligned_lists(outputs[key], loss[key], f"{at}[{key!r}]", f"{output}[{key!r}]")
        return
    lists = isinstance(outputs, list | tuple) and isinstance(loss, list | tuple)
    around = lists and len(loss) == 1 < len(outputs) and not trees.is_leaf(loss[0])
    if around and (trees.is_leaf(outputs[0]) or unwrapped(loss, outputs) is not None):
        yield from aligned_lists(outputs, loss[0], f"{at}[0]", output)
        return
    yield at, output, loss, outputs
    for i, (node, part) in enumerate(zip(outputs, loss, strict=False) if lists else ()):
        yield from aligned_lists(node, part, f"{at}[{i}]", f"{output}[{i}]")


def unwrapped(loss: Tree, outputs: Tree) -> Tree:
    """What has the outputs' containers, inside containers of one; None where `loss` is no such thing."""
    while isinstance(loss, list | tuple) and len(loss) == 1:
        loss = loss[0]
        if trees.paths("", loss) == trees.paths("", outputs):
            return loss
    return None


def losses_by_group(exam: Exam) -> dict[Any, Tree] | None:
    """A list of losses as long as a dict of outputs that has groups, by the dict's keys: Keras calls each of them with all outputs.

    None for other losses, and where the user's own would not run as losses of the groups: then they may be meant for all outputs.
    """
    loss, outputs, declared = exam.case.compile.loss, exam.case.model.outputs, exam.declared
    if not is_flat_list(loss) or not isinstance(outputs, dict) or not 1 < len(loss) == len(outputs) < count(outputs):
        return None
    if declared is None or "loss" not in declared.changed:
        return None
    if declared.run.outcome.status != "ok" and not any(call.builtin and call.subtree for call in exam.fit.calls):
        return None
    return {
        key: None if part is None else At(f"loss[{i}]") for i, (key, part) in enumerate(zip(outputs, loss, strict=True))
    }


def is_flat_list(tree: Tree) -> bool:
    """A list or tuple of leaves."""
    return isinstance(tree, list | tuple) and all(trees.is_leaf(part) for part in tree)


def is_short(loss: Tree, outputs: Tree) -> bool:
    """A list of losses with fewer entries than the list of outputs."""
    return isinstance(loss, list | tuple) and isinstance(outputs, list | tuple) and len(loss) < len(outputs)


def loss_code(loss: Any) -> str:
    """A loss as a user would type it: "'mse'", "my_loss", "MyLoss()"; "..." for a tree."""
    if isinstance(loss, str):
        return repr(loss)
    if not trees.is_leaf(loss):
        return "..."
    return str(getattr(loss, "__name__", None) or f"{type(loss).__name__}()")


def tree_code(outputs: Tree, leaf: Callable[[str], str], path: str = "y_pred") -> str:
    """Code of a tree nested like the outputs, in the order written; `leaf` gives the expression for an output's path."""
    if trees.is_leaf(outputs):
        return leaf(path)
    parts = [(step, tree_code(node, leaf, path + step)) for step, node in trees.children(outputs)]
    if isinstance(outputs, dict):
        return "{" + ", ".join(f"{step[1:-1]}: {value}" for step, value in parts) + "}"
    if type(outputs) is tuple:
        return "(" + ", ".join(value for _, value in parts) + ("," if len(parts) == 1 else "") + ")"
    return "[" + ", ".join(value for _, value in parts) + "]"


def dict_code(items: Sequence[tuple[str, str]]) -> str:
    """ "{'z': y[0], 'a': y[1]}" of (key, expression) pairs."""
    return "{" + ", ".join(f"{key!r}: {value}" for key, value in items) + "}"


def class_axis(call: LossCall) -> int | None:
    """The axis of an output's classes under a cross-entropy, counted from the front; None where the loss names one that the output has not."""
    axis, rank = call.arguments.get("axis", -1), len(call.output_shapes[0])
    return axis % rank if isinstance(axis, int) and -rank <= axis < rank else None
