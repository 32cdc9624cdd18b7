"""Cases drawn by hypothesis: mostly as people write them, with a slip in about every second one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hypothesis
from hypothesis import strategies as st

from tests.fuzz.spec import (
    WHOLE,
    Case,
    Feed,
    Loss,
    Metric,
    Output,
    Target,
    Tree,
    Weights,
    children,
    is_leaf,
    leaves,
    mapped,
    packed,
)

NAMES = ("z", "a", "m", "box", "cls", "top")
_REGRESSION = ("mse", "mse", "mae", "huber", "log_cosh", "cubed")
_INPUTS = ("u", "k", "w")
_SLIPS = ("short", "long", "renamed", "missing", "wrapped", "nested", "bare")


def some(draw: Any, *options: Any) -> Any:
    """One of the options; those given twice come twice as often."""
    return draw(st.sampled_from(options))


def odds(draw: Any, percent: int) -> bool:
    """True in about so many of 100 draws; hypothesis shrinks towards False."""
    return bool(draw(st.sampled_from(range(100))) >= 100 - percent)


@st.composite
def cases(draw: Any) -> Case:
    """One case. Slips are rare in each argument, so that most cases have one or none."""
    n = some(draw, 2, 3, 4, 4, 3, 2, 3, 1)
    outputs = draw_outputs(draw, n)
    flat = leaves(outputs)
    slips = odds(draw, 30)
    slip = some(draw, "loss", "y", "y", "y", "loss_weights", "sample_weight", "target", "target") if slips else ""
    tree = with_subtree(outputs) if not any(o.masked for o in flat) and odds(draw, 25) else outputs
    heads = leaves(tree)  # what has a loss each: outputs, and subtrees of them
    losses = [draw_loss(draw, head, n) for head in heads]
    loss: Tree = losses[0] if tree is outputs and one_for_all(flat, losses[0]) and odds(draw, 35) else None
    if loss is None:
        if len(heads) > 1 and odds(draw, 12):
            losses[draw(st.integers(0, len(heads) - 1))] = None
        loss = arranged(draw, tree, losses, form_of(draw, tree, slip == "loss", True))
    by_head = dict(zip(heads, losses, strict=True))
    chosen = [loss if is_leaf(loss) else by_head.get(output, Loss(WHOLE)) for output in flat]
    targets = [draw_target(draw, o, chosen[i], n, i, slip == "target") for i, o in enumerate(flat)]
    if len(flat) > 1 and odds(draw, 8) and flat[0].shape == flat[1].shape and flat[0].activation == flat[1].activation:
        targets[1] = targets[0]
    form = form_of(draw, outputs, slip == "y", any(c is None for c in chosen))
    y = arranged(draw, outputs, targets, form)
    made = "subclassed" if odds(draw, 12) else "functional"
    several = made == "functional" and not any(o.masked for o in flat) and odds(draw, 10)
    inputs, x = draw_inputs(draw) if several else (None, None)
    regularized = odds(draw, 7)
    hypothesis.assume(loss is not None or not regularized)  # regularizers alone may be what is to be trained
    return Case(
        n,
        outputs,
        loss,
        y,
        draw_weights(draw, tree, loss, slip == "loss_weights"),
        draw_sample_weights(draw, n, tree, form, slip == "sample_weight"),
        draw_metrics(draw, outputs) if odds(draw, 15) else None,
        inputs,
        x,
        made,
        regularized,
    )


def draw_inputs(draw: Any) -> tuple[Tree, Tree]:
    """Two or three inputs in a container, and arrays for them."""
    names = list(draw(st.permutations(_INPUTS)))[: some(draw, 2, 2, 3)]
    inputs: Tree = {name: name for name in names} if odds(draw, 60) else names
    outputs = mapped(lambda name: Output(name, ()), inputs)  # arranged as what belongs to outputs is
    form = form_of(draw, outputs, odds(draw, 30))
    return inputs, arranged(draw, outputs, [Feed(i) for i in range(len(names))], form)


def draw_metrics(draw: Any, outputs: Tree) -> Tree:
    """One metric or two for every output, or a list for all."""

    def one() -> Metric:
        return Metric(some(draw, "mae", "mse", "mse", "accuracy"), some(draw, "string", "string", "object"))

    flat = leaves(outputs)
    if odds(draw, 30):
        return [one() for _ in range(some(draw, 1, 1, 2))]
    several = odds(draw, 40)
    metrics = [[one() for _ in range(some(draw, 1, 2))] if several else one() for _ in flat]
    found = arranged(draw, outputs, metrics, form_of(draw, outputs, odds(draw, 20), True))
    return [found] if isinstance(found, Metric) else found  # `compile` itself raises for one that is bare


def draw_outputs(draw: Any, n: int) -> Tree:
    """The tree of outputs."""
    names = list(draw(st.permutations(NAMES)))
    alike = draw_output(draw, "", n) if odds(draw, 70) else None

    def leaf() -> Output:
        made = alike if alike is not None else draw_output(draw, "", n)
        return replace(made, name=names.pop() if odds(draw, 85) else f"{names.pop()}_head")

    def group(kind: str, count: int, *inner: Any) -> Tree:
        nodes = [*inner, *(leaf() for _ in range(count - len(inner)))]
        if len(nodes) > 1 and odds(draw, 50):
            nodes.reverse()
        if kind == "dict":
            keys = [n.name.removesuffix("_head") if isinstance(n, Output) else names.pop() for n in nodes]
            return dict(zip(keys, nodes, strict=True))
        return nodes if kind == "list" else tuple(nodes)

    kind = some(draw, "one", "list", "list", "tuple", "dict", "dict", "dict", "nested", "nested")
    if kind == "one":
        return leaf()
    if kind != "nested":
        return group(kind, some(draw, 2, 2, 2, 3, 1))
    inner = group(some(draw, "list", "tuple", "dict", "dict"), 2)
    if odds(draw, 15):
        inner = group(some(draw, "list", "tuple", "dict", "dict"), some(draw, 2, 2, 1), inner)
    return group(some(draw, "list", "tuple", "dict", "dict"), some(draw, 2, 2, 1), inner)


def draw_output(draw: Any, name: str, n: int) -> Output:
    """One output; widths and steps that equal the batch size are frequent."""
    made = _output(draw, name, n)
    return replace(made, masked=True) if len(made.shape) > 1 and made.shape[0] > 1 and odds(draw, 20) else made


def _output(draw: Any, name: str, n: int) -> Output:
    activation = some(draw, "linear", "linear", "linear", "softmax", "sigmoid")
    if activation == "softmax":
        return Output(name, some(draw, (3,), (3,), (max(n, 2),), (2, 3), (n, 2)), "softmax")
    if activation == "sigmoid":
        return Output(name, some(draw, (1,), (1,), (3,), (n,), (n, 1)), "sigmoid")
    return Output(name, some(draw, (1,), (1,), (1,), (2,), (3,), (n,), (2, 1), (n, 1), (n, 2), (3, 2), ()))


def with_subtree(outputs: Tree) -> Tree:
    """The outputs with one leaf of no activation for each subtree, where there is one: the subtree has a loss of its own."""
    if is_leaf(outputs) or all(is_leaf(node) for _, node in children(outputs)):
        return outputs
    nodes = [node if is_leaf(node) else Output(f"<{key}>", (), WHOLE) for key, node in children(outputs)]
    return dict(zip(outputs, nodes, strict=True)) if isinstance(outputs, dict) else type(outputs)(nodes)


def draw_loss(draw: Any, output: Output, n: int) -> Loss:
    """A loss that fits the output, in any form and reduction."""
    if output.activation == WHOLE:
        form = some(draw, "function", "function", "object")
        return Loss(
            WHOLE, form, some(draw, "sum_over_batch_size", "sum") if form == "object" else "sum_over_batch_size"
        )
    if output.activation == "softmax":
        kind = some(draw, "categorical_crossentropy", "sparse_categorical_crossentropy", "crossentropy")
    elif output.activation == "sigmoid":
        kind = some(draw, "binary_crossentropy", "binary_crossentropy", "mse")
    else:
        kind = some(draw, *_REGRESSION)
    if kind == "crossentropy":
        return Loss(kind)
    form = some(draw, "string", "string", "string", "function", "object", "object")
    if kind == "cubed":
        form = some(draw, "function", "object", "scalar")
    if form != "object":
        return Loss(kind, form)
    mean = "sum_over_batch_size"
    return Loss(kind, form, some(draw, *[mean] * 6, "sum", "sum", "mean_with_sample_weight", None if n > 1 else mean))


def one_for_all(flat: list[Output], loss: Loss) -> bool:
    """True where the loss fits every output."""
    return len({output.activation for output in flat}) == 1 or loss.kind == "mse"


def draw_target(draw: Any, output: Output, loss: Loss | None, n: int, i: int, slip: bool) -> Target:
    """A target for one output, now and then in another rank or encoding that means the same."""
    whole = (n, *output.shape)
    seed = 10 * draw(st.integers(0, 3)) + i
    if output.activation == "softmax":
        one_hot = loss is not None and loss.kind == "categorical_crossentropy"
        if loss is not None and loss.kind in ("crossentropy", "mse", WHOLE):
            one_hot = loss.kind != "crossentropy" or odds(draw, 50)
        if slip and odds(draw, 50):
            one_hot = not one_hot
        count = whole[-1]
        if one_hot:
            return Target("rows", _other(draw, whole, n) if slip and odds(draw, 40) else whole, seed, count)
        shape = whole[:-1] if odds(draw, 70) else (*whole[:-1], 1)
        return Target("classes", shape, seed, count, some(draw, "int64", "int64", "int32", "float32"))
    shape = whole
    if slip:
        shape = _other(draw, whole, n)
    elif whole[-1] == 1 and len(whole) > 1 and odds(draw, 25):
        shape = whole[:-1]
    elif odds(draw, 5):
        shape = (*whole, 1)
    if output.activation == "sigmoid":
        return Target("bits", shape, seed, 2, some(draw, "float32", "float32", "int64", "bool"))
    return Target("numbers", shape, seed, 0, some(draw, "float32", "float32", "float32", "float64", "int64"))


def _other(draw: Any, whole: tuple[int, ...], n: int) -> tuple[int, ...]:
    """Another shape than the output's."""
    options = [whole[:-1] or (1,), (*whole, 1), (*whole[:-1], whole[-1] + 1), (max(n - 1, 1), *whole[1:]), (n, 1), (n,)]
    options += [(1, *whole[1:]), (n, 1, *whole[1:]), (n, n), whole[::-1]]
    return tuple(draw(st.sampled_from(options)))


def draw_weights(draw: Any, outputs: Tree, loss: Tree, slip: bool) -> Tree:
    """loss_weights, None in most cases; one number for one loss."""
    if not slip and not odds(draw, 30):
        return None
    numbers = [some(draw, 0.5, 2.0, 10.0, 3.0) for _ in leaves(outputs)]
    if is_leaf(outputs) or odds(draw, 8) or (is_leaf(loss) and odds(draw, 80)):
        return numbers[0]
    return arranged(draw, outputs, numbers, form_of(draw, outputs, slip, not is_leaf(loss)))


def draw_sample_weights(draw: Any, n: int, outputs: Tree, form: str, slip: bool) -> Tree:
    """Sample weights, None in most cases, else one array or in the containers of y."""
    if not slip and not odds(draw, 22):
        return None
    arrays = [Weights(_weight_shape(draw, n, o, slip), 10 + i) for i, o in enumerate(leaves(outputs))]
    if odds(draw, 40):
        return arrays[0]
    if slip or odds(draw, 20):
        form = form_of(draw, outputs, slip)
    return arranged(draw, outputs, arrays, form)


def _weight_shape(draw: Any, n: int, output: Output, slip: bool) -> tuple[int, ...]:
    shapes = [(n,), (n,), (n,), (n, 1)]
    if len(output.shape) > 1:
        shapes += [(n, output.shape[0])] * 2
    if slip:
        shapes += [(n, 2), (n, n), (n, *output.shape), (n, *output.shape[:1])]
    return tuple(draw(st.sampled_from(shapes)))


def form_of(draw: Any, outputs: Tree, slip: bool, partial: bool = False) -> str:
    """How an argument is arranged: as the outputs are, in another way that says the same, or with a slip."""
    if slip:
        return str(some(draw, *_SLIPS))
    if is_leaf(outputs):
        return str(some(draw, "same", "same", "wrapped", "named"))
    return str(some(draw, *(["same"] * 7), "other", *(["place"] * 4), "named", "flat", *(["partial"] * partial)))


def arranged(draw: Any, outputs: Tree, flat: list[Any], form: str) -> Tree:
    """`flat` (in the order written) in containers that say which output each belongs to; with a slip, in others."""
    return _formed(draw, form, outputs, flat, packed(outputs, flat))


def _formed(draw: Any, form: str, outputs: Tree, flat: list[Any], same: Tree) -> Tree:
    names = [leaf.name for leaf in leaves(outputs)]
    if form == "same":
        return _shuffled(draw, same)
    if form == "other":
        return _exchanged(same)
    if form == "place":
        return _by_place(same)
    if form == "flat":
        return list(flat)
    if form == "named" and not isinstance(outputs, dict):
        return _shuffled(draw, dict(zip(names, flat, strict=True)))
    if form == "partial":
        kept = {name: value for name, value in zip(names, flat, strict=True) if value is not None}
        if isinstance(same, dict):
            return {
                key: node for key, node in same.items() if node is not None and (len(same) < 2 or odds(draw, 70))
            } or same
        return list(kept.values()) if odds(draw, 60) else kept
    if form == "bare":
        return flat[0]
    if form == "wrapped":
        return [same]
    if is_leaf(same):
        return {"short": [], "long": [same, same], "renamed": {"o": same}, "missing": {}}.get(form, [[same]]) or same
    return _slipped(draw, form, same)


def _slipped(draw: Any, form: str, same: Tree) -> Tree:
    """The same containers with one place too few, too many, misnamed, or nested, at the top or in a group."""
    groups = [i for i, (_, node) in enumerate(children(same)) if not is_leaf(node)]
    if groups and odds(draw, 40):
        inner = draw(st.sampled_from(groups))
        nodes = [_slipped(draw, form, node) if i == inner else node for i, (_, node) in enumerate(children(same))]
        return dict(zip(same, nodes, strict=True)) if isinstance(same, dict) else type(same)(nodes)
    if isinstance(same, dict):
        items = list(same.items())
        at = draw(st.integers(0, len(items) - 1))
        if form in ("short", "missing") and len(items) > 1:
            del items[at]
        elif form == "long":
            items.append(("extra", items[0][1]))
        elif form == "renamed":
            items[at] = (some(draw, f"{items[at][0]}s", "other", "b"), items[at][1])
        else:
            items[at] = (items[at][0], [items[at][1]])
        return dict(items)
    nodes = list(same)
    at = draw(st.integers(0, len(nodes) - 1))
    if form in ("short", "missing") and len(nodes) > 1:
        del nodes[at]
    elif form == "long":
        nodes.append(nodes[0])
    elif form == "renamed":
        return {f"o{i}": node for i, node in enumerate(nodes)}
    else:
        nodes[at] = [nodes[at]]
    return type(same)(nodes)


def _shuffled(draw: Any, tree: Tree) -> Tree:
    if isinstance(tree, dict) and len(tree) > 1 and odds(draw, 50):
        return dict(reversed(tree.items()))
    return tree


def _exchanged(tree: Tree) -> Tree:
    """Lists for tuples, and the reverse."""
    if is_leaf(tree):
        return tree
    if isinstance(tree, dict):
        return {key: _exchanged(node) for key, node in tree.items()}
    nodes = [_exchanged(node) for node in tree]
    return nodes if isinstance(tree, tuple) else tuple(nodes)


def _by_place(tree: Tree) -> Tree:
    """Lists for dicts, in the order written."""
    if is_leaf(tree):
        return tree
    nodes = [_by_place(node) for node in (tree.values() if isinstance(tree, dict) else tree)]
    return tuple(nodes) if isinstance(tree, tuple) else nodes


__all__ = ["cases", "mapped"]
