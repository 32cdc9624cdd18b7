"""What a person who wrote these containers means, and its objective in NumPy. Nothing of lossdoctor, nothing of Keras.

The meaning: targets, losses, weights and sample weights go to the output of the same name where names exist, else to the
output in the same place, in the order in which the outputs were written. No container is sorted. What names no output, or
stands in no output's place, means nothing (`NoMeaning`): then no training is the declared one. What can be read in two ways is `Ambiguous`,
with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tests.fuzz import numbers
from tests.fuzz.spec import WHOLE, Case, Loss, Output, Target, Tree, Weights, children, is_leaf, leaves, mapped, packed

MISSING: Any = object()


class NoMeaning(Exception):
    """The containers declare no objective; the text says where."""


class Ambiguous(Exception):
    """The containers can be read in two ways; the text says why."""


@dataclass(frozen=True)
class Term:
    """One summand of the objective."""

    output: int
    loss: Loss
    weight: float
    target: Target
    sample_weight: Weights | None


def terms(case: Case) -> list[Term]:
    """The declared objective, output by output. Raises `NoMeaning` or `Ambiguous`."""
    if case.made == "subclassed":
        case = replace(case, outputs=_unnamed(case.outputs))
    outputs = leaves(case.outputs)
    if len(outputs) == 1 and isinstance(case.loss, list | tuple) and len(case.loss) > 1:
        return _several_on_one(case)
    chosen = _losses(case)
    trained = [i for i, loss in enumerate(chosen) if loss is not None]
    if not trained:
        if case.regularized:
            raise Ambiguous("no output has a loss: the regularizers may be what is to be trained")
        raise NoMeaning("no output has a loss")
    targets = _spread(case, case.y, trained, "target")
    # Each loss has one weight and one array of sample weights, those of a whole subtree too.
    tree, sizes = (case.outputs, [1] * len(outputs)) if is_leaf(case.loss) else _collapsed(case.outputs, chosen)
    losses = replace(case, outputs=tree)
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    heads = [chosen[start] for start in starts]
    with_loss = [k for k, loss in enumerate(heads) if loss is not None]
    factors = _spread_over(_weights(losses, heads, with_loss), sizes)
    if is_leaf(case.sample_weight):
        sample_weights = [case.sample_weight] * len(outputs)
    else:
        found = _spread(losses, case.sample_weight, with_loss, "sample weight")
        sample_weights = _spread_over([None if w is MISSING else w for w in found], sizes)
    made = []
    for i in trained:
        if targets[i] is MISSING or targets[i] is None:
            raise NoMeaning(f"output {i} has a loss and no target")
        made.append(Term(i, chosen[i], factors[i], targets[i], sample_weights[i]))
    return made


def _unnamed(outputs: Tree) -> Tree:
    """The outputs of a model that calls them by nothing but the keys of their dicts."""
    return packed(outputs, [replace(o, name=f"<{i}>") for i, o in enumerate(leaves(outputs))])


def _collapsed(outputs: Tree, chosen: list[Any]) -> tuple[Tree, list[int]]:
    """The outputs with one place for each subtree that has a loss of its own, and how many outputs each place stands for."""
    if is_leaf(outputs):
        return outputs, [1]
    nodes, sizes, at = [], [], 0
    for key, node in children(outputs):
        count = len(leaves(node))
        if not is_leaf(node) and all(loss is not None and loss.kind == WHOLE for loss in chosen[at : at + count]):
            nodes.append(Output(f"[{key}]", ()))
            sizes.append(count)
        else:
            nodes.append(node)
            sizes += [1] * count
        at += count
    if isinstance(outputs, dict):
        return dict(zip(outputs, nodes, strict=True)), sizes
    return type(outputs)(nodes), sizes


def _spread_over(given: list[Any], sizes: list[int]) -> list[Any]:
    return [one for one, size in zip(given, sizes, strict=True) for _ in range(size)]


def _several_on_one(case: Case) -> list[Term]:
    """A list of losses for one output means their sum, each with the weight in its place."""
    if not all(is_leaf(loss) for loss in case.loss):
        raise NoMeaning("the losses of one output are nested")
    given, count = case.loss_weights, len(case.loss)
    factors = [1.0 if given is None else given] * count if is_leaf(given) else list(given)
    if len(factors) != count or isinstance(given, dict) or not all(is_leaf(w) for w in factors):
        raise NoMeaning(f"{len(factors)} loss weights for {count} losses of one output")
    return [
        term
        for loss, weight in zip(case.loss, factors, strict=True)
        if loss is not None
        for term in terms(Case(case.n, case.outputs, loss, case.y, float(weight), case.sample_weight))
    ]


def _losses(case: Case) -> list[Any]:
    count = len(leaves(case.outputs))
    if is_leaf(case.loss):
        return [case.loss] * count
    given = _assigned(case, case.loss, "loss")
    return [None if loss is MISSING else loss for loss in given]


def _weights(case: Case, chosen: list[Any], trained: list[int]) -> list[float]:
    given, count = case.loss_weights, len(chosen)
    if given is None:
        return [1.0] * count
    if is_leaf(case.loss) and isinstance(given, list | tuple) and len(given) == 1:
        given = given[0]  # one weight for one loss
    if is_leaf(given):
        return [float(given)] * count
    short = not isinstance(given, dict) and len(given) == len(trained) < count and all(is_leaf(w) for w in given)
    if isinstance(case.loss, dict) and not isinstance(given, dict) and isinstance(case.outputs, dict):
        order = [key for key in case.outputs if key in case.loss]
        if order != list(case.loss) and len({*leaves(given)}) > 1:
            raise Ambiguous("a list of weights follows the losses as written, or the outputs as written")
    if short:
        found = dict(zip(trained, given, strict=True))
        return [float(found.get(i, 1.0)) for i in range(count)]
    try:
        found = _assigned(case, given, "loss weight", _names(case, trained))
    except NoMeaning:
        flat = leaves(given)
        if len(flat) != count or len({*flat}) > 1:
            raise
        found = flat  # one for each, and all alike: whose is whose does not matter
    return [1.0 if w is MISSING or w is None else float(w) for w in found]


def _spread(case: Case, given: Tree, trained: list[int], what: str) -> list[Any]:
    """`assigned`, or one for each output that has a loss, where there are just as many."""
    count = len(leaves(case.outputs))
    if isinstance(given, list | tuple) and len(given) == len(trained) < count and all(is_leaf(g) for g in given):
        if isinstance(case.loss, dict) and isinstance(case.outputs, dict):
            order = [key for key in case.outputs if key in case.loss]
            if order != list(case.loss):
                raise Ambiguous(f"{what}s in a list follow the losses as written, or the outputs as written")
        found = dict(zip(trained, given, strict=True))
        return [found.get(i, MISSING) for i in range(count)]
    if is_leaf(given) and len(trained) == 1 < count:
        return [given if i in trained else MISSING for i in range(count)]  # the one output that is trained
    try:
        return _assigned(case, given, what, _names(case, trained))
    except NoMeaning:
        if isinstance(given, list | tuple) and len(given) == 1 and isinstance(given[0], list | tuple):
            return _spread(case, given[0], trained, what)  # one container too many, around all
        raise


def _names(case: Case, trained: list[int]) -> set[str]:
    flat = leaves(case.outputs)
    return {flat[i].name for i in trained}


def _assigned(case: Case, given: Tree, what: str, wanted: set[str] | None = None) -> list[Any]:
    """`assigned` to the outputs, or to what a functional model returns: of a list of one, that one (`unpack_singleton`)."""
    outputs = case.outputs
    try:
        return assigned(outputs, given, what, wanted)
    except NoMeaning:
        single = isinstance(outputs, list | tuple) and len(outputs) == 1 and not is_leaf(outputs[0])
        if case.made == "subclassed" or not single:
            raise
        return assigned(outputs[0], given, what, wanted)


def assigned(outputs: Tree, given: Tree, what: str, wanted: set[str] | None = None) -> list[Any]:
    """For every output in the order written, what `given` has for it, or `MISSING`. Raises `NoMeaning`.

    `wanted` are the names of the outputs for which something is due (those with a loss), None for all.
    """
    flat = leaves(outputs)
    if is_leaf(outputs):
        return [_for_one(outputs, given, what)]
    if is_leaf(given):
        whole = what == "loss" and (given is None or given.kind == WHOLE)
        if len(flat) == 1 or whole or (wanted is not None and not any(leaf.name in wanted for leaf in flat)):
            return [given] * len(flat)
        if what == "loss":
            raise Ambiguous("Keras's own loss for a group is that of each output, added up, or that of all together")
        raise NoMeaning(f"one {what} stands where {len(flat)} outputs are")
    if isinstance(given, dict):
        return _by_name(outputs, given, what, wanted)
    if len(given) == len(outputs) == 1 and isinstance(outputs, dict):
        try:
            [(_, node)] = children(outputs)
            return assigned(node, given[0], what, wanted)
        except NoMeaning:  # one container too many, around all
            return assigned(outputs, given[0], what, wanted)
    if len(given) == len(outputs):
        found = [assigned(node, part, what, wanted) for (_, node), part in zip(children(outputs), given, strict=True)]
        return [leaf for part in found for leaf in part]
    if len(given) == len(flat) and all(is_leaf(part) for part in given):
        return list(given)
    due = [leaf for leaf in flat if wanted is not None and leaf.name in wanted]
    if len(given) == len(due) and all(is_leaf(part) for part in given):  # one for each output that has a loss
        return [given[due.index(leaf)] if leaf in due else MISSING for leaf in flat]
    if len(given) == 1:
        first = next(node for _, node in children(outputs))
        if what == "loss" and not is_leaf(given[0]) and not is_leaf(first) and len(given[0]) == len(first):
            raise Ambiguous(
                "losses nested as the first group of outputs are for it alone, or in one container too many"
            )
        return assigned(outputs, given[0], what, wanted)  # one container too many, around all
    raise NoMeaning(f"{len(given)} {what}s for {len(outputs)} outputs")


def _for_one(output: Output, given: Tree, what: str) -> Any:
    if is_leaf(given):
        return given
    if len(given) != 1:
        flat = leaves(given)
        if what == "sample weight" and flat and all(_equal(leaf, flat[0]) for leaf in flat):
            raise Ambiguous("one array of sample weights given several times may mean that one")
        raise NoMeaning(f"{len(given)} {what}s for one output")
    [(_, node)] = children(given)  # under another name too: there is only one output to mean
    return _for_one(output, node, what)


def _by_name(outputs: Tree, given: dict[str, Any], what: str, wanted: set[str] | None) -> list[Any]:
    named = outputs if isinstance(outputs, dict) else {leaf.name: leaf for leaf in leaves(outputs)}
    unknown = [key for key in given if key not in named]
    groups = [key for key in unknown if not is_leaf(given[key])]
    if named is not outputs and len(unknown) == len(groups) == 1 == sum(
        not is_leaf(node) for _, node in children(outputs)
    ):
        # Outputs by place have names, their groups have none: the only group of what is given is the only group's.
        named = {groups[0] if not is_leaf(node) else node.name: node for _, node in children(outputs)}
    if what == "loss":  # no loss for what is no output takes nothing away
        given = {key: node for key, node in given.items() if key in named or node is not None}
    inner = _keys(outputs) if isinstance(outputs, dict) else []
    if unknown and len({*inner}) == len(inner) and {*given} <= {*inner} and all(map(is_leaf, given.values())):
        return [given.get(key, MISSING) for key in inner]  # by the outputs' own keys, some of which are in groups
    try:
        given = _by_elimination(named, given, what, wanted)
    except NoMeaning:
        if named is not outputs and _as_written(outputs, given):
            raise Ambiguous("keys that name nothing may be in the order of the outputs") from None
        raise
    found: list[Any] = []
    for key, node in named.items():
        found += assigned(node, given[key], what, wanted) if key in given else [MISSING] * len(leaves(node))
    return found


def _as_written(outputs: Any, given: dict[str, Any]) -> bool:
    """True for as many keys as outputs in a list, in the alphabet's order, which Keras takes, and those that name one at its place."""
    if len(given) != len(outputs) or not all(map(is_leaf, (*outputs, *given.values()))):
        return False
    names = [output.name for output in outputs]
    return [*given] == sorted(given) and all(key not in names or key == names[i] for i, key in enumerate(given))


def _keys(outputs: Tree) -> list[Any]:
    """The key or place of every output in its own container."""
    found: list[Any] = []
    for key, node in children(outputs):
        found += [key] if is_leaf(node) else _keys(node)
    return found


def _by_elimination(named: dict[str, Any], given: dict[str, Any], what: str, wanted: set[str] | None) -> dict[str, Any]:
    """Keys that name no output, renamed where only one output is left for them (or any of those left, as they are all alike)."""
    unknown = [k for k in given if k not in named]
    free = [k for k in named if k not in given]
    left = [k for k in free if wanted is None or any(leaf.name in wanted for leaf in leaves(named[k]))]
    if not unknown:
        return given
    alike = all(is_leaf(given[k]) and _equal(given[k], given[unknown[0]]) for k in unknown)
    if len(unknown) == len(free) and alike:
        left = free  # for outputs without a loss, too
    if len(unknown) != len(left) or (len(unknown) > 1 and not alike):
        raise NoMeaning(f"{what} {unknown[0]!r} names no output")
    return {k: node for k, node in given.items() if k in named} | {
        k: given[u] for k, u in zip(left, unknown, strict=True)
    }


def _equal(one: Any, other: Any) -> bool:
    """True for equal leaves, arrays among them (a repaired batch has those)."""
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else bool(one == other)


def aligned(output: Output, loss: Loss, given: Target, n: int) -> np.ndarray:
    """The target in the output's shape, or as class numbers, one for each of its rows. Raises `NoMeaning`."""
    array, shape = numbers.target(given), (n, *output.shape)
    rows = output.activation == "softmax" and "crossentropy" in loss.kind and given.shape != shape
    if rows and given.shape in (shape[:-1], (*shape[:-1], 1)) and array.min() >= 0 and array.max() < shape[-1]:
        return array.reshape((*shape[:-1], 1))  # class numbers
    if given.shape in (shape, (*shape, 1)) or (*given.shape, 1) == shape:
        return array.reshape(shape).astype("float64")
    # Of one row each entry has its place, whatever axes of size 1 there are.
    if n == 1 and long(given.shape) == long(shape):
        return array.reshape(shape).astype("float64")
    if loss.kind in ("cubed", WHOLE) and given.shape[:1] == (n,):
        raise Ambiguous("a user's own loss may take targets of another shape on purpose")
    raise NoMeaning(f"a target of shape {given.shape} has not one entry for each of {shape}")


def long(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of more than one entry."""
    return tuple(size for size in shape if size != 1)


def sample_weights(given: Weights | None, values: tuple[int, ...]) -> np.ndarray | None:
    """The weights against losses of shape `values`: one a sample, or one a position. Raises `NoMeaning`."""
    if given is None:
        return None
    array, n = numbers.weights(given).astype("float64"), values[0]
    if given.shape in ((n,), (n, 1)):
        return array.reshape((n,) + (1,) * (len(values) - 1))
    if given.shape == values:
        return array
    if given.shape == (*values, 1):
        return array[..., 0]
    raise NoMeaning(f"sample weights of shape {given.shape} for losses of shape {values}")


def objective(case: Case, meant: list[Term], raw: list[np.ndarray]) -> float:
    """The declared objective for the values in front of the activations. Raises `NoMeaning`."""
    outputs, total = leaves(case.outputs), 0.0
    for term in meant:
        output = outputs[term.output]
        p = numbers.predicted(output, raw[term.output])
        if term.loss.kind == "cubed" and term.loss.reduction == "sum" and not output.shape:
            raise Ambiguous("a user's own loss that returns one number has reduced itself, as its author wanted")
        by_place = isinstance(case.outputs, dict) and not isinstance(case.y, dict)
        if (
            by_place
            and (term.loss.kind, term.loss.form) == ("cubed", "object")
            and len(term.target.shape) != len(output.shape) + 1 > 1
        ):
            raise Ambiguous(
                "by place, a target of another rank than its own loss wants may be meant for another output"
            )
        if term.loss.form == "scalar" and output.masked:
            raise Ambiguous("a user's own loss that returns one number may look at the mask itself")
        values = numbers.losses(term.loss, aligned(output, term.loss, term.target, case.n), p)
        weights = sample_weights(term.sample_weight, values.shape)
        if output.masked:
            total += term.weight * _masked(term.loss, values, weights, numbers.mask(output, case.n)[..., 0])
            continue
        if term.loss.reduction == "mean_with_sample_weight" and weights is not None and weights.shape != values.shape:
            raise Ambiguous("losses are divided by the sum of the weights as given, or as spread over the steps")
        total += term.weight * numbers.reduced(term.loss, values, weights)
    return total


def _masked(loss: Loss, values: np.ndarray, weights: np.ndarray | None, mask: np.ndarray) -> float:
    """The same where padding counts neither as a loss nor as an entry."""
    w = mask if weights is None else mask * np.broadcast_to(weights, values.shape)
    total = float(np.sum(values * w))
    if loss.reduction == "sum":
        return total
    return total / float(np.sum(w if loss.reduction == "mean_with_sample_weight" else mask))


def joined(case: Case) -> np.ndarray:
    """What the heads read: the inputs' sum, the one at place i (as written) times i + 1. Raises `NoMeaning`."""
    if case.inputs is None:
        return numbers.features(case).astype("float64")
    names = mapped(lambda name: Output(name, ()), case.inputs)
    given = case.x
    if isinstance(given, dict):  # an array that no input asks for is left alone
        given = {key: node for key, node in given.items() if key in leaves(case.inputs)} or given
    fed = assigned(names, given, "array of x")
    if any(feed is MISSING for feed in fed):
        raise NoMeaning("an input has no array")
    parts = [(i + 1) * numbers.fed(feed, case.n).astype("float64") for i, feed in enumerate(fed)]
    return np.sum(parts, axis=0)


@dataclass(frozen=True, eq=False)
class Declared:
    """The declared objective's value, and its gradient at each output's kernel, by the output's name."""

    value: float
    gradients: dict[str, np.ndarray]


STEP = 1e-5


def declared(case: Case) -> Declared:
    """Value and gradient, by central differences in float64. Raises `NoMeaning` or `Ambiguous`."""
    in_order = _sorted(case)
    if in_order is None:
        return _declared(case)
    try:
        otherwise = _declared(in_order) and _misfits(in_order)
    except (NoMeaning, Ambiguous):
        return _declared(case)
    try:
        found = _declared(case)
    except NoMeaning:
        found = None
    if found is not None and not 0 == otherwise < _misfits(case):
        return found
    raise Ambiguous("by place, the targets fit the outputs better in the order of their sorted names")


def _misfits(case: Case) -> int:
    """How many targets have another shape than their output, where they are no class numbers for a loss that takes those."""
    outputs, found = leaves(case.outputs), 0
    for term in terms(case):
        shape, given = (case.n, *outputs[term.output].shape), term.target.shape
        classes = term.loss.kind in ("sparse_categorical_crossentropy", "crossentropy")
        found += given != shape and not (classes and given in (shape[:-1], (*shape[:-1], 1)))
    return found


def _sorted(case: Case) -> Case | None:
    """The case with its dict of outputs written in sorted order, where targets alone are given by place; else None."""
    by_name = isinstance(case.loss, dict) or is_leaf(case.loss)
    if not isinstance(case.outputs, dict) or isinstance(case.y, dict) or is_leaf(case.y) or not by_name:
        return None
    in_order = dict(sorted(case.outputs.items()))
    return None if [*in_order] == [*case.outputs] else replace(case, outputs=in_order)


def _declared(case: Case) -> Declared:
    meant = terms(case)
    outputs = leaves(case.outputs)
    unreduced = [term for term in meant if term.loss.reduction is None]
    if any(outputs[term.output].shape for term in unreduced):
        raise NoMeaning("an unreduced loss is no number that could be minimised")
    if unreduced:
        raise Ambiguous("an unreduced loss of an output without a last axis is their mean, or their sum")
    read = joined(case)
    kernels = [numbers.kernel(output).astype("float64") for output in outputs]
    raw = [read @ kernel for kernel in kernels]
    value = objective(case, meant, raw)
    behind = [np.zeros_like(part) for part in raw]
    for i in {term.output for term in meant}:
        own = [t for t in meant if t.output == i]
        for place in np.ndindex(raw[i].shape):
            before = raw[i][place]
            raw[i][place] = before + STEP
            above = objective(case, own, raw)
            raw[i][place] = before - STEP
            behind[i][place] = (above - objective(case, own, raw)) / (2 * STEP)
            raw[i][place] = before
    gradients = [read.T @ part for part in behind]
    if case.regularized:
        value += numbers.REGULARIZER * sum(float(np.sum(kernel**2)) for kernel in kernels)
        gradients = [g + 2 * numbers.REGULARIZER * k for g, k in zip(gradients, kernels, strict=True)]
    return Declared(value, {output.name: found for output, found in zip(outputs, gradients, strict=True)})
