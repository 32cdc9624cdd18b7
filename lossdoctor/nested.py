"""`nested_losses`: losses and their weights by path, made into the plain structures that Keras itself takes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lossdoctor import trees
from lossdoctor.nesting import MANY, Nested, Placed, built, filled
from lossdoctor.paths import Index, Path, Steps, index, pairs, split_group, unknown
from lossdoctor.types import Tree


def nested_losses(
    model_or_outputs: Any, losses: Mapping[Any, Any], weights: Mapping[Any, Any] | None = None
) -> tuple[Tree, Tree]:
    """`(loss, loss_weights)` for `model.compile`, from losses and weights by path. Nothing wraps a loss at training time.

    `model_or_outputs` is a functional or Sequential model, or the tree of outputs (arrays, specs, (shape, dtype) pairs, anything).
    A key is a path: "classification", "detection.bbox", "heads.0", 'a."b.c"', or the name of an output where the outputs are a
    flat list; "" is the whole of the outputs; "detection.*" is every output below detection at any depth that no more specific
    key names, itself or in a subtree of its own. A tuple of keys means the subtree whose parts they are.
    A value is a loss (a name, a function, a `keras.losses.Loss`), None for no loss, a list of losses that are all put there,
    or a dict like the dict of outputs there. A loss at a subtree gets the whole subtree of targets and of outputs.

    `weights` go by the same paths: a weight is the factor of the loss that stands at exactly that path (1 where none is given),
    "detection.*" of every loss below. Without weights, `loss_weights` is None.

    Raises `ValueError` with one sentence for a path that names no output, and for what Keras cannot express. Warns
    where the configuration trains as asked, but a saved and loaded model would read it otherwise.

    >>> nested_losses({"detection": {"bbox": 0, "score": 0}}, {"detection.bbox": "mse"}, {"detection.bbox": 2})
    ({'detection': {'bbox': 'mse', 'score': None}}, {'detection': {'bbox': 2.0, 'score': 1.0}})
    """
    outputs, names = _outputs(model_or_outputs)
    made = nest_losses(outputs, names, losses, weights)
    if made.caution:
        warnings.warn(f"nested_losses: {made.caution}", UserWarning, stacklevel=2)
    return made.loss, made.loss_weights


def nest_losses(
    outputs: Tree,
    names: Sequence[str] | None,
    losses: Mapping[Any, Any],
    weights: Mapping[Any, Any] | None,
    called: tuple[str, str] = ("losses", "weights"),
    by_place: bool = False,
) -> Nested:
    """As `nested_losses`, for outputs with names; `called` is what errors call the two arguments.

    `by_place`: a list in a value means what it means to Keras, which deals lists out to lists.
    """
    found = index(outputs, names)
    given = _resolved(found, losses, called[0], by_place)
    for key, values in given.items():
        _check_losses(values, f"{called[0]}: {found.text(key)!r}")
    placed = {steps: [Placed(x) for x in values if x is not None] for steps, values in given.items()}
    if not any(placed.values()):
        raise ValueError(f"{called[0]}: there is no loss in it; give at least one path a loss.")
    _weigh(found, placed, weights or {}, called[1], by_place)
    return built(found, placed, bool(weights), called[0])


def nest_metrics(
    outputs: Tree, names: Sequence[str] | None, metrics: Mapping[Any, Any], called: str = "metrics"
) -> Tree:
    """`metrics` for `model.compile` from metrics by path: the containers of the outputs, None where there is no metric.

    Raises `ValueError` for a path that names no single output: Keras gives metrics no subtrees.
    """
    found = index(outputs, names)
    given = _resolved(found, metrics, called, by_place=True)
    for steps in given:
        if not found.is_leaf(steps):
            raise ValueError(
                f"{called}: {found.text(steps)!r} is a subtree, and Keras gives metrics single outputs only; name its outputs, or all of them with '{found.text(steps) + '.' if steps else ''}*'."
            )
    values = {steps: value if len(value) > 1 else value[0] for steps, value in given.items()}
    if found.is_leaf(()):
        return given[()]

    def walk(node: Tree, steps: Steps) -> Tree:
        if trees.is_leaf(node):
            return values.get(steps)
        return filled(node, [walk(child, (*steps, str(key))) for key, child in pairs(node)])

    return walk(outputs, ())


def has_paths(outputs: Tree, names: Sequence[str] | None, value: Tree) -> bool:
    """True for a dict of which some key is no name of the outputs, but a path into them."""
    if not isinstance(value, dict):
        return False
    found = index(outputs, names)
    return any(_is_path(found, key) for key in value)


def _is_path(found: Index, key: Any) -> bool:
    if not isinstance(key, str) or found.is_name(key) or (key and not set(key) & set(".,*\"'")):
        return False
    try:
        return all(found.path_of(part) is not None for part in split_group(key))
    except ValueError:
        return False


def _outputs(given: Any) -> tuple[Tree, tuple[str, ...] | None]:
    """The tree of outputs, and their names where a model has them."""
    if isinstance(given, MANY) or not callable(getattr(given, "compile", None)):
        return _marked(trees.plain(given)), None
    from lossdoctor import _keras

    outputs = _keras.outputs(given)
    if outputs is None:
        raise ValueError(
            f"{type(given).__name__} is a model whose outputs only a call shows; give them in its place: nested_losses(model(x), ...)."
        )
    return trees.plain(outputs), _keras.output_names(given)


def _marked(node: Tree) -> Tree:
    """The tree with every (shape, dtype) pair as one leaf."""
    if trees.is_leaf(node):
        return node
    pair = type(node) is tuple and len(node) == 2 and isinstance(node[0], list | tuple) and trees.is_leaf(node[1])
    if pair and isinstance(node[1], str | type) and all(isinstance(size, int | None) for size in node[0]):
        return "spec"
    return filled(node, [_marked(child) for _, child in pairs(node)])


# from keys to paths


def _resolved(found: Index, given: Mapping[Any, Any], what: str, by_place: bool) -> dict[Steps, list[Any]]:
    """{path: the values put there}, wildcards dealt out. Raises `ValueError` for unknown paths and for one named twice."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{what} is a {type(given).__name__}; give a dict of paths, as in {{'detection.bbox': ...}}.")
    exact: dict[Steps, list[Any]] = {}
    wild: dict[Steps, list[Any]] = {}
    origins: dict[tuple[Steps, bool], Any] = {}
    for key, value in given.items():
        path = _path(found, key, what)
        spread = [(path.steps, value)] if path.below else _spread(found, path.steps, value, what, by_place)
        for steps, one in spread:
            if origins.setdefault((steps, path.below), key) != key:
                raise ValueError(
                    f"{what}: {origins[steps, path.below]!r} and {key!r} are the same place; give it once, as a list for several."
                )
            items = list(one) if isinstance(one, list | tuple) else [one]
            (wild if path.below else exact).setdefault(steps, []).extend(items)
    return {**_dealt(found, exact, wild), **exact}


def _dealt(found: Index, exact: Mapping[Steps, Any], wild: Mapping[Steps, list[Any]]) -> dict[Steps, list[Any]]:
    """What wildcards give to the outputs that no more specific key names, itself or in a subtree of its own."""
    dealt = {}
    for leaf in found.leaves(()):
        above = [leaf[:size] for size in range(len(leaf), -1, -1)]
        star = next((steps for steps in above if steps in wild), None)
        if star is not None and not any(steps in exact for steps in above if len(steps) > len(star) or steps == leaf):
            dealt[leaf] = wild[star]
    return dealt


def _path(found: Index, key: Any, what: str) -> Path:
    """The path of a key; a tuple of keys, or a text with commas, means the subtree whose parts they are."""
    parts = key if isinstance(key, tuple) else [str(key)] if found.is_name(str(key)) else split_group(str(key))
    if len(parts) != 1:
        return _group(found, [_path(found, part, what) for part in parts], what)
    try:
        path = found.path_of(str(parts[0]))
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    if path is None:
        raise ValueError(unknown(what, str(parts[0]), found))
    return path


def _group(found: Index, parts: list[Path], what: str) -> Path:
    """The subtree whose parts are exactly these. Raises `ValueError` where no subtree is."""
    named = {path.steps for path in parts if not path.below}
    above = {steps[:-1] for steps in named if steps}
    if len(above) == 1 and named == set(found.children(next(iter(above)))):
        return Path(next(iter(above)))
    listed = " and ".join(repr(found.text(path.steps)) for path in parts)
    if len(above) == 1 and () not in named:
        rest = [found.text(s) for s in found.children(next(iter(above))) if s not in named]
        why = f"are not the whole of a subtree: {', '.join(repr(r) for r in rest)} belongs to it too"
    else:
        why = "are no siblings"
    raise ValueError(
        f"{what}: {listed} {why}, and Keras gives a loss one output or one whole subtree; nest them under a key of their own "
        "in the model's outputs and in the targets, or put the loss on '', which gets all outputs."
    )


def _spread(found: Index, steps: Steps, value: Any, what: str, by_place: bool) -> list[tuple[Steps, Any]]:
    """(path, a value or a list of values) of all that `value` says at and below `steps`."""
    node = found.nodes[steps]
    if isinstance(value, dict):
        known = {str(key) for key, _ in pairs(node)} if isinstance(node, dict) else set()
        missing = next((str(key) for key in value if str(key) not in known), None)
        if missing is not None:
            raise ValueError(unknown(what, found.text((*steps, missing)), found))
        return [x for key, one in value.items() for x in _spread(found, (*steps, str(key)), one, what, by_place)]
    if not isinstance(value, list | tuple):
        return [(steps, value)]
    if by_place and not trees.is_leaf(node):
        if isinstance(node, type(value)):
            if len(value) > len(node):
                raise ValueError(f"{what}: {found.text(steps)!r} is given {len(value)} values for {len(node)} outputs.")
            return [x for i, one in enumerate(value) for x in _spread(found, (*steps, str(i)), one, what, by_place)]
        if len(value) == len(found.leaves(steps)) and not any(isinstance(one, MANY) for one in value):
            raise ValueError(
                f"{what}: {found.text(steps)!r} is given a list of {len(value)}, which Keras deals out to its outputs in sorted order; "
                "give each output its own path."
            )
    alone = [one for one in value if not isinstance(one, MANY)]
    nested = [one for one in value if isinstance(one, MANY)]
    below = [x for one in nested for x in _spread(found, steps, one, what, by_place)]
    return [*([(steps, alone)] if alone else []), *below]


def _check_losses(values: list[Any], where: str) -> None:
    for value in values:
        if not (value is None or isinstance(value, str) or callable(value)):
            raise ValueError(
                f"{where} is given {value!r}, which is no loss; give a name, a function, a keras.losses.Loss, or None."
            )


def _weigh(
    found: Index, placed: dict[Steps, list[Placed]], weights: Mapping[Any, Any], what: str, by_place: bool
) -> None:
    """Put the weights to the losses in `placed`. Raises `ValueError` for a weight where no loss stands."""
    chosen: dict[Steps, tuple[int, Any]] = {}
    for key, value in weights.items():
        path = _path(found, key, what)
        size = len(path.steps)
        if path.below:
            below = [s for s in placed if s[:size] == path.steps and (len(s) > size or found.is_leaf(s))]
            targets = [(steps, value) for steps in below]
        elif isinstance(value, list | tuple) and len(value) == len(placed.get(path.steps, ())):
            targets = [(path.steps, value)]
        else:
            targets = _spread(found, path.steps, value, what, by_place)
        for steps, one in targets:
            if steps not in placed:
                raise ValueError(_no_loss(found, placed, steps, what))
            # The more specific key wins: an exact one over a star, a longer star over a shorter.
            rank = size if path.below else len(found.nodes)
            if rank >= chosen.get(steps, (-1, None))[0]:
                chosen[steps] = (rank, one)
    for steps, (_, one) in chosen.items():
        placed[steps] = _weighed(placed[steps], one, f"{what}: {found.text(steps)!r}")


def _weighed(placed: list[Placed], weight: Any, where: str) -> list[Placed]:
    values = list(weight) if isinstance(weight, list | tuple) else [weight] * len(placed)
    if placed and len(values) != len(placed):
        raise ValueError(
            f"{where} is given {len(values)} weights for {len(placed)} losses; give one number, or one a loss."
        )
    try:
        factors = [float(value) for value in values]
    except (TypeError, ValueError):
        raise ValueError(f"{where} is given the weight {weight!r}, which is no number; give a number.") from None
    return [replace(x, weight=factor) for x, factor in zip(placed, factors, strict=False)]


def _no_loss(found: Index, placed: Mapping[Steps, Any], steps: Steps, what: str) -> str:
    here = found.text(steps)
    if any(s[: len(steps)] == steps for s in placed):
        return f"{what}: no loss stands at {here!r} itself; weigh the losses below it with '{here + '.' if here else ''}*', or each by its path."
    listed = ", ".join(repr(found.text(s)) for s in list(placed)[:12])
    return f"{what}: no loss stands at {here!r}; the losses are at {listed}."
