"""A generated case as plain data: small frozen values whose `repr` makes them again.

Trees of outputs, losses, weights and targets are ordinary dicts, lists and tuples with the leaves below. Every array
comes from a seed, so that a case is one line of text, and two cases are equal where their lines are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Tree = Any


# The kind of a user's own loss that takes a whole subtree of outputs.
WHOLE = "whole"


@dataclass(frozen=True)
class Output:
    """One output of the model: the name of its layer, its shape without the samples, its activation.

    `masked`: a `Masking` layer stands in front of the activation, and the last step of every other sample is padding.
    """

    name: str
    shape: tuple[int, ...]
    activation: str = "linear"
    masked: bool = False


@dataclass(frozen=True)
class Loss:
    """One loss: what it computes, in which form it is given, and how it is reduced."""

    kind: str
    form: str = "string"
    reduction: str | None = "sum_over_batch_size"


@dataclass(frozen=True)
class Target:
    """One array of targets with its whole shape. `holds` is "numbers", "bits", "classes" or "rows" (one-hot)."""

    holds: str
    shape: tuple[int, ...]
    seed: int
    classes: int = 0
    dtype: str = "float32"


@dataclass(frozen=True)
class Weights:
    """One array of sample weights with its whole shape."""

    shape: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Metric:
    """One metric: what it measures, and whether it is given as a string or as an object."""

    kind: str
    form: str = "string"


@dataclass(frozen=True)
class Feed:
    """One array of x where a model has several inputs."""

    seed: int


@dataclass(frozen=True)
class Case:
    """A model, what it is compiled with, and a batch of `n` samples.

    `inputs` are the names of several inputs in their containers (None: a single one), and `x` then holds a `Feed` for each;
    `made` is "functional" or "subclassed"; `regularized`: every kernel has an L2 regularizer.
    """

    n: int
    outputs: Tree
    loss: Tree
    y: Tree
    loss_weights: Tree = None
    sample_weight: Tree = None
    metrics: Tree = None
    inputs: Tree = None
    x: Tree = None
    made: str = "functional"
    regularized: bool = False

    @property
    def key(self) -> str:
        """A name that cases share which differ in nothing but their random numbers."""
        text = repr(self)
        for plain in _PLAIN:
            text = text.replace(plain, "")
        for i, seed in enumerate(dict.fromkeys(re.findall(r"seed=\d+", text))):
            text = text.replace(f"{seed},", f"seed={1000 + i},").replace(f"{seed})", f"seed={1000 + i})")
        return hashlib.sha1(text.encode()).hexdigest()[:16]


# Left out of a case's key: what stands in most of them.
_PLAIN = (", masked=False", ", metrics=None", ", inputs=None", ", x=None", ", made='functional'", ", regularized=False")


def read(text: str) -> Case:
    """The case whose `repr` is `text`."""
    found = eval(
        text,
        {"__builtins__": {}, **{cls.__name__: cls for cls in (Case, Feed, Loss, Metric, Output, Target, Weights)}},
    )
    assert isinstance(found, Case)
    return found


def is_leaf(tree: Tree) -> bool:
    """True for anything but a dict, a list or a tuple."""
    return not isinstance(tree, dict | list | tuple)


def children(tree: Tree) -> Iterator[tuple[Any, Tree]]:
    """(key or place, node) one level down, in the order written."""
    yield from tree.items() if isinstance(tree, dict) else enumerate(tree)


def leaves(tree: Tree) -> list[Any]:
    """The leaves in the order written; None counts."""
    return [tree] if is_leaf(tree) else [leaf for _, node in children(tree) for leaf in leaves(node)]


def mapped(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """The same containers with `function` applied to every leaf but None."""
    if is_leaf(tree):
        return None if tree is None else function(tree)
    if isinstance(tree, dict):
        return {key: mapped(function, node) for key, node in tree.items()}
    return type(tree)(mapped(function, node) for node in tree)


def packed(tree: Tree, flat: list[Any]) -> Tree:
    """`flat`, in the order written, in the containers of `tree`."""
    rest = iter(flat)

    def fill(node: Tree) -> Tree:
        if is_leaf(node):
            return next(rest)
        if isinstance(node, dict):
            return {key: fill(part) for key, part in node.items()}
        return type(node)(fill(part) for part in node)

    return fill(tree)
