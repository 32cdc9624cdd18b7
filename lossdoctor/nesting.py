"""The structures by which Keras applies losses at several levels of nested outputs.

How Keras 3.7 to 3.15 read a nested `loss` (`CompileLoss._build_nested`), as measured on TensorFlow and JAX:

- a loss at the place of a container gets that whole subtree; a list of losses on a dict, a tuple or one array applies every
  entry there, and so puts losses at several levels; on a list of outputs a list goes by place, and a tuple applies every entry;
- a list of as many losses as the subtree has arrays is dealt out to them in flat order, whatever was meant: an empty
  container at its end prevents that;
- TensorFlow's tracking replaces lists and dicts inside the loss by wrappers, after which Keras misreads lists, tuples and ordered
  dicts below the top unless they are dealt out flat; a `defaultdict` is not replaced, nor is what it holds;
- a saved model gives tuples back as lists, and a `defaultdict` as a dict.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lossdoctor import trees
from lossdoctor.paths import Index, Path, Steps, pairs
from lossdoctor.types import Tree

MANY = (dict, list, tuple)


@dataclass(frozen=True, eq=False)
class Placed:
    """One loss at one path, and the factor that it counts with."""

    loss: Any
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Nested:
    """What `model.compile` is to be given; `caution` says what to mind, None where there is nothing."""

    loss: Tree
    loss_weights: Tree
    caution: str | None


def built(found: Index, placed: Mapping[Steps, list[Placed]], weighted: bool, called: str) -> Nested:
    """The losses at their paths as Keras takes them; `called` is what errors call them. Raises `ValueError` for what Keras cannot express."""
    builder = _Builder(found, placed, called)
    made = builder.made()
    loss = trees.map_leaves(lambda x: None if x is None else x.loss, made)
    factors = trees.map_leaves(lambda x: 1.0 if x is None else x.weight, made) if weighted else None
    forms = [
        *(
            ["a tuple of losses for a list of outputs"]
            if isinstance(made, tuple) and isinstance(found.nodes[()], list)
            else []
        ),
        *(["a defaultdict, which TensorFlow does not wrap"] if builder.shield else []),
    ]
    caution = f"this takes {' and '.join(forms)}; a saved model loses that, so compile again after loading it."
    return Nested(_shielded(loss) if builder.shield else loss, factors, caution if forms else None)


class _Builder:
    """Builds the structure for Keras out of the losses by path."""

    def __init__(self, found: Index, placed: Mapping[Steps, list[Placed]], called: str) -> None:
        self.found, self.placed, self.called = found, placed, called
        self.shield = False

    def made(self) -> Tree:
        """The whole structure, with `Placed` leaves. Raises `ValueError` for what Keras cannot express."""
        root = self.found.nodes[()]
        layers = self._layers(root, ())
        if trees.is_leaf(root):
            if len(layers) > 1:
                raise ValueError(
                    f"{self.called}: the model has one output and is given {len(layers)} losses, of which Keras uses the first only; add them up in one function."
                )
            return layers[0]
        if len(layers) == 1 and isinstance(layers[0], MANY):
            return layers[0]
        return _together(root, layers, tuple if isinstance(root, list) else list)

    def _layers(self, node: Tree, steps: Steps) -> list[Any]:
        """What Keras is to apply at `node`, one after the other: its own losses, then structures like the node for what is below."""
        own = list(self.placed.get(steps, ()))
        if trees.is_leaf(node):
            return own
        below = [(child, self._layers(child, (*steps, str(key)))) for key, child in pairs(node)]
        # On a list of outputs a list of losses goes by place, and below the top TensorFlow's wrappers hide nested lists: what
        # is to be applied together there is told one container further up.
        lifted = [_by_place(child) or (_by_place(node) and bool(steps) and trees.is_leaf(child)) for child, _ in below]
        count = max((len(layers) for (_, layers), lift in zip(below, lifted, strict=True) if lift), default=1)
        structures = []
        for turn in range(max(count, 1)):
            items = [
                layers[turn] if lift and turn < len(layers) else None if lift or turn else _joined(child, layers)
                for (child, layers), lift in zip(below, lifted, strict=True)
            ]
            if any(item is not None for item in items):
                structures.append(self._container(node, steps, items, alone=not own and count <= 1))
        return own + structures

    def _container(self, node: Tree, steps: Steps, items: list[Any], alone: bool) -> Tree:
        """`items` in the node's own container, in a form that every backend reads by place."""
        top = not steps and (alone or isinstance(node, list))
        if not top and _fragile(node, items):
            flat = self._flat(node, steps)
            if flat is not None:
                return flat
            above = [self.found.nodes[steps[:size]] for size in range(len(steps))]
            shielded = any(isinstance(x, dict) and not isinstance(x, OrderedDict) for x in above)
            if not shielded and not (
                isinstance(node, tuple) and all(isinstance(x, dict | Placed | None) for x in items)
            ):
                where = repr(self.found.text(steps)) if steps else "the outputs"
                raise ValueError(
                    f"{self.called}: a loss on a subtree cannot be told to Keras inside {where}: on TensorFlow it misreads a {type(node).__name__} "
                    "that lies in no dict; return dicts from the model, or give losses to single outputs."
                )
            self.shield = True
        return filled(node, _not_dealt_out(node, items, f"{self.called}: {self.found.text(steps)!r}"))

    def _flat(self, node: Tree, steps: Steps) -> list[Any] | None:
        """The losses of the outputs below in Keras's flat order, where each has one at most and no subtree has any."""
        inside = {s: losses for s, losses in self.placed.items() if s[: len(steps)] == steps and s != steps and losses}
        if any(len(losses) > 1 or not self.found.is_leaf(s) for s, losses in inside.items()):
            return None
        return [inside.get(path.steps, [None])[0] for path in trees.values(_marks(node, steps))]


def _joined(node: Tree, layers: list[Any]) -> Any:
    """One structure that applies all `layers` at a node below the top; None for none."""
    return _together(node, layers, list) if len(layers) > 1 else layers[0] if layers else None


def _together(node: Tree, layers: list[Any], kind: type) -> Any:
    """A sequence that applies all `layers` at `node`, and that Keras cannot take for one loss an output."""
    flat = not any(isinstance(layer, MANY) for layer in layers)
    empty = [_empty(node)] if flat and len(layers) == len(trees.values(node)) and not trees.is_leaf(node) else []
    return kind([*layers, *empty])


def _by_place(node: Tree) -> bool:
    return isinstance(node, list)


def _fields(node: Tree) -> bool:
    return isinstance(node, tuple) and hasattr(node, "_fields")


def filled(node: Tree, items: list[Any]) -> Tree:
    """`items` (the order written) in the container of `node`."""
    if isinstance(node, dict):
        content = zip(node, items, strict=True)
        return defaultdict(node.default_factory, content) if isinstance(node, defaultdict) else type(node)(content)
    return type(node)(*items) if _fields(node) else type(node)(items)


def _empty(node: Tree) -> Tree:
    """The container of `node` with no loss in it."""
    return filled(node, [None] * len(node)) if _fields(node) else type(node)()


def _marks(node: Tree, steps: Steps) -> Tree:
    """The same containers with a `Path` at every leaf."""
    if trees.is_leaf(node):
        return Path(steps)
    return filled(node, [_marks(child, (*steps, str(key))) for key, child in pairs(node)])


def _fragile(node: Tree, items: list[Any]) -> bool:
    """True for a structure that Keras misreads below the top once TensorFlow has wrapped it."""
    if isinstance(node, OrderedDict):
        return True
    nested = any(isinstance(item, MANY) for item in items)
    return (
        nested
        if isinstance(node, tuple)
        else isinstance(node, list) and (nested or len(items) != len(trees.values(node)))
    )


def _not_dealt_out(node: Tree, items: list[Any], where: str) -> list[Any]:
    """`items` in a form that Keras cannot take for a flat list: subtrees of one array make the numbers agree."""
    flat = isinstance(node, list | tuple) and not any(isinstance(item, MANY) for item in items)
    children = [child for _, child in pairs(node)]
    if not flat or len(items) != len(trees.values(node)) or all(trees.is_leaf(child) for child in children):
        return items
    for place, child in enumerate(children):
        if trees.is_leaf(child):
            return [*items[:place], [items[place]] if items[place] is not None else [], *items[place + 1 :]]
        if not isinstance(child, list) and not _fields(child) and items[place] is not None:
            return [*items[:place], [items[place], _empty(child)], *items[place + 1 :]]
    raise ValueError(
        f"{where} holds lists of one output each, whose losses Keras deals out to the outputs; give the outputs losses."
    )


def _shielded(loss: Tree) -> Tree:
    """The outermost dicts as `defaultdict` without a default, which TensorFlow's tracking leaves as they are."""
    if type(loss) is dict:
        return defaultdict(None, loss)
    if trees.is_leaf(loss):
        return loss
    return filled(loss, [_shielded(item) for _, item in pairs(loss)])
